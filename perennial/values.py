"""Values of one column: from CSV text, Parquet or JSON to a typed Arrow array, and back to plain text.

One rule for training and serving: `from_text`, `from_arrow` and `from_python` agree on what a value means, so that a
record means the same in a file, in a request and in the test set.

    type       Arrow type                     text that is read
    float      float64                        -1.5, 2, .5, 1e3; finite in single precision (up to 3.4e38)
    integer    int64                          5, -3, 5.0
    boolean    bool                           true false yes no t f y n 1 0 1.0 0.0, in any case
    string     dictionary<int32, string>      anything; an empty text is a missing value
    timestamp  timestamp[us], UTC             ISO 8601: 2024-05-01, 2024-05-01T10:00:00, ...+02:00

Missing values are null. Except in strings, NA, N/A, #N/A, NaN, null, none and blank texts are missing too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

STRING = pa.dictionary(pa.int32(), pa.string())
ARROW_TYPES: dict[str, pa.DataType] = {
    "float": pa.float64(),
    "integer": pa.int64(),
    "boolean": pa.bool_(),
    "string": STRING,
    "timestamp": pa.timestamp("us"),
}
EXPECTED = {
    "float": "a finite number",
    "integer": "a whole number",
    "boolean": "true or false",
    "string": "a text",
    "timestamp": "an ISO 8601 time",
}
TRUE_WORDS = frozenset({"true", "t", "yes", "y", "1", "1.0"})
FALSE_WORDS = frozenset({"false", "f", "no", "n", "0", "0.0"})
MISSING_WORDS = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "none"})
LARGEST_FLOAT = float(np.finfo(np.float32).max)  # the algorithms compute in single precision; beyond it is infinity
LARGEST_EXACT_FLOAT = 2**53  # beyond it a float no longer tells neighbouring integers apart
MAX_SHORT_DIGITS = 18  # so many, with a sign, always fit into 64 bits

_NUMBER = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"
_INTEGER = r"^[+-]?\d+$"
_MISSING = pa.array(sorted(MISSING_WORDS))


class Parsed(NamedTuple):
    """Typed values, null where a value is missing or invalid, and a mask of the invalid ones (None: there are none)."""

    values: pa.Array
    invalid: pa.BooleanArray | None


class ValueRefusedError(ValueError):
    """A value of a request has the wrong type; `index` is its position in the column."""

    def __init__(self, index: int, value: object, expected: str) -> None:
        super().__init__(f"got {shown(value)}, expected {expected}")
        self.index = index


def shown(value: object, limit: int = 40) -> str:
    """Return a value as a short quoted text without control characters, safe for logs and mails."""
    text = value if isinstance(value, str) else str(value)
    text = text if len(text) <= limit else text[: limit - 3] + "..."
    return "'" + "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text) + "'"


# From text


def from_text(kind: str, text: pa.StringArray) -> Parsed:
    """Return the values of a column of CSV fields, parsed as `kind` (a key of ARROW_TYPES)."""
    return _FROM_TEXT[kind](text)


def _float_from_text(text: pa.StringArray) -> Parsed:
    values = _try_cast(text, pa.float64())
    if values is not None:
        return _finite(values, None)
    text = _with_nulls(text)
    values = _try_cast(text, pa.float64())
    if values is not None:
        return _finite(values, None)
    number = pc.match_substring_regex(text, _NUMBER)
    values = pc.cast(pc.if_else(number, text, None), pa.float64())
    return _finite(values, pc.fill_null(pc.invert(number), False))


def _integer_from_text(text: pa.StringArray) -> Parsed:
    values = _try_cast(text, pa.int64())
    if values is not None:
        return Parsed(values, None)
    text = _with_nulls(text)
    values = _try_cast(text, pa.int64())
    if values is not None:
        return Parsed(values, None)
    plain = pc.match_substring_regex(text, _INTEGER)
    integers = _integer_from_digits(pc.if_else(plain, text, None))
    others = _integer_from_float(*_float_from_text(pc.if_else(plain, None, text)))
    too_large = pc.fill_null(pc.and_(plain, pc.is_null(integers)), False)
    return Parsed(pc.coalesce(integers, others.values), _union(others.invalid, too_large))


def _integer_from_digits(digits: pa.StringArray) -> pa.Int64Array:
    """Return signed digits as integers, null for those beyond 64 bits."""
    short = pc.less(pc.utf8_length(digits), MAX_SHORT_DIGITS)
    integers = pc.cast(pc.utf8_ltrim(pc.if_else(short, digits, None), "+"), pa.int64())
    long = pc.fill_null(pc.invert(short), False)
    if not pc.any(long).as_py():
        return integers
    values = [_integer_of_64_bits(text) for text in digits.filter(long).to_pylist()]
    return pc.replace_with_mask(integers, long, pa.array(values, pa.int64()))


def _integer_of_64_bits(text: str) -> int | None:
    digits = text.lstrip("+-").lstrip("0")
    value = int(digits or "0") * (-1 if text.startswith("-") else 1) if len(digits) <= MAX_SHORT_DIGITS + 1 else 2**63
    return value if -(2**63) <= value < 2**63 else None


def _integer_from_float(values: pa.Array, invalid: pa.BooleanArray | None) -> Parsed:
    """Accept floats that are whole, as pandas writes an integer column that has missing values."""
    whole = pc.and_(
        pc.equal(pc.floor(values), values), pc.less_equal(pc.abs(values), pa.scalar(float(LARGEST_EXACT_FLOAT)))
    )
    broken = pc.fill_null(pc.invert(whole), False)
    integers = pc.cast(pc.if_else(broken, None, values), pa.int64())
    return Parsed(integers, _union(invalid, broken))


def _boolean_from_text(text: pa.StringArray) -> Parsed:
    encoded = text.dictionary_encode()
    words = [word.strip().lower() for word in encoded.dictionary.to_pylist()]
    meaning = [True if word in TRUE_WORDS else False if word in FALSE_WORDS else None for word in words]
    unknown = [value is None and word not in MISSING_WORDS for word, value in zip(words, meaning, strict=True)]
    values = pa.array(meaning, pa.bool_()).take(encoded.indices)
    if not any(unknown):
        return Parsed(values, None)
    return Parsed(values, pc.fill_null(pa.array(unknown).take(encoded.indices), False))


def _string_from_text(text: pa.StringArray) -> Parsed:
    if pc.index(text, "").as_py() >= 0:
        text = pc.if_else(pc.equal(text, ""), None, text)
    return Parsed(text.dictionary_encode(), None)


def _timestamp_from_text(text: pa.StringArray) -> Parsed:
    values = _try_cast(text, ARROW_TYPES["timestamp"])
    if values is not None:
        return Parsed(values, None)
    text = _with_nulls(text)
    values = _try_cast(text, ARROW_TYPES["timestamp"])
    if values is None:
        zoned = _try_cast(text, pa.timestamp("us", "UTC"))
        values = None if zoned is None else pc.cast(zoned, ARROW_TYPES["timestamp"])
    if values is not None:
        return Parsed(values, None)
    times = [None if word is None else _time(word) for word in text.to_pylist()]
    values = pa.array(times, ARROW_TYPES["timestamp"])
    return Parsed(values, pc.and_(pc.is_valid(text), pc.is_null(values)))


def _time(word: str) -> datetime | None:
    """Return a time as UTC without a zone; a text without a zone is UTC already. None: not a time."""
    try:
        time = datetime.fromisoformat(word)
        return time.astimezone(UTC).replace(tzinfo=None) if time.tzinfo else time
    except (ValueError, OverflowError):
        return None


_FROM_TEXT: dict[str, Callable[[pa.StringArray], Parsed]] = {
    "float": _float_from_text,
    "integer": _integer_from_text,
    "boolean": _boolean_from_text,
    "string": _string_from_text,
    "timestamp": _timestamp_from_text,
}


def _try_cast(array: pa.Array, to: pa.DataType) -> pa.Array | None:
    """The fast path: the whole column at once, or None when one value is not of the type."""
    try:
        return pc.cast(array, to)
    except pa.ArrowInvalid:
        return None


def _with_nulls(text: pa.StringArray) -> pa.StringArray:
    trimmed = pc.utf8_trim_whitespace(text)
    return pc.if_else(pc.is_in(pc.utf8_lower(trimmed), value_set=_MISSING), None, trimmed)


def _finite(values: pa.Array, invalid: pa.BooleanArray | None) -> Parsed:
    """Turn NaN into a missing value, and what no algorithm can hold into an invalid one."""
    sound = pc.less_equal(pc.abs(values), LARGEST_FLOAT)  # false for NaN
    if pc.all(sound, min_count=0).as_py():
        return Parsed(values, invalid)
    too_large = pc.fill_null(pc.greater(pc.abs(values), LARGEST_FLOAT), False)
    values = pc.if_else(sound, values, None)
    return Parsed(values, _union(invalid, too_large) if pc.any(too_large).as_py() else invalid)


def _union(one: pa.BooleanArray | None, other: pa.BooleanArray) -> pa.BooleanArray:
    return other if one is None else pc.or_(one, other)


# From Arrow (Parquet)


def accepts(kind: str, arrow_type: pa.DataType) -> bool:
    """Whether a Parquet column of this type can hold a column of the definition's type."""
    is_type = pa.types
    if is_type.is_null(arrow_type):
        return True
    number = is_type.is_integer(arrow_type) or is_type.is_floating(arrow_type) or is_type.is_decimal(arrow_type)
    allowed = {
        "float": number,
        "integer": number,
        "boolean": number or is_type.is_boolean(arrow_type),
        "timestamp": is_type.is_timestamp(arrow_type) or is_type.is_date(arrow_type) or _is_text(arrow_type),
        "string": _is_text(arrow_type),
    }
    return bool(allowed[kind])


def _is_text(arrow_type: pa.DataType) -> bool:
    value_type = arrow_type.value_type if pa.types.is_dictionary(arrow_type) else arrow_type
    return value_type in (pa.string(), pa.large_string(), pa.string_view())


def from_arrow(kind: str, array: pa.Array) -> Parsed:
    """Return the values of a Parquet column of a type that `accepts` allows."""
    if pa.types.is_null(array.type):
        return Parsed(pa.nulls(len(array), ARROW_TYPES[kind]), None)
    if _is_text(array.type):
        return from_text(kind, pc.cast(array, pa.string()))
    if kind == "timestamp":
        return Parsed(
            pc.cast(pc.cast(array, pa.timestamp("us", _zone(array.type)), safe=False), pa.timestamp("us")), None
        )
    if pa.types.is_boolean(array.type):
        return Parsed(array, None)
    if kind == "integer" and pa.types.is_integer(array.type) and array.type != pa.uint64():
        return Parsed(pc.cast(array, pa.int64()), None)
    numbers = _finite(pc.cast(array, pa.float64(), safe=False), None)
    return {"float": Parsed, "integer": _integer_from_float, "boolean": _boolean_from_float}[kind](*numbers)


def _zone(arrow_type: pa.DataType) -> str | None:
    return arrow_type.tz if pa.types.is_timestamp(arrow_type) else None


def _boolean_from_float(values: pa.Array, invalid: pa.BooleanArray | None) -> Parsed:
    broken = pc.fill_null(pc.invert(pc.is_in(values, value_set=pa.array([0.0, 1.0]))), False)
    broken = pc.and_(broken, pc.is_valid(values))
    return Parsed(pc.cast(pc.if_else(broken, None, values), pa.bool_()), _union(invalid, broken))


# From Python (JSON)


def from_python(kind: str, values: Sequence[Any]) -> pa.Array:
    """Return the values of a column of parsed JSON. Raises ValueRefusedError on the first value of another type."""
    try:
        if {type(value) for value in values} <= _JSON_TYPES[kind]:
            array = pa.array(values, pa.string() if kind in ("string", "timestamp") else ARROW_TYPES[kind])
            parsed = _finite(array, None) if kind == "float" else Parsed(array, None)
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
        result = _time(value)
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


# To text


def to_text(array: pa.Array) -> pa.StringArray:
    """Return numbers as plain decimals that read back as the same value, booleans as 1 and 0, strings as they are.

    Never scientific notation: Model Monitor's file formats do not take it.
    """
    if pa.types.is_dictionary(array.type):
        return array.dictionary.take(array.indices)
    if pa.types.is_boolean(array.type):
        return pc.cast(pc.cast(array, pa.int8()), pa.string())
    text = pc.cast(array, pa.string())
    if not pa.types.is_floating(array.type):
        return text
    exponent = pc.match_substring(text, "e")
    return _without_exponents(array, text, exponent) if pc.any(exponent).as_py() else text


def _without_exponents(array: pa.Array, text: pa.StringArray, exponent: pa.BooleanArray) -> pa.StringArray:
    numbers = array.filter(exponent, null_selection_behavior="drop")
    plain = pa.array([plain_decimal(value) for value in numbers.to_pylist()], pa.string())
    return pc.replace_with_mask(text, pc.fill_null(exponent, False), plain)


def plain_decimal(value: float) -> str:
    """Return the shortest decimal without exponent that reads back as the same float."""
    return np.format_float_positional(value, unique=True, trim="-")
