"""Copy the recorded data versions that no run has copied yet, and list the copies, so that exactly they are trained on.

Called by  train_model, state "Snapshot data".
Writes     copies/<version's name>, once for all runs; runs/<run id>/input.manifest, which names those of the run as
           SageMaker reads a list (API Reference, S3DataSource, ManifestFile).
Raises     DataVersionMissingError: a recorded version was deleted for good. Permanent; do not retry.
           DataVersionRefusedError: S3 refuses a version. Permanent; do not retry.
           DataVersionUnavailableError: S3 did not give a version; transient. All three name the object.
           CopiesLeftError: the call's time is over before all are copied; the next call goes on.

Copies are made by S3 itself, in parts when an object is large. A retried call goes on where it stopped, part by part.
Where copies expire (CopiesDays), one that is half as old is made anew, as long as its version can be read.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from boto3.s3.transfer import TransferConfig

from perennial.data.copies import FOLDER, copy_name
from perennial_aws import copying, objects, payloads, versions
from perennial_aws.settings import settings

logger = Logger()

THREADS = 32
# One copy call up to 1 GiB, parts of 256 MiB beyond; parts of one object are copied side by side.
TRANSFER = TransferConfig(multipart_threshold=1 << 30, multipart_chunksize=1 << 28, max_concurrency=4)
LAST_START_MS = 120_000  # before the end of a call: no copy begins after it, and no part of one
LOG_EVERY = 500


@dataclass(frozen=True)
class Request:
    """A run, and its folder: s3://bucket/runs/<run id>."""

    RunId: str
    Prefix: str


@dataclass(frozen=True)
class Answer:
    """The number of files, and the list of their copies: s3://bucket/runs/<run id>/input.manifest."""

    Files: int
    SizeBytes: int
    ManifestUri: str


@dataclass(frozen=True)
class Copy:
    """One version to copy from the bucket of the data into that of the runs, where it may be already, but old."""

    key: str
    version_id: str
    etag: str
    size: int
    bucket: str
    target: str
    is_there: bool


class CopiesLeftError(Exception):
    """A call has copied what it could in its time; the next one goes on."""


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Copy what no run has copied yet, and list what this one reads."""
    request = payloads.read(Request, event)
    bucket, _ = objects.split_uri(request.Prefix)
    folder = f"s3://{bucket}/{FOLDER}"
    files = objects.read_json(f"{request.Prefix}/manifest.json")["Files"]
    names = [copy_name(file) for file in files]
    there = {(item["Key"], item["Size"]): item["LastModified"] for item in objects.listed(folder)}
    made_at = [there.get((FOLDER + name, file["Size"])) for file, name in zip(files, names, strict=True)]
    missing = [
        Copy(file["Key"], file["VersionId"], file["ETag"], file["Size"], bucket, FOLDER + name, at is not None)
        for file, name, at in zip(files, names, made_at, strict=True)
        if at is None or _is_old(at)
    ]
    logger.info("copying", run_id=request.RunId, files=len(files), already_there=len(files) - len(missing))
    copied = _copy_all(missing, context, request.RunId)
    if copied < len(missing):
        raise CopiesLeftError(f"{copied:,} of {len(missing):,} versions were copied when the time of a call was over")
    manifest = f"{request.Prefix}/input.manifest"
    objects.write_json(manifest, [{"prefix": folder}, *names])
    return asdict(Answer(len(files), sum(file["Size"] for file in files), manifest))


def _is_old(made_at: datetime) -> bool:
    """Return whether a copy has lived half of its time, so that no run loses one while it reads."""
    days = settings.copies_days
    return bool(days) and datetime.now(UTC) - made_at > timedelta(days=days / 2)


def _copy_all(missing: list[Copy], context: LambdaContext, run_id: str) -> int:
    """Copy as many as this call has time for, and return how many."""

    def has_time() -> bool:
        return bool(context.get_remaining_time_in_millis() >= LAST_START_MS)

    def copied(copy: Copy) -> bool:
        return has_time() and _copy(copy, has_time)

    number = 0
    with ThreadPoolExecutor(THREADS) as pool:
        for done in pool.map(copied, missing):
            number += done
            if done and number % LOG_EVERY == 0:
                logger.info("copied", run_id=run_id, files=number, of=len(missing))
    return number


def _copy(copy: Copy, has_time: Callable[[], bool]) -> bool:
    """Return whether a copy is whole."""
    source = {"Bucket": settings.data_bucket, "Key": copy.key, **versions.named(copy.version_id)}
    # In a bucket without versions only the ETag tells that an object was overwritten.
    unchanged = f'"{copy.etag}"'
    try:
        if copy.size > TRANSFER.multipart_threshold:
            place = (copy.bucket, copy.target, copy.size)
            return copying.copy_on(source, *place, TRANSFER, has_time, CopySourceIfMatch=unchanged)
        copying.copy(source, copy.bucket, copy.target, copy.size, CopySourceIfMatch=unchanged)
    except versions.FAILURES as error:
        failure = versions.failure(error, copy.key, copy.version_id)
        # Where S3 is disturbed the next call goes on: until the next run the copy may be gone.
        if copy.is_there and not isinstance(failure, versions.DataVersionUnavailableError):
            logger.warning("an old copy is read as it is", key=copy.key, version=copy.version_id, problem=str(error))
            return True
        raise failure from error
    return True
