"""The endpoint's variant as a target of Application Auto Scaling: registered, looked at, taken back.

Source: Application Auto Scaling API Reference; SageMaker Developer Guide, "Automatic scaling of Amazon SageMaker AI
models". A target is there as long as the endpoint: it is registered after each creation, and none scales while the
endpoint is updated.
"""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from perennial.serving.scaling import Scaling
from perennial_aws.clients import client, code_of
from perennial_aws.settings import settings

VARIANT = "AllTraffic"  # as the flow names it
POLICY = "requests"
_SERVICE, _DIMENSION = "sagemaker", "sagemaker:variant:DesiredInstanceCount"


def is_as(wanted: Scaling) -> bool:
    """Return whether the endpoint scales as it is to."""
    service = client("application-autoscaling")
    targets = service.describe_scalable_targets(
        ServiceNamespace=_SERVICE, ResourceIds=[_target()["ResourceId"]], ScalableDimension=_DIMENSION
    )["ScalableTargets"]
    policies = service.describe_scaling_policies(**_target(), PolicyNames=[POLICY])["ScalingPolicies"]
    bounds = [(target["MinCapacity"], target["MaxCapacity"]) for target in targets]
    values = [policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] for policy in policies]
    return (bounds, values) == ([(wanted.least, wanted.most)], [wanted.invocations])


def register(wanted: Scaling) -> None:
    """Let the endpoint, which is in service, scale; what is registered already is changed."""
    service = client("application-autoscaling")
    service.register_scalable_target(**_target(), MinCapacity=wanted.least, MaxCapacity=wanted.most)
    service.put_scaling_policy(
        **_target(),
        PolicyName=POLICY,
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": float(wanted.invocations),
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
        },
    )


def deregister() -> None:
    """Let it scale no more, whoever has registered it; its policies go as well. It keeps the instances that it has."""
    try:
        client("application-autoscaling").deregister_scalable_target(**_target())
    except ClientError as error:
        if code_of(error) != "ObjectNotFoundException":
            raise


def _target() -> dict[str, Any]:
    resource = f"endpoint/{settings.endpoint_name}/variant/{VARIANT}"
    return {"ServiceNamespace": _SERVICE, "ResourceId": resource, "ScalableDimension": _DIMENSION}
