"""The members of DescribeEndpoint that describe variants; they follow from the endpoint's plan (`fleet.Fleet`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from localcloud.sagemaker.api.context import now
from localcloud.sagemaker.endpoints import capture
from localcloud.sagemaker.endpoints.deployment import Step
from localcloud.sagemaker.platform.store import Document


def described(plan: Document, status: str | None = None) -> Document:
    """Return DescribeEndpoint's members that follow from the configuration."""
    described: Document = {"ProductionVariants": [_summary(item, status) for item in plan["Variants"]]}
    if captured := capture.summary(plan.get("DataCaptureConfig")):
        described["DataCaptureConfig"] = captured
    return described


def _summary(item: Document, status: str | None, message: str | None = None) -> Document:
    """Return a ProductionVariantSummary; `status` says what is being done with the variant."""
    variant = item["Variant"]
    weight, count = variant.get("InitialVariantWeight", 1.0), variant.get("InitialInstanceCount", 1)
    summary: Document = {
        "VariantName": variant["VariantName"],
        "DeployedImages": [
            # A plan of an earlier version of the local cloud does not know what its images led to.
            {"SpecifiedImage": container["Image"], "ResolutionTime": now()}
            | {name: container[name] for name in ("ResolvedImage",) if name in container}
            for container in item["Containers"]
        ],
        "CurrentWeight": weight,
        "DesiredWeight": weight,
        "CurrentInstanceCount": 0 if status == "Creating" else count,
        "DesiredInstanceCount": count,
    }
    if status:
        text = {"StatusMessage": message} if message else {}
        summary["VariantStatus"] = [{"Status": status, "StartTime": now(), **text}]
    return summary


def creating(plan: Document) -> Document:
    """PendingDeploymentSummary of an update whose fleet is being started."""
    return _pending(plan, "Creating", lambda count: f"Launching {count} instance(s).")


def baking(plan: Document, step: Step) -> Document:
    """PendingDeploymentSummary of an update that is being watched."""

    def message(count: int) -> str:
        instances = count if step.share == 1 else step.instances
        return f"{step.action} with traffic enabled on {step.capacity} of {instances} instance(s)."

    return _pending(plan, "Baking", message)


def _pending(plan: Document, status: str, message: Callable[[int], str]) -> Document:
    variants = [
        _summary(item, status, message(item["Variant"].get("InitialInstanceCount", 1)))
        | {"InstanceType": item["Variant"]["InstanceType"]}
        for item in plan["Variants"]
    ]
    return {"EndpointConfigName": plan["EndpointConfigName"], "StartTime": now(), "ProductionVariants": variants}


def milliseconds(value: Any, name: str = "") -> Any:
    """Return a document's times as events have them."""
    if isinstance(value, dict):
        return {key: milliseconds(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [milliseconds(item) for item in value]
    return round(value * 1000) if name.endswith("Time") else value
