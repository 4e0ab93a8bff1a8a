"""Values of one column: the types of a definition as Arrow columns, and their plain text.

    type       Arrow type                     in CSV (from_text)
    float      float64                        -1.5, 2, .5, 1e3; finite in single precision (up to 3.4e38)
    integer    int64                          5, -3, 5.0
    boolean    bool                           true false yes no t f y n 1 0 1.0 0.0, in any case
    string     dictionary<int32, string>      anything; an empty text is a missing value
    timestamp  timestamp[us], UTC             ISO 8601: 2024-05-01, 2024-05-01T10:00:00, ...+02:00

Missing values are null. A value means the same in a file (from_text, from_arrow), in a request (from_text,
from_json) and in the test set (lines).
"""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from perennial.features.grammar import LARGEST_EXACT_FLOAT, LARGEST_FLOAT
from perennial.features.hundredths import text_of_hundredths

STRING = pa.dictionary(pa.int32(), pa.string())
ARROW_TYPES: dict[str, pa.DataType] = {
    "float": pa.float64(),
    "integer": pa.int64(),
    "boolean": pa.bool_(),
    "string": STRING,
    "timestamp": pa.timestamp("us"),
}
NARROW = 1024
LARGEST_PLAIN = 10**15  # from there on Arrow writes numbers with an exponent
MORE_THAN_ASCII = 128
MINUS_ZERO = np.uint64(1 << 63)  # its bits; as an integer it is 0


class DataError(Exception):
    """The data are wrong, not the program. The text says what, where and what to do; it is shown to people.

    Of several arguments each is a line: the first says the most, the others are the problems one by one.
    """

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple(str(line) for line in self.args)

    def __str__(self) -> str:
        return "\n".join(self.lines)


class Parsed(NamedTuple):
    """Typed values, null where a value is missing or invalid, and a mask of the invalid ones (None: there are none)."""

    values: pa.Array
    invalid: pa.BooleanArray | None


def integers_from_floats(values: pa.Array, invalid: pa.BooleanArray | None) -> Parsed:
    """Accept floats that are whole, as pandas writes an integer column that has missing values."""
    exact = pc.less_equal(pc.abs(values), float(LARGEST_EXACT_FLOAT))
    broken = pc.fill_null(pc.invert(pc.and_(exact, pc.equal(pc.floor(values), values))), False)
    integers = pc.cast(pc.if_else(broken, None, values), pa.int64())
    return Parsed(integers, union(invalid, broken))


def finite(values: pa.Array, invalid: pa.BooleanArray | None) -> Parsed:
    """Turn NaN into a missing value, and what no algorithm can hold into an invalid one."""
    sound = pc.less_equal(pc.abs(values), LARGEST_FLOAT)  # false for NaN
    if pc.all(sound, min_count=0).as_py():
        return Parsed(values, invalid)
    too_large = pc.fill_null(pc.greater(pc.abs(values), LARGEST_FLOAT), False)
    values = pc.if_else(sound, values, None)
    return Parsed(values, union(invalid, too_large) if pc.any(too_large).as_py() else invalid)


def union(one: pa.BooleanArray | None, other: pa.BooleanArray) -> pa.BooleanArray:
    """Return the mask of what is in either of two masks; None is an empty one."""
    return other if one is None else pc.or_(one, other)


def extremes(numbers: pa.Array) -> tuple[Any, Any]:
    """Return the lowest and the highest of numbers, none of which is NaN; None where there is none."""
    if len(numbers) and not numbers.null_count:
        values = numbers.to_numpy()
        return values.min().item(), values.max().item()  # a tenth of Arrow's time
    of_arrow = pc.min_max(numbers)
    return of_arrow["min"].as_py(), of_arrow["max"].as_py()


def as_dictionary(values: pa.Array) -> pa.DictionaryArray:
    """Return texts as a dictionary, which they may be already."""
    return values if pa.types.is_dictionary(values.type) else values.dictionary_encode()


def to_text(array: pa.Array) -> pa.StringArray:
    """Return numbers as plain decimals that read back as the same value, booleans as 1 and 0, strings as they are.

    Never scientific notation: Model Monitor's file formats do not take it.
    """
    return decoded(to_texts(array))


def to_texts(array: pa.Array) -> pa.StringArray | pa.DictionaryArray:
    """Return the same, of a long column of few values as a dictionary of their texts."""
    if pa.types.is_dictionary(array.type):
        return array
    if pa.types.is_boolean(array.type):
        return _looked_up(pc.cast(array, pa.int8()), 0, 1)
    if pa.types.is_integer(array.type):
        return _text_of_integers(array)
    if array.type == pa.float64() and (integers := _as_integers(array)) is not None:
        return _text_of_integers(integers)
    if array.type == pa.float64() and len(array) >= NARROW and (text := text_of_hundredths(array)) is not None:
        return text
    text = pc.cast(array, pa.string())
    return _without_exponents(array, text) if pa.types.is_floating(array.type) and holds(text, "e") else text


def decoded(text: pa.StringArray | pa.DictionaryArray) -> pa.StringArray:
    """Return texts that may be a dictionary as one text for each row."""
    return text.dictionary.take(text.indices) if pa.types.is_dictionary(text.type) else text


def text_of(value: float | datetime) -> str:
    """Return one number, boolean or time as `to_text` has it in a column."""
    if isinstance(value, datetime):
        return value.isoformat(" ", "microseconds")
    if not isinstance(value, float):
        return str(int(value))
    text = repr(value)
    return plain_decimal(value) if "e" in text else text.removesuffix(".0")


def _text_of_integers(array: pa.Array) -> pa.StringArray | pa.DictionaryArray:
    lowest, highest = extremes(array)
    is_narrow = lowest is not None and highest - lowest < NARROW and len(array) >= NARROW
    return _looked_up(array, lowest, highest) if is_narrow else pc.cast(array, pa.string())


def _looked_up(array: pa.Array, lowest: int, highest: int) -> pa.DictionaryArray:
    """Return integers of a narrow range as texts that are made once."""
    places = pc.subtract(array, lowest) if lowest else array
    return pa.DictionaryArray.from_arrays(places, _texts_between(lowest, highest), safe=False)


@lru_cache(maxsize=128)
def _texts_between(lowest: int, highest: int) -> pa.StringArray:
    return pc.cast(pa.array(range(lowest, highest + 1)), pa.string())


def _as_integers(array: pa.DoubleArray) -> pa.Array | None:
    """Return numbers as integers where these have the same text, which is made in a third of the time."""
    try:
        integers = pc.cast(array, pa.int64())
    except pa.ArrowInvalid:
        return None
    bits = np.frombuffer(array.buffers()[1], np.uint64)[array.offset : array.offset + len(array)]
    lowest, highest = extremes(integers)
    is_plain = (lowest or 0) > -LARGEST_PLAIN and (highest or 0) < LARGEST_PLAIN
    return integers if is_plain and not (bits == MINUS_ZERO).any() else None


def holds(text: pa.StringArray, character: str) -> bool:
    """Return whether a character of ASCII may be in a text among some; a cheap look at all in their memory."""
    characters = text.buffers()[2]
    return characters is not None and bool((np.frombuffer(characters, np.uint8) == ord(character)).any())


def holds_blanks(text: pa.StringArray) -> bool:
    """Return whether a white space may be in a text among some: those of ASCII come before all that is printed."""
    characters = np.frombuffer(text.buffers()[2] or b"", np.uint8)
    return bool(characters.size) and bool(characters.min() <= ord(" ") or characters.max() >= MORE_THAN_ASCII)


def _without_exponents(array: pa.Array, text: pa.StringArray) -> pa.StringArray:
    exponent = pc.match_substring(text, "e")
    numbers = array.filter(exponent, null_selection_behavior="drop")
    plain = pa.array([plain_decimal(value) for value in numbers.to_pylist()], pa.string())
    return pc.replace_with_mask(text, pc.fill_null(exponent, False), plain)


def plain_decimal(value: float) -> str:
    """Return the shortest decimal without exponent that reads back as the same float."""
    return np.format_float_positional(value, unique=True, trim="-")
