"""Rows that repeat others, and test rows that are like training rows, against a count of tuples."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial import duplicates
from perennial.duplicates import DuplicateCounter
from perennial.split import TEST, TRAIN

rows = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.5, None]), st.sampled_from(["a", "b", None]), st.sampled_from([True, False, None])
    ),
    min_size=1,
    max_size=30,
)


def table(records: list[Any]) -> pa.Table:
    number, text, flag = zip(*records, strict=True)
    return pa.table(
        {
            "number": pa.array(number, pa.float64()),
            "text": pa.array(text, pa.string()).dictionary_encode(),
            "flag": pa.array(flag, pa.bool_()),
            "other": np.arange(len(records)),
        }
    )


@given(rows, st.integers(0, 2**30), st.integers(1, 7))
def test_counts_are_those_of_whole_rows_in_any_batches(records: list[Any], bits: int, batch: int) -> None:
    sets = np.array([TEST if bits >> row & 1 else TRAIN for row in range(len(records))], np.uint8)
    counter = DuplicateCounter(["number", "text", "flag"])
    for start in range(0, len(records), batch):
        counter.observe(table(records[start : start + batch]))
    found = counter.count(sets)
    trained = {record for record, number in zip(records, sets, strict=True) if number == TRAIN}
    assert found.rows == len(records) - len(set(records))
    assert found.test_rows_in_training == sum(
        record in trained for record, number in zip(records, sets, strict=True) if number == TEST
    )


def test_forgotten_texts_keep_their_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MAX_REMEMBERED", 2)
    counter = DuplicateCounter(["text"])
    for _ in range(2):
        counter.observe(table([(1.0, text, True) for text in "abcd"]))
    assert counter.count(np.zeros(8, np.uint8)).rows == 4


def test_no_rows_repeat_nothing() -> None:
    assert DuplicateCounter(["x"]).count(np.empty(0, np.uint8)) == duplicates.Duplicates(0, 0)


def test_many_rows_are_estimated_from_a_bounded_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MAX_COUNTED", 5_000)
    counter, distinct, copies = DuplicateCounter(["x"]), 40_000, 3
    values = np.tile(np.random.default_rng(7).random(distinct), copies)
    for start in range(0, len(values), 1_000):
        counter.observe(pa.table({"x": values[start : start + 1_000]}))
        assert len(counter._hashes) <= 5_000
    sets = np.repeat(np.array([TRAIN, TRAIN, TEST], np.uint8), distinct)
    found = counter.count(sets)
    assert found.rows == pytest.approx((copies - 1) * distinct, rel=0.1)
    assert found.test_rows_in_training == pytest.approx(distinct, rel=0.1)


def test_many_rows_that_are_all_alike_are_seen_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MAX_COUNTED", 100)
    counter = DuplicateCounter(["x"])
    counter.observe(pa.table({"x": np.ones(1_000)}))
    found = counter.count(np.repeat(np.array([TRAIN, TEST], np.uint8), 500))
    assert found.rows > 980
    assert found.test_rows_in_training == 500
