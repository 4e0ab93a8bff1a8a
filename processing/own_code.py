"""What the folder of a model brings beside its definition, as the job scripts find it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perennial.evaluation import custom_metrics
from perennial.evaluation.custom_metrics import OwnMetrics
from perennial.monitoring import capture
from perennial.monitoring.adapter import Adapter
from processing import job_script

MEASURING = job_script.CODE / "processing/measure_custom.py"


def metrics(config: Mapping[str, Any]) -> OwnMetrics:
    """Return the metrics that the model of a configuration brings itself, which may be none."""
    definition = config["definition"]
    directions = definition.get("metrics", {})  # a run that an earlier version has begun knows none
    return OwnMetrics(MEASURING, _file(config, custom_metrics.FILE), definition["problem"], directions)


def reading(config: Mapping[str, Any]) -> capture.Read:
    """Return how captured requests of a model are read: by its capture.py, if it has one. Raises HookError."""
    adapter = Adapter.load(_file(config, "capture.py"))
    return adapter.payloads if adapter else capture.payloads


def _file(config: Mapping[str, Any], name: str) -> Path:
    return job_script.MODELS / str(config.get("model", "")) / name
