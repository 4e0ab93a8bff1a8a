"""Do what somebody has decided about a version: let the run that waits go on or end, deploy the version, or go back.

Called by  EventBridge, "SageMaker Model Package State Change", of versions of the stack's group whose approval changed;
           and "Step Functions Execution Status Change" of runs that have ended
Starts     train_model with {"ModelVersion": ...}, where no run waits: after an approval that came late, and after the
           rejection of the version in service. It deploys the newest approved version, or says that there is none.

A version that is rejected while its run works, which may be deploying it, is looked at when that run has ended, and so
is one that was approved as the time of its run ended. Then runs that wait with older versions end as well.

What the registry says now is what counts: events may come more than once, and in another order than the answers.
What fails here is raised, so that Lambda tries again and then keeps the event in the dead-letter queue.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypedDict

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from perennial.registry import approval, description
from perennial.runs import work
from perennial_aws import approvals, champion, model_versions, payloads, runs
from perennial_aws.clients import client, code_of
from perennial_aws.settings import settings

logger = Logger()


class Detail(TypedDict, total=False):
    """The detail of the event, as far as it is read: of a version that was answered, or of a run that has ended."""

    ModelPackageArn: str
    executionArn: str


@dataclass(frozen=True)
class Request:
    """The event."""

    id: str
    detail: Detail


@dataclass(frozen=True)
class Answer:
    """The version, what the registry says of it (None: it is gone, or none of the run serves), and what was done."""

    Version: str | None
    Status: str | None
    Done: str


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Tell the run that waits, if one does; else see to it that the newest approved version serves."""
    request = payloads.read(Request, event)
    ended = request.detail.get("executionArn")
    described = _of_run_that_ended(ended) if ended else model_versions.described(request.detail["ModelPackageArn"])
    arn = described["ModelPackageArn"] if described else request.detail.get("ModelPackageArn")
    if described is None:
        answer = Answer(arn, None, "Nothing")
    else:
        done = "Resumed" if approvals.resume(described) else _follow(described, request.id)
        if ended and described["ModelApprovalStatus"] == approval.APPROVED:
            approvals.end_older_than(described["ModelPackageVersion"])
        answer = Answer(arn, str(described["ModelApprovalStatus"]), done)
    logger.info("answered", version=arn, status=answer.Status, done=answer.Done)
    return asdict(answer)


def _of_run_that_ended(execution_arn: str) -> dict[str, Any] | None:
    """Describe the version that an execution brought into service, or that of a run that nobody answered in time."""
    answer = runs.answer(execution_arn)
    return (_brought_into_service(answer) or _out_of_time(answer, execution_arn)) if answer else None


def _brought_into_service(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    """Describe the version in service if the execution of this answer has deployed it, else return None."""
    described = model_versions.in_service()
    is_its_own = described and description.run_of(described.get("ModelPackageDescription")) == answer["RunId"]
    return described if is_its_own else None


def _out_of_time(answer: Mapping[str, Any], execution_arn: str) -> dict[str, Any] | None:
    """Describe the version of a run that has ended unapproved: an answer at the last moment met a run that worked."""
    if answer["Decision"] != "Train" or runs.status_of_execution(execution_arn) != work.NOT_APPROVED:
        return None
    known = runs.get(answer["RunId"])
    version = model_versions.of_run(answer["RunId"], known["execution"]["started_at"]) if known else None
    return model_versions.described(version["arn"]) if version else None


def _follow(described: dict[str, Any], event_id: str) -> str:
    arn, status = described["ModelPackageArn"], described["ModelApprovalStatus"]
    if status not in (approval.APPROVED, approval.REJECTED):
        return "Nothing"
    serving, newest = champion.version_arn(), model_versions.newest_approved()
    works = partial(_works, described)
    step = approval.follows(arn, status, serving, newest["arn"] if newest else None, works=works)
    if step == "Deploy":
        number = newest["number"] if newest else described["ModelPackageVersion"]
        _deploy(number, described.get("LastModifiedTime") or described["CreationTime"], event_id)
    return step


def _works(described: dict[str, Any]) -> bool:
    """Return whether the run that has registered a version still works; that of one from elsewhere has ended there."""
    run_id = description.run_of(described.get("ModelPackageDescription"))
    known = runs.get(run_id) if run_id else None
    if known is None or known.get("promotions"):
        return False
    return runs.status_of_execution(known["execution"]["arn"]) == work.RUNNING


def _deploy(number: int, answered_at: datetime, event_id: str) -> None:
    """Start the execution that deploys a version, once for each answer, of which there may be several events."""
    document = {"Trigger": {"Type": "Registry", "Id": event_id}, "ModelVersion": number}
    try:
        client("stepfunctions").start_execution(
            stateMachineArn=settings.state_machine_arn,
            name=f"version-{number}-{answered_at:%Y%m%d%H%M%S%f}",
            input=json.dumps(document),
        )
    except ClientError as error:
        if code_of(error) != "ExecutionAlreadyExists":
            raise
