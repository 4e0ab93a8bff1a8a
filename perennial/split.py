"""Which rows train, validate and test: no row in two sets, and a row keeps its set as data grow.

The gate compares a candidate with the model in service on the same fresh test set. That is fair only if the model in
service was not trained on rows of that set. Therefore a row's set must not change when files are added:

random  Rows are walked in manifest order (oldest file first), in chunks that end with each file. Each set gets its
        share of a chunk by cumulative rounding, so that every set is within one row of its share over all rows; which
        rows of the chunk it gets is drawn from a generator that depends on the seed and the chunk's number only.
        Rows that are appended to the last file move at most the rows of its last chunk.
group   A hash of seed and group decides, so that all rows of a group are in one set, today and after every drop.
        The shares are those of the groups, not of the rows.
time    The latest rows test, those before validate. Rows of the same time stay together, so that shares are met up to
        the size of a tie. Later data push older rows towards training, never training rows into a test set.

Memory: one byte a row for the answer, and eight for the times of a split by time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from perennial.values import DataError

SETS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)
CHUNK_ROWS = 100
CHUNKS_AT_ONCE = 2_000  # bounds the memory of drawing

Sets = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Shares:
    """Shares of validation and test, 0 to 1; the rest trains."""

    validation: float
    test: float


class Splitter(Protocol):
    """Sees the valid rows once, in order, and then knows the set of each."""

    def observe(self, file: int, rows: pa.Table) -> None:
        """Take in the next valid rows; `file` counts the files from 0 and never decreases."""

    def finish(self) -> Sets:
        """Return the set of each observed row (TRAIN, VALIDATION or TEST), in order."""


def splitter(split: Mapping[str, Any]) -> Splitter:
    """Return the splitter of a definition. Keys: method, seed, column, validation, test."""
    shares = Shares(split["validation"], split["test"])
    if split["method"] == "time":
        return TimeSplitter(split["column"], shares)
    if split["method"] == "group":
        return GroupSplitter(split["column"], split["seed"], shares)
    return RandomSplitter(split["seed"], shares)


class RandomSplitter:
    """By chance, from a seed."""

    def __init__(self, seed: int, shares: Shares) -> None:
        self._seed, self._shares = seed, shares
        self._rows_of_file: dict[int, int] = {}

    def observe(self, file: int, rows: pa.Table) -> None:
        self._rows_of_file[file] = self._rows_of_file.get(file, 0) + rows.num_rows

    def finish(self) -> Sets:
        sizes = self._chunk_sizes()
        ends = np.cumsum(sizes)
        return np.concatenate(
            [np.empty(0, np.uint8)]
            + [
                self._draw(first, sizes[first : first + CHUNKS_AT_ONCE], ends[first : first + CHUNKS_AT_ONCE])
                for first in range(0, len(sizes), CHUNKS_AT_ONCE)
            ]
        )

    def _chunk_sizes(self) -> npt.NDArray[np.int64]:
        """Rows of each chunk: full ones, and a shorter one at the end of a file."""
        sizes: list[npt.NDArray[np.int64]] = [np.empty(0, np.int64)]
        for rows in self._rows_of_file.values():
            full, rest = divmod(rows, CHUNK_ROWS)
            sizes.append(np.array([CHUNK_ROWS] * full + [rest] * bool(rest), np.int64))
        return np.concatenate(sizes)

    def _draw(self, first: int, sizes: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> Sets:
        """Return the sets of the rows of some chunks; `first` is the number of the first of them."""
        (held_out, test), (held_out_before, test_before) = (_allocated(self._shares, at) for at in (ends, ends - sizes))
        held_out, test = held_out - held_out_before, test - test_before
        rank = np.arange(CHUNK_ROWS)
        exists = rank < sizes[:, None]
        lots = np.where(exists, self._lots(first, len(sizes)), np.iinfo(np.uint64).max)
        by_rank = np.where(rank < test[:, None], TEST, np.where(rank < held_out[:, None], VALIDATION, TRAIN))
        sets = np.empty(lots.shape, np.uint8)
        np.put_along_axis(sets, lots.argsort(axis=1), by_rank.astype(np.uint8), axis=1)
        return sets[exists]

    def _lots(self, first: int, chunks: int) -> npt.NDArray[np.uint64]:
        """Return random numbers, shape (chunks, CHUNK_ROWS), that depend on the seed and the chunk's number only.

        Philox counts blocks of four numbers, of which a chunk takes CHUNK_ROWS / 4. Its raw stream is the same in
        every version of numpy (numpy.random, "Compatibility policy"), so that a new image moves no row.
        """
        stream = np.random.Philox(key=self._seed).advance(first * CHUNK_ROWS // 4)
        lots = np.asarray(stream.random_raw(chunks * CHUNK_ROWS), np.uint64)
        return lots.reshape((chunks, CHUNK_ROWS))


def _allocated(shares: Shares, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return how many of the first `rows` rows are held out, and how many of those test.

    Rounded twice, so off by less than one row each; and neither count grows faster than what it is taken from, so that
    a chunk of a single row works too.
    """
    held_out = np.rint((shares.test + shares.validation) * rows)
    test = np.rint(shares.test / (shares.test + shares.validation) * held_out)
    return held_out.astype(np.int64), test.astype(np.int64)


class GroupSplitter:
    """By a hash of the group."""

    def __init__(self, column: str, seed: int, shares: Shares) -> None:
        self._column, self._seed, self._shares = column, seed, shares
        self._sets: list[Sets] = [np.empty(0, np.uint8)]

    def observe(self, file: int, rows: pa.Table) -> None:
        groups = rows[self._column].combine_chunks()
        groups = groups if pa.types.is_dictionary(groups.type) else groups.dictionary_encode()
        set_of_group = np.array([self._set_of(str(group)) for group in groups.dictionary.to_pylist()], np.uint8)
        self._sets.append(set_of_group[groups.indices.to_numpy()])

    def _set_of(self, group: str) -> int:
        digest = hashlib.blake2b(f"{self._seed}\n{group}".encode(), digest_size=8).digest()
        position = int.from_bytes(digest, "big") / 2**64
        if position < self._shares.test:
            return TEST
        return VALIDATION if position < self._shares.test + self._shares.validation else TRAIN

    def finish(self) -> Sets:
        return np.concatenate(self._sets)


class TimeSplitter:
    """By time: the latest rows test."""

    def __init__(self, column: str, shares: Shares) -> None:
        self._column, self._shares = column, shares
        self._times: list[npt.NDArray[Any]] = []

    def observe(self, file: int, rows: pa.Table) -> None:
        times = rows[self._column].combine_chunks()
        times = pc.cast(times, pa.int64()) if pa.types.is_timestamp(times.type) else times
        self._times.append(times.to_numpy())

    def finish(self) -> Sets:
        if not self._times:
            return np.empty(0, np.uint8)
        times = np.concatenate(self._times)
        self._times.clear()
        ordered = np.sort(times)
        test_from = _cut(ordered, self._shares.test)
        validation_from = _cut(ordered[: np.searchsorted(ordered, test_from)], self._shares.validation, len(ordered))
        sets = np.full(len(times), TRAIN, np.uint8)
        sets[times >= validation_from] = VALIDATION
        sets[times >= test_from] = TEST
        return sets


def _cut(ordered: npt.NDArray[Any], share: float, of_rows: int | None = None) -> Any:
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
