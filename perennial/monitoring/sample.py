"""Some of many records: as many as asked for, each as likely as any other, and the same ones each time."""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Iterable

import numpy as np
import pyarrow as pa


class RecordSample:
    """Takes in tables of one schema, and keeps `size` of all their rows."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._random = np.random.default_rng(0)
        self._keys = np.empty(0)
        self._rows: pa.Table | None = None

    def add(self, table: pa.Table) -> None:
        """Draw a number for each row; the rows with the smallest stay."""
        drawn = self._random.random(table.num_rows)
        if self._keys.size == self._size:
            table, drawn = table.filter(pa.array(drawn < self._keys.max())), drawn[drawn < self._keys.max()]
        if not table.num_rows:
            return
        together = table if self._rows is None else pa.concat_tables([self._rows, table])
        keys = np.concatenate([self._keys, drawn])
        smallest = np.sort(np.argsort(keys)[: self._size])
        self._keys, self._rows = keys[smallest], together.take(smallest).unify_dictionaries().combine_chunks()

    @property
    def rows(self) -> pa.Table | None:
        """The rows that were kept, in the order in which they came; None before the first."""
        return self._rows


def of_lines(lines: Iterable[bytes], size: int) -> list[bytes]:
    """Return `size` of many lines, by a hash of what they say."""
    return heapq.nsmallest(size, lines, key=zlib.crc32)
