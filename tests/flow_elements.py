"""What a state machine can do: every state, every way out of a Choice, every Retry, every Catch; and what was done.

An element is a text: `state Train`, `choice Meets threshold? -> Model accuracy too low`, `retry Train [SageMaker....]`,
`catch Train [States.ALL] -> Run failed`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tools import asl

_FAILURES = ("taskFailedEventDetails", "taskTimedOutEventDetails", "evaluationFailedEventDetails")


def elements(definition: dict[str, Any]) -> set[str]:
    """Everything in a state machine that can be taken."""
    return {element for name, body in asl.states(definition) for element in of_state(name, body)}


def of_state(name: str, body: Mapping[str, Any]) -> set[str]:
    """Everything that a state can do."""
    return {
        state(name),
        *(choice(name, target) for target in _targets(body)),
        *(retry(name, retrier) for retrier in body.get("Retry", [])),
        *(catch(name, catcher) for catcher in body.get("Catch", [])),
    }


def _targets(body: Mapping[str, Any]) -> list[str]:
    if body["Type"] != "Choice":
        return []
    return [*(rule["Next"] for rule in body["Choices"]), *([body["Default"]] if "Default" in body else [])]


def state(name: str) -> str:
    return f"state {name}"


def choice(name: str, target: str) -> str:
    return f"choice {name} -> {target}"


def retry(name: str, retrier: Mapping[str, Any]) -> str:
    return f"retry {name} [{', '.join(retrier['ErrorEquals'])}]"


def catch(name: str, catcher: Mapping[str, Any]) -> str:
    return f"catch {name} [{', '.join(catcher['ErrorEquals'])}] -> {catcher['Next']}"


def taken(definition: dict[str, Any], events: Iterable[Mapping[str, Any]]) -> set[str]:
    """What an execution did, from its history (GetExecutionHistory, with `previousEventId` along each branch).

    A state that is of another type there has been left out.
    """
    states = dict(asl.states(definition))
    by_id = {event["id"]: event for event in events}
    found: set[str] = set()
    for event in by_id.values():
        name = event.get("stateEnteredEventDetails", {}).get("name")
        if name in states and event["type"] == f"{states[name]['Type']}StateEntered":
            found.add(state(name))
            found |= _left_by(states, name, by_id.get(event.get("previousEventId", 0), {}), by_id)
        if event["type"] == "TaskScheduled":
            found |= _retried(states, event, by_id)
    return found


def _left_by(states: Mapping[str, Any], entered: str, leaving: Mapping[str, Any], by_id: Mapping[int, Any]) -> set[str]:
    """A state is entered after another was left: by its Next, by a Choice, or by a Catch, even to the same state."""
    left = leaving.get("stateExitedEventDetails", {}).get("name")
    if left not in states:
        return set()
    body = states[left]
    found = {choice(left, entered)} if entered in _targets(body) else set()
    before = by_id.get(leaving.get("previousEventId", 0), {})
    if body.get("Next") != entered or any(name in before for name in _FAILURES):
        found |= {catch(left, catcher) for catcher in body.get("Catch", []) if catcher["Next"] == entered}
    return found


def _retried(states: Mapping[str, Any], event: Mapping[str, Any], by_id: Mapping[int, Any]) -> set[str]:
    """A task that is scheduled again right after it has failed, timed out, or met an expression that failed."""
    failure = by_id.get(event.get("previousEventId", 0), {})
    error = next((details["error"] for name, details in failure.items() if name in _FAILURES), None)
    if error is None:
        return set()
    name, current = "", failure
    while current and not name:
        name = current.get("stateEnteredEventDetails", {}).get("name", "")
        current = by_id.get(current.get("previousEventId", 0), {})
    retriers = states.get(name, {}).get("Retry", [])
    return {retry(name, retrier) for retrier in retriers if {error, "States.ALL"} & set(retrier["ErrorEquals"])}
