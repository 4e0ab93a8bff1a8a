"""How far a column of new files has moved, in words, for whoever reads a run's record."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def in_words(moved: Mapping[str, Any]) -> str:
    """Return how far a column has moved, as a record has it, and whether another unit would explain it."""
    unit = f": {as_question(moved['unit'])}" if moved.get("unit") else ""
    return f"{moved['column']} by {moved['distance']:.2f} ({moved['before']} -> {moved['after']}){unit}"


def as_question(unit: str) -> str:
    """Return what has become of a column's unit (data.units), for whoever knows it."""
    return f"the numbers are {unit}, is it another unit?"
