"""Object versions of the data, and the errors where S3 does not return one.

Sources: Amazon S3 API Reference, HeadObject and CopyObject ("x-amz-checksum-mode" of an object under a KMS key needs
kms:Decrypt, a HEAD without it does not), "Error responses"; S3 User Guide, "Working with archived objects".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnectionError

from perennial.runs.strays import removal
from perennial.runs.work import NO_VERSIONS
from perennial_aws.clients import attempts, client, code_of
from perennial_aws.settings import settings

# HEAD has no body for a code, so its errors are the status.
MISSING = ("404", "NoSuchKey", "NoSuchVersion", "412", "PreconditionFailed")
BUSY = ("SlowDown", "RequestTimeout", "Throttling", "ThrottlingException", "RequestLimitExceeded", "429")
FAILURES = (ClientError, HTTPClientError, NoConnectionError)  # S3 refused, or was not to be reached
ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")


class DataVersionMissingError(Exception):
    """An object version that the run has recorded does not exist any more."""


class DataVersionRefusedError(Exception):
    """S3 refuses an object version: it is archived, under a key of somebody else, or not permitted."""


class DataVersionUnavailableError(Exception):
    """S3 gave no answer for an object version, in a minute of attempts. Transient, but it may last for one object.

    Such an object is never put aside: while S3 is disturbed that would train without data that are there.
    """


def head(key: str, version_id: str) -> dict[str, Any] | None:
    """Return the answer of HeadObject for a version, with its checksum; None when it does not exist.

    Raises DataVersionRefusedError, DataVersionUnavailableError: their text names the object.
    """
    try:
        answer = _head(key, version_id, ChecksumMode="ENABLED")
    except FAILURES as error:
        if isinstance(error, ClientError) and code_of(error) in MISSING:
            return None
        raise failure(error, key, version_id) from error
    if _is_archived(answer):
        raise DataVersionRefusedError(_archived(key, version_id, str(answer.get("StorageClass"))))
    return answer


def named(version_id: str) -> dict[str, str]:
    """Return the member of a request that names a version; empty where a bucket has no versions."""
    return {} if version_id == NO_VERSIONS else {"VersionId": version_id}


def failure(error: Exception, key: str, version_id: str) -> Exception:
    """Return one of FAILURES of a request for a version as an error that names the version and says what to do."""
    what = f"{key!r} (version {version_id})"
    if not isinstance(error, ClientError) or _is_busy(error):
        return DataVersionUnavailableError(
            f"S3 did not give {what}, asked up to {attempts('s3')} times: {error}. To take it away, if it "
            f"alone stays unreadable: {removal(settings.data_bucket, key)}"
        )
    code = code_of(error)
    if code in MISSING and version_id == NO_VERSIONS:
        return DataVersionMissingError(
            f"{key!r} was overwritten or deleted after the run had begun, and s3://{settings.data_bucket} keeps "
            "no versions. If it was overwritten, its own event starts a run; otherwise start one"
        )
    if code in MISSING:
        return DataVersionMissingError(
            f"version {version_id} of {key!r}, recorded when the run began, is not in the bucket any more: it was "
            "deleted for good. Drop the file again, or start a run without it"
        )
    if code == "InvalidObjectState":
        return DataVersionRefusedError(_archived(key, version_id, "an archive"))
    closed_by = _key_of(key, version_id) if _may_be_a_key(error) else None
    if closed_by:
        return DataVersionRefusedError(
            f"{what} is encrypted with the KMS key {closed_by}, which this function may not use. Upload it again "
            f"without a key of its own, or take it away: {removal(settings.data_bucket, key)}\n"
            f"(The key of a DataBucket is a parameter: DataBucketKeyArn.) S3 said: {error}"
        )
    return DataVersionRefusedError(f"S3 refuses {what}: {error}")


def _head(key: str, version_id: str, **more: str) -> dict[str, Any]:
    return dict(client("s3").head_object(Bucket=settings.data_bucket, Key=key, **named(version_id), **more))


def _is_busy(error: ClientError) -> bool:
    return code_of(error) in BUSY or error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500


def _is_archived(answer: Mapping[str, Any]) -> bool:
    """Say whether a version has to be restored before it can be read; a restored copy can."""
    away = answer.get("StorageClass") in ARCHIVES or bool(answer.get("ArchiveStatus"))
    return away and 'ongoing-request="false"' not in str(answer.get("Restore"))


def _archived(key: str, version_id: str, storage: str) -> str:
    return (
        f"{key!r} (version {version_id}) is archived ({storage}) and cannot be read before it is restored. Restore it "
        f"(aws s3api restore-object), or take it away: {removal(settings.data_bucket, key)}"
    )


def _may_be_a_key(error: ClientError) -> bool:
    """Say whether it may be the key that a request failed of. HEAD has no text that says so."""
    return code_of(error).startswith("KMS") or "kms:" in str(error) or error.operation_name == "HeadObject"


def _key_of(key: str, version_id: str) -> str | None:
    """Return the KMS key of a version, which S3 names without opening it; None when it does not."""
    try:
        return str(_head(key, version_id).get("SSEKMSKeyId") or "") or None
    except FAILURES:
        return None
