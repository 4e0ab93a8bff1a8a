"""How a new model takes over traffic: what UpdateEndpoint is asked for, and that AWS's rules allow it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from localcloud.sagemaker.endpoints.deployment import Deployment
from perennial.runs.rollout import deployment_config, spoken


def routing(config: dict[str, Any] | None) -> dict[str, Any]:
    assert config is not None
    found: dict[str, Any] = config["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    return found


def test_without_baking_nothing_is_asked_for() -> None:
    assert deployment_config("canary", 0, 4, ["errors"]) is None


@pytest.mark.parametrize("shift", ["canary", "linear", "all-at-once"])
def test_one_instance_takes_over_at_once_and_is_watched(shift: Any) -> None:
    assert deployment_config(shift, 300, 1, ["errors", "latency"]) == {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 300},
            "TerminationWaitInSeconds": 300,
            "MaximumExecutionTimeoutInSeconds": 3900,
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "errors"}, {"AlarmName": "latency"}]},
    }


@pytest.mark.parametrize(("instances", "size"), [(2, 1), (4, 1), (5, 2), (8, 2), (9, 3), (100, 25)])
def test_a_quarter_of_several_instances_is_the_canary(instances: int, size: int) -> None:
    found = routing(deployment_config("canary", 300, instances, []))
    assert found["CanarySize"] == {"Type": "INSTANCE_COUNT", "Value": size}


@pytest.mark.parametrize(("instances", "size"), [(2, 1), (3, 1), (4, 1), (5, 2), (8, 2), (9, 3), (20, 5)])
def test_a_linear_shift_has_four_steps_or_fewer(instances: int, size: int) -> None:
    found = routing(deployment_config("linear", 300, instances, []))
    assert found["LinearStepSize"] == {"Type": "INSTANCE_COUNT", "Value": size}


def test_alarms_are_left_out_where_there_are_none() -> None:
    assert "AutoRollbackConfiguration" not in (deployment_config("canary", 300, 3, []) or {})


@given(some.sampled_from(["canary", "linear", "all-at-once"]), some.integers(1, 900), some.integers(1, 200))
def test_what_is_asked_for_is_allowed_and_ends_within_two_hours(shift: Any, seconds: int, instances: int) -> None:
    config = deployment_config(shift, seconds, instances, ["errors"])
    assert config is not None
    deployment = Deployment.of(config, {"Variants": [{"Variant": {"InitialInstanceCount": instances}}]})
    assert deployment.steps[-1].share == 1
    waits = sum(step.seconds for step in deployment.steps)
    assert waits + 3600 == config["BlueGreenUpdatePolicy"]["MaximumExecutionTimeoutInSeconds"]
    assert waits + 3600 <= 8100


@pytest.mark.parametrize(
    ("shift", "instances", "alarms", "left_out", "says"),
    [
        ("canary", 1, ["errors", "latency"], [], "at once, watched for 300 s by errors, latency"),
        ("canary", 2, ["errors"], [], "1 instance first, then all, watched for 300 s by errors"),
        ("canary", 5, ["errors"], [], "2 instances first, then all, watched for 300 s by errors"),
        ("linear", 8, ["errors"], [], "2 instances at a time, watched for 300 s by errors"),
        ("canary", 1, [], ["a", "b"], "at once, watched for 300 s by no alarm; a, b rang before, and did not watch it"),
    ],
)  # fmt: skip
def test_a_mail_says_how_a_model_has_taken_over(
    shift: Any, instances: int, alarms: list[str], left_out: list[str], says: str
) -> None:
    assert spoken({"config": deployment_config(shift, 300, instances, alarms), "left_out": left_out}) == says
