"""What follows from the section `series` of a definition (model.series_section): its split, its features, its season.

Needs nothing: jobs import it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

# Developer Guide, "DeepAR hyperparameters", time_freq.
FREQUENCY = re.compile(r"([1-9][0-9]{0,3})?(M|W|D|H|min)")
FREQUENCIES = "M, W, D, H or min, which may follow a number, as in 15min, and 3M for quarters"
MONITORED = ("season_change", "missing_share")  # what monitoring knows of a series besides its features
_SEASONS = {"M": 12, "W": 52, "D": 7, "H": 24, "min": 1440}
NUMBERS = ("float", "integer", "boolean")


def split_of(section: Any) -> dict[str, Any]:
    """Return the section `split` that follows from a section `series`, as far as that is one."""
    if not isinstance(section, Mapping):
        return {"method": "random"}
    key, time = (str(section.get(name, "")) for name in ("key", "time"))
    return {"method": "time", "column": time, "key": [key, time]}


def season_of(series: Mapping[str, Any]) -> int:
    """Return how many periods a seasonal forecast looks back: 1 where none is known."""
    if series.get("season"):
        return int(series["season"])
    multiple, unit = multiple_and_unit(series["frequency"])
    return _SEASONS[unit] // multiple if _SEASONS[unit] % multiple == 0 else 1


def multiple_and_unit(frequency: str) -> tuple[int, str]:
    """Return 15 and min of 15min, 1 and M of M."""
    match = FREQUENCY.fullmatch(frequency)
    if match is None:
        raise ValueError(f"{frequency!r} is no frequency; expected {FREQUENCIES}")
    return int(match[1] or 1), match[2]


def category_columns(definition: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the features that tell kinds of series apart, with their categories: DeepAR's `cat` has their numbers."""
    return {name: list(column["categories"]) for name, column in _features(definition) if column["type"] == "string"}


def dynamic_columns(definition: Mapping[str, Any]) -> list[str]:
    """Return the features that are known of each period, also of those ahead: DeepAR's `dynamic_feat`."""
    return [name for name, column in _features(definition) if column["type"] in NUMBERS]


def _features(definition: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, column in definition["columns"].items():
        if column.get("feature", True) and name != definition["target"]:
            yield name, column
