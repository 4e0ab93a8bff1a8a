"""Types that several functions have in their Request or Answer.

Keys are written as Step Functions writes its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, NotRequired, TypedDict, TypeVar

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
    """An algorithm: its name in model.yaml, its image, and all hyperparameters as SageMaker takes them.

    ExplainImage  the image in which jobs explain its models
    Program       what of AlgorithmSpecification is the script's: its start and its metrics; nothing of an algorithm
    Channels      of the training job, besides train and validation
    Serving       members of the container that serves its models, besides image and model
    Sets          the channels of the training job, with the folder and the content type of each
    Batch         members of the requests of transform jobs
    IsAlone       it serves what callers send: no preprocessor is in front of it
    """

    Name: str
    Image: str
    ExplainImage: str
    HyperParameters: dict[str, str]
    Program: dict[str, Any]
    Channels: list[dict[str, Any]]
    Serving: dict[str, Any]
    Sets: list[dict[str, str]]
    Batch: dict[str, Any]
    IsAlone: bool


class TuningPayload(TypedDict):
    """A tuning job: its name but for the number of the attempt, and the members of its request that are its own.

    Definition  members of its trials' definition that a run which trains once does not have
    WarmStart   the member WarmStartConfig, where there is a tuning job to go on from
    """

    Name: str
    Config: dict[str, Any]
    Definition: dict[str, Any]
    WarmStart: dict[str, Any]


class InstancesPayload(TypedDict):
    """The machines of each step, with SageMaker's own names (runs.configuration.Configuration.instances)."""

    Preprocess: dict[str, Any]
    Train: dict[str, Any]
    Predict: dict[str, Any]
    Baseline: dict[str, Any]
    Endpoint: dict[str, Any]


class IngestPayload(TypedDict):
    """The feature group that gets rows: its name, what tells its records, and when the event of each was."""

    Group: str
    Record: str
    EventTime: str


class ResultPayload(TypedDict):
    """What a run's gate measured, as far as the output of an execution says it."""

    Metric: str | None
    Candidate: float | None
    Champion: float | None
    Reason: str


class VersionPayload(TypedDict):
    """A version in the model registry that is only deployed: its containers, and why it is deployed.

    InsteadOf  the run whose version was in service, and was rejected
    """

    Arn: str
    Number: int
    Containers: list[dict[str, Any]]
    Result: ResultPayload
    InsteadOf: str | None


class GatePayload(TypedDict):
    """What a candidate must reach: evaluation.gate.Gate."""

    Metric: str
    Direction: Direction
    Threshold: float
    MinimumImprovement: float
    MaximumRegression: float | None
    MinimumUnseenRows: int
    WithoutComparison: Literal["reject", "threshold"]
    Confidence: NotRequired[float | None]  # not sent by runs of an earlier version


def gate_out(wanted: gate.Gate) -> GatePayload:
    """Return a gate as a payload."""
    return {
        "Metric": wanted.metric,
        "Direction": wanted.direction,
        "Threshold": wanted.threshold,
        "MinimumImprovement": wanted.minimum_improvement,
        "MaximumRegression": wanted.maximum_regression,
        "MinimumUnseenRows": wanted.minimum_unseen_rows,
        "WithoutComparison": wanted.without_comparison,
        "Confidence": wanted.confidence,
    }


def gate_in(payload: GatePayload) -> gate.Gate:
    """Return the gate of a payload."""
    return gate.Gate(
        metric=payload["Metric"],
        direction=payload["Direction"],
        threshold=payload["Threshold"],
        minimum_improvement=payload["MinimumImprovement"],
        maximum_regression=payload["MaximumRegression"],
        minimum_unseen_rows=payload["MinimumUnseenRows"],
        without_comparison=payload["WithoutComparison"],
        confidence=payload.get("Confidence"),
    )
