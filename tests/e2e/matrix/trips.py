"""Things that go wrong, done to deployed stacks: what is asked for, and what came of it.

A `Case` says what fails and how the run must end. Several stacks share all cases that a session has selected, one case
after another on each, while the tests that need none of them go on. Faults match a stack's own names, so stacks do not
disturb each other. The jobs that a case is not about have been done before (done_before.py); none are left out of the
first run of a stack and of its last.

Nobody repairs a stack. Where a case leaves the endpoint or its names otherwise than whole, a healthy drop is the next
thing that happens there, and has to make them whole again. After the last case of a stack comes a healthy drop too: it
shows that none of them has left anything else behind.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud import mailbox
from perennial.runs.naming import run_id
from tests.e2e.conftest import App, Run, dropped_version, mails, when_one_has_begun
from tests.e2e.matrix import situation
from tests.e2e.matrix.done_before import STEPS, DoneBefore, untouched
from tests.e2e.matrix.registry import matrix
from tests.waiting import wait_for
from tools import demo_data

LIMIT_SECONDS = 300
FIRST = ("Resolve configuration", "Snapshot data", "Preprocess", "notify_run")
"""Where a run goes wrong before there is anything that another could have done."""
ROWS = demo_data.new_listings(150, seed=1)
Fault = Mapping[str, Any]
HELD = {"operation": "function:snapshot_data", "effect": "delay", "seconds": 60.0, "times": 1}
"""A run waits until it has been given what its jobs would have left."""


@dataclass(frozen=True)
class Case:
    """What goes wrong, and how the run must end.

    faults     members of localcloud.faults.Fault
    says       texts that the one mail must hold: what failed, where, why
    advises    a text of its part "What to do"
    person     what somebody does meanwhile; what is delayed goes on afterwards
    overrides  of the input of a run that is started by hand; without them a drop starts it
    before     what is done to the stack first; it may break what serves
    undo       what ends the case: takes back what it has set, or waits until calls that are under way have gone through
    """

    line: str
    what: str
    where: str
    faults: tuple[Fault, ...] = ()
    status: str = "FAILED"
    error: str | None = None
    says: tuple[str, ...] = ()
    advises: str = ""
    person: Callable[[Trip], None] | None = None
    before: Callable[[App], None] | None = None
    undo: Callable[[App], None] | None = None
    serves: Callable[[Outcome], None] | None = None
    overrides: Mapping[str, Any] | None = None

    @property
    def left_out(self) -> frozenset[str]:
        """The states whose jobs are not done again for it."""
        return frozenset() if self.overrides or self.where in FIRST else untouched(self.where, self.faults)

    def __str__(self) -> str:
        return f"{self.what}, {self.where}"

    def __hash__(self) -> int:
        return hash((self.line, str(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Case) and (self.line, str(self)) == (other.line, str(other))


def fault(operation: str, effect: str, **more: Any) -> Fault:
    return {"operation": operation, "effect": effect, **more}


def parameters(cases: Iterable[Case]) -> pytest.MarkDecorator:
    """A test runs once for each case."""
    ends = {"FAILED": "Failed", "SUCCEEDED": "Succeeded", "ABORTED": "Aborted", "TIMED_OUT": "Timed out"}
    return pytest.mark.parametrize(
        "case",
        [
            pytest.param(
                case, id=str(case), marks=matrix(case.line, f"{case.what} ({case.where})", ends=ends[case.status])
            )
            for case in cases
        ],
    )


@dataclass
class Trip:
    """One execution under way."""

    app: App
    arn: str

    def described(self) -> dict[str, Any]:
        return dict(self.app.client("stepfunctions").describe_execution(executionArn=self.arn))

    def until_in(self, state: str) -> None:
        """Wait until a state has been entered; what is then done must come before the next one."""
        what = f"state {state!r} of {self.arn}"
        wait_for(lambda: situation.has_entered(self.arn, state), what, LIMIT_SECONDS, pause=0.1)

    def until_left(self, state: str) -> None:
        """Wait until a state that has been entered is over."""
        wait_for(lambda: situation.has_left(self.arn, state), f"end of {state!r} of {self.arn}", LIMIT_SECONDS)

    def until_held_in(self, state: str) -> None:
        """Wait until a state has been entered, and until everything that was to be delayed is."""
        self.until_in(state)
        what = f"what is delayed in {state!r}"
        wait_for(lambda: all(known["fired"] for known in delays(self.app)), what, LIMIT_SECONDS)

    def abort(self) -> None:
        self.app.client("stepfunctions").stop_execution(executionArn=self.arn, cause="by a test")

    def stop_job(self, kind: str, step: str) -> None:
        """Stop the run's job, once it is there."""
        client, noun = self.app.client("sagemaker"), f"{kind}_job"
        name = f"{self.app.stack}-{self.run_id}-{step}-0"
        key = {f"{kind.capitalize()}JobName": name}

        def stopped() -> bool:
            try:
                getattr(client, f"stop_{noun}")(**key)
            except ClientError:  # not yet there
                return False
            return True

        wait_for(stopped, f"job {name}", LIMIT_SECONDS)

    @property
    def run_id(self) -> str:
        return run_id(self.arn, self.described()["startDate"])

    def ended(self) -> Run:
        return wait_for(lambda: Run.ended(self.arn), f"the end of {self.arn}", LIMIT_SECONDS, pause=0.1)


@dataclass
class Outcome:
    """What came of a case."""

    case: Case
    stack: Stack
    run: Run
    before: dict[str, Any]
    after: dict[str, Any]
    fired: list[int]
    mails: list[mailbox.Message] = field(default_factory=list)
    healing: Healing | None = None


@dataclass
class Healing:
    """A healthy drop after what went wrong, what serves after it, and what the endpoint answers then."""

    run: Run
    after: dict[str, Any]
    score: float


@dataclass
class Stack:
    """A stack with a model in service, and what has been done to it."""

    app: App
    drops: int = 0
    outcomes: list[Outcome] = field(default_factory=list)
    healing: Healing | None = None
    troubles: dict[Case, Exception] = field(default_factory=dict)
    strays: list[str] = field(default_factory=list)
    done_before: DoneBefore = field(init=False)

    def begin(self) -> None:
        """Put a first model into service, with which every later candidate is level; its file starts no run."""
        events, rule = self.app.client("events"), f"{self.app.stack}-data-drop"
        events.disable_rule(Name=rule)
        situation.put(self.app, "raw/cars.csv", ROWS)
        run = self.app.start()
        assert (run.status, run.cause) == ("SUCCEEDED", None)
        events.enable_rule(Name=rule)
        self.done_before = DoneBefore(self.app, run)

    def drop(self, left_out: frozenset[str] = frozenset()) -> Trip:
        """The same rows in other bytes; the run is given what the jobs of these states would leave."""
        self.drops += 1
        held = self._inject(HELD) if left_out else None
        version = situation.put(self.app, "raw/cars.csv", situation.same_rows(ROWS, self.drops))
        arn = wait_for(
            when_one_has_begun(lambda: self.app.find(lambda given: dropped_version(given) == version, newest=3)),
            f"the execution of a drop into {self.app.bucket}", LIMIT_SECONDS,
        )  # fmt: skip
        if held:
            self.done_before.give(situation.run_of(arn), left_out)
            self.app.faults.clear(held)
        return Trip(self.app, arn)

    def snapshot(self) -> dict[str, Any]:
        """What must not change: the endpoint, the names, the data."""
        app = self.app
        try:
            endpoint = app.client("sagemaker").describe_endpoint(EndpointName=app.endpoint)
            serving = {"Status": endpoint["EndpointStatus"], "Config": endpoint["EndpointConfigName"]}
        except ClientError:
            serving = {"Status": "gone", "Config": None}
        return {**serving, "Parameters": app.parameters(), "Data": situation.versions(app, "raw/")}

    def _inject(self, given: Fault) -> int:
        """Add a fault that only this stack meets; its name follows the stack's."""
        return self.app.faults.add(**{"times": "always", **given, "name": f"{self.app.stack}{given.get('name', '*')}"})

    def take(self, case: Case, before: dict[str, Any]) -> Outcome:
        """Do one case and wait for its end; then a healthy drop if it has left the stack otherwise than whole.

        before  the stack as it is
        """
        self.done_before.leave_out(case.left_out)
        if case.before:
            case.before(self.app)
            before = self.snapshot()
        numbers = [self._inject(given) for given in case.faults]
        try:
            overrides = case.overrides
            trip = Trip(self.app, situation.start(self.app, **overrides)) if overrides else self.drop(case.left_out)
            held = {}
            if case.person:
                case.person(trip)
                held = self._release()
            run = trip.ended()
            fired = self._fired(case, numbers, held)
        finally:
            self._clear_faults()
            if case.undo:
                case.undo(self.app)
        self.settle()
        outcome = Outcome(case, self, run, before, self.snapshot(), fired)
        if not situation.is_whole(self.app, outcome.after):
            outcome.healing = self.heal(frozenset(STEPS))
        return outcome

    def heal(self, left_out: frozenset[str] = frozenset()) -> Healing:
        """A healthy drop, and what serves then."""
        self.done_before.leave_out(left_out)
        run, after = self.drop(left_out).ended(), self.snapshot()
        return Healing(run, after, self._ask() if situation.is_whole(self.app, after) else math.nan)

    def _ask(self) -> float:
        record = ROWS.decode().splitlines()[1].partition(",")[2]
        return float(json.loads(self.app.invoke(record))["score"])

    def settle(self) -> None:
        """Wait until nothing is under way at the endpoint."""
        under_way = ("Creating", "Updating", "RollingBack", "Deleting")
        what = f"rest at endpoint {self.app.endpoint}"
        wait_for(lambda: endpoint_status(self.app) not in under_way, what, LIMIT_SECONDS)

    def _release(self) -> dict[int, int]:
        """Let go on what was delayed for a person to act meanwhile; returns how often each of these faults struck."""
        held = delays(self.app)
        for known in held:
            self.app.faults.clear(known["id"])
        return {known["id"]: known["fired"] for known in held}

    def _fired(self, case: Case, numbers: list[int], held: Mapping[int, int]) -> list[int]:
        """How often each fault struck. Telling begins when the run has ended, so its faults need a while."""
        deadline = time.monotonic() + (20 if any("notify_run" in given["operation"] for given in case.faults) else 0)
        while True:
            fired = [held[number] if number in held else self.app.faults.fired(number) for number in numbers]
            if all(fired) or time.monotonic() >= deadline:
                return fired
            time.sleep(0.1)

    def _clear_faults(self) -> None:
        for known in faults_of(self.app):
            self.app.faults.clear(known["id"])


def faults_of(app: App) -> list[dict[str, Any]]:
    """The faults that this stack meets."""
    return [known for known in app.faults.listed() if known["name"].startswith(app.stack)]


def delays(app: App) -> list[dict[str, Any]]:
    """Those of them that hold something back."""
    return [known for known in faults_of(app) if known["effect"] == "delay"]


def endpoint_status(app: App) -> str | None:
    """The status of the stack's endpoint, or None when there is none."""
    try:
        return str(app.client("sagemaker").describe_endpoint(EndpointName=app.endpoint)["EndpointStatus"])
    except ClientError:
        return None


class Outcomes(dict[Case, Outcome]):
    """What came of each case; asking for one that could not be done raises what was in its way."""

    def __init__(self) -> None:
        super().__init__()
        self.troubles: dict[Case, Exception] = {}

    def __missing__(self, case: Case) -> Outcome:
        raise self.troubles[case]


def take_all(apps: Iterable[App], waiting: SimpleQueue[Case]) -> Outcomes:
    """Do all cases, side by side on these stacks, and then a healthy drop on each."""
    stacks = [Stack(app) for app in apps]
    outcomes = Outcomes()
    with ThreadPoolExecutor(len(stacks) or 1, thread_name_prefix="stack") as pool:
        list(pool.map(lambda stack: _work(stack, waiting), stacks))
    found = [outcome for stack in stacks for outcome in stack.outcomes]
    _collect_mails(found)
    outcomes.update({outcome.case: outcome for outcome in found})
    for stack in stacks:
        outcomes.troubles.update(stack.troubles)
        stack.strays = situation.strays(stack.app)
    with suppress(Empty):
        while True:
            outcomes.troubles[waiting.get_nowait()] = AssertionError("no stack is whole: earlier cases say why")
    return outcomes


def _work(stack: Stack, waiting: SimpleQueue[Case]) -> None:
    """Do cases for as long as there are any, and each has left the stack whole or has been healed."""
    stack.begin()
    while situation.is_whole(stack.app, found := stack.snapshot()):
        try:
            case = waiting.get_nowait()
        except Empty:
            break
        try:
            stack.outcomes.append(stack.take(case, found))
        except Exception as error:  # told by the test of this case; the others go on
            stack.troubles[case] = error
    stack.healing = stack.heal()


def _collect_mails(outcomes: list[Outcome]) -> None:
    """The mails of all runs, once each run has one and no more come for a second."""
    if not outcomes:
        return
    state, deadline = outcomes[0].stack.app.state, time.monotonic() + 20
    missing = {outcome.run.run_id for outcome in outcomes}
    while missing and time.monotonic() < deadline:
        messages = mails(state)
        missing = {run for run in missing if not any(situation.is_about(message, run) for message in messages)}
        time.sleep(0.1)
    time.sleep(1)
    messages = mails(state)
    for outcome in outcomes:
        outcome.mails = [message for message in messages if situation.is_about(message, outcome.run.run_id)]


def prove(outcome: Outcome) -> None:
    """The four things that must be so, whatever went wrong."""
    case, run = outcome.case, outcome.run
    assert (run.status, run.error) == (case.status, case.error), run.cause
    assert case.person or all(outcome.fired), f"a fault never struck: {outcome.fired}"
    _prove_service(outcome)
    assert outcome.after["Data"] >= outcome.before["Data"], "data are gone"
    dropped = 0 if case.overrides else 1
    assert len(outcome.after["Data"] - outcome.before["Data"]) == dropped, "there is more than what was dropped"
    assert len(outcome.mails) == 1, [mail.subject for mail in outcome.mails]
    assert outcome.stack.strays == [], "mails that tell of no run"
    body = outcome.mails[0].body
    for text in case.says:
        assert text in body, body
    if run.status != "SUCCEEDED":
        assert case.advises in body.partition("What to do")[2], body
    _prove_healing(outcome)


def _prove_healing(outcome: Outcome) -> None:
    """What was left otherwise than whole is whole after the next drop; a drop at the end finds nothing wrong either."""
    assert outcome.healing or situation.is_whole(outcome.stack.app, outcome.after), f"not healed: {outcome.after}"
    assert outcome.stack.healing, "no healthy drop at the end"
    for healing in filter(None, (outcome.healing, outcome.stack.healing)):
        assert (healing.run.status, healing.run.error, healing.run.cause) == ("SUCCEEDED", None, None)
        _prove_served(outcome.stack, healing.run, healing.after)
        assert healing.score > 0


def new_model_serves(outcome: Outcome) -> None:
    """A run's model serves, and its names are exported, however the run itself has ended."""
    _prove_served(outcome.stack, outcome.run, outcome.after)


def _prove_served(stack: Stack, run: Run, after: Mapping[str, Any]) -> None:
    assert situation.is_whole(stack.app, after), after
    assert after["Parameters"]["run"] == run.run_id


def old_or_new_model_serves(outcome: Outcome) -> None:
    """An update that was asked for goes on whatever becomes of the run; the names are of what was verified last."""
    new = f"{outcome.stack.app.stack}-{outcome.run.run_id}"
    assert outcome.after["Status"] == "InService"
    assert outcome.after["Config"] in (outcome.before["Config"], new)
    assert outcome.after["Parameters"] == outcome.before["Parameters"]


def _prove_service(outcome: Outcome) -> None:
    served = ("Status", "Config", "Parameters")
    if outcome.case.serves:
        outcome.case.serves(outcome)
    elif outcome.run.status == "SUCCEEDED":
        new_model_serves(outcome)
    else:
        assert {name: outcome.after[name] for name in served} == {name: outcome.before[name] for name in served}
