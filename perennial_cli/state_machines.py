"""Flows of Amazon States Language: states, and the ways from one to another.

Source: https://states-language.net.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Flow:
    """States that refer to each other by name: the state machine's own, or those of a branch or an item processor."""

    start: str
    states: dict[str, dict[str, Any]]
    owner: str | None = None

    def reachable(self, start: str) -> Iterator[str]:
        """Yield the states reachable from one without an error, itself first."""
        reached, waiting = {start}, [start]
        while waiting:
            name = waiting.pop(0)
            yield name
            targets = [e.target for e in edges(self.states.get(name, {})) if e.kind != "catch"]
            fresh = [t for t in dict.fromkeys(targets) if t not in reached]
            reached.update(fresh)
            waiting.extend(fresh)


@dataclass(frozen=True)
class Edge:
    """A way out of a state and the variables assigned on it."""

    kind: str  # next, choice, default, catch
    target: str
    label: str = ""
    assigns: frozenset[str] = field(default_factory=frozenset)


def flows(machine: dict[str, Any], owner: str | None = None) -> Iterator[Flow]:
    """Yield the flow of a state machine and, depth first, those inside its Parallel and Map states."""
    states = machine.get("States", {})
    yield Flow(machine.get("StartAt", ""), states, owner)
    for name, body in states.items():
        for inner in inner_machines(body):
            yield from flows(inner, name)


def inner_machines(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the branches of a Parallel state or the item processor of a Map state."""
    return [*body.get("Branches", []), *([body["ItemProcessor"]] if "ItemProcessor" in body else [])]


def states(machine: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name and the body of every state, also of inner ones."""
    for flow in flows(machine):
        yield from flow.states.items()


def edges(body: dict[str, Any]) -> Iterator[Edge]:
    """Yield the ways out of a state."""
    own = frozenset(body.get("Assign", {}))
    for choice in body.get("Choices", []):
        assigns = frozenset(choice.get("Assign", {}))
        yield Edge("choice", choice.get("Next", ""), expression(choice.get("Condition", "")) or "", assigns)
    if "Default" in body:
        yield Edge("default", body["Default"], "", own)
    if "Next" in body:
        yield Edge("next", body["Next"], "", own)
    for catcher in body.get("Catch", []):
        assigns = frozenset(catcher.get("Assign", {}))
        yield Edge("catch", catcher.get("Next", ""), ", ".join(catcher.get("ErrorEquals", [])), assigns)


def expression(value: Any) -> str | None:
    """Return the text inside {% %}, or None if the value is no expression."""
    if isinstance(value, str) and value.startswith("{%") and value.endswith("%}"):
        return value[2:-2].strip()
    return None
