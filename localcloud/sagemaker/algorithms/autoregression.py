"""One autoregressive model of all series, in numpy: the inside of the DeepAR stand-in.

What is learned is the change of a value against the season before, from the same changes of earlier values (lags of 1
to `context_length` steps and of whole seasons), of the features, and of each category on average; without any of it
the forecast is the last season again. All series share the coefficients, as they share DeepAR's network; each has a
scale of its own. A forecast is a set of sample paths: every step is predicted from the steps before it, plus an error
of the size of the series' own last ones. Mean and quantiles are those of the paths.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from localcloud.sagemaker.algorithms.deepar_hyperparameters import BETA, DETERMINISTIC, GAUSSIAN, NEGATIVE_BINOMIAL
from localcloud.sagemaker.algorithms.time_series import Array, Frequency, TimeSeries

FORMAT = "perennial/deepar/1"
FILES = ("model_algo-1-0000.params", "model_algo-1-config.json", "model_algo-1-symbol.json")
STUDENT_FREEDOM = 5.0
PRIOR = 4.0  # what is known of all series counts as this many observations of each
RECENT_SEASONS, RECENT_STEPS = 5, 50  # the size of a series' errors is that of its last seasons, or steps
NOISE_LEVELS = 200
_LEAST = 1e-9
_NOTHING: dict[str, Any] = {"cat": (), "dynamic_feat": np.empty((0, 0))}
_BOUNDS = {BETA: (0.0, 1.0), NEGATIVE_BINOMIAL: (0.0, math.inf)}


@dataclass(frozen=True)
class Settings:
    """What a job says.

    cardinality  the number of values of each category
    features     how many dynamic features there are
    ignores      fields of series that are not looked at
    shrinkage    the penalty of the coefficients, as a share
    """

    freq: Frequency
    context_length: int
    prediction_length: int
    likelihood: str
    cardinality: tuple[int, ...] = ()
    features: int = 0
    ignores: tuple[str, ...] = ()
    epochs: int = 100
    patience: int = 3
    shrinkage: float = 0.001

    def take(self, series: TimeSeries, steps: int) -> TimeSeries:
        """Return a series without what is ignored.

        Raises ValueError: it has not the categories of the job, or not its features in so many steps.
        """
        series = replace(series, **{name: value for name, value in _NOTHING.items() if name in self.ignores})
        if len(series.cat) != len(self.cardinality):
            raise ValueError(f"cat has {len(series.cat)} values, expected {len(self.cardinality)}")
        for position, (value, size) in enumerate(zip(series.cat, self.cardinality, strict=True)):
            if value >= size:
                raise ValueError(f"value {position} of cat is {value}, expected one from 0 to {size - 1}")
        if len(series.dynamic_feat) != self.features:
            raise ValueError(f"dynamic_feat has {len(series.dynamic_feat)} series, expected {self.features}")
        if self.features and series.dynamic_feat.shape[1] != steps:
            raise ValueError(f"dynamic_feat has {series.dynamic_feat.shape[1]} values a series, expected {steps}")
        return series


@dataclass(frozen=True)
class Shape:
    """The season, and the lags whose changes against the season before are looked at; both in steps."""

    season: int
    lags: tuple[int, ...]

    @staticmethod
    def of(settings: Settings, lengths: Sequence[int]) -> Shape:
        """Return what series of these lengths can tell: where half of them have no two seasons, a season is a step."""
        typical = int(np.median(lengths))
        season, *longer = settings.freq.cycles
        season = season if typical >= 2 * season else 1
        lags = {*range(1, settings.context_length + 1), season, 2 * season, *longer}
        return Shape(season, tuple(sorted(lag for lag in lags if lag + season < typical)) or (1,))


@dataclass(frozen=True)
class Model:
    """What is learned; sizes are in a series' own unit, the root mean square of its changes.

    coefficients  (n_lags + n_features,): of the changes at the lags, then of those of the features
    effects       one array for each category: what a change is larger by
    noise         (NOISE_LEVELS,): quantiles of errors, relative to the size of their series' errors
    profile       (season,): how far a step is from the mean of its season, as a share of the series' mean
    error         root mean square of the errors of one step
    roughness     a series' unit as a share of its mean
    level         mean of the series' means
    """

    settings: Settings
    shape: Shape
    coefficients: Array
    effects: tuple[Array, ...]
    noise: Array
    profile: Array
    error: float
    roughness: float
    level: float

    def sample(self, series: TimeSeries, count: int) -> Array:
        """Return (count, prediction_length) values that may follow the series; the same ones for the same series."""
        season, steps = self.shape.season, self.settings.prediction_length
        unit = _unit(series.target, season, self.roughness) or 1.0
        past = self._filled(series)[-season:]
        lags = np.array(self.shape.lags)
        longest = int(lags[-1])
        known = _changes(series.target, season) / unit
        explained = self._explained(series)
        noise = self._noise(series.target, count) * self._error_of(series, known, explained)

        values = np.empty((count, season + steps))
        changes = np.zeros((count, longest + steps))
        values[:, :season] = past
        recent = np.nan_to_num(known[-longest:])
        changes[:, longest - len(recent) : longest] = recent
        low, high = _BOUNDS.get(self.settings.likelihood, (-math.inf, math.inf))
        for step in range(steps):
            from_lags = changes[:, longest + step - lags] @ self.coefficients[: len(lags)]
            change = from_lags + explained[len(series.target) + step] + noise[:, step]
            values[:, season + step] = np.clip(values[:, step] + unit * change, low, high)
            changes[:, longest + step] = (values[:, season + step] - values[:, step]) / unit
        samples = values[:, season:]
        return np.round(samples) if self.settings.likelihood == NEGATIVE_BINOMIAL else samples

    def _explained(self, series: TimeSeries) -> Array:
        """Return the part of each step's change that is not from earlier ones, up to the end of the forecast."""
        length = len(series.target) + self.settings.prediction_length
        effect = sum(effects[value] for effects, value in zip(self.effects, series.cat, strict=True))
        explained = np.full(length, float(effect))
        if self.settings.features:
            changes = _feature_changes(series.dynamic_feat[:, :length], self.shape.season)
            explained[: len(changes)] += changes @ self.coefficients[len(self.shape.lags) :]
        return explained

    def _error_of(self, series: TimeSeries, known: Array, explained: Array) -> float:
        """Return the size of the errors that the model made in the last steps of the series."""
        recent = max(RECENT_SEASONS * self.shape.season, RECENT_STEPS)
        steps = np.arange(max(len(known) - recent, 0), len(known))
        from_lags = _lagged(known, self.shape.lags, steps) @ self.coefficients[: len(self.shape.lags)]
        errors = known[steps] - from_lags - explained[steps]
        errors = errors[np.isfinite(errors)]
        return math.sqrt((float(errors @ errors) + PRIOR * self.error**2) / (len(errors) + PRIOR))

    def _noise(self, target: Array, count: int) -> Array:
        """Return (count, prediction_length) errors: in each step every part of the distribution equally often."""
        steps = self.settings.prediction_length
        if self.settings.likelihood == DETERMINISTIC:
            return np.zeros((count, steps))
        random = np.random.default_rng(zlib.crc32(target.tobytes()))
        ranks = random.permuted(np.tile(np.arange(count), (steps, 1)), axis=1).T
        return np.interp((ranks + 0.5) / count, _levels(), self.noise)

    def _filled(self, series: TimeSeries) -> Array:
        """Return a season from before the series and the series, without gaps.

        A gap is a line between its ends, plus the season's profile; before the series it is the mean of its first
        season. Of a series without any value all is the mean of the series that the model has learned from.
        """
        target, season = series.target, self.shape.season
        known = np.flatnonzero(np.isfinite(target))
        scale = float(np.mean(np.abs(target[known]))) if len(known) else self.level
        first = self.settings.freq.number(series.start) - season
        profile = scale * self.profile[(first + np.arange(season + len(target))) % season]
        if not len(known):
            return scale + profile
        plain = target[known] - profile[season + known]
        filled = np.interp(np.arange(len(target)), known, plain)
        filled = np.concatenate([np.full(season, plain[:season].mean()), filled]) + profile
        filled[season + known] = target[known]
        return filled

    def save(self, folder: Path, hyperparameters: dict[str, str]) -> None:
        """Write the files that DeepAR's archive has; the same model gives the same bytes."""
        arrays = {"coefficients": self.coefficients, "noise": self.noise, "profile": self.profile}
        arrays |= {f"effects_{number}": values for number, values in enumerate(self.effects)}
        with (folder / FILES[0]).open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        _write(folder / FILES[1], {**asdict(self.settings), "hyperparameters": hyperparameters})
        sizes = {"error": self.error, "roughness": self.roughness, "level": self.level}
        _write(folder / FILES[2], {"format": FORMAT, **asdict(self.shape), **sizes})

    @staticmethod
    def load(folder: Path) -> Model:
        """Return the model of a folder. Raises ValueError for anything that `save` did not write."""
        params, config, symbol = (folder / name for name in FILES)
        graph = json.loads(symbol.read_text("utf-8"))
        if not isinstance(graph, dict) or graph.get("format") != FORMAT:
            raise ValueError(f"{symbol.name} is not of a model of the local DeepAR ({FORMAT})")
        config_values = json.loads(config.read_text("utf-8"))
        del config_values["hyperparameters"]
        config_values |= {name: tuple(config_values[name]) for name in ("cardinality", "ignores")}
        settings = Settings(**config_values | {"freq": Frequency(**config_values["freq"])})
        with np.load(params, allow_pickle=False) as arrays:
            return Model(
                settings,
                Shape(graph["season"], tuple(graph["lags"])),
                arrays["coefficients"],
                tuple(arrays[f"effects_{number}"] for number in range(len(settings.cardinality))),
                arrays["noise"],
                arrays["profile"],
                graph["error"],
                graph["roughness"],
                graph["level"],
            )


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
    if not any(np.isfinite(_changes(one.target, shape.season)).any() for one in series):
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
        self.units = np.array([_unit(one.target, shape.season, self._roughness) or 1.0 for one in series])
        parts = [self._of(one, unit) for one, unit in zip(series, self.units, strict=True)]
        self.changes = np.concatenate([changes for changes, _ in parts])
        self.features = np.concatenate([features for _, features in parts])
        self.owner = np.repeat(np.arange(len(series)), [len(changes) for changes, _ in parts])
        self._counts = np.bincount(self.owner, minlength=len(series))
        self._categories = np.array([one.cat for one in series], dtype=int).reshape(len(series), -1)[self.owner]

    def _of(self, series: TimeSeries, unit: float) -> tuple[Array, Array]:
        known = _changes(series.target, self._shape.season) / unit
        steps = np.flatnonzero(np.isfinite(known))
        features = _lagged(known, self._shape.lags, steps)
        if self._settings.features:
            dynamic = _feature_changes(series.dynamic_feat, self._shape.season)[steps]
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
        overall = _root_mean_square(errors)
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
        overall = _root_mean_square(errors)
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


def _changes(values: Array, season: int) -> Array:
    """Return each value minus that of a season before; NaN where one of them is missing. The last axis is time."""
    changes = np.full(values.shape, np.nan)
    changes[..., season:] = values[..., season:] - values[..., :-season]
    return changes


def _lagged(changes: Array, lags: Sequence[int], steps: npt.NDArray[np.int64]) -> Array:
    """Return (n_steps, n_lags): the changes that many steps before; 0 where they are not known."""
    padded = np.concatenate([np.zeros(lags[-1]), np.nan_to_num(changes)])
    lagged: Array = padded[steps[:, None] + (lags[-1] - np.array(lags))]
    return lagged


def _feature_changes(features: Array, season: int) -> Array:
    """Return (n_steps, n_features): the changes of features in each step; 0 where they are not known."""
    return np.nan_to_num(_changes(features, season)).T


def _unit(target: Array, season: int, roughness: float) -> float:
    """Return the root mean square of a series' changes; of a short one partly that of all, 0 of one that rests."""
    changes = _changes(target, season)
    changes = changes[np.isfinite(changes)]
    usual = roughness * _mean_size(target)
    return math.sqrt((float(changes @ changes) + PRIOR * usual**2) / (len(changes) + PRIOR))


def _roughness(series: Sequence[TimeSeries], season: int) -> float:
    """Return the median of the series' units as shares of their means."""
    sizes = [(_mean_size(one.target), _changes(one.target, season)) for one in series]
    shares = [_root_mean_square(c[np.isfinite(c)]) / size for size, c in sizes if size and np.isfinite(c).any()]
    return float(np.median(shares)) if shares else 0.0


def _mean_size(target: Array) -> float:
    known = target[np.isfinite(target)]
    return float(np.abs(known).mean()) if len(known) else 0.0


def _root_mean_square(values: Array) -> float:
    return math.sqrt(float(values @ values) / len(values)) if len(values) else 0.0


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


def _levels() -> Array:
    return (np.arange(NOISE_LEVELS) + 0.5) / NOISE_LEVELS


def _noise(relative: Array, likelihood: str) -> Array:
    """Return quantiles of the errors, all series together; those of a normal distribution for a gaussian likelihood."""
    if likelihood == GAUSSIAN:
        return np.array([NormalDist().inv_cdf(level) for level in _levels()])
    return np.asarray(np.quantile(relative, _levels()))


def _profile(series: Sequence[TimeSeries], season: int, freq: Frequency) -> Array:
    """Return how far each step of the season is from the mean of the season around it, on average."""
    sums, counts = np.zeros(season), np.zeros(season)
    for one in series:
        known = np.flatnonzero(np.isfinite(one.target))
        size = _mean_size(one.target)
        if season == 1 or len(one.target) < 2 * season or not size:
            continue
        filled = np.interp(np.arange(len(one.target)), known, one.target[known])
        around = np.convolve(filled, np.full(season, 1 / season), "valid")
        steps = season // 2 + np.arange(len(around))
        phases = (freq.number(one.start) + steps) % season
        sums += np.bincount(phases, (filled[steps] - around) / size, minlength=season)
        counts += np.bincount(phases, minlength=season)
    return sums / np.maximum(counts, 1)


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
