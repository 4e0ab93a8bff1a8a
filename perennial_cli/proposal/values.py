"""The different texts of a column with how often each stands there, and how they would be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from perennial.features.from_text import from_text
from perennial.features.parsing import Parsing

# What people write where they have no value; the usual ones (NA, null, ...) are missing in any case but in strings.
MARKERS = {
    "-",
    "--",
    "---",
    ".",
    "?",
    "n.a.",
    "n/k",
    "unknown",
    "missing",
    "not available",
    "tba",
    "poa",
    "*",
    "\\n",
    "k.a.",
}
MARKERS_IN_STRINGS = MARKERS | {"na", "n/a", "#n/a", "nan", "null"}


@dataclass(frozen=True)
class Words:
    """The different texts of a column without blanks around them: the most frequent first.

    rows     of the files
    missing  rows without a text
    """

    texts: pa.StringArray
    counts: npt.NDArray[np.int64]
    rows: int
    missing: int

    @classmethod
    def of(cls, column: pa.StringArray) -> Words:
        """Count the texts of a column."""
        stripped = pc.utf8_trim_whitespace(column)
        present = stripped.filter(pc.fill_null(pc.not_equal(stripped, ""), False))
        counted = present.value_counts()
        counts = counted.field("counts").to_numpy()
        order = np.argsort(-counts, kind="stable")
        texts = counted.field("values").take(pa.array(order))
        return cls(texts, counts[order], len(column), len(column) - len(present))

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def known(self) -> int:
        """How many rows have a text."""
        return self.rows - self.missing

    def examples(self, mask: npt.NDArray[np.bool_] | None = None, most: int = 3) -> list[str]:
        """Return the most frequent texts, or those of a mask."""
        chosen = self.texts if mask is None else self.texts.filter(pa.array(mask))
        return [str(text) for text in chosen.slice(0, most).to_pylist()]

    def where(self, mask: npt.NDArray[np.bool_]) -> Words:
        """Return the texts of a mask alone; rows that have others count as missing."""
        counts = self.counts[mask]
        return Words(self.texts.filter(pa.array(mask)), counts, self.rows, self.rows - int(counts.sum()))


@dataclass(frozen=True)
class Reading:
    """How the texts of a column would be read as a type.

    parse    of model.yaml
    values   of the different texts: null where one is missing or not of the type
    broken   which of the different texts are not of the type
    """

    type: str
    parse: dict[str, Any]
    words: Words
    values: pa.Array
    broken: npt.NDArray[np.bool_]

    @property
    def broken_rows(self) -> int:
        return int(self.words.counts[self.broken].sum())

    @property
    def broken_share(self) -> float:
        return self.broken_rows / self.words.known if self.words.known else 1.0

    @property
    def missing_rows(self) -> int:
        """Rows without a value, those with a text that means one among them."""
        empty = pc.is_null(self.values).to_numpy(zero_copy_only=False) & ~self.broken
        return self.words.missing + int(self.words.counts[empty].sum())


def read_as(kind: str, words: Words, parse: dict[str, Any] | None = None) -> Reading:
    """Return how texts are read as a type with `parse` of model.yaml, by what reads them in runs."""
    parsed = from_text(kind, words.texts, Parsing.from_json(parse))
    none = np.zeros(len(words), np.bool_)
    broken = none if parsed.invalid is None else pc.fill_null(parsed.invalid, False).to_numpy(zero_copy_only=False)
    return Reading(kind, parse or {}, words, parsed.values, broken)
