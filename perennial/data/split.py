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

Memory does not grow with rows: what is kept of each is in files as soon as there are many (data.row_numbers). These
have a byte a row, and eight for each row of a held-out set; with a key or by time eight for each row at all, and eight
more for its time; with a period eight more; and twice these eight for hashes while rows that are alike are found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from perennial.data.alike import HashesOfRows, like_others, repeats, replaced
from perennial.data.order import Ordered
from perennial.data.periods import Periods
from perennial.data.row_hasher import RowHasher
from perennial.data.row_numbers import Each, RowNumbers, pieces
from perennial.data.rows import CONTENT, IDENTITY, Hashes, lots, lots_below
from perennial.data.training_window import TrainingPeriod, latest_sound
from perennial.features.values import DataError, as_dictionary

SETS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST, REPEATED, LEFT_OUT = range(5)

_COPY = 5  # of another row, as long as it has no set

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

    def __init__(
        self,
        shares: Shares,
        *,
        keyed: bool = False,
        period: TrainingPeriod | None = None,
        folder: Path | None = None,
    ) -> None:
        self._shares, self._keyed, self._period, self._folder = shares, keyed, period, folder
        self._sets = RowNumbers(np.uint8, folder)
        self._contents = RowNumbers(np.uint64, folder)
        self._starts: dict[int, tuple[int, int]] = {}  # of each file, among the sets and among the contents

    @property
    def _has_all(self) -> bool:
        """Whether the contents of all rows are there: not those of the held-out ones alone."""
        return self._keyed or self.deals_late

    def deal(self, rows: pa.Table) -> Dealt:
        """Return what decides the sets of some valid rows; several threads may ask at once."""
        identity, content = _hashes(rows)
        dealt = self._dealt(identity, rows)
        contents = content if self._has_all else content[np.flatnonzero(dealt.sets != TRAIN)]
        return replace(dealt, contents=contents, period=self._period.times(rows) if self._period else None)

    def observe(self, file: int, dealt: Dealt) -> None:
        """Take in the next valid rows; `file` counts the files from 0 and never decreases."""
        self._starts.setdefault(file, (len(self._sets), len(self._contents)))
        self._sets.append(dealt.sets)
        self._contents.append(dealt.contents)
        if self._period and dealt.period is not None:
            self._period.observe(dealt.period)

    def leave_out(self, file: int) -> None:
        """Take back the rows of a file, the last one observed: they are in no set."""
        rows, contents = self._starts.get(file, (len(self._sets), len(self._contents)))
        self._sets[rows:] = LEFT_OUT
        if not self._has_all:
            self._contents.cut(contents)

    def finish(self) -> RowNumbers:
        """Return the set of each row in order: a position in SETS, REPEATED or LEFT_OUT."""
        if self._keyed:
            self._mark(self._of_contents(), replaced, REPEATED)
        if self._period:
            self._period.begin(Each(_are_used, self._sets))
        if not self._keyed:
            self._mark(self._of_contents(self._period), repeats, _COPY if self.deals_late else REPEATED)
        elif self._period:
            for _ in self._of_contents(self._period):
                pass
        self._contents.close()
        self._cut(self._sets)
        return self._sets

    def _of_contents(self, period: TrainingPeriod | None = None) -> Iterator[HashesOfRows]:
        """Yield rows in use and their contents, where these decide something; those before a period are left out."""
        before = 0
        for start, sets in pieces(self._sets):
            used = _are_used(sets)
            rows = np.flatnonzero(used if self._has_all else used & (sets != TRAIN))
            if self._has_all:
                contents = self._contents[start : start + len(sets)][rows]
            else:
                contents = self._contents[before : before + len(rows)]
                before += len(rows)
            if period and (older := period.older(start, used)).any():
                self._sets[start : start + len(sets)] = np.where(older, np.uint8(LEFT_OUT), sets)
                rows, contents = rows[~older[rows]], contents[~older[rows]]
            yield rows + start, contents

    def _mark(
        self, some: Iterator[HashesOfRows], which: Callable[[Hashes], npt.NDArray[np.bool_]], number: int
    ) -> None:
        """Put those of some rows that do not count beside others of their content into a set."""
        for rows in like_others(some, len(self._contents), which, self._folder):
            self._sets.put(rows, number)

    def _dealt(self, identity: Hashes, rows: pa.Table) -> Dealt:
        """Return what decides the sets of some rows, but for contents and period."""
        raise NotImplementedError

    def _cut(self, sets: RowNumbers) -> None:
        """Deal the rows that train by now, and are a _COPY, where they could not be dealt before all were known."""


def splitter(
    split: Mapping[str, Any],
    period: TrainingPeriod | None = None,
    series: SeriesHorizon | None = None,
    folder: Path | None = None,
) -> Splitter:
    """Return the splitter for the split section of a definition; rows before a period are in no set.

    folder  where there may be files of what it keeps of rows; None: where the system has temporary ones
    """
    if series:
        return SeriesSplitter(split["column"], series, folder)
    wanted = Shares(split["validation"], split["test"])
    others: dict[str, Any] = {"keyed": bool(split.get("key")), "period": period, "folder": folder}
    if split["method"] == "time":
        return TimeSplitter(split["column"], wanted, **others)
    if split["method"] == "group":
        return GroupSplitter(split["column"], split["seed"], wanted, **others)
    return RandomSplitter(split["seed"], wanted, **others)


class RandomSplitter(Splitter):
    """By a hash of the row's identity: all copies of a row draw the same lot."""

    def __init__(self, seed: int, shares: Shares, **others: Any) -> None:
        super().__init__(shares, **others)
        self._seed = seed
        self._tests, self._held_out = lots_below(shares.test), lots_below(shares.test + shares.validation)

    def _dealt(self, identity: Hashes, rows: pa.Table) -> Dealt:
        drawn = lots(identity, self._seed)
        return Dealt(_held_out(drawn < self._tests, drawn < self._held_out), identity)


class GroupSplitter(Splitter):
    """By a hash of the group."""

    def __init__(self, column: str, seed: int, shares: Shares, **others: Any) -> None:
        super().__init__(shares, **others)
        self._column, self._seed = column, seed

    def _dealt(self, identity: Hashes, rows: pa.Table) -> Dealt:
        groups = as_dictionary(rows[self._column].combine_chunks())
        drawn = np.array([self._drawn(str(group)) for group in groups.dictionary.to_pylist()], np.float64)
        of_groups = _held_out(drawn < self._shares.test, drawn < self._shares.test + self._shares.validation)
        return Dealt(of_groups[np.asarray(groups.indices.to_numpy(), np.int64)], identity)

    def _drawn(self, group: str) -> float:
        digest = hashlib.blake2b(f"{self._seed}\n{group}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") / 2**64


class TimeSplitter(Splitter):
    """By time: the latest rows test."""

    deals_late = True

    def __init__(self, column: str, shares: Shares, **others: Any) -> None:
        super().__init__(shares, **others)
        self._column = column
        self._times: RowNumbers | None = None

    def observe(self, file: int, dealt: Dealt) -> None:
        super().observe(file, dealt)
        if dealt.times is not None:
            if self._times is None:
                self._times = RowNumbers(dealt.times.dtype, self._folder)
            self._times.append(dealt.times)

    def _dealt(self, identity: Hashes, rows: pa.Table) -> Dealt:
        times = rows[self._column].combine_chunks()
        times = pc.cast(times, pa.int64()) if pa.types.is_timestamp(times.type) else times
        return Dealt(np.full(rows.num_rows, TRAIN, np.uint8), identity, times.to_numpy())

    def _cut(self, sets: RowNumbers) -> None:
        if self._times is None:
            return
        counting = Ordered(partial(self._counting, sets))
        if not len(counting):
            return
        test_from = _cut_at(counting, self._shares.test)
        validation_from = _cut_at(counting.before(test_from), self._shares.validation, len(counting))
        for start, piece in pieces(sets):
            times, drawn = self._times[start : start + len(piece)], piece.copy()
            used = (piece == TRAIN) | (piece == _COPY)
            drawn[used & (times >= validation_from)] = VALIDATION
            drawn[used & (times >= test_from)] = TEST
            copies = piece == _COPY
            drawn[copies] = np.where(drawn[copies] == _COPY, np.uint8(TRAIN), np.uint8(REPEATED))
            sets[start : start + len(piece)] = drawn
        self._times.close()

    def _counting(self, sets: RowNumbers) -> Iterator[npt.NDArray[Any]]:
        """Yield the times of rows that count, a piece of all rows each."""
        if self._times is not None:
            for start, piece in pieces(sets):
                yield self._times[start : start + len(piece)][piece == TRAIN]


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

    def __init__(self, column: str, horizon: SeriesHorizon, folder: Path | None = None) -> None:
        super().__init__(column, Shares(0, 0), keyed=True, folder=folder)
        self._horizon = horizon
        self._observed = RowNumbers(np.bool_, folder)

    def observe(self, file: int, dealt: Dealt) -> None:
        super().observe(file, dealt)
        if dealt.observed is not None:
            self._observed.append(dealt.observed)

    def _dealt(self, identity: Hashes, rows: pa.Table) -> Dealt:
        return replace(super()._dealt(identity, rows), observed=rows[self._horizon.target].is_valid().to_numpy())

    def _cut(self, sets: RowNumbers) -> None:
        units = self._horizon.periods.units
        # The last period with a value, of rows that are not late, and of the others.
        last: dict[bool, Any] = {}
        for _, _, times, observed, late in self._points(sets):
            for is_late in (False, True):
                some = times[observed & (late == is_late)]
                if some.size:
                    newest = units(some).max()
                    last[is_late] = max(newest, last.get(is_late, newest))
        if not last:
            return
        has_sound = False in last  # if no value is, all count
        end, ahead = last[not has_sound], self._horizon.length * self._horizon.periods.step
        for start, used, times, _, late in self._points(sets):
            of_rows, drawn = units(times), np.full(len(times), TRAIN, np.uint8)
            drawn[of_rows > end - 2 * ahead] = VALIDATION
            drawn[of_rows > end - ahead] = TEST
            if has_sound:
                drawn[late] = LEFT_OUT
            piece = sets[start : start + len(used)].copy()
            piece[used] = drawn
            sets[start : start + len(used)] = piece

    def _points(self, sets: RowNumbers) -> Iterator[tuple[int, npt.NDArray[np.bool_], Any, Any, Any]]:
        """Yield where a piece of the rows begins, which of them are used, and of these times, which observe and late.

        Late ones are after the run.
        """
        if self._times is None:
            return
        for start, piece in pieces(sets):
            used = piece == TRAIN
            times = self._times[start : start + len(piece)][used].astype("datetime64[us]")
            yield start, used, times, self._observed[start : start + len(piece)][used], self._horizon.is_late(times)


def _held_out(tests: npt.NDArray[np.bool_], are: npt.NDArray[np.bool_]) -> Sets:
    """Return the sets of rows, given which test, and which test or validate."""
    return are.view(np.uint8) + tests  # VALIDATION is one, TEST two


def _are_used(sets: Sets) -> npt.NDArray[np.bool_]:
    """Return which rows are in one of the SETS by now."""
    return sets < len(SETS)


def _hashes(rows: pa.Table) -> tuple[Hashes, Hashes]:
    """(identity, content) of rows."""
    if IDENTITY in rows.column_names:
        return rows[IDENTITY].to_numpy(), rows[CONTENT].to_numpy()
    hashes = RowHasher(rows.column_names).hashes(rows)
    return hashes, hashes


def _cut_at(times: Ordered, share: float, of_rows: int | None = None) -> Any:
    """Return the time from which on rows are held out: of the two ends of a tie, the one closer to the share."""
    wanted = round(share * (of_rows or len(times)))
    if not 0 < wanted < len(times):
        raise DataError(
            "the split by time leaves a set empty: too many rows have the same time. "
            "Use more data, or split.method random or group"
        )
    exact = len(times) - wanted
    time = times[exact]
    starts, ends = times.tie(time)
    holds_tie = ends == len(times) or (starts > 0 and exact - starts <= ends - exact)
    return time if holds_tie else times[ends]
