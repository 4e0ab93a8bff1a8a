"""Values of parsed JSON, in requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from perennial.text_values import from_text, utc_time
from perennial.values import ARROW_TYPES, EXPECTED, LARGEST_EXACT_FLOAT, LARGEST_FLOAT, STRING, Parsed, finite, shown


class ValueRefusedError(ValueError):
    """A value of a request has the wrong type; `index` is its position in the column."""

    def __init__(self, index: int, value: object, expected: str) -> None:
        super().__init__(f"got {shown(value)}, expected {expected}")
        self.index = index


def from_python(kind: str, values: Sequence[Any]) -> pa.Array:
    """Return the values of a column of parsed JSON. Raises ValueRefusedError on the first value of another type."""
    try:
        if {type(value) for value in values} <= _JSON_TYPES[kind]:
            array = pa.array(values, pa.string() if kind in ("string", "timestamp") else ARROW_TYPES[kind])
            parsed = finite(array, None) if kind == "float" else Parsed(array, None)
            parsed = from_text(kind, array) if pa.types.is_string(array.type) else parsed
            if parsed.invalid is None:
                return parsed.values
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):
        pass  # the slow path names the value
    return pa.array([_from_python(kind, index, value) for index, value in enumerate(values)], _plain(kind))


def _plain(kind: str) -> pa.DataType:
    return STRING if kind == "string" else ARROW_TYPES[kind]


_JSON_TYPES: dict[str, frozenset[type]] = {
    "float": frozenset({float, int, type(None)}),
    "integer": frozenset({int, type(None)}),
    "boolean": frozenset({bool, type(None)}),
    "string": frozenset({str, type(None)}),
    "timestamp": frozenset({str, type(None)}),
}


def _from_python(kind: str, index: int, value: Any) -> Any:
    """Return one value as Arrow takes it, or refuse it."""
    if value is None:
        return None
    result: Any = None
    if isinstance(value, bool):
        result = value if kind == "boolean" else None
    elif isinstance(value, int | float):
        result = _number_from_python(kind, value)
    elif isinstance(value, str) and kind == "timestamp":
        result = utc_time(value)
    elif isinstance(value, str) and kind == "string" and not _has_surrogates(value):
        return value or None
    if result is None:
        raise ValueRefusedError(index, value, EXPECTED[kind])
    return result


def _number_from_python(kind: str, value: float) -> float | int | bool | None:
    """Return a JSON number as the column's type, or None when it is not one."""
    if kind == "boolean":
        return bool(value) if value in (0, 1) else None
    if kind == "float":
        return float(value) if _is_finite(value) else None
    if kind == "integer" and isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else None
    whole = kind == "integer" and _is_finite(value) and value == int(value) and abs(value) <= LARGEST_EXACT_FLOAT
    return int(value) if whole else None


def _is_finite(value: float) -> bool:
    return abs(value) <= LARGEST_FLOAT  # compares integers of any size, and is false for NaN


def _has_surrogates(text: str) -> bool:
    return any("\ud800" <= char <= "\udfff" for char in text)
