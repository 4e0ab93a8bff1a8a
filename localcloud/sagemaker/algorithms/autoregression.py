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
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from localcloud.sagemaker.algorithms.deepar_hyperparameters import BETA, DETERMINISTIC, NEGATIVE_BINOMIAL
from localcloud.sagemaker.algorithms.time_series import Array, Frequency, TimeSeries

FORMAT = "perennial/deepar/1"
FILES = ("model_algo-1-0000.params", "model_algo-1-config.json", "model_algo-1-symbol.json")
PRIOR = 4.0  # what is known of all series counts as this many observations of each
RECENT_SEASONS, RECENT_STEPS = 5, 50  # the size of a series' errors is that of its last seasons, or steps
NOISE_LEVELS = 200
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
        unit = unit_of(series.target, season, self.roughness) or 1.0
        past = self._filled(series)[-season:]
        lags = np.array(self.shape.lags)
        longest = int(lags[-1])
        coefficients = self.coefficients[: len(lags)]
        known = changes_of(series.target, season) / unit
        explained = self._explained(series)
        noise = self._noise(series.target, count) * self._error_of(series, known, explained)
        recent = np.nan_to_num(known[-longest:])
        before = np.concatenate([np.zeros(longest - len(recent)), recent])

        samples, changes = np.empty((count, steps)), np.zeros((count, steps))
        low, high = _BOUNDS.get(self.settings.likelihood, (-math.inf, math.inf))
        for step in range(steps):
            is_own = lags <= step  # a change that was forecast; the others are the same for all samples
            from_lags = before[longest + step - lags[~is_own]] @ coefficients[~is_own]
            from_lags = from_lags + changes[:, step - lags[is_own]] @ coefficients[is_own]
            change = from_lags + explained[len(series.target) + step] + noise[:, step]
            season_before = past[step] if step < season else samples[:, step - season]
            samples[:, step] = np.clip(season_before + unit * change, low, high)
            changes[:, step] = (samples[:, step] - season_before) / unit
        return np.round(samples) if self.settings.likelihood == NEGATIVE_BINOMIAL else samples

    def _explained(self, series: TimeSeries) -> Array:
        """Return the part of each step's change that is not from earlier ones, up to the end of the forecast."""
        length = len(series.target) + self.settings.prediction_length
        effect = sum(effects[value] for effects, value in zip(self.effects, series.cat, strict=True))
        explained = np.full(length, float(effect))
        if self.settings.features:
            changes = feature_changes(series.dynamic_feat[:, :length], self.shape.season)
            explained[: len(changes)] += changes @ self.coefficients[len(self.shape.lags) :]
        return explained

    def _error_of(self, series: TimeSeries, known: Array, explained: Array) -> float:
        """Return the size of the errors that the model made in the last steps of the series."""
        recent = max(RECENT_SEASONS * self.shape.season, RECENT_STEPS)
        steps = np.arange(max(len(known) - recent, 0), len(known))
        from_lags = lagged(known, self.shape.lags, steps) @ self.coefficients[: len(self.shape.lags)]
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
        return np.interp((ranks + 0.5) / count, noise_levels(), self.noise)

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


def changes_of(values: Array, season: int) -> Array:
    """Return each value minus that of a season before; NaN where one of them is missing. The last axis is time."""
    changes = np.full(values.shape, np.nan)
    changes[..., season:] = values[..., season:] - values[..., :-season]
    return changes


def lagged(changes: Array, lags: Sequence[int], steps: npt.NDArray[np.int64]) -> Array:
    """Return (n_steps, n_lags): the changes that many steps before; 0 where they are not known."""
    padded = np.concatenate([np.zeros(lags[-1]), np.nan_to_num(changes)])
    lagged: Array = padded[steps[:, None] + (lags[-1] - np.array(lags))]
    return lagged


def feature_changes(features: Array, season: int) -> Array:
    """Return (n_steps, n_features): the changes of features in each step; 0 where they are not known."""
    return np.nan_to_num(changes_of(features, season)).T


def unit_of(target: Array, season: int, roughness: float) -> float:
    """Return the root mean square of a series' changes; of a short one partly that of all, 0 of one that rests."""
    changes = changes_of(target, season)
    changes = changes[np.isfinite(changes)]
    usual = roughness * mean_size(target)
    return math.sqrt((float(changes @ changes) + PRIOR * usual**2) / (len(changes) + PRIOR))


def mean_size(target: Array) -> float:
    known = target[np.isfinite(target)]
    return float(np.abs(known).mean()) if len(known) else 0.0


def root_mean_square(values: Array) -> float:
    return math.sqrt(float(values @ values) / len(values)) if len(values) else 0.0


def noise_levels() -> Array:
    return (np.arange(NOISE_LEVELS) + 0.5) / NOISE_LEVELS


def _write(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=1) + "\n", "utf-8")
