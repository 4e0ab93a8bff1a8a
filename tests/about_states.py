"""Which tests are about a state of a state machine: `make test-state STATE="Verify endpoint"` runs them.

Those that name it in their code, their parameters or their case of the failure matrix; and all tests of the function or
the script that it runs (`tests/unit/test_<name>.py`).
"""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tools import asl

ROOT = Path(__file__).parents[1]


@cache
def states() -> dict[str, str]:
    """What each state of all state machines says of itself, by its name."""
    machines = [asl.parse(path.read_text()) for path in sorted(ROOT.glob("statemachines/*.asl.json"))]
    found = [one for machine in machines for one in asl.states(machine)]
    return {name: "\n".join(text for _, text in asl.strings(body)) for name, body in found}


def state(given: str) -> str:
    """The name of the state that somebody means, in any case. Raises pytest.UsageError."""
    names = {name.casefold(): name for name in states()}
    if given.casefold() in names:
        return names[given.casefold()]
    near = difflib.get_close_matches(given.casefold(), names, cutoff=0.3) or sorted(names)
    raise pytest.UsageError(f"no state {given!r}; there are: {', '.join(names[name] for name in near)}")


def states_of(item: pytest.Item) -> set[str]:
    """The names of the states that a test is about."""
    marks = [str(mark.args) for mark in item.iter_markers("matrix")]
    in_code = _named(item.function)  # type: ignore[attr-defined]
    return {*_names().findall("\n".join([item.name, *marks])), *in_code, *_run_by(item.path.stem.removeprefix("test_"))}


@cache
def _named(function: Callable[..., object]) -> frozenset[str]:
    """The states that a function names, without its decorators: these are of all its parameters."""
    text = inspect.getsource(function)
    return frozenset(_names().findall(text[text.index("def ") :]))


@cache
def _names() -> re.Pattern[str]:
    """The longest name first: "Check endpoint" is not in "Check endpoint again?"."""
    names = sorted(states(), key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, names))})(?!\w)")


@cache
def _run_by(name: str) -> frozenset[str]:
    """The states that run a function or a script."""
    function = f"${{{name.title().replace('_', '')}FunctionArn}}"
    return frozenset(state for state, text in states().items() if {name, function} & set(text.split("\n")))
