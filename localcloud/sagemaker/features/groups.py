"""Feature groups: made, described, listed, given more features, deleted. A group is `Created` at once.

What AWS does not document, and is so here: the texts of refusals.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from localcloud.sagemaker.api import events, listing, requests, tags
from localcloud.sagemaker.api.context import Context, now
from localcloud.sagemaker.errors import AwsError, invalid, unsupported
from localcloud.sagemaker.platform.store import Document

GROUP = "feature-group"
RESERVED = ("is_deleted", "write_time", "api_invocation_time")
_MOST_FEATURES = 2_500
_MEMBERS = (
    "FeatureGroupName", "RecordIdentifierFeatureName", "EventTimeFeatureName", "FeatureDefinitions",
    "OnlineStoreConfig", "OfflineStoreConfig", "ThroughputConfig", "RoleArn", "Description", "Tags",
)  # fmt: skip


class FeatureGroups:
    """Create-, Describe-, List-, Update- and DeleteFeatureGroup(s). `forget` deletes a group's records online."""

    def __init__(self, context: Context, forget: Callable[[Document], None]) -> None:
        self._context, self._forget = context, forget
        self._changing = threading.RLock()

    def create(self, request: Document) -> Document:
        self._check(request)
        name, store, created = request["FeatureGroupName"], self._context.store, now()
        arn = self._context.aws.arn(GROUP, name)
        document = {key: value for key, value in request.items() if key != "Tags"} | {
            "FeatureGroupArn": arn,
            "CreationTime": created,
            "FeatureGroupStatus": "Created",
            "ThroughputConfig": {"ThroughputMode": "OnDemand"},
        }
        if offline := request.get("OfflineStoreConfig"):
            aws, folder = self._context.aws, offline["S3StorageConfig"]["S3Uri"].rstrip("/")
            place = f"{aws.account_id}/sagemaker/{aws.region}/offline-store/{name}-{int(created)}/data"
            storage = {**offline["S3StorageConfig"], "ResolvedOutputS3Uri": f"{folder}/{place}"}
            document["OfflineStoreConfig"] = {"TableFormat": "Glue", **offline, "S3StorageConfig": storage}
            document["OfflineStoreStatus"] = {"Status": "Active"}
        with self._changing:
            if not store.create(GROUP, name, document):
                raise AwsError(
                    "ResourceInUse",
                    f"Resource Already Exists: FeatureGroup with name {name} already exists. Choose a different name.",
                )
            tags.put(store, arn, request.get("Tags", []))
            self._announce(document)
        return {"FeatureGroupArn": arn}

    def describe(self, request: Document) -> Document:
        if request.get("NextToken"):
            raise unsupported("NextToken of DescribeFeatureGroup", "All features of a group are on one page.")
        document = self.find(request["FeatureGroupName"])
        return requests.project(requests.output_shape("DescribeFeatureGroup"), document) | {"NextToken": ""}

    def list_all(self, request: Document) -> Document:
        groups = self._context.store.view(GROUP)
        status, offline = (request.pop(f"{name}Equals", None) for name in ("FeatureGroupStatus", "OfflineStoreStatus"))
        groups = [
            group
            for group in groups
            if status in (None, group["FeatureGroupStatus"])
            and offline in (None, group.get("OfflineStoreStatus", {}).get("Status", "Disabled"))
        ]
        if request.get("SortBy") == "OfflineStoreStatus":
            raise unsupported("SortBy OfflineStoreStatus of ListFeatureGroups")
        request["SortBy"] = request.get("SortBy", "CreationTime").removeprefix("FeatureGroup")
        return listing.page("ListFeatureGroups", "FeatureGroup", groups, request, "FeatureGroupSummaries")

    def update(self, request: Document) -> Document:
        """Add features: what is there already of a record has no value of them."""
        requests.only(request, ("FeatureGroupName", "FeatureAdditions"))
        requests.require(request, "FeatureAdditions")
        with self._changing:
            group = self.find(request["FeatureGroupName"])
            definitions = [*group["FeatureDefinitions"], *request["FeatureAdditions"]]
            _check_features(definitions)
            changed = {"LastModifiedTime": now(), "LastUpdateStatus": {"Status": "Successful"}}
            group |= {"FeatureDefinitions": definitions, **changed}
            self._context.store.put(GROUP, group["FeatureGroupName"], group)
        return {"FeatureGroupArn": group["FeatureGroupArn"]}

    def delete(self, request: Document) -> Document:
        """Delete a group and its records online; what was written offline stays."""
        with self._changing:
            group = self.find(request["FeatureGroupName"])
            self._context.store.delete(GROUP, group["FeatureGroupName"])
            self._forget(group)
            self._announce(group | {"FeatureGroupStatus": "Deleting"})
            tags.drop(self._context.store, group["FeatureGroupArn"])
        return {}

    def mark(self, name: str, status: Document) -> None:
        """Note whether records can be written offline."""
        with self._changing:
            group = self._context.store.get(GROUP, name)
            if group and group.get("OfflineStoreStatus") != status:
                group["OfflineStoreStatus"] = status
                self._context.store.put(GROUP, name, group)
                self._announce(group)

    def find(self, name_or_arn: str) -> Document:
        arn = name_or_arn if name_or_arn.startswith("arn:") else self._context.aws.arn(GROUP, name_or_arn)
        document = self._context.store.get(GROUP, arn.rpartition("/")[2])
        if document is None or document["FeatureGroupArn"] != arn.lower():
            raise AwsError(
                "ResourceNotFound",
                f"Resource Not Found: Amazon SageMaker can't find a FeatureGroup with name {name_or_arn}",
            )
        return document

    def _check(self, request: Document) -> None:
        requests.only(request, _MEMBERS)
        online, offline = request.get("OnlineStoreConfig", {}), request.get("OfflineStoreConfig", {})
        if not online.get("EnableOnlineStore") and not offline:
            raise invalid(
                "At least one of OnlineStoreConfig, with EnableOnlineStore, and OfflineStoreConfig is needed."
            )
        if online.get("StorageType", "Standard") != "Standard":
            raise unsupported(f"StorageType {online['StorageType']}", "Use Standard.")
        requests.only(online, ("SecurityConfig", "EnableOnlineStore", "StorageType"), "OnlineStoreConfig.")
        if request.get("ThroughputConfig", {}).get("ThroughputMode", "OnDemand") != "OnDemand":
            raise unsupported("ThroughputMode Provisioned", "Use OnDemand.")
        if offline:
            _check_offline(request, offline)
        definitions = request["FeatureDefinitions"]
        _check_features(definitions)
        types = {one["FeatureName"]: one["FeatureType"] for one in definitions}
        for member, allowed in (
            ("RecordIdentifierFeatureName", ("String", "Integral")),
            ("EventTimeFeatureName", ("String", "Fractional")),
        ):
            if types.get(request[member]) not in allowed:
                raise invalid(
                    f"{member} {request[member]!r} must be the name of a feature of type {' or '.join(allowed)}."
                )

    def _announce(self, group: Document) -> None:
        """Tell of a change of FeatureGroupStatus or OfflineStoreStatus."""
        arn = group["FeatureGroupArn"]
        description = requests.project(requests.output_shape("DescribeFeatureGroup"), group)
        detail = events.feature_group_detail(description, tags.read(self._context.store, arn))
        self._context.outbox.send(events.DETAIL_TYPES["FeatureGroup"], [arn], detail)


def _check_offline(request: Document, offline: Document) -> None:
    requests.require(request, "RoleArn")
    if offline.get("TableFormat", "Glue") == "Iceberg":
        raise unsupported("TableFormat Iceberg", "Use Glue.")
    if not offline.get("DisableGlueTableCreation"):
        raise unsupported("A Glue table", "Set OfflineStoreConfig.DisableGlueTableCreation.")
    known = ("S3StorageConfig", "DisableGlueTableCreation", "TableFormat")
    requests.only(offline, known, "OfflineStoreConfig.")
    if not offline["S3StorageConfig"]["S3Uri"].startswith("s3://"):
        raise unsupported("An S3Uri that is no s3://bucket/prefix")


def _check_features(definitions: Iterable[Document]) -> None:
    names: set[str] = set()
    for definition in definitions:
        requests.only(definition, ("FeatureName", "FeatureType"), "FeatureDefinitions.")
        name = definition["FeatureName"]
        if name.lower() in RESERVED:
            raise invalid(f"The feature name {name!r} is reserved: {', '.join(RESERVED)}.")
        if name.lower() in names:
            raise invalid(f"The feature name {name!r} stands more than once; case does not tell names apart.")
        names.add(name.lower())
    if len(names) > _MOST_FEATURES:
        raise invalid(f"A feature group has at most {_MOST_FEATURES:,} features; got {len(names):,}.")
