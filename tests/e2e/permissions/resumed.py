"""Runs that begin where another run has been: the deployed flow under its deployed role, without the work before."""

from __future__ import annotations

import json
from functools import cached_property
from itertools import count
from typing import Any

from tests.e2e.conftest import App, Run
from tests.waiting import wait_for

JsonObject = dict[str, Any]


class Resumable:
    """A run that succeeded, and from each of whose states others can go on.

    A run that goes on from a state is an execution of another state machine: the deployed one, which begins with a Pass
    for each state before that assigned something. The execution's input is what those states had as their results. It
    knows of no model in service, so that it compares with none and goes back to none.
    """

    def __init__(self, app: App, run: Run) -> None:
        self._app, self._run = app, run
        self._numbers = count()

    def go_on(self, state: str, *, again: bool = True) -> Run:
        """The end of a run that goes on from a state."""
        arn = self.start(state, again=again)
        return wait_for(lambda: Run.ended(arn), f"the end of {arn}", 60)

    def start(self, state: str, *, again: bool = True) -> str:
        """Start a run that goes on from a state, and return its execution.

        again  its jobs and its model get new names; otherwise everything is called as in the run that succeeded
        """
        states, number = self._app.client("stepfunctions"), next(self._numbers)
        made = states.create_state_machine(
            name=f"{self._app.stack}-from-{number}",
            definition=json.dumps(_beginning_at(state, self._definition, list(self._results))),
            roleArn=self._machine["roleArn"],
        )
        changes = {"Champion": None, **({"Name": f"{self._run.output['Model']}-{number}"} if again else {})}
        results = {
            name: {**result, "Payload": {**result["Payload"], **changes}}
            if name in ("Resolve configuration", "Reserve deployment")
            else result
            for name, result in self._results.items()
        }
        started = states.start_execution(stateMachineArn=made["stateMachineArn"], input=json.dumps(results))
        return str(started["executionArn"])

    @cached_property
    def _machine(self) -> JsonObject:
        arn = self._app.outputs["StateMachineArn"]
        return dict(self._app.client("stepfunctions").describe_state_machine(stateMachineArn=arn))

    @property
    def _definition(self) -> JsonObject:
        return dict(json.loads(self._machine["definition"]))

    @cached_property
    def _results(self) -> JsonObject:
        """What each state that assigns something had as its result, in the order of the run."""
        pages = self._app.client("stepfunctions").get_paginator("get_execution_history")
        found, result = {}, ""
        for page in pages.paginate(executionArn=self._run.execution_arn):
            for event in page["events"]:
                result = event.get("taskSucceededEventDetails", {}).get("output", result)
                ended = event.get("stateExitedEventDetails", {})
                if "Assign" in self._definition["States"].get(ended.get("name"), {}):
                    found[ended["name"]] = json.loads(result if event["type"] == "TaskStateExited" else ended["output"])
        return found


def _beginning_at(state: str, definition: JsonObject, ended: list[str]) -> JsonObject:
    """The definition with a Pass in front for each of the states that ended before."""
    states = definition["States"]
    before = ended[: ended.index(state)] if state in ended else ended
    names = [f"After {name}" for name in before] + [state]
    passes = {
        name: {"Type": "Pass", "Assign": _from_input(states[ended]["Assign"], ended), "Next": following}
        for name, following, ended in zip(names, names[1:], before, strict=False)
    }
    return {**definition, "StartAt": names[0], "States": {**passes, **states}}


def _from_input(assign: JsonObject, state: str) -> Any:
    """A state's Assign, with its result taken from the execution's input."""
    return json.loads(json.dumps(assign).replace("$states.result", f"$lookup($states.input, '{state}')"))
