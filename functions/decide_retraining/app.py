"""Note what a window amounts to, and decide whether drift starts a training run.

Called by  monitor_model, state "Decide retraining", when the window's job has ended; score_batch, likewise, when a file
           was checked, which is judged as a window is.
Reads      monitoring/<window id>/verdict.json and config.json; of a file those below batch/runs/<batch id>/
Writes     the window into what is known of windows, in the run table; the answer. The same execution gets the same.
           Takes its file away from the data, where it was judged before and gives no rows any more.
Raises     VerdictMissingError: the job ended without a verdict; permanent.
           HistoryContestedError: other monitors wrote what is known of windows over and over; transient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypedDict

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from perennial.monitoring import period, policy
from perennial.monitoring.findings import HEALTHY
from perennial.runs import naming, work
from perennial.runs.cause import safe
from perennial_aws import objects, payloads, windows
from perennial_aws.clients import client
from perennial_aws.settings import settings

logger = Logger()

MAX_REASON = 300  # characters of what the output says
MAX_NAME = 200  # of a file: two hundred of them are one item of the table


@dataclass(frozen=True)
class Request:
    """A window whose job has ended; times are in UTC, 2026-11-29T10:00:00Z.

    File  the file that was checked before it is scored, which is judged as a window is, from no time to no other
    """

    WindowId: str
    RunId: str
    Prefix: str
    Start: str
    End: str
    File: str | None = None


class LabelledRows(TypedDict):
    """The file of a window's labelled records, the key of its copy among the data, and what the copy says of itself."""

    CopySource: str
    Key: str
    Metadata: dict[str, str]


@dataclass(frozen=True)
class Answer:
    """The window's verdict, and whether a run starts; Labelled: what goes among the data, oldest first."""

    Verdict: str
    Retrain: bool
    Reason: str
    Labelled: list[LabelledRows]


class VerdictMissingError(Exception):
    """The window's job ended as Completed, and its verdict is not there."""


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Decide once: a window that is known with its decision keeps it."""
    request = payloads.read(Request, event)
    history = windows.remember(request.WindowId, partial(_decided, request), "batches" if request.File else "windows")
    entry = next(one for one in history if one["id"] == request.WindowId)
    decision = entry["decision"] or {"retrain": False, "reason": _why_not(request, entry["verdict"])}
    became = (entry.get("file_before") or {}).get("became")
    if became == policy.TAKEN_AWAY:
        client("s3").delete_object(Bucket=settings.bucket, Key=_key(entry))
    known = _with_rows_that_are_there(history, request.WindowId) if decision["retrain"] else []
    learned = policy.unlearned(known, request.WindowId)
    if not learned and became == policy.REPLACED:
        learned = [entry]
    logger.info("decided", window_id=request.WindowId, verdict=entry["verdict"], **decision)
    return asdict(Answer(entry["verdict"], decision["retrain"], decision["reason"], _labelled(learned)))


def _decided(
    request: Request, history: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the window as it is remembered: its verdict, and what the policy says of it."""
    verdict = objects.read_json_if_there(f"{request.Prefix}/verdict.json")
    if verdict is None:
        raise VerdictMissingError(
            f"{request.Prefix}/verdict.json is not there, though the window's job ended as Completed; see its log in "
            "/aws/sagemaker/ProcessingJobs, and judge the window again"
        )
    definition = objects.read_json(f"{request.Prefix}/config.json")["definition"]
    entry = {
        "id": request.WindowId,
        "run": request.RunId,
        "start": request.Start,
        "end": request.End,
        "verdict": verdict["verdict"],
        "metric": _metric(verdict, definition["gate"]["metric"]),
        "labelled_rows": verdict.get("labelled_rows", 0),
        "decision": None,
    }
    if request.File:
        entry["file"] = request.File[:MAX_NAME]
    elif _has_file(entry):  # it was judged before: what it gives now takes the place of that, whatever is decided
        became = policy.REPLACED if entry["labelled_rows"] else policy.TAKEN_AWAY
        entry["file_before"] = {"uri": f"s3://{settings.bucket}/{_key(entry)}", "became": became}
    rules, now = definition["monitoring"]["retraining"], datetime.now(UTC)
    judged = _with_rows_that_are_there(policy.remembered(history, entry), request.WindowId)
    serving = None if request.File else windows.serving()  # the newest approved model scores, and may not serve yet
    decided = policy.decide(entry, judged, rules, now, _why_no_rows(request, verdict), serving, others)
    if decided:
        entry["decision"] = asdict(decided)
    if decided and decided.retrain:
        # Whoever wants retraining alone hears of it by the run's own mail.
        quiet = rules["action"] == "retrain"
        entry |= {"retrained_at": period.written(now), "quiet": quiet, "trains": policy.what_trains(definition)}
    return entry


def _why_not(request: Request, verdict: str) -> str:
    """Return why a window that has not drifted starts nothing: what else it is, and the first reason."""
    if verdict == HEALTHY:
        return "no drift"
    judged = objects.read_json_if_there(f"{request.Prefix}/verdict.json") or {}
    first = next(iter(judged.get("reasons", [])), "its verdict.json says no reason")
    return f"only drift retrains; this is {verdict}: {safe(first, MAX_REASON)}"


def _why_no_rows(request: Request, verdict: dict[str, Any]) -> str | None:
    """Return why there are no labelled rows to learn from, and what would help."""
    if settings.data_bucket == settings.bucket or not verdict.get("labelled_rows"):
        return verdict.get("no_labelled_rows")
    return (
        f"nothing is written into s3://{settings.data_bucket}, where the data are: put "
        f"{request.Prefix}/labelled/rows.csv there, which starts a run itself"
    )


def _metric(verdict: dict[str, Any], name: str) -> dict[str, Any] | None:
    """Return what is known of the gate's metric in this window; None where it was not measured."""
    metrics = verdict["analyses"].get("model_quality", {}).get("metrics", [])
    copied = ("name", "value", "interval", "limit", "worse", "not_worse")
    return next(({key: one[key] for key in copied if key in one} for one in metrics if one["name"] == name), None)


def _labelled(judged: Sequence[Mapping[str, Any]]) -> list[LabelledRows]:
    """Return the rows of windows that the run is to learn from."""
    return [
        {
            "CopySource": f"{settings.bucket}/{_rows_of(one['id'])}",
            "Key": _key(one),
            "Metadata": {work.JUDGED_WINDOW: one["id"]},
        }
        for one in judged
    ]


def _with_rows_that_are_there(history: Sequence[Mapping[str, Any]], window_id: str) -> list[Mapping[str, Any]]:
    """Return the history; windows that no run has learned from and whose rows no run can have, have none.

    Their file was erased meanwhile, or the data are in a bucket that is not the stack's, which is only read.
    """
    is_only_read = settings.data_bucket != settings.bucket
    without = {
        one["id"]
        for one in policy.unlearned(history, window_id)
        if is_only_read or not objects.keys(f"s3://{settings.bucket}/{_rows_of(one['id'])}")
    }
    return [{**one, "labelled_rows": 0} if one["id"] in without else one for one in history]


def _has_file(window: Mapping[str, Any]) -> bool:
    """Return whether rows of a window are among the data of the stack's own bucket."""
    return settings.data_bucket == settings.bucket and _key(window) in objects.keys(
        f"s3://{settings.bucket}/{_key(window)}"
    )


def _key(window: Mapping[str, Any]) -> str:
    return naming.labelled_key(settings.data_prefix, window["start"], window["end"])


def _rows_of(window_id: str) -> str:
    return f"monitoring/{window_id}/labelled/rows.csv"
