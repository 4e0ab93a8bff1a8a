"""The section `series` of a model.yaml: which columns make series of rows, how often they have a value, how far ahead.

A forecasting model has it, and no other. What it says decides the split too: the last `prediction_length` periods test,
those before validate, all earlier ones train.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from perennial.model.complaints import Complaint, Strict, suggestion
from perennial.model.series import FREQUENCIES, FREQUENCY, MONITORED


class SeriesSection(Strict):
    """How rows are points of series.

    key     the column that names the series of a row; none is a fault that `check` explains
    time    the column that says when its period begins
    season  how many periods lie between two that are alike; None: a year of months or weeks, a week of days, a day of
            hours or minutes
    """

    key: str = ""
    time: str
    frequency: str
    context_length: int = Field(ge=1, le=10_000)
    prediction_length: int = Field(ge=1, le=1_000)
    season: int | None = Field(default=None, ge=1, le=100_000)


def check(series: SeriesSection, columns: Mapping[str, Any], target: str) -> Iterator[Complaint]:
    """Yield (path, text) for what cannot be series of these columns (model.definition.ColumnDefinition)."""
    if FREQUENCY.fullmatch(series.frequency) is None:
        yield "series.frequency", f"got {series.frequency!r}; expected {FREQUENCIES}"
    for path, name, types in (("key", series.key, ("string", "integer")), ("time", series.time, ("timestamp",))):
        column = columns.get(name)
        if not name:
            yield (
                "series.key",
                "is missing; where there is one series alone, a column that says the same in each row: add one to the "
                'files (pandas: table["series"] = "all")',
            )
        elif column is None:
            yield f"series.{path}", f"{name!r} is not one of the columns{suggestion(name, columns)}"
        elif name == target:
            yield f"series.{path}", "this is the target"
        elif column.type not in types:
            yield f"series.{path}", f"{name!r} is {column.type}; expected a column of type {' or '.join(types)}"
        elif column.feature:
            yield f"columns.{name}.feature", f"is series.{path}, which DeepAR does not learn from; set feature: false"
        elif column.nullable:
            yield f"columns.{name}.nullable", "a row without it belongs to no series; leave it out"
    for name, column in columns.items():
        if name in MONITORED:
            yield f"columns.{name}", "is the name of what monitoring computes of a series; take another one"
        if not column.feature or name in (target, series.key, series.time):
            continue
        if column.type == "string" and column.categories is None:
            yield f"columns.{name}.categories", "is missing; DeepAR knows categories by their numbers, so name them all"
        if column.nullable:
            yield f"columns.{name}.nullable", "DeepAR takes no missing value of a feature; leave it out"
