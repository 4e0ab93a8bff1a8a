"""Write docs/errors.md: the errors of the code and of the state machines as a tree, and what is tried again.

    python -m tools.draw_errors           write the page
    python -m tools.draw_errors --check   exit with 1 if the page is not what would be written

Where an error comes from: a function's docstring ("Raises"), the `except` clauses of a job's script, the Fail states.
What it means is its own docstring; what a run then is, perennial.runs.work says.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perennial.runs import work
from tools import asl, draw_flow
from tools.draw_flow import ROOT
from tools.terminal import run

FOLDERS = ("perennial", "perennial_aws", "functions", "processing")
HEAD = """# Errors

What can go wrong in a run under a name of its own, and what the run then is. This page is written by
`python -m tools.draw_errors` from the code. [Operate](operate.md#what-each-mail-means) says what each mail means and
what to do, [the failure matrix](failure-matrix.md) what has been tried.

What stands under `Failed` is permanent unless it says that it is tried again first.
A function's exception comes to the state machine under the name of its class. A job's script writes its message for
people and ends; the state machine sees `States.TaskFailed` with that message. What has no name here is a bug, or AWS's
own error: it keeps its name and its text, and the run is `Failed`. A run over its time is `TimedOut`, one that somebody
has stopped `Aborted`.
"""
TRIED = """
## What is tried again

Each name is transient; whatever else fails would fail again. Pauses grow and are random. An error that is still there
after the last attempt goes the way of all others. Besides these, a job that SageMaker itself has lost (`CapacityError`,
`InternalServerError`) is asked for again under another name.

| error | times more | pauses | states |
|---|---|---|---|
"""
States = list[tuple[str, dict[str, Any]]]
# A title, the names of its errors, and the text by which a state runs it.
Place = tuple[str, set[str], str]


@dataclass(frozen=True)
class Kind:
    """A class of errors: what it extends, and the first sentence about it."""

    name: str
    bases: tuple[str, ...] = ()
    meaning: str = ""


@dataclass(frozen=True)
class Branch:
    """A place from which errors come: its title, the classes, and the states that run it."""

    title: str
    kinds: tuple[Kind, ...]
    states: tuple[str, ...] = ()
    retried: frozenset[str] = frozenset()


# ---- What there is


def page(root: Path) -> str:
    """Return the whole page."""
    machines = [asl.parse(path.read_text()) for path in sorted(root.glob("statemachines/*.asl.json"))]
    states = [one for machine in machines for one in asl.states(machine)]
    files = [path for folder in FOLDERS for path in sorted(root.glob(f"{folder}/**/*.py"))]
    known = {kind.name: kind for path in files for kind in _in(path)}
    branches = _branches([*_functions(root), *_scripts(root)], known, states)
    claimed = {kind for branch in branches for kind in branch.kinds}
    ends: dict[str, list[Branch]] = {"Failed": [branch for branch in branches if branch.states]}
    for name, body in states:
        error = body.get("Error", "")
        if body["Type"] == "Fail" and asl.expression(error) is None:
            ends.setdefault(work.run_status("FAILED", error), []).append(Branch(f'state "{name}"', (Kind(error),)))
    ends["What ends no run"] = [
        *(branch for branch in branches if not branch.states),
        Branch("caught where they are raised", tuple(kind for kind in known.values() if kind not in claimed)),
    ]
    trees = ["\n".join([f"\n## {title}\n\n```text", *_tree(group), "```\n"]) for title, group in ends.items()]
    return "".join([HEAD, *trees, TRIED, *_table(states)])


def _in(path: Path) -> Iterator[Kind]:
    """Yield the classes of a file whose name ends in Error."""
    text = path.read_text()
    for node in ast.walk(ast.parse(text)) if re.search(r"\bclass \w+Error\b", text) else ():
        if isinstance(node, ast.ClassDef) and node.name.endswith("Error"):
            bases = tuple(ast.unparse(base).rpartition(".")[2] for base in node.bases)
            first = re.split(r"(?<=[.;:]) ", (ast.get_docstring(node) or "").partition("\n")[0])[0]
            yield Kind(node.name, bases, first.rstrip(".;:"))


def _functions(root: Path) -> Iterator[Place]:
    """Yield what each function raises, by its docstring."""
    for path in sorted(root.glob("functions/*/app.py")):
        raises = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("Raises")[2]
        arn = f"${{{path.parent.name.title().replace('_', '')}FunctionArn}}"
        yield (
            f"functions/{path.parent.name}",
            {*re.findall(r"\w+Error", raises), *(kind.name for kind in _in(path))},
            arn,
        )


def _scripts(root: Path) -> Iterator[Place]:
    """Yield what the script of each job turns into a message."""
    for path in sorted(root.glob("processing/*.py")):
        handlers = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ExceptHandler)]
        caught = " ".join(ast.unparse(handler.type) for handler in handlers if handler.type)
        own = {kind.name for kind in _in(path)}
        yield f"processing/{path.name}", {*re.findall(r"\w+Error", caught), *own}, path.stem


def _branches(places: list[Place], known: Mapping[str, Kind], states: States) -> list[Branch]:
    """Return the places with their classes, and with what extends these and is named nowhere."""
    named = {name for _, names, _ in places for name in names}
    branches = []
    for title, names, runs in places:
        kinds = [
            kind
            for kind in known.values()
            if kind.name in names or (kind.name not in named and names & _line(kind, known))
        ]
        here = [(name, body) for name, body in states if runs in [text for _, text in asl.strings(body)]]
        retried = {error for _, body in here for retrier in body.get("Retry", []) for error in retrier["ErrorEquals"]}
        if kinds:
            branches.append(Branch(title, tuple(kinds), tuple(name for name, _ in here), frozenset(retried)))
    return branches


def _line(kind: Kind, known: Mapping[str, Kind]) -> set[str]:
    """Return the names of a class and of all that it extends."""
    return {kind.name}.union(*(_line(known[base], known) for base in kind.bases if base in known))


# ---- How it is written


def _tree(branches: Iterable[Branch]) -> Iterator[str]:
    """Yield the lines of branches, each class below what it extends."""
    for branch in branches:
        names = {kind.name for kind in branch.kinds}
        yield branch.title + (f"  ({', '.join(branch.states)})" if branch.states else "")
        yield from _level([kind for kind in branch.kinds if not names & set(kind.bases)], branch, "")


def _level(level: list[Kind], branch: Branch, indent: str) -> Iterator[str]:
    for kind in level:
        again = "(tried again first)" if kind.name in branch.retried else ""
        stem = f"{indent}{'└──' if kind is level[-1] else '├──'} {kind.name}"
        yield f"{stem:<36} {kind.meaning} {again}".rstrip()
        below = [one for one in branch.kinds if kind.name in one.bases]
        yield from _level(below, branch, indent + ("    " if kind is level[-1] else "│   "))


def _table(states: States) -> Iterator[str]:
    """Yield a row for each error and how often it is tried again, with the states that do so."""
    rows: dict[tuple[str, int, str], list[str]] = {}
    for name, body in states:
        for retrier in body.get("Retry", []):
            errors = ", ".join(f"`{error}`" for error in retrier["ErrorEquals"])
            pauses = f"{retrier['IntervalSeconds']} to {retrier['MaxDelaySeconds']} s"
            rows.setdefault((errors, retrier["MaxAttempts"], pauses), []).append(name)
    for (errors, times, pauses), names in rows.items():
        yield f"| {errors} | {times} | {pauses} | {', '.join(names)} |\n"


def main(argv: list[str], root: Path = ROOT) -> int:
    """Write the page, or with --check compare it. Return the exit code."""
    return draw_flow.keep(argv, {root / "docs" / "errors.md": page(root)}, "draw_errors")


if __name__ == "__main__":
    run(main, sys.argv[1:])
