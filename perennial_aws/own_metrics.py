"""The metrics that the stack's model brings itself, in the layer. Loads nothing that reads a model.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import perennial
from perennial.evaluation import custom_metrics
from perennial.evaluation.custom_metrics import OwnMetrics
from perennial.model.problem_types import Direction
from perennial_aws.settings import settings

FOLDER = Path(perennial.__file__).parent.parent


def named(problem: str, directions: Mapping[str, Direction]) -> OwnMetrics:
    """Return those of which a run's definition says which values are better."""
    file = FOLDER / "models" / settings.model_name / custom_metrics.FILE
    return OwnMetrics(FOLDER / "processing/measure_custom.py", file, problem, directions)
