"""What states of the flow hand from one function to another: members of the functions' Request and Answer types.

Keys are written as Step Functions writes its own, so that one glance at an execution tells whose is what.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, TypedDict, TypeVar

from perennial.evaluation import gate
from perennial.model.problem_types import Direction

T = TypeVar("T")


def read(request: type[T], event: Mapping[str, Any]) -> T:
    """Return a payload as its type, a dataclass. Raises TypeError, which names what is missing.

    What is not declared is passed over: a run goes on with the state machine that it began with when the functions are
    updated under it.
    """
    declared = {one.name for one in dataclasses.fields(request)}  # type: ignore[arg-type]
    return request(**{name: value for name, value in event.items() if name in declared})


class AlgorithmPayload(TypedDict):
    """What trains: the algorithm's name in model.yaml, its image, and all hyperparameters as SageMaker takes them."""

    Name: str
    Image: str
    HyperParameters: dict[str, str]


class InstancesPayload(TypedDict):
    """The machines of each step, with SageMaker's own names (runs.configuration.Configuration.instances)."""

    Preprocess: dict[str, Any]
    Train: dict[str, Any]
    Predict: dict[str, Any]
    Baseline: dict[str, Any]
    Endpoint: dict[str, Any]


class GatePayload(TypedDict):
    """What a candidate must reach: evaluation.gate.Gate."""

    Metric: str
    Direction: Direction
    Threshold: float
    MinimumImprovement: float
    MaximumRegression: float | None
    MinimumUnseenRows: int
    WithoutComparison: Literal["reject", "threshold"]


def gate_out(given: gate.Gate) -> GatePayload:
    """Return a gate as it travels."""
    return {
        "Metric": given.metric,
        "Direction": given.direction,
        "Threshold": given.threshold,
        "MinimumImprovement": given.minimum_improvement,
        "MaximumRegression": given.maximum_regression,
        "MinimumUnseenRows": given.minimum_unseen_rows,
        "WithoutComparison": given.without_comparison,
    }


def gate_in(given: GatePayload) -> gate.Gate:
    """Return a gate that has travelled."""
    return gate.Gate(
        metric=given["Metric"],
        direction=given["Direction"],
        threshold=given["Threshold"],
        minimum_improvement=given["MinimumImprovement"],
        maximum_regression=given["MaximumRegression"],
        minimum_unseen_rows=given["MinimumUnseenRows"],
        without_comparison=given["WithoutComparison"],
    )
