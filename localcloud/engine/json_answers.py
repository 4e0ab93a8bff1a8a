"""Answers of services in JSON are encoded by orjson, in a fifth of the time: some are whole histories of executions.

What orjson writes otherwise than json (what is no number as null), or refuses, json still writes.
"""

import json
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import orjson

from localcloud.engine.seams import Seams

responses = Seams("core.responses", json="0959dd58")

_AS_JSON = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


def register() -> None:
    """Replace the seam. MiniStack must be importable (the environment is set)."""
    responses.replace("json", lambda _: SimpleNamespace(dumps=dumps))


def dumps(value: Any, *, ensure_ascii: bool) -> str:
    """Return what json.dumps returns, but for blanks between its parts; what is written is text in UTF-8 always."""
    with suppress(orjson.JSONEncodeError):
        text = orjson.dumps(value, option=_AS_JSON).decode()
        if "null" not in text and not ensure_ascii:
            return text
    return json.dumps(value)  # in ASCII, as half of a surrogate pair has no bytes in UTF-8
