"""Decide which file is scored, by which model, and leave what its jobs read; or that there is nothing to score.

Called by  score_batch, state "Resolve batch".
Writes     batch/runs/<batch id>/config.json, batch/work/<batch id>/input/data: the version of the file that is scored;
           the claim and the answer in the run table. The same execution always gets the same one.
Starts     where no file is named, an execution for each that waits below batch/incoming/ and may come to another end
Raises     ConfigurationError, DefinitionError: permanent, the text says what to correct.
           NoApprovedVersionError: no version may score; ModelMissingError, ArtifactChangedError: of the one that may,
           something is gone; permanent, until somebody acts on the text. SeriesNotScoredError: permanent.
           BatchContestedError: others took the same file over and over; transient.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from perennial.data.payload import widest_row
from perennial.registry import description
from perennial.runs import naming
from perennial.runs.batch_file import INCOMING, source_of
from perennial.runs.batch_input import BatchInput, batch_input
from perennial_aws import artifacts, batches, model_versions, objects, payloads, runs, shipped, windows
from perennial_aws.clients import client, code_of, if_there
from perennial_aws.settings import settings

logger = Logger()

REFUSED = ("Drift", "BadData")  # statuses of a batch that the same model gives to the same file


class NoApprovedVersionError(Exception):
    """No version of the model may score: none is approved."""


class SeriesNotScoredError(Exception):
    """The model forecasts series, and files of rows are scored."""


class ModelMissingError(Exception):
    """The model of the version that is to score is not there any more."""


@dataclass(frozen=True)
class Request:
    """An execution; Input is as whoever started it wrote it."""

    Input: Any
    ExecutionArn: str
    StartTime: str


@dataclass(frozen=True)
class Nothing:
    """The answer to an execution that scores no file, and why."""

    Decision: Literal["Duplicate", "NoFile", "NoModel", "Started"]
    Reason: str
    BatchId: str


@dataclass(frozen=True)
class Batch:
    """The answer to an execution that scores a file.

    Name      how the names of its jobs begin
    Prefix    what stays: s3://bucket/batch/runs/<batch id>
    Work      what does not: s3://bucket/batch/work/<batch id>
    Source    where the file was copied from, as its metadata say
    RunId     the run whose model scores, and the number of its version in the registry, if it has one
    Baseline  the folder of that run's baseline of the data
    """

    Decision: Literal["Score"]
    Reason: str
    BatchId: str
    Name: str
    Prefix: str
    Work: str
    Key: str
    VersionId: str
    Source: str | None
    RunId: str
    Version: int | None
    ModelName: str
    Baseline: str
    CodeUri: str
    Time: str
    Predict: dict[str, Any]
    Cluster: dict[str, Any]
    MaxRuntimeInSeconds: int
    NetworkConfig: dict[str, Any]


Answer = Batch | Nothing


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer an execution, once and for all."""
    request = payloads.read(Request, event)
    batch_id = naming.run_id(request.ExecutionArn, datetime.fromisoformat(request.StartTime))
    answer = runs.answered(request.ExecutionArn, lambda: asdict(_decide(request, batch_id)))
    logger.info("decided", batch_id=answer["BatchId"], decision=answer["Decision"], reason=answer["Reason"])
    return answer


def _decide(request: Request, batch_id: str) -> Answer:
    wanted = batch_input(request.Input)
    if wanted.File is None:
        return _start_all(wanted, batch_id)
    key = wanted.File.Key
    version_id = wanted.File.VersionId or objects.newest_version(settings.bucket, key)
    if key.endswith("/"):
        return Nothing("NoFile", f"{key} is a folder", batch_id)
    head = None if version_id is None else _head(key, version_id)
    if version_id is None or head is None:
        return Nothing("NoFile", f"{key} is not there any more in the version that was named", batch_id)
    if why := batches.claim(key, version_id, batch_id, request.ExecutionArn, again=not wanted.is_drop):
        return Nothing("Duplicate", why, batch_id)
    return _batch(batch_id, key, version_id, request.StartTime, source_of(head["Metadata"]))


def _head(key: str, version_id: str) -> dict[str, Any] | None:
    """Return what S3 says of a version of a file; None where it is not there."""
    try:
        return dict(client("s3").head_object(Bucket=settings.bucket, Key=key, VersionId=version_id))
    except ClientError as error:
        if code_of(error) in ("404", "NoSuchKey", "NoSuchVersion", "400", "405"):
            return None
        raise


# ---- One file


@dataclass(frozen=True)
class _Model:
    """The run whose model scores, and the number of its version, if it is registered."""

    run: str
    version: int | None

    @property
    def name(self) -> str:
        return naming.stem(settings.stack_name, self.run)

    def __str__(self) -> str:
        return f"the model of run {self.run}{f', version {self.version}' if self.version else ''}"


def _model() -> _Model:
    """Return the newest approved version; without any version, what serves. Raises NoApprovedVersionError."""
    newest = model_versions.newest_approved()
    if newest:
        described = model_versions.described(newest["arn"]) or {}
        run = description.run_of(described.get("ModelPackageDescription"))
        if run is None:
            raise NoApprovedVersionError(
                f"version {newest['number']}, the newest approved one, was made by no run of this stack; expected one "
                "of a run, whose baselines a file is checked against. Reject it, or approve a newer one"
            )
        return _Model(run, newest["number"])
    serving = windows.serving()
    if serving and not model_versions.has_any():
        return _Model(serving, None)
    raise NoApprovedVersionError(
        "no version of the model is approved, and only approved ones score: approve one (perennial versions, perennial "
        f"approve), or drop data below {settings.data_prefix} to train a first one. The file waits in {INCOMING}"
    )


def _batch(batch_id: str, key: str, version_id: str, started_at: str, source: str | None) -> Batch:
    model = _model()
    if if_there(client("sagemaker").describe_model, ModelName=model.name) is None:
        deploy = f"perennial run --input '{{\"ModelVersion\": {model.version}}}'"
        raise ModelMissingError(f"{model} is not there any more ({model.name}); deploying it makes it again: {deploy}")
    artifacts.require_sealed(model.run)
    prefix, work_folder = batches.folder("runs", batch_id), batches.folder("work", batch_id)
    resolved = shipped.configured({})
    if resolved.definition.series:
        raise SeriesNotScoredError(
            f"files of rows are scored, and the model forecasts series; ask the endpoint: perennial predict {key}"
        )
    about = {"id": batch_id, "key": batches.relative(key), "source": source}
    _write_config(f"{prefix}/config.json", about, model, resolved.definition.as_json()["monitoring"])
    batches.copy(f"s3://{settings.bucket}/{key}", f"{work_folder}/input/data", version_id)
    machines = resolved.instances(settings.kms_key_arn)
    machine = {**machines["Preprocess"], "InstanceCount": 1}  # one file is one machine's work
    return Batch(
        Decision="Score",
        Reason=f"{model} scores {key}",
        BatchId=batch_id,
        Name=naming.stem(settings.stack_name, batch_id),
        Prefix=prefix,
        Work=work_folder,
        Key=key,
        VersionId=version_id,
        Source=source,
        RunId=model.run,
        Version=model.version,
        ModelName=model.name,
        Baseline=f"s3://{settings.bucket}/runs/{model.run}/baselines/data-quality/",
        CodeUri=settings.code_uri,
        Time=started_at,
        Predict=machines["Predict"],
        MaxRuntimeInSeconds=machine.pop("MaxRuntimeInSeconds"),
        Cluster=machine,
        NetworkConfig=settings.network(),
    )


def _write_config(uri: str, about: dict[str, Any], model: _Model, monitoring: dict[str, Any]) -> None:
    """Leave the configuration of the run whose model scores, judged as model.yaml says today, with the file that it is.

    What is captured for the monitor is of the model that serves: a window is of one model.
    """
    run_folder = f"s3://{settings.bucket}/runs/{model.run}"
    config: dict[str, Any] = objects.read_json(f"{run_folder}/config.json")
    config["definition"]["monitoring"] = monitoring
    report = objects.read_json_if_there(f"{run_folder}/report/report.json")
    config["batch"] = {
        **about,
        "widest_row": widest_row(report or {}),
        "version": model.version,
        "captured": settings.data_capture_percentage if model.run == windows.serving() else 0,
    }
    objects.write_json(uri, config)


# ---- All that wait


def _start_all(wanted: BatchInput, batch_id: str) -> Nothing:
    """Start an execution for each file that waits."""
    waiting = [item for item in _newest_versions() if not item["Key"].endswith("/")]
    if not waiting:
        return Nothing("NoFile", f"no file waits below {INCOMING}", batch_id)
    try:
        model = _model()
    except NoApprovedVersionError as error:
        return Nothing("NoModel", str(error), batch_id)
    started = [_start(item, number, wanted, batch_id) for number, item in enumerate(waiting) if _may_score(item, model)]
    return Nothing("Started", f"of {len(waiting)} files that wait {len(started)} are scored now", batch_id)


def _newest_versions() -> Iterator[dict[str, Any]]:
    pages = client("s3").get_paginator("list_object_versions").paginate(Bucket=settings.bucket, Prefix=INCOMING)
    return (item for page in pages for item in page.get("Versions", []) if item["IsLatest"])


def _may_score(item: dict[str, Any], model: _Model) -> bool:
    """Return whether a file may come to another end than before: what a model has refused it refuses again."""
    held = batches.claimed(item["Key"], item["VersionId"])
    if held is None:
        return True
    if runs.status_of_execution(held["execution_arn"]) in ("Running", "Succeeded"):
        return False
    before = batches.ended(held["run_id"]) or {}
    return not (before.get("status") in REFUSED and before.get("run") == model.run)


def _start(item: dict[str, Any], number: int, wanted: BatchInput, batch_id: str) -> str:
    """Start the execution of a file; one that has begun already is the same."""
    name = f"scan-{batch_id}-{number}"
    trigger = wanted.Trigger.model_dump(exclude_none=True)
    begins = {"Trigger": trigger, "File": {"Key": item["Key"], "VersionId": item["VersionId"]}}
    try:
        client("stepfunctions").start_execution(
            stateMachineArn=settings.score_batch_arn, name=name, input=json.dumps(begins)
        )
    except ClientError as error:
        if code_of(error) != "ExecutionAlreadyExists":
            raise
    return name
