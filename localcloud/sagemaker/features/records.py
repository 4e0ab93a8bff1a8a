"""Records of feature groups: put, read and deleted, as sagemaker-featurestore-runtime has it.

API Reference, PutRecord and DeleteRecord: online is what the latest event says of a record; a record of an earlier
event is written offline alone. What AWS does not document, and is so here: the texts of refusals, and that an event of
the same time is none that is later.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from localcloud.sagemaker.api import requests
from localcloud.sagemaker.api.context import Context, now
from localcloud.sagemaker.errors import AwsError, unsupported
from localcloud.sagemaker.features import values
from localcloud.sagemaker.features.groups import FeatureGroups
from localcloud.sagemaker.features.journal import Journal
from localcloud.sagemaker.features.offline import OfflineStore
from localcloud.sagemaker.platform.store import Document

SERVICE = "sagemaker-featurestore-runtime"
ONLINE, OFFLINE = "OnlineStore", "OfflineStore"
FEW_LINES = 1_000


class Records:
    """PutRecord, BatchWriteRecord, GetRecord, BatchGetRecord and DeleteRecord.

    Of a record the time of its latest event and its features are kept in memory, and in a file that grows by a line
    with each change, until most of its lines are of no use; None are the features of a deleted one.
    """

    def __init__(self, context: Context, groups: FeatureGroups, offline: OfflineStore) -> None:
        self._root, self._groups, self._offline = context.root / "features", groups, offline
        self._lock = threading.RLock()
        self._online: dict[str, dict[str, Document]] = {}
        self._lines: dict[str, int] = {}  # of their files
        self._operations = {
            "PutRecord": self.put,
            "BatchWriteRecord": self.put_several,
            "GetRecord": self.get,
            "BatchGetRecord": self.get_several,
            "DeleteRecord": self.delete,
        }

    def handle(self, operation: str, request: Document) -> Document:
        """Answer one operation. Raises AwsError."""
        answer = self._operations.get(operation)
        if answer is None:
            known = ", ".join(self._operations)
            raise unsupported(f"The operation {operation} of {SERVICE}", f"It supports: {known}.")
        try:
            return answer(requests.check(operation, request, SERVICE))
        except AwsError as error:
            if error.code == "ValidationException":  # the runtime calls it so
                raise AwsError("ValidationError", error.message, error.status) from error
            raise

    def put(self, request: Document) -> Document:
        group, invoked = self._groups.find(request["FeatureGroupName"]), now()
        stores = _stores(group, request)
        if "TtlDuration" in request:
            raise unsupported("TtlDuration")
        features = values.record(group, request["Record"])
        identifier = features[group["RecordIdentifierFeatureName"]]
        moment = values.event_time(group, features[group["EventTimeFeatureName"]])
        if ONLINE in stores:
            with self._lock:
                known = self._of(group).get(identifier)
                if known is None or moment > known["Event"]:
                    self._change(group, {"Id": identifier, "Event": moment, "Features": features})
        if OFFLINE in stores:
            self._offline.add(group, {"Features": features, "Event": moment, "Invoked": invoked, "Deleted": False})
        return {}

    def put_several(self, request: Document) -> Document:
        """Answer BatchWriteRecord: what is wrong with one record keeps no other one out."""
        requests.only(request, ("Entries",))
        errors = []
        for entry in request["Entries"]:
            try:
                self.put(entry)
            except AwsError as error:
                errors.append({"Entry": entry, "ErrorCode": error.code, "ErrorMessage": error.message})
        return {"Errors": errors, "UnprocessedEntries": []}

    def delete(self, request: Document) -> Document:
        group, invoked = self._groups.find(request["FeatureGroupName"]), now()
        stores, identifier = _stores(group, request), request["RecordIdentifierValueAsString"]
        moment = values.event_time(group, request["EventTime"])
        name, at = group["RecordIdentifierFeatureName"], group["EventTimeFeatureName"]
        values.typed(name, values.types_of(group)[name], identifier)
        is_hard = request.get("DeletionMode") == "HardDelete"
        if ONLINE in stores:
            with self._lock:
                known = self._of(group).get(identifier)
                is_later = known is None or moment > known["Event"]
                if is_hard and not is_later:
                    raise values.refused("EventTime is not later than that of the record that is there.")
                if is_later:
                    self._change(group, {"Id": identifier, "Event": moment, "Features": None, "Gone": is_hard})
        if OFFLINE in stores:
            marker = {name: identifier, at: request["EventTime"]}
            self._offline.add(group, {"Features": marker, "Event": moment, "Invoked": invoked, "Deleted": True})
        return {}

    def get(self, request: Document) -> Document:
        group = self._with_online(request["FeatureGroupName"])
        record = self._record(group, request["RecordIdentifierValueAsString"], request.get("FeatureNames"))
        return {"Record": record} if record else {}

    def get_several(self, request: Document) -> Document:
        """Answer BatchGetRecord: a group that cannot be read has an error for each of its records."""
        records, errors = [], []
        for wanted in request["Identifiers"]:
            name, names = wanted["FeatureGroupName"], wanted.get("FeatureNames")
            for identifier in wanted["RecordIdentifiersValueAsString"]:
                which = {"FeatureGroupName": name, "RecordIdentifierValueAsString": identifier}
                try:
                    record = self._record(self._with_online(name), identifier, names)
                except AwsError as error:
                    errors.append({**which, "ErrorCode": error.code, "ErrorMessage": error.message})
                    continue
                if record:
                    records.append({**which, "Record": record})
        return {"Records": records, "Errors": errors, "UnprocessedIdentifiers": []}

    def forget(self, group: Document) -> None:
        """Delete what is online of a group that is deleted; what waits for the offline store is written first."""
        self._offline.close(group)
        with self._lock:
            self._online.pop(_folder(self._root, group).name, None)
            self._journal(group).delete()

    def _with_online(self, name: str) -> Document:
        group = self._groups.find(name)
        if not group.get("OnlineStoreConfig", {}).get("EnableOnlineStore"):
            raise values.refused(f"the feature group {group['FeatureGroupName']} has no online store.")
        return group

    def _record(self, group: Document, identifier: str, names: Sequence[str] | None) -> list[Document]:
        types = values.types_of(group)
        if unknown := [name for name in names or () if name not in types]:
            raise values.refused(f"the feature group {group['FeatureGroupName']} has no feature {unknown[0]!r}.")
        with self._lock:
            features = (self._of(group).get(identifier) or {}).get("Features") or {}
        return [{"FeatureName": name, "ValueAsString": features[name]} for name in names or types if name in features]

    def _of(self, group: Document) -> dict[str, Document]:
        """Return the records of a group by their identifiers."""
        key = _folder(self._root, group).name
        if key not in self._online:
            known: dict[str, Document] = {}
            lines = 0
            for entry in self._journal(group).read():
                _apply(known, entry)
                lines += 1
            self._online[key], self._lines[key] = known, lines
        return self._online[key]

    def _change(self, group: Document, entry: Document) -> None:
        known, key = self._of(group), _folder(self._root, group).name
        self._journal(group).add(entry)
        _apply(known, entry)
        self._lines[key] += 1
        if self._lines[key] > FEW_LINES + 2 * len(known):
            self._lines[key] = len(known)
            with suppress(OSError):  # there is no room for both; what is there serves
                self._journal(group).replace(known.values())

    def _journal(self, group: Document) -> Journal:
        return Journal(_folder(self._root, group) / "online.jsonl")


def _apply(known: dict[str, Document], entry: Document) -> None:
    if entry.get("Gone"):
        known.pop(entry["Id"], None)
    else:
        known[entry["Id"]] = entry


def _folder(root: Path, group: Document) -> Path:
    return root / f"{group['FeatureGroupName'].lower()}-{int(group['CreationTime'])}"


def _stores(group: Document, request: Document) -> list[str]:
    """Return where a request writes. Raises AwsError: the group has no such store."""
    has = [ONLINE] if group.get("OnlineStoreConfig", {}).get("EnableOnlineStore") else []
    has += [OFFLINE] if group.get("OfflineStoreConfig") else []
    wanted: list[str] = request.get("TargetStores", has)
    if missing := [store for store in wanted if store not in has]:
        raise values.refused(f"the feature group {group['FeatureGroupName']} has no {missing[0]}.")
    return wanted
