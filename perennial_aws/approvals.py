"""Runs that wait until people approve a version, and the answer that the registry has for them.

The item `approval#<ARN of the version>` of the run table has the token of the task that waits: {"run_id",
"execution_arn", "token", "asked"}. The registry is asked what the answer is, so that it does not matter who has
answered from where, how often the event comes, and in which order events do.
"""

from __future__ import annotations

import json
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from perennial.registry import approval
from perennial_aws import model_versions, runs
from perennial_aws.clients import client, code_of

logger = Logger(child=True)

# The task has been answered, or its time was over, or its execution has ended.
ANSWERED = ("InvalidToken", "TaskDoesNotExist", "TaskTimedOut")


def wait_for(version_arn: str, run_id: str, execution_arn: str, token: str) -> bool:
    """Keep the token of the task that waits for a version; return whether people have been asked about it before.

    Whoever calls last waits: each call changes what is its own of the item, in one step.
    """
    before = runs.change(_id(version_arn), run_id=run_id, execution_arn=execution_arn, token=token)
    return bool(before.get("asked"))


def were_asked(version_arn: str) -> None:
    """Note that people have been asked about a version, whoever waits for it by now."""
    runs.change(_id(version_arn), asked=True)


def resume(described: dict[str, Any]) -> bool:
    """Give the run that waits for a version its answer, if there is one by now; return whether it took it."""
    waiting, status = runs.item(_id(described["ModelPackageArn"])), described["ModelApprovalStatus"]
    if not waiting or status not in (approval.APPROVED, approval.REJECTED):
        return False
    reason = described.get("ApprovalDescription")
    if status == approval.APPROVED:
        return _answered(waiting, "send_task_success", output=json.dumps({"Reason": reason}))
    cause = approval.rejected(reason)
    return _answered(waiting, "send_task_failure", error=approval.VERSION_REJECTED, cause=cause)


def end_older_than(number: int) -> None:
    """End the runs that wait for the approval of versions older than the one that has come into service."""
    for version in model_versions.pending():
        waiting = runs.item(_id(version["arn"])) if version["number"] < number else None
        if waiting:
            cause = f"version {number}, which is newer, was approved and has come into service"
            _answered(waiting, "send_task_failure", error=approval.SUPERSEDED, cause=cause)


def _answered(waiting: dict[str, Any], operation: str, **answer: str) -> bool:
    """Answer the task of a run that waits; return whether it took the answer."""
    try:
        getattr(client("stepfunctions"), operation)(taskToken=waiting["token"], **answer)
    except ClientError as error:
        if code_of(error) not in ANSWERED:
            raise
        logger.info("the run does not wait any more", run_id=waiting["run_id"], problem=code_of(error))
        return False
    return True


def _id(version_arn: str) -> str:
    return f"approval#{version_arn}"
