"""How good a model is: metrics, and how sure one can be of them.

labels   `(n_rows,)`, what happened: a number in the target's unit (regression), 0 or 1 (binary classification)
scores   `(n_rows,)`, what the model said: a number in the target's unit, or the probability of class 1

Every metric is a function of sums over rows: `terms` gives what each row adds, `finish` turns the sums into the
value. A bootstrap resample is then a weighted sum, so that an interval over a million rows costs well under a
second, and the rows of two models can be resampled together.

Needs numpy alone; it runs in Lambda functions and in jobs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Problem = Literal["regression", "binary_classification"]
Direction = Literal["minimize", "maximize"]

# A row is of class 1 when its probability is larger than this, as in XGBoost's own metric `error`.
PROBABILITY_THRESHOLD = 0.5

# A bootstrap draws rows one by one up to this many; beyond it rows are drawn in this many random groups.
# The interval's width is then itself uncertain by 1 / sqrt(2 * 10,000) = 0.7 %, however many rows there are.
MAX_RESAMPLED_UNITS = 10_000
_ROWS_AT_ONCE = 1 << 18
_RESAMPLES_AT_ONCE = 50


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
    problem: Problem
    direction: Direction
    terms: Callable[[Floats, Floats], Floats]
    finish: Callable[[Floats], Floats]
    undefined: str = "numbers too large to square"

    def compute(self, labels: ArrayLike, scores: ArrayLike) -> float:
        """Return the metric over all rows.

        Raises MetricInputError: the input cannot be measured. UndefinedMetricError: this metric has no value for it.
        """
        return _value(self, *checked(self.problem, labels, scores))


def checked(problem: str, labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    """Return labels and scores as float arrays that every metric of the problem accepts, or raise MetricInputError."""
    if problem not in ("regression", "binary_classification"):
        raise MetricInputError(f"problem is {problem!r}; expected 'regression' or 'binary_classification'")
    y, s = _vector("labels", labels), _vector("scores", scores)
    if y.size != s.size:
        raise MetricInputError(f"{y.size} labels but {s.size} scores; expected one score for each label, in order")
    if y.size == 0:
        raise MetricInputError("no rows: expected at least one label and one score")
    _require("labels", y, np.isfinite(y), "finite numbers")
    _require("scores", s, np.isfinite(s), "finite numbers")
    if problem == "binary_classification":
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


def bootstrap_interval(
    metric: str, labels: ArrayLike, scores: ArrayLike, *, seed: int, resamples: int = 200, level: float = 0.95
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a metric: where it would lie for other test rows like these.

    The same input and seed give the same interval. See `MAX_RESAMPLED_UNITS` for many rows. AUC is resampled by its
    placement values, the linear part of the statistic (DeLong, DeLong and Clarke-Pearson, Biometrics 44, 1988), which
    differs from resampling the AUC itself by a term of order 1 / n_rows.

    Raises MetricInputError, UndefinedMetricError (also when no resample has a value), UnknownMetricError.
    """
    chosen = metric_named(metric)
    y, s = checked(chosen.problem, labels, scores)
    _value(chosen, y, s)
    values = _resample([chosen.terms(y, s)], [chosen.finish], seed=seed, resamples=resamples)[0]
    return _percentiles(chosen, values, level)


def bootstrap_difference(
    metric: str,
    labels: ArrayLike,
    candidate: ArrayLike,
    champion: ArrayLike,
    *,
    seed: int,
    resamples: int = 200,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the paired bootstrap interval of metric(candidate) - metric(champion), in the metric's unit.

    Each resample takes the same rows for both models, so what is hard for both cancels. An interval without zero
    says that the test rows tell the two models apart.

    Raises as `bootstrap_interval` does.
    """
    chosen = metric_named(metric)
    y, first = checked(chosen.problem, labels, candidate)
    _, second = checked(chosen.problem, labels, champion)
    for scores in (first, second):
        _value(chosen, y, scores)
    terms = [chosen.terms(y, first), chosen.terms(y, second)]
    values = _resample(terms, [chosen.finish, chosen.finish], seed=seed, resamples=resamples)
    return _percentiles(chosen, values[0] - values[1], level)


def metric_named(name: str) -> Metric:
    """Return the metric of that name, or raise UnknownMetricError, which lists the names there are."""
    if name not in METRICS:
        raise UnknownMetricError(f"no metric is called {name!r}; expected one of {', '.join(METRICS)}")
    return METRICS[name]


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


def _resample(
    terms: list[Floats], finishes: list[Callable[[Floats], Floats]], *, seed: int, resamples: int
) -> list[Floats]:
    """Return, for each terms matrix, the metric in every resample `(resamples,)`; the same rows for all matrices."""
    if resamples < 1:
        raise MetricInputError(f"resamples is {resamples}; expected at least 1")
    random = np.random.default_rng(seed)
    units = _grouped(np.concatenate(terms, axis=1), random)
    cuts = np.cumsum([matrix.shape[1] for matrix in terms])[:-1]
    sums = np.concatenate(list(_weighted_sums(units, random, resamples)))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        return [finish(part) for finish, part in zip(finishes, np.split(sums, cuts, axis=1), strict=True)]


def _grouped(rows: Floats, random: np.random.Generator) -> Floats:
    """Return the rows, or when there are too many the sums over MAX_RESAMPLED_UNITS groups of rows taken at random."""
    if len(rows) <= MAX_RESAMPLED_UNITS:
        return rows
    groups = np.zeros((MAX_RESAMPLED_UNITS, rows.shape[1]))
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        chunk = rows[start : start + _ROWS_AT_ONCE]
        group = random.integers(0, MAX_RESAMPLED_UNITS, size=len(chunk))
        for term in range(rows.shape[1]):
            groups[:, term] += np.bincount(group, weights=chunk[:, term], minlength=MAX_RESAMPLED_UNITS)
    return groups


def _weighted_sums(units: Floats, random: np.random.Generator, resamples: int) -> Iterator[Floats]:
    """Yield the sums of units drawn with replacement, `(up to _RESAMPLES_AT_ONCE, n_terms)` at a time."""
    for start in range(0, resamples, _RESAMPLES_AT_ONCE):
        count = min(_RESAMPLES_AT_ONCE, resamples - start)
        drawn = random.integers(0, len(units), size=(count, len(units)))
        weights = np.stack([np.bincount(row, minlength=len(units)) for row in drawn])
        yield weights.astype(np.float64) @ units


def _percentiles(metric: Metric, values: Floats, level: float) -> tuple[float, float]:
    if not 0 < level < 1:
        raise MetricInputError(f"level is {level}; expected a share between 0 and 1, such as 0.95")
    defined = values[np.isfinite(values)]
    if defined.size == 0:
        raise UndefinedMetricError(f"{metric.name} has no value in any resample: {metric.undefined}")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


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


def _by_name(*metrics: Any) -> dict[str, Metric]:
    return {metric.name: metric for metric in metrics}


METRICS: dict[str, Metric] = _by_name(
    Metric("rmse", "regression", "minimize", _squared_error, _root_mean),
    Metric("mae", "regression", "minimize", _absolute_error, _mean),
    Metric("mse", "regression", "minimize", _squared_error, _mean),
    Metric("r2", "regression", "maximize", _explained, _r2, "it needs labels that differ"),
    Metric("mape", "regression", "minimize", _relative_error, _mean, "it needs labels other than zero"),
    Metric("auc", "binary_classification", "maximize", _placements, _auc, "it needs labels of both classes"),
    Metric("accuracy", "binary_classification", "maximize", _outcomes, _accuracy),
    Metric("f1", "binary_classification", "maximize", _outcomes, _f1),
    Metric("precision", "binary_classification", "maximize", _outcomes, _precision),
    Metric("recall", "binary_classification", "maximize", _outcomes, _recall),
    Metric("logloss", "binary_classification", "minimize", _log_loss, _mean),
)
