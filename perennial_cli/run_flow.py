"""What each state of a run did, took and cost, from the history of its execution and the records of its jobs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import boto3
from botocore.exceptions import ClientError

from perennial.runs import record
from perennial.runs.cause import explained
from perennial.runs.costs import DATE, Price, listed_price, of_jobs
from perennial_cli import billing
from perennial_cli.flow_layout import Drawing, draw
from perennial_cli.following import history
from perennial_cli.runs import Execution
from perennial_cli.state_machines import flows

WORKS, DONE, FAILED = "Running", "Succeeded", "Failed"
TUNING = "HyperParameterTuning"
PRICE_LIST = "AWS's price list of today"
KINDS = {f"create{kind}Job": kind for kind in ("Processing", "Training", "Transform", TUNING)}


@dataclass
class State:
    """A state that a run has come to.

    visits   how often; `seconds` counts all of them, and is None until it was left for the first time
    did      what it called or where it led, a line each
    cause    what went wrong, in the words that a mail has
    retries  how often what it called was tried again, and after which errors
    jobs     kind and name of those that it has started
    billed   what they are billed for so far: machine, how many, seconds, and USD an hour of one (None: not known)
    usd      what that is together; None: nothing is billed yet, or a price is not known
    """

    name: str
    status: str = WORKS
    entered_at: str = ""
    visits: int = 0
    seconds: float | None = None
    did: list[str] = field(default_factory=list)
    error: str = ""
    cause: str = ""
    retries: Mapping[str, Any] | None = None
    jobs: list[dict[str, str]] = field(default_factory=list)
    billed: list[dict[str, Any]] = field(default_factory=list)
    usd: float | None = None


@dataclass
class Taken:
    """The way that a run has taken: its states in the order in which it came to them, and pairs of them."""

    states: dict[str, State] = field(default_factory=dict)
    ways: list[tuple[str, str]] = field(default_factory=list)


def taken(events: Iterable[Mapping[str, Any]], stack: str) -> Taken:
    """Return what an execution's history says, oldest event first. Each event names the one before it."""
    way, state_of = Taken(), dict[int, str]()
    entered, choices = dict[str, list[Any]](), set[str]()
    for event in events:
        before = state_of.get(event.get("previousEventId", 0), "")
        if "stateEnteredEventDetails" in event:
            name = event["stateEnteredEventDetails"]["name"]
            state = way.states.setdefault(name, State(name, entered_at=record.timestamp(event["timestamp"])))
            state.status, state.visits = WORKS, state.visits + 1
            entered.setdefault(name, []).append(event["timestamp"])
            if before and (before, name) not in way.ways:
                way.ways.append((before, name))
            if before in choices:
                _add(way.states[before], f"led to {name}")
            if event["type"].startswith("Choice"):
                choices.add(name)
        elif "stateExitedEventDetails" in event:
            name = event["stateExitedEventDetails"]["name"]
            state = way.states[name]
            state.status = FAILED if state.error else DONE
            if entered.get(name):
                spent = (event["timestamp"] - entered[name].pop(0)).total_seconds()
                state.seconds = round((state.seconds or 0) + spent, 3)
        else:
            name = before
            if name:
                _note(way.states[name], event, stack)
        state_of[event["id"]] = name
    for name, retried in record.retries(events).items():
        way.states[name].retries = retried
    return way


def _note(state: State, event: Mapping[str, Any], stack: str) -> None:
    """Add what an event inside of a state says."""
    details: Mapping[str, Any] = next((one for name, one in event.items() if name.endswith("EventDetails")), {})
    if event["type"] == "TaskScheduled":
        state.error = state.cause = ""  # it is tried (again)
        parameters = _json(details.get("parameters"))
        kind = KINDS.get(str(details.get("resource")).removesuffix(".sync"))
        if kind:
            job = {"kind": kind, "name": str(parameters.get(f"{kind}JobName"))}
            state.jobs.append(job)
            _add(state, f"{kind} job {job['name']}")
        elif details.get("resourceType") == "lambda":
            _add(state, f"function {str(parameters.get('FunctionName')).rpartition(':')[2].removeprefix(f'{stack}-')}")
        else:
            service = str(details.get("resourceType")).removeprefix("aws-sdk:")
            _add(state, f"{service}: {details.get('resource')}")
    elif event["type"] == "TaskSucceeded" and details.get("resourceType") == "lambda":
        answer = _json(details.get("output")).get("Payload")
        if isinstance(answer, dict) and isinstance(answer.get("Reason"), str):
            _add(state, answer["Reason"])
    elif event["type"].endswith(("Failed", "TimedOut", "Aborted")):
        state.error, state.cause = str(details.get("error") or event["type"]), explained(details.get("cause"))


def _add(state: State, text: str) -> None:
    if text not in state.did:
        state.did.append(text)


def _json(text: str | None) -> dict[str, Any]:
    """Return an object of JSON; an empty one where there is none, or where the history was cut."""
    try:
        document = json.loads(text or "{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def of(execution: Execution, stack: str, region: str, price: Price) -> dict[str, Any]:
    """Return the flow of a run as a document: status, states and the ways between them, cost."""
    described = boto3.client("stepfunctions").describe_execution(executionArn=execution.arn)
    way = taken(history(execution.arn), stack)
    status, last = str(described["status"]).title().replace("_", ""), list(way.states.values())[-1:]
    if status not in (WORKS, DONE):
        for state in way.states.values():
            if state.status == WORKS or state in last:  # a Fail is never left
                state.status = FAILED
                state.error = state.error or str(described.get("error") or status)
                state.cause = state.cause or explained(described.get("cause"))
    for state in way.states.values():
        _bill(state, region, price)
    known = [state.usd for state in way.states.values() if state.usd is not None]
    return {
        "run_id": execution.run_id,
        "status": status,
        "started_at": record.timestamp(described["startDate"]),
        "ended_at": record.timestamp(described["stopDate"]) if "stopDate" in described else None,
        "error": described.get("error"),
        "cause": explained(described.get("cause")),
        "states": [asdict(state) for state in way.states.values()],
        "ways": way.ways,
        "usd": sum(known) if known else None,
        "region": region,
        "prices": _source(region, way.states.values()),
    }


def _source(region: str, states: Iterable[State]) -> str:
    """Return where the prices of states are from."""
    priced = (job["machine"] for state in states for job in state.billed if job["usd_an_hour"] is not None)
    return DATE if all(listed_price(region, machine, "") is not None for machine in priced) else PRICE_LIST


_billed: dict[str, list[Any]] = {}  # jobs that have ended, by their names: what is billed of them stays


def _bill(state: State, region: str, price: Price) -> None:
    """Note what a state's jobs are billed for, and what that costs."""
    jobs = list(_jobs(state))
    cost = of_jobs(jobs, region, price)
    state.billed = [
        {"machine": one.machine, "count": one.count, "seconds": one.seconds,
         "usd_an_hour": price(region, one.machine, one.kind)}
        for one in jobs
    ]  # fmt: skip
    state.usd = None if not jobs or cost.unknown else cost.usd


def _jobs(state: State) -> Iterator[Any]:
    for job in (one for started in state.jobs for one in _with_trials(started)):
        if job["name"] not in _billed:
            try:
                billed = list(billing.billed({"jobs": [job]}))
            except ClientError:
                continue
            if not billed:
                continue
            _billed[job["name"]] = billed
        yield from _billed[job["name"]]


def _with_trials(job: dict[str, str]) -> Iterator[dict[str, str]]:
    """Yield a job; in place of one that tunes those that it has started, which are what is billed."""
    if job["kind"] != TUNING:
        yield job
        return
    pages = boto3.client("sagemaker").get_paginator("list_training_jobs_for_hyper_parameter_tuning_job")
    try:
        for page in pages.paginate(HyperParameterTuningJobName=job["name"]):
            for trial in page["TrainingJobSummaries"]:
                yield {"kind": "Training", "name": trial["TrainingJobName"]}
    except ClientError:  # it was refused, is gone, or may not be looked at
        return


def drawing(execution: Execution, aspect: float) -> Drawing:
    """Lay out the state machine that an execution runs, from its own definition."""
    described = boto3.client("stepfunctions").describe_state_machine_for_execution(executionArn=execution.arn)
    return draw(next(flows(json.loads(described["definition"]))), aspect)
