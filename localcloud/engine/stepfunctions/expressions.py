"""Expressions of states are parsed once, not with every evaluation, of which it is the larger part.

What is parsed is a tree, which no evaluation changes. All else that belongs to an expression (its variables, its
functions, the second that it has) is made anew each time, as jsonata-python makes it of a text.
"""

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import jsonata

from localcloud.engine.persistence import rebound
from localcloud.engine.seams import Seams

sfn = Seams("services.stepfunctions", _evaluate_jsonata="51ba04ca", _jsonata_result_defined="73e0bbdb")

_MOST_EXPRESSIONS = 1024
"""Those of four stacks that share none. Each takes some 15 KB."""


def register() -> None:
    """Replace the seams. MiniStack must be importable (the environment is set)."""
    once = SimpleNamespace(Jsonata=SimpleNamespace(jsonata=expression), utils=jsonata.utils)
    is_defined = rebound(sfn._jsonata_result_defined, jsonata=once)
    sfn.replace("_jsonata_result_defined", lambda _: is_defined)
    sfn.replace(
        "_evaluate_jsonata", lambda original: rebound(original, jsonata=once, _jsonata_result_defined=is_defined)
    )


def expression(text: str, timeout: int) -> Any:
    """Return what `Jsonata.jsonata` returns for a text, to be evaluated once, in at most `timeout` milliseconds.

    Raises JException: it is no expression.
    """
    made = jsonata.Jsonata.__new__(jsonata.Jsonata)
    vars(made).update(vars(_parsed(text)))
    made.parser = jsonata.Jsonata.get_parser()  # that of this thread
    made.environment = made.create_frame(jsonata.Jsonata.static_frame)
    made.environment.set_runtime_bounds(timeout, None)
    jsonata.Jsonata.CURRENT.jsonata = made
    return made


@lru_cache(maxsize=_MOST_EXPRESSIONS)
def _parsed(text: str) -> Any:
    return jsonata.Jsonata(text)
