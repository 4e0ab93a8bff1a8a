"""Ask people whether a version may serve, and keep the token with which the run goes on when they have answered.

Called by  train_model, state "Wait for approval", which waits for an answer with the token: functions/answer_approval
Writes     the run's turn to deploy, given back: people may take days; the item `approval#<ARN>` of the run table;
           runs/<run id>/approval.json and approval.html, its record and its report so far; one message to the
           approvers' topic

A call that comes again brings another token, which takes the place of the first; people are asked once.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from perennial.registry import approval
from perennial.runs import message, record, work
from perennial.runs.run_record import ModelVersion, RunRecord
from perennial_aws import approvals, ends, model_versions, objects, payloads, run_report, runs
from perennial_aws.settings import settings

logger = Logger()


@dataclass(frozen=True)
class Request:
    """A run, the ARN of its version, and how many days it waits."""

    RunId: str
    ExecutionArn: str
    Version: str
    Days: int
    TaskToken: str


@dataclass(frozen=True)
class Answer:
    """The message; None where people were asked before."""

    MessageId: str | None


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Ask once; who has answered before the token was there is heard, too."""
    request = payloads.read(Request, event)
    runs.give_turn_back(request.ExecutionArn)
    were_asked = approvals.wait_for(request.Version, request.RunId, request.ExecutionArn, request.TaskToken)
    message_id = None if were_asked else _ask(request)
    if described := model_versions.described(request.Version):
        approvals.resume(described)
    logger.info("asked", run_id=request.RunId, version=request.Version, message_id=message_id)
    return asdict(Answer(message_id))


def _ask(request: Request) -> str:
    known = runs.get(request.RunId)
    if known is None:
        raise LookupError(f"run {request.RunId} has no record in table {settings.run_table}")
    folder = f"s3://{known['bucket']}/runs/{request.RunId}"
    report = objects.read_json_if_there(f"{folder}/report/report.json")
    version: ModelVersion = {
        "arn": request.Version,
        "number": int(request.Version.rpartition("/")[2]),
        "status": approval.PENDING,
    }
    waiting: RunRecord = {**runs.with_all_files(known), **record.of_report(report), "version": version}
    waiting["status"] = work.AWAITS_APPROVAL
    waiting["report"] = run_report.leave(waiting, report, "approval.html")
    objects.write_json(f"{folder}/approval.json", waiting)
    text = message.ask(waiting, version, request.Days)
    message_id = ends.publish(settings.approver_topic_arn, text, work.AWAITS_APPROVAL)
    approvals.were_asked(request.Version)
    return message_id
