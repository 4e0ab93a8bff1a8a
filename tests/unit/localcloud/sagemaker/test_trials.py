"""What the trials of a tuning job come to."""

from typing import Any

import pytest

from localcloud.sagemaker.jobs.trials import Curve, best, counters, is_worse, summary

MINIMIZE = {"Type": "Minimize", "MetricName": "validation:rmse"}
MAXIMIZE = {"Type": "Maximize", "MetricName": "validation:auc"}


def trial(
    name: str, status: str = "Completed", value: float | None = None, objective: Any = MINIMIZE, **more: Any
) -> Any:
    metrics = [] if value is None else [{"MetricName": objective["MetricName"], "Value": value}]
    document = {"TrainingJobName": name, "TrainingJobStatus": status, "FinalMetricDataList": metrics, **more}
    return summary(document, objective)


def test_the_best_is_a_completed_one_in_the_direction_of_the_objective() -> None:
    values = {"a": 3.0, "b": 1.0, "c": 2.0}
    stopped = trial("early", "Stopped", 0.5)
    least = best([*(trial(name, value=value) for name, value in values.items()), stopped])
    most = best([trial(name, value=value, objective=MAXIMIZE) for name, value in values.items()])
    assert (least or {})["TrainingJobName"] == "b"
    assert (most or {})["TrainingJobName"] == "a"
    assert best([trial("silent"), trial("failed", "Failed")]) is None


def test_every_trial_counts_once() -> None:
    told = counters(
        [
            trial("a", value=1.0),
            trial("b", "Stopped", 2.0),
            trial("c", "Failed", FailureReason="AlgorithmError: no"),
            trial("d", "Failed", FailureReason="InternalServerError: We encountered an internal error."),
            trial("e", "InProgress"),
            trial("f", "Stopping"),
            trial("g"),
        ]
    )
    assert told["TrainingJobStatusCounters"] == {
        "Completed": 2, "InProgress": 2, "RetryableError": 1, "NonRetryableError": 1, "Stopped": 1,
    }  # fmt: skip
    assert told["ObjectiveStatusCounters"] == {"Succeeded": 2, "Pending": 2, "Failed": 3}


def test_trials_since_the_best_one_are_counted_in_the_order_of_their_ends() -> None:
    ends = [("a", 3.0, 1), ("b", 1.0, 2), ("c", 2.0, 3), ("d", None, 4)]
    told = counters([trial(name, value=value, TrainingEndTime=at) for name, value, at in reversed(ends)])
    assert told["TuningJobCompletionDetails"] == {"NumberOfTrainingJobsObjectiveNotImproving": 2}


@pytest.mark.parametrize(
    ("curve", "others", "maximize", "worse"),
    [
        # The others' averages after two epochs are 4, 6 and 8, whatever they reach later: the median is 6.
        ([9.0, 6.1], [[5.0, 3.0, 0.0], [7.0, 5.0, 0.0], [9.0, 7.0, 0.0]], False, True),
        ([9.0, 6.0], [[5.0, 3.0, 0.0], [7.0, 5.0, 0.0], [9.0, 7.0, 0.0]], False, False),
        ([9.0, 5.9], [[5.0, 3.0], [7.0, 5.0], [9.0, 7.0]], True, True),
        ([9.0], [], False, False),
        # One before it ended after its first epoch.
        ([9.0, 7.5], [[7.0]], False, True),
    ],
)
def test_early_stopping_compares_with_the_median_of_running_averages(
    curve: list[float], others: list[list[float]], maximize: bool, worse: bool
) -> None:
    before = []
    for values in others:
        before.append(Curve())
        for value in values:
            before[-1].add(value)
    assert is_worse(curve[-1], len(curve), before, maximize=maximize) is worse
