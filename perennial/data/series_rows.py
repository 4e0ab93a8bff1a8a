"""A series that is asked about, as a row that monitoring compares: a series is none, and no two have the same values.

season_change  how the mean of its last season differs from the season before: 0.02 for 2 % more
missing_share  of the last `context_length` periods how many have no value

And its features: its categories, and the mean of each number over the periods ahead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from perennial.model.series import MONITORED, category_columns, dynamic_columns, season_of

Floats = npt.NDArray[np.float64]


def monitored(definition: Mapping[str, Any]) -> dict[str, Any]:
    """Return the definition of the rows as which series are monitored, given that of their points."""
    dynamic = dynamic_columns(definition)
    columns = {
        name: {**column, "type": "float", "nullable": True} if name in dynamic else column
        for name, column in definition["columns"].items()
        if name == definition["target"] or name in (*category_columns(definition), *dynamic)
    }
    derived = {name: {"type": "float", "nullable": True, "feature": True} for name in MONITORED}
    return {**definition, "columns": {**columns, **derived}, "split": {"method": "random"}, "series": None}


def row(values: Floats, categories: Mapping[str, Any], ahead: Mapping[str, float], series: Mapping[str, Any]) -> Any:
    """Return a series by column, given its values so far `(n,)` and the means of its numbers ahead.

    series  the section of a definition; None is a missing value
    """
    context = values[-int(series["context_length"]) :]
    missing = 1 - np.isfinite(context).sum() / int(series["context_length"])
    numbers = {**ahead, "season_change": season_change(values, season_of(series)), "missing_share": float(missing)}
    return {**categories, **{name: float(value) if np.isfinite(value) else None for name, value in numbers.items()}}


def season_change(values: Floats, season: int) -> float:
    """Return how far the mean of the last season is from the one before, relative to it; NaN where one is unknown."""
    last, before = values[-season:], values[-2 * season : -season]
    if len(before) < season or not (np.isfinite(last).any() and np.isfinite(before).any()):
        return float("nan")
    with np.errstate(over="ignore", invalid="ignore"):
        earlier, latest = np.nanmean(before), np.nanmean(last)
        return float(latest / earlier - 1) if earlier else float("nan")
