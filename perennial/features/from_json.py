"""Values of JSON, in files and in requests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from perennial.features.from_text import from_text
from perennial.features.grammar import LARGEST_EXACT_FLOAT, LARGEST_FLOAT, has_surrogates
from perennial.features.parsing import PLAIN, Parsing
from perennial.features.rules import expected_type
from perennial.features.text_columns import known
from perennial.features.values import ARROW_TYPES, Parsed, finite, union
from perennial.words import quoted


class ValueRefusedError(ValueError):
    """A value of a request has the wrong type; `index` is its position in the column."""

    def __init__(self, index: int, value: object, expected: str) -> None:
        super().__init__(f"got {quoted(value)}, expected {expected}")
        self.index = index


def from_python(kind: str, values: Sequence[Any], parsing: Parsing = PLAIN) -> pa.Array:
    """Return the values of a column of parsed JSON. Raises ValueRefusedError on the first value of another type."""
    parsed = from_json(kind, values, parsing)
    index = -1 if parsed.invalid is None else pc.index(parsed.invalid, True).as_py()
    if index >= 0:
        raise ValueRefusedError(index, values[index], expected_type(kind, values[index], parsing))
    return parsed.values


def from_json(kind: str, values: Sequence[Any], parsing: Parsing = PLAIN) -> Parsed:
    """Return the values of a column of parsed JSON. A text means what it does in a CSV file."""
    types = {type(value) for value in values} - {type(None)}
    try:
        if types <= {str}:
            return from_text(kind, pa.array(values, pa.string()), parsing)
        if kind == "boolean" and types <= {int}:
            return from_text(kind, pc.cast(pa.array(values, pa.int64()), pa.string()), parsing)
        if types <= _JSON_TYPES[kind]:
            array = pa.array(values, ARROW_TYPES[kind])
            parsed = finite(array, None) if kind == "float" else Parsed(array, None)
            return Parsed(known(parsing, parsed.values), parsed.invalid)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        pass  # one by one
    return _one_by_one(kind, values, parsing)


def _one_by_one(kind: str, values: Sequence[Any], parsing: Parsing) -> Parsed:
    """Read texts as texts; what is no value of the column is marked as invalid."""
    texts = [_text(kind, value, parsing) for value in values]
    others = [
        None if text is not None else _from_python(kind, value) for text, value in zip(texts, values, strict=True)
    ]
    refused = [
        text is None and other is None and not _is_missing(value)
        for text, other, value in zip(texts, others, values, strict=True)
    ]
    read, invalid = from_text(kind, pa.array(texts, pa.string()), parsing)
    if kind != "string":
        read = pc.coalesce(read, known(parsing, pa.array(others, ARROW_TYPES[kind])))
    return Parsed(read, union(invalid, pa.array(refused, pa.bool_())))


def _text(kind: str, value: Any, parsing: Parsing) -> str | None:
    """Return a value that is read as a text."""
    if isinstance(value, str):
        return None if has_surrogates(value) else value
    if isinstance(value, bool):
        return str(value).lower() if kind == "string" else None
    if not isinstance(value, int | float) or not _is_finite(value):
        return None
    if kind == "boolean" or (kind == "timestamp" and parsing.formats):
        return str(int(value) if value == int(value) else value)
    is_whole = isinstance(value, int) or (value == int(value) and abs(value) <= LARGEST_EXACT_FLOAT)
    return str(int(value)) if kind == "string" and is_whole else None  # whole numbers have one spelling


_JSON_TYPES: dict[str, frozenset[type]] = {
    "float": frozenset({float, int}),
    "integer": frozenset({int}),
    "boolean": frozenset({bool}),
    "string": frozenset(),
    "timestamp": frozenset(),
}


def _from_python(kind: str, value: Any) -> Any:
    """Return a value that is no text as Arrow takes it; None when it is none of the column."""
    if isinstance(value, bool):
        return value if kind == "boolean" else None
    return _number_from_python(kind, value) if isinstance(value, int | float) else None


def _number_from_python(kind: str, value: float) -> float | int | None:
    """Return a JSON number as the column's type, or None when it is not one."""
    if kind == "float":
        return float(value) if _is_finite(value) else None
    if kind == "integer" and isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else None
    whole = kind == "integer" and _is_finite(value) and value == int(value) and abs(value) <= LARGEST_EXACT_FLOAT
    return int(value) if whole else None


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _is_finite(value: float) -> bool:
    return abs(value) <= LARGEST_FLOAT  # compares integers of any size, and is false for NaN
