"""Looking at a run while it works."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import boto3
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from perennial.runs import facts, record
from perennial.runs.cause import failed_state
from perennial.runs.naming import run_id
from perennial_cli import runs
from perennial_cli.console import CommandError, safe, working
from perennial_cli.stacks import Stack

START_LIMIT_SECONDS = 120
RECORD_LIMIT_SECONDS = 60
POLL_SECONDS = 0.5
NEWEST = 20  # executions among which that of a drop is looked for
ASKS = "Wait for approval"  # the state in which a run waits for people


def wait_for_drop(
    stack: Stack,
    version: str,
    limit_seconds: float | None = None,
    machine: str | None = None,
    known: dict[str, Any] | None = None,
    among: int = NEWEST,
) -> str:
    """Return the execution that the event of a dropped object version started. Raises CommandError.

    machine  the state machine, if not the one that trains
    known    of executions the versions that started them, where several drops are waited for
    among    how many of the newest executions may be the one
    """
    limit = START_LIMIT_SECONDS if limit_seconds is None else limit_seconds
    deadline = time.monotonic() + limit
    known = {} if known is None else known
    with working("waiting for what the drop starts"):
        while time.monotonic() < deadline:
            if execution := started_by_drop(machine or stack.state_machine_arn, version, known, among):
                return execution
            time.sleep(POLL_SECONDS)
    raise CommandError(
        f"nothing began within {limit} s of the drop; see the queue of undelivered events, "
        f"{stack.outputs.get('UndeliveredEventsUrl')}"
    )


def started_by_drop(machine: str, version: str, known: dict[str, Any], among: int = NEWEST) -> str | None:
    """Return the execution that the event of a dropped object version started; None: it is not there yet.

    known  of executions the versions that started them; those that are looked at now come to it
    among  how many of the newest executions may be the one, 1,000 at most
    """
    client = boto3.client("stepfunctions")
    for item in client.list_executions(stateMachineArn=machine, maxResults=min(among, 1000))["executions"]:
        arn = item["executionArn"]
        if arn not in known:
            known[arn] = _dropped(client.describe_execution(executionArn=arn)["input"])
        if known[arn] == version:
            return arn
    return None


def _dropped(execution_input: str) -> Any:
    """Return the version of the object whose drop an input names; None: it names none, whatever somebody has given."""
    document: Any = json.loads(execution_input)
    for name in ("Trigger", "Object", "version-id"):
        document = document.get(name) if isinstance(document, dict) else None
    return document


def wait_for_version(stack: Stack, number: int, since: datetime) -> str:
    """Return the newest execution that deploys a version and has not ended before a time. Raises CommandError: none."""
    deadline = time.monotonic() + START_LIMIT_SECONDS
    with working(f"waiting for what the approval of version {number} starts"):
        while time.monotonic() < deadline:
            for one in runs.executions(stack):
                if one.arn.rpartition(":")[2].startswith(f"version-{number}-"):
                    if one.ended_at is None or one.ended_at >= since:
                        return one.arn
                    break
            time.sleep(POLL_SECONDS)
    raise CommandError(
        f"version {number} of {stack.name} is approved, and nothing that deploys it began within "
        f"{START_LIMIT_SECONDS} s; see the queue of undelivered events, {stack.outputs.get('UndeliveredEventsUrl')}; "
        f"to try again: perennial reject {number} and perennial approve {number}"
    )


def follow(
    execution_arn: str,
    console: Console | None = None,
    pause_seconds: float | None = None,
    limit_seconds: float = math.inf,
) -> dict[str, Any]:
    """Print a line for each state as it ends, and what works now, until the execution has ended; return that end.

    Raises CommandError: it has not ended in time.
    """
    client, deadline = boto3.client("stepfunctions"), time.monotonic() + limit_seconds
    console = console or Console(stderr=True, highlight=False)
    printed: set[str] = set()
    retried: dict[str, int] = {}
    running: dict[str, Any] = {}
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(pulse_style="cyan"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        while time.monotonic() < deadline:
            described = client.describe_execution(executionArn=execution_arn)
            events = history(execution_arn)
            for name, known in record.retries(events).items():
                if known["times"] != retried.get(name) and described["status"] == "RUNNING":
                    retried[name] = known["times"]
                    progress.console.print(f"  {escape(safe(f'{name}: {facts.tried_again(known)}'))}")
            for name, seconds in state_spans(events):
                if seconds is None and name not in running and described["status"] == "RUNNING":
                    running[name] = progress.add_task(escape(name), total=None)
                    if name == ASKS:
                        progress.console.print(
                            "  its version waits for people: `perennial versions` has the number, then"
                        )
                        progress.console.print("  `perennial approve NUMBER` or `perennial reject NUMBER --reason WHY`")
                elif seconds is not None and name not in printed:
                    printed.add(name)
                    if name in running:
                        progress.remove_task(running.pop(name))
                    progress.console.print(f"  [green]✓[/green] {escape(safe(name)):<36} {seconds:6.1f} s")
            if described["status"] != "RUNNING":
                return dict(described)
            time.sleep(POLL_SECONDS if pause_seconds is None else pause_seconds)
    raise CommandError(f"the run did not end within {limit_seconds:g} s: {execution_arn}")


def history(execution_arn: str) -> list[Any]:
    """Return all events of an execution, the oldest first."""
    pages = boto3.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=execution_arn)
    return [event for page in pages for event in page["events"]]


def state_spans(events: list[Any]) -> Iterator[tuple[str, float | None]]:
    """Yield (state name, seconds or None while it runs) in the order the states were entered."""
    entered: dict[str, list[Any]] = {}
    for event in events:
        if event["type"].endswith("StateEntered"):
            name = event["stateEnteredEventDetails"]["name"]
            entered.setdefault(name, [event["timestamp"], None])
        elif event["type"].endswith("StateExited"):
            name = event["stateExitedEventDetails"]["name"]
            if name in entered:
                entered[name][1] = event["timestamp"]
    for name, (start, end) in entered.items():
        yield name, (end - start).total_seconds() if end else None


def once_written(read: Callable[[], dict[str, Any] | None]) -> dict[str, Any] | None:
    """Return a record that is written when an execution has ended, once it is there; None: it does not come."""
    deadline = time.monotonic() + RECORD_LIMIT_SECONDS
    while time.monotonic() < deadline:
        if known := read():
            return known
        time.sleep(POLL_SECONDS)
    return None


def outcome(stack: Stack, described: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of an execution that has ended, once it is written; or what the execution says of itself."""
    run = run_id(described["executionArn"], described["startDate"])
    output = json.loads(described.get("output") or "{}")
    if "Decision" in output:  # there was nothing to do
        return {"run_id": run, "status": output["Decision"], "no_work": output.get("Reason")}
    if record := once_written(lambda: runs.document(stack, runs.RECORD.format(run))):
        return record
    cause, spans = described.get("cause"), state_spans(history(described["executionArn"]))
    state = failed_state(cause) or next((name for name, seconds in spans if seconds is None), None)
    failure = {"error": described.get("error"), "cause": cause, "state": state}
    return {"run_id": run, "status": described["status"].title().replace("_", ""), "failure": failure}
