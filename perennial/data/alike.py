"""Rows that are like others, by their hashes: of any number of rows, on all cores, in memory that does not grow.

Rows of one hash come into one bucket, and a bucket is small enough to be sorted in memory. Buckets are files, as soon
as there is more in them than memory should hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt

from perennial.data.in_order import in_order
from perennial.data.row_numbers import RowNumbers, pieces
from perennial.data.rows import GOLDEN, Hashes, are_among

FEW_TWICE = 16  # times as many hashes are there once
TOGETHER = 1 << 18  # rows of a bucket, about, that are compared at once on each core
LARGE = 1 << 20  # rows that are on one core
MOST_BITS = 8  # that tell buckets: each may have an open file, of which a process may have a thousand
LEVELS = 2  # of buckets in buckets: after so many all rows of a large one have one hash
IN_MEMORY = 32 << 20  # bytes of all buckets
ROWS_AT_ONCE = 4 << 20  # that are handed on

Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
HashesOfRows = tuple[Rows, Hashes]
Which = Callable[[Hashes], Mask]
_PAIR = np.dtype([("hash", "<u8"), ("row", "<i8")])


def like_others(
    some: Iterable[HashesOfRows], count: int, which: Which, folder: Path | None = None, level: int = 0
) -> Iterator[Rows]:
    """Yield the rows that are like others, some millions of them at once, which ascend.

    some    rows, which ascend, and their hashes
    count   how many there are, at most
    which   returns a mask of hashes that are not the one of their kind that counts: `repeats` or `replaced`
    folder  where files may be
    level   how many times these have come into buckets already
    """
    if count <= LARGE:
        (rows, hashes) = _together([*some])
        yield rows[which(hashes)]
        return
    bits = min(MOST_BITS, (2 * count // TOGETHER).bit_length())
    in_memory = IN_MEMORY >> bits
    buckets = [RowNumbers(_PAIR, folder, in_memory) for _ in range(1 << bits)]
    for pairs, ends in in_order(partial(_by_bucket, level * MOST_BITS, bits), some):
        begin = 0
        for bucket, end in zip(buckets, ends, strict=True):
            if end > begin:
                bucket.append(pairs[begin:end])
            begin = end
    small = [bucket for bucket in buckets if len(bucket) <= 2 * TOGETHER]
    large = [bucket for bucket in buckets if len(bucket) > 2 * TOGETHER]  # one after the other: memory has room for one
    in_small = in_order(lambda bucket: [*_alike_in(which, bucket)], small)
    in_large = (_alike_in_large(which, bucket, folder, level) for bucket in large)
    yield from _gathered(chain(chain.from_iterable(in_small), chain.from_iterable(in_large)))


def _together(some: list[HashesOfRows]) -> HashesOfRows:
    rows, hashes = zip(*some, strict=True) if some else ((), ())
    return np.concatenate([np.empty(0, np.int64), *rows]), np.concatenate([np.empty(0, np.uint64), *hashes])


def _by_bucket(first: int, bits: int, some: HashesOfRows) -> tuple[npt.NDArray[np.void], list[int]]:
    """Return rows and hashes in the order of their buckets, and where each bucket ends among them.

    first, bits  from which bit of a mixed hash on, and by how many, buckets are told
    """
    rows, hashes = some
    numbers = (((hashes * GOLDEN) << np.uint64(first)) >> np.uint64(64 - bits)).astype(np.uint16)
    order = np.argsort(numbers, kind="stable")
    pairs = np.empty(len(rows), _PAIR)
    pairs["hash"], pairs["row"] = hashes[order], rows[order]
    return pairs, np.cumsum(np.bincount(numbers, minlength=1 << bits)).tolist()


def _alike_in_large(which: Which, bucket: RowNumbers, folder: Path | None, level: int) -> Iterator[Rows]:
    """Yield the rows of a bucket that are like others: those of few hashes, or of so many that it needs buckets."""
    if level == LEVELS:
        yield from _alike_in(which, bucket)
        return
    some = ((pairs["row"], pairs["hash"]) for _, pairs in pieces(bucket))
    yield from like_others(some, len(bucket), which, folder, level + 1)
    bucket.close()


def _alike_in(which: Which, bucket: RowNumbers) -> Iterator[Rows]:
    """Yield the rows of a bucket that are like others. However often one hash is in it: memory has few of them."""
    counting = bucket[0:0]
    for start in range(0, len(bucket), LARGE):
        pairs = np.concatenate([counting, bucket[start : start + LARGE]]) if start else bucket[:LARGE]
        mask = which(np.ascontiguousarray(pairs["hash"]))
        yield pairs["row"][mask]
        counting = pairs[~mask]
    bucket.close()


def _gathered(alike: Iterable[Rows]) -> Iterator[Rows]:
    """Yield many rows at once, in their order."""
    waiting, count = [np.empty(0, np.int64)], 0
    for rows in alike:
        waiting.append(rows)
        count += len(rows)
        if count >= ROWS_AT_ONCE:
            yield np.sort(np.concatenate(waiting))
            waiting, count = [], 0
    if count:
        yield np.sort(np.concatenate(waiting))


def repeats(hashes: Hashes) -> Mask:
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


def replaced(hashes: Hashes) -> Mask:
    """Return which hashes are those of a later row."""
    mask = np.ones(len(hashes), np.bool_)
    mask[last_of_each(hashes)] = False
    return mask


def last_of_each(hashes: Hashes) -> Rows:
    """Return the place of the last row of each hash, in the order of hashes."""
    return len(hashes) - 1 - _first_of_each(hashes[::-1])


def _first_of_each(hashes: Hashes) -> Rows:
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
