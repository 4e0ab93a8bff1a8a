"""Ranges of hyperparameters: what a tuning job may try, as model.yaml has it and as SageMaker takes it.

A number is tuned between two ends, `{min: 0.01, max: 0.3, scale: logarithmic}`; a word is one of a list. Source: Amazon
SageMaker API Reference, ParameterRanges; Developer Guide, "Hyperparameter scaling".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from perennial.model.algorithms.hyperparameter import Allowed, as_text
from perennial.model.complaints import excerpt, suggestion

SCALES = {
    "auto": "Auto", "linear": "Linear", "logarithmic": "Logarithmic", "reverse_logarithmic": "ReverseLogarithmic",
}  # fmt: skip
MOST_WORDS = 30  # API Reference, CategoricalParameterRange, Values
_ENDS = ("min", "max")
_KEYS = (*_ENDS, "scale")
_NUMBERS = ("integer", "number")


def is_range(value: Any) -> bool:
    """Return whether a hyperparameter is given as a range and not as a value."""
    return isinstance(value, Mapping | list | tuple)


def problems(value: Any, allowed: Allowed) -> Iterator[str]:
    """Yield what is wrong with a range, and what is expected."""
    if isinstance(value, Mapping):
        yield from _of_numbers(value, allowed)
    else:
        yield from _of_words(list(value), allowed)


def _of_words(values: list[Any], allowed: Allowed) -> Iterator[str]:
    if allowed.kind in _NUMBERS:
        yield f"got a list; a number is tuned between two ends, such as {_example(allowed)}"
        return
    distinct = {as_text(value) for value in values if isinstance(value, bool | int | float | str)}
    if len(distinct) < max(2, len(values)) or len(values) > MOST_WORDS:
        yield f"got {values!r}; expected 2 to {MOST_WORDS} different values, or one value that is not tuned"
    for value in values:
        if isinstance(value, bool | int | float | str) and (problem := allowed.problem(value)) is not None:
            yield problem


def _of_numbers(value: Mapping[Any, Any], allowed: Allowed) -> Iterator[str]:
    if allowed.kind not in _NUMBERS:
        yield f"got ends of a range; a word is tuned by a list of some of {', '.join(allowed.words)}"
        return
    for key in value:
        if key not in _KEYS:
            yield f"{key!r} is no key of a range{suggestion(str(key), _KEYS)}"
    if wrong := [f"{end} is {_spoken(value.get(end))}" for end in _ENDS if not _is_number(value.get(end))]:
        yield f"{' and '.join(wrong)}; expected two numbers, such as {_example(allowed)}"
        return
    numbers = [value[end] for end in _ENDS]
    broken = [f"{end}: {problem}" for end in _ENDS if (problem := allowed.problem(value[end])) is not None]
    yield from broken
    if broken:
        return
    if numbers[0] >= numbers[1]:
        yield f"min {numbers[0]:g} is not less than max {numbers[1]:g}; a value that is not tuned is written alone"
    else:
        yield from _of_scale(value.get("scale", "auto"), numbers, allowed)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _spoken(end: Any) -> str:
    return "missing" if end is None else excerpt(end)


def _of_scale(scale: Any, ends: list[float], allowed: Allowed) -> Iterator[str]:
    if not isinstance(scale, str) or scale not in SCALES:
        yield f"scale is {excerpt(scale)}{suggestion(str(scale), SCALES)}"
    elif scale == "logarithmic" and ends[0] <= 0:
        yield f"scale logarithmic needs a min above 0; got {ends[0]:g}"
    elif scale == "reverse_logarithmic" and (allowed.kind == "integer" or ends[0] < 0 or ends[1] >= 1):
        yield f"scale reverse_logarithmic needs fractions of 0 or more and below 1; got {ends[0]:g} to {ends[1]:g}"


def _example(allowed: Allowed) -> str:
    return "{min: 2, max: 8}" if allowed.kind == "integer" else "{min: 0.1, max: 0.5}"


def combinations(values: Mapping[str, Any], table: Mapping[str, Allowed]) -> float:
    """Return how many different trials some ranges allow."""
    counts = [
        (value["max"] - value["min"] + 1 if table[name].kind == "integer" else math.inf)
        if isinstance(value, Mapping)
        else len(value)
        for name, value in values.items()
    ]
    return math.prod(counts)


def as_sagemaker(values: Mapping[str, Any], table: Mapping[str, Allowed]) -> dict[str, Any]:
    """Return ranges as ParameterRanges, all of whose numbers are texts."""
    words = [
        {"Name": name, "Values": [as_text(one) for one in value]}
        for name, value in values.items()
        if not isinstance(value, Mapping)
    ]
    numbers: dict[str, list[dict[str, str]]] = {kind: [] for kind in _NUMBERS}
    for name, value in values.items():
        if isinstance(value, Mapping):
            ends = {"MinValue": as_text(value["min"]), "MaxValue": as_text(value["max"])}
            scaling = SCALES[value.get("scale", "auto")]
            numbers[table[name].kind].append({"Name": name, **ends, "ScalingType": scaling})
    return {
        "IntegerParameterRanges": numbers["integer"],
        "ContinuousParameterRanges": numbers["number"],
        "CategoricalParameterRanges": words,
    }
