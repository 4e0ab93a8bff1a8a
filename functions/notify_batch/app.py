"""Tell how a file that was to be scored has ended: its record, metrics, one mail.

Called by  EventBridge, "Step Functions Execution Status Change" of score_batch, however an execution ends.
Writes     batch/runs/<batch id>/batch.json; metrics; one message to the topic: of a failure to whoever operates the
           stack, of anything else to whoever answers for the data

Events come more than once: the end of an execution is told once. An execution that scored no file is logged only.
What fails here is raised, so that Lambda tries again and then keeps the event in the dead-letter queue.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from aws_lambda_powertools import Logger, single_metric
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from perennial.batch import mail
from perennial.runs import cause, naming
from perennial.runs.batch_input import file_of
from perennial_aws import batches, ends, objects, payloads, runs, windows
from perennial_aws.clients import client
from perennial_aws.settings import settings

logger = Logger()

STATUSES = {"InputDrifted": mail.DRIFT, "InputBroken": mail.BAD_DATA}  # by the error of the state machine
STOPPED = {"ABORTED": "somebody has stopped it", "TIMED_OUT": "it was over its time"}


@dataclass(frozen=True)
class Request:
    """The event."""

    detail: ends.Detail


@dataclass(frozen=True)
class Answer:
    """The batch, how it has ended, and the message about it; no message where there was nothing to tell."""

    BatchId: str
    Status: str
    MessageId: str | None


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Tell the end of an execution once."""
    return ends.once(_tell, payloads.read(Request, event).detail, context)


def _tell(*, end: dict[str, Any], detail: ends.Detail) -> dict[str, Any]:
    execution = client("stepfunctions").describe_execution(executionArn=end["execution_arn"])
    answer = runs.answer(end["execution_arn"]) or {}
    batch_id = answer.get("BatchId") or naming.run_id(end["execution_arn"], execution["startDate"])
    if detail["status"] == "SUCCEEDED" and answer.get("Decision") != "Score":
        logger.info("nothing to tell", batch_id=batch_id, decision=answer.get("Decision"))
        return asdict(Answer(batch_id, str(answer.get("Decision")), None))
    batch = _closed(batch_id, execution, answer)
    objects.write_json(f"{batches.folder('runs', batch_id)}/batch.json", batch)
    _count("BatchesEnded", 1, Status=batch["status"])
    if batch["status"] == mail.SCORED:
        _count("BatchRows", batch["rows"])
    arn = batch["execution"].split(":")
    text = mail.compose(batch, region=arn[3], partition=arn[1])
    topic = settings.topic_arn if batch["status"] == mail.FAILED else settings.data_topic_arn
    message_id = ends.publish(topic, text, batch["status"])
    logger.info("told", batch_id=batch_id, status=batch["status"], message_id=message_id)
    return asdict(Answer(batch_id, batch["status"], message_id))


def _closed(batch_id: str, execution: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
    """Return all that is told of a batch."""
    prefix = batches.folder("runs", batch_id)
    verdict = objects.read_json_if_there(f"{prefix}/verdict.json") or {}
    has_ended = execution["status"] == "SUCCEEDED"
    status = mail.SCORED if has_ended else STATUSES.get(str(execution.get("error")), mail.FAILED)
    output = json.loads(execution.get("output") or "{}")
    report = objects.read_json(output["Report"]) if has_ended else {}
    failure = _failure(execution) if status == mail.FAILED else None
    return {
        "stack": settings.stack_name,
        "model": settings.model_name,
        "id": batch_id,
        "status": status,
        "file": answer.get("Key") or file_of(json.loads(execution["input"])),
        "version_id": answer.get("VersionId"),
        "source": answer.get("Source"),
        "run": answer.get("RunId"),
        "version": answer.get("Version"),
        "started_at": execution["startDate"].isoformat(),
        "ended_at": execution["stopDate"].isoformat(),
        "reasons": [_why(execution["status"], failure)] if failure else verdict.get("reasons", []),
        "rows": verdict.get("rows"),
        "refused": verdict.get("refused"),
        "refusals": verdict.get("refusals", {}),
        "first_refused": report.get("first_refused", []),
        "scored": report.get("scored"),
        "captured": report.get("captured"),
        "predictions": report.get("predictions"),
        "decision": _decision(batch_id) if status == mail.DRIFT else None,
        "failure": failure,
        "result": output.get("Scored"),
        "report": output.get("Report"),
        "page": output.get("Page") if has_ended else _page(prefix, verdict),
        "original": output.get("Done"),
        "verdict": f"{prefix}/verdict.json" if verdict else None,
        "execution": execution["executionArn"],
        "waited": ends.waited(execution["executionArn"]),
    }


def _page(prefix: str, verdict: dict[str, Any]) -> str | None:
    """Return where the page about a file is of which nothing was scored."""
    return f"{prefix}/{verdict['page']['file']}" if "file" in verdict.get("page", {}) else None


def _failure(execution: dict[str, Any]) -> dict[str, Any]:
    text = execution.get("cause")
    return {"error": execution.get("error"), "cause": text, "state": cause.failed_state(text)}


def _why(status: str, failure: dict[str, Any]) -> str:
    """Return why a file was not scored: the cause first, because the subject has room for few words."""
    if status in STOPPED:
        return STOPPED[status]
    return cause.in_few_words(failure["cause"]) or failure["error"] or "no cause was given"


def _decision(batch_id: str) -> dict[str, Any] | None:
    """Return what the retraining policy has said."""
    return next((one["decision"] for one in windows.batches() if one["id"] == batch_id), None)


def _count(name: str, value: float, **dimensions: str) -> None:
    with single_metric(name=name, unit=MetricUnit.NoUnit, value=value) as metric:
        metric.add_dimension("service", settings.stack_name)
        for key, text in dimensions.items():
            metric.add_dimension(key, text)
