"""Putting series together from the rows that are their points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from perennial.data.periods import Periods
from perennial.data.row_hasher import RowHasher
from perennial.data.rows import IDENTITY, Hashes
from perennial.data.series_form import SeriesForm
from perennial.data.split import Sets
from perennial.features.values import DataError
from perennial.words import quoted

Floats = npt.NDArray[np.float64]
Units = npt.NDArray[np.int64]
MOST_GAPS = 1000  # periods for each value: a mistyped year makes as many


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


def last_unit(rows: pa.Table, form: SeriesForm) -> int:
    """Return the unit of the last period in which any series has a value. Raises DataError: there is none."""
    times = rows[form.time].filter(pc.is_valid(rows[form.target]))
    if not len(times):
        raise DataError(f"{form.target}: no row has a value; a forecast needs what came before")
    return int(Periods.of(form.frequency).units(_times(times)).max())


def series_of(rows: pa.Table, sets: Sets, form: SeriesForm) -> Iterator[Series]:
    """Yield the series of rows, each in a set, in the order of their names; not those without a value.

    Raises DataError: the times of one are no periods.
    """
    periods = Periods.of(form.frequency)
    key = rows[form.key].combine_chunks()
    key = key if pa.types.is_dictionary(key.type) else key.dictionary_encode()
    names = np.array([str(name) for name in key.dictionary.to_pylist()])
    codes = np.argsort(np.argsort(names))[key.indices.to_numpy()]
    units = periods.units(_times(rows[form.time]))
    order = np.lexsort((units, codes))
    rows, codes = rows.take(pa.array(order)), codes[order]
    whole = PointRows(
        units[order],
        _numbers(rows[form.target]),
        sets[order],
        rows[IDENTITY].to_numpy(),
        RowHasher([form.target]).hashes(rows),
        _beside([_numbers(rows[name]) for name in form.dynamic], len(order)),
        _beside([_codes(rows[name], names) for name, names in form.categories], len(order)).astype(np.int64),
    )
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(codes)], strict=True):
        points = whole.slice(start, end)
        if not np.isnan(points.values).all():
            yield _one(str(np.sort(names)[codes[start]]), points, periods)


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


def _beside(columns: Sequence[Floats], rows: int) -> Floats:
    return np.column_stack(columns) if columns else np.empty((rows, 0))


def _codes(column: pa.ChunkedArray, names: Sequence[str]) -> Floats:
    """Return the number of each category; the contract has let no other text pass."""
    texts = column.combine_chunks()
    places = pc.index_in(texts.dictionary, pa.array(names, pa.string()))
    return np.asarray(places.take(texts.indices).to_numpy(zero_copy_only=False), np.float64)


def _times(column: pa.ChunkedArray) -> npt.NDArray[np.datetime64]:
    return np.asarray(column.combine_chunks().to_numpy(zero_copy_only=False)).astype("datetime64[us]")


def _numbers(column: pa.ChunkedArray) -> Floats:
    return np.asarray(pc.cast(column, pa.float64()).combine_chunks().to_numpy(zero_copy_only=False), np.float64)
