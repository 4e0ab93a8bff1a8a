"""What the folder of a model brings beside its definition, as the job scripts find it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perennial.evaluation import custom_metrics
from perennial.evaluation.custom_metrics import OwnMetrics
from processing import job_script

MEASURING = job_script.CODE / "processing/measure_custom.py"


def metrics(config: Mapping[str, Any]) -> OwnMetrics:
    """Return the metrics that the model of a configuration brings itself, which may be none."""
    definition = config["definition"]
    directions = definition.get("metrics", {})  # a run that an earlier version has begun knows none
    return OwnMetrics(MEASURING, _file(config, custom_metrics.FILE), definition["problem"], directions)


def _file(config: Mapping[str, Any], name: str) -> Path:
    return job_script.MODELS / str(config.get("model", "")) / name
