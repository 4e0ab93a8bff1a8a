"""XGBoost's serving container: algorithm mode, or a script (SAGEMAKER_PROGRAM), served as scikit-learn's serves it.

Loads   every file of <root>/model whose name starts with no dot; several models are averaged (unless
        SAGEMAKER_INFERENCE_ENSEMBLE=false: the first)
Takes   text/csv (features, no header, empty = missing), text/libsvm, text/x-libsvm
Gives   text/csv, application/json, application/jsonlines; or what SAGEMAKER_INFERENCE_OUTPUT selects
Status  204 empty body, 415 unreadable body or type, 400 prediction failed, 406 unknown Accept
Source  sagemaker-xgboost-container, `algorithm_mode/{serve,serve_utils}.py`.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import pickle
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

if not __package__:  # started by its path, as a container starts its entrypoint
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from localcloud.sagemaker.containers import script_mode
from localcloud.sagemaker.containers.csv_rows import parse_csv
from localcloud.sagemaker.containers.selectable_output import select
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
from localcloud.sagemaker.containers.sklearn_serve import ScriptApplication, import_script

Array = npt.NDArray[Any]

LIBSVM = ("text/libsvm", "text/x-libsvm", "libsvm")
ACCEPTS = (JSON, JSON_LINES, RECORDIO, CSV)
_OPTIONS = (
    b'{"type": 0, "training": false, "iteration_begin": 0, "iteration_end": 0, "missing": NaN, "strict_shape": false, '
    b'"cache_id": 0}'
)
"""XGBoost's C API, XGBoosterPredictFromDense: the values of all trees, as `inplace_predict` asks by default."""
_INTERFACE = b'{"data": [%d, true], "shape": [%d, %d], "typestr": "<f4", "version": 3}'
LARGEST_LIMIT = 20 * 1024**2


class _Question(NamedTuple):
    """What a request asks for: `rows` are (n_rows, n_features)."""

    rows: Array
    accept: str


class XGBoostApplication:
    """The boosters of one model folder."""

    def __init__(self, boosters: Sequence[Any], environment: dict[str, str]) -> None:
        self._predictors = [_Predictor(booster) for booster in boosters]
        self._features: int = boosters[0].num_features()
        self._limit = min(int(environment.get("MAX_CONTENT_LENGTH", 6 * 1024**2)), LARGEST_LIMIT)
        self._default_accept = environment.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", CSV)
        self._in_batch = environment.get("SAGEMAKER_BATCH", "").lower() == "true"
        selected = environment.get("SAGEMAKER_INFERENCE_OUTPUT")
        self._selected = selected.replace(" ", "").lower().split(",") if selected else None
        learner = json.loads(boosters[0].save_config())["learner"]
        self._objective: str = learner["objective"]["name"]
        self._classes = int(learner["learner_model_param"]["num_class"])

    def execution_parameters(self) -> Response:
        parameters = {
            "MaxConcurrentTransforms": cores(),
            "BatchStrategy": "MULTI_RECORD",
            "MaxPayloadInMB": self._limit // 1024**2,
        }
        return Response(200, json.dumps(parameters).encode(), JSON)

    def invoke(self, request: Request) -> Response:
        question = self._read(request)
        if isinstance(question, Response):
            return question
        try:
            predictions = self.predict(question.rows)
        except ValueError as error:
            return _not_evaluated(error)
        return self._encode(predictions, question.accept)

    def invoke_together(self, requests: Sequence[Request]) -> Iterator[Response]:
        """Answer each request as `invoke` does, by one prediction of all rows. Raises ValueError: that has failed."""
        read = [self._read(request) for request in requests]
        rows = [one.rows for one in read if isinstance(one, _Question)]
        predictions = self.predict(np.concatenate(rows)) if rows else np.empty(0)
        start = 0
        for one in read:
            if isinstance(one, Response):
                yield one
            else:
                yield self._encode(predictions[start : start + len(one.rows)], one.accept)
                start += len(one.rows)

    def _read(self, request: Request) -> _Question | Response:
        """Return what a request asks for, or its refusal."""
        if not request.body:
            return Response(204)
        if len(request.body) > self._limit:
            return refused(413, f"The body is larger than {self._limit} bytes (MAX_CONTENT_LENGTH).")
        kind = base_type(request.content_type or CSV)
        try:
            with np.errstate(over="ignore"):  # beyond single precision a number is infinity
                rows = parse(request.body, kind, self._features)
        except (ValueError, UnicodeDecodeError) as error:
            return refused(415, str(error))
        accept = base_type(request.accept or self._default_accept)
        if accept not in ACCEPTS:
            return refused(406, f"Accept type {accept} is not supported. Please use supported accept types: {ACCEPTS}.")
        if accept == RECORDIO:
            return refused(406, f"Accept type {RECORDIO} is not supported by the local XGBoost; use {JSON_LINES}.")
        if rows.shape[1] != self._features:
            return _not_evaluated(f"Feature shape mismatch, expected: {self._features}, got {rows.shape[1]}")
        return _Question(rows, accept)

    def predict(self, rows: Array) -> Array:
        """Predict (n_rows, n_features) -> (n_rows,) or (n_rows, n_classes), averaged over the ensemble."""
        each = [predictor.predict(rows) for predictor in self._predictors]
        mean: Array = each[0] if len(each) == 1 else np.mean(each, axis=0)
        return mean

    def _encode(self, predictions: Array, accept: str) -> Response:
        if self._selected is not None:
            try:
                body = select(predictions, self._selected, self._objective, self._classes, accept)
            except ValueError as error:
                return refused(500, str(error))
            return Response(200, body, _with_charset(accept))
        values = predictions.tolist()
        if self._in_batch:  # as the container's serve.py: numbers, whatever the job accepts
            return Response(200, "".join(f"{value}\n" for value in values).encode(), _with_charset(CSV))
        if accept == CSV:
            text = "".join(f"{','.join(map(str, v)) if isinstance(v, list) else v}\n" for v in values)
        elif accept == JSON:
            text = json.dumps({"predictions": [{"score": value} for value in values]})
        else:
            text = "".join(f"{json.dumps({'score': value})}\n" for value in values)
        return Response(200, text.encode(), _with_charset(accept))


def _not_evaluated(why: object) -> Response:
    return refused(400, f"Unable to evaluate payload provided: {why}")


def _with_charset(accept: str) -> str:
    """Flask adds the character set to text types."""
    return f"{accept}; charset=utf-8" if accept.startswith("text/") else accept


class _Predictor:
    """`booster.inplace_predict` for rows of float32, by the same function of the C API.

    The method prepares for whatever rows might be, which for one record takes twice as long as to predict it. Without a
    proxy of its own the function makes one each time, and reads the machine's limits of processors from files for it.
    """

    def __init__(self, booster: Any) -> None:
        from xgboost import core

        self._booster, self._core = booster, core
        self._own = threading.local()

    def predict(self, rows: Array) -> Array:
        shape, dimensions = ctypes.POINTER(ctypes.c_uint64)(), ctypes.c_uint64()
        values = ctypes.POINTER(ctypes.c_float)()
        results = ctypes.byref(shape), ctypes.byref(dimensions), ctypes.byref(values)
        rows = np.ascontiguousarray(rows, dtype="<f4")
        described = _INTERFACE % (rows.ctypes.data, *rows.shape)
        self._core._check_call(
            self._core._LIB.XGBoosterPredictFromDense(
                self._booster.handle, described, _OPTIONS, self._proxy().handle, *results
            )
        )
        sizes = shape[: dimensions.value]
        return np.frombuffer(ctypes.string_at(values, 4 * math.prod(sizes)), dtype="<f4").reshape(sizes)

    def _proxy(self) -> Any:
        """Return this thread's: it points to the rows of one request."""
        if not hasattr(self._own, "proxy"):
            self._own.proxy = self._core._ProxyDMatrix()
        return self._own.proxy


def parse(body: bytes, kind: str, n_features: int) -> Array:
    """Return the rows of a request as float32, missing values as NaN. ValueError: what cannot be read, and where."""
    if kind in (CSV, "csv"):
        return parse_csv(body)
    if kind in LIBSVM:
        return parse_libsvm(body, n_features)
    if kind in (RECORDIO, "recordio-protobuf"):
        raise ValueError(f"Content-type {kind} is not supported by the local XGBoost; use text/csv.")
    raise ValueError(f"Content-type {kind} is not supported. Supported content-types are text/csv, {', '.join(LIBSVM)}")


def parse_libsvm(body: bytes, n_features: int) -> Array:
    """Parse `<label> <index>:<value> ...` a row, label optional, indices from 0; what is not named is missing."""
    lines = body.decode("utf-8").strip().splitlines()
    if not lines:
        raise ValueError("Loading libsvm data failed with Exception, please ensure data is in libsvm format:\n no row")
    rows = np.full((len(lines), n_features), np.nan, dtype=np.float32)
    for number, line in enumerate(lines):
        for pair in line.split():
            index, colon, value = pair.partition(":")
            if not colon:
                continue  # the label
            if not index.isdigit() or int(index) >= n_features:
                raise ValueError(
                    "Loading libsvm data failed with Exception, please ensure data is in libsvm format:\n "
                    f"index {index} in row {number}, expected 0 to {n_features - 1}"
                )
            rows[number, int(index)] = float(value)
    return rows


def load_booster(path: Path) -> Any:
    """Return a pickled booster or one that the library saved; pickles first, as in the container."""
    import xgboost

    log(f"Loading the model from {path}")
    try:
        booster = pickle.loads(path.read_bytes())  # noqa: S301 - a model is code that its owner chose to run
    except Exception as not_pickle:
        booster = xgboost.Booster()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # "Unknown file format": the artefact's name has no extension
                booster.load_model(path)
        except xgboost.core.XGBoostError as error:
            reason = str(error).split("\nStack trace:")[0]
            raise RuntimeError(f"Model at {path} cannot be loaded:\n{not_pickle}\n{reason}") from error
    booster.set_param("nthread", 1)
    return booster


def decode(body: Any, content_type: str) -> Any:
    """Return a DMatrix from CSV or LIBSVM: what a script without an `input_fn` gets."""
    import xgboost

    kind = base_type(content_type)
    text = body.encode() if isinstance(body, str) else body
    if kind == CSV:
        return xgboost.DMatrix(parse_csv(text))
    if kind in LIBSVM:
        indices = [int(pair.partition(":")[0]) for pair in text.decode().split() if ":" in pair]
        shift = 1 if indices and min(indices) >= 1 else 0
        rows = parse_libsvm(text, max(indices, default=-1) + 1)[:, shift:]
        return xgboost.DMatrix(np.nan_to_num(rows))  # what is not named is 0 here, unlike in algorithm mode
    raise script_mode.UnsupportedFormatError(content_type)


def _script(root: Path) -> ScriptApplication:
    """Script mode; source: the container's `serving.py` and `encoder.py`."""
    accept = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", JSON)

    def predict(data: Any, model: Any) -> Any:
        return model.predict(data, validate_features=False)

    return ScriptApplication(import_script(root), root / "model", accept, decode, predict)


def load(root: Path) -> XGBoostApplication | ScriptApplication:
    """Return the application for `<root>/model`."""
    if os.environ.get("SAGEMAKER_PROGRAM"):
        return _script(root)
    if os.environ.get("SAGEMAKER_MULTI_MODEL"):
        raise RuntimeError("SAGEMAKER_MULTI_MODEL is set: the local XGBoost serves one model a container.")
    # The library without its scikit-learn interface, which takes two of its two and a half seconds to import, and with
    # OpenMP threads that sleep, rather than spin, while they wait.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    sys.modules.setdefault("sklearn", None)  # type: ignore[arg-type]
    files = sorted(path for path in (root / "model").iterdir() if path.is_file() and not path.name.startswith("."))
    if not files:
        raise RuntimeError(f"No model file in {root / 'model'}: expected xgboost-model at the root of model.tar.gz.")
    if os.environ.get("SAGEMAKER_INFERENCE_ENSEMBLE", "true").lower() != "true":
        files = files[:1]
    return XGBoostApplication([load_booster(path) for path in files], dict(os.environ))


if __name__ == "__main__":
    sys.exit(main(load, sys.argv[1:]))
