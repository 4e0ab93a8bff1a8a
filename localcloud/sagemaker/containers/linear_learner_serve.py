"""A stand-in for Linear Learner's serving container.

Loads   <root>/model/model_algo-1, as `linear_learner_train` writes it
Takes   text/csv (features, no header), application/json, application/jsonlines, application/x-recordio-protobuf
Gives   application/json (default), application/jsonlines, application/x-recordio-protobuf: {"score": ...} and, for a
        classifier, "predicted_label"
Status  204 empty body, 400 unreadable or wrong features, 406 unknown Accept, 415 unknown Content-Type
Source  SageMaker Developer Guide, "Linear learner response formats" and "Common Data Formats for Inference".
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

if not __package__:  # started by its path, as a container starts its entrypoint
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from localcloud.sagemaker.algorithms import recordio
from localcloud.sagemaker.algorithms.linear_model import BINARY, MULTICLASS, Array, LinearModel
from localcloud.sagemaker.containers.serving_container import (
    CSV,
    JSON,
    JSON_LINES,
    RECORDIO,
    Request,
    Response,
    base_type,
    cores,
    log,
    main,
    refused,
)


class LinearLearnerApplication:
    """One linear model."""

    def __init__(self, model: LinearModel, default_accept: str) -> None:
        self._model = model
        self._default_accept = default_accept

    def execution_parameters(self) -> Response:
        parameters = {"MaxConcurrentTransforms": cores(), "BatchStrategy": "MULTI_RECORD", "MaxPayloadInMB": 6}
        return Response(200, json.dumps(parameters).encode(), JSON)

    def invoke(self, request: Request) -> Response:
        if not request.body:
            return Response(204)
        kind = base_type(request.content_type or CSV)
        accept = base_type(request.accept or self._default_accept)
        if kind not in (CSV, JSON, JSON_LINES, RECORDIO):
            return refused(415, f"Content-type {kind} is not supported; use {CSV}, {JSON}, {JSON_LINES} or {RECORDIO}.")
        if accept not in (JSON, JSON_LINES, RECORDIO):
            return refused(406, f"Accept type {accept} is not supported; use {JSON}, {JSON_LINES} or {RECORDIO}.")
        try:
            rows = self._rows(parse(request.body, kind))
        except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
            return refused(400, f"unable to evaluate payload provided: {error}")
        predictions = self._predict(rows)
        if accept == RECORDIO:
            return Response(200, recordio.write(predictions), RECORDIO)
        if accept == JSON:
            return Response(200, json.dumps({"predictions": predictions}).encode(), JSON)
        return Response(200, "".join(f"{json.dumps(entry)}\n" for entry in predictions).encode(), JSON_LINES)

    def _rows(self, records: list[list[float]]) -> Array:
        wanted = len(self._model.weights)
        if not records:
            raise ValueError("no record")
        for number, record in enumerate(records):
            if len(record) != wanted:
                raise ValueError(f"record {number} has {len(record)} features, expected {wanted}")
        rows = np.array(records, dtype=float)
        if not np.isfinite(rows).all():
            raise ValueError(f"record {int(np.argmin(np.isfinite(rows).all(axis=1)))} has a missing value")
        return rows

    def _predict(self, rows: Array) -> list[dict[str, Any]]:
        scores = self._model.score(rows).tolist()
        if self._model.predictor_type == MULTICLASS:
            return [{"score": each, "predicted_label": each.index(max(each))} for each in scores]
        if self._model.predictor_type != BINARY:
            return [{"score": score} for score in scores]
        return [{"score": score, "predicted_label": int(score >= self._model.threshold)} for score in scores]


def parse(body: bytes, kind: str) -> list[list[float]]:
    """Return the records of a request as lists of features."""
    if kind == RECORDIO:
        return [record.features.tolist() for record in recordio.read(body)]
    text = body.decode("utf-8")
    if kind == CSV:
        return [[float(cell) for cell in line.split(",")] for line in text.strip("\r\n").splitlines()]
    if kind == JSON:
        return [_features(instance) for instance in json.loads(text)["instances"]]
    return [_features(json.loads(line)) for line in text.splitlines() if line.strip()]


def _features(instance: Any) -> list[float]:
    """`{"features": [...]}`, or the long form `{"data": {"features": {"values": [...]}}}`."""
    values = instance["features"] if "features" in instance else instance["data"]["features"]["values"]
    return [float(value) for value in values]


def load(root: Path) -> LinearLearnerApplication:
    """Return the application for `<root>/model`."""
    path = root / "model" / "model_algo-1"
    if not path.is_file():
        raise RuntimeError(f"No model at {path}: expected model_algo-1 at the root of model.tar.gz.")
    log(f"Loading the model from {path}")
    return LinearLearnerApplication(
        LinearModel.load(path), os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", JSON)
    )


if __name__ == "__main__":
    sys.exit(main(load, sys.argv[1:]))
