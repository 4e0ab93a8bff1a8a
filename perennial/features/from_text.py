"""Values of CSV fields, in files and in requests, and of texts in JSON and Parquet.

Except in strings, NA, N/A, #N/A, NaN, null, none and blank texts are missing. The healthy path converts a column at
once; a column with a value that is not of its type takes the slower one, which finds the value. Both have one grammar:
what Arrow alone would take beyond it (0x1F, nan(1), the year 0) sends a column to the slower one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from perennial.features.grammar import (
    FALSE_WORDS,
    FIRST_TIME,
    INTEGER,
    LAST_TIME,
    MAX_SHORT_DIGITS,
    NUMBER,
    TRUE_WORDS,
    integer_of_64_bits,
    utc_time,
)
from perennial.features.parsing import MISSING_WORDS, PLAIN, Parsing
from perennial.features.text_columns import known, plain, strings
from perennial.features.values import ARROW_TYPES, Parsed, extremes, finite, holds, integers_from_floats, union


def from_text(kind: str, text: pa.StringArray, parsing: Parsing = PLAIN) -> Parsed:
    """Return the values of a column of texts, read as `kind` (a key of ARROW_TYPES)."""
    if kind == "string":
        return _string_from_text(text, parsing)
    values, invalid = _FROM_TEXT[kind](plain(parsing, kind, text))
    return Parsed(known(parsing, values), invalid)


def _float_from_text(text: pa.StringArray) -> Parsed:
    values, text = _cast_at_once(text, pa.float64(), _has_no_nan)
    if values is not None:
        return finite(values, None)
    number = pc.match_substring_regex(text, NUMBER)
    values = pc.cast(pc.if_else(number, text, None), pa.float64())
    return finite(values, pc.fill_null(pc.invert(number), False))


def _has_no_nan(text: pa.StringArray, values: pa.Array) -> bool:
    return not pc.any(pc.is_nan(values)).as_py()


def _integer_from_text(text: pa.StringArray) -> Parsed:
    values, text = _cast_at_once(text, pa.int64(), _has_no_hexadecimals)
    if values is not None:
        return Parsed(values, None)
    whole = pc.match_substring_regex(text, INTEGER)
    digits = pc.replace_substring_regex(pc.if_else(whole, text, None), r"\..*$", "")
    integers = _integer_from_digits(digits)
    others = integers_from_floats(*_float_from_text(pc.if_else(whole, None, text)))
    too_large = pc.fill_null(pc.and_(whole, pc.is_null(integers)), False)
    return Parsed(pc.coalesce(integers, others.values), union(others.invalid, too_large))


def _has_no_hexadecimals(text: pa.StringArray, values: pa.Array) -> bool:
    return not any(holds(text, letter) and pc.any(pc.match_substring(text, letter)).as_py() for letter in "xX")


def _integer_from_digits(digits: pa.StringArray) -> pa.Int64Array:
    """Return signed digits as integers, null for those beyond 64 bits."""
    short = pc.less(pc.utf8_length(digits), MAX_SHORT_DIGITS)
    integers = pc.cast(pc.utf8_ltrim(pc.if_else(short, digits, None), "+"), pa.int64())
    long = pc.fill_null(pc.invert(short), False)
    if not pc.any(long).as_py():
        return integers
    values = [integer_of_64_bits(text) for text in digits.filter(long).to_pylist()]
    return pc.replace_with_mask(integers, long, pa.array(values, pa.int64()))


def _boolean_from_text(text: pa.StringArray) -> Parsed:
    if (values := _zeros_and_ones(text)) is not None:
        return Parsed(values, None)
    encoded = text.dictionary_encode()
    words = [word.strip().lower() for word in encoded.dictionary.to_pylist()]
    meaning = [True if word in TRUE_WORDS else False if word in FALSE_WORDS else None for word in words]
    unknown = [value is None and word not in MISSING_WORDS for word, value in zip(words, meaning, strict=True)]
    values = pa.array(meaning, pa.bool_()).take(encoded.indices)
    if not any(unknown):
        return Parsed(values, None)
    return Parsed(values, pc.fill_null(pa.array(unknown).take(encoded.indices), False))


def _zeros_and_ones(text: pa.StringArray) -> pa.BooleanArray | None:
    """Return the values of a column in which each text is 0 or 1; None where one is another."""
    if not len(text) or text.null_count:
        return None
    _, ends, characters = text.buffers()
    of_rows = np.frombuffer(ends, np.int32)[text.offset : text.offset + len(text) + 1]
    if not (np.diff(of_rows) == 1).all():
        return None
    digits = np.frombuffer(characters, np.uint8)[of_rows[0] : of_rows[-1]] - np.uint8(ord("0"))
    return pa.array(digits.view(np.bool_)) if (digits <= 1).all() else None


def _string_from_text(text: pa.StringArray, parsing: Parsing) -> Parsed:
    encoded = text.dictionary_encode()
    words = strings(parsing, encoded.dictionary)
    if words.equals(encoded.dictionary):
        return Parsed(encoded, None)
    return Parsed(words.take(encoded.indices).dictionary_encode(), None)


def _timestamp_from_text(text: pa.StringArray) -> Parsed:
    values, text = _cast_at_once(text, ARROW_TYPES["timestamp"], _in_calendar)
    if values is None and (zoned := _try_cast(text, pa.timestamp("us", "UTC"), _in_calendar)) is not None:
        values = pc.cast(zoned, ARROW_TYPES["timestamp"])
    if values is not None:
        return Parsed(values, None)
    times = [None if word is None else utc_time(word) for word in text.to_pylist()]
    values = pa.array(times, ARROW_TYPES["timestamp"])
    return Parsed(values, pc.and_(pc.is_valid(text), pc.is_null(values)))


def _in_calendar(text: pa.StringArray, values: pa.Array) -> bool:
    first, last = (pa.scalar(time, ARROW_TYPES["timestamp"]).value for time in (FIRST_TIME, LAST_TIME))
    lowest, highest = extremes(pc.cast(values, pa.int64()))
    return lowest is None or (first <= lowest and highest <= last)


_FROM_TEXT: dict[str, Callable[[pa.StringArray], Parsed]] = {
    "float": _float_from_text,
    "integer": _integer_from_text,
    "boolean": _boolean_from_text,
    "timestamp": _timestamp_from_text,
}


@cache
def _missing_words() -> pa.StringArray:
    return pa.array(sorted(MISSING_WORDS))


Sound = Callable[[pa.StringArray, pa.Array], bool]


def _cast_at_once(text: pa.StringArray, to: pa.DataType, sound: Sound) -> tuple[pa.Array | None, pa.StringArray]:
    """Return the whole column converted, or None where a value is not of the type, and the text with nulls by then."""
    values = _try_cast(text, to, sound)
    if values is not None:
        return values, text
    trimmed = pc.utf8_trim_whitespace(text)
    text = pc.if_else(pc.is_in(pc.utf8_lower(trimmed), value_set=_missing_words()), None, trimmed)
    return _try_cast(text, to, sound), text


def _try_cast(text: pa.StringArray, to: pa.DataType, sound: Sound) -> pa.Array | None:
    """Return texts converted by Arrow; None where one is not of the type, or `sound` says that one may not be."""
    try:
        values = pc.cast(text, to)
    except pa.ArrowInvalid:
        return None
    return values if sound(text, values) else None
