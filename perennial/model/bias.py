"""`monitoring.bias` of a model.yaml: whose outcomes are compared, and which outcomes are the positive ones.

Clarify's names of the same: a facet's `value_or_threshold`, and `label_values_or_threshold` (SageMaker Developer Guide,
"Analysis Configuration Files").
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from perennial.model.complaints import YAML_TRUTH, Complaint, Strict, excerpt, suggestion
from perennial.model.problem_types import PROBLEM_TYPES, ProblemType

MAX_FACETS = 20  # the monitor keeps a byte for each facet and request
MAX_VALUES = 1_000
SECTION = "monitoring.bias"
_RULES = "values: [...] or above: <number>"


def _plain(value: Any) -> Any:
    if not isinstance(value, str | int | float):
        raise PydanticCustomError("plain_value", "a text, a number, true or false")
    return value


class Group(Strict):
    """Some of a column's values: those that are named, or the numbers above a bound."""

    values: (
        Annotated[
            tuple[Annotated[Any, BeforeValidator(_plain)], ...],
            Field(strict=False, min_length=1, max_length=MAX_VALUES),
        ]
        | None
    ) = None
    above: float | None = None


class Facet(Group):
    """The records whose outcomes are compared with those of all others, by their values of a feature."""

    column: str


class Increase(Strict):
    """How much farther from no bias a metric has to be to matter; perennial.monitoring.bias says what each measures."""

    CI: float = Field(default=0.2, gt=0)
    DPL: float = Field(default=0.1, gt=0)
    DPPL: float = Field(default=0.1, gt=0)
    DI: float = Field(default=0.2, gt=0)


class BiasMonitoring(Strict):
    """Whose outcomes are compared, and when a window's count as more biased. Without facets nothing is analysed.

    group  a feature whose values part the records within which a run's analysis compares as well
    """

    enabled: bool = True
    facets: Annotated[tuple[Facet, ...], Field(strict=False, max_length=MAX_FACETS)] = ()
    positive: Group | None = None
    group: str | None = None
    max_increase: Increase = Increase()


Complaints = Iterator[Complaint]


def check(bias: BiasMonitoring, columns: Mapping[str, Any], target: str, problem: str) -> Complaints:
    """Yield what facets and positive outcomes say that the columns, the target and the problem do not allow."""
    for position, facet in enumerate(bias.facets):
        path = f"{SECTION}.facets[{position}]"
        yield from _check_facet(path, facet, columns, target)
        if facet in bias.facets[:position]:
            yield path, "stands more than once"
    if bias.group is not None:
        yield from _check_group(f"{SECTION}.group", bias.group, columns, target)
    yield from _check_positive(bias, problem, columns.get(target))


def _check_feature(path: str, name: str, columns: Mapping[str, Any], target: str) -> Complaints:
    features = [known for known, column in columns.items() if column.feature and known != target]
    if name not in features:
        known = "is not one of the columns" if name not in columns else "is no feature, so no request names it"
        yield path, f"{name!r} {known}{suggestion(name, features)}"


def _check_group(path: str, name: str, columns: Mapping[str, Any], target: str) -> Complaints:
    if wrong := list(_check_feature(path, name, columns, target)):
        yield from wrong
    elif columns[name].type not in ("string", "boolean", "integer"):
        yield (
            path,
            f"{name} is {columns[name].type}, of which nearly every record is a group; expected a column of few values",
        )


def _check_facet(path: str, facet: Facet, columns: Mapping[str, Any], target: str) -> Complaints:
    if wrong := list(_check_feature(f"{path}.column", facet.column, columns, target)):
        yield from wrong
        return
    column = columns[facet.column]
    if complaints := list(_check_rules(path, facet)):
        yield from complaints
    elif facet.above is not None and column.type not in ("float", "integer"):
        yield f"{path}.above", f"{facet.column} is {column.type}; expected values: [...] of it"
    elif facet.values is not None:
        yield from check_values(f"{path}.values", facet.values, column)


def _check_rules(path: str, group: Group) -> Complaints:
    if (group.values is None) == (group.above is None):
        yield path, f"got {'neither' if group.above is None else 'both'}; expected one of {_RULES}"


def check_values(path: str, values: tuple[Any, ...], column: Any) -> Complaints:
    """Yield what is wrong with values that are named as some of a column's."""
    kinds = {"string": (str, "texts"), "boolean": (bool, "true or false"), "integer": (int, "whole numbers")}
    if column.type not in kinds:
        yield path, f"the column is {column.type}; expected above: <number>"
        return
    kind, expected = kinds[column.type]
    if wrong := [value for value in values if type(value) is not kind]:
        hint = YAML_TRUTH if kind is str and isinstance(wrong[0], bool) else ""
        yield path, f"got {excerpt(wrong[0])}; expected {expected}, as the column is {column.type}{hint}"
        return
    known: tuple[Any, ...] = {"string": column.categories or (), "boolean": (True, False)}.get(column.type, ())
    for unknown in [value for value in values if known and value not in known]:
        yield path, f"{unknown!r} is none of the column's categories{suggestion(unknown, known)}"
    if known and set(known) <= set(values):
        yield path, "are all that the column can have; expected some, which are compared with the others"
    if len(set(values)) < len(values):
        yield path, "a value stands more than once"


def _check_positive(bias: BiasMonitoring, problem: str, target: Any) -> Complaints:
    path, positive, known = f"{SECTION}.positive", bias.positive, PROBLEM_TYPES[problem]
    if positive is None:
        if bias.facets and bias.enabled and not known.values:
            rule = "values: [<class>]" if known.is_classes else "above: <number>"
            yield path, f"is missing; expected which outcomes are the positive ones, {rule}"
    elif complaints := list(_check_rules(path, positive)):
        yield from complaints
    elif known.is_classes == (positive.values is None):
        expected = "values: [<class>]" if known.is_classes else "above: <number>"
        yield path, f"the problem is a {problem}; expected {expected}"
    elif positive.values and known.is_named:
        yield from _check_positive_classes(f"{path}.values", positive.values, target, known)
    elif positive.values and not _are_classes(positive.values, known.values):
        allowed = " or ".join(f"{value:g}" for value in known.values) or "classes, which are numbers"
        yield f"{path}.values", f"got {excerpt(list(positive.values))}; expected {allowed}"


def _check_positive_classes(path: str, values: tuple[Any, ...], target: Any, known: ProblemType) -> Complaints:
    if target is None or not known.accepts(target.type, target.min, target.max):
        return
    if complaints := list(check_values(path, values, target)):
        yield from complaints
    elif target.type == "integer" and not all(target.min <= value <= target.max for value in values):
        yield path, f"got {excerpt(list(values))}; expected classes from {target.min:g} to {target.max:g}"


def _are_classes(values: tuple[Any, ...], known: tuple[float, ...]) -> bool:
    return set(values) < set(known) if known else all(isinstance(value, int | float) for value in values)


def with_positive(bias: BiasMonitoring, problem: str) -> BiasMonitoring:
    """Return the section with the positive class where it names none: the last of those that the problem has."""
    classes = PROBLEM_TYPES[problem].values
    return bias if bias.positive or not classes else bias.model_copy(update={"positive": Group(values=classes[-1:])})
