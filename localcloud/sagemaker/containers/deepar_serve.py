"""A stand-in for DeepAR's serving container.

Loads   <root>/model/model_algo-1-*, as `deepar_train` writes them
Takes   application/json: {"instances": [<series>, ...], "configuration": {"num_samples", "output_types", "quantiles"}}
        In a transform job (SAGEMAKER_BATCH) a series a line, and the configuration is DEEPAR_INFERENCE_CONFIG.
Gives   {"predictions": [{"mean": [...], "quantiles": {"0.9": [...]}, "samples": [[...]]}, ...]}
        In a transform job a prediction a line.
Status  204 empty body, 400 unreadable or not of the model's kind, 406 unknown Accept, 415 unknown Content-Type
Source  SageMaker Developer Guide, "DeepAR Inference Formats", and "Unable to evaluate payload provided" from reports
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

if not __package__:  # started by its path, as a container starts its entrypoint
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from localcloud.sagemaker.algorithms.autoregression import FILES, Model
from localcloud.sagemaker.algorithms.time_series import TimeSeries, parse_record
from localcloud.sagemaker.containers.serving_container import (
    JSON,
    JSON_LINES,
    Request,
    Response,
    base_type,
    cores,
    log,
    main,
    refused,
)

OUTPUTS = ("mean", "quantiles", "samples")
_MOST_SAMPLES = 10_000


class RequestError(ValueError):
    """A request does not ask as it should."""


@dataclass(frozen=True)
class Configuration:
    """What is asked of a forecast; quantiles keep the text by which they are answered."""

    num_samples: int = 100
    output_types: tuple[str, ...] = ("mean", "quantiles")
    quantiles: tuple[str, ...] = tuple(f"0.{tenth}" for tenth in range(1, 10))

    @staticmethod
    def read(document: Any) -> Configuration:
        """Return what a document says. Raises RequestError."""
        if not isinstance(document, Mapping):
            raise RequestError(f"configuration is {document!r:.60}, expected an object")
        known = Configuration()
        count = document.get("num_samples", known.num_samples)
        outputs = document.get("output_types", known.output_types)
        quantiles = document.get("quantiles", known.quantiles)
        if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= _MOST_SAMPLES:
            raise RequestError(f"num_samples is {count!r:.60}, expected a whole number from 1 to {_MOST_SAMPLES}")
        if not isinstance(outputs, list | tuple) or not outputs or any(one not in OUTPUTS for one in outputs):
            raise RequestError(f"output_types is {outputs!r:.60}, expected some of {', '.join(OUTPUTS)}")
        if not isinstance(quantiles, list | tuple) or not all(_is_quantile(one) for one in quantiles):
            raise RequestError(f"quantiles is {quantiles!r:.60}, expected texts of numbers from 0 to 1")
        return Configuration(count, tuple(outputs), tuple(str(one) for one in quantiles))


def _is_quantile(value: Any) -> bool:
    try:
        return not isinstance(value, bool) and 0 <= float(value) <= 1
    except (TypeError, ValueError):
        return False


class DeepArApplication:
    """One forecaster. `batch` is the configuration of a transform job, None at an endpoint."""

    def __init__(self, model: Model, batch: Configuration | None = None) -> None:
        self._model = model
        self._batch = batch

    def execution_parameters(self) -> Response:
        parameters = {"MaxConcurrentTransforms": cores(), "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 6}
        return Response(200, json.dumps(parameters).encode(), JSON)

    def invoke(self, request: Request) -> Response:
        if not request.body:
            return Response(204)
        types = (JSON,) if self._batch is None else (JSON_LINES, JSON)
        kind, accept = (base_type(header or types[0]) for header in (request.content_type, request.accept))
        if kind not in types:
            return refused(415, f"Content-type {kind} is not supported; use {' or '.join(types)}.")
        if accept not in types:
            return refused(406, f"Accept type {accept} is not supported; use {' or '.join(types)}.")
        try:
            instances, configuration = self._read(request.body.decode("utf-8"))
            predictions = [self._predict(self._series(one, n), configuration) for n, one in enumerate(instances)]
        except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
            return refused(400, f"Unable to evaluate payload provided: {error}")
        if self._batch is None:
            return Response(200, json.dumps({"predictions": predictions}).encode(), JSON)
        return Response(200, "\n".join(json.dumps(entry) for entry in predictions).encode(), JSON_LINES)

    def _read(self, text: str) -> tuple[list[Any], Configuration]:
        """Return the instances of a request, and how to answer."""
        if self._batch is not None:
            return [json.loads(line) for line in text.splitlines() if line.strip()], self._batch
        document = json.loads(text)
        if not isinstance(document, dict) or not isinstance(document.get("instances"), list):
            raise RequestError("expected an object with a list of instances")
        if not document["instances"]:
            raise RequestError("no instance")
        return document["instances"], Configuration.read(document.get("configuration", {}))

    def _series(self, record: Any, number: int) -> TimeSeries:
        settings = self._model.settings
        try:
            series = parse_record(record)
            return settings.take(series, len(series.target) + settings.prediction_length)
        except ValueError as error:
            raise ValueError(f"instance {number}: {error}") from error

    def _predict(self, series: TimeSeries, configuration: Configuration) -> dict[str, Any]:
        samples = self._model.sample(series, configuration.num_samples)
        answer: dict[str, Any] = {}
        if "mean" in configuration.output_types:
            answer["mean"] = samples.mean(axis=0).tolist()
        if "quantiles" in configuration.output_types:
            values = np.quantile(samples, [float(one) for one in configuration.quantiles], axis=0)
            answer["quantiles"] = dict(zip(configuration.quantiles, values.tolist(), strict=True))
        if "samples" in configuration.output_types:
            answer["samples"] = samples.tolist()
        return answer


def load(root: Path) -> DeepArApplication:
    """Return the application for `<root>/model`."""
    folder = root / "model"
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise RuntimeError(f"No model at {folder}: expected {', '.join(missing)} at the root of model.tar.gz.")
    log(f"Loading the model from {folder}")
    batch = None
    if os.environ.get("SAGEMAKER_BATCH", "").lower() == "true":
        batch = Configuration.read(json.loads(os.environ.get("DEEPAR_INFERENCE_CONFIG", "{}")))
    return DeepArApplication(Model.load(folder), batch)


if __name__ == "__main__":
    sys.exit(main(load, sys.argv[1:]))
