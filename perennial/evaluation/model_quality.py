"""How well predictions meet what happened: statistics and suggested constraints in Model Monitor's file formats.

The format is that of the SageMaker Developer Guide, page "Model Quality Metrics"
(model-monitor-model-quality-metrics); docs/formats.md describes every field, and where the guide is silent, what
we chose. A metric that is undefined gets no constraint.

Needs numpy alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy.typing as npt

from perennial.data.column_statistics import FORMAT_VERSION
from perennial.evaluation.metrics import measures_of, metrics_of
from perennial.evaluation.problem_types.measures import Floats, MetricError
from perennial.evaluation.problem_types.quality import CONSTANT, with_deviation
from perennial.model.problem_types import FORECAST_LOSSES, QUANTILE_LOSSES, Direction

FORMAT_LACKS = (
    "mape",
    "logloss",
    *QUANTILE_LOSSES,
    "mean_wql",
    *FORECAST_LOSSES,
)  # metrics of problem types that it has not
_SMALLER_IS_BETTER = {"mae", "mse", "rmse", "false_positive_rate", "false_negative_rate", *FORMAT_LACKS}
GREATER, LESS = "GreaterThanThreshold", "LessThanThreshold"
_CURVES_AND_COUNTS = {"confusion_matrix", "receiver_operating_characteristic_curve", "precision_recall_curve"}


def statistics(
    problem: str,
    labels: npt.ArrayLike,
    predictions: npt.ArrayLike,
    probabilities: npt.ArrayLike | None = None,
    *,
    evaluation_time: datetime,
    seed: int = 0,
    own: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Any]:
    """Return the document statistics.json; its arguments are those of perennial.evaluation.problem_types.quality.

    own  the metrics of the model itself (custom_metrics.OwnMetrics.described), and that of the gate (of_gate)

    Raises MetricInputError: the rows cannot be measured.
    """
    rows, measured = measures_of(problem).quality(problem, labels, predictions, probabilities, seed)
    time = evaluation_time.strftime("%Y-%m-%dT%H:%M:%S.") + f"{evaluation_time.microsecond // 1000:03d}Z"
    return {
        "version": FORMAT_VERSION,
        "dataset": {"item_count": rows, "evaluation_time": time},
        f"{problem}_metrics": {**measured, **(own or {})},
    }


def of_gate(definition: Mapping[str, Any], labels: Floats, scores: Floats) -> dict[str, Any]:
    """Return the metric of the gate where Model Monitor's format has none of that name; labels and scores are checked.

    It is to be watched, whatever it is.
    """
    name = definition["gate"]["metric"]
    metric = None if name not in FORMAT_LACKS else metrics_of(definition["problem"]).get(name)
    try:
        return {} if metric is None else {name: with_deviation(metric.value(labels, scores), [])}
    except MetricError:
        return {}


def constraints(problem: str, statistics: dict[str, Any], own: Mapping[str, Direction] | None = None) -> dict[str, Any]:
    """Return the document constraints.json: each defined metric of `statistics` is the threshold for later ones.

    own  which values of the model's own metrics are better
    """
    smaller = _SMALLER_IS_BETTER.union(name for name, direction in (own or {}).items() if direction == "minimize")
    measured: dict[str, Any] = statistics[f"{problem}_metrics"]
    suggested = {
        name: {"threshold": metric["value"], "comparison_operator": GREATER if name in smaller else LESS}
        for name, metric in measured.items()
        if name not in _CURVES_AND_COUNTS and not name.endswith(CONSTANT) and metric["value"] != "NaN"
    }
    return {"version": FORMAT_VERSION, f"{problem}_constraints": suggested}
