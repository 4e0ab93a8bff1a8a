"""What the flow has to know to deploy a version that an earlier run has registered: what that run knew, and why."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from itertools import zip_longest
from typing import Any

from perennial.model.complaints import ConfigurationError
from perennial.registry import approval, description
from perennial.runs.run_record import RunRecord
from perennial_aws import artifacts, model_versions, payloads, runs
from perennial_aws.settings import settings

_MEMBERS = ("Image", "ModelDataUrl", "Environment")


class VersionNotDeployableError(Exception):
    """No version is approved, or not all is known of the one that is."""


def why_not(number: int) -> str | None:
    """Return why a version is not deployed; None for the newest approved one.

    Raises ConfigurationError: there is no such version. VersionNotDeployableError: none is approved, or it is another
    account's.
    """
    known = model_versions.find(number)
    if known is None:
        raise ConfigurationError(
            f"the execution's input, ModelVersion: got {number}, which the model registry does not have; expected the "
            "number of a version (perennial versions)"
        )
    newest = model_versions.newest_approved()
    if newest and newest["number"] == number:
        return None
    if other := model_versions.other_account(known["arn"]):
        raise VersionNotDeployableError(
            f"account {other} has registered version {number}, and what other accounts register is not deployed. To "
            "have it here, bring it from its own environment: perennial promote"
        )
    if newest is None:
        raise VersionNotDeployableError(f"no version is approved{_instead_of(_rejected())}. What serves stays")
    return f"only the newest approved version is deployed, not version {number}; it is version {newest['number']}"


def work_of(number: int, promoted: Callable[[RunRecord], dict[str, Any]]) -> dict[str, Any]:
    """Return what the run of the newest approved version was answered, with its version.

    promoted  returns what a run of another environment would be answered here, whose version was brought along

    Raises VersionNotDeployableError, ArtifactChangedError: something of it is gone. Nothing has changed by then.
    """
    known = model_versions.find(number)
    described = model_versions.described(known["arn"]) if known else None
    if described is None:
        raise VersionNotDeployableError(f"version {number} was deleted from the model registry meanwhile")
    run_id = description.run_of(described.get("ModelPackageDescription"))
    made = runs.get(run_id) if run_id else None
    steps = made.get("promotions") if made else None
    answer = promoted(made) if made and steps else runs.answer(made["execution"]["arn"]) if made else None
    if run_id is None or made is None or answer is None:
        whose = f"run {run_id}, of which the run table has no record and answer any more" if run_id else "no run"
        raise VersionNotDeployableError(f"version {number} was made by {whose}; expected one of a run that is known")
    if why := approval.obstacle(made):
        raise VersionNotDeployableError(f"version {number} is of run {run_id}, and {why}; approve another one")
    artifacts.require_sealed(run_id)
    containers = [
        {name: one[name] for name in _MEMBERS if name in one}
        for one in described["InferenceSpecification"]["Containers"]
    ]
    _require_recorded(number, made, containers)
    rejected = _rejected()
    origin = f"; it was {steps[-1]['version']}, which {steps[-1]['by']} has promoted" if steps else ""
    reason = f"version {number}, of run {run_id}, is the newest approved one{_instead_of(rejected)}{origin}"
    gate = made.get("gate") or {}
    version: payloads.VersionPayload = {
        "Arn": described["ModelPackageArn"],
        "Number": number,
        "Containers": containers,
        "Result": {
            "Metric": gate.get("metric"),
            "Candidate": gate.get("candidate"),
            "Champion": gate.get("champion"),
            "Reason": reason,
        },
        "InsteadOf": description.run_of(rejected.get("ModelPackageDescription")) if rejected else None,
    }
    now = {"Vpc": settings.vpc(), "Instances": _with_key(answer["Instances"])}
    return {**answer, **now, "TargetTransform": "none", "Withheld": None, "Reason": reason, "Version": version}


def _with_key(instances: Mapping[str, Any]) -> dict[str, Any]:
    """Return the machines of an answer with the key of now, where the endpoint's volumes take one."""
    endpoint = instances["Endpoint"]
    key = {"KmsKeyId": settings.kms_key_arn} if "KmsKeyId" in endpoint else {}
    return {**instances, "Endpoint": {**endpoint, **key}}


def _require_recorded(number: int, made: RunRecord, containers: list[dict[str, Any]]) -> None:
    """Raise VersionNotDeployableError when a version has other containers than its run has recorded.

    Who may approve a version may change its containers, too: what they name, their environment and their order. Of runs
    of earlier versions of the project only files and images are recorded.
    """
    if recorded_containers := made.get("containers"):
        for position, (now, then) in enumerate(zip_longest(containers, recorded_containers), 1):
            if _whole(now) != _whole(then):
                raise VersionNotDeployableError(
                    f"version {number} has {_as_text(now)} for container {position}; run {made['run_id']} has recorded "
                    f"{_as_text(then)}. Somebody has changed the version: approve another, or start a run"
                )
    artefacts = (made.get("artifacts") or {}).values()
    recorded = {*made["images"].values(), *(one["sealed"]["uri"] for one in artefacts if isinstance(one, dict))}
    others = {str(one.get(name)) for one in containers for name in ("Image", "ModelDataUrl")} - recorded
    if others:
        raise VersionNotDeployableError(
            f"version {number} names {', '.join(sorted(others))}; run {made['run_id']} has recorded "
            f"{', '.join(sorted(recorded))}"
        )


def _whole(container: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the members of a container that decide what it does; no environment is an empty one."""
    return {name: container.get(name) or {} for name in _MEMBERS} if container else None


def _as_text(container: Mapping[str, Any] | None) -> str:
    return json.dumps(_whole(container), sort_keys=True) if container else "nothing"


def _rejected() -> dict[str, Any] | None:
    """Return what the registry says of the version in service, if it was rejected."""
    described = model_versions.in_service()
    return described if described and described["ModelApprovalStatus"] == approval.REJECTED else None


def _instead_of(rejected: dict[str, Any] | None) -> str:
    if not rejected:
        return ""
    return (
        f"; version {rejected['ModelPackageVersion']}, which served then, was rejected: "
        f"{rejected.get('ApprovalDescription') or approval.NO_REASON}"
    )
