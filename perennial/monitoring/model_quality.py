"""Whether the model is still as good as its run has measured it, on the labelled requests of a window.

Each metric that both the problem type, or the model itself, and the baseline's constraints have is held against the
constraint. Chance is how much better the model looks in draws of the window's rows (the percentiles of the bootstrap;
Efron, 1979): one large error makes a metric much worse in some draws, which must not hide what the other rows say. It
is widened by sqrt(1 + rows of the window / rows of the baseline), because the baseline's rows are a sample as well. A
metric is worse when what it has lost is more than chance at the level asked, and more than `max_drop` of what it was
(of what was left to 1, where more is better and 1 is best). The metric that the gate judges by decides the verdict; the
others are reported. Rows are drawn in blocks of neighbours (perennial.evaluation.resampling).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import numpy as np

from perennial.data.column_statistics import Floats
from perennial.evaluation import metrics, model_quality
from perennial.evaluation.custom_metrics import CustomMetric, CustomMetricError, OwnMetrics
from perennial.evaluation.metrics import Metric, UndefinedMetricError
from perennial.model.problem_types import classes_of
from perennial.monitoring.findings import MonitorError, WindowFinding
from perennial.words import between, number

PERFECT = 1.0
INTERVAL = (2.5, 97.5)  # percentiles
NO_LIMIT = "the run whose model answers could not measure it, so that there is nothing to compare it with"


@dataclass(frozen=True)
class ModelLimits:
    """What counts as worse; see `monitoring.model_quality` of model.yaml."""

    max_drop: float
    false_alarms: float


@dataclass(frozen=True)
class MetricResult:
    """A metric of a window beside its constraint. `lost` is how much worse, in its unit, and the least that is sure.

    is_own      it is one that the model brings itself
    not_worse   why it is not worse, for people, where its whole interval is on the wrong side of the limit
    """

    name: str
    value: float
    interval: tuple[float, float]
    limit: float
    operator: str
    lost: float
    lost_at_least: float
    worse: bool
    is_own: bool = False
    not_worse: str = ""


@dataclass(frozen=True)
class ModelQuality:
    """All metrics, what is found, and the document statistics.json; `left_out` counts scores that are no numbers.

    failed  why metrics of the model itself have no value, by name
    """

    metrics: Sequence[MetricResult]
    findings: Sequence[WindowFinding]
    statistics: Mapping[str, Any]
    left_out: int
    failed: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        measured = [asdict(one) for one in self.metrics]
        return {"left_out": self.left_out, "metrics": measured, "failed": dict(self.failed)}


def judge(
    definition: Mapping[str, Any],
    baseline: Mapping[str, Any],
    constraints: Mapping[str, Any],
    labels: Floats,
    scores: Floats,
    limits: ModelLimits,
    time: datetime,
    own: OwnMetrics,
    rows_are: str = "labelled records",
) -> ModelQuality:
    """Measure a window and compare it with the documents of its baseline.

    rows_are  what the rows are, for people

    Raises MonitorError: the baseline is of another problem, MetricError: the labels cannot be measured.
    """
    problem, decisive = definition["problem"], definition["gate"]["metric"]
    known = constraints.get(f"{problem}_constraints")
    if known is None:
        raise MonitorError(f"the baseline has no {problem}_constraints; expected that of the model that answered")
    rows = baseline["dataset"]["item_count"]
    sound = metrics.can_be_measured(problem, scores)
    left_out, labels, scores = int((~sound).sum()), labels[sound], scores[sound]
    labels, scores = metrics.checked(problem, labels, scores)
    columns = metrics.measures_of(problem).columns(labels, scores, classes_of(definition))
    statistics = model_quality.statistics(
        problem, columns["label"], columns["prediction"], columns.get("probability"), evaluation_time=time,
        own={**model_quality.of_gate(definition, labels, scores), **own.described(labels, scores)},
    )  # fmt: skip
    results, failed = [], dict(own.failed)
    for name, metric in {**metrics.metrics_of(problem), **own.by_name}.items():
        try:
            if name in known and (result := _compared(metric, known[name], rows, labels, scores, limits)) is not None:
                results.append(result)
            elif name in own.directions:
                failed.setdefault(name, NO_LIMIT)
        except CustomMetricError as error:
            failed.setdefault(name, str(error))
    findings = [_finding(one, f"{len(labels):,} {rows_are}", decisive) for one in results if one.worse]
    return ModelQuality(results, findings, statistics, left_out, failed)


def _compared(
    metric: Metric, constraint: Mapping[str, Any], rows: int, labels: Floats, scores: Floats, limits: ModelLimits
) -> MetricResult | None:
    """Return the metric beside its constraint; None where these rows leave it undefined."""
    try:
        value = metric.compute(labels, scores)
    except UndefinedMetricError:
        return None
    drawn = metric.resampled(labels, scores)
    limit = float(constraint["threshold"])
    sign = 1.0 if metric.direction == "minimize" else -1.0
    lost = sign * (value - limit)
    chance = sign * (value - drawn) * np.sqrt(1 + labels.size / rows)
    sure = lost - float(np.quantile(chance, 1 - limits.false_alarms))
    ends_at_one = metric.is_bounded and metric.direction == "maximize"
    reference = max(0.0, PERFECT - limit) if ends_at_one else abs(limit)
    low, high = (float(bound) for bound in np.percentile(drawn, INTERVAL))
    is_sure, matters = sure > 0, lost > limits.max_drop * reference
    is_beyond = (low if sign > 0 else -high) > sign * limit
    return MetricResult(
        metric.name, value, (low, high), limit, constraint["comparison_operator"], lost, sure,
        worse=is_sure and matters, is_own=isinstance(metric, CustomMetric),
        not_worse=_not_worse(labels.size, rows, limits, is_sure, matters) if is_beyond else "",
    )  # fmt: skip


def _not_worse(window: int, baseline: int, limits: ModelLimits, is_sure: bool, matters: bool) -> str:
    if not is_sure:
        return f"no more than chance makes of {window:,} rows beside the {baseline:,} of the test set"
    return "" if matters else f"less than max_drop, {100 * limits.max_drop:g} %"


def _finding(one: MetricResult, rows: str, decisive: str) -> WindowFinding:
    text = (
        f"Metric {one.name} with {number(one.value)} was {one.operator} {number(one.limit)} "
        f"(95 % interval {between(one.interval)}, {rows})"
    )
    return WindowFinding("drift" if one.name == decisive else "note", one.operator, one.name, text, "metric_name")
