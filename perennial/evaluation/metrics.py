"""How good a model is: metrics, and how sure one can be of them.

labels   `(n_rows,)`, what happened, and
scores   `(n_rows,)`, the model's answers: numbers, of which perennial.evaluation.problem_types says what they mean; of
         a multiclass classification `(n_rows, n_classes)`

Every metric of a problem type is a function of sums over rows: `terms` gives what each row adds, `finish` turns the
sums into the value. What a metric would be without one row is then a subtraction, so that an interval over a million
rows costs well under a second, and the rows of two models can be left out together. Those that a model brings itself
are functions of any kind (perennial.evaluation.custom_metrics).

Needs numpy alone; it runs in Lambda functions and in jobs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module

import numpy as np
import numpy.typing as npt

from perennial.evaluation import resampling
from perennial.evaluation.problem_types.measures import (
    Finish,
    Floats,
    Measures,
    MetricError,
    MetricInputError,
    Terms,
    require,
)
from perennial.model.problem_types import PROBLEM_TYPES, Direction

# Standard deviations on both sides that hold 95 % of a normal distribution.
DEVIATIONS = 1.959964


class UndefinedMetricError(MetricError):
    """The input is sound, but this metric has no value for it: AUC of one class, R2 of constant labels."""


class UnknownMetricError(MetricError):
    """There is no metric of that name for that problem."""


@dataclass(frozen=True)
class Metric(ABC):
    """One number that says how good a model is.

    Labels and scores are those that `checked` returns. Each method raises MetricError where there is no value.
    """

    name: str
    problem: str
    direction: Direction

    def compute(self, labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
        """Return the metric over all rows.

        Raises MetricInputError: the input cannot be measured. UndefinedMetricError: this metric has no value for it.
        """
        return self.value(*checked(self.problem, labels, scores))

    @property
    def is_bounded(self) -> bool:
        """Whether its best value is 0 where smaller is better, and 1 where larger is."""
        return True

    @abstractmethod
    def value(self, labels: Floats, scores: Floats) -> float:
        """Return the metric over all rows, a finite number."""

    @abstractmethod
    def without_each(self, labels: Floats, scores: Floats) -> Floats:
        """Return the metric without one row, or one block of rows, for each of them; NaN where it has no value."""

    @abstractmethod
    def resampled(self, labels: Floats, scores: Floats) -> Floats:
        """Return the metric of the bootstrap's draws of the rows, of those that leave it a value."""


@dataclass(frozen=True)
class SumMetric(Metric):
    """A metric of sums over rows.

    terms    (labels, scores) -> `(n_rows, n_terms)`: what each row adds
    finish   sums of terms `(..., n_terms)` -> values `(...)`; NaN where the metric is not defined
    undefined  when the value does not exist, in words for the person who meets it
    """

    terms: Terms
    finish: Finish
    undefined: str

    def value(self, labels: Floats, scores: Floats) -> float:
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            value = float(self.finish(self.terms(labels, scores).sum(axis=0)))
        if not np.isfinite(value):
            raise UndefinedMetricError(f"{self.name} has no value for these {labels.size} rows: {self.undefined}")
        return value

    def without_each(self, labels: Floats, scores: Floats) -> Floats:
        terms = self._of_groups(labels, scores)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            without = self.finish(terms.sum(axis=0) - terms)
        if not np.isfinite(without).all():
            text = f"{self.name} of {labels.size} rows has no value without one of them: {self.undefined}"
            raise UndefinedMetricError(text)
        return without

    def _of_groups(self, labels: Floats, scores: Floats) -> Floats:
        """Return the terms of the rows, or the sums of those that err alike."""
        terms, groups = self.terms(labels, scores), measures_of(self.problem).groups
        if groups is None:
            return terms
        _, places = np.unique(groups(scores), return_inverse=True)
        return np.column_stack([np.bincount(places, weights=column) for column in terms.T])

    def resampled(self, labels: Floats, scores: Floats) -> Floats:
        terms = self._of_groups(labels, scores)
        starts = resampling.starts(len(terms))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            drawn = self.finish(resampling.draws(starts.size) @ np.add.reduceat(terms, starts, axis=0))
        return np.asarray(drawn[np.isfinite(drawn)])


def measures_of(problem: str) -> Measures:
    """Return how a problem type is measured. Raises MetricInputError: there is no such problem type."""
    if problem not in PROBLEM_TYPES:
        raise MetricInputError(f"problem is {problem!r}; expected {' or '.join(map(repr, PROBLEM_TYPES))}")
    measures: Measures = import_module(f"perennial.evaluation.problem_types.{problem}").MEASURES
    return measures


def metrics_of(problem: str) -> Mapping[str, Metric]:
    """Return the metrics of a problem type by name."""
    computed = measures_of(problem).metrics
    return {
        name: SumMetric(name, problem, score.direction, *computed[name])
        for name, score in PROBLEM_TYPES[problem].metrics.items()
    }


def metric_named(problem: str, name: str, own: Mapping[str, Metric] | None = None) -> Metric:
    """Return the metric of that name, or raise UnknownMetricError, which lists the names there are.

    own  those that the model brings itself, by name
    """
    known = {**metrics_of(problem), **(own or {})}
    if name not in known:
        raise UnknownMetricError(f"no metric of {problem} is called {name!r}; expected one of {', '.join(known)}")
    return known[name]


def checked(problem: str, labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return labels and scores as float arrays that every metric of the problem accepts, or raise MetricInputError."""
    measures = measures_of(problem)
    y, s = _array("labels", labels, 1), _array("scores", scores, measures.dimensions)
    if len(y) != len(s):
        raise MetricInputError(f"{len(y)} labels but {len(s)} scores; expected one score for each label, in order")
    if y.size == 0:
        raise MetricInputError("no rows: expected at least one label and one score")
    require("labels", y, np.isfinite(y), "finite numbers")
    require("scores", s, finite(s), "finite numbers")
    measures.check(y, s)
    return y, s


def of_constant(metric: Metric, labels: npt.ArrayLike, scores: npt.ArrayLike) -> float | None:
    """Return the metric of the best constant answer to rows; None where the problem type knows none, or no value.

    Raises MetricInputError: labels and scores cannot be measured.
    """
    constant = measures_of(metric.problem).constant
    y, s = checked(metric.problem, labels, scores)
    try:
        return None if constant is None else metric.compute(y, constant(y, s))
    except MetricError:
        return None


def evaluate(problem: str, labels: npt.ArrayLike, scores: npt.ArrayLike) -> dict[str, float]:
    """Return every metric of the problem by name; NaN for a metric that these rows leave undefined.

    Raises MetricInputError: the input cannot be measured.
    """
    y, s = checked(problem, labels, scores)
    values: dict[str, float] = {}
    for name, metric in metrics_of(problem).items():
        try:
            values[name] = metric.value(y, s)
        except UndefinedMetricError:
            values[name] = float("nan")
    return values


def interval(metric: Metric, labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[float, float]:
    """Return the 95 % interval of a metric: where it would lie for other test rows like these.

    It is the metric and 1.96 standard errors of the jackknife (Efron and Stein, Annals of Statistics 9, 1981) on both
    sides, at most to the metric's best value, if it has one. Nothing is drawn: the same rows give the same interval,
    those of a problem type's metrics in any order. AUC is measured by its placement values, the linear part of the
    statistic (DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988).

    Raises MetricInputError, UndefinedMetricError (also when it has no value without one of the rows).
    """
    y, s = checked(metric.problem, labels, scores)
    low, high = _around(metric, metric.value(y, s), metric.without_each(y, s))
    if not metric.is_bounded:
        return low, high
    return (max(0.0, low), high) if metric.direction == "minimize" else (low, min(1.0, high))


def interval_of_difference(
    metric: Metric, labels: npt.ArrayLike, candidate: npt.ArrayLike, champion: npt.ArrayLike
) -> tuple[float, float]:
    """Return the 95 % interval of metric(candidate) - metric(champion), in the metric's unit.

    It is that of `interval`, paired: a row is left out for both models, so what is hard for both cancels. An interval
    without zero says that the test rows tell the two models apart.

    Raises as `interval` does.
    """
    y, first = checked(metric.problem, labels, candidate)
    _, second = checked(metric.problem, labels, champion)
    value = metric.value(y, first) - metric.value(y, second)
    return _around(metric, value, metric.without_each(y, first) - metric.without_each(y, second))


def can_be_measured(problem: str, scores: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return which rows `(n_rows,)` metrics can be computed of: finite scores, not too large; probabilities, 0 to 1.

    None where they are the scores of another problem type: of another shape.
    """
    measures, s = measures_of(problem), np.asarray(scores, dtype=np.float64)
    return measures.measurable(s) if s.ndim == measures.dimensions else np.zeros(len(s), np.bool_)


def finite(scores: Floats) -> npt.NDArray[np.bool_]:
    """Return of which rows `(n_rows,)` all scores are finite."""
    are_finite = np.isfinite(scores)
    return are_finite if scores.ndim == 1 else np.asarray(are_finite.all(axis=1), np.bool_)


def _array(what: str, values: npt.ArrayLike, dimensions: int) -> Floats:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise MetricInputError(f"{what} are not all numbers: {error}") from error
    if array.ndim != dimensions:
        expected = "one number a row: (n_rows,)" if dimensions == 1 else "one for each class: (n_rows, n_classes)"
        raise MetricInputError(f"{what} have the shape {array.shape}; expected {expected}")
    return array


def _around(metric: Metric, value: float, without_each: Floats) -> tuple[float, float]:
    left_out = without_each.size
    if left_out < 2:
        raise UndefinedMetricError(f"{metric.name} of {left_out} rows has no interval: it takes two of them at least")
    error = DEVIATIONS * float(np.sqrt((left_out - 1) * without_each.var()))
    return value - error, value + error
