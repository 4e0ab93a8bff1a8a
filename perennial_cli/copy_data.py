"""Copying data files to a stack's data prefix, each with the time of its drop, which orders them.

Of the rows of a key (split.key) the one counts that was dropped last. `aws s3 sync` copies several files at once and
gives each a new time, so that a correction may come out older than what it corrects. So the copy has the time of the
original as metadata, and the files are copied one by one, the oldest first. What is there already stays as it is: a
copy that was interrupted is started again. The credentials are the caller's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from boto3.s3.transfer import TransferConfig

from perennial.runs import work
from perennial_cli import stacks
from perennial_cli.console import CommandError
from perennial_cli.parts import LARGEST, headers_of

AT_ONCE = TransferConfig(multipart_threshold=LARGEST)


class CopyDataError(CommandError):
    """The data cannot be copied; the text says why, and what to do."""


def files_of(s3: Any, bucket: str, prefix: str) -> list[tuple[work.DataFile, dict[str, Any]]]:
    """Return the data files below a prefix in the order of their drops, each with what HeadObject says of it.

    Raises CopyDataError: there are none.
    """
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
    versions = (version for page in pages for version in page.get("Versions", []))
    files = work.listing(versions, prefix, datetime.now(UTC)).files
    if not files:
        raise CopyDataError(f"there are no data below s3://{bucket}/{prefix}; expected files, as s3://BUCKET/raw/ has")
    return sorted((_with_drop_time(s3, bucket, file) for file in files), key=lambda one: work.age(one[0]))


def _with_drop_time(s3: Any, bucket: str, file: work.DataFile) -> tuple[work.DataFile, dict[str, Any]]:
    head = s3.head_object(Bucket=bucket, Key=file.key, VersionId=file.version_id)
    return dataclasses.replace(file, last_modified=work.dropped_at(head, file.last_modified)), head


@dataclasses.dataclass(frozen=True)
class Copy:
    """A file below the target prefix: whether it was copied, or was there already and stays as it is."""

    key: str
    copied: bool
    dropped_at: datetime

    def __str__(self) -> str:
        if not self.copied:
            return f"there already, and left as it is: {self.key}"
        return f"copied: {self.key}, dropped at {self.dropped_at.isoformat()}"


def copy(s3: Any, source: tuple[str, str], target: tuple[str, str]) -> Iterator[Copy]:
    """Copy what is below a (bucket, prefix) below another one, and yield each file once that is done."""
    (bucket, prefix), (to_bucket, to_prefix) = source, target
    for file, head in files_of(s3, bucket, prefix):
        key = to_prefix + file.key.removeprefix(prefix)
        if _is_there(s3, to_bucket, key):
            yield Copy(key, False, file.last_modified)
            continue
        metadata = {**head.get("Metadata", {}), work.DROPPED_AT: file.last_modified.isoformat()}
        replaced = {"Metadata": metadata, "MetadataDirective": "REPLACE", **headers_of(head)}
        version = {"Bucket": bucket, "Key": file.key, "VersionId": file.version_id}
        s3.copy(version, to_bucket, key, ExtraArgs=replaced, Config=AT_ONCE)
        yield Copy(key, True, file.last_modified)


def _is_there(s3: Any, bucket: str, key: str) -> bool:
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1).get("Contents", [])
    return any(item["Key"] == key for item in listed)


def prefix_of(stack: str) -> tuple[str, str]:
    """Return (bucket, prefix) of a stack's data. Raises CopyDataError, NoStackError."""
    described = stacks.find(stack)
    outputs = {item["OutputKey"]: item["OutputValue"] for item in described.get("Outputs", [])}
    parameters = {item["ParameterKey"]: item["ParameterValue"] for item in described.get("Parameters", [])}
    try:
        return outputs["DataBucketName"], parameters["DataPrefix"]
    except KeyError as error:
        raise CopyDataError(
            f"the stack {stack} has no {error}: it is none of Perennial, or not deployed whole"
        ) from None
