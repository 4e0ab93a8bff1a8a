"""Which texts an encoder knows one by one, and what share of the rows of each set it does not.

pooled  values of too few training rows to stand for themselves (perennial.target_encoding, MIN_ROWS)
unseen  values that no training row has; missing ones are neither
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa

from perennial.encoding import CategoryEncoding, Encoder, prepared
from perennial.target_encoding import TargetEncoding


class Coverage:
    """Counts rows of texts by set; memory grows with columns only."""

    def __init__(self, encoder: Encoder) -> None:
        self._hook = encoder.hook
        self._texts = [item for item in encoder.encodings if isinstance(item, CategoryEncoding | TargetEncoding)]
        self._rows: Counter[str] = Counter()
        self._pooled: Counter[tuple[str, str]] = Counter()
        self._unseen: Counter[tuple[str, str]] = Counter()

    def update(self, name: str, rows: pa.Table) -> None:
        """Take in raw features of some rows of a set."""
        if not self._texts:
            return
        table = prepared(rows, self._hook)
        self._rows[name] += rows.num_rows
        for item in self._texts:
            values = table[item.name].combine_chunks()
            texts = values.dictionary.to_pylist()
            pooled = item.pooled if isinstance(item, TargetEncoding) else frozenset()
            counts = np.bincount(values.indices.drop_null().to_numpy(), minlength=len(texts)).tolist()
            for text, count in zip(texts, counts, strict=True):
                if count and not item.knows(text):
                    (self._pooled if text in pooled else self._unseen)[item.name, name] += count

    def as_json(self) -> dict[str, Any]:
        """Return, by column, how it is encoded, its values, and the shares of rows by set."""
        return {
            item.name: {
                "encoding": item.as_json()["kind"],
                "values": len(item.categories if isinstance(item, CategoryEncoding) else item.counts),
                "pooled_values": len(item.pooled) if isinstance(item, TargetEncoding) else 0,
                "pooled_share": self._shares(self._pooled, item.name),
                "unseen_share": self._shares(self._unseen, item.name),
            }
            for item in self._texts
        }

    def _shares(self, counts: Counter[tuple[str, str]], column: str) -> dict[str, float]:
        return {name: round(counts[column, name] / rows, 6) for name, rows in self._rows.items()}
