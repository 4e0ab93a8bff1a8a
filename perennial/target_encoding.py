"""Texts with many different values as a few numbers: what the target was where the text began like that.

A value is encoded as the mean of the target over the training rows that have it, drawn towards the mean of the rows
that begin with the same words, and so on up to the mean of all rows: "Maruti Swift Dzire VDI" leans on "Maruti Swift
Dzire", "Maruti Swift" and "Maruti". What was never seen takes the mean of its longest known beginning, so that a new
model of a known make is no stranger. Each number of words is a feature, where it tells less than the whole does.

    mean = (sum of the target + SMOOTHING * mean of the shorter beginning) / (rows + SMOOTHING)

Values of fewer than MIN_ROWS training rows are pooled: they are encoded as if they had never been seen, which also
bounds the table by the number of rows and shows the algorithm what it will meet in serving.

A row must not be encoded with its own target, or the algorithm would trust the feature too much. Training rows are
therefore encoded out of fold: by the rows of all folds but their own (D. Micci-Barreca, SIGKDD Explorations 3, 2001;
scikit-learn, TargetEncoder). Serving, validation and test use all training rows. Means have DIGITS significant digits:
more mean nothing, and fields stay short.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from perennial.values import to_text

FOLDS = 5
SMOOTHING = 5.0  # rows that the mean of the shorter beginning counts for
MIN_ROWS = 3
WORDS = (1, 2, 3)  # lengths of beginnings
DIGITS = 6

Floats = npt.NDArray[np.float64]
Rows = npt.NDArray[np.int64]


def beginning(text: str, words: int) -> str:
    """Return the first words of a text, or the whole text where it has no more."""
    return " ".join(text.split(None, words)[:words])


@dataclass(frozen=True)
class TargetEncoding:
    """A text column as means of the target, shortest beginning first, then how often the value was seen.

    levels       numbers of words that are features; the whole value is the last one, and not among them
    means        for each level, and for the whole value, the mean by its text
    counts       training rows by value; a value that is not there is pooled or was never seen
    pooled       while training: the values of too few rows
    mean         of the target over all training rows: of missing values, and of what begins like nothing known
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
    pooled: frozenset[str] = field(default=frozenset(), repr=False, compare=False)

    @property
    def feature_names(self) -> list[str]:
        words = [f"{self.name}=mean of {count} word{'s' * (count > 1)}" for count in self.levels]
        names = [*words, f"{self.name}=mean", f"{self.name}=rows"]
        return [*names, f"{self.name}=missing"] if self.indicator else names

    def knows(self, text: str) -> bool:
        """Whether a value is encoded by itself."""
        return text in self.counts

    def fields(self, values: pa.DictionaryArray, folds: Rows | None = None) -> list[pa.StringArray]:
        """The features of a row, one array each; `folds` are those of training rows, encoded out of fold."""
        texts = values.dictionary.to_pylist()
        keys = [*([beginning(text, words) for text in texts] for words in self.levels), texts]
        codes = pc.fill_null(values.indices, len(texts)).to_numpy(zero_copy_only=False)
        if folds is None:
            columns = _columns(keys, self.means, self.mean)[:, codes]
        else:
            tables = [_columns(keys, *fold) for fold in zip(self.out_of_fold, self.fold_means, strict=True)]
            columns = np.stack(tables)[folds, :, codes].T
        counts = np.array([*(self.counts.get(text, 0) for text in texts), 0])[codes]
        fields = [to_text(pa.array(column)) for column in (*columns, counts)]
        return [*fields, to_text(pc.is_null(values))] if self.indicator else fields

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


def _columns(keys: Sequence[Sequence[str]], means: Sequence[Mapping[str, float]], mean: float) -> Floats:
    """Return the means of texts by their keys of each level, a missing text last, shape (levels, texts + 1)."""
    columns = np.full((len(means), len(keys[-1]) + 1), mean)
    longest = [mean] * len(keys[-1])
    for column, known, texts in zip(columns, means, keys, strict=True):
        longest = [known.get(text, shorter) for text, shorter in zip(texts, longest, strict=True)]
        column[:-1] = longest
    return columns


class TextSums:
    """Rows and sums of the target for each value of a column and each fold; memory grows with distinct values."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._rows, self._sums = np.zeros((0, FOLDS)), np.zeros((0, FOLDS))
        self.missing_rows = 0

    def __len__(self) -> int:
        return len(self._ids)

    def update(self, values: pa.DictionaryArray, target: Floats, folds: Rows) -> None:
        """Take in the values of some training rows."""
        texts = values.dictionary.to_pylist()
        known = ~values.is_null().to_numpy(zero_copy_only=False)
        self.missing_rows += int(len(values) - known.sum())
        cells = values.indices.drop_null().to_numpy() * FOLDS + folds[known]
        shape = (len(texts), FOLDS)
        rows = np.bincount(cells, minlength=len(texts) * FOLDS).reshape(shape)
        sums = np.bincount(cells, target[known], len(texts) * FOLDS).reshape(shape)
        used = np.flatnonzero(rows.any(axis=1))
        ids = [self._ids.setdefault(texts[position], len(self._ids)) for position in used.tolist()]
        self._grow()
        self._rows[ids] += rows[used]
        self._sums[ids] += sums[used]

    def _grow(self) -> None:
        if len(self._rows) < len(self._ids):
            more = np.zeros((max(len(self._ids), 2 * len(self._rows)) - len(self._rows), FOLDS))
            self._rows, self._sums = np.concatenate([self._rows, more]), np.concatenate([self._sums, more])

    def counts(self) -> dict[str, int]:
        """Return the training rows of each value, in the order of their names."""
        rows = self._rows.sum(axis=1).astype(int).tolist()
        return {text: rows[number] for text, number in sorted(self._ids.items())}

    def encoding(self, name: str, indicator: bool, overall: Sums) -> TargetEncoding:
        """Return the fitted encoding; `overall` are the sums of all training rows, also where the value is missing."""
        counts = self.counts()
        order = [self._ids[text] for text in counts]
        of_values = Sums(list(counts), self._rows[order], self._sums[order])
        levels: list[int] = []
        tables: list[Sums] = []
        for words in WORDS:
            shorter = of_values.grouped([beginning(text, words) for text in of_values.texts])
            if len(tables[-1].texts if tables else ()) < len(shorter.texts) < len(counts):
                levels.append(words)
                tables.append(shorter)
        tables.append(of_values)
        known = {text: count for text, count in counts.items() if count >= MIN_ROWS}
        without = [_means(tables, levels, overall, fold) for fold in range(FOLDS)]
        means, mean = _means(tables, levels, overall, None)
        folds, fold_means = tuple(means for means, _ in without), tuple(mean for _, mean in without)
        pooled = frozenset(counts.keys() - known.keys())
        return TargetEncoding(name, tuple(levels), means, known, mean, indicator, folds, fold_means, pooled)


@dataclass(frozen=True)
class Sums:
    """Rows and sums of the target by text and fold, shape (texts, FOLDS)."""

    texts: list[str]
    rows: Floats
    sums: Floats

    def grouped(self, keys: Sequence[str]) -> Sums:
        """Return the sums of texts with the same key."""
        numbers: dict[str, int] = {}
        groups = [numbers.setdefault(key, len(numbers)) for key in keys]
        rows, sums = np.zeros((len(numbers), FOLDS)), np.zeros((len(numbers), FOLDS))
        np.add.at(rows, groups, self.rows)
        np.add.at(sums, groups, self.sums)
        return Sums(list(numbers), rows, sums)

    def without(self, fold: int | None) -> tuple[Floats, Floats]:
        """Return rows and sums over all folds but one."""
        rows, sums = self.rows.sum(axis=1), self.sums.sum(axis=1)
        return (rows, sums) if fold is None else (rows - self.rows[:, fold], sums - self.sums[:, fold])


def _means(
    tables: Sequence[Sums], levels: Sequence[int], overall: Sums, fold: int | None
) -> tuple[tuple[dict[str, float], ...], float]:
    """Return the means by text for each level, shortest first, and that of all rows; without the rows of one fold."""
    rows, sums = overall.without(fold)
    mean = float(rounded(sums / np.maximum(rows, 1))[0])
    found: list[dict[str, float]] = []
    for table in tables:
        shorter = np.full(len(table.texts), mean)
        for before, words in zip(found, levels, strict=False):
            keys = (beginning(text, words) for text in table.texts)
            shorter = np.array([before.get(key, prior) for key, prior in zip(keys, shorter, strict=True)])
        rows, sums = table.without(fold)
        enough = np.flatnonzero(table.rows.sum(axis=1) >= MIN_ROWS)
        means = rounded((sums + SMOOTHING * shorter) / (rows + SMOOTHING))
        found.append({table.texts[position]: float(means[position]) for position in enough.tolist()})
    return tuple(found), mean


def rounded(values: Floats) -> Floats:
    """Return values with DIGITS significant digits."""
    size = np.floor(np.log10(np.abs(values), out=np.zeros_like(values), where=values != 0)) - DIGITS + 1
    scale = 10.0 ** np.abs(size)
    return np.asarray(np.where(size > 0, np.rint(values / scale) * scale, np.rint(values * scale) / scale), np.float64)
