"""The share of rows of each set whose texts an encoder does not know one by one.

A value that no training row has is unseen: as a category it is all zeros, otherwise it is encoded by its beginning
(features.target_encoding). A missing one is not meant.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa

from perennial.features.encoding import CategoryEncoding, Encoder
from perennial.features.target_encoding import TargetEncoding
from perennial.words import printable

NAMED = 5  # unseen values of a column
MAX_COUNTED = 1_000  # different ones; those that come later are not named
MAX_TEXT = 80  # characters

Counts = tuple[Counter[str], Counter[tuple[str, str]], dict[str, Counter[str]]]


class Coverage:
    """Counts rows of texts by set; memory grows with columns only."""

    def __init__(self, encoder: Encoder) -> None:
        texts: dict[str, CategoryEncoding | TargetEncoding] = {}
        for item in encoder.encodings:
            if isinstance(item, CategoryEncoding | TargetEncoding):
                texts.setdefault(item.name, item)
        self._texts = list(texts.values())
        self._rows: Counter[str] = Counter()
        self._unseen: Counter[tuple[str, str]] = Counter()
        self._values: dict[str, Counter[str]] = {item.name: Counter() for item in self._texts}

    def update(self, name: str, table: pa.Table) -> None:
        """Take in what is encoded of some rows of a set."""
        self._rows[name] += table.num_rows
        for item in self._texts:
            values = table[item.name].combine_chunks()
            texts, unseen = values.dictionary.to_pylist(), self._values[item.name]
            counts = np.bincount(values.indices.drop_null().to_numpy(), minlength=len(texts)).tolist()
            for text, count in zip(texts, counts, strict=True):
                if count and not item.knows(text):
                    self._unseen[item.name, name] += count
                    printed = printable(text, MAX_TEXT)
                    if printed in unseen or len(unseen) < MAX_COUNTED:
                        unseen[printed] += count

    @property
    def counts(self) -> Counts:
        """What has been counted."""
        return self._rows, self._unseen, self._values

    def add(self, counts: Counts) -> None:
        """Take in what another has counted of rows after these, with the same encoder."""
        rows, unseen, values = counts
        self._rows.update(rows)
        self._unseen.update(unseen)
        for name, theirs in values.items():
            ours = self._values[name]
            for printed, count in theirs.items():
                if printed in ours or len(ours) < MAX_COUNTED:
                    ours[printed] += count

    def as_json(self) -> dict[str, Any]:
        """Return, by column: encoding, number of values, unseen share of rows by set, and what is unseen most often."""
        return {
            item.name: {
                "encoding": item.as_json()["kind"],
                "values": len(item.categories if isinstance(item, CategoryEncoding) else item.counts),
                "unseen_share": {
                    name: round(self._unseen[item.name, name] / rows, 6) for name, rows in self._rows.items()
                },
                "unseen": self._most(item.name),
            }
            for item in self._texts
        }

    def _most(self, column: str) -> dict[str, int]:
        """Rows of the most frequent unseen values; equally frequent ones in the order of their names."""
        ordered = sorted(self._values[column].items(), key=lambda item: (-item[1], item[0]))
        return dict(ordered[:NAMED])
