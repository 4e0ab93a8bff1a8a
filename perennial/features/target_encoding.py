"""Texts with many different values as a few numbers: what the target was where the text began like that.

A value is encoded as the mean over the training rows that have it, drawn towards the mean of the rows that begin with
the same words, and so on up to the mean of all rows: "Maruti Swift Dzire VDI" leans on "Maruti Swift Dzire", "Maruti
Swift" and "Maruti". What was never seen takes the mean of its longest known beginning, so that a new model of a known
make is no stranger. Each number of words is a feature, where it tells less than the whole does.

What is averaged is what numbers and small texts leave of the target (data.residuals), or of its logarithm where
all training targets are above 0. How far a mean leans on the shorter one is estimated (data.text_sums). Serving
knows nothing of that: a text stands for a number.

A row must not be encoded with its own target, or the algorithm would trust the feature too much. Training rows are
therefore encoded out of fold: by the rows of all folds but their own (D. Micci-Barreca, SIGKDD Explorations 3, 2001;
scikit-learn, TargetEncoder). Serving, validation and test use all training rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from perennial.features.lines import Fields
from perennial.features.values import text_of, to_text, to_texts

FOLDS = 5
WORDS = (1, 2, 3)  # lengths of beginnings

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


def folds_of(identity: npt.NDArray[np.uint64]) -> Rows:
    """Return the fold of rows by their hashes, so that copies are in one, however files are packed."""
    return np.asarray(identity % FOLDS, np.int64)


def beginning(text: str, words: int) -> str:
    """Return the first words of a text, or the whole text where it has no more."""
    return " ".join(text.split(None, words)[:words])


@dataclass(frozen=True)
class TargetEncoding:
    """A text column as means of the target, shortest beginning first, then how often the value was seen.

    levels       numbers of words that are features; the whole value is the last one, and not among them
    means        for each level, and for the whole value, the mean by its text
    counts       training rows by value; a value that is not there was never seen
    mean         over all training rows: of missing values, and of what begins like nothing known
    out_of_fold  while training: the same means for the rows of each fold, (fold, level) -> mean by text
    """

    name: str
    levels: tuple[int, ...]
    means: tuple[Mapping[str, float], ...]
    counts: Mapping[str, int]
    mean: float
    indicator: bool
    out_of_fold: tuple[tuple[Mapping[str, float], ...], ...] = field(default=(), repr=False, compare=False)
    fold_means: tuple[float, ...] = field(default=(), repr=False, compare=False)

    @property
    def feature_names(self) -> list[str]:
        words = [f"{self.name}=mean of {count} word{'s' * (count > 1)}" for count in self.levels]
        names = [*words, f"{self.name}=mean", f"{self.name}=rows"]
        return [*names, f"{self.name}=missing"] if self.indicator else names

    def knows(self, text: str) -> bool:
        """Return whether a value is encoded by itself."""
        return text in self.counts

    def fields(self, values: pa.DictionaryArray, folds: Rows | None = None, text: Fields | None = None) -> list[Fields]:
        """Return the features of a row, one array each; `folds` are those of training rows, encoded out of fold."""
        texts = values.dictionary.to_pylist()
        keys = [*([beginning(text, words) for text in texts] for words in self.levels), texts]
        codes = pc.fill_null(values.indices, len(texts)).to_numpy(zero_copy_only=False)
        tables = [_columns(keys, self.means, self.mean)]
        if folds is not None:
            tables = [_columns(keys, *fold) for fold in zip(self.out_of_fold, self.fold_means, strict=True)]
            codes = folds * (len(texts) + 1) + codes
        counts = [*(self.counts.get(text, 0) for text in texts), 0] * len(tables)
        fields = [_at(pa.array(column), codes) for column in (*np.hstack(tables), counts)]
        return [*fields, to_texts(pc.is_null(values))] if self.indicator else fields

    def text_of(self, value: str | None) -> str:
        """Return the features of one value, as a row without folds has them."""
        numbers, count = [self.mean] * len(self.means), 0
        if value is not None:
            longest = self.mean
            for place, (words, means) in enumerate(zip((*self.levels, 0), self.means, strict=True)):
                longest = numbers[place] = means.get(beginning(value, words) if words else value, longest)
            count = self.counts.get(value, 0)
        texts = [*map(text_of, numbers), str(count), *(["0" if value is not None else "1"] if self.indicator else ())]
        return ",".join(texts)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": "target",
            "levels": list(self.levels),
            "means": [dict(means) for means in self.means],
            "counts": dict(self.counts),
            "mean": self.mean,
            "indicator": self.indicator,
        }

    @classmethod
    def from_json(cls, item: Mapping[str, Any]) -> TargetEncoding:
        return cls(
            item["name"], tuple(item["levels"]), tuple(item["means"]), item["counts"], item["mean"], item["indicator"]
        )


def _at(column: pa.Array, codes: Rows) -> Fields:
    """Return the texts of what stands at some places of a column; each is made once, where that is less."""
    at = pa.array(codes)
    if len(column) > len(codes):
        return to_texts(column.take(at))
    return pa.DictionaryArray.from_arrays(at, to_text(column), safe=False)


def _columns(keys: Sequence[Sequence[str]], means: Sequence[Mapping[str, float]], mean: float) -> Floats:
    """Return the means of texts by their keys of each level, a missing text last, shape (levels, texts + 1)."""
    columns = np.full((len(means), len(keys[-1]) + 1), mean)
    longest = [mean] * len(keys[-1])
    for column, known, texts in zip(columns, means, keys, strict=True):
        longest = [known.get(text, shorter) for text, shorter in zip(texts, longest, strict=True)]
        column[:-1] = longest
    return columns
