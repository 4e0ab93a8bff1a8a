"""How good a model is: metrics, and how sure one can be of them.

labels   `(n_rows,)`, what happened: a number in the target's unit (regression), 0 or 1 (binary classification)
scores   `(n_rows,)`, what the model said: a number in the target's unit, or the probability of class 1

Every metric is a function of sums over rows: `terms` gives what each row adds, `finish` turns the sums into the
value. What a metric would be without one row is then a subtraction, so that an interval over a million rows costs well
under a second, and the rows of two models can be left out together.

Needs numpy alone; it runs in Lambda functions and in jobs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from perennial.model.problem_types import PROBLEM_TYPES, Direction

Floats = NDArray[np.float64]

# A row is of class 1 when its probability is larger than this, as in XGBoost's own metric `error`.
PROBABILITY_THRESHOLD = 0.5

# The square of a larger score is no number any more, or the sum of such squares is not.
LARGEST_SCORE = 1e150

# Standard deviations on both sides that hold 95 % of a normal distribution.
DEVIATIONS = 1.959964
_TOO_LARGE = "numbers too large to square"


class MetricError(ValueError):
    """The base of what this module raises."""


class MetricInputError(MetricError):
    """Labels, scores or settings cannot be measured at all: empty, of different lengths, not finite, out of range."""


class UndefinedMetricError(MetricError):
    """The input is sound, but this metric has no value for it: AUC of one class, R2 of constant labels."""


class UnknownMetricError(MetricError):
    """There is no metric of that name (for that problem)."""


@dataclass(frozen=True)
class Metric:
    """One number that says how good a model is.

    terms    (labels, scores) -> `(n_rows, n_terms)`: what each row adds
    finish   sums of terms `(..., n_terms)` -> values `(...)`; NaN where the metric is not defined
    undefined  when the value does not exist, in words for the person who meets it
    """

    name: str
    problem: str
    direction: Direction
    terms: Callable[[Floats, Floats], Floats]
    finish: Callable[[Floats], Floats]
    undefined: str

    def compute(self, labels: ArrayLike, scores: ArrayLike) -> float:
        """Return the metric over all rows.

        Raises MetricInputError: the input cannot be measured. UndefinedMetricError: this metric has no value for it.
        """
        return _value(self, *checked(self.problem, labels, scores))


def checked(problem: str, labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    """Return labels and scores as float arrays that every metric of the problem accepts, or raise MetricInputError."""
    if problem not in PROBLEM_TYPES:
        raise MetricInputError(f"problem is {problem!r}; expected {' or '.join(map(repr, PROBLEM_TYPES))}")
    y, s = _vector("labels", labels), _vector("scores", scores)
    if y.size != s.size:
        raise MetricInputError(f"{y.size} labels but {s.size} scores; expected one score for each label, in order")
    if y.size == 0:
        raise MetricInputError("no rows: expected at least one label and one score")
    _require("labels", y, np.isfinite(y), "finite numbers")
    _require("scores", s, np.isfinite(s), "finite numbers")
    if PROBLEM_TYPES[problem].target_is_binary:
        _require("labels", y, (y == 0) | (y == 1), "0 or 1")
        _require("scores", s, (s >= 0) & (s <= 1), "probabilities of class 1, from 0 to 1")
    return y, s


def evaluate(problem: str, labels: ArrayLike, scores: ArrayLike) -> dict[str, float]:
    """Return every metric of the problem by name; NaN for a metric that these rows leave undefined.

    Raises MetricInputError: the input cannot be measured.
    """
    y, s = checked(problem, labels, scores)
    values: dict[str, float] = {}
    for metric in METRICS.values():
        if metric.problem == problem:
            try:
                values[metric.name] = _value(metric, y, s)
            except UndefinedMetricError:
                values[metric.name] = float("nan")
    return values


def interval(metric: str, labels: ArrayLike, scores: ArrayLike) -> tuple[float, float]:
    """Return the 95 % interval of a metric: where it would lie for other test rows like these.

    It is the metric and 1.96 standard errors of the jackknife (Efron and Stein, Annals of Statistics 9, 1981) on both
    sides, at most to the metric's best value. Nothing is drawn: the same rows give the same interval in any order. AUC
    is measured by its placement values, the linear part of the statistic (DeLong, DeLong and Clarke-Pearson, Biometrics
    44, 1988).

    Raises MetricInputError, UndefinedMetricError (also when it has no value without one of the rows),
    UnknownMetricError.
    """
    chosen = metric_named(metric)
    y, s = checked(chosen.problem, labels, scores)
    value = _value(chosen, y, s)
    low, high = _around(chosen, value, _without_each(chosen, y, s))
    return (max(0.0, low), high) if chosen.direction == "minimize" else (low, min(1.0, high))


def interval_of_difference(
    metric: str, labels: ArrayLike, candidate: ArrayLike, champion: ArrayLike
) -> tuple[float, float]:
    """Return the 95 % interval of metric(candidate) - metric(champion), in the metric's unit.

    It is that of `interval`, paired: a row is left out for both models, so what is hard for both cancels. An interval
    without zero says that the test rows tell the two models apart.

    Raises as `interval` does.
    """
    chosen = metric_named(metric)
    y, first = checked(chosen.problem, labels, candidate)
    _, second = checked(chosen.problem, labels, champion)
    value = _value(chosen, y, first) - _value(chosen, y, second)
    return _around(chosen, value, _without_each(chosen, y, first) - _without_each(chosen, y, second))


def metric_named(name: str) -> Metric:
    """Return the metric of that name, or raise UnknownMetricError, which lists the names there are."""
    if name not in METRICS:
        raise UnknownMetricError(f"no metric is called {name!r}; expected one of {', '.join(METRICS)}")
    return METRICS[name]


def can_be_measured(metric: str, scores: ArrayLike) -> NDArray[np.bool_]:
    """Return which scores `(n_rows,)` a metric can be computed of: finite and not too large; probabilities, 0 to 1."""
    s = np.asarray(scores, dtype=np.float64)
    if PROBLEM_TYPES[metric_named(metric).problem].target_is_binary:
        return (s >= 0) & (s <= 1)
    return np.abs(s) <= LARGEST_SCORE


def predicted_labels(scores: ArrayLike) -> Floats:
    """Return the class that each probability stands for: 1.0 where it is larger than PROBABILITY_THRESHOLD."""
    return (np.asarray(scores, dtype=np.float64) > PROBABILITY_THRESHOLD).astype(np.float64)


def _vector(what: str, values: ArrayLike) -> Floats:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise MetricInputError(f"{what} are not all numbers: {error}") from error
    if array.ndim != 1:
        raise MetricInputError(f"{what} have the shape {array.shape}; expected one number a row: (n_rows,)")
    return array


def _require(what: str, values: Floats, good: NDArray[np.bool_], expected: str) -> None:
    bad = np.flatnonzero(~good)
    if bad.size:
        raise MetricInputError(
            f"{bad.size} of {values.size} {what} are not {expected}; the first is {values[bad[0]]} in row {bad[0]}"
        )


def _value(metric: Metric, labels: Floats, scores: Floats) -> float:
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        value = float(metric.finish(metric.terms(labels, scores).sum(axis=0)))
    if not np.isfinite(value):
        raise UndefinedMetricError(f"{metric.name} has no value for these {labels.size} rows: {metric.undefined}")
    return value


def _without_each(metric: Metric, labels: Floats, scores: Floats) -> Floats:
    """Return the metric of all rows but one `(n_rows,)`, for each of them."""
    terms = metric.terms(labels, scores)
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return metric.finish(terms.sum(axis=0) - terms)


def _around(metric: Metric, value: float, without_each: Floats) -> tuple[float, float]:
    rows = without_each.size
    if rows < 2 or not np.isfinite(without_each).all():
        raise UndefinedMetricError(f"{metric.name} of {rows} rows has no value without one of them: {metric.undefined}")
    error = DEVIATIONS * float(np.sqrt((rows - 1) * without_each.var()))
    return value - error, value + error


# Terms: what a row adds. The first column counts rows unless said otherwise.


def _squared_error(labels: Floats, scores: Floats) -> Floats:
    return np.column_stack([np.ones_like(labels), (scores - labels) ** 2])


def _absolute_error(labels: Floats, scores: Floats) -> Floats:
    return np.column_stack([np.ones_like(labels), np.abs(scores - labels)])


def _relative_error(labels: Floats, scores: Floats) -> Floats:
    return np.column_stack([np.ones_like(labels), np.abs(scores - labels) / np.abs(labels)])


def _explained(labels: Floats, scores: Floats) -> Floats:
    """Columns: rows, centred label, its square, squared error. Centred, so that large labels do not cancel."""
    centre = labels.mean() if labels.min() < labels.max() else labels[0]
    centred = labels - centre
    return np.column_stack([np.ones_like(labels), centred, centred**2, (scores - labels) ** 2])


def _log_loss(labels: Floats, scores: Floats) -> Floats:
    """Probabilities are kept from 0 and 1 by the smallest float64 step, as scikit-learn does."""
    step = np.finfo(np.float64).eps
    likely = np.clip(np.where(labels == 1, scores, 1 - scores), step, 1 - step)
    return np.column_stack([np.ones_like(labels), -np.log(likely)])


def _outcomes(labels: Floats, scores: Floats) -> Floats:
    """Columns: true positives, false positives, false negatives, true negatives."""
    actual, predicted = labels == 1, predicted_labels(scores) == 1
    cells = [actual & predicted, ~actual & predicted, actual & ~predicted, ~actual & ~predicted]
    return np.column_stack(cells).astype(np.float64)


def _placements(labels: Floats, scores: Floats) -> Floats:
    """Columns: positives, negatives, and the placement value of the row among the other class, in its class's column.

    The placement value of a positive is the share of negatives that score lower, a tie counting half; of a negative,
    the share of positives that score higher. The mean of either is the AUC; half of it is taken off each value so
    that the two means add up to it.
    """
    positive = labels == 1
    ups, downs = np.sort(scores[positive]), np.sort(scores[~positive])
    terms = np.zeros((labels.size, 4))
    terms[:, 0], terms[:, 1] = positive, ~positive
    if ups.size and downs.size:
        above = _share_below(downs, scores[positive])
        half = above.mean() / 2
        terms[positive, 2] = above - half
        terms[~positive, 3] = 1 - _share_below(ups, scores[~positive]) - half
    return terms


def _share_below(ordered: Floats, values: Floats) -> Floats:
    ranks = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    return np.asarray(ranks / (2 * ordered.size), dtype=np.float64)


# Finish: from sums of terms to the value.


def _mean(sums: Floats) -> Floats:
    return np.asarray(sums[..., 1] / sums[..., 0])


def _root_mean(sums: Floats) -> Floats:
    return np.asarray(np.sqrt(_mean(sums)))


def _r2(sums: Floats) -> Floats:
    """Labels whose variation is lost in rounding count as constant."""
    total = sums[..., 2] - sums[..., 1] ** 2 / sums[..., 0]
    return np.where(total > 1e-12 * sums[..., 2], 1 - sums[..., 3] / total, np.nan)


def _auc(sums: Floats) -> Floats:
    return np.clip(sums[..., 2] / sums[..., 0] + sums[..., 3] / sums[..., 1], 0, 1)


def _accuracy(sums: Floats) -> Floats:
    return np.asarray((sums[..., 0] + sums[..., 3]) / sums.sum(axis=-1))


def _or_zero(numerator: Floats, denominator: Floats) -> Floats:
    """Nothing predicted, or nothing to find, counts as 0, as scikit-learn does by default."""
    return np.where(denominator > 0, numerator / np.where(denominator > 0, denominator, 1), 0.0)


def _precision(sums: Floats) -> Floats:
    return _or_zero(sums[..., 0], sums[..., 0] + sums[..., 1])


def _recall(sums: Floats) -> Floats:
    return _or_zero(sums[..., 0], sums[..., 0] + sums[..., 2])


def _f1(sums: Floats) -> Floats:
    return _or_zero(2 * sums[..., 0], 2 * sums[..., 0] + sums[..., 1] + sums[..., 2])


# By name: terms, finish, and when there is no value.
_COMPUTED: dict[str, tuple[Callable[[Floats, Floats], Floats], Callable[[Floats], Floats], str]] = {
    "rmse": (_squared_error, _root_mean, _TOO_LARGE),
    "mae": (_absolute_error, _mean, _TOO_LARGE),
    "mse": (_squared_error, _mean, _TOO_LARGE),
    "r2": (_explained, _r2, "it needs labels that differ"),
    "mape": (_relative_error, _mean, "it needs labels other than zero"),
    "auc": (_placements, _auc, "it needs labels of both classes"),
    "accuracy": (_outcomes, _accuracy, _TOO_LARGE),
    "f1": (_outcomes, _f1, _TOO_LARGE),
    "precision": (_outcomes, _precision, _TOO_LARGE),
    "recall": (_outcomes, _recall, _TOO_LARGE),
    "logloss": (_log_loss, _mean, _TOO_LARGE),
}
METRICS: dict[str, Metric] = {
    name: Metric(name, problem, score.direction, *_COMPUTED[name])
    for problem, kind in PROBLEM_TYPES.items()
    for name, score in kind.metrics.items()
}
