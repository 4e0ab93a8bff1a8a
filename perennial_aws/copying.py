"""Copies that S3 makes by itself, of objects of any size."""

from __future__ import annotations

from collections.abc import Mapping

from boto3.s3.transfer import TransferConfig

from perennial_aws.clients import client

# One copy call up to 1 GiB, parts of 256 MiB beyond.
TRANSFER = TransferConfig(multipart_threshold=1 << 30, multipart_chunksize=1 << 28)


def copy(
    source: Mapping[str, str],
    bucket: str,
    key: str,
    size_bytes: int | None = None,
    transfer: TransferConfig | None = None,
    **more: str,
) -> str | None:
    """Copy an object, or a version of it, without its tags; return the version of the copy where one call makes it.

    size_bytes  of the object; None: S3 is asked for it
    transfer    how parts of a large one are copied, if not by TRANSFER
    more        members of CopyObject, such as CopySourceIfMatch
    """
    how, arguments = transfer or TRANSFER, {"TaggingDirective": "REPLACE", **more}
    if size_bytes is not None and size_bytes <= how.multipart_threshold:
        made = client("s3").copy_object(CopySource=source, Bucket=bucket, Key=key, **arguments)
        return str(made["VersionId"]) if "VersionId" in made else None
    client("s3").copy(source, bucket, key, ExtraArgs=arguments, Config=how)
    return None
