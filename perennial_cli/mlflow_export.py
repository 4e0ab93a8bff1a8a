"""Export of runs to MLflow: a run there for each one here, which is updated when it is exported again.

An experiment has the stack's name. A run of MLflow is known by its tag `perennial.run`; its parameters are what decided
the run, its metrics what it measured, its tags lead back to code and data, and its artefacts are the record and the
report.
"""

from __future__ import annotations

import json
import math
import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, cast
from urllib.parse import urlsplit

import boto3

from perennial.runs import trials
from perennial.runs.facts import data_bucket, trigger_text
from perennial.runs.run_record import RunRecord
from perennial_cli import runs
from perennial_cli.console import CommandError
from perennial_cli.stacks import Stack

RUN_TAG = "perennial.run"
FILE_STORE = "MLFLOW_ALLOW_FILE_STORE"  # the variable without which MLflow 3 refuses folders
LONGEST = 5_000  # characters of a tag
LACKING = (
    "this needs the client of MLflow, which is not installed: pip install '.[mlflow]' in the project's folder, or "
    "pip install mlflow-skinny beside the command"
)


def export(stack: Stack, records: Iterable[Mapping[str, Any]], uri: str) -> dict[str, str]:
    """Write runs that have ended to MLflow; return the id there of each. Raises CommandError: MLflow is not there."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # its seven take minutes
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    try:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient
    except ImportError as error:
        raise CommandError(LACKING) from error
    try:
        client = MlflowClient(tracking_uri=uri)
        known = client.get_experiment_by_name(stack.name)
        experiment = known.experiment_id if known else client.create_experiment(stack.name)
        return {record["run_id"]: _exported(client, experiment, record) for record in records}
    except MlflowException as error:
        if _is_folder(uri) and os.environ.get(FILE_STORE, "").lower() != "true":
            raise CommandError(
                f"{uri} is a folder, and MLflow writes to folders only with {FILE_STORE}=true"
            ) from error
        raise CommandError(f"MLflow at {uri} does not take the runs of {stack.name}: {error}") from error


def _is_folder(uri: str) -> bool:
    return urlsplit(uri).scheme in ("", "file")


def _exported(client: Any, experiment: str, record: Mapping[str, Any]) -> str:
    from mlflow.entities import Metric, Param, RunTag

    there = client.search_runs([experiment], f"tags.`{RUN_TAG}` = '{record['run_id']}'", max_results=1)
    begun = _milliseconds(record["execution"]["started_at"])
    ended = _milliseconds(record["execution"].get("ended_at") or record["execution"]["started_at"])
    run = there[0] if there else client.create_run(experiment, begun, {RUN_TAG: record["run_id"]}, record["run_id"])
    # A metric that is logged again gets a second point, and a parameter cannot change: only what is new is written.
    # Of two points of one time MLflow shows the larger.
    known, now = run.data.metrics, int(time.time() * 1000)
    new = {name: value for name, value in metrics(record).items() if known.get(name) != value}
    client.log_batch(
        run.info.run_id,
        [Metric(name, value, now if name in known else ended, 0) for name, value in new.items()],
        [Param(name, value) for name, value in parameters(record).items() if name not in run.data.params],
        [RunTag(name, value) for name, value in tags(record).items()],
    )
    for name, text in _artefacts(record):
        client.log_text(run.info.run_id, text, name)
    status = "FINISHED" if record["status"] in runs.SUCCESSES else "FAILED"
    client.set_terminated(run.info.run_id, status, ended)
    return str(run.info.run_id)


def _milliseconds(instant: str) -> int:
    return int(datetime.fromisoformat(instant).timestamp() * 1000)


def parameters(record: Mapping[str, Any]) -> dict[str, str]:
    """Return what decided a run: algorithm, hyperparameters that its model was trained with, tuning, split and gate."""
    configuration = record.get("configuration") or {}
    algorithm, definition = configuration.get("algorithm") or {}, configuration.get("definition") or {}
    gate = record.get("gate") or {}
    chosen = {
        "algorithm": algorithm.get("name"),
        **{f"hyperparameters.{name}": value for name, value in trials.hyperparameters(record).items()},
        **{f"tuning.{name}": value for name, value in trials.search(record).items()},
        **{f"split.{name}": value for name, value in (definition.get("split") or {}).items()},
        **{f"gate.{name}": gate.get(name) for name in ("metric", "threshold", "minimum_improvement")},
    }
    return {name: str(value) for name, value in chosen.items() if value is not None}


def metrics(record: Mapping[str, Any]) -> dict[str, float]:
    """Return what a run measured: of its model, of the model in service then, of the training job, of rows and time."""
    measured = record.get("metrics") or {}
    values = {
        **(measured.get("candidate") or {}),
        **{f"champion.{name}": value for name, value in (measured.get("champion") or {}).items()},
        **{f"training.{name}": value for name, value in (measured.get("training") or {}).items()},
        **{f"rows.{name}": value for name, value in (record.get("rows") or {}).items()},
        "duration_seconds": record["execution"].get("duration_seconds"),
    }
    return {
        re.sub(r"[^\w\-. :/]", "_", name): float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def tags(record: Mapping[str, Any]) -> dict[str, str]:
    """Return where a run comes from and what became of it: execution, code, data, model, decision."""
    data, code = record.get("data") or {}, record.get("code") or {}
    deployed, gate, failure, tuned = (record.get(name) or {} for name in ("deployed", "gate", "failure", "tuning"))
    bucket = data_bucket(cast(RunRecord, record)) if data else ""
    files = [f"s3://{bucket}/{file['Key']}?versionId={file['VersionId']}" for file in data.get("files") or []]
    facts = {
        "stack": record.get("stack"),
        "model": record.get("model"),
        "status": record["status"],
        "trigger": trigger_text(cast(RunRecord, record)),
        "decision": record.get("withheld") or gate.get("reason") or failure.get("cause"),
        "execution": record["execution"].get("arn"),
        "code": code.get("uri"),
        "code.hash": code.get("hash"),
        "data.fingerprint": data.get("fingerprint"),
        "data.manifest": data.get("manifest"),
        "data.files": "\n".join(files),
        "endpoint": deployed.get("endpoint"),
        "endpoint.model": deployed.get("model"),
        "report": record.get("report"),
        "tuning.job": tuned.get("job"),
        "tuning.best": tuned.get("best"),
        **{f"artifact.{name}": json.dumps(place) for name, place in (record.get("artifacts") or {}).items()},
    }
    ours = {f"perennial.{name}": str(value)[:LONGEST] for name, value in facts.items() if value}
    return {**ours, "mlflow.source.git.commit": str(code["commit"])} if code.get("commit") else ours


def _artefacts(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield name and text of what a run has left for people to read."""
    yield "run.json", json.dumps(record, indent=2, default=str)
    if record.get("report"):
        bucket, _, key = record["report"].removeprefix("s3://").partition("/")
        yield "report.html", boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode()
