"""Files that lie elsewhere in S3 and are to be scored: S3 copies each below batch/incoming/ of the stack.

The credentials are the caller's: the stack itself may read nowhere else. The version that was found is the one that is
copied, and the copy's metadata say where it is from. Nothing comes over this machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from perennial.runs import batch_file
from perennial.runs.batch_file import INCOMING, SOURCE
from perennial_cli.console import CommandError, working
from perennial_cli.parts import LARGEST, headers_of, in_parts

SCHEME, HINT = "s3://", "s3://BUCKET/KEY, or s3://BUCKET/PREFIX/ for all files below it"
PART_BYTES = 1 << 28  # of a copy, which does not come over this machine
ARCHIVES = ("GLACIER", "DEEP_ARCHIVE")


@dataclass(frozen=True)
class Address:
    """A file, or all files below a folder: then `key` is empty or ends with a slash."""

    bucket: str
    key: str

    @property
    def is_folder(self) -> bool:
        return not self.key or self.key.endswith("/")

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.key}"


def address(text: str) -> Address | None:
    """Return the address that a text is; None where it is a path. Raises ValueError: it names no bucket."""
    if not text.startswith(SCHEME):
        return None
    bucket, _, key = text.removeprefix(SCHEME).partition("/")
    if not bucket:
        raise ValueError(f"got {text!r}; expected {HINT}")
    return Address(bucket, key)


@dataclass(frozen=True)
class Original:
    """A file that can be copied. `version` is None in a bucket without versions: the ETag tells contents apart."""

    at: Address
    version: str | None
    etag: str
    size_bytes: int
    headers: dict[str, str]

    @property
    def source(self) -> str:
        """The address with what tells this content from another one of the same name."""
        return f"{self.at}?{'versionId=' + self.version if self.version else 'etag=' + self.etag}"

    @property
    def copy_source(self) -> dict[str, str]:
        return {"Bucket": self.at.bucket, "Key": self.at.key, **({"VersionId": self.version} if self.version else {})}


def find(s3: Any, at: Address) -> Original:
    """Return what lies there. Raises CommandError: nothing that can be scored, or nothing that the caller may read."""
    try:
        head = s3.head_object(Bucket=at.bucket, Key=at.key)
    except ClientError as error:
        raise CommandError(_why_not(s3, at, error)) from error
    archive = head.get("ArchiveStatus") or head.get("StorageClass")
    restored = head.get("Restore", "")
    if (archive in ARCHIVES or head.get("ArchiveStatus")) and 'ongoing-request="false"' not in restored:
        raise CommandError(_archived(at, str(archive), is_coming="ongoing-request" in restored))
    if not head["ContentLength"]:
        raise CommandError(f"{at} is empty; expected rows")
    version = None if head.get("VersionId") in (None, "null") else str(head["VersionId"])
    return Original(at, version, head["ETag"].strip('"'), head["ContentLength"], headers_of(head))


def _why_not(s3: Any, at: Address, error: ClientError) -> str:
    """Return what an answer of HeadObject means, which has a status and no words."""
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    if status == 403:
        return (
            f"you may not read {at}: its account, its bucket's policy and its key have to let you (s3:GetObject, and "
            "kms:Decrypt where it is encrypted by a key of theirs). Without s3:ListBucket on the bucket S3 says the "
            "same of a file that is not there"
        )
    if status != 404:
        return f"{at} cannot be read: {error}"
    if not _has_bucket(s3, at.bucket):
        return f"there is no bucket {at.bucket}"
    folder = Address(at.bucket, f"{at.key}/")
    if _begins_something(s3, folder):
        return f"{at} is a folder; with a slash at its end all files in it are scored: {folder}"
    return f"there is no file {at}"


def _has_bucket(s3: Any, name: str) -> bool:
    try:
        s3.head_bucket(Bucket=name)
    except ClientError as error:
        return bool(error.response["ResponseMetadata"]["HTTPStatusCode"] != 404)
    return True


def _begins_something(s3: Any, at: Address) -> bool:
    try:
        return bool(s3.list_objects_v2(Bucket=at.bucket, Prefix=at.key, MaxKeys=1).get("KeyCount"))
    except ClientError:
        return False  # who may not list is told of the file


def _archived(at: Address, storage: str, *, is_coming: bool) -> str:
    if is_coming:
        return f"{at} is archived ({storage}), and is being restored; score it once `aws s3api head-object` shows that"
    restore = f"aws s3api restore-object --bucket {at.bucket} --key '{at.key}' --restore-request Days=1"
    return f"{at} is archived ({storage}): restore it first, which takes hours: {restore}"


def below(s3: Any, at: Address) -> list[tuple[Address, int]]:
    """Return the files below a folder, by name, each with its bytes; no folders, which some tools keep as objects.

    Raises CommandError: there are none, or the caller may not list them.
    """
    try:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=at.bucket, Prefix=at.key)
        listed = [item for page in pages for item in page.get("Contents", []) if not item["Key"].endswith("/")]
    except ClientError as error:
        code = error.response["Error"]["Code"]
        what = f"there is no bucket {at.bucket}" if code == "NoSuchBucket" else f"{at} cannot be listed: {error}"
        raise CommandError(what) from error
    if not listed:
        raise CommandError(f"there are no files below {at}")
    return [(Address(at.bucket, item["Key"]), item["Size"]) for item in listed]


def waiting(s3: Any, bucket: str, key: str, original: Original, *, force: bool) -> str | None:
    """Return the version below batch/incoming/ that is a copy of this very file; None where it is to be copied.

    A copy that was interrupted after it had been made is found so. Who may list and not read there is asked.

    Raises CommandError: something of that name and size waits, and the caller may not see what it is.
    """
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents", [])
    if not listed or listed[0]["Key"] != key:
        return None
    try:
        head = s3.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 403:
            return None
        if force or listed[0]["Size"] != original.size_bytes:
            return None
        raise CommandError(
            f"s3://{bucket}/{key}, as large as {original.at}, waits already: an interrupted call may have copied it. "
            "`perennial batches` shows what was scored, and `perennial score --waiting` scores what waits; to copy and "
            "score it once more: --force"
        ) from error
    return str(head.get("VersionId", "null")) if batch_file.source_of(head["Metadata"]) == original.source else None


def copy_visibly(s3: Any, original: Original, bucket: str, key: str) -> str:
    """Copy a file as `copy` does, and show how far it is."""
    done, whole = 0, original.size_bytes
    with working(f"copying {original.at}") as step:

        def progress(size_bytes: int) -> None:
            nonlocal done
            done += size_bytes
            step(f"{size(done)} of {size(whole)}")

        return copy(s3, original, bucket, key, progress)


def size(size_bytes: float) -> str:
    """Return bytes in words: 1.5 GB. Units are powers of 1,000."""
    if size_bytes < 1_000:
        return f"{size_bytes:,.0f} bytes"
    power = min(int(math.log(size_bytes, 1_000)), 4)
    return f"{size_bytes / 1_000**power:,.1f} {('', 'kB', 'MB', 'GB', 'TB')[power]}"


def copy(s3: Any, original: Original, bucket: str, key: str, progress: Callable[[int], None]) -> str:
    """Copy a file, and return the version of the copy; `progress` is called with bytes that are copied.

    Raises CommandError: it cannot be read or written, or has changed since it was found.
    """
    metadata = {SOURCE: batch_file.source_as_metadata(original.source)}
    more: dict[str, Any] = {
        "Metadata": metadata,
        "MetadataDirective": "REPLACE",
        "TaggingDirective": "REPLACE",
        **original.headers,
    }
    more["CopySourceIfMatch"] = original.etag
    try:
        if original.size_bytes <= LARGEST:
            made = s3.copy_object(CopySource=original.copy_source, Bucket=bucket, Key=key, **more)
            progress(original.size_bytes)
            return str(made.get("VersionId", "null"))
        return _copied_in_parts(s3, original, {"Bucket": bucket, "Key": key}, metadata, progress)
    except ClientError as error:
        raise CommandError(_why_not_copied(original, f"{SCHEME}{bucket}/{key}", error)) from error


def _copied_in_parts(
    s3: Any, original: Original, place: dict[str, str], metadata: dict[str, str], progress: Callable[[int], None]
) -> str:
    def send(part: Mapping[str, Any], first: int, last: int) -> str:
        of_part = {"CopySource": original.copy_source, "CopySourceIfMatch": original.etag}
        made = s3.upload_part_copy(**part, **of_part, CopySourceRange=f"bytes={first}-{last}")["CopyPartResult"]
        progress(last - first + 1)
        return str(made["ETag"])

    return in_parts(s3, place, original.size_bytes, PART_BYTES, send, Metadata=metadata, **original.headers)


def _why_not_copied(original: Original, target: str, error: ClientError) -> str:
    code = error.response["Error"]["Code"]
    if code in ("PreconditionFailed", "412", "NoSuchKey", "NoSuchVersion", "404"):
        return f"{original.at} has changed or gone while it was copied; try it once more"
    if code == "InvalidObjectState":
        return _archived(original.at, "an archive", is_coming=False)
    return f"{original.at} cannot be copied to {target}: {error.response['Error'].get('Message') or error}"


def name_of(at: Address, folder: Address | None, name: str | None) -> str:
    """Return the key of the copy: the given name, or the file's; of one of a folder, its name there."""
    if folder is None:
        return f"{INCOMING}{name or at.key.rpartition('/')[2]}"
    relative = at.key.removeprefix(folder.key).lstrip("/")
    return f"{INCOMING}{f'{name}/' if name else ''}{relative}"
