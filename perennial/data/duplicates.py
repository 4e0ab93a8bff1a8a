"""How many rows repeat an earlier one: a file dropped again under another name doubles its rows.

Beyond MAX_COUNTED rows the count is an estimate from a sample of the hashes: all rows that are alike have one hash, so
they are in the sample together or not at all. Memory stays bounded: 16 bytes for each of MAX_COUNTED rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from perennial.data.alike import last_of_each
from perennial.data.in_order import cores, in_order
from perennial.data.row_numbers import PIECE, Among, Each, OfRows, count_true, taken
from perennial.data.rows import Hashes, are_among, mixed
from perennial.data.split import LEFT_OUT

MAX_COUNTED = 2_000_000  # rows that are compared one by one
MAX_HALVINGS = 60
CHANCE = 4  # standard deviations
MOST_BITS, FEW = 3, 100_000  # that tell the hashes which a core counts, where they are more than a few
_MARK = np.uint64(1)


NO_HASHES: Hashes = np.empty(0, np.uint64)
Rows = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class HashSample:
    """Hashes of some rows, or of a sample of them: of those whose hashes end in so many zeros.

    rows   where they stand among these rows
    count  how many rows there are
    """

    hashes: Hashes
    wholes: Hashes
    rows: Rows
    count: int
    zeros: int = 0

    def sampled(self, zeros: int) -> HashSample:
        """Return those of a smaller sample."""
        if zeros <= self.zeros:
            return self
        chosen = np.flatnonzero((self.hashes & np.uint64((1 << zeros) - 1)) == 0)
        wholes = self.wholes[chosen] if len(self.wholes) else self.wholes
        return HashSample(self.hashes[chosen], wholes, self.rows[chosen], self.count, zeros)


class DuplicateCounter:
    """Sees the contents of the valid rows in order (data.rows), and with a key all that they say beside it."""

    def __init__(self) -> None:
        self._pieces: list[HashSample] = [HashSample(NO_HASHES, NO_HASHES, np.empty(0, np.int64), 0)]
        self._row_count, self._kept_count, self._halvings = 0, 0, 0

    def sample(self, contents: Hashes, wholes: Hashes = NO_HASHES) -> HashSample:
        """Return what is to be known of some rows; several threads may ask at once."""
        # A sample by the bits of hashes must be one by chance.
        return HashSample(mixed(contents), wholes, np.arange(len(contents)), len(contents)).sampled(self._halvings)

    def observe(self, sample: HashSample) -> None:
        """Take in the next rows."""
        piece = replace(sample, rows=sample.rows + self._row_count).sampled(self._halvings)
        self._row_count += sample.count
        self._pieces.append(piece)
        self._kept_count += len(piece.rows)
        while self._kept_count > MAX_COUNTED and self._halvings < MAX_HALVINGS:
            self._halvings += 1
            self._pieces = [*in_order(partial(HashSample.sampled, zeros=self._halvings), self._pieces)]
            self._kept_count = sum(len(one.rows) for one in self._pieces)

    def _counted(self) -> tuple[Hashes, Hashes, Rows]:
        """Return hashes of the sample, those of all that its rows say where they are given, and the rows."""
        if len(self._pieces) > 1:
            hashes, wholes, rows = zip(*((one.hashes, one.wholes, one.rows) for one in self._pieces), strict=True)
            together = HashSample(np.concatenate(hashes), np.concatenate(wholes), np.concatenate(rows), self._row_count)
            self._pieces = [replace(together, zeros=self._halvings)]
        (all_rows,) = self._pieces
        return all_rows.hashes, all_rows.wholes, all_rows.rows

    def count(self, used: OfRows, some: OfRows) -> tuple[int, int]:
        """Return how many of the rows that a mask `(n_rows,)` holds repeat an earlier one, and of some of them alone.

        The lowest bit of a hash gives way to the second mask, so that all are sorted once: a sample has no other there.
        """
        parts = 1 << min(MOST_BITS, cores().bit_length() - 1) if self._kept_count > FEW else 1
        pieces = ((piece.hashes, taken(used, piece.rows), taken(some, piece.rows)) for piece in self._pieces)
        by_part = zip(*in_order(partial(_marked, parts), pieces), strict=True)
        count, distinct, marks, distinct_marks = map(sum, zip(*in_order(_counted, by_part), strict=True))
        return (
            self._repeated(used, count, distinct),
            self._repeated(Each(np.logical_and, used, some), marks, distinct_marks),
        )

    def count_known(self, sets: OfRows, is_new: OfRows) -> int:
        """Return how many of the new rows are like one that is not new; those left out do not count."""
        if not count_true(is_new):
            return 0
        new, rows = Each(_are_new, sets, is_new), self._counted()[2]
        return self._repeated(new, int(np.count_nonzero(taken(new, rows))), len(self._unlike_known(sets, is_new)))

    def _repeated(self, used: OfRows, in_sample: int, distinct: int) -> int:
        """Return how many of the rows in use repeat another, given those of the sample and how many of these do not.

        A sample is larger or smaller by chance: where none of it repeats another, what that explains is no repetition.
        """
        estimate = max(0, count_true(used) - (distinct << self._halvings))
        by_chance = CHANCE * math.sqrt((distinct << self._halvings) * ((1 << self._halvings) - 1))
        return 0 if in_sample == distinct and estimate <= by_chance else estimate

    def count_replaced(self, sets: OfRows, is_new: OfRows, starts: Sequence[int]) -> int:
        """Return of how many keys a new row counts which says something else than the one that counted before.

        starts  the first row of each file, in their order

        Before is of the known rows, and of the files before its own: that one of these was never in a model that
        served makes no difference. An old row that comes again after a correction is one, though a known file has it.
        """
        if not count_true(is_new):
            return 0
        keys, wholes, rows = self._counted()
        used, new, count = taken(sets, rows) != LEFT_OUT, taken(is_new, rows), 0
        for part in range(1 << MOST_BITS):  # what is reckoned of all at once takes more memory than all the rest
            some = np.flatnonzero(used & (keys >> np.uint64(64 - MOST_BITS) == part))
            files = np.searchsorted(np.asarray(starts, np.int64), rows[some], side="right")
            count += _replaced(keys[some], wholes[some], new[some], files)
        return count << self._halvings

    def unlike_known(self, sets: OfRows, is_new: OfRows) -> OfRows:
        """Return which rows `(n_rows,)` are new, in use, and like none that is not new.

        Of more than MAX_COUNTED rows, those of the sample; all new ones where none of the sample repeats a known one.
        """
        new, unlike = Each(_are_new, sets, is_new), self._unlike_known(sets, is_new)
        if self._halvings and len(unlike) == np.count_nonzero(taken(new, self._counted()[2])):
            return new
        return Among(unlike, len(sets))

    def _unlike_known(self, sets: OfRows, is_new: OfRows) -> Rows:
        """Return the new rows of the sample that are like none that is not new."""
        hashes, _, rows = self._counted()
        used, new = taken(sets, rows) != LEFT_OUT, taken(is_new, rows)
        unlike = ~are_among(hashes[used & new], hashes[used & ~new])
        return np.asarray(rows[used & new][unlike], np.int64)


def _are_new(sets: npt.NDArray[np.uint8], is_new: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which rows are new and in use."""
    return np.asarray(is_new & (sets != LEFT_OUT), np.bool_)


def _replaced(keys: Hashes, wholes: Hashes, new: Mask, files: Rows) -> int:
    """Return of how many keys a new row counts which says something else than the one that counted before.

    files  the number of the file of each row
    """
    counting = last_of_each(keys)  # in the order of keys
    at = np.searchsorted(keys[counting], keys)  # of each row, the place of its key
    replaced = np.zeros(len(counting), np.bool_)
    for before in (~new, files < files[counting][at]):
        last = last_of_each(keys[before])
        replaced[at[before][last]] |= wholes[before][last] != wholes[counting][at[before][last]]
    return int(np.count_nonzero(replaced & new[counting]))


def _marked(parts: int, piece: tuple[Hashes, Mask, Mask]) -> list[Hashes]:
    """Return those of some hashes that are used, with _MARK where a second mask has them, in parts of all hashes.

    parts  1, 2, 4 or 8; a hash is in one of them by its highest bits
    """
    hashes, is_used, is_some = piece
    marked = (hashes & ~_MARK) | is_some
    if not is_used.all():
        marked = marked[is_used]
    if parts == 1:
        return [marked]
    marked.sort()  # in half the time that it takes to choose those of two parts
    return np.split(
        marked, np.searchsorted(marked, np.array([(part << 64) // parts for part in range(1, parts)], np.uint64))
    )


def _counted(some: Sequence[Hashes]) -> tuple[int, int, int, int]:
    """Return how many hashes these are, and how many different ones; and so of those with _MARK."""
    ordered = np.concatenate(some)
    ordered.sort()
    count = len(ordered)
    repeated, marks, repeated_marks = 0, 0, 0
    for start in range(0, count, PIECE):  # memory for all at once takes longer to get than to use
        of_piece = ordered[start : start + PIECE]
        differs = ordered[start + 1 : start + 1 + PIECE] ^ of_piece[: count - start - 1]
        again = np.flatnonzero(differs <= _MARK)  # of one hash those with the mark come last
        repeated += len(again)
        marks += int((of_piece & _MARK).sum())
        repeated_marks += int(np.count_nonzero((differs[again] == 0) & (of_piece[again] & _MARK != 0)))
    return count, count - repeated, marks, marks - repeated_marks
