"""What the training jobs of a tuning job have come to: its counters, its best one, and what early stopping does.

Sources: API Reference, TrainingJobStatusCounters, ObjectiveStatusCounters, HyperParameterTrainingJobSummary,
HyperParameterTuningJobCompletionDetails; Developer Guide, "Stop Training Jobs Early".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from localcloud.sagemaker.api.context import now
from localcloud.sagemaker.jobs.family import TERMINAL
from localcloud.sagemaker.platform.store import Document

RETRYABLE = "InternalServerError"  # TrainingJobStatusCounters, RetryableError: "an internal service error occurred"


def value_of(trial: Document, metric: str) -> float | None:
    """Return the final value of a metric of a training job's description; None: it has reported none."""
    return next((item["Value"] for item in trial.get("FinalMetricDataList", []) if item["MetricName"] == metric), None)


def summary(trial: Document, objective: Document) -> Document:
    """Return a training job as HyperParameterTrainingJobSummary has it, by its description and the job's objective."""
    value = value_of(trial, objective["MetricName"]) if trial["TrainingJobStatus"] in TERMINAL else None
    final = {"Type": objective["Type"], "MetricName": objective["MetricName"], "Value": value}
    pending = trial["TrainingJobStatus"] not in TERMINAL
    return {
        **trial,
        **({} if value is None else {"FinalHyperParameterTuningJobObjectiveMetric": final}),
        "ObjectiveStatus": "Pending" if pending else "Failed" if value is None else "Succeeded",
    }


def counters(trials: Sequence[Document]) -> Document:
    """Return the counters of a tuning job's summaries, and how many trials in a row have brought nothing better."""
    statuses = [_status(trial) for trial in trials]
    objectives = [trial["ObjectiveStatus"] for trial in trials]
    names = ("Completed", "InProgress", "RetryableError", "NonRetryableError", "Stopped")
    return {
        "TrainingJobStatusCounters": {name: statuses.count(name) for name in names},
        "ObjectiveStatusCounters": {name: objectives.count(name) for name in ("Succeeded", "Pending", "Failed")},
        "TuningJobCompletionDetails": {"NumberOfTrainingJobsObjectiveNotImproving": _not_improving(trials)},
    }


def _status(trial: Document) -> str:
    status = str(trial["TrainingJobStatus"])
    if status == "Failed":
        return "RetryableError" if trial.get("FailureReason", "").startswith(RETRYABLE) else "NonRetryableError"
    return status if status in TERMINAL else "InProgress"


def best(trials: Iterable[Document]) -> Document | None:
    """Return the completed summary with the best objective; of equal ones the earlier."""
    complete = [
        trial
        for trial in trials
        if trial["TrainingJobStatus"] == "Completed" and "FinalHyperParameterTuningJobObjectiveMetric" in trial
    ]
    return min(complete, key=_cost, default=None)


def _cost(trial: Document) -> float:
    final = trial["FinalHyperParameterTuningJobObjectiveMetric"]
    return float(-final["Value"] if final["Type"] == "Maximize" else final["Value"])


def _not_improving(trials: Iterable[Document]) -> int:
    ended = sorted(
        (trial for trial in trials if trial["TrainingJobStatus"] in TERMINAL),
        key=lambda trial: float(trial.get("TrainingEndTime", now())),
    )
    count, least = 0, float("inf")
    for trial in ended:
        if "FinalHyperParameterTuningJobObjectiveMetric" in trial and _cost(trial) < least:
            count, least = 0, _cost(trial)
        else:
            count += 1
    return count


class Curve:
    """The objective of a trial after each epoch, as the averages up to there."""

    def __init__(self) -> None:
        self._averages: list[float] = []
        self._sum = 0.0

    def add(self, value: float) -> int:
        """Add the value of the next epoch, and return the number of epochs."""
        self._sum += value
        self._averages.append(self._sum / (len(self._averages) + 1))
        return len(self._averages)

    def average(self, epochs: int) -> float:
        """Return the average of so many epochs, or of as many as there were."""
        return self._averages[min(epochs, len(self._averages)) - 1]


def is_worse(value: float, epochs: int, before: Iterable[Curve], *, maximize: bool) -> bool:
    """Return whether a trial is to stop after so many epochs: its value is worse than the median of those before."""
    averages = [curve.average(epochs) for curve in before]
    if not averages:
        return False
    return value < median(averages) if maximize else value > median(averages)
