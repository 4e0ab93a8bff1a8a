"""A problem type and an algorithm that are not there, as they would be."""

import sys

import pytest

from perennial.model.problem_types import PROBLEM_TYPES, ProblemType, Score
from tests.unit.new_kinds import grading

GRADING = ProblemType(
    "grading",
    "the target of a grading is integer with min: 0",
    lambda kind, low, _high: kind == "integer" and low == 0,
    {"accuracy": Score("maximize", 0.0, 1.0)},
    is_classes=True,
)


def add_grading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Add the problem type: its entry, and the file that computes its metrics."""
    monkeypatch.setitem(PROBLEM_TYPES, GRADING.name, GRADING)
    file = f"perennial.evaluation.problem_types.{GRADING.name}"
    monkeypatch.setitem(sys.modules, file, grading)
