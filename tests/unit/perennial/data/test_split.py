"""Splits: shares, no row in two sets, and rows that keep their set as data grow."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.data.alike import repeats
from perennial.data.row_hasher import RowHasher
from perennial.data.rows import CONTENT, IDENTITY
from perennial.data.split import LEFT_OUT, REPEATED, TEST, TRAIN, VALIDATION, Sets, splitter
from perennial.features.values import DataError

RANDOM = {"method": "random", "seed": 42, "column": None, "key": None, "validation": 0.15, "test": 0.2}


def split_rows(split: dict[str, Any], *files: pa.Table, batch: int = 10_000) -> Sets:
    """The set of each row of some files that pass in batches."""
    splitting = splitter(split)
    for number, file in enumerate(files):
        for start in range(0, file.num_rows, batch):
            splitting.observe(number, splitting.deal(file.slice(start, batch)))
    return splitting.finish()[:]


def rows(count: int, start: int = 0) -> pa.Table:
    return pa.table({"x": np.arange(start, start + count)})


shares = st.sampled_from([(0.15, 0.2), (0.1, 0.1), (1 / 3, 1 / 3), (0.05, 0.5), (0.123, 0.456)])


@given(st.integers(0, 20_000), shares, st.integers(0, 2**31 - 1))
@settings(max_examples=60)
def test_every_random_set_has_its_share_as_far_as_chance_goes(
    count: int, share: tuple[float, float], seed: int
) -> None:
    validation, test = share
    sets = split_rows({**RANDOM, "seed": seed, "validation": validation, "test": test}, rows(count))
    assert len(sets) == count
    for number, wanted in ((TEST, test), (VALIDATION, validation), (TRAIN, 1 - test - validation)):
        deviation = math.sqrt(count * wanted * (1 - wanted))
        assert abs(np.count_nonzero(sets == number) - wanted * count) <= 5 * deviation + 1


numbers = st.lists(st.integers(0, 500), min_size=1, max_size=300)


@given(numbers, st.data())
@settings(max_examples=60)
def test_a_row_keeps_its_set_however_rows_are_packed_ordered_and_added(values: list[int], data: st.DataObject) -> None:
    """The same values in another order, in other files, with more of them, and some taken away."""
    before = dict(zip(values, split_rows(RANDOM, pa.table({"x": values})).tolist(), strict=True))
    kept = data.draw(st.lists(st.sampled_from(values), max_size=200))
    mixed = data.draw(st.permutations(kept + data.draw(numbers)))
    cut = data.draw(st.integers(0, len(mixed)))
    after = split_rows(RANDOM, *(pa.table({"x": part}) for part in (mixed[:cut], mixed[cut:]) if part), batch=7)
    for value, number in zip(mixed, after.tolist(), strict=True):
        of_value = before.get(value, number)
        assert number in (of_value, REPEATED) or of_value == REPEATED


def test_a_file_that_is_dropped_again_with_fewer_rows_moves_no_row_of_the_next() -> None:
    random = np.random.default_rng(0)
    first, second = pa.table({"x": random.random(1_000)}), pa.table({"x": random.random(50_000)})
    before = split_rows(RANDOM, first, second)[1_000:]
    after = split_rows(RANDOM, first.slice(0, 850), second)[850:]
    assert np.count_nonzero(before[after == TEST] == TRAIN) == 0
    assert np.array_equal(before, after)


@given(st.integers(1, 997))
@settings(max_examples=20)
def test_sets_do_not_depend_on_how_rows_are_batched(batch: int) -> None:
    files = (rows(1234), rows(777, 1000))
    assert np.array_equal(split_rows(RANDOM, *files), split_rows(RANDOM, *files, batch=batch))


def test_seed_decides_and_positions_are_not_regular() -> None:
    sets = split_rows(RANDOM, rows(100_000))
    assert np.array_equal(sets, split_rows(RANDOM, rows(100_000)))
    other = split_rows({**RANDOM, "seed": 43}, rows(100_000))
    assert np.mean(sets[other == TEST] == TRAIN) == pytest.approx(0.65, abs=0.02)
    by_position = (sets.reshape(-1, 100) == TEST).mean(axis=0)
    assert by_position.min() > 0.12  # 0.2 expected in each of 1,000 rows: six standard errors are 0.076
    assert by_position.max() < 0.28


def test_sets_are_those_of_today_so_that_a_new_version_moves_no_row() -> None:
    sets = split_rows(RANDOM, rows(30))
    assert "".join("tvx"[number] for number in sets) == "vxvttxttttttttttvttxxvxxtttvtv"  # train, validation, x: test


# ---- Copies and keys


@pytest.mark.parametrize("split", [RANDOM, {**RANDOM, "method": "time", "column": "x"}])
def test_copies_are_in_one_set_and_one_of_them_is_measured(split: dict[str, Any]) -> None:
    once, twice = split_rows(split, rows(2_000)), split_rows(split, rows(2_000), rows(2_000))
    assert np.array_equal(once, twice[:2_000])
    assert {*zip(once.tolist(), twice[2_000:].tolist(), strict=True)} == {
        (TRAIN, TRAIN), (VALIDATION, REPEATED), (TEST, REPEATED),
    }  # fmt: skip


@pytest.mark.parametrize("copies", [rows(500), rows(1_500), rows(2_000), rows(300, 1_700)])
@pytest.mark.parametrize("split", [RANDOM, {**RANDOM, "method": "time", "column": "x"}])
def test_copies_of_some_rows_move_no_row(split: dict[str, Any], copies: pa.Table) -> None:
    """A share of all rows read would move the boundary of a split by time when old rows come a second time."""
    once = split_rows(split, rows(2_000))
    assert np.array_equal(once, split_rows(split, rows(2_000), copies)[:2_000])
    assert np.array_equal(once, split_rows(split, rows(2_000), copies, copies)[:2_000])


def keyed(ids: list[int], values: list[float]) -> pa.Table:
    identity = RowHasher(["id"]).hashes(pa.table({"id": ids}))
    return pa.table({"id": ids, "t": values, IDENTITY: identity, CONTENT: identity})


@pytest.mark.parametrize("method", ["random", "time"])
def test_with_a_key_the_last_row_of_each_counts_and_no_earlier_one(method: str) -> None:
    split = {**RANDOM, "method": method, "column": "t" if method == "time" else None, "key": ["id"]}
    ids = list(range(500))
    first, corrected = keyed(ids, [float(i) for i in ids]), keyed(ids[:100], [i + 0.5 for i in ids[:100]])
    sets = split_rows(split, first, corrected)
    assert set(sets[:100].tolist()) == {REPEATED}
    assert REPEATED not in sets[100:]
    if method == "random":
        assert np.array_equal(np.concatenate([sets[500:], sets[100:500]]), split_rows(split, first))


@pytest.mark.parametrize("method", ["random", "time", "group"])
def test_rows_of_a_file_that_is_left_out_are_in_no_set_and_hide_no_copy(method: str) -> None:
    split = {**RANDOM, "method": method, "column": "x"}
    splitting = splitter(split)
    for number, file in enumerate((rows(300), rows(400), rows(500))):
        splitting.observe(number, splitting.deal(file))
        if number == 1:
            splitting.leave_out(1)
    sets = splitting.finish()[:]
    assert set(sets[300:700].tolist()) == {LEFT_OUT}
    assert np.array_equal(np.concatenate([sets[:300], sets[700:]]), split_rows(split, rows(300), rows(500)))


# ---- Groups and times


def test_group_is_always_in_one_set_and_stays_there() -> None:
    split = {**RANDOM, "method": "group", "column": "seller"}
    sellers = np.random.default_rng(0).integers(0, 3000, 20_000)
    texts = pa.array([f"s{seller}" for seller in sellers]).dictionary_encode()
    table = pa.table({"seller": texts, "row": np.arange(20_000)})
    sets = split_rows(split, table, batch=512)
    for seller in range(0, 3000, 50):
        assert len(np.unique(sets[sellers == seller])) <= 1
    assert np.array_equal(sets[:5000], split_rows(split, table.slice(0, 5000)))
    assert np.mean(sets == TEST) == pytest.approx(0.2, abs=0.03)
    assert np.mean(sets == VALIDATION) == pytest.approx(0.15, abs=0.03)


def test_group_may_be_a_number() -> None:
    split = {**RANDOM, "method": "group", "column": "store"}
    sets = split_rows(split, pa.table({"store": [1, 2, 3, 4, 5] * 20, "row": np.arange(100)}))
    assert all(len(set(sets[store::5])) == 1 for store in range(5))


def time_split(times: list[Any], **shares: float) -> Sets:
    return split_rows(
        {**RANDOM, **shares, "method": "time", "column": "t"},
        pa.table({"t": times, "row": np.arange(len(times))}),
        batch=7,
    )


def test_latest_rows_test_and_those_before_validate() -> None:
    times = np.random.default_rng(1).permutation(1000)
    sets = time_split(times.tolist())
    assert np.array_equal(sets, np.where(times >= 800, TEST, np.where(times >= 650, VALIDATION, TRAIN)))


@given(st.lists(st.integers(0, 30), min_size=40, max_size=200))
def test_rows_of_the_same_time_stay_together(times: list[int]) -> None:
    try:
        sets = time_split(times)
    except DataError:
        return
    of_time: dict[int, set[int]] = {}
    for time, number in zip(times, sets.tolist(), strict=True):
        of_time.setdefault(time, set()).add(number)
    assert all(len(numbers) == 1 for numbers in of_time.values())
    latest = {number: max(time for time in of_time if number in of_time[time]) for number in set(sets.tolist())}
    assert sorted(latest.values()) == [latest[number] for number in sorted(latest)]


def test_tie_goes_to_the_side_that_is_closer_to_the_share() -> None:
    times = [0] * 50 + [1] * 20 + [2] * 10 + [3] * 20
    assert np.bincount(time_split(times)).tolist() == [70, 10, 20]
    times = [0] * 40 + [1] * 38 + [2] * 22
    assert np.bincount(time_split(times, validation=0.3)).tolist() == [40, 38, 22]


def test_timestamps_order_a_split_by_time() -> None:
    times = pa.array(range(100), pa.int64()).cast(pa.timestamp("us"))
    assert np.bincount(time_split(times)).tolist() == [65, 15, 20]


def test_split_by_time_refuses_data_that_all_have_one_time() -> None:
    with pytest.raises(DataError, match="same time"):
        time_split([5] * 50)


@pytest.mark.parametrize("method", ["random", "time", "group"])
def test_no_rows_give_no_sets(method: str) -> None:
    assert len(splitter({**RANDOM, "method": method, "column": "t"}).finish()) == 0


@given(st.lists(st.integers(0, 40)), st.integers(0, 400))
def test_hashes_repeat_an_earlier_one_whether_few_do_or_many(some: list[int], others: int) -> None:
    hashes = np.array([*some, *range(100, 100 + others), *some[:3]], np.uint64)
    seen = set[int]()
    expected = [hashed in seen or bool(seen.add(hashed)) for hashed in hashes.tolist()]
    assert repeats(hashes).tolist() == expected
