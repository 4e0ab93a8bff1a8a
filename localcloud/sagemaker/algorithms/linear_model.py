"""A linear model that mini-batches fit, in numpy: the inside of the Linear Learner stand-in.

As Linear Learner does, several models with different learning rates and regularisation are trained side by side (one
column each), and the one with the best validation objective is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from localcloud.sagemaker.algorithms.hosts import ALONE, Hosts

Array = npt.NDArray[Any]

FORMAT = "perennial/linear-learner/1"
LOGISTIC = "binary_classification_cross_entropy"  # the loss's name in the log
SOFTMAX = "multiclass_cross_entropy"
REGRESSOR, BINARY, MULTICLASS = "regressor", "binary_classifier", "multiclass_classifier"
LEARNING_RATES = (0.1, 0.3, 0.05)
WEIGHT_DECAYS = (0.0, 1e-4, 1e-2)
SMALLEST_STEPS_AN_EPOCH = 10
CHUNK_ROWS = 1 << 16


@dataclass(frozen=True)
class LinearModel:
    """`features @ weights + bias`, in the target's unit; for a classifier, log odds of class 1.

    `threshold` is the score from which a row is class 1 (0 to 1 for logistic loss, a margin for hinge loss). Of several
    classes weights are `(n_features, n_classes)`, the bias `(n_classes,)`, and every row has a score of each.
    """

    predictor_type: str
    weights: Array
    bias: float | Array
    threshold: float = 0.5
    is_probability: bool = False

    def score(self, features: Array) -> Array:
        """Predict (n_rows, n_features) -> (n_rows,): the prediction, the probability of class 1, or the margin.

        Of several classes (n_rows, n_classes), the probability of each.
        """
        return self.as_score(self.raw(features))

    def raw(self, features: Array) -> Array:
        """Return the linear part, computed in chunks: converting millions of float32 rows at once would double them."""
        chunks = (features[start : start + CHUNK_ROWS] for start in range(0, max(len(features), 1), CHUNK_ROWS))
        return np.concatenate([np.asarray(chunk, dtype=float) @ self.weights + self.bias for chunk in chunks])

    def as_score(self, raw: Array) -> Array:
        if not self.is_probability:
            return raw
        return softmax(raw) if self.predictor_type == MULTICLASS else sigmoid(raw)

    def save(self, path: Path) -> None:
        """Write a zip of .npy files (numpy's npz), without pickles; the same model gives the same bytes."""
        with path.open("wb") as file:
            np.savez(
                file,
                format=np.array(FORMAT),
                predictor_type=np.array(self.predictor_type),
                weights=self.weights,
                bias=np.array(self.bias),
                threshold=np.array(self.threshold),
                is_probability=np.array(self.is_probability),
            )

    @staticmethod
    def load(path: Path) -> LinearModel:
        """Return the model of a file. Raises ValueError for anything that `save` did not write."""
        with np.load(path, allow_pickle=False) as values:
            if "format" not in values or str(values["format"]) != FORMAT:
                raise ValueError(f"{path.name} is not a model of the local Linear Learner ({FORMAT})")
            return LinearModel(
                str(values["predictor_type"]),
                values["weights"],
                values["bias"] if values["bias"].ndim else float(values["bias"]),
                float(values["threshold"]),
                bool(values["is_probability"]),
            )


def sigmoid(raw: Array) -> Array:
    half: Array = 0.5 * (1.0 + np.tanh(0.5 * raw))
    return half


def softmax(raw: Array) -> Array:
    """Return probabilities over the last axis."""
    powers = np.exp(raw - raw.max(axis=-1, keepdims=True))
    shares: Array = powers / powers.sum(axis=-1, keepdims=True)
    return shares


@dataclass(frozen=True)
class Loss:
    """Value and derivative by the raw score, both elementwise; labels are 0/1 for the classifier's losses.

    Of `classes` scores in a row are those of one model, of the next one and so on: the loss has one value for each.
    """

    name: str
    value: Callable[[Array, Array], Array]
    slope: Callable[[Array, Array], Array]
    classes: int = 1


def softmax_loss(classes: int) -> Loss:
    """Return the cross entropy of several classes; labels are their numbers, `(n_rows,)` or `(n_rows, 1)`."""

    def by_model(scores: Array) -> Array:
        return np.asarray(scores.reshape(len(scores), -1, classes))

    def of_label(labels: Array) -> Array:
        return np.asarray(labels.reshape(-1, 1, 1) == np.arange(classes))

    def value(scores: Array, labels: Array) -> Array:
        each = by_model(scores)
        highest = each.max(axis=-1)
        whole = highest + np.log(np.exp(each - highest[..., None]).sum(axis=-1))
        return np.asarray(whole - (each * of_label(labels)).sum(axis=-1))

    def slope(scores: Array, labels: Array) -> Array:
        return np.asarray((softmax(by_model(scores)) - of_label(labels)).reshape(scores.shape))

    return Loss(SOFTMAX, value, slope, classes)


def make_loss(name: str, *, insensitivity: float, delta: float, quantile: float, margin: float) -> Loss:
    """Return the losses of Linear Learner by the hyperparameter's word; the Loss bears the name that the log uses."""
    losses = {
        "squared_loss": Loss("mse", lambda s, y: (s - y) ** 2, lambda s, y: 2 * (s - y)),
        "absolute_loss": Loss("absolute_loss", lambda s, y: np.abs(s - y), lambda s, y: np.sign(s - y)),
        "eps_insensitive_squared_loss": Loss(
            "eps_insensitive_squared_loss",
            lambda s, y: np.maximum(np.abs(s - y) - insensitivity, 0) ** 2,
            lambda s, y: 2 * np.sign(s - y) * np.maximum(np.abs(s - y) - insensitivity, 0),
        ),
        "eps_insensitive_absolute_loss": Loss(
            "eps_insensitive_absolute_loss",
            lambda s, y: np.maximum(np.abs(s - y) - insensitivity, 0),
            lambda s, y: np.sign(s - y) * (np.abs(s - y) > insensitivity),
        ),
        "quantile_loss": Loss(
            "quantile_loss",
            lambda s, y: np.maximum(quantile * (y - s), (quantile - 1) * (y - s)),
            lambda s, y: np.where(y > s, -quantile, 1 - quantile),
        ),
        "huber_loss": Loss(
            "huber_loss",
            lambda s, y: np.where(np.abs(s - y) <= delta, 0.5 * (s - y) ** 2, delta * (np.abs(s - y) - 0.5 * delta)),
            lambda s, y: np.clip(s - y, -delta, delta),
        ),
        "logistic": Loss(
            LOGISTIC,
            lambda s, y: np.logaddexp(0.0, s) - y * s,
            lambda s, y: sigmoid(s) - y,
        ),
        "hinge_loss": Loss(
            "hinge_loss",
            lambda s, y: np.maximum(0, margin - (2 * y - 1) * s),
            lambda s, y: -(2 * y - 1) * ((2 * y - 1) * s < margin),
        ),
    }
    return losses[name]


@dataclass(frozen=True)
class Settings:
    """How to fit. Learning rates and decays are tuples of candidates; every pair is one model."""

    loss: Loss
    optimizer: str = "adam"
    epochs: int = 15
    mini_batch_size: int = 1000
    learning_rates: tuple[float, ...] = LEARNING_RATES
    weight_decays: tuple[float, ...] = WEIGHT_DECAYS
    l1: float = 0.0
    num_models: int | None = None
    beta_1: float = 0.9
    beta_2: float = 0.999
    momentum: float = 0.9
    use_bias: bool = True
    bias_rate: float = 1.0
    bias_decay: float = 0.0
    init_method: str = "uniform"
    init_scale: float = 0.07
    init_sigma: float = 0.01
    init_bias: float = 0.0
    label_weights: Array | None = None
    """What a row weighs by its label, which is the number of a class; None: all weigh 1."""
    patience: int = 3
    tolerance: float = 0.001
    rate_factor: Callable[[float, int], float] = lambda progress, _step: 0.5 * (1 + math.cos(math.pi * progress))
    """What the learning rate is multiplied by: of the progress of training (0 to 1) and the number of the step."""
    normalize_data: bool = True
    unbias_data: bool = True
    normalize_label: bool = True
    unbias_label: bool = True
    rows_for_scaler: int = 10000
    seed: int = 0


@dataclass(frozen=True)
class Scaler:
    """Shift and scale of each column: (value - shift) / scale."""

    shift: Array
    scale: Array

    @staticmethod
    def fit(values: Array, *, unbias: bool, normalize: bool, hosts: Hosts = ALONE) -> Scaler:
        """Of columns; one that does not vary keeps scale 1, so that it cannot divide by zero."""
        values = np.asarray(values, dtype=float)
        rows = hosts.count_all(len(values))
        mean = hosts.total(values.sum(axis=0)) / rows
        shift = mean if unbias else np.zeros(values.shape[1:])
        deviation = np.sqrt(hosts.total(((values - mean) ** 2).sum(axis=0)) / rows)
        scale = np.where(deviation > 0, deviation, 1.0) if normalize else np.ones(values.shape[1:])
        return Scaler(shift, scale)

    def apply(self, values: Array) -> Array:
        scaled: Array = (values - self.shift) / self.scale
        return scaled


@dataclass(frozen=True)
class Epoch:
    """An epoch's end: the model with the best validation objective (training objective without such a channel)."""

    number: int
    train_objective: float
    validation_objective: float | None
    model: LinearModel


class Bank:
    """The models side by side: `weights` has shape (n_features, n_models), or as many columns for each as classes."""

    def __init__(self, settings: Settings, n_features: int, hosts: Hosts = ALONE) -> None:
        self._hosts = hosts
        pairs = [(rate, decay) for decay in settings.weight_decays for rate in settings.learning_rates]
        pairs = pairs[: settings.num_models]
        self._settings = settings
        self.random = np.random.default_rng(settings.seed)
        self.models, columns = len(pairs), settings.loss.classes
        self.rates = np.repeat([rate for rate, _ in pairs], columns)
        self._decays = np.repeat([decay for _, decay in pairs], columns)
        shape = (n_features, 1)
        start = (
            self.random.uniform(-settings.init_scale, settings.init_scale, shape)
            if settings.init_method == "uniform"
            else self.random.normal(0, settings.init_sigma, shape)
        )
        self.weights = np.repeat(start, self.rates.size, axis=1)
        self.bias = np.full(self.rates.size, settings.init_bias if settings.use_bias else 0.0)
        self._first = [np.zeros_like(self.weights), np.zeros_like(self.bias)]
        self._second = [np.zeros_like(self.weights), np.zeros_like(self.bias)]
        self._steps = 0
        self.start_epoch()

    def start_epoch(self) -> None:
        """Begin the averages that `objective` and the chosen model use: they take out the mini-batches' noise."""
        self.mean_weights = np.zeros_like(self.weights)
        self.mean_bias = np.zeros_like(self.bias)
        self._averaged = 0

    def step(self, features: Array, labels: Array, rate_factor: float) -> Array:
        """Learn one mini-batch, this host's part of it. Return each model's mean loss on the whole, before the step."""
        settings, loss = self._settings, self._settings.loss
        scores = features @ self.weights + self.bias
        by_label = settings.label_weights
        weight = 1.0 if by_label is None else by_label[labels.astype(int)][:, None]
        rows = self._hosts.count_all(len(labels))
        slope = weight * loss.slope(scores, labels[:, None]) / rows
        gradient = (
            self._hosts.total(features.T @ slope) + self._decays * self.weights + settings.l1 * np.sign(self.weights)
        )
        self._steps += 1
        self.weights -= self.rates * rate_factor * self._direction(0, gradient)
        if settings.use_bias:
            bias_gradient = self._hosts.total(slope.sum(axis=0)) + settings.bias_decay * self._decays * self.bias
            self.bias -= settings.bias_rate * self.rates * rate_factor * self._direction(1, bias_gradient)
        self._averaged += 1
        self.mean_weights += (self.weights - self.mean_weights) / self._averaged
        self.mean_bias += (self.bias - self.mean_bias) / self._averaged
        mean: Array = self._hosts.total((weight * loss.value(scores, labels[:, None])).sum(axis=0)) / rows
        return mean

    def _direction(self, which: int, gradient: Array) -> Array:
        """Adam, RMSProp or SGD with momentum, by the settings."""
        settings = self._settings
        if settings.optimizer == "sgd":
            self._first[which] = settings.momentum * self._first[which] + gradient
            return self._first[which]
        if settings.optimizer == "rmsprop":
            self._second[which] = settings.beta_2 * self._second[which] + (1 - settings.beta_2) * gradient**2
            unit: Array = gradient / (np.sqrt(self._second[which]) + 1e-8)
            return unit
        self._first[which] = settings.beta_1 * self._first[which] + (1 - settings.beta_1) * gradient
        self._second[which] = settings.beta_2 * self._second[which] + (1 - settings.beta_2) * gradient**2
        mean = self._first[which] / (1 - settings.beta_1**self._steps)
        spread = self._second[which] / (1 - settings.beta_2**self._steps)
        direction: Array = mean / (np.sqrt(spread) + 1e-8)
        return direction

    def objective(self, features: Scaler, labels: Scaler, rows: Array) -> Array:
        """Each model's mean loss over rows that have the label first."""
        total = np.zeros(self.models)
        for start in range(0, len(rows), CHUNK_ROWS):
            chunk = np.asarray(rows[start : start + CHUNK_ROWS], dtype=float)
            scores = features.apply(chunk[:, 1:]) @ self.mean_weights + self.mean_bias
            total += self._settings.loss.value(scores, labels.apply(chunk[:, :1])).sum(axis=0)
        mean: Array = self._hosts.total(total) / self._hosts.count_all(len(rows))
        return mean


class Schedule:
    """The factor of the learning rate from step to step, over steps that may become fewer on the way."""

    def __init__(self, factor: Callable[[float, int], float], steps: int) -> None:
        self._factor, self._steps_left = factor, steps
        self._progress, self._step = 0.0, 0

    def next(self) -> float:
        factor = self._factor(self._progress, self._step)
        self._progress += (1.0 - self._progress) / max(self._steps_left, 1)
        self._steps_left -= 1
        self._step += 1
        return factor

    def end_within(self, steps: int) -> None:
        self._steps_left = min(self._steps_left, steps)


def fit(
    settings: Settings, predictor_type: str, training: Array, validation: Array | None, hosts: Hosts = ALONE
) -> Iterator[Epoch]:
    """Yield one Epoch after another until the last, or until the objective has stopped improving.

    `training` and `validation` have the label first: (n_rows, 1 + n_features). A mini-batch is never more than a
    tenth of the rows: with the default of 1,000 a small data set would make one step in an epoch, and 15 in all.
    When the patience is over, as many epochs again bring the learning rate down to zero, and training ends.

    Several hosts take the same steps, each with its share of every mini-batch: they add up their gradients.
    """
    features, labels = _scalers(settings, predictor_type, training, hosts)
    bank = Bank(settings, training.shape[1] - 1, hosts)
    rows = hosts.count_all(len(training))
    size = max(1, min(settings.mini_batch_size, math.ceil(rows / SMALLEST_STEPS_AN_EPOCH)))
    steps = math.ceil(rows / size)
    schedule = Schedule(settings.rate_factor, settings.epochs * steps)
    best, waited, last = math.inf, 0, settings.epochs - 1
    for number in range(settings.epochs):
        batches = _batches(bank, len(training), size, steps, hosts)
        training_objectives = _run_epoch(bank, schedule, features, labels, training, batches)
        judged = training_objectives if validation is None else bank.objective(features, labels, validation)
        chosen = int(np.argmin(np.where(np.isfinite(judged), judged, np.inf)))
        objective = float(judged[chosen])
        yield Epoch(
            number,
            float(training_objectives[chosen]),
            None if validation is None else objective,
            _unscaled(settings, bank, chosen, features, labels, predictor_type),
        )
        if number == last:
            return
        waited = 0 if best == math.inf or objective < best - settings.tolerance * abs(best) else waited + 1
        best = min(best, objective)
        if waited == settings.patience and last == settings.epochs - 1:
            last = min(last, number + settings.patience)
            schedule.end_within(settings.patience * steps)


def _batches(bank: Bank, rows: int, size: int, steps: int, hosts: Hosts) -> list[Array]:
    """Return the rows of each mini-batch, in a new order; of several hosts, this one's share, which may be none."""
    order = bank.random.permutation(rows)
    if hosts.count > 1:
        return np.array_split(order, steps)
    return [order[start : start + size] for start in range(0, rows, size)]


def _run_epoch(
    bank: Bank, schedule: Schedule, features: Scaler, labels: Scaler, training: Array, batches: list[Array]
) -> Array:
    """One pass over the rows. Returns each model's mean training loss, as the steps met it."""
    bank.start_epoch()
    total, rows = np.zeros(bank.models), 0
    for chosen in batches:
        batch = np.asarray(training[np.sort(chosen)], dtype=float)
        mean = bank.step(features.apply(batch[:, 1:]), labels.apply(batch[:, :1])[:, 0], schedule.next())
        total += len(batch) * mean
        rows += len(batch)
    return total / rows


def _scalers(settings: Settings, predictor_type: str, training: Array, hosts: Hosts) -> tuple[Scaler, Scaler]:
    head = np.asarray(training[: max(1, settings.rows_for_scaler // hosts.count)], dtype=float)
    is_regressor = predictor_type == REGRESSOR
    return (
        Scaler.fit(head[:, 1:], unbias=settings.unbias_data, normalize=settings.normalize_data, hosts=hosts),
        Scaler.fit(
            head[:, :1],
            unbias=is_regressor and settings.unbias_label,
            normalize=is_regressor and settings.normalize_label,
            hosts=hosts,
        ),
    )


def _unscaled(
    settings: Settings, bank: Bank, chosen: int, features: Scaler, labels: Scaler, predictor_type: str
) -> LinearModel:
    """Return the chosen model for features and labels in their own units."""
    if predictor_type == MULTICLASS:
        return _unscaled_classes(settings.loss.classes, bank, chosen, features)
    weights = bank.mean_weights[:, chosen] / features.scale * labels.scale[0]
    bias = bank.mean_bias[chosen] * labels.scale[0] + labels.shift[0] - features.shift @ weights
    is_probability = settings.loss.name == LOGISTIC
    return LinearModel(predictor_type, weights, float(bias), 0.5 if is_probability else 0.0, is_probability)


def _unscaled_classes(classes: int, bank: Bank, chosen: int, features: Scaler) -> LinearModel:
    """Return the chosen model of several classes. What all have in common says nothing, and is taken off."""
    own = slice(chosen * classes, (chosen + 1) * classes)
    weights, bias = bank.mean_weights[:, own] / features.scale[:, None], bank.mean_bias[own]
    weights = weights - weights.mean(axis=1, keepdims=True)
    bias = bias - bias.mean() - features.shift @ weights
    return LinearModel(MULTICLASS, weights, bias, is_probability=True)
