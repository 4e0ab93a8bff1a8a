"""`gate.slices` of a model.yaml: named parts of the test rows, in which the gate asks as well.

A slice holds the rows that fulfil all its conditions. A row without a value of a column fulfils none about it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from perennial.model.bias import Group, check_values
from perennial.model.complaints import Complaint, Strict, suggestion
from perennial.model.problem_types import Score

MAX_SLICES = 32  # a bit each, of the number that preprocessing leaves for each test row
MAX_CONDITIONS = 8
SECTION = "gate.slices"
_RULES = "values: [...], above: <number> or below: <number>"


def _group(value: Any) -> Any:
    """Return a condition, for which its values may stand, or the only one of them."""
    if isinstance(value, dict) or value is None:
        return value
    return {"values": value if isinstance(value, list | tuple) else [value]}


class Condition(Group):
    """Some of a column's values: those that are named, or the numbers between two bounds, without these."""

    below: float | None = None


class Slice(Strict):
    """Which rows it holds, and what the candidate must reach there.

    threshold           absolute, as gate.threshold; None asks nothing
    maximum_regression  how much worse than the model in service, as gate.maximum_regression; None allows all
    """

    where: Annotated[
        dict[str, Annotated[Condition, BeforeValidator(_group)]], Field(min_length=1, max_length=MAX_CONDITIONS)
    ]
    threshold: float | None = None
    maximum_regression: float | None = Field(default=0.0, ge=0, lt=1)


Complaints = Iterator[Complaint]


def check(slices: Mapping[str, Slice], columns: Mapping[str, Any], score: Score | None, metric: str) -> Complaints:
    """Yield what slices say that the columns and the gate's metric do not allow; no score: it has no such metric."""
    for name, one in slices.items():
        path = f"{SECTION}.{name}"
        for column, condition in one.where.items():
            yield from _check_condition(f"{path}.where.{column}", condition, column, columns)
        if score is not None and one.threshold is not None and not score.is_sound(one.threshold):
            yield f"{path}.threshold", f"got {one.threshold:g}; expected for {metric} {score.expected()}"
        if one.threshold is None and one.maximum_regression is None:
            yield path, "asks nothing; expected a threshold, or a maximum_regression that is a number"


def _check_condition(path: str, condition: Condition, name: str, columns: Mapping[str, Any]) -> Complaints:
    column, has_bounds = columns.get(name), condition.above is not None or condition.below is not None
    if column is None:
        yield path, f"{name!r} is not one of the columns{suggestion(name, columns)}"
    elif has_bounds == (condition.values is not None):
        yield path, f"got {'both' if has_bounds else 'nothing'}; expected {_RULES}"
    elif condition.values is not None:
        yield from check_values(f"{path}.values", condition.values, column)
    elif column.type not in ("float", "integer"):
        yield path, f"{name} is {column.type}; expected values: [...] of it"
    elif condition.above is not None and condition.below is not None and condition.above >= condition.below:
        yield path, f"no number is above {condition.above:g} and below {condition.below:g}"
