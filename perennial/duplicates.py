"""How many rows are exactly like another one, and how many test rows are like a training row.

A file dropped again under another name doubles its rows, and the copies of training rows that land in the test set make
a model look better than it is. Rows are compared by a 64-bit hash of features and target: among ten million rows one
false match in 370,000 runs.

Beyond MAX_COUNTED rows the counts are estimates from a sample of the hashes: all rows that are alike have one hash, so
they are in the sample together or not at all. Memory stays bounded: 16 bytes for each of MAX_COUNTED rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from perennial.split import TEST, TRAIN, Sets

Hashes = npt.NDArray[np.uint64]
MAX_COUNTED = 2_000_000  # rows that are compared one by one
MAX_HALVINGS = 60
MAX_REMEMBERED = 100_000  # hashes of texts, for each column

_MULTIPLIER, _MISSING = np.uint64(0x9E3779B97F4A7C15), np.uint64(0x5851F42D4C957F2D)


@dataclass(frozen=True)
class Duplicates:
    """Rows that repeat an earlier row, and test rows that are like a training row; of many rows, estimates."""

    rows: int
    test_rows_in_training: int


class DuplicateCounter:
    """Sees the valid rows in order."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = tuple(columns)
        self._hashes: Hashes = np.empty(0, np.uint64)
        self._rows: npt.NDArray[np.int64] = np.empty(0, np.int64)  # the row of each hash
        self._seen, self._halvings = 0, 0
        self._texts: dict[str, dict[str, int]] = {name: {} for name in columns}

    def observe(self, rows: pa.Table) -> None:
        """Take in the next rows."""
        combined = np.zeros(rows.num_rows, np.uint64)
        for name in self._columns:
            combined = (combined ^ self._column(name, rows[name].combine_chunks())) * _MULTIPLIER
            combined ^= combined >> np.uint64(32)
        self._keep(combined, np.arange(self._seen, self._seen + rows.num_rows))
        self._seen += rows.num_rows

    def count(self, sets: Sets) -> Duplicates:
        """Return the counts, given the set of each row that was observed."""
        hashes, kept = self._hashes, sets[self._rows]
        distinct = len(np.unique(hashes)) << self._halvings
        train, test = hashes[kept == TRAIN], hashes[kept == TEST]
        in_training = int(np.count_nonzero(np.isin(test, train)))
        if self._halvings:  # where a few hashes are most rows the sample may miss them: then nearly all rows repeat
            share = in_training / len(test) if len(test) else 1.0
            in_training = round(share * np.count_nonzero(sets == TEST))
        return Duplicates(max(0, self._seen - distinct), in_training)

    def _keep(self, hashes: Hashes, rows: npt.NDArray[np.int64]) -> None:
        """Add those that are in the sample; halve the sample while it is too large."""
        if self._halvings:
            chosen = self._sampled(hashes)
            hashes, rows = hashes[chosen], rows[chosen]
        self._hashes = np.concatenate([self._hashes, hashes])
        self._rows = np.concatenate([self._rows, rows])
        while len(self._hashes) > MAX_COUNTED and self._halvings < MAX_HALVINGS:
            self._halvings += 1
            chosen = self._sampled(self._hashes)
            self._hashes, self._rows = self._hashes[chosen], self._rows[chosen]

    def _sampled(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        sampled: npt.NDArray[np.bool_] = (hashes & np.uint64((1 << self._halvings) - 1)) == 0
        return sampled

    def _column(self, name: str, values: pa.Array) -> Hashes:
        if pa.types.is_dictionary(values.type):
            of_texts: Hashes = np.array([*self._of_texts(name, values.dictionary.to_pylist()), _MISSING], np.uint64)
            of_rows: Hashes = of_texts[pc.fill_null(values.indices, len(of_texts) - 1).to_numpy()]
            return of_rows
        numbers = pc.cast(values, pa.float64(), safe=False)
        if not numbers.null_count:
            return np.asarray(numbers.to_numpy().view(np.uint64), np.uint64)
        bits = pc.fill_null(numbers, 0.0).to_numpy().view(np.uint64)
        return np.where(numbers.is_null().to_numpy(zero_copy_only=False), _MISSING, bits)

    def _of_texts(self, name: str, texts: Sequence[str]) -> list[int]:
        known = self._texts[name]
        if len(known) > MAX_REMEMBERED:
            known.clear()
        for text in texts:
            if text not in known:
                known[text] = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
        return [known[text] for text in texts]
