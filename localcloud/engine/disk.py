"""A disk that is nearly full: large uploads are refused, so that there is room to say so and to save the state.

MiniStack answers an upload with success also when it could not write the object, which the next start then misses.
Here an upload or a copy is refused while less than the reserve is free, or would be; what is small (records, state,
mails, logs) still goes through. AWS has no such error; clients do not repeat a 507 (RFC 4918, 11.5).
"""

import os
import shutil
from pathlib import Path
from typing import Any

RESERVE_VARIABLE = "LOCALCLOUD_DISK_RESERVE_MB"
_DEFAULT_RESERVE_MB = 128
_SMALL_BYTES = 64 * 1024

Scope = dict[str, Any]


def problem(state: Path) -> str:
    """What is wrong with the disk of the state folder; empty when there is room."""
    return _problem(state, 0)


def refusal(scope: Scope, state: Path) -> str:
    """Why a request is refused; empty when it is not."""
    if scope["type"] != "http" or scope["method"] != "PUT":
        return ""
    headers = dict(scope["headers"])
    size = int(headers.get(b"content-length", b"0") or 0)
    if size <= _SMALL_BYTES and b"x-amz-copy-source" not in headers and b"transfer-encoding" not in headers:
        return ""
    return _problem(state, size)


def _problem(state: Path, size: int) -> str:
    free, reserve = shutil.disk_usage(state).free, _reserve()
    if free - size >= reserve:
        return ""
    return (
        f"the disk of the local cloud is full: {free >> 20:,} MB are free at {state}, and {reserve >> 20:,} MB of them "
        f"are kept for its state ({RESERVE_VARIABLE}). Free some space, then try again"
    )


def _reserve() -> int:
    return int(os.environ.get(RESERVE_VARIABLE, _DEFAULT_RESERVE_MB)) << 20


def answer(why: str) -> bytes:
    """The body of the refusal, as S3 writes errors."""
    text = why.replace("&", "&amp;").replace("<", "&lt;")
    return f"<Error><Code>InsufficientStorage</Code><Message>{text}</Message></Error>".encode()
