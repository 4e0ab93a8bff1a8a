"""A problem type and an algorithm that are not there, as they would be."""

import sys

import pytest

from perennial.model.problem_types import PROBLEM_TYPES, ProblemType, Score
from tests.unit.new_kinds import multiclass_classification

MULTICLASS = ProblemType(
    "multiclass_classification",
    "the target of a multiclass classification is integer with min: 0",
    lambda kind, low, _high: kind == "integer" and low == 0,
    {"accuracy": Score("maximize", 0.0, 1.0)},
    is_classes=True,
)


def add_multiclass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the problem type: its entry, and the file that computes its metrics."""
    monkeypatch.setitem(PROBLEM_TYPES, MULTICLASS.name, MULTICLASS)
    file = f"perennial.evaluation.problem_types.{MULTICLASS.name}"
    monkeypatch.setitem(sys.modules, file, multiclass_classification)
