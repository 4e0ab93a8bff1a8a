"""What the local cloud has to know of an image that it stands in for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

PROGRAMS = Path(__file__).parent
SERVING_PROGRAMS = PROGRAMS.parent / "containers"

MetricDefinition = dict[str, str]


@dataclass(frozen=True)
class StandIn:
    """An image of SageMaker's, and the programs that do here what its containers do.

    repository  the image's: what its URI names
    serves      the program of a serving container
    trains      the program of its built-in algorithm; None for an image that has none
    framework   the module by which a script of the caller's knows its image; None for one that runs no scripts
    tunable     the hyperparameters of its built-in algorithm that a tuning job may have ranges of
    metrics     the metric definitions that SageMaker adds to a training job of the algorithm
    """

    repository: str
    serves: Path
    trains: Path | None = None
    framework: str | None = None
    metrics: tuple[MetricDefinition, ...] = ()
    tunable: frozenset[str] = frozenset()
