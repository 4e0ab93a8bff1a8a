"""The versions of the stack's model in SageMaker's registry: one for each run whose model passed the gate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from perennial.registry import description
from perennial.runs.run_record import ModelVersion
from perennial_aws.clients import client, if_there, is_missing
from perennial_aws.settings import settings

logger = Logger(child=True)


def of_run(run_id: str, started_at: str) -> ModelVersion | None:
    """Return the version that a run has registered; None where it has not, or its version or the group is gone.

    started_at  when the run's execution began, as the record has it
    """
    for summary in _summaries(CreationTimeAfter=started_at):
        if summary.get("ModelPackageDescription") == description.of_run(run_id):
            return {
                "arn": summary["ModelPackageArn"],
                "number": summary["ModelPackageVersion"],
                "status": summary["ModelApprovalStatus"],
            }
    return None


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
