"""Some of many records."""

from __future__ import annotations

import pyarrow as pa

from perennial.monitoring import sample
from perennial.monitoring.sample import RecordSample


def table(first: int, rows: int) -> pa.Table:
    texts = pa.array([f"text {number % 3} of {first}" for number in range(rows)])
    return pa.table({"number": range(first, first + rows), "text": texts.dictionary_encode()})


def sampled(size: int, *batches: pa.Table) -> pa.Table:
    taken = RecordSample(size)
    for batch in batches:
        taken.add(batch)
    assert taken.rows is not None
    return taken.rows


def test_no_rows_are_no_sample() -> None:
    assert RecordSample(3).rows is None


def test_fewer_rows_than_asked_for_are_all_kept_in_their_order() -> None:
    rows = sampled(10, table(0, 3), table(3, 4))
    assert rows["number"].to_pylist() == list(range(7))
    assert rows["text"].to_pylist()[2:4] == ["text 2 of 0", "text 0 of 3"]


def test_every_row_is_as_likely_as_another_and_the_same_ones_are_taken_again() -> None:
    batches = [table(first, 1000) for first in range(0, 20_000, 1000)]
    rows = sampled(500, *batches)
    numbers = rows["number"].to_pylist()
    assert (len(numbers), numbers) == (500, sorted(set(numbers)))
    for tenth in range(10):
        assert 25 < sum(tenth * 2000 <= number < (tenth + 1) * 2000 for number in numbers) < 75
    assert sampled(500, *batches).equals(rows)


def test_a_batch_of_which_nothing_stays_changes_nothing() -> None:
    taken = RecordSample(1)
    taken.add(table(0, 1000))
    first = taken.rows
    assert first is not None
    kept = first["number"].to_pylist()
    for start in range(1000, 1020):
        taken.add(table(start, 1))
    assert taken.rows is not None
    assert taken.rows["number"].to_pylist() == kept


def test_lines_are_chosen_by_what_they_say_and_not_by_where_they_stand() -> None:
    lines = [f"line {number}\n".encode() for number in range(1000)]
    some = sample.of_lines(lines, 100)
    assert len(some) == 100
    assert set(sample.of_lines(reversed(lines), 100)) == set(some)
    assert sample.of_lines(lines[:3], 100) != []
