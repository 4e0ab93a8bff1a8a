"""Requests to a serving container, and its answers: frames over a connection, any number of them at once.

A frame is a number, which an answer has from its request; a status, 0 in requests; the lengths of head and body; the
head; the body. A head is lines: of a request its method and path, then one for each header, `name: value`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

_NUMBERS = struct.Struct("!QHII")
HUNG_UP = 0
"""The status of an answer that there is none of: what answered the request has ended."""


class Frame(NamedTuple):
    number: int
    status: int
    head: bytes
    body: bytes


def packed(number: int, status: int, head: bytes, body: bytes) -> bytes:
    return _NUMBERS.pack(number, status, len(head), len(body)) + head + body


def head(first: str, headers: Mapping[str, str]) -> bytes:
    """Return the lines of a head; `first` is empty in answers. Raises ValueError: a header would bring others."""
    return _encoded(first, tuple(headers.items()))


@lru_cache(maxsize=256)
def _encoded(first: str, headers: tuple[tuple[str, str], ...]) -> bytes:
    for name, value in headers:
        if "\r" in value or "\n" in value or "\n" in name:
            raise ValueError(f"Invalid header value {value.encode('latin-1')!r}")
    return "\n".join([first, *(f"{name}: {value}" for name, value in headers)]).encode("latin-1")


@lru_cache(maxsize=256)
def first_and_headers(head: bytes) -> tuple[str, Mapping[str, str]]:
    """Return the first line of a head, and its headers; their names are in lower case. To be read only."""
    first, *lines = head.decode("latin-1").split("\n")
    pairs = (line.split(": ", 1) for line in lines)
    return first, {name.lower(): value for name, value in pairs}


class Reader:
    """Cuts what arrives into frames."""

    def __init__(self) -> None:
        self._begun = bytearray()

    def frames(self, data: bytes) -> list[Frame]:
        """Return the frames that are whole now."""
        received: bytes | bytearray = data
        if self._begun:
            self._begun += data
            received = self._begun
        frames, at, size = [], 0, len(received)
        while size - at >= _NUMBERS.size:
            number, status, head_size, body_size = _NUMBERS.unpack_from(received, at)
            start = at + _NUMBERS.size
            middle = start + head_size
            if middle + body_size > size:
                break
            at = middle + body_size
            frames.append(Frame(number, status, bytes(received[start:middle]), bytes(received[middle:at])))
        if received is self._begun:
            del self._begun[:at]
        elif at < size:
            self._begun += received[at:]
        return frames
