"""The sides of each facet of model.yaml: who is on which, and how many of them had the positive outcome.

A facet parts the records: its own members, whose values `values` or `above` takes in, and all others; who has no value
of the column is on neither side. Outcomes are what came true (labels) and what the model said (predictions).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from perennial.evaluation import metrics
from perennial.evaluation.problem_types.measures import Floats
from perennial.features.comparing import above, is_one_of
from perennial.model.problem_types import classes_of
from perennial.words import printable

OTHERS, MEMBERS, NEITHER = 0, 1, 2
AT_ONCE = 1 << 20  # labels
MAX_NAME = 80  # characters of a facet in messages
_OFF: Mapping[str, Any] = {"enabled": False, "facets": (), "positive": None, "group": None}
Sides = npt.NDArray[np.int8]
Share = tuple[int, int]  # positive records, all records


@dataclass(frozen=True)
class Side:
    """The records of one side of a facet, those of them whose label or prediction is known, and their positive ones."""

    records: int = 0
    labels: int = 0
    positive_labels: int = 0
    predictions: int = 0
    positive_predictions: int = 0

    @property
    def labelled(self) -> Share:
        return self.positive_labels, self.labels

    @property
    def predicted(self) -> Share:
        return self.positive_predictions, self.predictions


@dataclass(frozen=True)
class FacetCounts:
    """Both sides of a facet; `rule` is what model.yaml says of it."""

    rule: Mapping[str, Any]
    others: Side
    members: Side

    @property
    def column(self) -> str:
        return str(self.rule["column"])

    @property
    def value(self) -> str:
        return value_of(self.rule)

    @property
    def name(self) -> str:
        return printable(f"{self.column} {self.value}", MAX_NAME)


def value_of(rule: Mapping[str, Any]) -> str:
    """Return what a rule takes in, as Clarify writes `value_or_threshold`; an open end of an interval is inf."""
    if rule["above"] is not None:
        return f"({rule['above']:.12g}, inf)"
    return ",".join(value if isinstance(value, str) else f"{float(value):.12g}" for value in rule["values"])


def section_of(definition: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return `monitoring.bias`, without facets where it is switched off and where the run is older than it."""
    section: Mapping[str, Any] = definition.get("monitoring", {}).get("bias", _OFF)
    return section if section["enabled"] else _OFF


def sides_of(rule: Mapping[str, Any], values: pa.Array) -> Sides:
    """Return whether a rule takes in each of the values `(n_rows,)`: MEMBERS, OTHERS, and NEITHER of a missing one."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_string(values.type) != isinstance((rule["values"] or (0,))[0], str):
        return np.full(len(values), NEITHER, np.int8)  # a rule for a column of another type
    if pa.types.is_string(values.type):
        inside = pc.is_in(values, value_set=pa.array(rule["values"], values.type))
    else:
        values = values.cast(pa.float64(), safe=False)
        is_above = rule["above"] is not None
        inside = above(values, rule["above"]) if is_above else is_one_of(values, [*map(float, rule["values"])])
    sides = pc.if_else(pc.is_null(values, nan_is_null=True), NEITHER, pc.cast(inside, pa.int8()))
    return np.asarray(sides.to_numpy(zero_copy_only=False), np.int8)


def _numbered(positive: Any, classes: Sequence[str]) -> Any:
    """Return which outcomes are positive ones, by the numbers of the classes where these have names."""
    if not classes or not positive:
        return positive
    return {"values": [classes.index(str(value)) for value in positive["values"]], "above": None}


class FacetCounter:
    """Counts the records on the sides of each facet of a definition, and their positive outcomes.

    Outcomes of `classes` are the numbers of these.
    """

    def __init__(self, definition: Mapping[str, Any]) -> None:
        section = section_of(definition)
        self._problem, self.classes = definition["problem"], classes_of(definition)
        self._positive = _numbered(section["positive"], self.classes)
        self.rules: Sequence[Mapping[str, Any]] = section["facets"]
        self._counts = {item.name: np.zeros((2, len(self.rules)), np.int64) for item in fields(Side)}

    def sides(self, table: pa.Table) -> Sides:
        """Return the sides of records `(n_rows, n_facets)`, of which there has to be a facet.

        A column that there is not, because it came later than the model, has no value.
        """
        missing = pa.nulls(table.num_rows, pa.float64())
        columns = (table[rule["column"]].combine_chunks() if rule["column"] in table.column_names else missing
                   for rule in self.rules)  # fmt: skip
        return np.stack([sides_of(rule, values) for rule, values in zip(self.rules, columns, strict=True)], axis=1)

    def add(self, sides: Sides) -> None:
        """Count records."""
        self._add("records", sides)

    def add_labels(self, sides: Sides, labels: Floats) -> None:
        """Count what came true, of any number of records."""
        for first in range(0, labels.size, AT_ONCE):
            some = sides[first : first + AT_ONCE]
            self._add("labels", some)
            self._add("positive_labels", some[self.are_positive(labels[first : first + AT_ONCE])])

    def add_predictions(self, sides: Sides, predictions: Floats) -> None:
        """Count what the model said, in the form of labels."""
        self._add("predictions", sides)
        self._add("positive_predictions", sides[self.are_positive(predictions)])

    def add_scores(self, sides: Sides, scores: Floats) -> None:
        """Count what the model said, as it answers, but for scores that mean nothing."""
        sound = metrics.can_be_measured(self._problem, scores)
        sides, scores = sides[sound], scores[sound]
        measured = metrics.measures_of(self._problem).columns(np.zeros(len(scores)), scores, ())
        self.add_predictions(sides, measured["prediction"].astype(np.float64))

    def are_positive(self, outcomes: Floats) -> npt.NDArray[np.bool_]:
        """Return which outcomes, in the form of labels, are positive ones."""
        return np.equal(sides_of(self._positive, pa.array(outcomes, pa.float64())), MEMBERS)

    def _add(self, name: str, sides: Sides) -> None:
        for side in (OTHERS, MEMBERS):
            self._counts[name][side] += (sides == side).sum(axis=0)

    @property
    def facets(self) -> list[FacetCounts]:
        return [
            FacetCounts(rule, *(self._side(side, place) for side in (OTHERS, MEMBERS)))
            for place, rule in enumerate(self.rules)
        ]

    def _side(self, side: int, place: int) -> Side:
        return Side(**{name: int(counts[side, place]) for name, counts in self._counts.items()})
