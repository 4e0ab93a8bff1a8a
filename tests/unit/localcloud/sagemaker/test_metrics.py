"""Metrics found in log lines."""

from collections.abc import Sequence

import pytest

from localcloud.sagemaker.algorithms import STAND_INS
from localcloud.sagemaker.algorithms.stand_in import StandIn
from localcloud.sagemaker.errors import AwsError
from localcloud.sagemaker.jobs.training import without_own_metrics
from localcloud.sagemaker.jobs.training_metrics import MetricLog, compile_definitions


class Cloud:
    """Remembers what CloudWatch is told."""

    def __init__(self) -> None:
        self.data: list[dict[str, object]] = []

    def client(self, name: str) -> "Cloud":
        assert name == "cloudwatch"
        return self

    def put_metric_data(self, Namespace: str, MetricData: list[dict[str, object]]) -> None:  # noqa: N803
        assert Namespace == "/aws/sagemaker/TrainingJobs"
        self.data += MetricData


def read(definitions: Sequence[dict[str, str]], *lines: str) -> tuple[dict[str, float], list[dict[str, object]]]:
    """(final values by name, what CloudWatch got) of these lines."""
    cloud = Cloud()
    log = MetricLog(cloud, "job", definitions)  # type: ignore[arg-type]
    for line in lines:
        log.read(line)
    log.publish()
    return {metric["MetricName"]: metric["Value"] for metric in log.final}, cloud.data


def test_the_last_value_of_each_metric_is_final_and_all_values_are_told() -> None:
    final, told = read(
        STAND_INS["sagemaker-xgboost"].metrics,
        "[0]#011train-rmse:2.5#011train-mae:1.5#011validation-rmse:3.5",
        "[1]#011train-rmse:1.25#011train-mae:0.75#011validation-rmse:3.0",
    )
    assert final == {"train:rmse": 1.25, "train:mae": 0.75, "validation:rmse": 3.0}
    assert len(told) == 6
    assert told[0]["Dimensions"] == [{"Name": "TrainingJobName", "Value": "job"}]


def test_linear_learners_lines_are_read() -> None:
    final, _ = read(
        STAND_INS["linear-learner"].metrics,
        "#quality_metric: host=algo-1, epoch=3, validation mse_objective <loss>=0.4012",
        "#quality_metric: host=algo-1, validation mse_objective <loss>=0.39",
    )
    assert final["validation:objective_loss"] == 0.4012
    assert final["validation:objective_loss:final"] == 0.39


def test_a_metric_that_ends_in_nan_is_missing() -> None:
    definitions = [{"Name": "m", "Regex": r"m=(\S+)"}]
    final, told = read(definitions, "m=1.0", "m=nan")
    assert final == {}
    assert len(told) == 1


def test_what_is_no_number_is_no_metric() -> None:
    assert read([{"Name": "m", "Regex": r"m=(\S+)"}], "m=high", "m=1_000", "other") == ({}, [])


def test_the_value_may_stand_anywhere_in_the_line() -> None:
    assert read([{"Name": "m", "Regex": "loss: ([0-9.]+)"}], "epoch 1, loss: 0.5 (best)")[0] == {"m": 0.5}


@pytest.mark.parametrize(("regex", "what"), [("(", "not a regular expression"), ("x=[0-9]+", "no group")])
def test_expressions_that_cannot_work_are_refused(regex: str, what: str) -> None:
    with pytest.raises(AwsError, match=what):
        compile_definitions([{"Name": "m", "Regex": regex}])


def test_a_long_line_does_not_take_long() -> None:
    final, _ = read(STAND_INS["sagemaker-xgboost"].metrics, "[1]" * 100_000)
    assert final == {}


@pytest.mark.parametrize(
    "image", [image for image in STAND_INS.values() if image.metrics], ids=lambda image: image.repository
)
def test_a_trial_of_an_algorithm_is_asked_for_without_the_metrics_that_it_brings(image: StandIn) -> None:
    """SageMaker refuses definitions of metrics for its own algorithms, and a tuning job describes them."""
    described = {"TrainingImage": "x", "MetricDefinitions": list(image.metrics)[:40]}
    assert without_own_metrics(described, image) == {"TrainingImage": "x"}
    others = {"TrainingImage": "x", "MetricDefinitions": [{"Name": "own", "Regex": "own=(.*)"}]}
    assert without_own_metrics(others, image) == others
