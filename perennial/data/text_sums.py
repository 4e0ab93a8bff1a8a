"""Fitting the means of a text column (features.target_encoding): rows and sums by value and fold, and what to trust.

What is averaged is what other columns leave of the target (data.residuals); here it is called the target.

    mean = (sum of the target + weight * mean of the shorter beginning) / (rows + weight)

`weight` is how many rows the mean of the shorter beginning counts for. It is the variance among rows of one value over
the variance of true means around those of their shorter beginnings, one weight for each number of words: where a name
says almost everything, one row of it is worth more than all others of the make, and where texts say nothing (colours,
ids) all means become that of all rows. Both variances are estimated by the method of moments (one-way analysis of
variance with unequal groups; S. Searle, Linear Models, 1971, chapter 10; scikit-learn's TargetEncoder, smooth="auto").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from perennial.features.target_encoding import FOLDS, WORDS, Floats, Rows, TargetEncoding, beginning

LOWEST_WEIGHT, HIGHEST_WEIGHT = 0.05, 1000.0
DIGITS = 6  # of means: more mean nothing, and fields stay short


class TextSums:
    """Rows and sums of the target for each value of a column and each fold; memory grows with distinct values."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}
        self._rows, self._sums = np.zeros((0, FOLDS)), np.zeros((0, FOLDS))
        self._all_rows, self._all_sums = np.zeros((1, FOLDS)), np.zeros((1, FOLDS))
        self._squares = 0.0

    def update(self, values: pa.DictionaryArray, target: Floats, folds: Rows) -> None:
        """Take in the values of some training rows; missing ones count for the mean of all rows."""
        texts = values.dictionary.to_pylist()
        known = ~values.is_null().to_numpy(zero_copy_only=False)
        self._all_rows += np.bincount(folds, minlength=FOLDS)
        self._all_sums += np.bincount(folds, target, FOLDS)
        self._squares += float(np.square(target[known]).sum())
        cells = values.indices.drop_null().to_numpy() * FOLDS + folds[known]
        shape = (len(texts), FOLDS)
        rows = np.bincount(cells, minlength=len(texts) * FOLDS).reshape(shape)
        sums = np.bincount(cells, target[known], len(texts) * FOLDS).reshape(shape)
        used = np.flatnonzero(rows.any(axis=1))
        ids = [self._ids.setdefault(texts[position], len(self._ids)) for position in used.tolist()]
        self._grow()
        self._rows[ids] += rows[used]
        self._sums[ids] += sums[used]

    def merge(self, other: TextSums) -> None:
        """Take in the rows that another has summed."""
        self._all_rows += other._all_rows
        self._all_sums += other._all_sums
        self._squares += other._squares
        ids = [self._ids.setdefault(text, len(self._ids)) for text in other._ids]
        self._grow()
        self._rows[ids] += other._rows[: len(ids)]
        self._sums[ids] += other._sums[: len(ids)]

    def _grow(self) -> None:
        if len(self._rows) < len(self._ids):
            more = np.zeros((max(len(self._ids), 2 * len(self._rows)) - len(self._rows), FOLDS))
            self._rows, self._sums = np.concatenate([self._rows, more]), np.concatenate([self._sums, more])

    def encoding(self, name: str, indicator: bool) -> TargetEncoding:
        """Return the fitted encoding."""
        texts = sorted(self._ids)
        order = [self._ids[text] for text in texts]
        whole = Sums(texts, self._rows[order], self._sums[order])
        levels, tables = _levels(whole)
        weights = _weights(levels, tables, self._squares)
        overall = Sums([""], self._all_rows, self._all_sums)
        means, mean = _means(levels, tables, weights, overall, None)
        without = [_means(levels, tables, weights, overall, fold) for fold in range(FOLDS)]
        counts = dict(zip(texts, whole.rows.sum(axis=1).astype(int).tolist(), strict=True))
        folds, fold_means = tuple(means for means, _ in without), tuple(mean for _, mean in without)
        return TargetEncoding(name, levels, means, counts, mean, indicator, folds, fold_means)


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


def _levels(whole: Sums) -> tuple[tuple[int, ...], list[Sums]]:
    """Return the numbers of words that tell less than more of them do, and the sums of each; the whole texts last."""
    levels: list[int] = []
    tables: list[Sums] = []
    for words in WORDS:
        shorter = whole.grouped([beginning(text, words) for text in whole.texts])
        if len(tables[-1].texts if tables else ()) < len(shorter.texts) < len(whole.texts):
            levels.append(words)
            tables.append(shorter)
    return tuple(levels), [*tables, whole]


def _weights(levels: Sequence[int], tables: Sequence[Sums], squares: float) -> list[float]:
    """Return the weight of the shorter beginning for each table; `squares` is the sum of squared targets."""
    rows, sums = tables[-1].without(None)
    total = rows.sum()
    spare = total - len(rows)  # degrees of freedom
    # Where no value comes twice, nothing is known of the variance within one: then all of it counts for noise.
    within = (
        (squares - (sums**2 / rows).sum()) / spare if spare else squares / max(total, 1) - (sums.sum() / total) ** 2
    )
    weights = []
    shorter, owners = tables[-1].grouped([""] * len(rows)), dict.fromkeys([""], 0)
    for table, words in zip(tables, (0, *levels), strict=True):
        owner = np.array([owners[beginning(text, words) if words else ""] for text in table.texts])
        weights.append(_weight(table, shorter, owner, max(within, 0.0)))
        shorter, owners = table, {text: position for position, text in enumerate(table.texts)}
    return weights


def _weight(table: Sums, shorter: Sums, owner: Rows, within: float) -> float:
    """Variance within values over that of means around the means of their owners, the shorter beginnings."""
    (rows, sums), (rows_of_owner, sums_of_owner) = table.without(None), shorter.without(None)
    apart = sums / rows - (sums_of_owner / rows_of_owner)[owner]
    freedom = len(rows) - len(rows_of_owner)
    effective = rows.sum() - (rows**2 / rows_of_owner[owner]).sum()
    between = ((rows * apart**2).sum() - freedom * within) / effective if effective > 0 else 0.0
    if between * HIGHEST_WEIGHT <= within:
        return HIGHEST_WEIGHT
    return max(float(within / between), LOWEST_WEIGHT)


def _means(
    levels: Sequence[int], tables: Sequence[Sums], weights: Sequence[float], overall: Sums, fold: int | None
) -> tuple[tuple[dict[str, float], ...], float]:
    """Return the means by text for each level, shortest first, and that of all rows; without the rows of one fold."""
    rows, sums = overall.without(fold)
    mean = float(rounded(sums / np.maximum(rows, 1))[0])
    means_by_level: list[dict[str, float]] = []
    for table, weight in zip(tables, weights, strict=True):
        shorter = np.full(len(table.texts), mean)
        if means_by_level:
            words, before = levels[len(means_by_level) - 1], means_by_level[-1]
            shorter = np.array([before[beginning(text, words)] for text in table.texts])
        rows, sums = table.without(fold)
        means = rounded((sums + weight * shorter) / (rows + weight))
        means_by_level.append(dict(zip(table.texts, means.tolist(), strict=True)))
    return tuple(means_by_level), mean


def rounded(values: Floats) -> Floats:
    """Return values with DIGITS significant digits."""
    size = np.floor(np.log10(np.abs(values), out=np.zeros_like(values), where=values != 0)) - DIGITS + 1
    scale = 10.0 ** np.abs(size)
    return np.asarray(np.where(size > 0, np.rint(values / scale) * scale, np.rint(values * scale) / scale), np.float64)
