"""The versions of a stack's model in SageMaker's model registry: a group of the stack's name, one version a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import boto3
from botocore.exceptions import ClientError

from perennial.registry import approval, description
from perennial.runs.run_record import ModelVersion
from perennial_cli import stacks
from perennial_cli.console import CommandError

AT_ONCE = 8


class NoGroupError(CommandError):
    """The stack has no model package group: it was deployed by an earlier version, or somebody has deleted it."""


@dataclass(frozen=True)
class Version:
    """A version: its number, whether it is approved, who said so, the run that made it, and what that measured.

    by      who has changed it last (registry.approval.answered_by); None where nobody has
    serves  whether Parameter Store names it as the one in service
    other   the account that has registered it, if it is another one: then it never serves here
    """

    number: int
    status: str
    created_at: str
    run: str | None
    metric: str | None
    candidate: float | None
    arn: str
    by: str | None
    serves: bool
    other: str | None = None

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def newest(group: str, most: int) -> list[Version]:
    """Return the newest versions, the newest first."""
    serving = serving_arn(group)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(lambda one: _described(one, serving), islice(summaries(group), most)))


def find(group: str, wanted: str | None) -> Mapping[str, Any]:
    """Return a version by its number or its run, as lists show it; None: the newest approved one.

    Raises CommandError: there is none.
    """
    if wanted is None:
        numbers = approved(group)
        if not numbers:
            raise CommandError(f"{group} has no approved version; see perennial versions")
        return numbers[max(numbers)]
    if (made := of_run(group, wanted)) is not None:
        return made
    return _summary(group, wanted)


def of_run(group: str, run: str) -> Mapping[str, Any] | None:
    """Return the version that a run has made, as lists show it; None: there is none."""
    mine = description.of_run(run)
    return next((one for one in summaries(group) if one.get("ModelPackageDescription") == mine), None)


def waiting(group: str) -> dict[str | None, Mapping[str, Any]]:
    """Return the versions that wait for an answer, as lists show them, by their runs; of who may not list them none."""
    try:
        pending = list(summaries(group, ModelApprovalStatus=approval.PENDING))
    except NoGroupError:
        return {}
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDeniedException":
            raise
        return {}
    return {description.run_of(one.get("ModelPackageDescription")): one for one in pending}


def of_arn(group: str, arn: str) -> Mapping[str, Any] | None:
    """Return a version by its ARN, as lists show it; None: it is gone."""
    return next((one for one in summaries(group) if one["ModelPackageArn"] == arn), None)


def as_version(summary: Mapping[str, Any]) -> ModelVersion:
    """Return a version as records have it."""
    return {
        "arn": summary["ModelPackageArn"],
        "number": summary["ModelPackageVersion"],
        "status": summary["ModelApprovalStatus"],
    }


def approved(group: str) -> dict[int, Mapping[str, Any]]:
    """Return the approved versions that may serve, by their numbers: not what other accounts have registered."""
    listed = [one for one in summaries(group) if one["ModelApprovalStatus"] == approval.APPROVED]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        others = list(pool.map(lambda one: other_account(one["ModelPackageArn"]), listed))
    return {one["ModelPackageVersion"]: one for one, other in zip(listed, others, strict=True) if not other}


def other_account(arn: str) -> str | None:
    """Return the account that has registered a version, if it is another one; None also of one that is gone."""
    return approval.other_account(arn, described(arn))


def run_of(group: str, number: str) -> str:
    """Return the run that made a version. Raises CommandError: there is none."""
    if run := description.run_of(_summary(group, number).get("ModelPackageDescription")):
        return run
    raise CommandError(f"version {number} of {group} was made by no run, but by hand")


def outcome(group: str, number: int, status: str, before: str) -> str:
    """Return what follows from an answer about a version, in words."""
    serving, newest = number_of(serving_arn(group)), max(approved(group), default=None)
    other = other_account(_summary(group, str(number))["ModelPackageArn"])
    return approval.outcome(number, status, before, serving=serving, newest=newest, other=other)


def described(arn: str) -> Mapping[str, Any] | None:
    """Describe a version; None: it is gone."""
    try:
        return boto3.client("sagemaker").describe_model_package(ModelPackageName=arn)
    except ClientError as error:
        if not error.response["Error"]["Message"].endswith("does not exist."):
            raise
        return None


def answer(group: str, number: int, status: str, reason: str | None) -> str:
    """Approve or reject a version, and return what it was before. Raises CommandError: there is none."""
    summary = _summary(group, str(number))
    request = {"ModelPackageArn": summary["ModelPackageArn"], "ModelApprovalStatus": status}
    request |= {"ApprovalDescription": reason} if reason else {}
    boto3.client("sagemaker").update_model_package(**request)
    return str(summary["ModelApprovalStatus"])


def answered(group: str, number: int, status: str, reason: str | None) -> dict[str, Any]:
    """Approve or reject a version; return what follows from it, as a document. Raises CommandError: there is none."""
    before = answer(group, number, status, reason)
    known = {"stack": group, "version": number, "status": status, "before": before}
    return {**known, "outcome": outcome(group, number, status, before)}


def roll_back(group: str, wanted: int | None, reason: str | None) -> tuple[list[int], int]:
    """Reject the version in service and all approved ones above the wanted one, or above the one before it.

    Return (the numbers that were rejected, the number that comes into service). Raises CommandError: there is none.
    """
    serving, listed = _require_serving(group), approved(group)
    target = max((number for number in listed if number < serving), default=None) if wanted is None else wanted
    if target is None or target not in listed:
        which = "no approved version before it" if target is None else f"version {target} is not approved"
        raise CommandError(f"version {serving} of {group} is in service, and {which}; see perennial versions")
    if target >= serving:
        raise CommandError(f"version {serving} of {group} is in service: expected the number of an earlier version")
    why = f"rolled back to version {target}: {reason or approval.NO_REASON}"
    above = sorted((number for number in listed if number > target), key=lambda number: (number == serving, number))
    if serving not in above:
        raise CommandError(f"version {serving} of {group} is in service, and rejected already; see its last mail")
    for number in above:  # the one in service last: its rejection brings the newest approved one into service
        answer(group, number, approval.REJECTED, why)
    return above, target


def _require_serving(group: str) -> int:
    name = serving_arn(group)
    if name is None:
        raise CommandError(f"{group} has no version in service")
    if (number := number_of(name)) is None:
        raise CommandError(f"what {group} serves is no version of the model registry: /{group}/model-package is {name}")
    return number


def number_of(arn: str | None) -> int | None:
    """Return the number of a version by its ARN; None of anything else, which Parameter Store may name."""
    number = (arn or "").rpartition("/")[2]
    return int(number) if number.isdecimal() else None


def serving_number(group: str) -> int | None:
    """Return the number of the version in service; None: nothing is, or no version of the registry."""
    number = (serving_arn(group) or "").rpartition("/")[2]
    return int(number) if number.isdecimal() else None


def serving_arn(group: str) -> str | None:
    """Return what Parameter Store names as the version in service; None: nothing is."""
    return stacks.exported(group, "model-package")


def _summary(group: str, number: str) -> Mapping[str, Any]:
    for summary in summaries(group):
        if str(summary["ModelPackageVersion"]) == number:
            return summary
    raise CommandError(f"{group} has no version {number}; see perennial versions")


def delete_of(group: str, run: str) -> None:
    """Delete the version that a run has made, if there is one."""
    with suppress(NoGroupError):
        if summary := of_run(group, run):
            boto3.client("sagemaker").delete_model_package(ModelPackageName=summary["ModelPackageArn"])


def summaries(group: str, **only: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the versions of a group as lists show them, the newest first. Raises NoGroupError.

    only  further fields of ListModelPackages
    """
    pages = boto3.client("sagemaker").get_paginator("list_model_packages")
    try:
        for page in pages.paginate(ModelPackageGroupName=group, SortBy="CreationTime", SortOrder="Descending", **only):
            yield from page["ModelPackageSummaryList"]
    except ClientError as error:
        if not error.response["Error"]["Message"].endswith("does not exist."):
            raise
        raise NoGroupError(
            f"the stack {group} has no model package group: deploy it again, with this version of Perennial; where "
            f"somebody has deleted it: aws sagemaker create-model-package-group --model-package-group-name {group}"
        ) from error


def _described(summary: Mapping[str, Any], serving: str | None) -> Version:
    arn = summary["ModelPackageArn"]
    described = boto3.client("sagemaker").describe_model_package(ModelPackageName=arn)
    origin = described.get("CustomerMetadataProperties", {})
    return Version(
        number=summary["ModelPackageVersion"],
        status=summary["ModelApprovalStatus"],
        by=approval.answered_by(described),
        created_at=summary["CreationTime"].isoformat(timespec="seconds"),
        run=description.run_of(summary.get("ModelPackageDescription")),
        metric=origin.get("metric"),
        candidate=float(origin["candidate"]) if "candidate" in origin else None,
        arn=arn,
        serves=arn == serving,
        other=approval.other_account(arn, described),
    )
