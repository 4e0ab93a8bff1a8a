"""Rows that repeat others, counted."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.data import duplicates
from perennial.data.duplicates import DuplicateCounter
from perennial.data.row_hasher import RowHasher
from perennial.data.rows import mixed
from perennial.data.split import LEFT_OUT, TRAIN
from perennial.features.values import STRING

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
            "text": pa.array(text, pa.string()).dictionary_encode().cast(STRING),
            "flag": pa.array(flag, pa.bool_()),
            "other": np.arange(len(records)),
        }
    )


@given(rows, st.integers(0, 2**30), st.integers(0, 2**30), st.integers(1, 7))
def test_counts_are_those_of_whole_rows_in_any_batches(records: list[Any], bits: int, some: int, batch: int) -> None:
    is_used = np.array([not bits >> row & 1 for row in range(len(records))])
    is_some = is_used & np.array([bool(some >> row & 1) for row in range(len(records))])
    counter, hasher = DuplicateCounter(), RowHasher(["number", "text", "flag"])
    for start in range(0, len(records), batch):
        counter.observe(counter.sample(hasher.hashes(table(records[start : start + batch]))))
    used, chosen = ([records[row] for row in np.flatnonzero(mask)] for mask in (is_used, is_some))
    assert counter.count(is_used, is_some) == (len(used) - len(set(used)), len(chosen) - len(set(chosen)))


@given(rows, st.integers(0, 2**30), st.integers(0, 2**30))
def test_new_rows_are_counted_that_are_like_one_that_is_known(records: list[Any], bits: int, new: int) -> None:
    sets = np.array([LEFT_OUT if bits >> row & 1 else TRAIN for row in range(len(records))], np.uint8)
    is_new = np.array([bool(new >> row & 1) for row in range(len(records))])
    counter = DuplicateCounter()
    counter.observe(counter.sample(RowHasher(["number", "text", "flag"]).hashes(table(records))))
    used = [(record, new) for record, number, new in zip(records, sets, is_new, strict=True) if number == TRAIN]
    known = {record for record, new in used if not new}
    assert counter.count_known(sets, is_new) == sum(new and record in known for record, new in used)
    expected = [
        new and number == TRAIN and record not in known
        for record, number, new in zip(records, sets, is_new, strict=True)
    ]
    assert counter.unlike_known(sets, is_new)[:].tolist() == expected


Row = tuple[int, int, bool]  # the key, what it says, whether it is left out


@given(st.lists(st.tuples(st.booleans(), st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3), st.booleans())))))
def test_a_key_is_replaced_where_a_new_row_counts_that_says_something_else(files: list[tuple[bool, list[Row]]]) -> None:
    counter, starts = DuplicateCounter(), [0]
    known, before = dict[int, int](), dict[int, int]()
    counting = dict[int, tuple[int, bool, int]]()
    for number, (new, rows) in enumerate(files):
        for key, whole, is_out in rows:
            counter.observe(counter.sample(np.array([key], np.uint64), np.array([whole], np.uint64)))
            if is_out:
                continue
            if key in counting and counting[key][2] != number:
                before[key] = counting[key][0]  # what counted as its file began
            counting[key] = (whole, new, number)
            if not new:
                known[key] = whole
        starts.append(starts[-1] + len(rows))
    every = [(new, is_out) for new, rows in files for *_, is_out in rows]
    sets = np.array([LEFT_OUT if is_out else TRAIN for _, is_out in every], np.uint8)
    is_new = np.array([new for new, _ in every], bool)
    expected = sum(
        new and {known.get(key, whole), before.get(key, whole)} != {whole} for key, (whole, new, _) in counting.items()
    )
    assert counter.count_replaced(sets, is_new, starts[:-1]) == expected


def test_no_rows_repeat_nothing() -> None:
    counter, no_rows = DuplicateCounter(), np.empty(0, np.uint8)
    assert counter.count(no_rows == TRAIN, no_rows == TRAIN) == (0, 0)
    assert counter.count_known(no_rows, np.empty(0, bool)) == 0


def test_many_rows_are_estimated_from_a_bounded_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MAX_COUNTED", 5_000)
    counter, distinct, copies = DuplicateCounter(), 40_000, 3
    values = np.tile(np.random.default_rng(7).integers(1, 2**63, distinct).astype(np.uint64), copies)
    for start in range(0, len(values), 1_000):
        counter.observe(counter.sample(values[start : start + 1_000]))
        assert len(counter._counted()[0]) <= 5_000
    every, some = np.ones(len(values), bool), np.arange(len(values)) < 2 * distinct
    counts = counter.count(every, some)
    assert counts == (pytest.approx((copies - 1) * distinct, rel=0.1), pytest.approx(distinct, rel=0.1))
    is_new = np.arange(len(values)) >= 2.5 * distinct
    known = counter.count_known(np.full(len(values), TRAIN, np.uint8), is_new)
    assert known == pytest.approx(0.5 * distinct, rel=0.1)
    assert not counter.unlike_known(np.full(len(values), TRAIN, np.uint8), is_new)[:].any()


@pytest.mark.parametrize("seed", range(5))
def test_of_many_rows_that_are_all_different_none_repeats_another(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """The sample is 2,500 of 10,000 rows by chance, some more or less."""
    monkeypatch.setattr(duplicates, "MAX_COUNTED", 4_000)
    counter = DuplicateCounter()
    counter.observe(counter.sample(np.random.default_rng(seed).integers(1, 2**63, 10_000).astype(np.uint64)))
    sets = np.full(10_000, TRAIN, np.uint8)
    is_new = np.arange(10_000) >= 5_000
    assert counter.count(sets == TRAIN, is_new) == (0, 0)
    assert counter.count_known(sets, is_new) == 0


def test_of_many_rows_those_that_are_like_no_known_one_are_told_in_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MAX_COUNTED", 1_000)
    known, new = np.split(np.random.default_rng(7).integers(1, 2**63, 12_000).astype(np.uint64), [10_000])
    for repeated in (0, 5_000):
        counter = DuplicateCounter()
        counter.observe(counter.sample(np.concatenate([known, known[:repeated], new])))
        is_new = np.arange(12_000 + repeated) >= 10_000
        unlike = counter.unlike_known(np.full(len(is_new), TRAIN, np.uint8), is_new)[:]
        assert not unlike[: 10_000 + repeated].any()
        assert 50 < unlike.sum() < 500 if repeated else unlike.sum() == 2_000


def test_many_rows_that_are_all_alike_are_seen_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "MAX_COUNTED", 100)
    counter = DuplicateCounter()
    counter.observe(counter.sample(np.ones(1_000, np.uint64)))
    sets = np.full(1_000, TRAIN, np.uint8)
    assert counter.count(sets == TRAIN, sets == TRAIN)[0] > 980
    assert counter.count_known(sets, np.arange(1_000) >= 400) == 600


@pytest.mark.parametrize("cores", [1, 2, 8, 96])
def test_rows_are_counted_alike_on_any_number_of_cores(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duplicates, "FEW", 100)
    monkeypatch.setattr(duplicates, "PIECE", 7)  # and in pieces, of which two rows that are alike may be in two
    monkeypatch.setattr(duplicates, "cores", lambda: cores)
    counter = DuplicateCounter()
    for start in range(0, 4_000, 1_000):  # each number is there twice
        counter.observe(counter.sample(mixed(np.arange(start, start + 1_000, dtype=np.uint64) % np.uint64(2_000))))
    every = np.ones(4_000, bool)
    assert counter.count(every, np.arange(4_000) < 3_000) == (2_000, 1_000)
