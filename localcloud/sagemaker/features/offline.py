"""The offline store: all records that were ever put, as Parquet files in S3, by the hour of their events.

Developer Guide, "Amazon SageMaker Feature Store offline store data format": `<S3Uri>/<account>/sagemaker/<region>/
offline-store/<name>-<creation time>/data/year=/month=/day=/hour=/<time of the latest event>_<16 characters>.parquet`,
with the columns write_time, api_invocation_time and is_deleted besides the features. AWS writes within 15 minutes; here
it takes SECONDS, and up to MOST_SECONDS where records go on coming, so that they are no file a second. Until they are
in S3, records are in a file.

The role of the group needs what AWS gives it in AmazonSageMakerFeatureStoreAccess ("AWS managed policies for Amazon
SageMaker Feature Store"): s3:PutObject and, as files name an ACL, s3:PutObjectAcl; not looked at is s3:GetBucketAcl.
Files of a group without a key have AWS's own for S3 (API Reference, CreateFeatureGroup: "by default we encrypt all data
at rest using Amazon Web Services KMS key"), which a bucket's policy may refuse.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from localcloud.sagemaker.api.context import Context, now
from localcloud.sagemaker.errors import AwsError, one_line
from localcloud.sagemaker.features import values
from localcloud.sagemaker.features.groups import GROUP, FeatureGroups
from localcloud.sagemaker.features.journal import Journal
from localcloud.sagemaker.platform.store import Document

SECONDS, MOST_SECONDS = 1.0, 60.0
AGAIN_SECONDS = 10.0  # after a failure
ACL, DEFAULT_KEY = "bucket-owner-full-control", "alias/aws/s3"
WAITING, TAKEN = "offline.jsonl", "offline-taken.jsonl"  # TAKEN while it is being written
logger = logging.getLogger(__name__)


class OfflineStore:
    """Takes in records, and writes what has come of each group a little later. `start` writes what was left."""

    def __init__(self, context: Context, groups: FeatureGroups) -> None:
        self._context, self._groups = context, groups
        self._lock, self._writing = threading.RLock(), threading.RLock()
        self._timers: dict[str, threading.Timer] = {}
        self._pauses: dict[str, float] = {}
        self._ends: dict[str, float] = {}  # when a group was written last
        self._is_stopped = False

    def add(self, group: Document, entry: Document) -> None:
        with self._lock:
            self._journal(group, WAITING).add(entry)
            self._soon(group["FeatureGroupName"])

    def start(self) -> None:
        for group in self._context.store.view(GROUP):
            if any((self._folder(group) / name).exists() for name in (WAITING, TAKEN)):
                with self._lock:
                    self._soon(group["FeatureGroupName"])

    def stop(self) -> None:
        """Write nothing more, once what is being written is; what waits is in its file."""
        with self._lock:
            self._is_stopped = True
            for timer in self._timers.values():
                timer.cancel()
        with self._writing:
            pass

    def close(self, group: Document) -> None:
        """Write what waits of a group that is deleted. What cannot be written is lost with it, and the log says so."""
        with self._lock:
            if timer := self._timers.pop(group["FeatureGroupName"], None):
                timer.cancel()
        try:
            self._write(group)
        except Exception:
            logger.exception("records of %s were not written offline", group["FeatureGroupArn"])
        for name in (WAITING, TAKEN):
            self._journal(group, name).delete()

    def _soon(self, name: str, seconds: float | None = None) -> None:
        if name not in self._timers and not self._is_stopped:
            if seconds is None:
                quiet = time.monotonic() - self._ends.get(name, -math.inf)
                seconds = self._pauses[name] = next_pause(self._pauses.get(name, 0.0), quiet)
            timer = self._timers[name] = threading.Timer(seconds, self._flush, (name,))
            timer.daemon = True
            timer.start()

    def _flush(self, name: str) -> None:
        with self._lock:
            self._timers.pop(name, None)
        if (group := self._context.store.get(GROUP, name)) is None:
            return
        try:
            self._write(group)
        except Exception as error:
            logger.warning("records of %s are not written offline: %s", group["FeatureGroupArn"], one_line(str(error)))
            self._groups.mark(name, {"Status": "Blocked", "BlockedReason": one_line(str(error), 1_000)})
            with self._lock:
                self._soon(name, AGAIN_SECONDS)
        else:
            self._groups.mark(name, {"Status": "Active"})

    def _write(self, group: Document) -> None:
        """Write what waits, a file for each hour; records that come meanwhile wait for the next time."""
        with self._writing:
            with self._lock:
                waiting, taken = (self._folder(group) / name for name in (WAITING, TAKEN))
                if waiting.exists() and not taken.exists():
                    waiting.rename(taken)
            hours: dict[datetime, list[Document]] = {}
            for entry in self._journal(group, TAKEN).read():
                if problem := _problem(group, entry):
                    logger.warning("a record of %s is left out: %s", group["FeatureGroupArn"], problem)
                    continue
                moment = datetime.fromtimestamp(entry["Event"], UTC)
                hours.setdefault(moment.replace(minute=0, second=0, microsecond=0), []).append(entry)
            written = now()
            for hour, entries in hours.items():
                self._upload(group, hour, entries, written)
            self._journal(group, TAKEN).delete()
            self._ends[group["FeatureGroupName"]] = time.monotonic()
        if waiting.exists():
            with self._lock:
                self._soon(group["FeatureGroupName"])

    def _upload(self, group: Document, hour: datetime, entries: Sequence[Document], written: float) -> None:
        """Write a file. The same records have the same name: what is written once more, after a failure, is one."""
        storage = group["OfflineStoreConfig"]["S3StorageConfig"]
        latest = datetime.fromtimestamp(max(one["Event"] for one in entries), UTC)
        ending = hashlib.sha256(json.dumps(entries).encode()).hexdigest()[:16]
        name = f"{latest:%Y%m%dT%H%M%SZ}_{ending}.parquet"
        place = f"year={hour:%Y}/month={hour:%m}/day={hour:%d}/hour={hour:%H}/{name}"
        with tempfile.TemporaryDirectory(prefix="offline-store-") as folder:
            path = Path(folder) / name
            write_parquet(group, entries, written, path)
            aws = self._context.aws.for_role(group["RoleArn"])
            key = storage.get("KmsKeyId") or DEFAULT_KEY
            aws.upload(path, f"{storage['ResolvedOutputS3Uri']}/{place}", key, acl=ACL)

    def _folder(self, group: Document) -> Path:
        return self._context.root / "features" / f"{group['FeatureGroupName'].lower()}-{int(group['CreationTime'])}"

    def _journal(self, group: Document, name: str) -> Journal:
        return Journal(self._folder(group) / name)


def _problem(group: Document, entry: Document) -> str:
    """Return why a record cannot be written, which an earlier version may have taken; empty if it can."""
    types = values.types_of(group)
    try:
        for name, text in entry["Features"].items():
            values.typed(name, types[name], text)
    except AwsError as error:
        return error.message
    return ""


def next_pause(pause: float, quiet: float) -> float:
    """Return how long to wait before writing, given how long it was before, and how long no records have come since."""
    return min(2 * pause, MOST_SECONDS) if quiet < 2 * pause else SECONDS


def write_parquet(group: Document, entries: Sequence[Document], written: float, path: Path) -> None:
    """Write records into a file: the features in the group's order, then what the store adds."""
    import pyarrow as pa  # a fifth of a second, and only here
    import pyarrow.parquet as pq

    kinds = {"Integral": pa.int64(), "Fractional": pa.float64(), "String": pa.string()}
    time = pa.timestamp("ms", tz="UTC")
    columns: dict[str, Any] = {}
    for name, kind in values.types_of(group).items():
        texts = (entry["Features"].get(name) for entry in entries)
        read = [None if text is None else values.typed(name, kind, text) for text in texts]
        columns[name] = pa.array(read, kinds[kind])
    columns["write_time"] = pa.array([int(written * 1000)] * len(entries), time)
    columns["api_invocation_time"] = pa.array([int(entry["Invoked"] * 1000) for entry in entries], time)
    columns["is_deleted"] = pa.array([entry["Deleted"] for entry in entries], pa.bool_())
    pq.write_table(pa.table(columns), path)
