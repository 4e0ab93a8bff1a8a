"""Values of Parquet columns: which Arrow types can hold a column of the definition, and what they mean."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from perennial.features.from_text import from_text
from perennial.features.parsing import NUMBERS, PLAIN, Parsing
from perennial.features.text_columns import known
from perennial.features.values import ARROW_TYPES, Parsed, finite, integers_from_floats

UNITS_A_DAY = {"s": 86_400, "ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
FIRST_DAY, LAST_DAY = -719_162, 2_932_896  # 0001-01-01 and 9999-12-31, counted from 1970-01-01


def accepts(kind: str, arrow_type: pa.DataType, parsing: Parsing = PLAIN) -> bool:
    """Return whether a Parquet column of this type can hold a column of the definition's type."""
    is_type = pa.types
    if is_type.is_null(arrow_type) or is_text(arrow_type):
        return True
    number = is_type.is_integer(arrow_type) or is_type.is_floating(arrow_type) or is_type.is_decimal(arrow_type)
    is_time = is_type.is_timestamp(arrow_type) or is_type.is_date(arrow_type)
    allowed = {
        "float": number,
        "integer": number,
        "boolean": number or is_type.is_boolean(arrow_type),
        "timestamp": is_time or (number and bool(parsing.formats)),
        "string": number or is_time or is_type.is_boolean(arrow_type) or is_type.is_time(arrow_type),
    }
    return bool(allowed[kind])


def is_text(arrow_type: pa.DataType) -> bool:
    """Return whether values of this type are texts, plain or by a dictionary; some programs write them as bytes."""
    value_type = arrow_type.value_type if pa.types.is_dictionary(arrow_type) else arrow_type
    return value_type in (pa.string(), pa.large_string(), pa.string_view()) or is_bytes(value_type)


def is_bytes(arrow_type: pa.DataType) -> bool:
    return arrow_type in (pa.binary(), pa.large_binary(), pa.binary_view())


def from_arrow(kind: str, array: pa.Array, parsing: Parsing = PLAIN) -> Parsed:
    """Return the values of a Parquet column of a type that `accepts` allows. Texts mean what they do in a CSV file."""
    if pa.types.is_null(array.type):
        return Parsed(pa.nulls(len(array), ARROW_TYPES[kind]), None)
    if is_text(array.type):
        return from_text(kind, pc.cast(array, pa.string()), parsing)
    if kind == "string":
        text, invalid = _texts(array)
        return Parsed(from_text(kind, text, parsing).values, invalid)
    if pa.types.is_boolean(array.type):
        return Parsed(array, None)
    if pa.types.is_timestamp(array.type) or pa.types.is_date(array.type):
        return _timestamp_from_arrow(array)
    if kind not in NUMBERS:
        return from_text(kind, whole_number_texts(array), parsing)
    values, invalid = _number_from_arrow(kind, array)
    return Parsed(known(parsing, values), invalid)


def _number_from_arrow(kind: str, array: pa.Array) -> Parsed:
    if pa.types.is_decimal(array.type) or array.type in (pa.uint64(), pa.float32()):
        return from_text(kind, pc.cast(array, pa.string()))  # exactly, and in single precision as it is written
    if kind == "integer" and pa.types.is_integer(array.type):
        return Parsed(pc.cast(array, pa.int64()), None)
    numbers = finite(pc.cast(array, pa.float64(), safe=False), None)
    return integers_from_floats(*numbers) if kind == "integer" else numbers


def _texts(array: pa.Array) -> Parsed:
    """Return values as the texts that pandas and Arrow write in CSV, whatever stands beside them.

    Times have no zeros after a fraction, and no midnight unless a zone says whose: they are in UTC then (Z).
    """
    if pa.types.is_boolean(array.type):
        return Parsed(pc.cast(array, pa.string()), None)
    if not pa.types.is_temporal(array.type):
        return _digits(array)
    invalid = None
    if not pa.types.is_time(array.type):
        sound = _in_calendar(array)
        array, invalid = pc.if_else(sound, array, None), pc.fill_null(pc.invert(sound), False)
    if pa.types.is_timestamp(array.type) and array.type.tz:
        array = pc.cast(array, pa.timestamp(array.type.unit, "UTC"))
    texts = pc.replace_substring_regex(pc.cast(array, pa.string()), r"(?:\.0+|(\.\d*[1-9])0+)(Z?)$", r"\1\2")
    return Parsed(pc.replace_substring_regex(texts, r"^(\d+-\d+-\d+) 00:00:00$", r"\1"), invalid)


def _digits(numbers: pa.Array) -> Parsed:
    """Return whole numbers as texts: they have one spelling. Others are no texts."""
    if pa.types.is_decimal(numbers.type):
        texts = whole_number_texts(numbers)
        whole = pc.match_substring_regex(texts, "^-?[0-9]+$")
        return Parsed(pc.if_else(whole, texts, None), pc.fill_null(pc.invert(whole), False))
    invalid = None
    if pa.types.is_floating(numbers.type):
        numbers, invalid = integers_from_floats(*finite(pc.cast(numbers, pa.float64()), None))
    return Parsed(pc.cast(numbers, pa.string()), invalid)


def whole_number_texts(numbers: pa.Array) -> pa.StringArray:
    """Return numbers as texts, whole ones without a point, so that they can be words, or times of some format."""
    if pa.types.is_floating(numbers.type):
        numbers = pc.if_else(pc.is_nan(numbers), None, numbers)
    return pc.replace_substring_regex(pc.cast(numbers, pa.string()), r"\.0*$", "")


def _timestamp_from_arrow(array: pa.Array) -> Parsed:
    """Return times as UTC; those in no year from 1 to 9999, which Python's calendar does not hold, are invalid."""
    sound = _in_calendar(array)
    in_microseconds = pa.timestamp("us", array.type.tz if pa.types.is_timestamp(array.type) else None)
    times = pc.cast(pc.if_else(sound, array, None), in_microseconds, safe=False)
    return Parsed(pc.cast(times, ARROW_TYPES["timestamp"]), pc.fill_null(pc.invert(sound), False))


def _in_calendar(array: pa.Array) -> pa.BooleanArray:
    """Return whether dates or times are in the years 1 to 9999."""
    is_time = pa.types.is_timestamp(array.type)
    a_day = UNITS_A_DAY[array.type.unit] if is_time else 1 if pa.types.is_date32(array.type) else UNITS_A_DAY["ms"]
    counts = pc.cast(pc.cast(array, pa.int32()) if pa.types.is_date32(array.type) else array, pa.int64())
    first, last = max(FIRST_DAY * a_day, -(2**63)), min((LAST_DAY + 1) * a_day, 2**63) - 1
    return pc.and_(pc.greater_equal(counts, first), pc.less_equal(counts, last))
