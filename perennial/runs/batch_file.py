"""Where files are dropped that are to be scored, and what a copy of a file that lies elsewhere says of that."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote, unquote

INCOMING = "batch/incoming/"
SOURCE = "source"
"""Metadata of an object: the address that it was copied from, with what is not ASCII in percents.

Who drops a file can say anything there: it is shown, and decides nothing.
"""
MOST_SOURCE = 1_800  # bytes; all metadata of an object have 2 KB (Amazon S3 User Guide, "User-defined object metadata")
_ASCII = "".join(map(chr, range(0x21, 0x7F))).replace("%", "")


def source_as_metadata(uri: str) -> str:
    """Return an address as metadata say it. Raises ValueError: it is too long for them."""
    if len(text := quote(uri, safe=_ASCII)) > MOST_SOURCE:
        raise ValueError(f"{uri} is too long to be kept with a copy of it: {len(text):,} bytes of {MOST_SOURCE:,}")
    return text


def source_of(metadata: Mapping[str, str]) -> str | None:
    """Return the address that a file was copied from, as its metadata say; None where they say nothing."""
    return unquote(metadata[SOURCE])[:MOST_SOURCE] if metadata.get(SOURCE) else None
