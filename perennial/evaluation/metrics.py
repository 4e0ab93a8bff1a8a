"""How good a model is: metrics, and how sure one can be of them.

labels   `(n_rows,)`, what happened, and
scores   `(n_rows,)`, the model's answers: numbers, of which perennial.evaluation.problem_types says what they mean

Every metric is a function of sums over rows: `terms` gives what each row adds, `finish` turns the sums into the
value. What a metric would be without one row is then a subtraction, so that an interval over a million rows costs well
under a second, and the rows of two models can be left out together.

Needs numpy alone; it runs in Lambda functions and in jobs.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

import numpy as np
import numpy.typing as npt

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
class Metric:
    """One number that says how good a model is.

    terms    (labels, scores) -> `(n_rows, n_terms)`: what each row adds
    finish   sums of terms `(..., n_terms)` -> values `(...)`; NaN where the metric is not defined
    undefined  when the value does not exist, in words for the person who meets it
    """

    name: str
    problem: str
    direction: Direction
    terms: Terms
    finish: Finish
    undefined: str

    def compute(self, labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
        """Return the metric over all rows.

        Raises MetricInputError: the input cannot be measured. UndefinedMetricError: this metric has no value for it.
        """
        return _value(self, *checked(self.problem, labels, scores))


def measures_of(problem: str) -> Measures:
    """Return how a problem type is measured. Raises MetricInputError: there is no such problem type."""
    if problem not in PROBLEM_TYPES:
        raise MetricInputError(f"problem is {problem!r}; expected {' or '.join(map(repr, PROBLEM_TYPES))}")
    measures: Measures = import_module(f"perennial.evaluation.problem_types.{problem}").MEASURES
    return measures


def metrics_of(problem: str) -> dict[str, Metric]:
    """Return the metrics of a problem type by name."""
    computed = measures_of(problem).metrics
    return {
        name: Metric(name, problem, score.direction, *computed[name])
        for name, score in PROBLEM_TYPES[problem].metrics.items()
    }


def metric_named(problem: str, name: str) -> Metric:
    """Return the metric of that name, or raise UnknownMetricError, which lists the names there are."""
    known = metrics_of(problem)
    if name not in known:
        raise UnknownMetricError(f"no metric of {problem} is called {name!r}; expected one of {', '.join(known)}")
    return known[name]


def checked(problem: str, labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return labels and scores as float arrays that every metric of the problem accepts, or raise MetricInputError."""
    measures = measures_of(problem)
    y, s = _vector("labels", labels), _vector("scores", scores)
    if y.size != s.size:
        raise MetricInputError(f"{y.size} labels but {s.size} scores; expected one score for each label, in order")
    if y.size == 0:
        raise MetricInputError("no rows: expected at least one label and one score")
    require("labels", y, np.isfinite(y), "finite numbers")
    require("scores", s, np.isfinite(s), "finite numbers")
    measures.check(y, s)
    return y, s


def evaluate(problem: str, labels: npt.ArrayLike, scores: npt.ArrayLike) -> dict[str, float]:
    """Return every metric of the problem by name; NaN for a metric that these rows leave undefined.

    Raises MetricInputError: the input cannot be measured.
    """
    y, s = checked(problem, labels, scores)
    values: dict[str, float] = {}
    for name, metric in metrics_of(problem).items():
        try:
            values[name] = _value(metric, y, s)
        except UndefinedMetricError:
            values[name] = float("nan")
    return values


def interval(metric: Metric, labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[float, float]:
    """Return the 95 % interval of a metric: where it would lie for other test rows like these.

    It is the metric and 1.96 standard errors of the jackknife (Efron and Stein, Annals of Statistics 9, 1981) on both
    sides, at most to the metric's best value. Nothing is drawn: the same rows give the same interval in any order. AUC
    is measured by its placement values, the linear part of the statistic (DeLong, DeLong and Clarke-Pearson, Biometrics
    44, 1988).

    Raises MetricInputError, UndefinedMetricError (also when it has no value without one of the rows).
    """
    y, s = checked(metric.problem, labels, scores)
    low, high = _around(metric, _value(metric, y, s), _without_each(metric, y, s))
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
    value = _value(metric, y, first) - _value(metric, y, second)
    return _around(metric, value, _without_each(metric, y, first) - _without_each(metric, y, second))


def can_be_measured(problem: str, scores: npt.ArrayLike) -> npt.NDArray[np.bool_]:
    """Return which scores `(n_rows,)` metrics can be computed of: finite and not too large; probabilities, 0 to 1."""
    return measures_of(problem).measurable(np.asarray(scores, dtype=np.float64))


def _vector(what: str, values: npt.ArrayLike) -> Floats:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise MetricInputError(f"{what} are not all numbers: {error}") from error
    if array.ndim != 1:
        raise MetricInputError(f"{what} have the shape {array.shape}; expected one number a row: (n_rows,)")
    return array


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
