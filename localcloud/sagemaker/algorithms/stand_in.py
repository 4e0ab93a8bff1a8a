"""What the local cloud has to know of an image that it stands in for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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
    own         of an image of one's own: the commands that its `train` and `serve` are here
    """

    repository: str
    serves: Path
    trains: Path | None = None
    framework: str | None = None
    metrics: tuple[MetricDefinition, ...] = ()
    tunable: frozenset[str] = frozenset()
    own: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def command(self, name: str, python: Path) -> list[str]:
        """Return a command of an image of one's own; `python` stands in for AWS's images."""
        program, *arguments = self.own[name]
        return [str(python) if program in ("python", "python3") else program, *arguments]
