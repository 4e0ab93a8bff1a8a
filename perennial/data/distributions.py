"""Distributions of numbers, as `statistics.json` describes them (data.column_statistics)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from perennial.data.column_statistics import Floats


class Distribution(NamedTuple):
    """Values, ascending, and the share of rows up to and with each."""

    values: Floats
    shares: Floats


def distribution(described: Mapping[str, Any]) -> Distribution:
    """Return what a column's `numerical_statistics` say: a number in list i of the sketch stands for 2**i rows."""
    levels = described["distribution"]["kll"]["sketch"]["data"]
    values = np.concatenate([np.asarray(level, np.float64) for level in levels])
    weights = np.concatenate([np.full(len(level), 2.0**height) for height, level in enumerate(levels)])
    order = np.argsort(values, kind="stable")
    return Distribution(values[order], np.cumsum(weights[order]) / weights.sum())


def below(one: Distribution, at: Floats) -> Floats:
    """Return the share of rows up to and with each number of `at`."""
    return np.concatenate([[0.0], one.shares])[np.searchsorted(one.values, at, side="right")]


def quantile(one: Distribution, share: float) -> float:
    """Return the smallest value with at least this share of the rows up to it."""
    return float(one.values[min(int(np.searchsorted(one.shares, share)), one.values.size - 1)])


def kolmogorov_smirnov(one: Distribution, other: Distribution) -> float:
    """Return the largest difference of the two cumulative distributions, 0 to 1."""
    at = np.union1d(one.values, other.values)
    return float(np.abs(below(one, at) - below(other, at)).max())
