"""Objects in the bucket: JSON documents, lines of text, listings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from perennial.data.rows import Hashes
from perennial.runs.record import json_safe
from perennial_aws.clients import client


def split_uri(uri: str) -> tuple[str, str]:
    """Return (bucket, key) of an `s3://bucket/key`."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


def read_json(uri: str) -> Any:
    """Return the JSON document at an address."""
    bucket, key = split_uri(uri)
    return json.loads(client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())


def read_json_if_there(uri: str) -> Any:
    """Return the JSON document at an address, or None when there is none.

    It looks in the list, because S3 answers 403 for a key that is not there to a role that may list only some prefixes.
    """
    return read_json(uri) if split_uri(uri)[1] in keys(uri) else None


def read_json_or_none(uri: str) -> Any:
    """Return the JSON document at an address, or None when there is none, in one request.

    For a role that may list the whole bucket: S3 says to it that there is none.
    """
    try:
        return read_json(uri)
    except client("s3").exceptions.NoSuchKey:
        return None


def newest_version(bucket: str, key: str) -> str | None:
    """Return the id of the newest version of an object, or None when there is none, or it was deleted."""
    listed = client("s3").list_object_versions(Bucket=bucket, Prefix=key).get("Versions", [])
    return next((item["VersionId"] for item in listed if item["Key"] == key and item["IsLatest"]), None)


def newest_versions(prefix_uri: str) -> dict[str, str]:
    """Return the id of the newest version of each object under an address, by its key; none of what was deleted."""
    bucket, prefix = split_uri(prefix_uri)
    pages = client("s3").get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
    return {item["Key"]: item["VersionId"] for page in pages for item in page.get("Versions", []) if item["IsLatest"]}


def read_hashes(prefix_uri: str) -> Iterator[Hashes]:
    """Yield the row hashes under an address, part by part: 8 bytes each, little-endian."""
    bucket, _ = split_uri(prefix_uri)
    for key in keys(prefix_uri):
        yield np.frombuffer(client("s3").get_object(Bucket=bucket, Key=key)["Body"].read(), "<u8")


def write_json(uri: str, document: Any) -> None:
    """Write a document as strict JSON: what is not finite becomes null."""
    bucket, key = split_uri(uri)
    body = json.dumps(json_safe(document), indent=1, allow_nan=False, ensure_ascii=False).encode()
    client("s3").put_object(Bucket=bucket, Key=key, Body=body, ContentType="application/json")


def write_text(uri: str, text: str) -> None:
    """Write a text in UTF-8."""
    bucket, key = split_uri(uri)
    client("s3").put_object(Bucket=bucket, Key=key, Body=text.encode(), ContentType="text/plain; charset=utf-8")


def write_page(uri: str, content: bytes) -> None:
    """Write a page of HTML in UTF-8."""
    bucket, key = split_uri(uri)
    client("s3").put_object(Bucket=bucket, Key=key, Body=content, ContentType="text/html; charset=utf-8")


def keys(prefix_uri: str) -> list[str]:
    """Return the keys under an address, sorted."""
    return sorted(item["Key"] for item in listed(prefix_uri))


def listed(prefix_uri: str, after: str = "") -> Iterator[dict[str, Any]]:
    """Yield what ListObjectsV2 says of the objects under an address, in the order of their keys, those `after` a key.

    A call brings 1,000 keys; what comes before costs none, nor does what comes after whoever stops early.
    """
    bucket, prefix = split_uri(prefix_uri)
    start = {"StartAfter": after} if after else {}
    for page in client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix, **start):
        yield from page.get("Contents", [])


def level(prefix_uri: str, after: str = "") -> tuple[list[dict[str, Any]], list[str]]:
    """Return the objects right under an address, and the keys of the folders there, each with a slash at its end.

    after  only what comes after this key
    """
    bucket, prefix = split_uri(prefix_uri)
    wanted = {"Prefix": prefix, "Delimiter": "/", **({"StartAfter": after} if after else {})}
    pages = client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, **wanted)
    items, folders = list[dict[str, Any]](), list[str]()
    for page in pages:
        items += page.get("Contents", [])
        folders += [one["Prefix"] for one in page.get("CommonPrefixes", [])]
    return items, sorted(folders)


def lines(bucket: str, key: str) -> Iterator[str]:
    """Yield the lines of a text object, read as they are asked for."""
    body = client("s3").get_object(Bucket=bucket, Key=key)["Body"]
    yield from (line.decode("utf-8") for line in body.iter_lines(chunk_size=1 << 20))
