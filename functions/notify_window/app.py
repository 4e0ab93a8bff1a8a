"""Tell of a window that was judged, or could not be: an event, metrics, and a mail where people have to know.

Called by  EventBridge, "Step Functions Execution Status Change" of monitor_model, however an execution ends.
Writes     one event "Perennial Window Judged", metrics of the verdict, at most one message to the topic

Events come more than once: the end of an execution is told once. An execution that judged no window is logged only.
What fails here is raised, so that Lambda tries again and then keeps the event in the dead-letter queue.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger, single_metric
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from perennial.monitoring import mail, policy, telling
from perennial.monitoring.findings import FAILED
from perennial.runs import cause, naming
from perennial_aws import ends, objects, payloads, runs, windows
from perennial_aws.clients import client
from perennial_aws.settings import settings

logger = Logger()

MAX_FEATURES = 50  # that have a metric: each costs as long as it is published
MAX_DETAIL = 200_000  # characters of an event, which has 256 KB (EventBridge User Guide, "PutEvents entry size")


@dataclass(frozen=True)
class Request:
    """The event."""

    detail: ends.Detail


@dataclass(frozen=True)
class Answer:
    """The window, its verdict, and the message about it; no message where there was nothing to tell."""

    WindowId: str
    Verdict: str
    MessageId: str | None


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Tell the end of an execution once."""
    return ends.once(_tell, payloads.read(Request, event).detail, context)


def _tell(*, end: dict[str, Any], detail: ends.Detail) -> dict[str, Any]:
    execution = client("stepfunctions").describe_execution(executionArn=end["execution_arn"])
    answer = runs.answer(end["execution_arn"]) or {}
    window_id = answer.get("WindowId") or naming.run_id(end["execution_arn"], execution["startDate"])
    if detail["status"] == "SUCCEEDED" and answer.get("Decision") != "Judge":
        logger.info("nothing to tell", window_id=window_id, decision=answer.get("Decision"))
        return asdict(Answer(window_id, str(answer.get("Decision")), None))
    known = windows.known()
    history = windows.history(known)
    position = next((number for number, one in enumerate(history) if one["id"] == window_id), None)
    entry = {} if position is None else history[position]
    window = _closed(window_id, execution, answer, entry)
    window |= {"is_newest": bool(entry) and position == len(history) - 1, "in_service": _serves(window["run"], known)}
    if window["failure"] and (entry.get("decision") or {}).get("retrain"):
        windows.take_back_retraining(window_id)
    window["limit_before"] = policy.limit_before(history, window_id)
    before = [one["verdict"] for one in history[:position]]
    _publish_event(window)
    _count(window)
    is_due = window["failure"] or window["file_before"] or telling.is_due(window, before, windows.bad_news(known))
    message_id = _mail(window) if is_due and (window["failure"] or not entry.get("quiet")) else None
    if is_due:  # a quiet one is told by its run
        windows.note_news(window)
    logger.info("told", window_id=window_id, verdict=window["verdict"], message_id=message_id)
    return asdict(Answer(window_id, window["verdict"], message_id))


def _closed(window_id: str, execution: dict[str, Any], answer: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """Return all that is told of a window. One whose job did not end is Failed, and is judged with the next."""
    prefix, failed = answer.get("Prefix"), execution["status"] != "SUCCEEDED"
    verdict = objects.read_json_if_there(f"{prefix}/verdict.json") if entry else None
    failure = {
        "error": execution.get("error"),
        "cause": execution.get("cause"),
        "state": cause.failed_state(execution.get("cause")),
    }
    known = verdict or {"verdict": FAILED, "reasons": [_why(execution["status"], failure)], "analyses": {}}
    return {
        "stack": settings.stack_name,
        "model": settings.model_name,
        "id": window_id,
        "run": answer.get("RunId"),
        "start": answer.get("Start"),
        "end": answer.get("End"),
        "cut": answer.get("Cut"),
        "skipped": answer.get("Skipped") or [],
        "prefix": prefix,
        "verdict": known["verdict"],
        "reasons": known["reasons"],
        "records": known.get("records"),
        "labels": known.get("ground_truth", {}).get("matched", 0),
        "label_counts": {name: known.get("ground_truth", {}).get(name, 0) for name in mail.LABELS},
        "metric": entry.get("metric"),
        "own_metrics": _own_metrics(known["analyses"], entry.get("metric") or {}),
        "probed": known["analyses"].get("model_quality", {}).get("probed"),
        "decision": entry.get("decision"),
        "file_before": entry.get("file_before"),
        "training": _training(window_id) if not failed and (entry.get("decision") or {}).get("retrain") else None,
        "trains": entry.get("trains"),
        "failure": failure if failed else None,
        "report": f"{prefix}/report.html" if known.get("report", {}).get("file") else None,
        "execution": execution["executionArn"],
        "waited": ends.waited(execution["executionArn"]),
        "columns": known["analyses"].get("data_quality", {}).get("columns", []),
    }


def _serves(run: str | None, known: dict[str, Any]) -> bool:
    return run is not None and run == windows.serving(known)


def _why(status: str, failure: dict[str, Any]) -> str:
    """Return why there is no verdict: the cause first, because the subject has room for few words."""
    ended = {"ABORTED": "a person or a deployment stopped the monitor", "TIMED_OUT": "the monitor was over its time"}
    if status in ended:
        return ended[status]
    state = f" in state {failure['state']!r}" if failure["state"] else ""
    return f"{_cause(failure['error'] or '', failure['cause'])} (the monitor failed{state})"


def _cause(error: str, text: str | None) -> str:
    """Return a cause with the name of our own error, but without those of the platform and of the job."""
    words = cause.in_few_words(text)
    return ": ".join(filter(None, ["" if words and "." in error else error, words])) or "no cause was given"


def _own_metrics(analyses: dict[str, Any], decisive: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what was measured by metrics of the model itself, besides that of the gate."""
    measured = analyses.get("model_quality", {}).get("metrics", [])
    copied = ("name", "value", "interval", "limit", "worse", "not_worse")
    own = [one for one in measured if one.get("is_own") and one["name"] != decisive.get("name")]
    return [{key: one[key] for key in copied if key in one} for one in own]


def _training(window_id: str) -> str:
    """Return the ARN of the training run that this window started: the state machine gave it its name."""
    return f"{settings.training_executions}:drift-{window_id}"


def _publish_event(window: dict[str, Any]) -> None:
    detail = {name: value for name, value in window.items() if name not in ("failure", "waited")}
    text = json.dumps(detail)
    if len(text) > MAX_DETAIL:
        text = json.dumps({**detail, "columns": [], "reasons": detail["reasons"][:20]})
    entry = {"Source": "perennial", "DetailType": "Perennial Window Judged", "Detail": text, "Time": datetime.now(UTC)}
    result = client("events").put_events(Entries=[entry])
    if result["FailedEntryCount"]:
        raise RuntimeError(f"the event of window {window['id']} was refused: {result['Entries'][0]}")


def _count(window: dict[str, Any]) -> None:
    """Publish what dashboards and alarms show; by feature for the first columns, as a metric costs.

    A window of the past says nothing of now: it is counted, and what it measured stands in its verdict.json.
    """
    _metric("WindowsJudged", 1, Verdict=window["verdict"])
    if window["training"]:
        _metric("Retrainings", 1)
    if not window["is_newest"]:
        return
    if window["records"] is not None:
        _metric("WindowRecords", window["records"])
        _metric("WindowLabels", window["labels"])
    if window["probed"]:
        _metric("ProbedRows", window["probed"]["rows"])
    for column in window["columns"][:MAX_FEATURES]:
        if column["distance"] is not None:
            _metric("FeatureDrift", column["distance"]["largest"], Feature=column["name"])
    for one in [*filter(None, [window["metric"]]), *window["own_metrics"]]:
        _metric("ModelMetric", one["value"], Metric=one["name"])
        _metric("ModelMetricLimit", one["limit"], Metric=one["name"])
    if window["metric"] and window["in_service"]:
        _metric("ModelWorse", int(window["metric"]["worse"]))


def _metric(name: str, value: float, **dimensions: str) -> None:
    with single_metric(name=name, unit=MetricUnit.NoUnit, value=value) as metric:
        metric.add_dimension("service", settings.stack_name)
        for key, text in dimensions.items():
            metric.add_dimension(key, text)


def _mail(window: dict[str, Any]) -> str:
    arn = window["execution"].split(":")
    text = mail.compose(window, region=arn[3], partition=arn[1])
    # A monitor that failed is for who operates it; all else is about the data.
    of_operators = window["failure"] or window["verdict"] == FAILED
    return ends.publish(settings.topic_arn if of_operators else settings.data_topic_arn, text, window["verdict"])
