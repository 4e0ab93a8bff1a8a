"""Walk a JSONata state machine without AWS: every expression is evaluated, every Task is a fake function.

As far as the project's flows need it: Task (Retry, Catch), Choice, Wait, Parallel, Map, Pass, Succeed, Fail.
Source: https://states-language.net; Step Functions Developer Guide, "Transforming data with JSONata".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jsonata

from tests import flow_elements
from tools import asl

STATES_ALL = {"States.ALL"}


class StateError(Exception):
    """An error inside a state machine."""

    def __init__(self, error: str, cause: str = "") -> None:
        super().__init__(f"{error}: {cause}")
        self.error, self.cause = error, cause


@dataclass
class Call:
    """What a Task asked for."""

    state: str
    resource: str
    arguments: Any


Fake = Callable[[Call], Any]


@dataclass
class Walk:
    """One execution: `states` in the order entered, `calls` of the Tasks, and how it ended."""

    definition: dict[str, Any]
    fakes: Mapping[str, Fake]
    input: Any = field(default_factory=dict)
    states: list[str] = field(default_factory=list)
    taken: set[str] = field(default_factory=set)
    """Elements of the state machine, as tests/flow_elements.py names them."""
    calls: list[Call] = field(default_factory=list)
    now: int = 1_795_000_000_000
    limit: int = 2000  # states; a loop that does not end is a failure of the test
    output: Any = None
    error: str | None = None
    cause: str | None = None

    def run(self) -> Walk:
        """Walk to an end."""
        try:
            self.output = self._flow(self.definition, self.input, {})
        except StateError as failed:
            self.error, self.cause = failed.error, failed.cause
        return self

    def called(self, state: str) -> list[Any]:
        """The arguments of the calls of one state."""
        return [call.arguments for call in self.calls if call.state == state]

    def _flow(self, machine: dict[str, Any], given: Any, variables: dict[str, Any]) -> Any:
        name = machine["StartAt"]
        while True:
            if len(self.states) >= self.limit:
                raise AssertionError(f"more than {self.limit} states: {self.states[-6:]}")
            self.states.append(name)
            self.taken.add(flow_elements.state(name))
            body = machine["States"][name]
            following, given = self._state(name, body, given, variables)
            if following is None:
                return given
            name = following

    def _state(self, name: str, body: dict[str, Any], given: Any, variables: dict[str, Any]) -> tuple[str | None, Any]:
        scope = _Scope(self, name, given, variables)
        if body["Type"] == "Choice":
            target, output = self._choice(body, scope)
            self.taken.add(flow_elements.choice(name, target))
            return target, output
        if body["Type"] == "Fail":
            raise StateError(str(scope.value(body.get("Error", ""))), str(scope.value(body.get("Cause", ""))))
        if body["Type"] == "Wait":
            self.now += 1000 * int(scope.value(body["Seconds"]))
            scope.assign(body)
            return body.get("Next"), given
        try:
            result = self._work(body, scope)
        except StateError as failed:
            return self._caught(body, failed, scope)
        return body.get("Next"), result

    def _choice(self, body: dict[str, Any], scope: _Scope) -> tuple[str, Any]:
        for choice in body["Choices"]:
            if scope.value(choice["Condition"]) is True:
                output = scope.value(choice["Output"]) if "Output" in choice else scope.given
                scope.assign(choice)
                return str(choice["Next"]), output
        scope.assign(body)
        return str(body["Default"]), scope.given

    def _work(self, body: dict[str, Any], scope: _Scope) -> Any:
        """Return the output of a state, after its retries. Raises StateError."""
        attempts: dict[int, int] = {}
        while True:
            scope.retry_count = sum(attempts.values())
            try:
                scope.result = self._once(body, scope)
            except StateError as failed:
                number = _retrier(body, failed.error)
                if number is None or attempts.get(number, 0) >= body["Retry"][number]["MaxAttempts"]:
                    raise
                attempts[number] = attempts.get(number, 0) + 1
                self.taken.add(flow_elements.retry(scope.name, body["Retry"][number]))
                continue
            output = scope.value(body["Output"]) if "Output" in body else scope.result
            scope.assign(body)
            return output

    def _once(self, body: dict[str, Any], scope: _Scope) -> Any:
        if body["Type"] == "Task":
            call = Call(scope.name, body["Resource"], scope.value(body.get("Arguments", {})))
            self.calls.append(call)
            return self.fakes[scope.name](call)
        if body["Type"] == "Parallel":
            return [self._flow(branch, scope.given, dict(scope.variables)) for branch in body["Branches"]]
        if body["Type"] == "Map":
            items = scope.value(body["Items"])
            return [self._flow(body["ItemProcessor"], item, dict(scope.variables)) for item in items]
        return scope.given

    def _caught(self, body: dict[str, Any], failed: StateError, scope: _Scope) -> tuple[str, Any]:
        for catcher in body.get("Catch", []):
            if {failed.error, "States.ALL"} & set(catcher["ErrorEquals"]):
                scope.error = {"Error": failed.error, "Cause": failed.cause}
                self.taken.add(flow_elements.catch(scope.name, catcher))
                output = scope.value(catcher.get("Output", scope.error))
                scope.assign(catcher)
                return catcher["Next"], output
        raise failed


def _retrier(body: dict[str, Any], error: str) -> int | None:
    return next((n for n, retrier in enumerate(body.get("Retry", [])) if error in retrier["ErrorEquals"]), None)


@cache
def _parsed(code: str) -> jsonata.Jsonata:
    return jsonata.Jsonata.jsonata(code)


@dataclass
class _Scope:
    """What the expressions of one state see."""

    walk: Walk
    name: str
    given: Any
    variables: dict[str, Any]
    result: Any = None
    error: Any = None
    retry_count: int = 0

    def assign(self, body: Mapping[str, Any]) -> None:
        """Assign what a state, a rule of a Choice or a Catch assigns: all at once, from the values of before."""
        self.variables.update({key: self.value(value) for key, value in body.get("Assign", {}).items()})

    def value(self, template: Any) -> Any:
        if isinstance(template, dict):
            return {key: self.value(item) for key, item in template.items()}
        if isinstance(template, list):
            return [self.value(item) for item in template]
        code = asl.expression(template)
        return template if code is None else self._evaluated(code)

    def _evaluated(self, code: str) -> Any:
        states = {
            "input": self.given,
            "result": self.result,
            "errorOutput": self.error,
            "context": {
                "Execution": {
                    "Id": "arn:aws:states:eu-west-1:123456789012:execution:machine:one",
                    "Name": "one",
                    "Input": self.walk.input,
                    "StartTime": "2026-11-20T10:00:00.000Z",
                },
                "State": {"Name": self.name, "RetryCount": self.retry_count},
                "Task": {"Token": "token"},
            },
        }
        null = jsonata.utils.Utils.NULL_VALUE
        bindings = {name: null if value is None else value for name, value in self.variables.items()}
        parsed = _parsed(code)
        parsed.register_lambda("millis", lambda: self.walk.now)
        parsed.register_lambda("hash", lambda text, name: hashlib.new(name, text.encode()).hexdigest())
        try:
            value = parsed.evaluate(None, {**bindings, "states": states})
        except jsonata.JException as error:
            raise StateError("States.QueryEvaluationError", str(error)) from error
        if value is None and not _parsed(f"$exists({code})").evaluate(
            None, {**bindings, "states": states, "millis": self.walk.now}
        ):
            raise StateError("States.QueryEvaluationError", f"{code} is undefined")
        return value
