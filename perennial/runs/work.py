"""Deciding what a run works on, and whether there is work to do.

Events come more than once and in bursts. A drop of many files is one run: after the quiet period the newest file's
event works and the others are superseded. A run is claimed by its work key: the data, the configuration, the code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from perennial.model.feature_groups import is_own_record
from perennial.runs import no_data

NoWork = Literal["Duplicate", "Superseded", "AlreadyTrained", "NoData"]
Claim = Literal["Take", "Own", "TakeOver", "Duplicate", "AlreadyTrained"]

# Triggers by which a monitor asks for another model: nobody else sees that their execution found no work.
RETRAINING = ("Drift", "Alarm")
OLDER = "left out by training.window"  # how the reason begins for which older files are ignored
NO_VERSIONS = "null"  # what a bucket without versions has for one
RUNNING = "Running"
TRAINED_ONLY = "TrainedOnly"
NOT_APPROVED = "NotApproved"
AWAITS_APPROVAL = "AwaitsApproval"  # of a mail: the run itself is Running
# Statuses of runs that have judged their data: the same work again would end the same way.
JUDGED = ("Succeeded", "Rejected", NOT_APPROVED, TRAINED_ONLY)
# Statuses of runs that somebody has to look at; one that was stopped, somebody stopped.
FAILURES = ("Failed", "TimedOut")
# Errors of the state machine that are no failures.
JUDGEMENTS = {
    "ModelAccuracyTooLow": "Rejected",
    "SupersededByNewerData": "Superseded",
    "VersionSupersededError": "Superseded",
    "VersionRejectedError": NOT_APPROVED,
    "ApprovalTimedOut": NOT_APPROVED,
}


@dataclass(frozen=True)
class DataFile:
    """One object version. `etag` is without quotes, `size` in bytes, `last_modified` aware.

    `checksum` is what S3 keeps of the content, "CRC64NVME:<base64>"; empty when it keeps none.
    """

    key: str
    version_id: str
    etag: str
    size: int
    last_modified: datetime
    checksum: str = ""

    @classmethod
    def from_manifest(cls, entry: Mapping[str, Any]) -> DataFile:
        """Return the file that a manifest lists."""
        modified = datetime.fromisoformat(entry["LastModified"])
        known = (entry["Key"], entry["VersionId"], entry["ETag"], int(entry["Size"]))
        return cls(*known, modified, entry.get("Checksum", ""))

    @property
    def version(self) -> str:
        """What identifies this version of its key: the version id, or the ETag in a bucket without versions."""
        return self.etag if self.version_id == NO_VERSIONS else self.version_id

    @property
    def content(self) -> str:
        """What stands for the content: the checksum, or the ETag, which SSE-KMS makes new for the same bytes."""
        return self.checksum or self.etag

    def as_manifest(self) -> dict[str, Any]:
        """Return the file as the manifest lists it."""
        return {
            "Key": self.key,
            "VersionId": self.version_id,
            "ETag": self.etag,
            "Size": self.size,
            "LastModified": self.last_modified.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            **({"Checksum": self.checksum} if self.checksum else {}),
        }


@dataclass(frozen=True)
class Ignored:
    """An object version that is not used, and why."""

    key: str
    version_id: str
    reason: str
    last_modified: datetime

    def as_manifest(self) -> dict[str, str]:
        """Return the object as the manifest lists it."""
        return {"Key": self.key, "VersionId": self.version_id, "Reason": self.reason}


@dataclass(frozen=True)
class Listing:
    """The data under a prefix: what is used, in manifest order, and what is not, by key."""

    files: tuple[DataFile, ...]
    ignored: tuple[Ignored, ...]
    listed_at: datetime

    @property
    def size_bytes(self) -> int:
        """The size of all files together."""
        return sum(file.size for file in self.files)

    def as_manifest(self) -> dict[str, Any]:
        """Return the listing as `manifest.json`."""
        return {
            "Files": [file.as_manifest() for file in self.files],
            "Ignored": [item.as_manifest() for item in self.ignored],
        }


def listing(versions: Iterable[Mapping[str, Any]], prefix: str, listed_at: datetime) -> Listing:
    """Return the data below a prefix among the `Versions` of ListObjectVersions, asked at a time: the latest of a key.

    What is no data by its name (runs.no_data), and what has no bytes, is ignored and reported.
    """
    files: list[DataFile] = []
    ignored: list[Ignored] = []
    for version in versions:
        key, size, modified = str(version["Key"]), int(version["Size"]), version["LastModified"]
        if not version.get("IsLatest", True):
            continue
        reason = no_data.reason(key, prefix) or (None if size else no_data.EMPTY)
        if reason:
            ignored.append(Ignored(key, str(version["VersionId"]), reason, modified))
        else:
            etag = str(version["ETag"]).strip('"')
            files.append(DataFile(key, str(version["VersionId"]), etag, size, modified))
    return Listing(tuple(sorted(files, key=age)), tuple(sorted(ignored, key=lambda item: item.key)), listed_at)


def newest(data: Listing, count: int | None) -> Listing:
    """Return a listing with its newest files, so many of them; the others are ignored. None keeps all."""
    if count is None or len(data.files) <= count:
        return data
    older, files = data.files[:-count], data.files[-count:]
    reason = f"{OLDER}: older than the newest {count:,} files"
    left_out = tuple(Ignored(file.key, file.version_id, reason, file.last_modified) for file in older)
    ignored = tuple(sorted((*data.ignored, *left_out), key=lambda item: item.key))
    return replace(data, files=files, ignored=ignored)


def recorded(manifest: Mapping[str, Any], listed_at: datetime) -> Listing:
    """Return the data of an earlier run from its manifest, in the order in which that run had them."""
    return Listing(tuple(DataFile.from_manifest(entry) for entry in manifest["Files"]), (), listed_at)


def recorded_contents(manifest: Mapping[str, Any], aside: Container[int] = ()) -> set[tuple[str, str]]:
    """Return (key, content) of each file of an earlier run, but for those at some positions, which it has put aside."""
    files = [DataFile.from_manifest(entry) for entry in manifest.get("Files", ())]
    return {(file.key, file.content) for position, file in enumerate(files) if position not in aside}


def recorded_times(manifest: Mapping[str, Any], aside: Container[int] = ()) -> set[tuple[str, datetime]]:
    """Return (key, time of the drop) of the same files: what replaces one without some rows has its time."""
    files = [DataFile.from_manifest(entry) for entry in manifest.get("Files", ())]
    return {(file.key, file.last_modified) for position, file in enumerate(files) if position not in aside}


DROPPED_AT = "dropped-at"  # metadata of a file that replaces another one: its time, which orders files
JUDGED_WINDOW = "judged-window"  # metadata of labelled rows as the monitor puts them among the data: the window's id
CHECKSUMS = ("CRC64NVME", "SHA256", "SHA1", "CRC32C", "CRC32")  # S3 keeps one of them with an object


def checksum(head: Mapping[str, Any]) -> str:
    """Return the checksum in the answer of HeadObject (ChecksumMode), "CRC64NVME:<base64>"; empty if it has none."""
    values = ((name, head.get(f"Checksum{name}")) for name in CHECKSUMS)
    return next((f"{name}:{value}" for name, value in values if value), "")


def dropped_at(head: Mapping[str, Any], last_modified: datetime) -> datetime:
    """Return when a file was dropped, from the answer of HeadObject: what replaces a file without some rows says it.

    Nobody makes a file newer than it is; what is no time counts as not said.
    """
    try:
        stated = datetime.fromisoformat(head.get("Metadata", {})[DROPPED_AT])
    except (KeyError, ValueError):
        return last_modified
    return min(stated, last_modified) if stated.tzinfo else last_modified


def is_of_monitor(head: Mapping[str, Any]) -> bool:
    """Return whether the monitor itself put a file among the data, from the answer of HeadObject.

    What was replaced since, or copied from another stack, says when it was dropped first, and is anybody's.
    """
    metadata = head.get("Metadata", {})
    return JUDGED_WINDOW in metadata and DROPPED_AT not in metadata


@dataclass(frozen=True)
class EmptyDrop:
    """An empty file was dropped. `reported_by` says which other run reports it to people; None: its own has to."""

    others: int
    reported_by: str | None


def empty_drop(dropped: Mapping[str, Any] | None, data: Listing, now: datetime, quiet_seconds: int) -> EmptyDrop | None:
    """Return the empty file that was dropped, and who reports it; None when none was, or it has been replaced.

    Writers of many files, such as Spark, leave empty ones beside full ones: the run of those names them. Of several
    empty files that come together the newest reports all.
    """
    empty = [item for item in data.ignored if item.reason == no_data.EMPTY]
    mine = next((item for item in empty if dropped and item.key == dropped.get("key")), None)
    if mine is None:
        return None
    quiet = timedelta(seconds=quiet_seconds)
    together = [item for item in empty if abs(item.last_modified - mine.last_modified) <= quiet]
    newest = max(together, key=age)
    reported_by = None
    if any(abs(file.last_modified - mine.last_modified) <= quiet for file in data.files):
        reported_by = f"{mine.key!r} is {no_data.EMPTY} that came together with data, whose run tells of it"
    elif newest is not mine and now - newest.last_modified <= _own_run_is_sure(quiet_seconds):
        reported_by = (
            f"{mine.key!r} is {no_data.EMPTY}; so is {newest.key!r}, which came after it: its run tells of both"
        )
    return EmptyDrop(len(together) - 1, reported_by)


def _own_run_is_sure(quiet_seconds: int) -> timedelta:
    """How long after a drop its own event is waiting or working for sure; after that it may have been lost."""
    return timedelta(seconds=2 * quiet_seconds + 60)


def age(file: DataFile | Ignored) -> tuple[datetime, str]:
    """Return what orders files: those that came first come first."""
    return file.last_modified, file.key


def fingerprint(files: Iterable[DataFile]) -> str:
    """Return the SHA-256 of the data: which keys hold which contents (hex). Their times do not matter."""
    lines = sorted((file.key, file.content, file.size) for file in files)
    return _digest(lines)


def news(files: Sequence[DataFile], definition: Mapping[str, Any]) -> Sequence[DataFile]:
    """Return the files that are a reason to train: not those of the group that runs put the rows of these into."""
    section = definition.get("feature_store")
    return [file for file in files if not is_own_record(file.key, section)]


def configuration_key(configuration: Mapping[str, Any]) -> str:
    """Return the hash of a configuration, a part of the work key (hex)."""
    return _digest(configuration)


def work_key(data_fingerprint: str, configuration_key: str, code_hash: str) -> str:
    """Return the key under which work is claimed (hex): the same data, configuration and code are the same work."""
    return _digest([data_fingerprint, configuration_key, code_hash])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def drop_time(dropped: Mapping[str, Any], versions: Iterable[Mapping[str, Any]]) -> datetime | None:
    """Return the time of a drop, from the `Versions` of ListObjectVersions; None if they do not name it."""
    known = dropped.get("version-id")
    named = (version for version in versions if version["Key"] == dropped["key"])
    return next((version["LastModified"] for version in named if not known or version["VersionId"] == known), None)


def superseded(
    dropped: Mapping[str, Any] | None,
    dropped_at: datetime | None,
    files: Sequence[DataFile],
    now: datetime,
    quiet_seconds: int,
) -> str | None:
    """Return why a drop leaves the work to a newer one, or None when it has to work itself.

    dropped     the `object` of the S3 event: key, and if known version-id and etag; None for other triggers
    dropped_at  its time; None for other triggers, and when it was deleted for good

    A drop that was deleted leaves the work to newer files only: the runs of older ones may have left theirs to it.

    A newer file's own event is waiting or working for sure only while the file is young. After that its event may have
    been lost, and the drop works itself.
    """
    if dropped is None or dropped_at is None or not files:
        return None
    newest = max(files, key=age)
    if _is_version(newest, dropped) or age(newest) < (dropped_at, dropped["key"]):
        return None
    if now - newest.last_modified > _own_run_is_sure(quiet_seconds):
        return None
    return f"a newer object came after {dropped['key']!r}: {newest.key!r}; its own run takes all data under the prefix"


def _is_version(file: DataFile, dropped: Mapping[str, Any]) -> bool:
    version, etag = dropped.get("version-id"), str(dropped.get("etag") or "").strip('"')
    if file.key != dropped.get("key"):
        return False
    if version:
        return bool(file.version_id == version)
    return not etag or file.etag == etag


@dataclass(frozen=True)
class Holder:
    """The run that holds a claim, and its status as far as anyone knows: Running, Succeeded, Rejected or another."""

    run_id: str
    status: str


def claim(holder: Holder | None, run_id: str, *, by_person: bool) -> Claim:
    """Decide who works: Take a free claim, go on with one's Own, TakeOver a failed run's, or leave it.

    A person who starts a run by hand always gets it.
    """
    if holder is None:
        return "Take"
    if holder.run_id == run_id:
        return "Own"
    if by_person:
        return "TakeOver"
    if holder.status == RUNNING:
        return "Duplicate"
    return "AlreadyTrained" if holder.status in JUDGED else "TakeOver"


def already_trained(holder: Holder, trigger: str) -> str:
    """Return why work that another run has done is not done again, and what would help whoever asked for it."""
    done = f"run {holder.run_id} has trained on the same data, configuration and code ({holder.status})"
    if trigger not in RETRAINING:
        return f"{done}; start a run by hand to train again"
    return f"{done}, and retraining on the same data would change nothing; new labelled data would"


def is_mailed(decision: str, trigger: str) -> bool:
    """Return whether a mail says that an execution found no work.

    Of a Duplicate the mail of the run that works on the same says all; a drop or a clock that brings nothing new is
    nothing special.
    """
    return trigger in RETRAINING and decision in ("AlreadyTrained", "NoData")


def run_status(execution_status: str, error: str | None = None) -> str:
    """Return a run's status from its execution's: Running, Succeeded, Failed, TimedOut, Aborted, or a judgement.

    Rejected is a run that worked and whose candidate did not pass the gate; Superseded one whose candidate passed, but
    newer data were in service by then; NotApproved one whose candidate passed, and which people did not let serve.
    """
    if execution_status == "FAILED" and error in JUDGEMENTS:
        return JUDGEMENTS[error]
    names = {"RUNNING": RUNNING, "SUCCEEDED": "Succeeded", "TIMED_OUT": "TimedOut", "ABORTED": "Aborted"}
    return names.get(execution_status, "Failed")
