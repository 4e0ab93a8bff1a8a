"""What the lifecycle rules of a bucket delete in time, as S3 would: User Guide, "Lifecycle configuration elements"."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def expiring(s3: Any, bucket: str, prefix: str) -> set[str]:
    """Return the objects below a prefix whose current version a rule of the bucket lets expire."""
    rules = [
        rule for rule in s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
        if rule["Status"] == "Enabled" and "Days" in rule.get("Expiration", {})
    ]  # fmt: skip
    return {key for key in _keys(s3, bucket, prefix) if any(_holds(rule["Filter"], s3, bucket, key) for rule in rules)}


def let_days_pass(s3: Any, bucket: str, prefix: str) -> set[str]:
    """Delete what expires, in every version, as if the days of the rules were over; return what is left."""
    gone = expiring(s3, bucket, prefix)
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix):
        for version in page.get("Versions", []):
            if version["Key"] in gone:
                s3.delete_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
    return set(_keys(s3, bucket, prefix))


def _keys(s3: Any, bucket: str, prefix: str) -> Iterator[str]:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        yield from (item["Key"] for item in page.get("Contents", []))


def _holds(given: Mapping[str, Any], s3: Any, bucket: str, key: str) -> bool:
    """Return whether a rule's filter takes an object: its prefix, and all of its tags."""
    both = given.get("And", given)
    if not key.startswith(both.get("Prefix", "")):
        return False
    tags = [*both.get("Tags", []), *([both["Tag"]] if "Tag" in both else [])]
    there = s3.get_object_tagging(Bucket=bucket, Key=key)["TagSet"] if tags else []
    return all(tag in there for tag in tags)
