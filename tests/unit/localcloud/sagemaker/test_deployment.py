"""Deployments of the local SageMaker: in which steps traffic moves, and which policies are refused."""

from typing import Any

import pytest

from localcloud.sagemaker.endpoints.deployment import Deployment
from localcloud.sagemaker.errors import AwsError


def plan(*instances: int) -> dict[str, Any]:
    return {"Variants": [{"Variant": {"InitialInstanceCount": count}} for count in instances]}


def policy(kind: str, wait: int = 60, **more: Any) -> dict[str, Any]:
    routing = {"Type": kind, "WaitIntervalInSeconds": wait}
    sizes = {name: more.pop(name) for name in ("CanarySize", "LinearStepSize") if name in more}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": {**routing, **sizes}, **more}}


def size(value: int, kind: str = "INSTANCE_COUNT") -> dict[str, Any]:
    return {"Type": kind, "Value": value}


def steps(config: dict[str, Any], *instances: int) -> list[tuple[int, float, int]]:
    return [(step.instances, step.share, step.seconds) for step in Deployment.of(config, plan(*instances)).steps]


def test_without_a_policy_all_traffic_moves_at_once_and_nothing_bakes() -> None:
    assert steps({}, 1) == [(1, 1.0, 0)]
    assert steps(policy("ALL_AT_ONCE", TerminationWaitInSeconds=30), 3) == [(3, 1.0, 30)]


@pytest.mark.parametrize(
    ("config", "instances", "expected"),
    [
        (policy("CANARY", CanarySize=size(1), TerminationWaitInSeconds=30), 4, [(1, 0.25, 60), (4, 1.0, 30)]),
        (policy("CANARY", CanarySize=size(30, "CAPACITY_PERCENT")), 10, [(3, 0.3, 60), (10, 1.0, 0)]),
        (policy("CANARY", CanarySize=size(7, "CAPACITY_PERCENT")), 100, [(7, 0.07, 60), (100, 1.0, 0)]),
        (policy("LINEAR", LinearStepSize=size(1)), 2, [(1, 0.5, 60), (2, 1.0, 0)]),
        (policy("LINEAR", LinearStepSize=size(2)), 5, [(2, 0.4, 60), (4, 0.8, 60), (5, 1.0, 0)]),
    ],
)
def test_traffic_moves_in_the_steps_of_the_policy(config: Any, instances: int, expected: Any) -> None:
    assert steps(config, instances) == expected


def test_the_smallest_variant_limits_the_steps() -> None:
    with pytest.raises(AwsError, match="of 1 instance"):
        steps(policy("CANARY", CanarySize=size(1)), 4, 1)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (policy("CANARY"), "CanarySize is required for the traffic routing type CANARY"),
        (policy("LINEAR", CanarySize=size(1)), "LinearStepSize is required"),
        (policy("CANARY", CanarySize=size(3)), "CanarySize is 3 (INSTANCE_COUNT) of 4 instance(s); expected at most"),
        (policy("CANARY", CanarySize=size(51, "CAPACITY_PERCENT")), "expected at most 50% of the new fleet"),
        (policy("LINEAR", LinearStepSize=size(9, "CAPACITY_PERCENT")), "expected at least 10% and at most 50%"),
        (
            policy("CANARY", CanarySize=size(1), TerminationWaitInSeconds=540, MaximumExecutionTimeoutInSeconds=600),
            "MaximumExecutionTimeoutInSeconds is 600; expected more than the 600 s of all waits",
        ),
        ({"RollingUpdatePolicy": {}}, "RollingUpdatePolicy is not supported by the local SageMaker"),
        ({"RollingUpdatePolicy": {}, "BlueGreenUpdatePolicy": {}}, "Only one of BlueGreenUpdatePolicy and Rolling"),
    ],
)
def test_a_policy_that_is_not_valid_is_refused(config: Any, text: str) -> None:
    with pytest.raises(AwsError) as caught:
        steps(config, 4)
    assert text in caught.value.message
    assert caught.value.code == "ValidationException"
