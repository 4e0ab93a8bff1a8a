"""Splits: shares, no row in two sets, and rows that keep their set as data grow."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.split import TEST, TRAIN, VALIDATION, Sets, splitter
from perennial.values import DataError

RANDOM = {"method": "random", "seed": 42, "column": None, "validation": 0.15, "test": 0.2}


def split_rows(split: dict[str, Any], *files: pa.Table, batch: int = 10_000) -> Sets:
    """The set of each row of some files that pass in batches."""
    splitting = splitter(split)
    for number, file in enumerate(files):
        for start in range(0, file.num_rows, batch):
            splitting.observe(number, file.slice(start, batch))
    return splitting.finish()


def rows(count: int) -> pa.Table:
    return pa.table({"x": np.arange(count)})


shares = st.sampled_from([(0.15, 0.2), (0.1, 0.1), (1 / 3, 1 / 3), (0.05, 0.5), (0.123, 0.456)])


@given(st.lists(st.integers(0, 1500), min_size=1, max_size=6), shares, st.integers(0, 2**31 - 1))
@settings(max_examples=60)
def test_every_random_set_is_within_one_row_of_its_share(
    sizes: list[int], share: tuple[float, float], seed: int
) -> None:
    validation, test = share
    sets = split_rows({**RANDOM, "seed": seed, "validation": validation, "test": test}, *map(rows, sizes))
    total = sum(sizes)
    assert len(sets) == total
    wanted = {TEST: test * total, VALIDATION: validation * total, TRAIN: (1 - test - validation) * total}
    for number, count in wanted.items():
        assert abs(np.count_nonzero(sets == number) - count) <= 1 + 1e-6


@given(st.lists(st.integers(0, 700), min_size=1, max_size=4), st.lists(st.integers(0, 700), min_size=1, max_size=3))
@settings(max_examples=40)
def test_rows_of_earlier_files_keep_their_set_when_files_are_added(earlier: list[int], later: list[int]) -> None:
    before = split_rows(RANDOM, *map(rows, earlier))
    after = split_rows(RANDOM, *map(rows, earlier + later))
    assert np.array_equal(before, after[: len(before)])


def test_rows_of_a_file_that_grows_keep_their_set_up_to_its_last_chunk() -> None:
    before, after = split_rows(RANDOM, rows(804)), split_rows(RANDOM, rows(1204))
    assert np.array_equal(before[:800], after[:800])


@given(st.integers(1, 997))
@settings(max_examples=20)
def test_random_sets_do_not_depend_on_how_rows_are_batched(batch: int) -> None:
    whole = split_rows(RANDOM, rows(1234), rows(777))
    assert np.array_equal(whole, split_rows(RANDOM, rows(1234), rows(777), batch=batch))


def test_seed_decides_and_positions_are_not_regular() -> None:
    sets = split_rows(RANDOM, rows(100_000))
    assert np.array_equal(sets, split_rows(RANDOM, rows(100_000)))
    assert not np.array_equal(sets, split_rows({**RANDOM, "seed": 43}, rows(100_000)))
    by_position = (sets.reshape(-1, 100) == TEST).mean(axis=0)
    assert by_position.min() > 0.15  # 0.2 expected in each of 1,000 chunks: six standard errors are 0.075
    assert by_position.max() < 0.28


def test_sets_are_those_of_today_so_that_a_new_version_of_numpy_moves_no_row() -> None:
    sets = split_rows(RANDOM, rows(30))
    assert "".join("tvx"[number] for number in sets) == "txttvtvxttvxxttttttttttvtttxtx"  # train, validation, x: test


def test_group_is_always_in_one_set_and_stays_there() -> None:
    split = {**RANDOM, "method": "group", "column": "seller"}
    sellers = np.random.default_rng(0).integers(0, 3000, 20_000)
    table = pa.table({"seller": pa.array([f"s{seller}" for seller in sellers]).dictionary_encode()})
    sets = split_rows(split, table, batch=512)
    for seller in range(0, 3000, 50):
        assert len(np.unique(sets[sellers == seller])) <= 1
    assert np.array_equal(sets[:5000], split_rows(split, table.slice(0, 5000)))
    assert np.mean(sets == TEST) == pytest.approx(0.2, abs=0.03)
    assert np.mean(sets == VALIDATION) == pytest.approx(0.15, abs=0.03)


def test_group_may_be_a_number() -> None:
    split = {**RANDOM, "method": "group", "column": "store"}
    sets = split_rows(split, pa.table({"store": [1, 2, 3, 4, 5] * 20}))
    assert all(len(set(sets[store::5])) == 1 for store in range(5))


def time_split(times: list[Any], **shares: float) -> Sets:
    return split_rows({**RANDOM, **shares, "method": "time", "column": "t"}, pa.table({"t": times}), batch=7)


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
