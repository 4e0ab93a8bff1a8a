"""Conversions of values: text, Parquet and JSON to typed columns, and back to plain text."""

import io
import json
import math
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial import words
from perennial.features import values
from perennial.features.from_arrow import accepts, from_arrow
from perennial.features.from_json import ValueRefusedError, from_python
from perennial.features.from_text import from_text
from perennial.features.values import ARROW_TYPES, to_text

SINGLE = float(np.finfo(np.float32).max)


def parsed(kind: str, *texts: str) -> tuple[list[Any], list[bool]]:
    """Values and which of them are invalid."""
    result = from_text(kind, pa.array(texts, pa.string()))
    invalid = result.invalid.to_pylist() if result.invalid is not None else [False] * len(texts)
    return result.values.to_pylist(), invalid


@pytest.mark.parametrize("text", ["", " ", "NA", "n/a", "#N/A", "NaN", "nan", "null", "None", "NULL"])
@pytest.mark.parametrize("kind", ["float", "integer", "boolean", "timestamp"])
def test_missing_words_are_missing_and_not_invalid(kind: str, text: str) -> None:
    assert parsed(kind, text) == ([None], [False])


def test_string_is_missing_only_when_blank_and_blanks_around_it_are_no_part_of_it() -> None:
    assert parsed("string", "", "NA", " ", "null", " a b\t") == ([None, "NA", None, "null", "a b"], [False] * 5)


@pytest.mark.parametrize(
    ("text", "value"),
    [("-1.5", -1.5), (" 2 ", 2.0), (".5", 0.5), ("1.", 1.0), ("1e3", 1000.0), ("+7", 7.0), ("007", 7)],
)
def test_number_is_read(text: str, value: float) -> None:
    assert parsed("float", text, "x")[0] == [value, None]


@pytest.mark.parametrize(
    "text",
    [
        "23.4 kmpl",
        "1,5",
        "1 000",
        "12 mi",
        "0x1F",
        "1_000",
        "١٢",
        "$5",
        "1e",
        "--1",
        "inf",
        "-Infinity",
        "1e400",
        "1e39",
    ],
)
def test_what_is_no_finite_number_is_invalid(text: str) -> None:
    assert parsed("float", "1", text) == ([1.0, None], [False, True])


def test_one_broken_value_leaves_the_others_as_they_are() -> None:
    assert parsed("float", "1.5", "?", "", "2") == ([1.5, None, None, 2.0], [False, True, False, False])


def test_integer_may_be_written_as_a_whole_float() -> None:
    texts = ["5", "5.0", "-3", "+4", "1e2", "5.5", "x", "", "9" * 5000, str(2**63), str(-(2**63)), "0" * 5000 + "5"]
    numbers = [5, 5, -3, 4, 100, None, None, None, None, None, -(2**63), 5]
    assert parsed("integer", *texts) == (
        numbers,
        [number is None and text != "" for text, number in zip(texts, numbers, strict=True)],
    )


def test_boolean_words() -> None:
    true = ["true", "TRUE", "t", "Yes", "y", "1", "1.0", " true "]
    false = ["false", "False", "F", "no", "N", "0", "0.0"]
    assert parsed("boolean", *true, *false) == ([True] * 8 + [False] * 7, [False] * 15)
    assert parsed("integer", "9007199254740993.0", "x")[0][0] == 2**53 + 1
    assert parsed("boolean", "maybe", "2", "1") == ([None, None, True], [True, True, False])


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-05-01", datetime(2024, 5, 1)),  # noqa: DTZ001 - UTC without a zone, as in the column
        ("2024-05-01T10:00:00", datetime(2024, 5, 1, 10)),  # noqa: DTZ001
        ("2024-05-01 10:00:00.25", datetime(2024, 5, 1, 10, 0, 0, 250_000)),  # noqa: DTZ001
        ("2024-05-01T10:00:00Z", datetime(2024, 5, 1, 10)),  # noqa: DTZ001
        ("2024-05-01T10:00:00+02:00", datetime(2024, 5, 1, 8)),  # noqa: DTZ001
    ],
)
def test_timestamp_is_read_as_utc_alone_and_among_others(text: str, moment: datetime) -> None:
    assert parsed("timestamp", text) == ([moment], [False])
    assert parsed("timestamp", text, "", "01/02/2024", "2024-13-01") == (
        [moment, None, None, None],
        [False, False, True, True],
    )


def test_any_value_is_shown_short_and_printable() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert words.quoted(deep) == "'a list that has no text'"
    assert words.quoted(10**5000) == "'a int that has no text'"
    assert words.quoted("a\n\x1b[31m\u202e") == r"'a\u000a\u001b[31m\u202e'"
    assert words.quoted("a" * 1000) == "'" + "a" * 37 + "...'"


# ---- Every way in gives the same value


@given(st.lists(st.floats(-SINGLE, SINGLE) | st.none(), min_size=1, max_size=20))
def test_float_round_trips_through_plain_text_and_json(numbers: list[float | None]) -> None:
    column = from_python("float", numbers)
    text = to_text(column)
    assert "e" not in "".join(filter(None, text.to_pylist()))
    again = from_text("float", pa.array([field or "" for field in text.to_pylist()], pa.string()))
    assert again.values.to_pylist() == numbers
    assert again.invalid is None
    assert from_arrow("float", pa.array(numbers, pa.float64())).values.to_pylist() == numbers


@given(st.lists(st.integers(-(2**63), 2**63 - 1) | st.none(), min_size=1, max_size=20))
def test_integer_round_trips_through_plain_text_and_json(numbers: list[int | None]) -> None:
    column = from_python("integer", numbers)
    text = to_text(column)
    again = from_text("integer", pa.array(["" if field is None else field for field in text.to_pylist()], pa.string()))
    assert again.values.to_pylist() == column.to_pylist() == numbers


@given(st.text())
@settings(max_examples=300)
def test_any_text_is_a_value_missing_or_invalid_in_every_type(text: str) -> None:
    for kind in ARROW_TYPES:
        result = from_text(kind, pa.array([text, ""], pa.string()))
        assert result.values.type == ARROW_TYPES[kind]
        invalid = result.invalid is not None and result.invalid[0].as_py()
        assert not (invalid and result.values[0].is_valid)
        assert result.values[1].as_py() is None


@pytest.mark.parametrize("value", [1e10, 1e15, 1e21, 1e-7, 5e-324, -1.7e38, 123456789.125, 0.1, -0.0])
def test_plain_decimals_have_no_exponent_and_lose_nothing(value: float) -> None:
    text = to_text(pa.array([value, None]))[0].as_py()
    assert "e" not in text
    assert float(text) == value
    assert math.copysign(1, float(text)) == math.copysign(1, value)


@given(
    st.lists(st.integers(-(10**16), 10**16).map(float) | st.sampled_from([-0.0, None]), min_size=1), st.integers(0, 1)
)
def test_whole_floats_have_the_text_of_integers_but_for_minus_zero(numbers: list[float | None], start: int) -> None:
    text = to_text(pa.array(numbers, pa.float64()).slice(start)).to_pylist()
    assert text == [None if number is None else f"{number:.0f}" for number in numbers[start:]]


@pytest.mark.parametrize("largest", [values.NARROW - 1, values.NARROW, 2**63 - 1])
def test_many_integers_have_the_text_that_few_have(largest: int) -> None:
    numbers = [None, largest, *range(values.NARROW)]
    assert to_text(pa.array(numbers)).to_pylist() == [None if number is None else str(number) for number in numbers]
    assert to_text(pa.array([-1, *numbers])).to_pylist()[0] == "-1"


@given(st.lists(st.sampled_from(["0", "1"]), min_size=1), st.sampled_from(["", "1", "true", "10", " 1", "2", None]))
def test_booleans_as_digits_are_read_as_those_among_other_words(digits: list[str], other: str | None) -> None:
    alone = from_text("boolean", pa.array(["1", *digits]).slice(1))
    beside = from_text("boolean", pa.array([*digits, other], pa.string()))
    assert alone.values.to_pylist() == [digit == "1" for digit in digits]
    assert (alone.invalid, beside.values.to_pylist()[:-1]) == (None, alone.values.to_pylist())


# ---- Parquet


@pytest.mark.parametrize(
    ("kind", "array", "expected"),
    [
        ("float", pa.array([1, None], pa.int32()), [1.0, None]),
        ("float", pa.array([1.5, math.nan]), [1.5, None]),
        ("float", pa.array([Decimal("1.25")]), [1.25]),
        ("float", pa.nulls(2), [None, None]),
        ("integer", pa.array([5.0, None]), [5, None]),
        ("integer", pa.array([7, 2**53 + 1, 2**63 - 1], pa.uint64()), [7, 2**53 + 1, 2**63 - 1]),
        ("integer", pa.array([Decimal(2**53 + 1), Decimal(-(2**63))], pa.decimal128(38, 0)), [2**53 + 1, -(2**63)]),
        ("integer", pa.array([Decimal("9007199254740993.00")]), [2**53 + 1]),
        ("float", pa.array([0.1, math.nan, 1e38], pa.float32()), [0.1, None, 1e38]),
        ("boolean", pa.array([1, 0, None]), [True, False, None]),
        ("string", pa.array([5, None, -7]), ["5", None, "-7"]),
        ("string", pa.array([5.0, math.nan, -7e10, 2.0**53 - 1]), ["5", None, "-70000000000", "9007199254740991"]),
        ("string", pa.array([5.0, None], pa.float32()), ["5", None]),
        ("string", pa.array([Decimal("12345678901234567890.00"), None]), ["12345678901234567890", None]),
        ("string", pa.array([b"Zo\xc3\xab", None], pa.large_binary()), ["Zoë", None]),
        ("float", pa.array([b"1.5"]).dictionary_encode(), [1.5]),
        ("boolean", pa.array([True]), [True]),
        ("string", pa.array(["a", "", None], pa.large_string()), ["a", None, None]),
        ("string", pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        ("timestamp", pa.array([date(2024, 5, 1)]), [datetime(2024, 5, 1)]),  # noqa: DTZ001
        ("timestamp", pa.array([datetime(2024, 5, 1, 10, tzinfo=UTC)]), [datetime(2024, 5, 1, 10)]),  # noqa: DTZ001
        ("timestamp", pa.array(["2024-05-01"]), [datetime(2024, 5, 1)]),  # noqa: DTZ001
        ("float", pa.array(["1.5", " 2", None, "NA"]), [1.5, 2.0, None, None]),
        ("integer", pa.array(["7", "5.0"]).dictionary_encode(), [7, 5]),
        ("boolean", pa.array(["yes", "0"], pa.large_string()), [True, False]),
    ],
)
def test_parquet_column_is_read_as_the_definition_says(kind: str, array: pa.Array, expected: list[Any]) -> None:
    assert accepts(kind, array.type)
    result = from_arrow(kind, array)
    assert result.values.type == ARROW_TYPES[kind]
    assert result.values.to_pylist() == expected
    assert result.invalid is None or not any(result.invalid.to_pylist())


TIME = datetime(2024, 5, 1, 10, 20, 30)  # noqa: DTZ001


@pytest.mark.parametrize(
    ("array", "texts"),
    [
        (pa.array([date(2024, 5, 1), None]), ["2024-05-01", None]),
        (pa.array([date(2024, 5, 1)], pa.date64()), ["2024-05-01"]),
        (pa.array([TIME, TIME.replace(microsecond=250_000)]), ["2024-05-01 10:20:30", "2024-05-01 10:20:30.25"]),
        (pa.array([TIME], pa.timestamp("ns", "Europe/Berlin")), ["2024-05-01 10:20:30Z"]),
        (pa.array([datetime(2024, 5, 1)], pa.timestamp("ns")), ["2024-05-01"]),  # noqa: DTZ001
        (pa.array([datetime(2024, 5, 1)], pa.timestamp("s", "UTC")), ["2024-05-01 00:00:00Z"]),  # noqa: DTZ001
        (pa.array([TIME.time(), time(10, 0, 0, 500)]), ["10:20:30", "10:00:00.0005"]),
        (pa.array([True, False, None]), ["true", "false", None]),
    ],
)
def test_parquet_value_in_a_column_of_texts_is_its_text(array: pa.Array, texts: list[str | None]) -> None:
    assert accepts("string", array.type)
    values, invalid = from_arrow("string", array)
    assert (values.type, values.to_pylist()) == (ARROW_TYPES["string"], texts)
    assert invalid is None or not any(invalid.to_pylist())
    assert from_text("string", pa.array(texts, pa.string())).values.to_pylist() == texts


def test_a_column_of_dates_is_the_texts_that_pandas_writes() -> None:
    frame = pd.DataFrame({"day": pd.to_datetime(["2024-05-01", "2023-12-31"]), "at": [TIME, TIME]})
    csv = pd.read_csv(io.StringIO(frame.to_csv(index=False)), dtype=str)
    for name in frame:
        assert from_arrow("string", pa.array(frame[name])).values.to_pylist() == csv[name].tolist()


@pytest.mark.parametrize(
    ("kind", "array"),
    [
        ("string", pa.array([2**53]).cast(pa.timestamp("s"))),
        ("string", pa.array([10**8], pa.int32()).cast(pa.date32())),
        ("integer", pa.array([5.5])),
        ("boolean", pa.array([2])),
        ("integer", pa.array([2**63], pa.uint64())),
        ("integer", pa.array([Decimal(2**63)])),
        ("integer", pa.array([Decimal("5.50")])),
        ("float", pa.array([math.inf])),
        ("boolean", pa.array([0.5])),
        ("string", pa.array([5.5])),
        ("string", pa.array([2.0**53])),
        ("integer", pa.array([2.0**53])),
        ("string", pa.array([math.inf])),
        ("string", pa.array([Decimal("5.50")])),
    ],
)
def test_parquet_value_of_another_kind_is_invalid(kind: str, array: pa.Array) -> None:
    result = from_arrow(kind, array)
    assert result.invalid is not None
    assert result.invalid.to_pylist() == [True]
    assert result.values.to_pylist() == [None]


@pytest.mark.parametrize(
    ("kind", "arrow_type"),
    [
        ("string", pa.binary(3)),
        ("string", pa.duration("s")),
        ("float", pa.bool_()),
        ("integer", pa.bool_()),
        ("timestamp", pa.int64()),
        ("float", pa.list_(pa.int8())),
    ],
)
def test_parquet_type_that_cannot_hold_the_column_is_not_accepted(kind: str, arrow_type: pa.DataType) -> None:
    assert not accepts(kind, arrow_type)


# ---- JSON


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("float", "12 mi"), ("float", True), ("float", math.inf), ("float", 10**400), ("float", [1]),
        ("integer", 5.5), ("integer", 2**63), ("integer", "5 doors"), ("boolean", "maybe"), ("boolean", 2),
        ("string", 5.5), ("string", 2.0**54), ("string", [True]), ("string", "\ud800"), ("string", {}),
        ("timestamp", "yesterday"), ("timestamp", 5),
    ],
)  # fmt: skip
def test_json_value_of_another_type_is_refused_by_position(kind: str, value: Any) -> None:
    sound: dict[str, Any] = {"float": 1.5, "integer": 1, "boolean": True, "string": "a", "timestamp": "2024-05-01"}
    with pytest.raises(ValueRefusedError, match="expected") as refused:
        from_python(kind, [None, sound[kind], value])
    assert refused.value.index == 2


def test_json_numbers_may_stand_for_one_another() -> None:
    assert from_python("float", [1, 2.5, None]).to_pylist() == [1.0, 2.5, None]
    assert from_python("integer", [1, 2.0]).to_pylist() == [1, 2]
    assert from_python("boolean", [1, False, 0.0]).to_pylist() == [True, False, False]
    assert from_python("float", [math.nan]).to_pylist() == [None]


def test_booleans_of_json_in_a_column_of_texts_are_words() -> None:
    assert from_python("string", [True, None, False, "a"]).to_pylist() == ["true", None, "false", "a"]


def test_a_whole_number_in_a_column_of_texts_is_its_digits_as_in_csv() -> None:
    assert from_python("string", [5, "05", None, -7, 8.0, 1e15]).to_pylist() == [
        "5", "05", None, "-7", "8", "1000000000000000",
    ]  # fmt: skip


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=3))
@settings(max_examples=300)
def test_any_json_value_is_taken_or_refused(value: Any) -> None:
    refusals = []
    for kind in ARROW_TYPES:
        try:
            assert from_python(kind, [value]).type == ARROW_TYPES[kind]
        except ValueRefusedError as refused:
            refusals.append(str(refused))
    assert all(len(refusal) < 200 for refusal in refusals)


def test_shown_values_are_short_and_have_no_control_characters() -> None:
    text = words.quoted("a\n\x1b[31m\u202e" + "x" * 1000)
    assert len(text) < 80
    assert text.startswith("'a\\u000a\\u001b[31m\\u202e")
    assert json.dumps(text)


def test_of_a_number_that_is_too_large_the_largest_is_said() -> None:
    with pytest.raises(
        ValueRefusedError, match=r"got '1e\+300', expected a number up to 3.4e\+38, the largest in single"
    ):
        from_python("float", [1.0, 1e300])
