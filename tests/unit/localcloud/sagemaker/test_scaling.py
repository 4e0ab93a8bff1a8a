"""The local Application Auto Scaling: what is registered, listed and refused; nothing scales."""

import json
from pathlib import Path
from typing import Any

import pytest

from localcloud.sagemaker.endpoints import scaling
from localcloud.sagemaker.endpoints.scaling import NOT_SCALED, ScalableTargets
from localcloud.sagemaker.errors import AwsError
from localcloud.sagemaker.http import handle_http
from localcloud.sagemaker.platform.aws import Aws, Credentials
from localcloud.sagemaker.platform.store import Document, Store

TARGET = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/cars/variant/All",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
TRACKING = {
    "TargetValue": 70.0,
    "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
}
POLICY = {
    **TARGET,
    "PolicyName": "requests",
    "PolicyType": "TargetTrackingScaling",
    "TargetTrackingScalingPolicyConfiguration": TRACKING,
}
CUSTOM = {"CustomizedMetricSpecification": {"MetricName": "m", "Namespace": "n", "Statistic": "Sum"}}


def plan(machine: str = "ml.m5.large", name: str = "All") -> Document:
    return {"Variants": [{"Variant": {"VariantName": name, "InstanceType": machine}}]}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """There are the endpoint cars, one of burstable machines, and one that is being updated."""
    made = Store(tmp_path)
    for name, status, machine in (
        ("cars", "InService", "ml.m5.large"),
        ("small", "InService", "ml.t2.medium"),
        ("busy", "Updating", "ml.m5.large"),
    ):
        made.put("endpoint", name, {"EndpointName": name, "EndpointStatus": status, "Plan": plan(machine)})
    return made


@pytest.fixture
def targets(store: Store) -> ScalableTargets:
    aws = Aws("http://127.0.0.1:1", "eu-west-1", "000000000000", credentials=Credentials("key", "secret"))
    return ScalableTargets(store, aws)


def register(targets: ScalableTargets, **changes: Any) -> Document:
    return targets.handle("RegisterScalableTarget", {**TARGET, "MinCapacity": 1, "MaxCapacity": 4, **changes})


def test_a_target_and_its_policy_are_listed_until_it_is_deregistered(targets: ScalableTargets) -> None:
    arn = register(targets)["ScalableTargetARN"]
    assert register(targets, MaxCapacity=6)["ScalableTargetARN"] == arn
    assert targets.handle("PutScalingPolicy", POLICY)["Alarms"] == []
    (target,) = targets.handle("DescribeScalableTargets", {"ServiceNamespace": "sagemaker"})["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 6)
    (policy,) = targets.handle("DescribeScalingPolicies", TARGET)["ScalingPolicies"]
    assert policy["TargetTrackingScalingPolicyConfiguration"] == TRACKING
    other = {**TARGET, "ResourceId": "endpoint/cars/variant/Other"}
    assert targets.handle("DescribeScalingPolicies", other)["ScalingPolicies"] == []

    targets.handle("DeregisterScalableTarget", TARGET)
    assert targets.handle("DescribeScalableTargets", {"ServiceNamespace": "sagemaker"})["ScalableTargets"] == []
    assert targets.handle("DescribeScalingPolicies", TARGET)["ScalingPolicies"] == []


def test_it_says_of_each_target_that_nothing_scales(targets: ScalableTargets, caplog: pytest.LogCaptureFixture) -> None:
    register(targets)
    assert NOT_SCALED in caplog.text
    (activity,) = targets.handle("DescribeScalingActivities", TARGET)["ScalingActivities"]
    assert (activity["StatusCode"], activity["Cause"]) == ("Unfulfilled", NOT_SCALED)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"ResourceId": "endpoint/vans/variant/All"}, "Could not find endpoint vans"),
        ({"ResourceId": "endpoint/cars/variant/None"}, "Could not find variant None"),
        ({"ResourceId": "endpoint/busy/variant/All"}, "busy is Updating; expected InService"),
        ({"ResourceId": "endpoint/small/variant/All"}, "burstable ones do not scale"),
        ({"ResourceId": "cars"}, "expected endpoint/<name>/variant/<name>"),
        ({"MinCapacity": None}, "'minCapacity' failed to satisfy constraint"),
        ({"MinCapacity": 0}, "expected 1 at least"),
        ({"MinCapacity": 5}, "not more than the most"),
        ({"MaxCapacity": "4"}, "can not be converted"),
        ({"RoleARN": "arn:aws:iam::000000000000:role/x"}, "RoleARN is not supported"),
        ({"ServiceNamespace": "ecs"}, "ServiceNamespace ecs is not supported"),
        ({"ScalableDimension": "sagemaker:variant:Count"}, "Member must satisfy enum value set"),
        ({"ScalableDimension": "sagemaker:variant:DesiredProvisionedConcurrency"}, "is not supported"),
    ],
)
def test_a_target_that_cannot_be_is_refused(targets: ScalableTargets, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(AwsError, match=text):
        register(targets, **changes)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"PolicyType": "StepScaling"}, "PolicyType StepScaling is not supported"),
        ({"TargetTrackingScalingPolicyConfiguration": None}, "targetTrackingScalingPolicyConfiguration"),
        ({"TargetTrackingScalingPolicyConfiguration": {**TRACKING, "TargetValue": 0}}, "expected more than 0"),
        ({"TargetTrackingScalingPolicyConfiguration": {"TargetValue": 1.0, **CUSTOM}}, "metric None of a policy"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(targets: ScalableTargets, changes: dict[str, Any], text: str) -> None:
    register(targets)
    with pytest.raises(AwsError, match=text):
        targets.handle("PutScalingPolicy", {**POLICY, **changes})


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        ("DeregisterScalableTarget", TARGET),
        ("PutScalingPolicy", POLICY),
        ("DeleteScalingPolicy", {**TARGET, "PolicyName": "x"}),
    ],
)
def test_of_a_target_that_is_not_there_it_says_so_in_the_code_of_the_model(
    targets: ScalableTargets, operation: str, request_: Document
) -> None:
    status, _, body = handle_http(targets, operation, json.dumps(request_).encode())
    assert (status, json.loads(body)["__type"]) == (400, "ObjectNotFoundException")
    assert "No scalable target" in json.loads(body)["Message"]


def test_a_policy_is_deleted_by_its_name(targets: ScalableTargets) -> None:
    register(targets)
    targets.handle("PutScalingPolicy", POLICY)
    targets.handle("DeleteScalingPolicy", {**TARGET, "PolicyName": "requests"})
    assert targets.handle("DescribeScalingPolicies", TARGET)["ScalingPolicies"] == []
    with pytest.raises(AwsError, match="No scaling policy found"):
        targets.handle("DeleteScalingPolicy", {**TARGET, "PolicyName": "requests"})


def test_an_operation_that_is_not_there_is_refused_with_those_that_are(targets: ScalableTargets) -> None:
    with pytest.raises(AwsError, match=r"PutScheduledAction is not supported .* DeleteScalingPolicy"):
        targets.handle("PutScheduledAction", {})


def test_a_variant_that_is_a_target_keeps_its_machines_and_its_name(targets: ScalableTargets, store: Store) -> None:
    changed, renamed = plan("ml.m5.xlarge"), plan(name="Other")
    scaling.refuse_other_machines(store, "cars", plan(), changed)
    register(targets)
    scaling.refuse_other_machines(store, "cars", plan(), plan())
    for after in (changed, renamed):
        with pytest.raises(AwsError, match="deregister it first"):
            scaling.refuse_other_machines(store, "cars", plan(), after)


def test_an_endpoint_that_is_deleted_takes_its_targets_with_it(targets: ScalableTargets, store: Store) -> None:
    register(targets)
    scaling.forget(store, "car")
    assert len(store.all(scaling.KIND)) == 1
    scaling.forget(store, "cars")
    assert store.all(scaling.KIND) == []
