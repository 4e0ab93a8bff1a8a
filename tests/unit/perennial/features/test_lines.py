"""Rows as CSV and JSON bytes, read back by other readers than ours."""

import csv
import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.features.lines import csv_field, csv_lines, json_lines, json_value

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
rows = st.lists(st.tuples(texts | st.none(), st.floats(-3e38, 3e38) | st.none(), st.booleans() | st.none()), min_size=1)


def columns(records: list[Any]) -> list[pa.Array]:
    text, number, flag = zip(*records, strict=True)
    return [pa.array(text, pa.string()).dictionary_encode(), pa.array(number, pa.float64()), pa.array(flag, pa.bool_())]


@given(rows)
@settings(max_examples=200)
def test_json_lines_read_back_as_the_same_records_one_a_line(records: list[Any]) -> None:
    lines = json_lines(["text", "number", "flag"], [json_value(column) for column in columns(records)]).to_pylist()
    assert [line.index("\n") for line in lines] == [len(line) - 1 for line in lines]
    assert [tuple(json.loads(line, parse_int=float).values()) for line in lines] == records


def test_json_lines_of_neighbours_with_few_combinations_say_what_each_row_says() -> None:
    """Such neighbours are looked up as one text, between numbers, missing values and texts of many values."""
    rows = [
        {
            'a "b", c': ("x", 'y, "z"', "ä\n")[row % 3],
            "flag": row % 5 < 2,
            "count": row % 4,
            "number": row / 8,
            "missing": None if row % 7 == 0 else row % 2 == 0,
            "id": f"{row}",
            "end": row % 6 == 0,
        }
        for row in range(2_000)
    ]
    names = list(rows[0])
    arrays = [pa.array([row[name] for row in rows]) for name in names]
    fields = [array.dictionary_encode() if array.type == pa.string() else array for array in arrays]
    lines = json_lines(names, [json_value(field) for field in fields]).to_pylist()
    assert [json.loads(line) for line in lines] == rows
    assert lines[0] == '{"a \\"b\\", c":"x","flag":true,"count":0,"number":0,"missing":null,"id":"0","end":true}\n'


@given(rows)
@settings(max_examples=200)
def test_csv_lines_read_back_as_the_same_fields(records: list[Any]) -> None:
    data = bytes(csv_lines([csv_field(column) for column in columns(records)]))
    read = list(csv.reader(io.StringIO(data.decode(), newline="")))
    assert [row[0] for row in read] == [text or "" for text, _, _ in records]
    assert [float(row[1]) if row[1] else None for row in read] == [number for _, number, _ in records]
    assert [row[2] for row in read] == ["" if flag is None else str(int(flag)) for _, _, flag in records]


@given(
    st.lists(
        st.tuples(texts | st.sampled_from(["a\x1fb", '"']) | st.none(), st.integers(0, 2), st.booleans()), min_size=1
    )
)
def test_arrows_writer_gives_the_bytes_of_joined_fields(records: list[Any]) -> None:
    text, number, one = zip(*records, strict=True)
    encoded = pa.array(["1,0" if which else "0,1" for which in one])  # several fields
    fields = [csv_field(pa.array(text, pa.string())), csv_field(pa.array(number)), encoded]
    for some in (fields, fields[:2], fields[1:], fields[1:2]):
        rows = zip(*(field.to_pylist() for field in some), strict=True)
        assert bytes(csv_lines(some)).decode() == "".join(",".join(one or "" for one in row) + "\n" for row in rows)


@given(st.lists(st.integers(-1, 2), min_size=5, max_size=5), st.booleans(), st.integers(0, 2**32))
def test_fields_of_few_values_side_by_side_give_the_bytes_of_each_by_itself(
    kinds: list[int], has_null: bool, seed: int
) -> None:
    rows, random = 2048, np.random.default_rng(seed)
    of_kind = [
        lambda: pa.array(random.integers(0, 2, rows) == 1),
        lambda: pa.array(random.integers(-3, 4, rows), mask=random.random(rows) < 0.1 if has_null else None),
        lambda: pa.array(random.choice(["a", "b,c", 'd"e' if has_null else "d"], rows)).dictionary_encode(),
        lambda: pa.array(random.random(rows)),
    ]
    fields = [csv_field(of_kind[kind]()) for kind in kinds]
    lines = zip(*(field.to_pylist() for field in fields), strict=True)
    assert bytes(csv_lines(fields)).decode() == "".join(",".join(one or "" for one in line) + "\n" for line in lines)


def test_rows_of_a_slice_are_those_of_the_slice() -> None:
    text, number, flag = (
        column.slice(1, 1) for column in columns([("a", 1.0, True), ("b", 2.0, False), ("c", 3.0, None)])
    )
    assert bytes(csv_lines([csv_field(text), csv_field(number), csv_field(flag)])) == b"b,2,0\n"


def test_no_rows_give_no_bytes() -> None:
    assert bytes(csv_lines([pa.array([], pa.string())])) == b""


def test_characters_that_a_null_has_kept_are_not_written() -> None:
    hidden = pa.Array.from_buffers(pa.string(), 2, [pa.py_buffer(b"\x02"), *pa.array(["secret", "b"]).buffers()[1:]])
    assert hidden.to_pylist() == [None, "b"]
    assert bytes(csv_lines([hidden, pa.array(["1,0", "0,1"])])) == b",1,0\nb,0,1\n"
