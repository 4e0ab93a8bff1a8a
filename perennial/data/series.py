"""Putting series together from the rows that are their points."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from perennial.data.periods import Periods
from perennial.data.row_hasher import RowHasher
from perennial.data.row_numbers import RowNumbers
from perennial.data.rows import IDENTITY, Hashes
from perennial.data.series_form import SeriesForm
from perennial.data.split import Sets
from perennial.features.values import DataError, as_dictionary
from perennial.words import quoted

Floats = npt.NDArray[np.float64]
Units = npt.NDArray[np.int64]
RowsOf = Callable[[Callable[[int, pa.Table], Any]], Iterator[Any]]
MOST_GAPS = 1000  # periods for each value: a mistyped year makes as many
POINTS_AT_ONCE = 200_000  # that memory has of all series, about: of one as many as it has
MOST_BUCKETS = 256  # of points, each of which may have an open file
IN_MEMORY = 128 << 10  # bytes of the points of each


@dataclass(frozen=True)
class PointRows:
    """Some rows, those of one series together, in the order of their times; each column is `(n_points,)`.

    dynamic     `(n_points, n_dynamic)`
    categories  the numbers of the categories `(n_points, n_categories)`
    """

    units: Units
    values: Floats
    sets: Sets
    identities: Hashes
    targets: Hashes
    dynamic: Floats
    categories: Units

    def slice(self, start: int, end: int) -> PointRows:
        return PointRows(*(column[start:end] for column in vars(self).values()))


@dataclass(frozen=True)
class Series:
    """One series on its periods, from its first value on: NaN where there is none.

    key         what people call it
    first       the unit of its first period
    values      `(n_periods,)`, and `dynamic` `(n_periods, n_dynamic)`
    categories  their numbers, as its newest row says
    places      the position of each of its points among its periods
    """

    key: str
    first: int
    values: Floats
    dynamic: Floats
    categories: Sequence[int]
    places: Units
    points: PointRows

    def dynamic_until(self, end: int) -> Floats:
        """Return the numbers of the periods before `end`: of one without a row, those of the one before it."""
        return self.dynamic[np.minimum(np.arange(end), len(self.dynamic) - 1)]


class AllSeries:
    """All series of a run, in the order of their names: their points are on the disk, those of some series in memory.

    rows    goes through all rows in batches: yields what some work, which any core does, returns for (set, rows)
    folder  where there may be files
    last    the unit of the last period in which any series has a value

    Memory grows with the number of series, whose names it has, and with the points of the longest one.
    Raises DataError: there are rows, and none has a value.
    """

    def __init__(self, rows: RowsOf, form: SeriesForm, folder: Path | None = None) -> None:
        self._rows, self._form, self._periods, self._folder = rows, form, Periods.of(form.frequency), folder
        counts, last = Counter[str](), list[int]()
        for of_names, of_values in rows(self._overview):
            counts.update(of_names)
            last += of_values
        if counts and not last:
            raise DataError(f"{form.target}: no row has a value; a forecast needs what came before")
        self.last, self._count = max(last, default=0), counts.total()
        self._names = sorted(counts)
        at_once = max(POINTS_AT_ONCE, -(-self._count // MOST_BUCKETS))
        self._buckets = (np.cumsum([counts[name] for name in self._names], dtype=np.int64) - 1) // at_once
        self._places = {name: place for place, name in enumerate(self._names)}
        self._type = np.dtype(
            [
                ("series", "<i8"),
                ("units", "<i8"),
                ("values", "<f8"),
                ("identities", "<u8"),
                ("targets", "<u8"),
                ("sets", "u1"),
                ("dynamic", "<f8", (len(form.dynamic),)),
                ("categories", "<i8", (len(form.categories),)),
            ]
        )

    def __iter__(self) -> Iterator[Series]:
        """Yield those that have a value. Raises DataError: the times of one are no periods."""
        if not self._count:
            return
        buckets = [RowNumbers(self._type, self._folder, IN_MEMORY) for _ in range(int(self._buckets[-1]) + 1)]
        for points, numbers in self._rows(self._points):
            ends = np.searchsorted(numbers, np.arange(len(buckets)), side="right").tolist()
            for bucket, start, end in zip(buckets, [0, *ends], ends, strict=False):
                if end > start:
                    bucket.append(points[start:end])
        for bucket in buckets:
            points = bucket[:]
            bucket.close()
            yield from self._of_points(points[np.lexsort((points["units"], points["series"]))])

    def _overview(self, _: int, rows: pa.Table) -> tuple[Counter[str], list[int]]:
        """Return how many of some rows each series has, and the unit of the last value, if there is one."""
        key = as_dictionary(rows[self._form.key].combine_chunks())
        counts = np.bincount(key.indices.to_numpy(), minlength=len(key.dictionary)).tolist()
        names = map(str, key.dictionary.to_pylist())
        times = rows[self._form.time].filter(pc.is_valid(rows[self._form.target]))
        last = [int(self._periods.units(_times(times)).max())] if len(times) else []
        return Counter({name: count for name, count in zip(names, counts, strict=True) if count}), last

    def _points(self, number: int, rows: pa.Table) -> tuple[npt.NDArray[np.void], Units]:
        """Return some rows as points in the order of their buckets, and the bucket of each."""
        key, form = as_dictionary(rows[self._form.key].combine_chunks()), self._form
        places = np.array([self._places.get(str(name), -1) for name in key.dictionary.to_pylist()], np.int64)
        series = places[key.indices.to_numpy()]
        buckets = self._buckets[series]
        order = np.argsort(buckets, kind="stable")
        points = np.empty(rows.num_rows, self._type)
        points["series"], points["sets"] = series[order], number
        points["units"] = self._periods.units(_times(rows[form.time]))[order]
        points["values"] = _numbers(rows[form.target])[order]
        points["identities"] = rows[IDENTITY].to_numpy()[order]
        points["targets"] = RowHasher([form.target]).hashes(rows)[order]
        for place, name in enumerate(form.dynamic):
            points["dynamic"][:, place] = _numbers(rows[name])[order]
        for place, (name, categories) in enumerate(form.categories):
            points["categories"][:, place] = _codes(rows[name], categories)[order]
        return points, buckets[order]

    def _of_points(self, points: npt.NDArray[np.void]) -> Iterator[Series]:
        whole = PointRows(**{name: np.ascontiguousarray(points[name]) for name in PointRows.__dataclass_fields__})
        starts = np.flatnonzero(np.diff(points["series"], prepend=-1))
        for start, end in pairwise([*starts.tolist(), len(points)]):
            of_one = whole.slice(start, end)
            if not np.isnan(of_one.values).all():
                yield _one(self._names[points["series"][start]], of_one, self._periods)


def _one(key: str, points: PointRows, periods: Periods) -> Series:
    observed = np.flatnonzero(~np.isnan(points.values))
    first = int(points.units[observed[0]])
    distances = points.units - first
    if (between := np.flatnonzero(distances % periods.step)).size:
        at, begin = periods.text(int(points.units[between[0]])), periods.text(first)
        raise DataError(
            f"series {quoted(key)}: {at} is between two periods of {periods.frequency}; its first value is of {begin}"
        )
    places = distances // periods.step
    length = int(places.max()) + 1
    if length > MOST_GAPS * observed.size:
        begin, last = periods.text(first), periods.text(int(points.units.max()))
        many = f"{observed.size:,} of {length:,} periods have a value"
        raise DataError(f"series {quoted(key)} goes from {begin} to {last}, and {many}; check its times")
    from_first = places >= 0
    values, row_of = np.full(length, np.nan), np.zeros(length, np.int64)
    values[places[from_first]] = points.values[from_first]
    # A period without a row, as of a value in quarantine, has the numbers of the one before.
    row_of[places[from_first]] = np.flatnonzero(from_first)
    dynamic = points.dynamic[np.maximum.accumulate(row_of)]
    return Series(key, first, values, dynamic, points.categories[-1].tolist(), places, points)


def _codes(column: pa.ChunkedArray, names: Sequence[str]) -> Floats:
    """Return the number of each category; the contract has let no other text pass."""
    texts = column.combine_chunks()
    places = pc.index_in(texts.dictionary, pa.array(names, pa.string()))
    return np.asarray(places.take(texts.indices).to_numpy(zero_copy_only=False), np.float64)


def _times(column: pa.ChunkedArray) -> npt.NDArray[np.datetime64]:
    return np.asarray(column.combine_chunks().to_numpy(zero_copy_only=False)).astype("datetime64[us]")


def _numbers(column: pa.ChunkedArray) -> Floats:
    numbers = pc.cast(column, pa.float64(), safe=False).combine_chunks()
    return np.asarray(numbers.to_numpy(zero_copy_only=False), np.float64)
