"""Application Auto Scaling of endpoint variants: what is registered is checked, kept and listed. Nothing scales.

Requests are checked against botocore's model. What is not known of AWS is the text of refusals, but for those of a
target that is not there. DescribeScalingActivities says of each target that it is not scaled here.

Source: Application Auto Scaling API Reference; SageMaker Developer Guide, "Register a model", "Update endpoints that
use auto scaling" and "Delete endpoints configured for auto scaling".
"""

from __future__ import annotations

import logging
import re

from localcloud.sagemaker.api import requests
from localcloud.sagemaker.api.context import now
from localcloud.sagemaker.errors import AwsError, invalid, unsupported
from localcloud.sagemaker.platform.aws import Aws
from localcloud.sagemaker.platform.store import Document, Store
from localcloud.scalable_targets import target_id

SERVICE = "application-autoscaling"
KIND = "scalable-target"
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
METRIC = "SageMakerVariantInvocationsPerInstance"
NOT_SCALED = "The local cloud does not scale: the endpoint keeps the instances that it has."
_IDENTITY = ("ServiceNamespace", "ResourceId", "ScalableDimension")
_RESOURCE = re.compile(r"endpoint/(?P<endpoint>[A-Za-z0-9-]+)/variant/(?P<variant>[A-Za-z0-9-]+)")
_TRACKING = "TargetTrackingScalingPolicyConfiguration"
_MOST_POLICIES = 50  # of a target; Application Auto Scaling User Guide, "Quotas"
logger = logging.getLogger(__name__)


def refuse_other_machines(store: Store, endpoint: str, before: Document, after: Document) -> None:
    """Refuse an update that changes the instance type of a variant that is a target, or leaves it out."""
    types = {item["Variant"]["VariantName"]: item["Variant"].get("InstanceType") for item in after["Variants"]}
    for item in before["Variants"]:
        name = item["Variant"]["VariantName"]
        is_target = store.get(KIND, f"endpoint/{endpoint}/variant/{name}") is not None
        if is_target and types.get(name) != item["Variant"].get("InstanceType"):
            raise invalid(
                f"The variant {name} of endpoint {endpoint} is a target of Application Auto Scaling, so that its "
                "instance type cannot change and it cannot be left out; deregister it first."
            )


def forget(store: Store, endpoint: str) -> None:
    """Deregister the variants of an endpoint that is deleted."""
    for target in store.view(KIND):
        if target["ResourceId"].startswith(f"endpoint/{endpoint}/"):
            store.delete(KIND, target["ResourceId"])


class ScalableTargets:
    """Targets with their policies, by their ResourceId."""

    def __init__(self, store: Store, aws: Aws) -> None:
        self._store, self._aws = store, aws
        self._operations = {
            "RegisterScalableTarget": self._register,
            "DeregisterScalableTarget": self._deregister,
            "DescribeScalableTargets": self._targets,
            "PutScalingPolicy": self._put_policy,
            "DeleteScalingPolicy": self._delete_policy,
            "DescribeScalingPolicies": self._policies,
            "DescribeScalingActivities": self._activities,
        }

    def handle(self, operation: str, request: Document) -> Document:
        """Answer one operation; raises AwsError when it is refused."""
        answer = self._operations.get(operation)
        if answer is None:
            known = ", ".join(sorted(self._operations))
            raise AwsError(
                "UnknownOperationException",
                f"{operation} is not supported by the local Application Auto Scaling. It supports: {known}.",
            )
        checked = requests.check(operation, request, SERVICE)
        for member, only in (("ServiceNamespace", "sagemaker"), ("ScalableDimension", DIMENSION)):
            if checked.get(member, only) != only:
                raise unsupported(f"{member} {checked[member]}", f"It scales {DIMENSION}.")
        return answer(checked)

    def _register(self, request: Document) -> Document:
        requests.only(request, (*_IDENTITY, "MinCapacity", "MaxCapacity"))
        resource = request["ResourceId"]
        known = self._store.get(KIND, resource)
        self._require_variant(resource)
        if known is None:
            requests.require(request, "MinCapacity", "MaxCapacity")
            arn = f"arn:aws:{SERVICE}:{self._aws.region}:{self._aws.account_id}:scalable-target/{target_id(resource)}"
            known = {"CreationTime": now(), "ScalableTargetARN": arn, "Policies": {}}
        target = {**known, **request}
        least, most = target["MinCapacity"], target["MaxCapacity"]
        if not 0 < least <= most:
            raise invalid(
                f"MinCapacity {least} and MaxCapacity {most}: expected 1 at least, and not more than the most."
            )
        self._store.put(KIND, resource, target)
        logger.warning("%s is registered: %s", resource, NOT_SCALED)
        return {"ScalableTargetARN": target["ScalableTargetARN"]}

    def _require_variant(self, resource: str) -> None:
        """Raise ValidationException where there is no such variant of an endpoint in service, or none that scales."""
        named = _RESOURCE.fullmatch(resource)
        if named is None:
            raise invalid(f"ResourceId: got {resource!r}; expected endpoint/<name>/variant/<name>")
        endpoint = self._store.get("endpoint", named["endpoint"])
        if endpoint is None:
            raise invalid(f"Could not find endpoint {named['endpoint']}.")
        variants = {item["Variant"]["VariantName"]: item["Variant"] for item in endpoint["Plan"]["Variants"]}
        if named["variant"] not in variants:
            raise invalid(f"Could not find variant {named['variant']} of endpoint {named['endpoint']}.")
        if endpoint["EndpointStatus"] != "InService":
            raise invalid(f"Endpoint {named['endpoint']} is {endpoint['EndpointStatus']}; expected InService.")
        machine = variants[named["variant"]].get("InstanceType", "")
        if machine.startswith("ml.t2."):
            raise invalid(f"Variant {named['variant']} has instances of {machine}; burstable ones do not scale.")

    def _deregister(self, request: Document) -> Document:
        self._find(request, "found")
        self._store.delete(KIND, request["ResourceId"])
        return {}

    def _targets(self, request: Document) -> Document:
        wanted = request.get("ResourceIds")
        listed = [target for target in self._store.all(KIND) if wanted is None or target["ResourceId"] in wanted]
        return {
            "ScalableTargets": [{k: v for k, v in target.items() if k != "Policies"} for target in _in_order(listed)]
        }

    def _put_policy(self, request: Document) -> Document:
        requests.only(request, (*_IDENTITY, "PolicyName", "PolicyType", _TRACKING))
        if request.get("PolicyType") != "TargetTrackingScaling":
            raise unsupported(f"PolicyType {request.get('PolicyType')}", "TargetTrackingScaling is.")
        requests.require(request, _TRACKING)
        configuration = request[_TRACKING]
        metric = configuration.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType")
        if metric != METRIC:
            raise unsupported(f"The metric {metric} of a policy", f"{METRIC} is.")
        if not configuration["TargetValue"] > 0:
            raise invalid(f"TargetValue: got {configuration['TargetValue']}; expected more than 0")
        target = self._find(request, "registered")
        name, resource = request["PolicyName"], request["ResourceId"]
        if name not in target["Policies"] and len(target["Policies"]) == _MOST_POLICIES:
            raise AwsError(
                "LimitExceededException", f"{resource} has {_MOST_POLICIES} scaling policies, which is the most."
            )
        place = (
            f"arn:aws:autoscaling:{self._aws.region}:{self._aws.account_id}:scalingPolicy:{target_id(resource + name)}"
        )
        arn = f"{place}:resource/sagemaker/{resource}:policyName/{name}"
        policy = {**request, "PolicyARN": arn, "Alarms": [], "CreationTime": now()}
        self._store.update(KIND, resource, lambda document: document["Policies"].update({name: policy}))
        return {"PolicyARN": arn, "Alarms": []}

    def _delete_policy(self, request: Document) -> Document:
        target, name = self._find(request, "registered"), request["PolicyName"]
        if name not in target["Policies"]:
            raise _missing(f"No scaling policy found for {_named(request)}, policy name: {name}")
        self._store.update(KIND, request["ResourceId"], lambda document: document["Policies"].pop(name))
        return {}

    def _policies(self, request: Document) -> Document:
        names = request.get("PolicyNames")
        listed = (target for target in self._store.all(KIND) if _is_of(target, request))
        policies = [policy for target in _in_order(list(listed)) for policy in target["Policies"].values()]
        return {"ScalingPolicies": [policy for policy in policies if names is None or policy["PolicyName"] in names]}

    def _activities(self, request: Document) -> Document:
        """One of each target, which says that nothing scales."""
        about = {"Description": "None", "Cause": NOT_SCALED, "StatusCode": "Unfulfilled", "StatusMessage": NOT_SCALED}
        targets = _in_order([target for target in self._store.all(KIND) if _is_of(target, request)])
        return {
            "ScalingActivities": [
                {name: target[name] for name in _IDENTITY}
                | {"ActivityId": target_id(target["ResourceId"]), "StartTime": target["CreationTime"], **about}
                for target in targets
            ]
        }

    def _find(self, request: Document, word: str) -> Document:
        target = self._store.get(KIND, request["ResourceId"])
        if target is None:
            raise _missing(f"No scalable target {word} for {_named(request)}")
        return target


def _is_of(target: Document, request: Document) -> bool:
    return bool(request.get("ResourceId", target["ResourceId"]) == target["ResourceId"])


def _in_order(targets: list[Document]) -> list[Document]:
    return sorted(targets, key=lambda target: str(target["ResourceId"]))


def _named(request: Document) -> str:
    namespace, resource, dimension = (request[name] for name in _IDENTITY)
    return f"service namespace: {namespace}, resource ID: {resource}, scalable dimension: {dimension}"


def _missing(text: str) -> AwsError:
    return AwsError("ObjectNotFoundException", text)
