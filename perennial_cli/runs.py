"""The runs of a stack: those that have ended, by their records, and those at work, by their executions."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, BinaryIO, cast

import boto3
from botocore.exceptions import ClientError

from perennial.runs import comparison, message, news, no_data, run_input, trials
from perennial.runs.naming import run_id
from perennial.runs.run_id import RUN_ID
from perennial.runs.run_record import RunRecord
from perennial.runs.work import AWAITS_APPROVAL, RUNNING
from perennial_cli import elsewhere, parts, versions
from perennial_cli.console import CommandError, WrongUseError
from perennial_cli.elsewhere import Address
from perennial_cli.stacks import Stack

AT_ONCE, LATEST = 16, "latest"
RECORD = "runs/{}/run.json"
SO_FAR = "runs/{}/approval.json"  # as it was when people were asked
SUCCESSES = ("Succeeded", "Superseded", "AlreadyTrained", "NoData", "TrainedOnly")
AT_WORK = (RUNNING, AWAITS_APPROVAL)
ENDING = timedelta(seconds=30)  # the record of a run is written by then
FAILURES = ("Failed", "TimedOut", "Aborted")


@dataclass(frozen=True)
class Execution:
    """An execution of the state machine, which a run is."""

    arn: str
    run_id: str
    started_at: datetime
    status: str
    ended_at: datetime | None

    @classmethod
    def of(cls, item: Mapping[str, Any]) -> Execution:
        """Read what Step Functions says of an execution."""
        arn, ended_at = item["executionArn"], item.get("stopDate")
        return cls(arn, run_id(arn, item["startDate"]), item["startDate"].astimezone(UTC), item["status"], ended_at)


def executions(stack: Stack, status: str | None = None) -> Iterator[Execution]:
    """Yield the executions of a stack, the newest first."""
    only: Any = {"statusFilter": status} if status else {}
    pages = boto3.client("stepfunctions").get_paginator("list_executions")
    for page in pages.paginate(stateMachineArn=stack.state_machine_arn, **only):
        yield from (Execution.of(item) for item in page["executions"])


def execution(stack: Stack, run: str | None) -> Execution:
    """Return the execution of a run, or the newest. Raises CommandError: there is none."""
    for one in executions(stack):
        if run is None or run in (one.run_id, one.arn, one.arn.rpartition(":")[2]):
            return one
    if run is None:
        raise CommandError(f"{stack.name} has not run yet; `perennial drop FILE` starts a run")
    raise CommandError(
        f"{stack.name} has no execution of the run {run}: histories are kept for 90 days; see perennial runs"
    )


def record(stack: Stack, run: str, *, may_wait: bool = False) -> dict[str, Any]:
    """Return the record of a run that has ended; if it may, of one that waits for people. Raises CommandError: none."""
    known = document(stack, RECORD.format(require_id(run)))
    if known is None and may_wait:
        known = document(stack, SO_FAR.format(run))
    if known is None:
        raise CommandError(
            f"the run {run} of {stack.name} has no record: it has not ended, trained nothing, or is none of its runs. "
            "See perennial runs"
        )
    return known


def document(stack: Stack, key: str) -> dict[str, Any] | None:
    """Return a document in the stack's bucket; None where it is not there (yet).

    Who may list but some prefixes is refused by S3 (403) what is not there, and the list tells.
    """
    s3 = boto3.client("s3")
    try:
        return dict(json.loads(s3.get_object(Bucket=stack.bucket, Key=key)["Body"].read()))
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "NoSuchKey":
            return None
        if code != "AccessDenied" or s3.list_objects_v2(Bucket=stack.bucket, Prefix=key, MaxKeys=1)["KeyCount"]:
            raise
        return None


def of(stack: Stack, run: str, *, may_wait: bool = False) -> dict[str, Any]:
    """Return the record of a run by its id or its version, or of the latest that has ended.

    may_wait  whether the record so far is good enough of a run that waits for people

    Raises CommandError: there is none.
    """
    if run.isdecimal():
        return record(stack, versions.run_of(stack.name, run), may_wait=may_wait)
    if run != LATEST:
        return record(stack, run, may_wait=may_wait)
    ended = [one for one in newest(stack, 5) if one["status"] not in AT_WORK]
    if not ended:
        raise CommandError(f"no run of {stack.name} has ended yet")
    return ended[0]


def has_begun(record: Mapping[str, Any]) -> bool:
    """Return whether a run got data and a configuration to train with: one that deploys a version needs none."""
    return "configuration" in record


def require_here(record: Mapping[str, Any]) -> None:
    """Raise CommandError when a run cannot be run again: it has trained nothing, or somewhere else."""
    if not has_begun(record):
        deployed = (record.get("deployment") or {}).get("run_id")
        instead = f"it deployed the model of run {deployed}; reproduce that" if deployed else "see perennial runs"
        raise CommandError(f"the run {record['run_id']} has trained nothing: {instead}")
    if steps := record.get("promotions"):
        raise CommandError(
            f"the run {record['run_id']} has trained in {steps[0]['stack']}, where its data are: reproduce it there"
        )


def reason(record: Mapping[str, Any]) -> str:
    """Return why a run ended as it did, in the words of its mail; of one that is withheld, why it passed the gate."""
    if record.get("withheld"):
        return str((record.get("gate") or {}).get("reason") or "")
    return message.why(cast(RunRecord, record))


def brief(record: Mapping[str, Any]) -> str:
    """Return why a run ended as it did, where there is little room."""
    return message.in_few_words(cast(RunRecord, record))


def decision(record: Mapping[str, Any]) -> str:
    """Return what was decided about a run's model, what went wrong, or what it waits for; nothing while it works."""
    if record["status"] == AWAITS_APPROVAL:
        version = record["version"]["number"]
        return f"perennial approve {version}, or reject {version}"
    if record["status"] in FAILURES:
        return brief(record)
    gate, deployment = record.get("gate") or {}, record.get("deployment") or {}
    decided = (record.get("withheld"), gate.get("brief"), gate.get("reason"), deployment.get("reason"))
    return str(next(filter(None, decided), ""))


def doubts(record: Mapping[str, Any]) -> list[str]:
    """Return what was not used of the data and why, and what makes the outcome doubtful, as the mail has it."""
    one = cast(RunRecord, record)
    lines = [item.line for item in (*news.missing(one), *news.cautions(one)) if item.line]
    aside = (record.get("data") or {}).get("aside") or []
    reasons = [f"{stray['Key']}: {stray['Reason']}" for stray in aside if not news.is_reported(stray["Reason"], one)]
    return [*lines, *reasons]


def explained(stack: Stack, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record with the importances of its model's features, where it got so far that there are some."""
    analysis = document(stack, f"runs/{record['run_id']}/baselines/attribution/analysis.json")
    return {**record, "importances": comparison.shares(analysis)} if analysis else dict(record)


def require_id(run: str) -> str:
    """Return the id of a run. Raises WrongUseError: it is none."""
    if not RUN_ID.fullmatch(run):
        raise WrongUseError(f"{run!r} is no id of a run; expected one such as 20261129101500-1a2b (perennial runs)")
    return run


def newest(stack: Stack, most: int) -> list[dict[str, Any]]:
    """Return the newest runs, those at work among them: records, or what is known of an execution.

    A run whose execution has ended just now is at work until its record is there.
    """
    ended = ids(stack)[-most:]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        records = pool.map(lambda run: _record_or_none(stack, run), ended)
        listed = {one["run_id"]: one for one in records if one is not None}
    running = list(executions(stack, "RUNNING"))
    waiting = versions.waiting(stack.name) if running else {}
    since = datetime.now(UTC) - ENDING
    recent = [one for one in islice(executions(stack), AT_ONCE) if one.ended_at and one.ended_at > since]
    for one in (*running, *(one for one in recent if one.run_id not in listed)):
        begun = {"run_id": one.run_id, "status": RUNNING, "execution": {"started_at": one.started_at.isoformat()}}
        if version := waiting.get(one.run_id):
            begun |= {"status": AWAITS_APPROVAL, "version": versions.as_version(version)}
        listed[one.run_id] = begun
    return [listed[run] for run in sorted(listed, reverse=True)][:most]


def ids(stack: Stack, folder: str = "runs/") -> list[str]:
    """Return the ids of all runs, batches or windows that have left something, the oldest first."""
    pages = boto3.client("s3").get_paginator("list_objects_v2")
    listed = pages.paginate(Bucket=stack.bucket, Prefix=folder, Delimiter="/")
    names = [item["Prefix"].split("/")[-2] for page in listed for item in page.get("CommonPrefixes", [])]
    return sorted(name for name in names if RUN_ID.fullmatch(name))


def documents(stack: Stack, folder: str, name: str, most: int) -> list[dict[str, Any]]:
    """Return the documents of the newest batches or windows that have ended, the newest first."""
    newest_first = ids(stack, folder)[: -most - 1 : -1]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        read = pool.map(lambda one: document(stack, f"{folder}{one}/{name}"), newest_first)
        return [{"id": one, **known} for one, known in zip(newest_first, read, strict=True) if known]


def _record_or_none(stack: Stack, run: str) -> dict[str, Any] | None:
    try:
        return record(stack, run)
    except CommandError:
        return None


def replay(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the input that runs the same again: what was tuned has the values of the best trial.

    Raises ConfigurationError: it is none.
    """
    overrides = (record.get("input") or {}).get("Overrides") or {}
    if best := trials.best_values(record):
        overrides = {**overrides, "HyperParameters": {**overrides.get("HyperParameters", {}), **best}}
    again = {"Trigger": {"Type": "Manual"}, "Replay": record["run_id"]}
    wanted = {**again, **({"Overrides": overrides} if overrides else {})}
    run_input.execution_input(wanted)
    return wanted


def id_of(execution_arn: str) -> str:
    """Return the id of the run that an execution is."""
    described = boto3.client("stepfunctions").describe_execution(executionArn=execution_arn)
    return run_id(execution_arn, described["startDate"])


def start(stack: Stack, execution_input: Mapping[str, Any], machine: str | None = None) -> str:
    """Start a run and return the ARN of its execution; of another state machine than the one that trains, if given."""
    started = boto3.client("stepfunctions").start_execution(
        stateMachineArn=machine or stack.state_machine_arn, input=json.dumps(execution_input)
    )
    return str(started["executionArn"])


def drop(stack: Stack, key: str, body: BinaryIO) -> dict[str, Any]:
    """Put a data file where a stack takes its data, and return where that is: bucket, key and version of the object.

    Raises CommandError: a run would take it for no data.
    """
    size = body.seek(0, os.SEEK_END)
    body.seek(0)
    bucket, whole = _place_of(stack, key, size)
    return {"bucket": bucket, "key": whole, "version": parts.put(boto3.client("s3"), body, bucket, whole)}


def drop_copy(stack: Stack, key: str, at: Address) -> dict[str, Any]:
    """Let S3 copy a data file there, and return as `drop` does. Raises CommandError: besides, it cannot be copied."""
    s3 = boto3.client("s3")
    original = elsewhere.find(s3, at)
    bucket, whole = _place_of(stack, key, original.size_bytes)
    return {"bucket": bucket, "key": whole, "version": elsewhere.copy_visibly(s3, original, bucket, whole)}


def _place_of(stack: Stack, key: str, size: int) -> tuple[str, str]:
    if why := no_data.reason(key) or (None if size else no_data.EMPTY):
        raise CommandError(f"{key} would be taken for no data: {why}; choose another file, or another name for it")
    return stack.outputs["DataBucketName"], f"{stack.outputs['DataPrefix']}{key}"


def windows(stack: Stack, most: int) -> list[dict[str, Any]]:
    """Return the newest windows that the monitor has judged, the newest first, each with where its report is."""
    return [_with_report(stack, one) for one in documents(stack, "monitoring/", "verdict.json", most)]


def window(stack: Stack, window_id: str) -> dict[str, Any]:
    """Return one window that the monitor has judged, as `windows` does."""
    verdict = document(stack, f"monitoring/{window_id}/verdict.json") or {}
    return _with_report(stack, {**verdict, "id": window_id})


def _with_report(stack: Stack, verdict: Mapping[str, Any]) -> dict[str, Any]:
    return {**verdict, "report": f"s3://{stack.bucket}/monitoring/{verdict['id']}/report.html"}
