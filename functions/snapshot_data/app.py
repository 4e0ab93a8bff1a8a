"""Copy the recorded data versions into the run's folder, so that exactly they are trained on.

Called by  train_model, state "Snapshot data".
Raises     DataVersionMissingError: a recorded version was deleted for good. Permanent; do not retry.
           DataVersionRefusedError: S3 refuses a version. Permanent; do not retry.
           DataVersionUnavailableError: S3 did not give a version; transient. All three name the object.

Copies are made by S3 itself, in parts when an object is larger than 5 GB. A retried call goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from boto3.s3.transfer import TransferConfig

from perennial.runs import naming
from perennial_aws import objects, payloads, versions
from perennial_aws.clients import client
from perennial_aws.settings import settings

logger = Logger()

THREADS = 16
# One copy call up to 1 GiB, parts of 256 MiB beyond; parts of one object are copied side by side.
TRANSFER = TransferConfig(multipart_threshold=1 << 30, multipart_chunksize=1 << 28, max_concurrency=4)
LOG_EVERY = 500


@dataclass(frozen=True)
class Request:
    """A run, and its folder: s3://bucket/runs/<run id>."""

    RunId: str
    Prefix: str


@dataclass(frozen=True)
class Answer:
    """The number of copies, and their folder: s3://bucket/runs/<run id>/input/."""

    Files: int
    SizeBytes: int
    InputUri: str


@dataclass(frozen=True)
class Copy:
    """One version to copy from the bucket of the data into that of the runs."""

    bucket: str
    key: str
    version_id: str
    etag: str
    size: int
    target: str


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Copy what is not copied yet."""
    request = payloads.read(Request, event)
    prefix = request.Prefix
    copies = list(_copies(prefix, objects.read_json(f"{prefix}/manifest.json")["Files"]))
    there = _sizes(f"{prefix}/input/")
    missing = [copy for copy in copies if there.get(copy.target) != copy.size]
    logger.info("copying", run_id=request.RunId, files=len(copies), already_there=len(copies) - len(missing))
    with ThreadPoolExecutor(THREADS) as pool:
        for number, _ in enumerate(pool.map(_copy, missing), start=1):
            if number % LOG_EVERY == 0:
                logger.info("copied", run_id=request.RunId, files=number, of=len(missing))
    return asdict(Answer(len(copies), sum(copy.size for copy in copies), f"{prefix}/input/"))


def _copies(prefix: str, files: list[dict[str, Any]]) -> Iterator[Copy]:
    bucket, folder = objects.split_uri(f"{prefix}/input/")
    for position, file in enumerate(files):
        target = folder + naming.snapshot_name(position, file["Key"])
        yield Copy(bucket, file["Key"], file["VersionId"], file["ETag"], file["Size"], target)


def _sizes(uri: str) -> dict[str, int]:
    bucket, prefix = objects.split_uri(uri)
    pages = client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return {item["Key"]: item["Size"] for page in pages for item in page.get("Contents", [])}


def _copy(copy: Copy) -> None:
    source = {"Bucket": settings.data_bucket, "Key": copy.key, **versions.named(copy.version_id)}
    # In a bucket without versions only the ETag tells that an object was overwritten.
    arguments = {"TaggingDirective": "REPLACE", "CopySourceIfMatch": f'"{copy.etag}"'}
    try:
        if copy.size <= TRANSFER.multipart_threshold:
            client("s3").copy_object(CopySource=source, Bucket=copy.bucket, Key=copy.target, **arguments)
        else:
            client("s3").copy(source, copy.bucket, copy.target, ExtraArgs=arguments, Config=TRANSFER)
    except versions.FAILURES as error:
        raise versions.failure(error, copy.key, copy.version_id) from error
