"""What the layer carries beside the package: the models' folders, and the commit that they are of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import perennial
from perennial.evaluation import custom_metrics
from perennial.evaluation.custom_metrics import OwnMetrics
from perennial.model import definition
from perennial.model.problem_types import Direction
from perennial.runs import configuration
from perennial.runs.configuration import Configuration
from perennial_aws.settings import settings

FOLDER = Path(perennial.__file__).parent.parent


def configured(overrides: Mapping[str, Any], replayed: Mapping[str, str] | None = None) -> Configuration:
    """Return the configuration of the stack's model, with what a run's input sets over it."""
    model = settings.model_name
    return configuration.resolve(
        model,
        definition.load(FOLDER / "models" / model / "model.yaml"),
        stack=configuration.stack_overrides(settings.stack_overrides),
        run=overrides,
        data_prefix=settings.data_prefix,
        replayed=replayed,
    )


def own_metrics(problem: str, directions: Mapping[str, Direction]) -> OwnMetrics:
    """Return the metrics that the stack's model brings itself, of which a run's definition says these."""
    file = FOLDER / "models" / settings.model_name / custom_metrics.FILE
    return OwnMetrics(FOLDER / "processing/measure_custom.py", file, problem, directions)


def commit() -> str:
    """Return the commit of this deployment, or `unknown`."""
    file = FOLDER / "commit.txt"
    return file.read_text(encoding="utf-8").strip() if file.is_file() else "unknown"
