"""Series that are put together of their points: in any order, in several files, and in bounded memory."""

import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from perennial.data import series
from perennial.data.rows import IDENTITY
from perennial.data.series import AllSeries, Series
from perennial.data.series_form import SeriesForm
from perennial.data.split import TEST, TRAIN
from perennial.features.values import STRING

FORM = SeriesForm("shop", "day", "sold", "D", (("town", ("Oslo", "Rome")),), ("hours",))
FIRST = np.datetime64("2020-01-01", "us")


def rows_of_days(shops: int, days: int) -> Callable[[Callable[[int, pa.Table], Any]], Iterator[Any]]:
    """What goes through rows of two sets, all shops of a day together; the last one sells nothing."""
    shop = np.arange(shops)[::-1]
    names = pa.array([f"shop {number}" for number in range(shops)])

    def table(day: int) -> pa.Table:
        return pa.table(
            {
                "shop": pa.DictionaryArray.from_arrays(pa.array(shop.astype(np.int32)), names).cast(STRING),
                "day": pa.array(np.full(shops, FIRST + np.timedelta64(day, "D"))),
                "sold": pa.array(shop + day / 1000, mask=shop == shops - 1),
                "town": pa.array(["Oslo", "Rome"]).take(pa.array(shop % 2)).dictionary_encode().cast(STRING),
                "hours": pa.array(shop % 7),
                IDENTITY: (shop * 1000 + day).astype(np.uint64),
            }
        )

    def rows(work: Callable[[int, pa.Table], Any]) -> Iterator[Any]:
        return (work(TRAIN if day < days // 2 else TEST, table(day)) for day in range(days))

    return rows


def told(one: Series) -> list[Any]:
    """All that a series says."""
    points = [values.tolist() for values in vars(one.points).values()]
    return [one.key, one.first, one.values.tolist(), one.dynamic.tolist(), one.categories, one.places.tolist(), points]


def test_series_are_the_same_in_whatever_files_their_points_wait(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rows = rows_of_days(shops=30, days=12)
    at_once = [*map(told, AllSeries(rows, FORM, tmp_path))]
    monkeypatch.setattr(series, "POINTS_AT_ONCE", 25)
    monkeypatch.setattr(series, "IN_MEMORY", 100)
    every = AllSeries(rows, FORM, tmp_path)
    assert [*map(told, every)] == at_once
    assert [one[0] for one in at_once] == sorted(f"shop {number}" for number in range(29))
    assert at_once[5][2] == pytest.approx([int(at_once[5][0].split()[1]) + day / 1000 for day in range(12)])
    assert every.last == int((FIRST + np.timedelta64(11, "D")).astype("datetime64[D]").astype(int))


def test_whole_numbers_of_any_size_are_values_and_numbers_of_a_series() -> None:
    large = [2**53 + 1, -(2**63), 2**63 - 1]

    def rows(work: Callable[[int, pa.Table], Any]) -> Iterator[Any]:
        table = next(rows_of_days(shops=3, days=1)(lambda _, some: some))
        for name in ("sold", "hours"):
            table = table.set_column(table.column_names.index(name), name, pa.array(large))
        yield work(TRAIN, table)

    every = [*AllSeries(rows, FORM)]
    assert [one.values.tolist() for one in every] == [[float(number)] for number in reversed(large)]
    assert [one.dynamic.tolist() for one in every] == [[[float(number)]] for number in reversed(large)]


def test_memory_does_not_grow_with_points(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Limits are a two-hundredth of what they are."""
    monkeypatch.setattr(series, "POINTS_AT_ONCE", 1_000)
    monkeypatch.setattr(series, "IN_MEMORY", 1 << 10)

    def most_memory(shops: int) -> int:
        tracemalloc.start()
        try:
            assert sum(1 for _ in AllSeries(rows_of_days(shops, days=60), FORM, tmp_path)) == shops - 1
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    most_memory(20)  # what is made once
    more_points = 60 * (600 - 100)
    assert most_memory(600) - most_memory(100) < 8 * more_points  # bytes; a point has 60
