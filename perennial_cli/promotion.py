"""Bringing an approved version from one environment to another: copies, the run's record, and a version there.

The environment that it comes to deploys it as it deploys any version that was approved. Whoever calls reads with the
credentials of the one and writes with those of the other, so that neither has to know the other's account. Every step
finds what an interrupted one has done: files by the version that they are copies of, the version by its run.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import boto3
from boto3.dynamodb.types import TypeSerializer
from botocore.exceptions import ClientError

from perennial.registry import approval, description, promotion
from perennial.runs import message, record
from perennial.runs.run_record import ModelVersion, Promotion, RunRecord
from perennial.runs.work import AWAITS_APPROVAL
from perennial_cli import following, runs, versions
from perennial_cli.console import CommandError, each
from perennial_cli.stacks import Stack

AT_ONCE = 8
COPY_OF = "copy-of"  # metadata of a copy: the version of the object that it is a copy of
SEALED = {f"serving/{name}.tar.gz": name for name in ("preprocessor", "model")}
_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Candidate:
    """An approved version where it comes from: as SageMaker describes it, and the record of its run."""

    stack: Stack
    described: Mapping[str, Any]
    record: RunRecord

    @property
    def run_id(self) -> str:
        return self.record["run_id"]

    @property
    def number(self) -> int:
        return int(self.described["ModelPackageVersion"])


def candidate(stack: Stack, wanted: str | None) -> Candidate:
    """Return an approved version by its number or its run; None: the newest. Raises CommandError: it is none."""
    known = versions.find(stack.name, wanted)
    described = boto3.client("sagemaker").describe_model_package(ModelPackageName=known["ModelPackageArn"])
    number, status = described["ModelPackageVersion"], described["ModelApprovalStatus"]
    if status != approval.APPROVED:
        raise CommandError(
            f"version {number} of {stack.name} is {status}; expected an approved one: perennial approve {number} "
            f"--stack {stack.name}"
        )
    run_id = description.run_of(described.get("ModelPackageDescription"))
    if run_id is None:
        raise CommandError(f"version {number} of {stack.name} was made by no run, but by hand; expected one of a run")
    made = cast(RunRecord, runs.record(stack, run_id))
    if why := approval.obstacle(made):
        raise CommandError(f"version {number} of {stack.name} is of run {run_id}, and {why}; take another one")
    unsealed = [name for name in SEALED.values() if "sealed" not in (made.get("artifacts") or {}).get(name, {})]
    if unsealed:
        raise CommandError(
            f"the record of run {run_id} does not say which {' and '.join(unsealed)} serves, as one of an earlier "
            "version of Perennial. Train again, and take that run's version"
        )
    return Candidate(stack, described, made)


@dataclass(frozen=True)
class Source:
    """A file of a run's folder, to the version; `sha256` of what it must hold, if that is recorded."""

    name: str
    key: str
    version_id: str
    sha256: str | None


def sources(s3: Any, one: Candidate) -> list[Source]:
    """Return the files that come along. Raises CommandError: what the endpoint is verified by is gone."""
    prefix, artifacts = f"runs/{one.run_id}/", one.record["artifacts"]
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=one.stack.bucket, Prefix=prefix)
    newest = {item["Key"]: item["VersionId"] for page in pages for item in page.get("Versions", []) if item["IsLatest"]}
    coming = []
    for key, version_id in newest.items():
        name = key.removeprefix(prefix)
        artifact = artifacts[SEALED[name]] if name in SEALED else None
        if promotion.is_copied(name):
            version_id = artifact["sealed"]["version_id"] if artifact else version_id
            coming.append(Source(name, key, version_id, artifact["sha256"] if artifact else None))
    names = [source.name for source in coming]
    for folder in (*SEALED, *(f"{folder}/" for folder in promotion.VERIFIED_BY)):
        if not any(name.startswith(folder) for name in names):
            raise CommandError(
                f"s3://{one.stack.bucket}/{prefix}{folder} is gone, without which the version can neither serve nor be "
                "verified: rows of it may have been erased. Promote a later version"
            )
    return coming


def bring(s3: Any, one: Candidate, to_s3: Any, to: Stack) -> dict[str, dict[str, str]]:
    """Copy the files that are not there yet; return where what serves is now, by artefact.

    s3, to_s3  clients with the credentials of the one and the other environment

    Raises CommandError: a file is not what was recorded.
    """
    files = sources(s3, one)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        copied = pool.map(lambda source: _copy(s3, one.stack.bucket, source, to_s3, to.bucket), files)
        placed = dict(zip((source.name for source in files), each(copied, len(files), "copying"), strict=True))
    where = promotion.address(to.bucket, one.run_id)
    return {name: {"uri": f"{where}/{path}", "version_id": placed[path]} for path, name in SEALED.items()}


def _copy(s3: Any, bucket: str, source: Source, to_s3: Any, to_bucket: str) -> str:
    """Copy a file unless it is there; return the version of the copy."""
    if (there := _head(to_s3, to_bucket, source.key)) and there["Metadata"].get(COPY_OF) == source.version_id:
        return str(there["VersionId"])
    with tempfile.TemporaryDirectory(prefix="perennial-promote-") as folder:
        path = Path(folder) / "file"
        version = {"VersionId": source.version_id}
        s3.download_file(bucket, source.key, str(path), ExtraArgs=version)
        if source.sha256 and (holds := _sha256(path)) != source.sha256:
            raise CommandError(
                f"s3://{bucket}/{source.key}, version {source.version_id}, has SHA-256 {holds}; its run has recorded "
                f"{source.sha256}. Nothing was registered"
            )
        kind = s3.head_object(Bucket=bucket, Key=source.key, **version).get("ContentType")
        extra = {"Metadata": {COPY_OF: source.version_id}, **({"ContentType": kind} if kind else {})}
        to_s3.upload_file(str(path), to_bucket, source.key, ExtraArgs=extra)
    return str(to_s3.head_object(Bucket=to_bucket, Key=source.key)["VersionId"])


def _head(s3: Any, bucket: str, key: str) -> Mapping[str, Any] | None:
    try:
        return dict(s3.head_object(Bucket=bucket, Key=key))
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return None
        raise


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_same(one: Candidate, there: ModelVersion, to: Stack) -> None:
    """Raise CommandError when a version that names the run is not the one that is promoted: others may register."""
    described = boto3.client("sagemaker").describe_model_package(ModelPackageName=there["arn"])
    wanted = promotion.registration(one.described, one.record, stack=to.name, bucket=to.bucket)
    if not promotion.is_same(described, wanted):
        raise CommandError(
            f"version {there['number']} of {to.name} says that run {one.run_id} has made it, and is not what version "
            f"{one.number} of {one.stack.name} is there: somebody has registered it, or changed it. Look at it, delete "
            f"it (aws sagemaker delete-model-package --model-package-name {there['arn']}) and promote again"
        )


def register(one: Candidate, sealed: Mapping[str, Mapping[str, str]], to: Stack) -> ModelVersion:
    """Write the run's record and register its version, as one that waits for an answer; people are asked for theirs."""
    step: Promotion = {
        "version": one.described["ModelPackageArn"],
        "stack": one.stack.name,
        "by": boto3.client("sts").get_caller_identity()["Arn"],
        "at": record.timestamp(datetime.now(UTC)),
    }
    made = promotion.record(one.record, stack=to.name, bucket=to.bucket, sealed=sealed, promotion=step)
    body = json.dumps(record.json_safe(made), indent=2).encode()
    key = runs.RECORD.format(one.run_id)
    boto3.client("s3").put_object(Bucket=to.bucket, Key=key, Body=body, ContentType="application/json")
    item = {name: TypeSerializer().serialize(value) for name, value in record.as_item(made).items()}
    boto3.client("dynamodb").put_item(TableName=to.outputs["RunTableName"], Item=item)
    request = promotion.registration(one.described, one.record, stack=to.name, bucket=to.bucket)
    arn = boto3.client("sagemaker").create_model_package(**request)["ModelPackageArn"]
    version: ModelVersion = {"arn": arn, "number": int(arn.rpartition("/")[2]), "status": approval.PENDING}
    if waits_for_people(to):
        _ask(made, version, to)
    return version


def waits_for_people(stack: Stack) -> bool:
    """Return whether versions of an environment serve only when somebody has approved them there."""
    return stack.parameters["Approval"] == "manual"


def _ask(made: RunRecord, version: ModelVersion, to: Stack) -> None:
    """Ask the approvers of the environment whether the version may serve there."""
    waiting = cast(RunRecord, {**made, "status": AWAITS_APPROVAL, "version": version})
    text = message.ask(waiting, version, None)
    attributes = {"Status": AWAITS_APPROVAL, "Stack": to.name}
    boto3.client("sns").publish(
        TopicArn=to.parameters["ApproverTopicArn"] or to.outputs["TopicArn"],
        Subject=text.subject,
        Message=text.body,
        MessageAttributes={name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()},
    )


def require_newer(one: Candidate, to: Stack) -> None:
    """Raise CommandError when the model that serves there has learned from newer data."""
    serving = versions.serving_arn(to.name)
    run_id = versions.run_of(to.name, serving.rpartition("/")[2]) if serving else one.run_id
    served = runs.document(to, runs.RECORD.format(run_id)) or {}
    here, there = one.record["data"]["listed_at"], (served.get("data") or {}).get("listed_at", "")
    if run_id != one.run_id and there > here:
        raise CommandError(
            f"version {one.number} of {one.stack.name} was trained on data as of {here}; what serves in {to.name} (run "
            f"{run_id}) on newer ones, as of {there}. To have it all the same: perennial rollback --stack {to.name}"
        )


def deploy(there: ModelVersion, to: Stack, reason: str) -> dict[str, Any]:
    """Approve a version of an environment, look at the execution that deploys it, and return that one's record.

    Raises CommandError: a newer version is approved there.
    """
    newest = max(versions.approved(to.name), default=0)
    if newest > there["number"]:
        raise CommandError(
            f"version {newest} of {to.name} is approved and newer than version {there['number']}, which so does not "
            f"serve; to go back to it: perennial rollback {there['number']} --stack {to.name}"
        )
    before = {one.arn for one in runs.executions(to)}
    versions.answer(to.name, there["number"], approval.APPROVED, reason)
    arn = following.wait_for_version(to, there["number"], before)
    return following.outcome(to, following.follow(arn))
