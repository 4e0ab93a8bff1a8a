"""What the requests of a run say otherwise for an algorithm that reads series than for those that read rows.

Sources: Amazon SageMaker Developer Guide, "DeepAR Forecasting Algorithm" (input channels) and "DeepAR Inference
Formats" (batch transform).
"""

from __future__ import annotations

import json
from typing import Any, TypedDict

from perennial.evaluation.forecasts import CONFIGURATION
from perennial.model.algorithms.algorithm import Algorithm, InputMode

_SERIES_MB = 6  # of one, which is a payload: as much as a request to an endpoint may have


class AlgorithmRequests(TypedDict):
    """Members of payloads.AlgorithmPayload."""

    Sets: list[dict[str, str]]
    Batch: dict[str, Any]
    IsAlone: bool
    Serving: dict[str, Any]


def of_algorithm(algorithm: Algorithm, input_mode: InputMode = "File") -> AlgorithmRequests:
    """Return what training, batch transforms and the model of an algorithm are asked for with."""
    if not algorithm.reads_series:
        channel = {"ContentType": "text/csv", "InputMode": input_mode}
        return {
            "Sets": [{"Name": name, "Folder": name, **channel} for name in ("train", "validation")],
            "Batch": {"BatchStrategy": "MultiRecord", "MaxPayloadInMB": 1},
            "IsAlone": False,
            "Serving": {},
        }
    channel = {"ContentType": "json", "InputMode": input_mode}
    channels = {"train": "train", "test": "validation"}  # by the channel test DeepAR measures itself
    return {
        "Sets": [{"Name": name, "Folder": folder, **channel} for name, folder in channels.items()],
        "Batch": {"BatchStrategy": "SingleRecord", "MaxPayloadInMB": _SERIES_MB},
        "IsAlone": True,
        "Serving": {"Environment": {"DEEPAR_INFERENCE_CONFIG": json.dumps(CONFIGURATION)}},
    }
