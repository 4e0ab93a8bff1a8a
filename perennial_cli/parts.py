"""Objects that one call of S3 does not take, and that are made of parts."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, BinaryIO

from botocore.exceptions import ClientError

LARGEST = 5 << 30  # PutObject and CopyObject take "an object of up to 5 GB in size"; parts beyond
PART_BYTES, MOST_PARTS, AT_ONCE = 1 << 26, 10_000, 4
HEADERS = ("ContentType", "ContentEncoding")  # of the answer of HeadObject


def headers_of(head: Mapping[str, Any]) -> dict[str, str]:
    """Return what a copy keeps of what HeadObject says: how the bytes are to be read."""
    return {name: str(head[name]) for name in HEADERS if head.get(name)}


def put(s3: Any, body: BinaryIO, bucket: str, key: str) -> str:
    """Put a file, from its beginning to its end, and return the version of the object; "null" where there are none.

    boto3's own `upload_file` does not say which version it has made, and who drops files may not ask.
    """
    size, place = body.seek(0, os.SEEK_END), {"Bucket": bucket, "Key": key}
    body.seek(0)
    if size <= LARGEST:
        return str(s3.put_object(**place, Body=body).get("VersionId", "null"))
    turn = threading.Lock()

    def send(part: Mapping[str, Any], first: int, last: int) -> str:
        with turn:
            body.seek(first)
            content = body.read(last - first + 1)
        return str(s3.upload_part(**part, Body=content)["ETag"])

    return in_parts(s3, place, size, PART_BYTES, send)


def in_parts(
    s3: Any,
    place: Mapping[str, str],
    size_bytes: int,
    part_bytes: int,
    send: Callable[[Mapping[str, Any], int, int], str],
    **headers: Any,
) -> str:
    """Make an object of parts, and return its version; what is interrupted leaves nothing.

    place       Bucket and Key
    part_bytes  of a part, or as many more as ten thousand parts need
    send        sends a part: given what names it, its first and its last byte, it returns the ETag
    headers     members of CreateMultipartUpload, such as Metadata
    """
    size = max(part_bytes, math.ceil(size_bytes / MOST_PARTS))
    upload = {**place, "UploadId": s3.create_multipart_upload(**place, **headers)["UploadId"]}

    def part(number: int) -> dict[str, Any]:
        first, last = (number - 1) * size, min(number * size, size_bytes) - 1
        return {"PartNumber": number, "ETag": send({**upload, "PartNumber": number}, first, last)}

    try:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            parts = list(pool.map(part, range(1, math.ceil(size_bytes / size) + 1)))
        return str(s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}).get("VersionId", "null"))
    except BaseException:
        with suppress(ClientError):  # who may not: the bucket's lifecycle does it a week later
            s3.abort_multipart_upload(**upload)
        raise
