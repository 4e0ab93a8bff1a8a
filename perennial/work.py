"""What a run works on, and whether there is work to do: pure decisions.

Events come more than once and in bursts. A drop of many files is one run: after the quiet period the newest file's
event works and the others are superseded. A run is claimed by its work key: the data, the configuration, the code.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

Decision = Literal["Train", "Duplicate", "Superseded", "AlreadyTrained", "NoData"]
Claim = Literal["Take", "Own", "TakeOver", "Duplicate", "AlreadyTrained"]

RUNNING = "Running"
# Statuses of runs that have judged their data: the same work again would end the same way.
JUDGED = ("Succeeded", "Rejected")
# Errors of the state machine that are no failures.
JUDGEMENTS = {"ModelAccuracyTooLow": "Rejected", "SupersededByNewerData": "Superseded"}


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
        """The file that a manifest lists."""
        modified = datetime.fromisoformat(entry["LastModified"])
        known = (entry["Key"], entry["VersionId"], entry["ETag"], int(entry["Size"]))
        return cls(*known, modified, entry.get("Checksum", ""))

    @property
    def content(self) -> str:
        """What stands for the content: the checksum, or the ETag, which SSE-KMS makes new for the same bytes."""
        return self.checksum or self.etag

    def as_manifest(self) -> dict[str, Any]:
        """The file as the manifest lists it."""
        return {
            "Key": self.key,
            "VersionId": self.version_id,
            "ETag": self.etag,
            "Size": self.size,
            "LastModified": self.last_modified.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            **({"Checksum": self.checksum} if self.checksum else {}),
        }


@dataclass(frozen=True)
class Listing:
    """The data under a prefix: what is used, in manifest order, and what is not, with the reason for each key."""

    files: tuple[DataFile, ...]
    ignored: tuple[tuple[str, str], ...]
    listed_at: datetime

    @property
    def size_bytes(self) -> int:
        """The size of all files together."""
        return sum(file.size for file in self.files)

    def as_manifest(self) -> dict[str, Any]:
        """The listing as `manifest.json`."""
        return {
            "Files": [file.as_manifest() for file in self.files],
            "Ignored": [{"Key": key, "Reason": reason} for key, reason in self.ignored],
        }


def listing(versions: Iterable[Mapping[str, Any]], listed_at: datetime) -> Listing:
    """Return the data among the `Versions` of ListObjectVersions, which was asked at a time: the latest of each key.

    Folder markers and empty objects hold no rows; they are ignored and reported.
    """
    files: list[DataFile] = []
    ignored: list[tuple[str, str]] = []
    for version in versions:
        key, size = str(version["Key"]), int(version["Size"])
        if not version.get("IsLatest", True):
            continue
        if key.endswith("/"):
            ignored.append((key, MARKER))
        elif size == 0:
            ignored.append((key, EMPTY))
        else:
            etag = str(version["ETag"]).strip('"')
            files.append(DataFile(key, str(version["VersionId"]), etag, size, version["LastModified"]))
    return Listing(tuple(sorted(files, key=_age)), tuple(sorted(ignored)), listed_at)


def recorded(manifest: Mapping[str, Any], listed_at: datetime) -> Listing:
    """Return the data of an earlier run from its manifest, in the order in which that run had them."""
    return Listing(tuple(DataFile.from_manifest(entry) for entry in manifest["Files"]), (), listed_at)


def recorded_contents(manifest: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return (key, content) of each file of an earlier run."""
    files = (DataFile.from_manifest(entry) for entry in manifest.get("Files", ()))
    return {(file.key, file.content) for file in files}


CHECKSUMS = ("CRC64NVME", "SHA256", "SHA1", "CRC32C", "CRC32")  # S3 keeps one of them with an object


def checksum(head: Mapping[str, Any]) -> str:
    """Return the checksum in the answer of HeadObject (ChecksumMode), "CRC64NVME:<base64>"; empty if it has none."""
    found = ((name, head.get(f"Checksum{name}")) for name in CHECKSUMS)
    return next((f"{name}:{value}" for name, value in found if value), "")


EMPTY, MARKER = "an empty object", "a folder marker"


def holds_nothing(dropped: Mapping[str, Any] | None, data: Listing) -> str | None:
    """Return EMPTY or MARKER when that is what was dropped, and nothing has taken its place; else None."""
    return dict(data.ignored).get(str(dropped.get("key"))) if dropped else None


def _age(file: DataFile) -> tuple[datetime, str]:
    return file.last_modified, file.key


def fingerprint(files: Iterable[DataFile]) -> str:
    """Return the SHA-256 of the data: which keys hold which contents (hex). When they came does not matter."""
    lines = sorted((file.key, file.content, file.size) for file in files)
    return _digest(lines)


def work_key(data_fingerprint: str, configuration: Mapping[str, Any], code_hash: str) -> str:
    """Return what claims a run (hex): the same data, configuration and code are the same work."""
    return _digest([data_fingerprint, configuration, code_hash])


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def came_at(dropped: Mapping[str, Any], versions: Iterable[Mapping[str, Any]]) -> datetime | None:
    """Return when a drop came, from the `Versions` of ListObjectVersions; None if they do not name it."""
    known = dropped.get("version-id")
    named = (version for version in versions if version["Key"] == dropped["key"])
    return next((version["LastModified"] for version in named if not known or version["VersionId"] == known), None)


def superseded(
    dropped: Mapping[str, Any] | None,
    came: datetime | None,
    files: Sequence[DataFile],
    now: datetime,
    quiet_seconds: int,
) -> str | None:
    """Return why a drop leaves the work to a newer one, or None when it has to work itself.

    dropped  the `object` of the S3 event: key, and if known version-id and etag; None for other triggers
    came     when it came; None for other triggers, and when it was deleted for good

    A drop that was deleted leaves the work to newer files only: the runs of older ones may have left theirs to it.

    A newer file's own event is waiting or working for sure only while the file is young: twice the quiet period and
    a minute. After that its event may have been lost, and the drop works itself.
    """
    if dropped is None or came is None or not files:
        return None
    newest = max(files, key=_age)
    if _is_version(newest, dropped) or _age(newest) < (came, dropped["key"]):
        return None
    if now - newest.last_modified > timedelta(seconds=2 * quiet_seconds + 60):
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


def status_of(execution_status: str, error: str | None = None) -> str:
    """Return a run's status from its execution's: Running, Succeeded, Rejected, Superseded, Failed, TimedOut, Aborted.

    Rejected is a run that worked and whose candidate did not pass the gate; Superseded one whose candidate passed, but
    newer data were in service by then.
    """
    if execution_status == "FAILED" and error in JUDGEMENTS:
        return JUDGEMENTS[error]
    names = {"RUNNING": RUNNING, "SUCCEEDED": "Succeeded", "TIMED_OUT": "TimedOut", "ABORTED": "Aborted"}
    return names.get(execution_status, "Failed")
