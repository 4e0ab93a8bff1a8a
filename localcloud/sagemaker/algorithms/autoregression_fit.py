"""Fitting the model of `autoregression` to series, by iteratively reweighted least squares."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from localcloud.sagemaker.algorithms.autoregression import (
    PRIOR,
    Model,
    Settings,
    Shape,
    changes_of,
    feature_changes,
    lagged,
    mean_size,
    noise_levels,
    root_mean_square,
    unit_of,
)
from localcloud.sagemaker.algorithms.deepar_hyperparameters import DETERMINISTIC, GAUSSIAN
from localcloud.sagemaker.algorithms.time_series import Array, Frequency, TimeSeries

STUDENT_FREEDOM = 5.0
_LEAST = 1e-9


@dataclass(frozen=True)
class Epoch:
    """An epoch's end. The loss is the mean negative log-likelihood of a step, or the mean error of deterministic-l1."""

    number: int
    loss: float
    model: Model


def fit(settings: Settings, series: Sequence[TimeSeries]) -> Iterator[Epoch]:
    """Yield one epoch after another until the last, or until the loss has not become smaller for `patience` epochs.

    An epoch is a step of iteratively reweighted least squares: a series counts by the size of its errors, and an error
    by its likelihood, so that a month of a crisis does not outweigh years.

    Raises ValueError: nothing can be learned from these series.
    """
    shape = Shape.of(settings, [len(one.target) for one in series])
    if not any(np.isfinite(changes_of(one.target, shape.season)).any() for one in series):
        raise ValueError(f"no time series has two values that are {shape.season} steps apart")
    rows = _Rows(settings, shape, series)
    weights, effects = np.ones(len(rows.changes)), tuple(np.zeros(size) for size in settings.cardinality)
    best, waited = math.inf, 0
    for number in range(settings.epochs):
        coefficients = rows.solve(weights, rows.changes - rows.of_categories(effects), settings.shrinkage)
        effects = rows.effects(weights, rows.changes - rows.features @ coefficients, effects)
        errors = rows.changes - rows.features @ coefficients - rows.of_categories(effects)
        sizes, weights = rows.reweighted(errors, settings.likelihood)
        loss = _loss(errors / sizes, sizes * rows.units[rows.owner], settings.likelihood)
        yield Epoch(number, loss, rows.model(coefficients, effects, errors))
        waited = waited + 1 if loss > best - 1e-4 * max(abs(best), 1.0) and best < math.inf else 0
        best = min(best, loss)
        if waited == settings.patience:
            return


class _Rows:
    """The steps that have a value a season before: `changes` (n_rows,), `features` (n_rows, n_columns), `owner`."""

    def __init__(self, settings: Settings, shape: Shape, series: Sequence[TimeSeries]) -> None:
        self._settings, self._shape = settings, shape
        self._profile = _profile(series, shape.season, settings.freq)
        self._level = float(np.mean([np.nanmean(one.target) for one in series if np.isfinite(one.target).any()]))
        self._roughness = _roughness(series, shape.season)
        self.units = np.array([unit_of(one.target, shape.season, self._roughness) or 1.0 for one in series])
        parts = [self._of(one, unit) for one, unit in zip(series, self.units, strict=True)]
        self.changes = np.concatenate([changes for changes, _ in parts])
        self.features = np.concatenate([features for _, features in parts])
        self.owner = np.repeat(np.arange(len(series)), [len(changes) for changes, _ in parts])
        self._counts = np.bincount(self.owner, minlength=len(series))
        self._categories = np.array([one.cat for one in series], dtype=int).reshape(len(series), -1)[self.owner]

    def _of(self, series: TimeSeries, unit: float) -> tuple[Array, Array]:
        known = changes_of(series.target, self._shape.season) / unit
        steps = np.flatnonzero(np.isfinite(known))
        features = lagged(known, self._shape.lags, steps)
        if self._settings.features:
            dynamic = feature_changes(series.dynamic_feat, self._shape.season)[steps]
            features = np.concatenate([features, dynamic], axis=1)
        return known[steps], features

    def solve(self, weights: Array, changes: Array, shrinkage: float) -> Array:
        """Return the coefficients of ridge regression, whose penalty is a share of each column's size."""
        weighted = self.features * weights[:, None]
        gram = weighted.T @ self.features
        sizes = np.diag(gram)
        penalty = sizes * (shrinkage + PRIOR / len(changes)) + np.where(sizes > 0, 0.0, 1.0)
        return np.linalg.solve(gram + np.diag(penalty), weighted.T @ changes)

    def effects(self, weights: Array, rest: Array, effects: tuple[Array, ...]) -> tuple[Array, ...]:
        """Return what the rest is on average in each value of each category, one category after the other."""
        new = list(effects)
        prior = PRIOR * float(weights.mean())
        for number, size in enumerate(self._settings.cardinality):
            new[number] = np.zeros(size)
            values, left = self._categories[:, number], rest - self.of_categories(new)
            sums = np.bincount(values, weights * left, minlength=size)
            new[number] = sums / (np.bincount(values, weights, minlength=size) + prior)
        return tuple(new)

    def of_categories(self, effects: Sequence[Array]) -> Array:
        total = np.zeros(len(self.changes))
        for number, values in enumerate(effects):
            total += values[self._categories[:, number]]
        return total

    def reweighted(self, errors: Array, likelihood: str) -> tuple[Array, Array]:
        """Return the size of each row's errors, by its series, and what the row weighs next."""
        overall = root_mean_square(errors)
        plain = self._sizes(errors**2, overall)
        share = _share(errors / plain, likelihood)
        sizes = self._sizes(share * errors**2, overall)
        return sizes, share / sizes**2

    def _sizes(self, squares: Array, overall: float) -> Array:
        """Return, for each row, the root of the mean of its series' squares."""
        sums = np.bincount(self.owner, squares, minlength=len(self._counts))
        sizes = np.sqrt((sums + PRIOR * overall**2) / (self._counts + PRIOR))
        return np.maximum(sizes, _LEAST)[self.owner]

    def model(self, coefficients: Array, effects: tuple[Array, ...], errors: Array) -> Model:
        overall = root_mean_square(errors)
        return Model(
            self._settings,
            self._shape,
            coefficients,
            effects,
            _noise(errors / self._sizes(errors**2, overall), self._settings.likelihood),
            self._profile,
            overall,
            self._roughness,
            self._level,
        )


def _roughness(series: Sequence[TimeSeries], season: int) -> float:
    """Return the median of the series' units as shares of their means."""
    sizes = [(mean_size(one.target), changes_of(one.target, season)) for one in series]
    shares = [root_mean_square(c[np.isfinite(c)]) / size for size, c in sizes if size and np.isfinite(c).any()]
    return float(np.median(shares)) if shares else 0.0


def _share(relative: Array, likelihood: str) -> Array:
    """Return what errors of these relative sizes weigh."""
    if likelihood == GAUSSIAN:
        return np.ones(len(relative))
    if likelihood == DETERMINISTIC:
        return 1 / np.maximum(np.abs(relative), 0.01)
    return (STUDENT_FREEDOM + 1) / (STUDENT_FREEDOM + relative**2)


def _loss(relative: Array, sizes: Array, likelihood: str) -> float:
    if likelihood == DETERMINISTIC:
        return float(np.mean(np.abs(relative * sizes)))
    if likelihood == GAUSSIAN:
        densities = -0.5 * relative**2 - 0.5 * math.log(2 * math.pi)
    else:
        n = STUDENT_FREEDOM
        constant = math.lgamma((n + 1) / 2) - math.lgamma(n / 2) - 0.5 * math.log(n * math.pi)
        densities = constant - (n + 1) / 2 * np.log1p(relative**2 / n)
    return float(np.mean(np.log(sizes) - densities))


def _noise(relative: Array, likelihood: str) -> Array:
    """Return quantiles of the errors, all series together; those of a normal distribution for a gaussian likelihood."""
    if likelihood == GAUSSIAN:
        return np.array([NormalDist().inv_cdf(level) for level in noise_levels()])
    return np.asarray(np.quantile(relative, noise_levels()))


def _profile(series: Sequence[TimeSeries], season: int, freq: Frequency) -> Array:
    """Return how far each step of the season is from the mean of the season around it, on average."""
    sums, counts = np.zeros(season), np.zeros(season)
    for one in series:
        known = np.flatnonzero(np.isfinite(one.target))
        size = mean_size(one.target)
        if season == 1 or len(one.target) < 2 * season or not size:
            continue
        filled = np.interp(np.arange(len(one.target)), known, one.target[known])
        around = np.convolve(filled, np.full(season, 1 / season), "valid")
        steps = season // 2 + np.arange(len(around))
        phases = (freq.number(one.start) + steps) % season
        sums += np.bincount(phases, (filled[steps] - around) / size, minlength=season)
        counts += np.bincount(phases, minlength=season)
    return sums / np.maximum(counts, 1)
