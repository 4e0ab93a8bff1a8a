"""What must hold for any bytes: each target takes some, and fails with an AssertionError or an undeclared exception.

The same targets run in the suite on mutations of healthy input (tests/unit/test_hostile_input.py), and for as long as
somebody wants under a coverage-guided fuzzer (`make fuzz`).
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from localcloud.sagemaker.algorithms import autoregression_fit
from localcloud.sagemaker.algorithms.autoregression import Settings
from localcloud.sagemaker.algorithms.linear_model import LinearModel
from localcloud.sagemaker.algorithms.time_series import Frequency, TimeSeries
from localcloud.sagemaker.containers import deepar_serve, linear_learner_serve, script_mode, xgboost_serve
from localcloud.sagemaker.containers.serving_container import Request
from localcloud.sagemaker.errors import JobFailedError
from localcloud.sagemaker.platform.files import extract_tar
from perennial.data.copies import copy_name
from perennial.model import definition
from perennial.model.complaints import ConfigurationError
from perennial.runs import cause, configuration, message
from perennial.runs.run_input import execution_input
from processing import inference, preprocess
from tests.fuzz import control_api

script_mode.install()  # the container's modules are there before the serving script
MODEL_YAML = (Path(__file__).parents[2] / "models" / "used-cars" / "model.yaml").read_bytes()
MAX_MESSAGE = 25_000  # Step Functions keeps 32 KiB of a cause
COLUMNS: dict[str, dict[str, Any]] = {
    "price": {"type": "float", "min": 0, "max": 1e6, "parse": {"units": {"$": 1, "k": 1000}, "thousands": ","}},
    "doors": {"type": "integer", "min": 2, "max": 5},
    "cruise": {"type": "boolean", "nullable": True, "parse": {"true": ["true"], "false": ["no", "2"]}},
    "make": {"type": "string", "source": ["make", "Ma ke"]},
    "body": {"type": "string", "nullable": True, "categories": ["sedan", "coupe"]},
    "sold": {"type": "timestamp", "feature": False, "parse": {"formats": ["%Y-%m-%d", "%d.%m.%Y"]}},
    "seats": {"type": "integer", "nullable": True, "parse": {"number": "first", "missing": ["-1"]}},
}
DEFINITION = {
    "problem": "regression",
    "target": "price",
    "columns": COLUMNS,
    "split": {"method": "time", "column": "sold", "validation": 0.15, "test": 0.2},
    "quality": {"max_invalid_share": 0.9, "min_rows": 10, "max_categories": 5},
}
TABLE = b"price,doors,cruise,make,body,sold\n" + b"".join(
    b'%d.5,%d,%s,"Sa ab",%s,2024-01-%02d\n' % (row, 2 + row % 4, (b"true", b"no", b"")[row % 3], b"sedan", 1 + row % 28)
    for row in range(40)
)
LINES = b"".join(
    b'{"Ma ke": "Saab", "PRICE": "$%dk", "doors": %d, "sold": "2024-01-%02d", "seats": "%d+1"}\n'
    % (row, 2 + row % 4, 1 + row % 28, row)
    for row in range(40)
)


@dataclass(frozen=True)
class Target:
    """A property of bytes, and healthy input to begin with."""

    check: Callable[[bytes], None]
    seeds: tuple[bytes, ...]


# ---- Requests of the endpoint


@cache
def _preprocessor() -> inference.Preprocessor:
    columns = {"mileage": "float", "doors": "integer", "cruise": "boolean", "make": "string"}
    encodings = [
        *({"name": name, "kind": "number", "fill": 1.5, "indicator": True} for name in ("mileage", "doors", "cruise")),
        {"name": "make", "kind": "category", "categories": ["Buick", "Saab"], "indicator": False},
    ]
    with tempfile.TemporaryDirectory() as folder:
        parse = {
            "mileage": {"units": {"km": 1, "mi": 1.6}, "decimal": ","},
            "cruise": {"true": ["mit"], "false": ["2"]},
        }
        listed = [
            {"name": name, "type": kind, "nullable": False, "sources": [f"{name} (x)"], "parse": parse.get(name)}
            for name, kind in columns.items()
        ]
        passed_over = {"columns": {"price": ["Preis"]}, "unknown": False}
        document = {
            "format": 2,
            "model": "cars",
            "columns": listed,
            "encodings": encodings,
            "passed_over": passed_over,
        }
        Path(folder, "preprocessor.json").write_text(json.dumps(document))
        return inference.model_fn(folder)


def _request(content_type: str) -> Callable[[bytes], None]:
    def check(body: bytes) -> None:
        """Either finite numbers, as many in each line, or a refusal that is one short printable line."""
        prediction = inference.predict_fn(inference.input_fn(body, content_type), _preprocessor())
        result = inference.output_fn(prediction, None)
        if not isinstance(result, tuple):
            refused = result.data.decode()
            assert result.status_code == 400, refused
            assert refused.isprintable(), refused
            assert 0 < len(refused) < 600, refused
            return
        text, _ = result
        rows = [[float(field) for field in line.split(",")] for line in text.splitlines()]
        assert rows
        assert {len(row) for row in rows} == {8}
        assert all(abs(value) < 1e39 for row in rows for value in row)

    return check


@cache
def _containers() -> tuple[Any, ...]:
    import numpy as np
    import xgboost

    rows = np.random.default_rng(0).normal(size=(20, 3))
    booster = xgboost.train({"nthread": 1}, xgboost.DMatrix(rows, label=rows[:, 0], nthread=1), 2)
    booster.set_param("nthread", 1)
    linear = LinearModel("regressor", np.ones(3), 0.5)
    settings = Settings(Frequency.parse("M"), 3, 2, "student-t", epochs=1)
    series = TimeSeries(datetime.fromisoformat("2001-01-01"), np.sin(np.arange(60)))
    (forecaster,) = (epoch.model for epoch in autoregression_fit.fit(settings, [series]))
    return (
        xgboost_serve.XGBoostApplication([booster], {}),
        linear_learner_serve.LinearLearnerApplication(linear, "application/json"),
        deepar_serve.DeepArApplication(forecaster),
        deepar_serve.DeepArApplication(forecaster, deepar_serve.Configuration()),
    )


def container(data: bytes) -> None:
    """The algorithms' containers answer or refuse: never a failure of their own (5xx)."""
    kinds = ("text/csv", "text/libsvm", "application/json", "application/jsonlines", "x")
    kind, accept, body = kinds[data[0] % 5] if data else "", kinds[data[1] % 5] if data[1:] else "", data[2:]
    with contextlib.redirect_stdout(io.StringIO()):
        for application in _containers():
            answer = application.invoke(Request(body, {"content-type": kind, "accept": accept}))
            assert answer.status < 500, answer


# ---- Dropped files


def dropped_file(content: bytes) -> None:
    """The whole job: it ends well, or with a message that says why; it logs little and writes in its folder only."""
    with tempfile.TemporaryDirectory() as root:
        job = Path(root) / "job"
        (job / "data").mkdir(parents=True)
        file = {"Key": "raw/fi\u202ele", "VersionId": "v1", "ETag": "e1"}
        (job / "data" / copy_name(file)).write_bytes(content)
        document = {"model": "none", "definition": DEFINITION, "data": {"files": [file]}}
        (job / "config.json").write_text(json.dumps(document))
        log = io.StringIO()
        with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            paths = [f"--{name}={job / name}" for name in ("data", "output", "message")]
            code = preprocess.main([f"--config={job / 'config.json'}", *paths])
        assert {path.name for path in Path(root).iterdir()} == {"job"}
        assert {path.name for path in job.iterdir()} <= {"config.json", "data", "output", "message"}
        assert len(log.getvalue()) < 3000
        assert code in (0, 1)
        if code:
            said = (job / "message").read_bytes()
            assert 0 < len(said) <= 1024
            assert all(line.isprintable() for line in said.decode().split("\n")), said


def _parquet(**options: Any) -> bytes:
    return _as_parquet(pa_csv.read_csv(io.BytesIO(TABLE)), **options)


def _parquet_structure() -> bytes:
    """One column holds structures, whose fields have names of their own."""
    table = pa_csv.read_csv(io.BytesIO(TABLE))
    structures = pa.array([{"fi\n\x1b[31m\u202eeld": [{"x" * 200: 1}]}] * table.num_rows)
    return _as_parquet(table.set_column(0, "price", structures))


def _as_parquet(table: pa.Table, **options: Any) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


# ---- Configuration


def model_yaml(content: bytes) -> None:
    """A definition, or a text that a person can read."""
    try:
        definition.parse(content.decode("utf-8", "replace"), "model.yaml")
    except definition.DefinitionError as refused:
        assert len(str(refused)) < MAX_MESSAGE
        assert all(line.isprintable() for line in str(refused).split("\n"))


@cache
def _definition() -> definition.Definition:
    return definition.parse(MODEL_YAML.decode(), "model.yaml")


def run_input(content: bytes) -> None:
    """What a person or an event starts a run with: a configuration, or what is wrong with it."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        document = content.decode("utf-8", "replace")
    try:
        given = execution_input(document)
        configuration.resolve("used-cars", _definition(), run=given.Overrides).as_json()
    except ConfigurationError as refused:
        assert len(str(refused)) < MAX_MESSAGE
    with contextlib.suppress(ConfigurationError):
        configuration.stack_overrides(content.decode("utf-8", "replace"))


# ---- Mails


def mail(content: bytes) -> None:
    """Whatever a run fails with: a subject for a header, lines of text, and no live link but our own."""
    text = content.decode("utf-8", "surrogateescape")
    record = {
        "run_id": "20261120093440-1a2b",
        "stack": "cars",
        "model": "cars",
        "bucket": "cars",
        "status": "Failed",
        "execution": {"arn": "arn:aws:states:r:1:execution:m:e", "ended_at": "2026-11-20", "duration_seconds": 1.0},
        "input": {"Trigger": {"Type": "DataDrop", "Object": {"key": text}}},
        "failure": {"error": text, "cause": text, "state": text[:80]},
    }
    composed = message.compose(record, region="eu-west-1")
    assert composed.subject.isascii()
    assert composed.subject.isprintable()
    assert len(composed.subject) < 100
    assert len(composed.body) < 10_000
    assert all(line.isprintable() and len(line) <= 400 for line in composed.body.split("\n"))
    assert "http://" not in composed.body.lower()
    assert composed.body.count("https://") == 1
    assert cause.safe(text, 100).isprintable()


# ---- Archives


def archive(content: bytes) -> None:
    """An archive is unpacked inside its folder, or refused."""
    with tempfile.TemporaryDirectory() as root:
        (Path(root) / "model.tar.gz").write_bytes(content)
        with contextlib.suppress(JobFailedError):
            extract_tar(Path(root) / "model.tar.gz", Path(root) / "inside")
        assert {path.name for path in Path(root).iterdir()} <= {"model.tar.gz", "inside"}
        assert not any(path.is_symlink() for path in Path(root).rglob("*"))
        shutil.rmtree(Path(root) / "inside", ignore_errors=True)


def _tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("code/inference.py", "ü" * 90, "../outside"):
            member = tarfile.TarInfo(name)
            member.size = 3
            tar.addfile(member, io.BytesIO(b"abc"))
    return buffer.getvalue()


_RECORD = '{"mileage": 1.5, "doors": 2, "cruise": true, "make": "Saab"}'
_ROW = _RECORD.replace("{", '{"": 7, "Preis": 9, ')
_RUN = {"Trigger": {"Type": "Manual"}, "Overrides": {"Algorithm": "xgboost", "HyperParameters": {"eta": 0.1}}}
TARGETS = {
    "request-csv": Target(
        _request("text/csv"),
        (
            b"12000,2,true,Saab\n3,,f,\n",
            b"mileage,doors,cruise,make\n1,2,1,a\n",
            b",price,make,Doors,cruise,mileage (x)\n0,9000,a,2,mit,1\n",
        ),
    ),
    "request-json-lines": Target(_request("application/jsonlines"), (f"{_RECORD}\n{_RECORD}\n".encode(),)),
    "request-json": Target(
        _request("application/json"), (f'{{"instances": [{_RECORD}]}}'.encode(), _RECORD.encode(), _ROW.encode())
    ),
    "container": Target(
        container,
        (
            b"\0\0001,2,3\n4,,6\n",
            b"\1\0011 0:1 2:3\n",
            b'\2\2{"instances": [{"features": [1, 2, 3]}]}',
            b'\3\3{"features": [1, 2, 3]}',
        ),
    ),
    "dropped-csv": Target(
        dropped_file,
        (
            TABLE,
            TABLE.replace(b"\n", b"\r\n"),
            b"sep=;\r\n" + TABLE.replace(b",", b";"),
            TABLE.decode().encode("utf-16"),
            LINES,
        ),
    ),
    "dropped-gzip": Target(dropped_file, (gzip.compress(TABLE, mtime=0),)),
    "dropped-parquet": Target(
        dropped_file,
        (
            _parquet(compression="none"),
            _parquet(compression="zstd"),
            _parquet(use_dictionary=False),
            _parquet_structure(),
        ),
    ),
    "model-yaml": Target(model_yaml, (MODEL_YAML,)),
    "run-input": Target(run_input, (json.dumps(_RUN).encode(),)),
    "mail": Target(
        mail, (b'State "Train" failed: {"ExitMessage": "see https://x.example\\n1,2"}', b"plain\r\nBcc: a@b")
    ),
    "control-api": Target(control_api.check, control_api.seeds()),
    "archive": Target(archive, (_tar(), gzip.compress(_tar(), mtime=0))),
}
