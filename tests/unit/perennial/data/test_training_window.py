"""The period whose rows train and judge: it ends with the newest row, and no clock moves it."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from perennial.data.row_hasher import RowHasher
from perennial.data.rows import CONTENT, IDENTITY
from perennial.data.split import LEFT_OUT, REPEATED, TRAIN, Sets, splitter
from perennial.data.training_window import TrainingPeriod

SPLIT = {"method": "random", "seed": 42, "column": None, "key": None, "validation": 0.15, "test": 0.2}
DEFINITION = {"training": {"window": {"column": "sold_on", "days": 365, "newest_files": None}}}
NEWEST = np.datetime64("2024-06-30", "us")


def table(ages_days: list[int], ids: list[int] | None = None) -> pa.Table:
    """Rows that were sold so many days before the newest one; each is another one, or tells so by its id."""
    ids = list(range(len(ages_days))) if ids is None else ids
    days = [NEWEST - np.timedelta64(age, "D") for age in ages_days]
    identity = RowHasher(["id"]).hashes(pa.table({"id": ids}))
    dated = pa.array(np.array(days, "datetime64[us]"))
    return pa.table({"id": ids, "sold_on": dated, IDENTITY: identity, CONTENT: identity})


def period(listed_at: datetime | None = None) -> TrainingPeriod:
    made = TrainingPeriod.from_definition(DEFINITION, listed_at)
    assert made
    return made


def dealt(window: TrainingPeriod | None, *files: pa.Table, left_out: int | None = None, **split: Any) -> Sets:
    splitting = splitter({**SPLIT, **split}, window)
    for number, file in enumerate(files):
        splitting.observe(number, splitting.deal(file))
        if number == left_out:
            splitting.leave_out(number)
    return splitting.finish()[:]


@pytest.mark.parametrize("definition", [{}, {"training": {"window": None}}, {"training": {"window": {"column": None}}}])
def test_without_a_column_all_rows_count(definition: dict[str, Any]) -> None:
    assert TrainingPeriod.from_definition(definition, None) is None


@pytest.mark.parametrize(
    "split", [{}, {"method": "group", "column": "id"}, {"method": "time", "column": "sold_on"}, {"key": ["id"]}]
)
def test_the_newest_row_ends_the_period_and_older_rows_are_in_no_set(split: dict[str, Any]) -> None:
    ages = [*range(360), 365, 366, 900]
    window = period()
    sets = dealt(window, table(ages[:100]), table(ages[100:], list(range(100, len(ages)))), **split)
    assert np.array_equal(sets == LEFT_OUT, np.array(ages) > 365)
    assert window.as_json() == {
        "column": "sold_on", "days": 365, "begins": "2023-07-01T00:00:00", "ends": "2024-06-30T00:00:00", "rows": 2,
    }  # fmt: skip


def test_rows_in_the_period_keep_the_sets_that_they_have_without_it() -> None:
    ages = [*range(0, 2000, 3)]
    sets, without = dealt(period(), table(ages)), dealt(None, table(ages))
    inside = np.array(ages) <= 365
    assert np.array_equal(sets[inside], without[inside])


def test_a_year_that_is_mistyped_leaves_nothing_out() -> None:
    listed_at = datetime(2024, 7, 1, tzinfo=UTC)
    ages = [-20_000, *range(300)]
    assert not (dealt(period(listed_at), table(ages)) == LEFT_OUT).any()
    assert (dealt(period(), table(ages)) == LEFT_OUT).sum() == 300


def test_rows_that_are_all_dated_after_the_run_count_back_from_the_newest_of_them() -> None:
    sets = dealt(period(datetime(2001, 1, 1, tzinfo=UTC)), table([0, 1, 400]))
    assert (sets == LEFT_OUT).tolist() == [False, False, True]


def test_a_file_that_is_put_aside_does_not_move_the_period() -> None:
    window = period()
    sets = dealt(window, table([300, 301]), table([-500], [7]), left_out=1)
    assert (sets == LEFT_OUT).tolist() == [False, False, True]
    assert window.older_rows == 0


def test_the_last_row_of_a_key_decides_whether_it_is_too_old() -> None:
    """An earlier row that was corrected does not come back because its correction is dated before the period."""
    window = period()
    sets = dealt(window, table([10, 400, 0], [1, 2, 3]), table([500, 20], [1, 2]), key=["id"])
    assert sets[0] == REPEATED
    assert (sets == LEFT_OUT).tolist() == [False, False, False, True, False]
    assert sets[1] == REPEATED
    assert window.older_rows == 1


def test_of_copies_those_in_the_period_count() -> None:
    ids = list(range(200))
    sets = dealt(period(), table([400] * 200, ids), table([0] * 200, ids))
    assert (sets[:200] == LEFT_OUT).all()
    assert np.array_equal(sets[200:], dealt(None, table([0] * 200, ids)))
    assert (sets[200:] != REPEATED).all()
    assert (sets[200:] == TRAIN).any()


def test_no_rows_have_no_period() -> None:
    window = period()
    assert dealt(window).size == 0
    assert window.as_json()["ends"] is None
