"""JSON as requests and files are written: NaN is a missing number, a name stands once, whole numbers keep digits."""

from __future__ import annotations

import json
import math
import re
import sys
from collections import Counter
from typing import Any

from perennial.features.grammar import LARGEST_EXACT_FLOAT
from perennial.words import quoted


def _constant(name: str) -> None:
    """NaN, as Python and pandas write a missing number, is one; infinities are refused."""
    if name != "NaN":
        raise RefusedJsonError(f"{name} is no JSON number")


class BeyondFloat(float):
    """A number that is infinite as a float: its text is what was written, such as 1e400."""

    def __new__(cls, literal: str) -> BeyondFloat:
        number = super().__new__(cls, literal)
        number.literal = literal
        return number

    literal: str

    def __repr__(self) -> str:
        return self.literal


def _number(literal: str) -> float:
    """Return a number; a whole one that a float would round is read by its digits, as in CSV: 9007199254740993.0."""
    value = float(literal)
    if math.isinf(value):
        return BeyondFloat(literal)
    if abs(value) <= LARGEST_EXACT_FLOAT:
        return value
    digits, _, fraction = literal.partition(".")
    return int(digits) if fraction and not fraction.strip("0") else value


class RefusedJsonError(ValueError):
    """A text is JSON, and holds what nobody can take: a name twice in one object, a number or a depth beyond measure.

    The text says what.
    """


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        name = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise RefusedJsonError(f"the name {quoted(name)} stands more than once in one object")
    return members


_MARKS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]|[0-9]+')
_DECODER = json.JSONDecoder(parse_float=_number, parse_constant=_constant, object_pairs_hook=_object)


def decode(text: str) -> Any:
    """Return what a JSON text holds. Raises RefusedJsonError, or another ValueError: it is no JSON."""
    try:
        return _DECODER.decode(text)
    except RecursionError:
        raise RefusedJsonError(
            f"lists or objects in one another are {_depth(text):,} deep; expected plain values"
        ) from None
    except (RefusedJsonError, json.JSONDecodeError):
        raise
    except ValueError as error:  # of whole numbers Python reads so many digits
        most = f"at most {sys.get_int_max_str_digits():,} are read"
        raise RefusedJsonError(f"a number has {_digits(text):,} digits; {most}") from error


def _depth(text: str) -> int:
    depth = deepest = 0
    for mark in _MARKS.findall(text):
        depth += 1 if mark in ("[", "{") else -1 if mark in ("]", "}") else 0
        deepest = max(deepest, depth)
    return deepest


def _digits(text: str) -> int:
    return max(len(part) for part in _MARKS.findall(text) if part.isdecimal())
