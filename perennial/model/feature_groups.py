"""Feature groups as the account has them: how they are called and made, and which objects hold the records of which."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

TIME = "%Y-%m-%dT%H:%M:%SZ"  # of an event, in UTC
TYPES = {"float": "Fractional", "integer": "Integral"}  # of a column; of all others String
_KEY = re.compile(r"(?:.*/)?offline-store/(?P<group>[^/]+)-(?P<created>\d+)/data/[^?]*\.parquet")


def group_name(stack: str, group: str) -> str:
    """Return what a group of a definition is called in the account. A stack's name has no underscore.

    A stack may do something with all groups of its own by a policy for `<stack>_*`, and with no other stack's.
    """
    return f"{stack}_{group}"


def request(
    name: str,
    record: str,
    event_time: str,
    features: Iterable[Mapping[str, str]],
    *,
    place: str,
    role: str,
    key: str | None,
) -> dict[str, Any]:
    """Return the request for a group, online and offline (SageMaker API Reference, CreateFeatureGroup).

    place  where runs read records: s3://bucket/prefix
    role   under which SageMaker writes them there, encrypted by `key` where one is named
    """
    storage = {"S3Uri": place.rstrip("/"), **({"KmsKeyId": key} if key else {})}
    return {
        "FeatureGroupName": name,
        "RecordIdentifierFeatureName": record,
        "EventTimeFeatureName": event_time,
        "FeatureDefinitions": list(features),
        "OnlineStoreConfig": {"EnableOnlineStore": True},
        "OfflineStoreConfig": {"S3StorageConfig": storage, "DisableGlueTableCreation": True},
        "RoleArn": role,
    }


def group_of(key: str, groups: Collection[str]) -> tuple[str, str, int] | None:
    """Return which group of the definition an object is of, what that is called in the account, and when it was made.

    It is called as in the definition, or as a stack calls it (`group_name`).
    """
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    called = match["group"]
    name = called if called in groups else called.partition("_")[2]
    return (name, called, int(match["created"])) if name in groups else None


def is_own_record(key: str, section: Mapping[str, Any] | None) -> bool:
    """Return whether an object is of the group that runs put dropped rows into; `section` is that of a definition.

    Its records are those of files that were dropped: they are rows, and no news.
    """
    return bool(section and section.get("ingest") and group_of(key, section["groups"]))


def obstacle(described: Mapping[str, Any], group: Mapping[str, str], place: str) -> str | None:
    """Return why the records of a definition's group cannot be put into the group that is there; None if they can.

    described  by DescribeFeatureGroup
    group      the names of the features that tell its records, and when the event of each was
    place      where runs read records: s3://bucket/prefix
    """
    name = described["FeatureGroupName"]
    for key, what in (("RecordIdentifierFeatureName", "record"), ("EventTimeFeatureName", "event_time")):
        if described[key] != group[what]:
            return f"the feature group {name} has the {what} {described[key]!r}; model.yaml says {group[what]!r}"
    written = described.get("OfflineStoreConfig", {}).get("S3StorageConfig", {}).get("S3Uri", "")
    if not f"{written}/".startswith(f"{place.rstrip('/')}/"):
        return (
            f"the feature group {name} is none of this stack: its records are written to {written or 'no bucket'}, and "
            f"runs read {place}. Give the group another name in model.yaml"
        )
    if not described.get("OnlineStoreConfig", {}).get("EnableOnlineStore"):
        return f"the feature group {name} has no online store"
    return None
