"""A version of one environment as another one has it: which files come along, its record there, its registration.

A run has the same id wherever its version is. The data that it was trained on stay where they are: what comes along is
what serves, what it is verified and monitored by, and what later runs compare themselves with.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from typing import Any, cast

from perennial.registry import approval, description, metadata
from perennial.runs import naming
from perennial.runs.keeping import SETS, VERIFICATION
from perennial.runs.run_record import Promotion, RunRecord

FOLDERS = ("baselines/", "evaluation/", "report/", "rows/", "serving/")
DOCUMENTS = ("approval.html", "config.json", "manifest.json", "report.html", VERIFICATION)
SETS_OF_EARLIER = ("test/", "predictions/candidate/", "labels/")  # of runs that left no records to verify by
_CONTAINER = ("Image", "ModelDataUrl", "Environment")
_MEASURED = ("ModelMetrics", "DriftCheckBaselines", "MetadataProperties")
_SPECIFIED = (
    "SupportedContentTypes",
    "SupportedResponseMIMETypes",
    "SupportedRealtimeInferenceInstanceTypes",
    "SupportedTransformInstanceTypes",
)


def verified_by(names: Collection[str]) -> tuple[str, ...]:
    """Return what of a run's folder an endpoint is verified by, by the names that are there."""
    return (VERIFICATION,) if VERIFICATION in names else SETS_OF_EARLIER[:2]


def copied(names: Collection[str]) -> list[str]:
    """Return which files of a run's folder come along, of the names that are there: none that expires."""
    is_earlier = VERIFICATION not in names
    folders, going = (*FOLDERS, *(SETS_OF_EARLIER if is_earlier else ())), () if is_earlier else SETS
    return [name for name in names if name in DOCUMENTS or (name.startswith(folders) and not name.startswith(going))]


def address(bucket: str, run_id: str) -> str:
    """Return where a run's folder is."""
    return f"s3://{bucket}/runs/{run_id}"


def record(
    made: RunRecord, *, stack: str, bucket: str, sealed: Mapping[str, Mapping[str, str]], promotion: Promotion
) -> RunRecord:
    """Return the record of a run as the environment has it that its version comes to.

    sealed     by artefact: {"uri", "version_id"} of the copies that serve there
    promotion  where the version comes from, after those before
    """
    run_id = made["run_id"]
    known = _moved(made, address(made["bucket"], run_id), address(bucket, run_id))
    artifacts = {name: {**made["artifacts"][name], "sealed": dict(one)} for name, one in sealed.items()}
    here: dict[str, Any] = {"stack": stack, "bucket": bucket, "artifacts": artifacts, "version": None, "deployed": None}
    here["promotions"] = [*made.get("promotions", ()), promotion]
    if containers := known.get("containers"):
        here["containers"] = [_of_stack(one, stack) for one in containers]
    return cast(RunRecord, {**known, **here})


def steps(promotions: Iterable[Promotion] | None) -> list[str]:
    """Return how a version has come from other environments, as people read it."""
    return [f"{one['version']}, by {one['by']} at {one['at']}" for one in promotions or ()]


def registration(described: Mapping[str, Any], made: RunRecord, *, stack: str, bucket: str) -> dict[str, Any]:
    """Return the request CreateModelPackage, which leaves it to a person or a parameter whether the version serves.

    described  the version where it comes from, as SageMaker describes it; the run's record there
    """
    run_id = made["run_id"]
    specification: Mapping[str, Any] = described["InferenceSpecification"]
    containers = [_container(one, stack) for one in specification["Containers"]]
    request: dict[str, Any] = {
        "ModelPackageGroupName": stack,
        "ModelPackageDescription": description.of_run(run_id),
        "ClientToken": hashlib.md5(naming.stem(stack, run_id).encode(), usedforsecurity=False).hexdigest(),
        "ModelApprovalStatus": approval.PENDING,
        "InferenceSpecification": {
            "Containers": containers,
            **{name: specification[name] for name in _SPECIFIED if name in specification},
        },
        **{name: described[name] for name in _MEASURED if name in described},
    }
    moved: dict[str, Any] = _moved(request, address(made["bucket"], run_id), address(bucket, run_id))
    origin = metadata.promoted(described.get("CustomerMetadataProperties", {}), described["ModelPackageArn"])
    return {**moved, "CustomerMetadataProperties": origin}


def is_same(described: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether a version that is there is what a registration asks for: its origin, and its containers."""
    origin = [one.get("CustomerMetadataProperties", {}).get(metadata.PROMOTED_FROM) for one in (described, wanted)]
    containers = [
        [{name: one.get(name) or {} for name in _CONTAINER} for one in each["InferenceSpecification"]["Containers"]]
        for each in (described, wanted)
    ]
    return origin[0] == origin[1] and containers[0] == containers[1]


def _container(described: Mapping[str, Any], stack: str) -> dict[str, Any]:
    """Return a container as the request takes it."""
    return _of_stack({name: described[name] for name in _CONTAINER if name in described}, stack)


def _of_stack(container: Mapping[str, Any], stack: str) -> dict[str, Any]:
    """Return a container of another stack, whose name it knows from its environment."""
    known = container.get("Environment") or {}
    return {**container, **({"Environment": {**known, "STACK_NAME": stack}} if "STACK_NAME" in known else {})}


def _moved(value: Any, source: str, target: str) -> Any:
    """Return a document with the addresses of a run's folder in another bucket."""
    if isinstance(value, Mapping):
        return {name: _moved(item, source, target) for name, item in value.items()}
    if isinstance(value, list):
        return [_moved(item, source, target) for item in value]
    if isinstance(value, str) and f"{value}/".startswith(f"{source}/"):
        return target + value.removeprefix(source)
    return value
