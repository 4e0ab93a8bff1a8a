"""Runs that begin where another run has been: the deployed flow under its deployed role, without the work before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from itertools import count, pairwise
from typing import Any

from perennial.runs import naming
from tests.e2e.conftest import App, Run
from tests.waiting import wait_for

JsonObject = dict[str, Any]
_numbers = count()


class Resumable:
    """A run or a monitor's execution that succeeded, and from each of whose states others can go on.

    A run that goes on from a state is an execution of another state machine: the deployed one, which begins with a Pass
    for each state before that assigned something. The execution's input is what those states had as their results. It
    knows of no model in service, so that it compares with none and goes back to none. `machine` is the output of the
    stack with the state machine's ARN.
    """

    def __init__(self, app: App, run: Run, machine: str = "StateMachineArn") -> None:
        self._app, self._run, self._arn = app, run, app.outputs[machine]

    def has(self, state: str) -> bool:
        return state in self._definition["States"]

    def answer(self, state: str) -> JsonObject:
        """What the function of a state has answered."""
        return dict(self._results[state]["Payload"])

    def go_on(self, state: str, **changes: Any) -> Run:
        """The end of a run that goes on from a state; see `start`."""
        arn = self.start(state, **changes)
        return wait_for(lambda: Run.ended(arn), f"the end of {arn}", 60, pause=0.1)

    def start(
        self,
        state: str,
        *,
        again: bool = True,
        answers: Mapping[str, JsonObject] | None = None,
        variables: JsonObject | None = None,
        limits: Mapping[str, int] | None = None,
    ) -> str:
        """Start a run that goes on from a state, and return its execution.

        again      its jobs and its model get new names; otherwise everything is called as in the run that succeeded
        answers    what functions of states before are taken to have answered, besides what they did
        variables  what is assigned last
        limits     seconds that states may take, instead of those in the definition, which may be days
        """
        states, number = self._app.client("stepfunctions"), next(_numbers)
        before = [name for name in self._before(state) if "Assign" in self._definition["States"][name]]
        made = states.create_state_machine(
            name=self._machine["name"].replace(self._app.stack, f"{self._app.stack}-{number}"),
            definition=json.dumps(_beginning_at(state, self._limited(limits or {}), before, variables or {})),
            roleArn=self._machine["roleArn"],
        )
        same = naming.stem(self._app.stack, self._run.run_id)
        name = f"{same[:-4]}{number:04x}" if again else same  # as of another execution of the same second
        changes = {
            "Resolve configuration": {"Champion": None, "Name": name},
            "Reserve deployment": {"Champion": None},
            "Resolve window": {"Name": name},
            "Resolve batch": {"Name": name},
        }
        results = {
            each: _answered(self._results[each], changes.get(each, {}) | (answers or {}).get(each, {}))
            for each in before
        }
        started = states.start_execution(stateMachineArn=made["stateMachineArn"], input=json.dumps(results))
        return str(started["executionArn"])

    def _limited(self, limits: Mapping[str, int]) -> JsonObject:
        states = self._definition["States"]
        changed = {name: {**states[name], "TimeoutSeconds": seconds} for name, seconds in limits.items()}
        return {**self._definition, "States": {**states, **changed}}

    def _before(self, state: str) -> list[str]:
        names = list(self._results)
        return names[: names.index(state)] if state in names else names

    @cached_property
    def _machine(self) -> JsonObject:
        return dict(self._app.client("stepfunctions").describe_state_machine(stateMachineArn=self._arn))

    @cached_property
    def _definition(self) -> JsonObject:
        return dict(json.loads(self._machine["definition"]))

    @cached_property
    def _results(self) -> JsonObject:
        """What each state of the run had as its result, or as its output if it is no task, in the order of the run."""
        pages = self._app.client("stepfunctions").get_paginator("get_execution_history")
        found, result = {}, ""
        wanted = {"executionArn": self._run.execution_arn, "PaginationConfig": {"PageSize": 1000}}
        for page in pages.paginate(**wanted):
            for event in page["events"]:
                result = event.get("taskSucceededEventDetails", {}).get("output", result)
                ended = event.get("stateExitedEventDetails", {})
                if ended.get("name") in self._definition["States"]:
                    found[ended["name"]] = json.loads(result if event["type"] == "TaskStateExited" else ended["output"])
        return found


def _answered(result: JsonObject, changes: JsonObject) -> JsonObject:
    return {**result, "Payload": {**result["Payload"], **changes}} if changes else result


def _beginning_at(state: str, definition: JsonObject, before: list[str], variables: JsonObject) -> JsonObject:
    """The definition with a Pass in front for each of the states before, and one for the variables."""
    states = definition["States"]
    assigned = {f"After {name}": _from_input(states[name]["Assign"], name) for name in before}
    if variables:
        assigned["Variables"] = variables
    names = [*assigned, state]
    passes = {
        name: {"Type": "Pass", "Assign": assigned[name], "Next": following} for name, following in pairwise(names)
    }
    return {**definition, "StartAt": names[0], "States": {**passes, **states}}


def _from_input(assign: JsonObject, state: str) -> Any:
    """A state's Assign, with its result taken from the execution's input."""
    return json.loads(json.dumps(assign).replace("$states.result", f"$lookup($states.input, '{state}')"))
