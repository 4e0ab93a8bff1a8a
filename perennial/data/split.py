"""Dealing rows to the training, validation and test set: by a row's content and the seed, never by its position.

The gate compares a candidate with the model in service on test rows that neither has trained on. A row therefore keeps
its set whatever happens to files: packed otherwise, dropped again, corrected, in another order, more of them.

random  The hash of a row's identity (data.rows) and the seed decide. Shares are met as far as chance goes: of n
        rows a set is within two times sqrt(share * (1 - share) * n) rows of its share in 19 of 20 tables.
group   A hash of seed and group decides, so that all rows of a group are in one set. The shares are of the groups.
time    The latest rows test, those before validate. Rows of the same time stay together, so that shares are met up to
        the size of a tie. Shares are of different rows, so that copies of old ones move none. Later data push older
        rows towards training, never training rows into a test set; older data that come later push rows the other way,
        which the comparison of models takes into account.
series  The last periods test, as many as are forecast, and those before validate: of all series by the same times, so
        that nothing that trains is later than what tests. The last of all is the last in which a series has a value;
        rows that are dated after the run are in no set, as one mistyped year would decide what tests.

Copies never help: rows of one content are in one set, and one of them counts where a model is measured (REPEATED is the
set of the others; a training set keeps them). With a key the last row of each key counts, earlier ones are in no set.
Rows before a period (data.training_window) are in no set: with a key its last row decides, of copies each for itself.

Memory: a byte a row, and eight for each row of a held-out set; with a key or by time eight for each row at all, and
eight more for its time; with a period eight more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from perennial.data.periods import Periods
from perennial.data.row_hasher import RowHasher
from perennial.data.rows import CONTENT, IDENTITY, Hashes, are_among, shares
from perennial.data.training_window import TrainingPeriod, latest_sound
from perennial.features.values import DataError

SETS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST, REPEATED, LEFT_OUT = range(5)

FEW_TWICE = 16  # times as many hashes are there once

Sets = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Shares:
    """Shares of validation and test, 0 to 1; the rest trains."""

    validation: float
    test: float


@dataclass(frozen=True)
class Dealt:
    """What decides the sets of some rows.

    sets      theirs, as far as they are known by now
    contents  hashes of those that may be in another set because of them
    times     that they are split by
    observed  which have a value, of series
    period    the times that a period is counted by
    """

    sets: Sets
    contents: Hashes
    times: npt.NDArray[Any] | None = None
    observed: npt.NDArray[np.bool_] | None = None
    period: npt.NDArray[np.datetime64] | None = None


class Splitter:
    """Sees the valid rows once, in order, and then knows the set of each.

    Tables of rows hold IDENTITY and CONTENT beside the columns; rows without them are identified by all their columns.
    """

    deals_late = False  # whether the sets are only known when all rows are there

    def __init__(self, shares: Shares, *, keyed: bool = False, period: TrainingPeriod | None = None) -> None:
        self._shares, self._keyed, self._period = shares, keyed, period
        self._sets: list[Sets] = [np.empty(0, np.uint8)]
        self._contents: list[Hashes] = [np.empty(0, np.uint64)]
        self._first_row: dict[int, int] = {}
        self._rows = 0
        self._left_out: list[slice] = []

    def deal(self, rows: pa.Table) -> Dealt:
        """Return what decides the sets of some valid rows; several threads may ask at once."""
        identity, content = _hashes(rows)
        dealt = self._dealt(identity, rows)
        contents = content if self._keyed or self.deals_late else content[dealt.sets != TRAIN]
        return replace(dealt, contents=contents, period=self._period.times(rows) if self._period else None)

    def observe(self, file: int, dealt: Dealt) -> None:
        """Take in the next valid rows; `file` counts the files from 0 and never decreases."""
        self._first_row.setdefault(file, self._rows)
        self._sets.append(dealt.sets)
        self._contents.append(dealt.contents)
        if self._period and dealt.period is not None:
            self._period.observe(dealt.period)
        self._rows += len(dealt.sets)

    def leave_out(self, file: int) -> None:
        """Take back the rows of a file, the last one observed: they are in no set."""
        self._left_out.append(slice(self._first_row.get(file, self._rows), self._rows))

    def finish(self) -> Sets:
        """Return the set of each row in order: a position in SETS, REPEATED or LEFT_OUT."""
        sets, contents = np.concatenate(self._sets), np.concatenate(self._contents)
        self._sets.clear()
        self._contents.clear()
        places = np.arange(len(sets)) if len(contents) == len(sets) else np.flatnonzero(sets != TRAIN)
        for rows in self._left_out:
            sets[rows] = LEFT_OUT
        places, contents = _used(sets, places, contents)
        if self._keyed:
            last = last_of_each(contents)
            sets[np.delete(places, last)] = REPEATED
            places, contents = places[last], contents[last]
        if self._period:
            sets[self._period.older((sets != LEFT_OUT) & (sets != REPEATED))] = LEFT_OUT
            places, contents = _used(sets, places, contents)
        counts = ~repeats(contents)
        self._cut(sets, places, counts)
        sets[places[~counts & (sets[places] != TRAIN)]] = REPEATED
        return sets

    def _dealt(self, identity: Hashes, rows: pa.Table) -> Dealt:
        """Return what decides the sets of some rows, but for contents and period."""
        raise NotImplementedError

    def _cut(self, sets: Sets, places: npt.NDArray[np.int64], counts: npt.NDArray[np.bool_]) -> None:
        """Deal the rows at the places, which could not be dealt before all were known; of copies one counts."""

    def _of_shares(self, drawn: npt.NDArray[np.float64]) -> Sets:
        """Return the set of each number from 0 to 1."""
        sets = (drawn < self._shares.test + self._shares.validation).astype(np.uint8)  # VALIDATION is one, TEST two
        sets += drawn < self._shares.test
        return sets


def splitter(
    split: Mapping[str, Any], period: TrainingPeriod | None = None, series: SeriesHorizon | None = None
) -> Splitter:
    """Return the splitter for the split section of a definition; rows before a period are in no set."""
    if series:
        return SeriesSplitter(split["column"], series)
    wanted, keyed = Shares(split["validation"], split["test"]), bool(split.get("key"))
    if split["method"] == "time":
        return TimeSplitter(split["column"], wanted, keyed=keyed, period=period)
    if split["method"] == "group":
        return GroupSplitter(split["column"], split["seed"], wanted, keyed=keyed, period=period)
    return RandomSplitter(split["seed"], wanted, keyed=keyed, period=period)


class RandomSplitter(Splitter):
    """By a hash of the row's identity: all copies of a row draw the same lot."""

    def __init__(self, seed: int, shares: Shares, *, keyed: bool = False, period: TrainingPeriod | None = None) -> None:
        super().__init__(shares, keyed=keyed, period=period)
        self._seed = seed

    def _dealt(self, identity: Hashes, rows: pa.Table) -> Dealt:
        return Dealt(self._of_shares(shares(identity, self._seed)), identity)


class GroupSplitter(Splitter):
    """By a hash of the group."""

    def __init__(
        self, column: str, seed: int, shares: Shares, *, keyed: bool = False, period: TrainingPeriod | None = None
    ) -> None:
        super().__init__(shares, keyed=keyed, period=period)
        self._column, self._seed = column, seed

    def _dealt(self, identity: Hashes, rows: pa.Table) -> Dealt:
        groups = rows[self._column].combine_chunks()
        groups = groups if pa.types.is_dictionary(groups.type) else groups.dictionary_encode()
        drawn = np.array([self._drawn(str(group)) for group in groups.dictionary.to_pylist()], np.float64)
        of_groups = self._of_shares(drawn)
        return Dealt(of_groups[np.asarray(groups.indices.to_numpy(), np.int64)], identity)

    def _drawn(self, group: str) -> float:
        digest = hashlib.blake2b(f"{self._seed}\n{group}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64


class TimeSplitter(Splitter):
    """By time: the latest rows test."""

    deals_late = True

    def __init__(
        self, column: str, shares: Shares, *, keyed: bool = False, period: TrainingPeriod | None = None
    ) -> None:
        super().__init__(shares, keyed=keyed, period=period)
        self._column = column
        self._times: list[npt.NDArray[Any]] = []

    def observe(self, file: int, dealt: Dealt) -> None:
        super().observe(file, dealt)
        if dealt.times is not None:
            self._times.append(dealt.times)

    def _dealt(self, identity: Hashes, rows: pa.Table) -> Dealt:
        times = rows[self._column].combine_chunks()
        times = pc.cast(times, pa.int64()) if pa.types.is_timestamp(times.type) else times
        return Dealt(np.full(rows.num_rows, TRAIN, np.uint8), identity, times.to_numpy())

    def _cut(self, sets: Sets, places: npt.NDArray[np.int64], counts: npt.NDArray[np.bool_]) -> None:
        if not places.size:
            return
        times = np.concatenate(self._times)[places]
        self._times.clear()
        ordered = np.sort(times[counts])
        test_from = _cut_at(ordered, self._shares.test)
        before = ordered[: np.searchsorted(ordered, test_from)]
        validation_from = _cut_at(before, self._shares.validation, len(ordered))
        sets[places[times >= validation_from]] = VALIDATION
        sets[places[times >= test_from]] = TEST


@dataclass(frozen=True)
class SeriesHorizon:
    """How far ahead series are forecast, the column of their values, and when the run listed its data, if it has."""

    periods: Periods
    length: int
    target: str
    listed_at: datetime | None = None

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any], listed_at: datetime | None = None) -> SeriesHorizon | None:
        """Return that of a resolved definition; None where it has no series."""
        if not (series := definition.get("series")):
            return None
        return cls(Periods.of(series["frequency"]), series["prediction_length"], definition["target"], listed_at)

    def is_late(self, times: npt.NDArray[np.datetime64]) -> npt.NDArray[np.bool_]:
        """Return which times `(n,)` are after the run, so that nobody can know their values."""
        if self.listed_at is None:
            return np.zeros(len(times), np.bool_)
        return np.asarray(times > np.datetime64(latest_sound(self.listed_at), "us"))


class SeriesSplitter(TimeSplitter):
    """By periods: the last ones of all series test."""

    def __init__(self, column: str, horizon: SeriesHorizon) -> None:
        super().__init__(column, Shares(0, 0), keyed=True)
        self._horizon = horizon
        self._observed: list[npt.NDArray[np.bool_]] = []

    def observe(self, file: int, dealt: Dealt) -> None:
        super().observe(file, dealt)
        if dealt.observed is not None:
            self._observed.append(dealt.observed)

    def _dealt(self, identity: Hashes, rows: pa.Table) -> Dealt:
        return replace(super()._dealt(identity, rows), observed=rows[self._horizon.target].is_valid().to_numpy())

    def _cut(self, sets: Sets, places: npt.NDArray[np.int64], counts: npt.NDArray[np.bool_]) -> None:
        observed = np.concatenate([*self._observed, np.empty(0, np.bool_)])[places]
        if not observed.any():
            return
        times = np.concatenate(self._times)[places].astype("datetime64[us]")
        self._times.clear()
        self._observed.clear()
        late, units = self._horizon.is_late(times), self._horizon.periods.units(times)
        late &= bool((observed & ~late).any())
        last, ahead = units[observed & ~late].max(), self._horizon.length * self._horizon.periods.step
        sets[places[units > last - 2 * ahead]] = VALIDATION
        sets[places[units > last - ahead]] = TEST
        sets[places[late]] = LEFT_OUT


def _hashes(rows: pa.Table) -> tuple[Hashes, Hashes]:
    """(identity, content) of rows."""
    if IDENTITY in rows.column_names:
        return rows[IDENTITY].to_numpy(), rows[CONTENT].to_numpy()
    hashes = RowHasher(rows.column_names).hashes(rows)
    return hashes, hashes


def _used(sets: Sets, places: npt.NDArray[np.int64], contents: Hashes) -> tuple[npt.NDArray[np.int64], Hashes]:
    """Return the places, and what stands there, without those that are left out."""
    used = sets[places] != LEFT_OUT
    return (places, contents) if used.all() else (places[used], contents[used])


def repeats(hashes: Hashes) -> npt.NDArray[np.bool_]:
    """Return which hashes are those of an earlier row.

    To sort hashes takes a tenth of the time that it takes to know where each was, which only those need that are there
    twice: a few, as a rule.
    """
    ordered = np.sort(hashes)
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    del ordered
    some = np.arange(len(hashes))
    if FEW_TWICE * len(twice) <= len(hashes):
        bits = np.uint64((1 << (FEW_TWICE * len(twice)).bit_length()) - 1)  # by which most are told
        is_like = np.zeros(int(bits) + 1, np.bool_)
        is_like[twice & bits] = True
        some = np.flatnonzero(is_like[hashes & bits])
        some = some[are_among(hashes[some], twice)]
    mask = np.zeros(len(hashes), np.bool_)
    mask[some] = True
    mask[some[_first_of_each(hashes[some])]] = False
    return mask


def _first_of_each(hashes: Hashes) -> npt.NDArray[np.int64]:
    """Return the place of the first row of each hash, in the order of hashes.

    As np.unique does, in less time and memory: equal hashes need not keep their order while they are sorted.
    """
    if not len(hashes):
        return np.empty(0, np.int64)
    order = np.argsort(hashes)
    ordered = hashes[order]
    starts = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    del ordered
    return np.asarray(np.minimum.reduceat(order, starts), np.int64)


def last_of_each(hashes: Hashes) -> npt.NDArray[np.int64]:
    """Return the place of the last row of each hash, in the order of hashes."""
    return len(hashes) - 1 - _first_of_each(hashes[::-1])


def _cut_at(ordered: npt.NDArray[Any], share: float, of_rows: int | None = None) -> Any:
    """Return the time from which on rows are held out: of the two ends of a tie, the one closer to the share."""
    wanted = round(share * (of_rows or len(ordered)))
    if not 0 < wanted < len(ordered):
        raise DataError(
            "the split by time leaves a set empty: too many rows have the same time. "
            "Use more data, or split.method random or group"
        )
    time = ordered[-wanted]
    starts, ends = np.searchsorted(ordered, time, "left"), np.searchsorted(ordered, time, "right")
    exact = len(ordered) - wanted
    holds_tie = ends == len(ordered) or (starts > 0 and exact - starts <= ends - exact)
    return time if holds_tie else ordered[ends]
