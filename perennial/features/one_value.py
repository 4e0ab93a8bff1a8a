"""One value of parsed JSON, read and checked without Arrow, which functions do not have.

It means here what it means to the endpoint (from_json, from_text); tests compare both.
"""

from __future__ import annotations

import math
import re
from typing import Any

from perennial.features.column import Column
from perennial.features.grammar import (
    FALSE_WORDS,
    INTEGER,
    LARGEST_EXACT_FLOAT,
    LARGEST_FLOAT,
    NUMBER,
    TRUE_WORDS,
    has_surrogates,
    integer_of_64_bits,
    utc_time,
)
from perennial.features.parsing import MISSING_WORDS, NUMBERS, PLAIN, Parsing, markers
from perennial.features.rules import rule_of_type

_NUMBER, _INTEGER = re.compile(NUMBER), re.compile(INTEGER)
_USUAL = (PLAIN, Parsing(strip=False))


class NoValueError(ValueError):
    """The value is none of the column's type."""


def broken(column: Column, value: Any) -> str | None:
    """Return the rule of a column that a value breaks (features.rules), or None."""
    try:
        meant = read(column.type, value, column.parsing)
    except NoValueError:
        return rule_of_type(column, value)
    if meant is None:
        return None if column.nullable else "missing"
    if column.minimum is not None and meant < column.minimum:
        return "minimum"
    if column.maximum is not None and meant > column.maximum:
        return "maximum"
    return "category" if column.categories is not None and meant not in column.categories else None


def read(kind: str, value: Any, parsing: Parsing = PLAIN) -> Any:
    """Return what a value means in a column; None: it is missing. Raises NoValueError."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if kind == "boolean" and isinstance(value, bool):
        return value
    text = _as_text(kind, value, parsing)
    if text is None:
        return _known(_number(kind, value), kind, parsing)
    if kind == "string":
        return _string(text, parsing)
    return _known(_from_text(kind, text, parsing), kind, parsing)


def _as_text(kind: str, value: Any, parsing: Parsing) -> str | None:
    """Return a value that is read as a text, as from_json does."""
    if isinstance(value, str):
        if has_surrogates(value):
            raise NoValueError
        return value
    if isinstance(value, bool):
        return str(value).lower() if kind == "string" else None
    if not isinstance(value, int | float) or not abs(value) <= LARGEST_FLOAT:
        return None
    if kind == "boolean" or (kind == "timestamp" and parsing.formats):
        return str(int(value) if value == int(value) else value)
    is_whole = isinstance(value, int) or (value == int(value) and abs(value) <= LARGEST_EXACT_FLOAT)
    return str(int(value)) if kind == "string" and is_whole else None


def _number(kind: str, value: Any) -> float | int:
    """Return a JSON number as the column's type. Raises NoValueError: it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or kind not in NUMBERS:
        raise NoValueError
    if kind == "float":
        return _finite(float(value)) if abs(value) <= LARGEST_FLOAT else _finite(math.inf)
    if isinstance(value, float):
        return _whole_float(value)
    if not -(2**63) <= value < 2**63:
        raise NoValueError
    return value


def _string(text: str, parsing: Parsing) -> str | None:
    word = text.strip()
    is_missing = not (word if parsing.strip else text) or word.lower() in {one.lower() for one in parsing.missing}
    return None if is_missing else word if parsing.strip else text


def _from_text(kind: str, text: str, parsing: Parsing) -> Any:
    word = text.strip() if parsing in _USUAL else parsing.plain(kind, text.strip())
    if word is None or (word := word.strip()).lower() in MISSING_WORDS:
        return None
    if kind == "boolean":
        if (folded := word.lower()) not in TRUE_WORDS | FALSE_WORDS:
            raise NoValueError
        return folded in TRUE_WORDS
    if kind == "timestamp":
        return _whole(utc_time(word))
    if kind == "integer" and _INTEGER.fullmatch(word):
        return _whole(integer_of_64_bits(word.partition(".")[0]))
    if not _NUMBER.fullmatch(word):
        raise NoValueError
    return _finite(float(word)) if kind == "float" else _whole_float(float(word))


def _known(value: Any, kind: str, parsing: Parsing) -> Any:
    """Return a value, or None for a number that means a missing one."""
    is_marker = kind in NUMBERS and parsing.missing and value in markers(parsing, whole=kind == "integer")
    return None if is_marker else value


def _finite(value: float) -> float:
    if not abs(value) <= LARGEST_FLOAT:
        raise NoValueError
    return value


def _whole_float(value: float) -> int:
    if not (abs(value) <= LARGEST_EXACT_FLOAT and value == int(value)):
        raise NoValueError
    return int(value)


def _whole(value: Any) -> Any:
    if value is None:
        raise NoValueError
    return value
