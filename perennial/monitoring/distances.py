"""How far a column of a window lies from its baseline, and how likely chance makes it so.

Both are as `statistics.json` describes a column (data.column_statistics). All distances are 0 where they are alike.

largest   numbers: the largest difference of the two cumulative distributions (Kolmogorov-Smirnov). Texts: the largest
          difference of a value's shares
psi       the population stability index: the sum of (p - q) * ln(p / q) over ten bins of as many baseline rows each,
          or over the values of texts. Where a bin has no row, it counts half a one
chance    the probability, at most, of what is seen when nothing has changed. Numbers: 2 * exp(-2 * D**2 * n * m /
          (n + m)) of Smirnov (1948), D without what the sketches may be wrong by. Texts: chi-square
robust    Model Monitor's distance by its method `Robust`: `largest` without 1.8 * sqrt((n + m) / (n * m)), at least 0
          (Deequ 2.0.2, Distance.scala). Deequ counts each different number once, we count rows

Texts that are rare in both together are one, so that at least MIN_EXPECTED rows of each are expected on both sides
(Cochran, 1954). Which are rare is asked of both together: a value that is new by chance is among them.

Needs numpy alone: the distributions of the tests are sums of a few terms.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from perennial.data.column_statistics import Floats, Sketch
from perennial.data.distributions import Distribution, below, distribution, kolmogorov_smirnov

MIN_EXPECTED = 5
BINS = 10
_ALLOWANCE = 1.8  # Deequ's, of the method Robust


@dataclass(frozen=True)
class Distance:
    """The distances of a column; the module says what each is."""

    largest: float
    psi: float
    chance: float
    robust: float


def of_numbers(baseline: Mapping[str, Any], window: Mapping[str, Any]) -> Distance:
    """Return the distance of two `numerical_statistics`."""
    one, other = distribution(baseline), distribution(window)
    counts = [side["common"]["num_present"] for side in (baseline, window)]
    return between(one, other, *counts)


def between(one: Distribution, other: Distribution, before: int, after: int) -> Distance:
    """Return the distance of two distributions of so many rows."""
    largest = kolmogorov_smirnov(one, other)
    sure = max(0.0, largest - _rank_error(before) - _rank_error(after))
    chance = min(1.0, 2 * math.exp(-2 * sure**2 * before * after / (before + after)))
    inner = np.unique(one.values[np.searchsorted(one.shares, np.arange(1, BINS) / BINS)])
    shares = [np.diff(below(side, inner), prepend=0.0, append=1.0) for side in (one, other)]
    return Distance(largest, _stability(shares[0] * before, shares[1] * after), chance, _robust(largest, before, after))


def _rank_error(rows: int) -> float:
    """Return what a share of a sketch may be wrong by (data.column_statistics.Sketch)."""
    return (math.log2(rows / Sketch.SIZE) + 3) / Sketch.SIZE if rows > Sketch.SIZE else 0.0


def of_texts(baseline: Mapping[str, int], window: Mapping[str, int]) -> Distance:
    """Return the distance of two counts of values, both of at least one row."""
    values = sorted(baseline.keys() | window.keys())
    counts = np.array([[side.get(value, 0) for value in values] for side in (baseline, window)], np.float64)
    rows = counts.sum(axis=1)
    largest = float(np.abs(counts[0] / rows[0] - counts[1] / rows[1]).max())
    common = _with_rare_as_one(counts)
    expected = common.sum(axis=0) * rows[:, None] / rows.sum()
    square = float(((common - expected) ** 2 / expected).sum())
    chance = chance_of_chi_square(square, common.shape[1] - 1)
    return Distance(largest, _stability(*common), chance, _robust(largest, *rows))


def _with_rare_as_one(counts: Floats) -> Floats:
    """Return counts `(2, n_values)` with the rare values as one, which takes in the next rarest until it is not."""
    together = counts.sum(axis=0)
    share = counts.sum(axis=1).min() / counts.sum()
    counts = counts[:, np.argsort(-together, kind="stable")]
    expected = np.sort(together)[::-1] * share
    frequent = int((expected >= MIN_EXPECTED).sum())
    while 0 < frequent < expected.size and expected[frequent:].sum() < MIN_EXPECTED:
        frequent -= 1
    rest = counts[:, frequent:].sum(axis=1, keepdims=True)
    return np.concatenate([counts[:, :frequent], rest], axis=1) if rest.any() else counts[:, :frequent]


def _stability(before: Floats, after: Floats) -> float:
    filled = before + after > 0
    one, other = (np.maximum(side[filled], 0.5) for side in (before, after))
    one, other = one / one.sum(), other / other.sum()
    return float(((one - other) * np.log(one / other)).sum())


def _robust(largest: float, before: float, after: float) -> float:
    return max(0.0, largest - _ALLOWANCE * math.sqrt((before + after) / (before * after)))


def chance_of_chi_square(square: float, freedom: int) -> float:
    """Return the probability of a chi-square at least as large, by its finite sum (Abramowitz and Stegun, 26.4.4-5)."""
    if freedom < 1 or square <= 0:
        return 1.0
    half = square / 2
    powers = [freedom % 2 / 2 + step for step in range(freedom // 2)]
    terms = [math.exp(power * math.log(half) - half - math.lgamma(power + 1)) for power in powers]
    return min(1.0, sum(terms) + (math.erfc(math.sqrt(half)) if freedom % 2 else 0.0))


def chance_of_share(count: float, rows: int, share: float) -> float:
    """Return the probability, at most, of `count` or more rows where each is one with probability `share`.

    exp(-rows * KL(count / rows, share)) of Chernoff (1952); 1 where there are no more than expected.
    """
    if count <= rows * share:
        return 1.0
    if share <= 0:
        return 0.0
    observed = count / rows
    rest = (1 - observed) * math.log((1 - observed) / (1 - share)) if observed < 1 else 0.0
    return math.exp(-rows * (observed * math.log(observed / share) + rest))


def chance_of_shares(one: tuple[int, int], other: tuple[int, int]) -> float:
    """Return the probability that (rows, all rows) differ so by chance: chi-square of the two by two."""
    counts = np.array([[one[0], one[1] - one[0]], [other[0], other[1] - other[0]]], np.float64)
    if not counts.sum(axis=0).all():
        return 1.0
    expected = counts.sum(axis=1, keepdims=True) * counts.sum(axis=0) / counts.sum()
    off = np.maximum(np.abs(counts - expected) - 0.5, 0)  # Yates, 1934
    return chance_of_chi_square(float((off**2 / expected).sum()), 1)


def chance_of_difference(counts: npt.NDArray[np.int64], is_ratio: bool) -> float:
    """Return the probability that a difference of two shares, or their ratio, has changed as much by chance.

    counts    `(2, 2, 2)`: [then, now][others, members][positive, all]

    When nothing has changed both times have the share that they have together. The change is then a sum of four
    binomial counts, each with a weight; its tails are those of the signed root of the saddlepoint's exponent (Lugannani
    and Rice, 1980), which holds for rare outcomes and small groups as well, with half a step of the coarsest count
    (Yates, 1934). Of a ratio it is the change of its logarithm, to first order.
    """
    together = counts.sum(axis=0)
    share = together[:, 0] / together[:, 1]
    scale = 1 / np.where(share > 0, share, 1) if is_ratio else np.ones(2)
    weights = np.array([[1], [-1]]) * np.array([1, -1]) * scale / counts[:, :, 1]
    change = abs(float((weights * counts[:, :, 0]).sum())) - float(np.abs(weights).max()) / 2
    variance = float((weights**2 * counts[:, :, 1] * share * (1 - share)).sum())
    if change <= 0 or variance <= 0:
        return 1.0
    return min(1.0, sum(_tail(sign * weights, counts[:, :, 1], share, change, variance) for sign in (1, -1)))


def _tail(weights: Floats, rows: npt.NDArray[np.int64], share: Floats, change: float, variance: float) -> float:
    """Return the probability that a weighted sum of binomial counts is `change` or more; its mean is 0."""
    steps = np.geomspace(0.05, 50, 500)[:, None, None] * change / variance
    with np.errstate(divide="ignore"):
        logarithms = np.logaddexp(np.log1p(-share), np.log(share) + steps * weights)
    exponent = float((steps[:, 0, 0] * change - (rows * logarithms).sum(axis=(1, 2))).max())
    return math.erfc(math.sqrt(max(0.0, exponent))) / 2
