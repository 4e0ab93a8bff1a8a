"""Hashing rows of typed columns (data.rows says what for)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from perennial.data.rows import GOLDEN, UNKNOWN, Hashes, mixed
from perennial.features.values import ARROW_TYPES, STRING

MAX_REMEMBERED = 100_000  # hashes of texts, for each column
_HALF = np.uint64(32)
_MISSING = np.uint64(0x5851F42D4C957F2D)


class RowHasher:
    """Hashes rows by the values of some typed columns (`features.values`); several threads may at once."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = tuple(columns)
        self._texts: dict[str, dict[str, int]] = {name: {} for name in columns}

    def hashes(self, rows: pa.Table) -> Hashes:
        """Return the hash of each row, `(n_rows,)`; never UNKNOWN."""
        combined, high = np.zeros(rows.num_rows, np.uint64), np.empty(rows.num_rows, np.uint64)
        for name in self._columns:
            combined ^= self._column(name, rows[name].combine_chunks())
            combined *= GOLDEN  # odd, so that nothing is lost
            combined ^= np.right_shift(combined, _HALF, out=high)
        hashes = mixed(combined)
        hashes[hashes == UNKNOWN] = GOLDEN
        return hashes

    def _column(self, name: str, values: pa.Array) -> Hashes:
        if values.type == STRING:
            of_texts: Hashes = np.array([*self._of_texts(name, values.dictionary.to_pylist()), _MISSING], np.uint64)
            of_rows: Hashes = of_texts[pc.fill_null(values.indices, len(of_texts) - 1).to_numpy()]
            return of_rows
        bits = _bits(values)
        return np.where(values.is_null().to_numpy(zero_copy_only=False), _MISSING, bits) if values.null_count else bits

    def _of_texts(self, name: str, texts: Sequence[str]) -> list[int]:
        known = self._texts[name]
        if len(known) > MAX_REMEMBERED:
            known = self._texts[name] = {}
        for text in texts:
            if text not in known:
                known[text] = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
        return [known[text] for text in texts]


def _bits(values: pa.Array) -> Hashes:
    """Return the 64 bits of each number; of a missing one any.

    Numbers count in single precision, in which the algorithms compute: a file may hold them so.
    """
    if values.type == ARROW_TYPES["float"]:
        single = _filled(values, 0.0).astype(np.float32)
        plain = single.astype(np.float64) + 0.0  # minus zero is zero
        return np.asarray(plain.view(np.uint64), np.uint64)
    return _filled(pc.cast(values, pa.int64(), safe=False), 0).view(np.uint64)


def _filled(values: pa.Array, value: float) -> npt.NDArray[Any]:
    return np.asarray((pc.fill_null(values, value) if values.null_count else values).to_numpy())
