"""Test records whose lines are long enough for what encoding makes of them."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.data.payload import LARGEST_LINE, WIDENING, shortest_line, widest_row
from perennial.data.record_lines import record_lines
from perennial.features.values import DataError

texts = st.lists(st.none() | st.text(max_size=30), min_size=1, max_size=20)


@given(texts, st.integers(0, 500), st.data())
def test_lines_are_as_long_as_they_must_be_and_say_the_same(
    names: list[str | None], shortest: int, data: st.DataObject
) -> None:
    rows = pa.table({"n": pa.array(range(len(names)), pa.int64()), "name": pa.array(names, pa.string())})
    sizes = st.lists(st.integers(1, 2000), min_size=len(names), max_size=len(names))
    encoded = np.array(data.draw(sizes), np.int64)
    lines = bytes(record_lines(rows, encoded, shortest))
    found = np.array([len(line) + 1 for line in lines.split(b"\n")[:-1]])
    assert found.sum() == len(lines)
    assert (found >= shortest).all()
    assert (found * WIDENING >= encoded).all()
    assert [json.loads(line) for line in lines.split(b"\n")[:-1]] == rows.to_pylist()


def test_lines_that_are_long_enough_stay_as_they_are() -> None:
    rows = pa.table({"make": pa.array(["Saab", "Buick"])})
    assert bytes(record_lines(rows, np.array([5, 60]), 4)) == b'{"make":"Saab"}\n{"make":"Buick"}\n'
    assert bytes(record_lines(rows, np.array([5, 100]), 0)) == b'{"make":"Saab"}\n{"make":"Buick"   }\n'


@pytest.mark.parametrize(("text", "encoded"), [("x" * LARGEST_LINE, 10), ("x", WIDENING * LARGEST_LINE + 1)])
def test_record_that_no_request_can_hold_is_refused_with_what_to_do(text: str, encoded: int) -> None:
    with pytest.raises(DataError, match=r"a row of the test set takes 1,000,0.* bytes as a record.*features\.py"):
        record_lines(pa.table({"text": pa.array([text])}), np.array([encoded]), 0)


def test_width_of_a_model_is_reported_and_of_older_ones_follows_from_their_features() -> None:
    assert widest_row({"widest_row": 801, "features": ["a"]}) == 801
    assert widest_row({"features": ["miles", "miles=missing", "make=Saab"]}) == 24
    assert widest_row({}) == 0
    assert (shortest_line(801), shortest_line(800), shortest_line(0)) == (161, 160, 0)
