"""The versions of the stack's model in SageMaker's registry: one for each run whose model passed the gate."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from perennial.registry import approval, description
from perennial.runs.cause import safe
from perennial.runs.run_record import ModelVersion
from perennial_aws import champion
from perennial_aws.clients import client, if_there, is_missing
from perennial_aws.settings import settings

logger = Logger(child=True)

MAX_REASON = 1000  # of the 1,024 characters of an ApprovalDescription


def of_run(run_id: str, started_at: str) -> ModelVersion | None:
    """Return the version that a run has registered; None where it has not, or its version or the group is gone.

    started_at  when the run's execution began, as the record has it
    """
    for summary in _summaries(CreationTimeAfter=started_at):
        if summary.get("ModelPackageDescription") == description.of_run(run_id):
            return _version(summary)
    return None


def _version(summary: dict[str, Any]) -> ModelVersion:
    return {
        "arn": summary["ModelPackageArn"],
        "number": summary["ModelPackageVersion"],
        "status": summary["ModelApprovalStatus"],
    }


def find(number: int) -> ModelVersion | None:
    """Return a version of the group by its number; None where there is none."""
    return next((_version(one) for one in _summaries() if one["ModelPackageVersion"] == number), None)


def newest_approved() -> ModelVersion | None:
    """Return the approved version with the highest number: the one that is to serve. None where there is none.

    What another account has registered is not deployed, approved or not.
    """
    approved = sorted(
        _summaries(ModelApprovalStatus=approval.APPROVED), key=lambda one: one["ModelPackageVersion"], reverse=True
    )
    return next((_version(one) for one in approved if not _is_of_others(one)), None)


def _is_of_others(summary: dict[str, Any]) -> bool:
    return other_account(summary["ModelPackageArn"]) is not None


def other_account(version_arn: str) -> str | None:
    """Return the account that has registered a version, if it is another one than the stack's."""
    return approval.other_account(version_arn, described(version_arn))


def pending() -> list[ModelVersion]:
    """Return the versions that people have neither approved nor rejected."""
    return [_version(one) for one in _summaries(ModelApprovalStatus=approval.PENDING)]


def has_any() -> bool:
    """Return whether the group has a version, approved or not."""
    return next(_summaries(), None) is not None


def described(version_arn: str) -> dict[str, Any] | None:
    """Return what the registry says of a version; None where it is not there any more."""
    return if_there(client("sagemaker").describe_model_package, ModelPackageName=version_arn)


def in_service() -> dict[str, Any] | None:
    """Return what the registry says of the version in service; None where nothing serves, or no version of it."""
    arn = champion.version_arn()
    return described(arn) if arn and arn.startswith("arn:") else None


def with_answerer(version: ModelVersion) -> ModelVersion:
    """Return a version as it is now, with who has answered it; as it was, where it is gone."""
    now = described(version["arn"])
    return {**version, "status": now["ModelApprovalStatus"], "by": approval.answered_by(now)} if now else version


def reject(version_arn: str, why: str, ended_at: datetime) -> bool:
    """Reject a version, in words that its ApprovalDescription takes; return whether it was.

    ended_at  when that ended for which it is rejected: what somebody has said of the version since then holds
    """
    now = described(version_arn)
    if now and now.get("LastModifiedTime", ended_at) > ended_at:
        return False
    client("sagemaker").update_model_package(
        ModelPackageArn=version_arn, ModelApprovalStatus=approval.REJECTED, ApprovalDescription=safe(why, MAX_REASON)
    )
    return True


def delete_all() -> None:
    """Delete every version of the stack's group, so that the group can be deleted."""
    for summary in list(_summaries()):
        if_there(client("sagemaker").delete_model_package, ModelPackageName=summary["ModelPackageArn"])


def _summaries(**since: str) -> Iterator[dict[str, Any]]:
    """Yield the versions of the group; none where there is no group."""
    pages = client("sagemaker").get_paginator("list_model_packages")
    try:
        for page in pages.paginate(ModelPackageGroupName=settings.stack_name, **since):
            yield from page["ModelPackageSummaryList"]
    except ClientError as error:
        if not is_missing(error):
            raise
        logger.warning("the stack's model package group is gone", group=settings.stack_name)
