"""Bringing an approved version from one environment to another: copies, the run's record, and a version there.

The environment that it comes to deploys it as it deploys any version that was approved. Whoever calls reads with the
credentials of the one and writes with those of the other, so that neither has to know the other's account. Every step
finds what an interrupted one has done, or another one at the same time: files by the version that they are copies of,
the record and the version by their run. What is not there is written on the condition that it still is not.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
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
from perennial_cli import following, runs, stacks, versions
from perennial_cli.console import CommandError, each
from perennial_cli.stacks import Stack

AT_ONCE = 8
ATTEMPTS = 5
ASK_SECONDS = 60  # within which a mail that asks is out
REPLACED = ("PreconditionFailed", "ConditionalRequestConflict")  # of a PutObject with If-Match or If-None-Match
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
    newest = {
        item["Key"].removeprefix(prefix): item["VersionId"]
        for page in pages
        for item in page.get("Versions", [])
        if item["IsLatest"]
    }
    for wanted in (*SEALED, *promotion.verified_by(newest)):
        if not any(name.startswith(wanted) for name in newest):
            raise CommandError(
                f"s3://{one.stack.bucket}/{prefix}{wanted} is gone, without which the version can neither serve nor be "
                "verified: rows of it may have been erased. Promote a later version"
            )
    coming = []
    for name in promotion.copied(newest):
        artifact = artifacts[SEALED[name]] if name in SEALED else None
        version_id = artifact["sealed"]["version_id"] if artifact else newest[name]
        coming.append(Source(name, prefix + name, version_id, artifact["sha256"] if artifact else None))
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
    """Copy a file unless it is there, by whomever it was brought; return the version of the copy."""
    with tempfile.TemporaryDirectory(prefix="perennial-promote-") as folder:
        path = Path(folder) / "file"
        for _ in range(ATTEMPTS):
            there = _head(to_s3, to_bucket, source.key)
            if there and there["Metadata"].get(COPY_OF) == source.version_id:
                return str(there["VersionId"])
            kind = _downloaded(s3, bucket, source, path)
            extra = {"Metadata": {COPY_OF: source.version_id}, **({"ContentType": kind} if kind else {})}
            with path.open("rb") as body:
                if placed := _put(to_s3, to_bucket, source.key, body, there["ETag"] if there else None, **extra):
                    return placed
    raise CommandError(
        f"s3://{to_bucket}/{source.key} is written by somebody else again and again; promote again later"
    )


def _downloaded(s3: Any, bucket: str, source: Source, path: Path) -> str | None:
    """Download a file; return its content type. Raises CommandError: it is not what its run has recorded."""
    version = {"VersionId": source.version_id}
    s3.download_file(bucket, source.key, str(path), ExtraArgs=version)
    if source.sha256 and (holds := _sha256(path)) != source.sha256:
        raise CommandError(
            f"s3://{bucket}/{source.key}, version {source.version_id}, has SHA-256 {holds}; its run has recorded "
            f"{source.sha256}. Nothing was registered"
        )
    kind: str | None = s3.head_object(Bucket=bucket, Key=source.key, **version).get("ContentType")
    return kind


def _put(s3: Any, bucket: str, key: str, body: Any, etag: str | None, **more: Any) -> str | None:
    """Write an object and return its version; None: it is not there any more with this ETag (None: not at all)."""
    condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
    try:
        return str(s3.put_object(Bucket=bucket, Key=key, Body=body, **condition, **more)["VersionId"])
    except ClientError as error:
        if error.response["Error"]["Code"] in REPLACED:
            return None
        raise


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
    """Write the run's record and register its version, as one that waits for an answer; once, by whomever.

    Raises CommandError: the run is one of that environment.
    """
    step: Promotion = {
        "version": one.described["ModelPackageArn"],
        "stack": one.stack.name,
        "by": boto3.client("sts").get_caller_identity()["Arn"],
        "at": record.timestamp(datetime.now(UTC)),
    }
    made = promotion.record(one.record, stack=to.name, bucket=to.bucket, sealed=sealed, promotion=step)
    _keep(_recorded(made, to), to)
    request = promotion.registration(one.described, one.record, stack=to.name, bucket=to.bucket)
    arn = boto3.client("sagemaker").create_model_package(**request)["ModelPackageArn"]
    return {"arn": arn, "number": int(arn.rpartition("/")[2]), "status": approval.PENDING}


def _recorded(made: RunRecord, to: Stack) -> RunRecord:
    """Return the record of the run in the environment, written unless it is there with what serves."""
    s3, key = boto3.client("s3"), runs.RECORD.format(made["run_id"])
    body = json.dumps(record.json_safe(made), indent=2).encode()
    for _ in range(ATTEMPTS):
        etag, there = _known(s3, to.bucket, key)
        if there and there["artifacts"] == made["artifacts"]:
            return there
        if there and not there.get("promotions"):
            raise CommandError(f"the run {made['run_id']} is one of {to.name} itself, from where it was brought away")
        if _put(s3, to.bucket, key, body, etag, ContentType="application/json"):
            return made
    raise CommandError(f"s3://{to.bucket}/{key} is written by somebody else again and again; promote again later")


def _known(s3: Any, bucket: str, key: str) -> tuple[str | None, RunRecord | None]:
    """Return the ETag of a record and what it says; None where there is none."""
    try:
        read = s3.get_object(Bucket=bucket, Key=key)
    except s3.exceptions.NoSuchKey:
        return None, None
    return str(read["ETag"]), cast(RunRecord, json.loads(read["Body"].read()))


def _keep(made: RunRecord, to: Stack) -> None:
    """Write the record into the run table, unless it is there with what serves."""
    item = {name: TypeSerializer().serialize(value) for name, value in record.as_item(made).items()}
    _write(to, item, "attribute_not_exists(id) OR artifacts <> :mine", {":mine": item["artifacts"]})


def _write(to: Stack, item: Mapping[str, Any], condition: str, values: Mapping[str, Any]) -> bool:
    """Write an item of the run table and return True, or False where the condition does not hold."""
    options: Any = {"ConditionExpression": condition, **({"ExpressionAttributeValues": values} if values else {})}
    table = boto3.client("dynamodb")
    try:
        table.put_item(TableName=to.outputs["RunTableName"], Item=item, **options)
    except table.exceptions.ConditionalCheckFailedException:
        return False
    return True


def waits_for_people(stack: Stack) -> bool:
    """Return whether versions of an environment serve only when somebody has approved them there."""
    return stack.parameters["Approval"] == "manual"


def ask(one: Candidate, version: ModelVersion, to: Stack) -> None:
    """Ask the approvers of the environment whether the version may serve there, once, whoever has brought it.

    The item `asked#<ARN>` of the run table says that it was done, or is done by somebody who began a moment ago.
    """
    now, made = int(time.time()), runs.document(to, runs.RECORD.format(one.run_id))
    item, seconds = {"id": {"S": f"asked#{version['arn']}"}}, {":now": {"N": str(now)}}
    until = {**item, "free_at": {"N": str(now + ASK_SECONDS)}}
    if made is None or not _write(to, until, "attribute_not_exists(id) OR free_at <= :now", seconds):
        return
    serving = stacks.exported(to.name, "model")
    here = {"status": AWAITS_APPROVAL, "version": version, "champion": {"ModelName": serving} if serving else None}
    waiting = cast(RunRecord, {**made, **here})
    text = message.ask(waiting, version, None)
    attributes = {"Status": AWAITS_APPROVAL, "Stack": to.name}
    boto3.client("sns").publish(
        TopicArn=to.parameters["ApproverTopicArn"] or to.outputs["TopicArn"],
        Subject=text.subject,
        Message=text.body,
        MessageAttributes={name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()},
    )
    _write(to, item, "attribute_exists(id)", {})


def require_newer(one: Candidate, to: Stack) -> None:
    """Raise CommandError when the model that serves there has learned from newer data, and nobody has rejected it.

    It is asked again when the version is deployed (functions/reserve_deployment), as people may take days.
    """
    run_id, serving = stacks.exported(to.name, "run"), versions.serving_arn(to.name)
    served = runs.document(to, runs.RECORD.format(run_id)) if run_id not in (None, one.run_id) else None
    here, there = one.record["data"]["listed_at"], ((served or {}).get("data") or {}).get("listed_at", "")
    summary = versions.of_arn(to.name, serving) if serving and there > here else None
    if summary and summary["ModelApprovalStatus"] == approval.APPROVED:
        raise CommandError(
            f"version {one.number} of {one.stack.name} was trained on data that were listed at {here}; what serves in "
            f"{to.name} (run {run_id}) on newer ones, listed at {there}. To have it all the same: perennial reject "
            f"{summary['ModelPackageVersion']} --stack {to.name}, and promote again"
        )


def deploy(there: ModelVersion, to: Stack, reason: str) -> dict[str, Any]:
    """Approve a version of an environment unless it is, look at what deploys it, and return that execution's record.

    Raises CommandError: a newer version is approved there, or this one was rejected meanwhile.
    """
    number = there["number"]
    newest = max(versions.approved(to.name), default=0)
    if newest > number:
        raise CommandError(
            f"version {newest} of {to.name} is approved and newer than version {number}, which so does not "
            f"serve{_way_back(there, to)}"
        )
    described = boto3.client("sagemaker").describe_model_package(ModelPackageName=there["arn"])
    if described["ModelApprovalStatus"] == approval.REJECTED:
        raise CommandError(rejected(there, to))
    if described["ModelApprovalStatus"] == approval.PENDING:
        versions.answer(to.name, number, approval.APPROVED, reason)
    since = described.get("LastModifiedTime") or described["CreationTime"]
    return following.outcome(to, following.follow(following.wait_for_version(to, number, since)))


def rejected(there: ModelVersion, to: Stack) -> str:
    """Return why a version of an environment was rejected there, and how it is tried again."""
    described = boto3.client("sagemaker").describe_model_package(ModelPackageName=there["arn"])
    why = described.get("ApprovalDescription") or approval.NO_REASON
    again = f"perennial approve {there['number']} --stack {to.name}"
    return f"version {there['number']} of {to.name} was rejected: {why}. To try it nevertheless: {again}"


def _way_back(there: ModelVersion, to: Stack) -> str:
    """Return how a version comes to serve that is older than others that are approved; nothing where it cannot."""
    if there["number"] >= (versions.serving_number(to.name) or 0):
        return ""
    first = (
        "" if there["status"] == approval.APPROVED else f"perennial approve {there['number']} --stack {to.name}, then "
    )
    return f"; to go back to it: {first}perennial rollback {there['number']} --stack {to.name}"
