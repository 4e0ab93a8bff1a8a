"""Numbers of rows in files: what is read is what was written, and memory does not grow with rows."""

import resource
import tempfile
import tracemalloc
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.data import alike, order, row_numbers
from perennial.data.alike import like_others, repeats, replaced
from perennial.data.order import Ordered
from perennial.data.periods import Periods
from perennial.data.row_numbers import Among, Each, RowNumbers, Within, count_true, pieces, taken
from perennial.data.rows import CONTENT, IDENTITY, Hashes, mixed
from perennial.data.split import SeriesHorizon, Sets, Splitter, splitter
from perennial.data.training_window import TrainingPeriod

SPLIT = {"method": "random", "seed": 42, "column": None, "key": None, "validation": 0.15, "test": 0.2}
WINDOW = {"training": {"window": {"column": "t", "days": 700}}}
HORIZON = SeriesHorizon(Periods.of("D"), 60, "y", datetime(2026, 6, 1, tzinfo=UTC))  # some rows are later

values = st.lists(st.integers(0, 255), max_size=60)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is in files, in small pieces and in many buckets."""
    monkeypatch.setattr(row_numbers, "PIECE", 64)
    monkeypatch.setattr(row_numbers, "IN_MEMORY", 256)
    monkeypatch.setattr(alike, "TOGETHER", 16)
    monkeypatch.setattr(alike, "LARGE", 40)
    monkeypatch.setattr(alike, "MOST_BITS", 3)
    monkeypatch.setattr(alike, "IN_MEMORY", 64)
    monkeypatch.setattr(alike, "ROWS_AT_ONCE", 50)
    monkeypatch.setattr(order, "FEW", 10)
    monkeypatch.setattr(order, "DIGIT", 4)


@given(st.lists(values, max_size=5), st.integers(0, 100), st.data())
def test_numbers_are_read_as_an_array_would_have_them(some: list[list[int]], most: int, data: st.DataObject) -> None:
    numbers, expected = (
        RowNumbers(np.uint8, in_memory=most),
        np.array([one for piece in some for one in piece], np.uint8),
    )
    for piece in some:
        numbers.append(np.array(piece, np.uint8))
    place = st.integers(0, len(expected))
    first, last = sorted((data.draw(place), data.draw(place)))
    expected[first:last] = 7
    numbers[first:last] = 7
    rows = np.flatnonzero(expected % 2)
    expected[rows] = 9
    numbers.put(rows, 9)
    assert numbers[:].tolist() == expected.tolist()
    assert numbers[first:last].tolist() == expected[first:last].tolist()
    assert taken(numbers, rows).tolist() == expected[rows].tolist()
    numbers.cut(first)
    assert numbers[:].tolist() == expected[:first].tolist()
    numbers.append(np.ones(2, np.uint8))
    assert numbers[:].tolist() == [*expected[:first].tolist(), 1, 1]


@pytest.mark.usefixtures("small")
def test_masks_are_made_when_they_are_looked_at() -> None:
    within, among = (
        Within([slice(3, 3), slice(5, 70), slice(70, 71), slice(200, 300)], 300),
        Among(np.arange(0, 300, 7), 300),
    )
    expected = np.array([5 <= row < 71 or row >= 200 for row in range(300)])
    both = Each(np.logical_and, within, among)
    assert np.concatenate([piece for _, piece in pieces(within)]).tolist() == expected.tolist()
    assert (
        np.concatenate([piece for _, piece in pieces(both)]).tolist() == (expected & (np.arange(300) % 7 == 0)).tolist()
    )
    assert count_true(both) == np.count_nonzero(expected[::7])
    assert taken(within, np.array([4, 5, 71, 299])).tolist() == [False, True, False, True]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("distinct", [1, 20, 400, 10**9])
@pytest.mark.parametrize("which", [repeats, replaced])
def test_rows_that_are_alike_are_found_in_buckets_as_in_memory(
    which: alike.Which, distinct: int, tmp_path: Path
) -> None:
    hashes = mixed(np.random.default_rng(3).integers(0, distinct, 1_000).astype(np.uint64))
    some = [
        (np.arange(start, start + 90)[: 1_000 - start], hashes[start : start + 90]) for start in range(0, 1_000, 90)
    ]
    found = [*like_others(some, 1_000, which, tmp_path)]
    assert sorted(np.concatenate([np.empty(0, np.int64), *found]).tolist()) == np.flatnonzero(which(hashes)).tolist()
    assert all((np.diff(rows) > 0).all() for rows in found)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("numbers", [
    np.random.default_rng(1).integers(-50, 50, 300),
    np.random.default_rng(1).integers(-(2**62), 2**62, 300),
    np.random.default_rng(1).normal(size=300) * 10.0 ** np.arange(-150, 150),
    np.array([-0.0, 0.0, -1.5, np.inf, -np.inf] * 20),
    np.full(40, 3),
])  # fmt: skip
def test_the_nth_number_is_that_of_all_in_order(numbers: np.ndarray) -> None:
    ordered, expected = Ordered(lambda: iter(np.array_split(numbers, 7))), np.sort(numbers)
    assert [ordered[place] for place in range(len(numbers))] == expected.tolist()
    middle = expected[len(numbers) // 2]
    assert len(ordered.before(middle)) == np.searchsorted(expected, middle)
    assert ordered.tie(middle) == (np.searchsorted(expected, middle), np.searchsorted(expected, middle, "right"))


def dated(content: Hashes) -> pa.Table:
    """Rows of some contents, with a group, a time of some 900 days, and a value in four of five."""
    days = np.datetime64("2024-01-01", "us") + (content % np.uint64(900)).astype("timedelta64[D]")
    groups = (content % np.uint64(97)).astype(np.int64)
    values = pa.array(groups, mask=content % np.uint64(5) == 0)
    return pa.table({"t": days, "g": groups, "y": values, IDENTITY: content, CONTENT: content})


def new_splitter(method: str, key: list[str] | None, folder: Path | None, *, period: bool) -> Splitter:
    column = {"random": None, "group": "g"}.get(method, "t")
    within = TrainingPeriod.from_definition(WINDOW if period else {}, None, folder)
    split = {**SPLIT, "method": method, "column": column, "key": key}
    return splitter(split, within, HORIZON if method == "series" else None, folder)


def dealt(method: str, key: list[str] | None, folder: Path | None = None, *, period: bool) -> Sets:
    """The sets of the rows of three files, of which the second is left out; a fifth of the rows repeats others."""
    different = mixed(np.arange(2_400, dtype=np.uint64))
    content = np.random.default_rng(8).permutation(np.concatenate([different, different[:600]]))
    # Those of the newest day come last, which the first pieces do not know.
    table = dated(content[np.argsort(content % np.uint64(900) == 899, kind="stable")])
    splitting = new_splitter(method, key, folder, period=period)
    for number, start in enumerate(range(0, 3_000, 1_000)):
        splitting.observe(number, splitting.deal(table.slice(start, 1_000)))
        if number == 1:
            splitting.leave_out(number)
    return splitting.finish()[:]


WAYS = [*product(("random", "group", "time"), (None, ["id"])), ("series", None)]


@pytest.mark.parametrize(
    ("method", "key", "period"),
    [(*way, period) for way in WAYS for period in (False, True)[: 2 - (way[0] == "series")]],
)
def test_sets_are_the_same_where_all_is_in_files(
    method: str,
    key: list[str] | None,
    period: bool,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The files are below the folder: only there is the volume of a job."""
    in_memory, folders, make = dealt(method, key, period=period), set[Path](), tempfile.TemporaryFile

    def noted(**options: Any) -> Any:
        folders.add(options["dir"])
        return make(**options)

    monkeypatch.setattr(tempfile, "TemporaryFile", noted)
    request.getfixturevalue("small")
    assert dealt(method, key, tmp_path, period=period).tolist() == in_memory.tolist()
    assert folders == {tmp_path}
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("method", "key", "one_in"),
    [*((*way, 0) for way in WAYS), ("random", ["id"], 2), ("time", None, 2)],
    ids=lambda value: str(value),
)
def test_memory_does_not_grow_with_rows(
    method: str, key: list[str] | None, one_in: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Limits are some hundredths of what they are, and so are rows.

    A tenth of these repeats others, far from them; or one in two is the same.
    """
    for module, name, few in (
        (row_numbers, "PIECE", 1 << 10),
        (row_numbers, "IN_MEMORY", 1 << 14),
        (alike, "TOGETHER", 1 << 10),
        (alike, "MOST_BITS", 4),
        (alike, "LARGE", 1 << 12),
        (alike, "IN_MEMORY", 1 << 16),
        (alike, "ROWS_AT_ONCE", 1 << 12),
        (order, "FEW", 1 << 10),
    ):
        monkeypatch.setattr(module, name, few)

    def most_memory(rows: int) -> int:
        tracemalloc.start()
        try:
            splitting = new_splitter(method, key, tmp_path, period=method != "series")
            for start in range(0, rows, 2_000):
                numbers = np.arange(start, start + 2_000, dtype=np.uint64) % np.uint64(0.9 * rows)
                if one_in:
                    numbers[::one_in] = 0
                splitting.observe(0, splitting.deal(dated(mixed(numbers))))
            sets = splitting.finish()
            assert len(sets) == rows
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    most_memory(6_000)  # what is made once
    assert most_memory(200_000) - most_memory(40_000) < 160_000  # less than a byte for each row more


def test_a_volume_that_is_full_when_numbers_leave_memory_is_an_error(tmp_path: Path) -> None:
    """The last write of what memory had is then a part of it, of which the system tells only by its number of bytes."""
    numbers = RowNumbers(np.uint8, tmp_path, in_memory=1000)
    numbers.append(np.ones(1000, np.uint8))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (900, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            numbers.append(np.ones(1000, np.uint8))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
