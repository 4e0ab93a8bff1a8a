"""Copies that S3 makes by itself, of objects of any size."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError

from perennial_aws.clients import client, code_of

# One copy call up to 1 GiB, parts of 256 MiB beyond.
TRANSFER = TransferConfig(multipart_threshold=1 << 30, multipart_chunksize=1 << 28)
MOST_PARTS = 10_000  # S3 User Guide, "Amazon S3 multipart upload limits"


def copy(
    source: Mapping[str, str],
    bucket: str,
    key: str,
    size_bytes: int | None = None,
    **more: str,
) -> str | None:
    """Copy an object, or a version of it, without its tags; return the version of the copy where one call makes it.

    size_bytes  of the object; None: S3 is asked for it
    more        members of CopyObject, such as CopySourceIfMatch
    """
    arguments = {"TaggingDirective": "REPLACE", **more}
    if size_bytes is not None and size_bytes <= TRANSFER.multipart_threshold:
        made = client("s3").copy_object(CopySource=source, Bucket=bucket, Key=key, **arguments)
        return str(made["VersionId"]) if "VersionId" in made else None
    client("s3").copy(source, bucket, key, ExtraArgs=arguments, Config=TRANSFER)
    return None


def copy_on(
    source: Mapping[str, str],
    bucket: str,
    key: str,
    size_bytes: int,
    transfer: TransferConfig,
    has_time: Callable[[], bool],
    **condition: str,
) -> bool:
    """Copy an object of this size in parts, and return whether it is whole; the next call goes on where one stopped.

    has_time   whether there is time for one more part
    condition  CopySourceIfMatch
    """
    s3, place = client("s3"), {"Bucket": bucket, "Key": key}
    listed = s3.list_multipart_uploads(Bucket=bucket, Prefix=key).get("Uploads", [])
    begun = next((one["UploadId"] for one in listed if one["Key"] == key), None)
    upload = {**place, "UploadId": begun or s3.create_multipart_upload(**place)["UploadId"]}
    size = max(transfer.multipart_chunksize, math.ceil(size_bytes / MOST_PARTS))

    def part(number: int) -> dict[str, Any] | None:
        if number in there:
            return there[number]
        if not has_time():
            return None
        ends = f"bytes={(number - 1) * size}-{min(number * size, size_bytes) - 1}"
        of_part = {"CopySource": source, "CopySourceRange": ends, **condition}
        made = s3.upload_part_copy(**upload, **of_part, PartNumber=number)["CopyPartResult"]
        return {"PartNumber": number, "ETag": made["ETag"]}

    try:
        pages = s3.get_paginator("list_parts").paginate(**upload)
        copied = (one for page in pages for one in page.get("Parts", []))
        there = {one["PartNumber"]: {"PartNumber": one["PartNumber"], "ETag": one["ETag"]} for one in copied}
        with ThreadPoolExecutor(transfer.max_request_concurrency) as pool:
            parts = list(pool.map(part, range(1, math.ceil(size_bytes / size) + 1)))
        if not all(parts):
            return False
        s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    except ClientError as error:
        if code_of(error) == "NoSuchUpload":  # another run has made the same copy whole meanwhile
            return False
        raise
    return True
