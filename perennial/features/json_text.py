"""JSON as requests and files are written: NaN is a missing number, a name stands once, whole numbers keep digits."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

from perennial.features.grammar import LARGEST_EXACT_FLOAT
from perennial.words import quoted


def _constant(name: str) -> None:
    """NaN, as Python and pandas write a missing number, is one; infinities are refused."""
    if name != "NaN":
        raise ValueError(f"{name} is no JSON number")


def _number(literal: str) -> float:
    """Return a number; a whole one that a float would round is read by its digits, as in CSV: 9007199254740993.0."""
    value = float(literal)
    if abs(value) <= LARGEST_EXACT_FLOAT or math.isinf(value):
        return value
    digits, _, fraction = literal.partition(".")
    return int(digits) if fraction and not fraction.strip("0") else value


class RepeatedNameError(ValueError):
    """An object has a name twice: which value is meant nobody knows."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        name = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise RepeatedNameError(f"the name {quoted(name)} stands more than once in one object")
    return members


_DECODER = json.JSONDecoder(parse_float=_number, parse_constant=_constant, object_pairs_hook=_object)


def decode(text: str) -> Any:
    """Return what a JSON text holds. Raises ValueError, or RecursionError where it is too deep."""
    return _DECODER.decode(text)
