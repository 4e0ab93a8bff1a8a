"""Read Amazon States Language: JSONata expressions and the variables that they read.

Source: https://states-language.net and the Step Functions Developer Guide, "Transforming data with JSONata" and
"Passing data between states with variables".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonata

from perennial_cli.state_machines import Edge, Flow, edges, expression, flows, inner_machines, states

SUBSTITUTION = re.compile(r"\$\{(\w+)\}")
# Sample values with which a definition can be read before CloudFormation has put in the real ones.
SAMPLES = {"Partition": "aws"}
STEP_FUNCTIONS_BUILTINS = {"partition", "range", "hash", "random", "uuid", "parse"}
CONTEXT = {"", "$", "states"}
__all__ = [  # with what the command reads of it
    "Edge", "Flow", "bare_names", "builtins", "edges", "expression", "flows", "free_variables", "inner_machines",
    "parse", "states", "strings", "substituted", "substitutions", "tree",
]  # fmt: skip


class DuplicateKeyError(ValueError):
    """A JSON object names a key twice; parsers keep the last one and say nothing."""


def parse(text: str) -> dict[str, Any]:
    """Return the definition. Raises json.JSONDecodeError or DuplicateKeyError."""
    definition: dict[str, Any] = json.loads(text, object_pairs_hook=_without_duplicates)
    return definition


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    twice = {key for key in keys if keys.count(key) > 1}
    if twice:
        raise DuplicateKeyError(f"keys given twice in one object: {', '.join(sorted(twice))}")
    return dict(pairs)


def substitutions(text: str) -> set[str]:
    """Return the names of the ${Substitution} places."""
    return set(SUBSTITUTION.findall(text))


def substituted(text: str, values: dict[str, str] | None = None) -> str:
    """Return the text with a value in each ${Substitution}: the given one, a sample, or 1."""
    known = {**SAMPLES, **(values or {})}
    return SUBSTITUTION.sub(lambda match: known.get(match[1], "1"), text)


def strings(body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield path and text of every string of a state, but not of the states inside it."""
    own = {key: value for key, value in body.items() if key not in ("Branches", "ItemProcessor", "Comment")}
    yield from _strings(own, "")


def _strings(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(item, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _strings(item, f"{path}[{index}]")


# ---- JSONata


def tree(text: str) -> Any:
    """Return the syntax tree of an expression. Raises jsonata.JException."""
    return jsonata.Jsonata.jsonata(text).ast


def builtins() -> set[str]:
    """Return the names of the functions that every expression can call."""
    jsonata.Jsonata.jsonata("1")  # fills the static frame
    known = set(jsonata.Jsonata.static_frame.bindings) | {"now", "millis"} | STEP_FUNCTIONS_BUILTINS
    return known - {"eval"}  # Step Functions has no $eval


def free_variables(node: Any) -> set[str]:
    """Return the variables that an expression reads and does not bind itself, without the leading $."""
    return set(_free(node, frozenset()))


def _free(node: Any, bound: frozenset[str]) -> Iterator[str]:
    if isinstance(node, (list, tuple)):
        for item in node:
            yield from _free(item, bound)
        return
    if not _is_node(node):
        return
    if node.type == "variable":
        if node.value not in bound and node.value not in CONTEXT:
            yield node.value
    elif node.type == "lambda":
        yield from _free(node.body, bound | {argument.value for argument in node.arguments})
        return
    elif node.type == "block":
        yield from _free_in_block(node, bound)
        return
    elif node.type == "path":
        # @$name and #$name bind in the rest of the path.
        bound |= {name for step in node.steps for name in (step.focus, step.index) if isinstance(name, str)}
    elif node.type == "bind":
        yield from _free(node.rhs, bound)
        return
    for child in _children(node):
        yield from _free(child, bound)


def _free_in_block(node: Any, bound: frozenset[str]) -> Iterator[str]:
    for item in node.expressions:
        yield from _free(item, bound)
        if item.type == "bind":
            bound |= {item.lhs.value}


def bare_names(node: Any, inside: bool = False) -> Iterator[str]:
    """Yield names that are read from the document itself, which in Step Functions is empty: a forgotten $."""
    if isinstance(node, (list, tuple)):
        for item in node:
            yield from bare_names(item, inside)
    elif _is_node(node):
        if node.type == "path":
            if not inside and node.steps[0].type == "name":
                yield node.steps[0].value
            yield from bare_names(node.steps[0], inside)
            yield from bare_names(node.steps[1:], True)
            return
        for name, child in vars(node).items():
            if name != "_outer_instance":
                # A filter, a function body and a sort key see items, not the document.
                yield from bare_names(child, inside or name in ("stages", "predicate", "body", "terms"))


def _is_node(value: Any) -> bool:
    return type(value).__module__.startswith("jsonata") and hasattr(value, "type")


def _children(node: Any) -> list[Any]:
    return [
        value
        for name, value in vars(node).items()
        if name != "_outer_instance" and (isinstance(value, (list, tuple)) or _is_node(value))
    ]
