"""How many rows are exactly like another one, and how many test rows are like a training row.

A file dropped again under another name doubles its rows, and the copies of training rows that land in the test set make
a model look better than it is. Rows are compared by a 64-bit hash of features and target: eight bytes a row, and among
ten million rows one false match in 370,000 runs.
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
MAX_REMEMBERED = 100_000  # hashes of texts, for each column

_MULTIPLIER, _MISSING = np.uint64(0x9E3779B97F4A7C15), np.uint64(0x5851F42D4C957F2D)


@dataclass(frozen=True)
class Duplicates:
    """Rows that repeat an earlier row, and test rows that are like a training row."""

    rows: int
    test_rows_in_training: int


class DuplicateCounter:
    """Sees the valid rows in order."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = tuple(columns)
        self._hashes: list[Hashes] = [np.empty(0, np.uint64)]
        self._texts: dict[str, dict[str, int]] = {name: {} for name in columns}

    def observe(self, rows: pa.Table) -> None:
        """Take in the next rows."""
        combined = np.zeros(rows.num_rows, np.uint64)
        for name in self._columns:
            combined = (combined ^ self._column(name, rows[name].combine_chunks())) * _MULTIPLIER
            combined ^= combined >> np.uint64(32)
        self._hashes.append(combined)

    def count(self, sets: Sets) -> Duplicates:
        """Return the counts, given the set of each row that was observed."""
        hashes = np.concatenate(self._hashes)
        self._hashes.clear()
        train, test = np.sort(hashes[sets == TRAIN]), np.sort(hashes[sets == TEST])
        in_training = np.searchsorted(train, test, "right") - np.searchsorted(train, test, "left")
        hashes.sort()
        return Duplicates(int(np.count_nonzero(hashes[1:] == hashes[:-1])), int(np.count_nonzero(in_training)))

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
