"""XGBoost's selectable inference output: SAGEMAKER_INFERENCE_OUTPUT=predicted_label,probability,...

A key that the objective does not have is answered as NaN, with a warning, as in the container.
Source: sagemaker-xgboost-container, `algorithm_mode/serve_utils.py`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from localcloud.sagemaker.containers.serving_container import CSV, JSON, log

Array = npt.NDArray[Any]

_LABELS = ["predicted_label", "labels"]
_RAW = ["raw_score", "raw_scores"]
_PROBABILITIES = ["probability", "probabilities"]
VALID_KEYS = {
    "reg:squarederror": ["predicted_score"],
    "reg:logistic": ["predicted_score"],
    "reg:gamma": ["predicted_score"],
    "reg:tweedie": ["predicted_score"],
    "binary:logistic": [*_LABELS, *_PROBABILITIES, *_RAW],
    "binary:logitraw": [*_LABELS, *_RAW],
    "binary:hinge": [*_LABELS, *_RAW],
    "multi:softmax": [*_LABELS, *_RAW],
    "multi:softprob": [*_LABELS, *_PROBABILITIES, *_RAW],
}


def select(predictions: Array, keys: Sequence[str], objective: str, classes: int, accept: str) -> bytes:
    """Return the predictions' selected content in the accepted type. ValueError for an objective without any."""
    if objective not in VALID_KEYS:
        raise ValueError(f"Objective `{objective}` unsupported for selectable inference predictions.")
    if invalid := sorted(set(keys) - set(VALID_KEYS[objective])):
        log(
            f"Selected key(s) {invalid} incompatible for objective '{objective}'. Please use list of compatible "
            f"selectable inference predictions: {VALID_KEYS[objective]}",
            "WARNING",
        )
    selected = [
        {key: _content(key, row, objective, classes) if key in VALID_KEYS[objective] else math.nan for key in keys}
        for row in predictions
    ]
    if accept == JSON:
        return json.dumps({"predictions": selected}).encode()
    if accept == CSV:
        return "".join(",".join(map(_cell, row.values())) + "\n" for row in selected).encode()
    return "".join(json.dumps(row) + "\n" for row in selected).encode()


def _cell(value: Any) -> str:
    return f'"{value}"' if isinstance(value, list) else str(value)


def _content(key: str, row: Any, objective: str, classes: int) -> Any:
    is_vector = isinstance(row, np.ndarray) and row.ndim == 1
    if key == "labels":
        return [0, 1] if objective.startswith("binary:") else list(range(classes))
    if key == "predicted_label":
        return _label(row, objective)
    if key in ("probabilities", "raw_scores"):
        return row.tolist() if is_vector else [1.0 - row.item(), row.item()]
    return row.max().item() if is_vector else row.item()


def _label(row: Any, objective: str) -> Any:
    if objective == "multi:softprob":
        return int(np.argmax(row))
    if objective == "binary:logistic":
        return int(row > 0.5)
    if objective == "binary:logitraw":
        return int(row > 0)
    return row.item()
