"""Log events on the disk: a file for each log group, to which they are added.

What a line costs does not depend on how many there are, nor does a start, which reads no events (index.py). Events are
kept for as long as their group says (retentionInDays); a stream goes with its last one, where AWS would keep an empty
stream.
"""

import threading
import time
from pathlib import Path
from typing import Any

from localcloud import disk
from localcloud.engine.logs import index
from localcloud.engine.persistence import rebound
from localcloud.engine.seams import Seams

responses = Seams("core.responses", AccountRegionScopedDict="bf2a9ac0")
cloudwatch_logs = Seams(
    "services.cloudwatch_logs",
    _append_log_events="9e5ca828",
    _describe_log_groups="bd2cbd6e",
    _describe_log_streams="39dd2ecf",
    _log_events_lock="983543b2",
    _log_groups="efb237e9",
    _restore_state="e3968ced",
    get_state="2541e62b",
)

JsonObject = dict[str, Any]
Key = tuple[str, str, str]  # account, region, name of the group
_DAY_MILLISECONDS = 86_400_000
_INDEX_BYTES, _INDEX_BYTES_AT_START = 64 << 10, 1 << 20
"""What is added to a file before its index is written anew: at the end, and at a start after a kill."""


class LogFiles:
    """The folder. What finds no room waits for the next `save`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._new: list[tuple[JsonObject, list[JsonObject]]] = []
        self._written: dict[Key, set[str]] = {}  # the streams in the file of each group; none: write it anew

    def register(self) -> None:
        """Replace the seams. MiniStack must be importable (the environment is set)."""
        cloudwatch_logs.replace("_append_log_events", self._make_append)
        cloudwatch_logs.replace("_restore_state", self._make_restore_state)
        cloudwatch_logs.replace("get_state", _make_get_state)
        cloudwatch_logs.replace("_describe_log_groups", _make_describe_log_groups)
        cloudwatch_logs.replace("_describe_log_streams", _make_describe_log_streams)

    def _make_append(self, original: Any) -> Any:
        def append_log_events(stream: JsonObject, events: list[JsonObject]) -> None:
            with self._lock:
                original(stream, events)
                self._new.append((stream, events))

        return append_log_events

    def _make_restore_state(self, original: Any) -> Any:
        def restore_state(data: JsonObject) -> None:
            """Take the events from the files; a version before this one has saved them with their group."""
            original(data)
            for key, group in _groups().items():
                if (path := self._path(key)).exists():
                    group["streams"].update(index.streams(path, write_after=_INDEX_BYTES_AT_START))
                    self._written[key] = set(group["streams"])
            self.prune()

        return restore_state

    def save(self) -> None:
        """Write what is new. Raises OSError: there is no room for it."""
        with self._lock:
            new, self._new = self._new, []
            groups = _groups()
            for key in [key for key in self._written if key not in groups]:
                index.place(self._path(key)).unlink(missing_ok=True)
                self._path(key).unlink(missing_ok=True)
                del self._written[key]
            lines = _lines_by_group(groups, new)
            try:
                for key, group in groups.items():
                    self._save_group(key, group["streams"], lines.pop(key, {}))
            except OSError:
                for key in lines:
                    self._written.pop(key, None)
                raise

    def write_indexes(self) -> None:
        """Spare the next start what was written since the last one. For the end, when nothing more is written."""
        with self._lock:
            for key in self._written:
                index.up_to_date(self._path(key), write_after=_INDEX_BYTES)

    def _save_group(self, key: Key, streams: JsonObject, lines: dict[str, list[bytes]]) -> None:
        written = self._written.pop(key, None)
        if written is None or not written <= streams.keys():
            filled = {name: stream for name, stream in list(streams.items()) if stream["events"]}
            content = [_line(name, stream, stream["events"]) for name, stream in filled.items()]
            index.place(self._path(key)).unlink(missing_ok=True)
            disk.write_whole(self._path(key), b"".join(content))
            written = set(filled)
        elif lines:
            disk.append(self._path(key), b"".join(line for some in lines.values() for line in some))
            written |= lines.keys()
        self._written[key] = written

    def prune(self) -> None:
        """Drop the events that are older than their group keeps them."""
        with self._lock, cloudwatch_logs._log_events_lock:
            for key, group in _groups().items():
                oldest = int(time.time() * 1000) - int(group.get("retentionInDays") or 0) * _DAY_MILLISECONDS
                if group.get("retentionInDays") and _drop_before(group["streams"], oldest):
                    self._written.pop(key, None)

    def _path(self, key: Key) -> Path:
        return disk.lines_of(self._folder, *key)


def _groups() -> dict[Key, JsonObject]:
    return dict(cloudwatch_logs._log_groups.all_items())


def _make_get_state(original: Any) -> Any:
    def get_state() -> JsonObject:
        """Return what MiniStack saves of the logs, without the events: streams that are empty only.

        Nor with the records by which GetLogRecord finds an event of a query: each event is one of them, with its text.
        """
        groups = responses.AccountRegionScopedDict()
        for key, group in _groups().items():
            empty = {name: stream for name, stream in list(group["streams"].items()) if index.is_empty(stream)}
            groups.set_scoped(*key, {**group, "streams": empty})
        state: JsonObject = rebound(original, _log_groups=groups, _log_records={})()
        return state

    return get_state


class _Counted(dict[str, Any]):
    """A group for who counts its messages: MiniStack adds up their lengths."""

    def __getitem__(self, name: str) -> Any:
        if name != "streams":
            return super().__getitem__(name)
        total = sum(map(index.characters, list(super().__getitem__(name).values())))
        return {"": {"events": [{"message": range(total)}]}}


class _Unread(dict[str, Any]):
    """Streams without their events."""

    def __getitem__(self, name: str) -> Any:
        return {**super().__getitem__(name), "events": ()}


def _make_describe_log_groups(original: Any) -> Any:
    def describe_log_groups(data: JsonObject) -> Any:
        """Return a page of groups without reading their events."""
        groups = {name: _Counted(group) for name, group in cloudwatch_logs._log_groups.items()}
        return rebound(original, _log_groups=groups)(data)

    return describe_log_groups


def _make_describe_log_streams(original: Any) -> Any:
    def describe_log_streams(data: JsonObject) -> Any:
        """Return a page of streams without reading their events.

        API Reference, LogStream, storedBytes: "this parameter is no longer supported for log streams, and is always
        reported as zero".
        """
        name = data.get("logGroupName")
        group = cloudwatch_logs._log_groups.get(name)
        groups = {} if group is None else {name: {**group, "streams": _Unread(group["streams"])}}
        return rebound(original, _log_groups=groups)(data)

    return describe_log_streams


def _drop_before(streams: JsonObject, oldest: int) -> bool:
    """Drop the events before a time (milliseconds since 1970); return whether there were any."""
    dropped = False
    for name, stream in list(streams.items()):
        if not index.is_empty(stream) and index.first_timestamp(stream) < oldest:
            stream["events"] = [event for event in stream["events"] if event["timestamp"] >= oldest]
            dropped = True
            if not stream["events"]:
                del streams[name]
    return dropped


def _lines_by_group(
    groups: dict[Key, JsonObject], new: list[tuple[JsonObject, list[JsonObject]]]
) -> dict[Key, dict[str, list[bytes]]]:
    """Return the lines to add, by group and stream; those of a stream that was deleted are dropped."""
    lines: dict[Key, dict[str, list[bytes]]] = {}
    wanted = {id(stream) for stream, _ in new}
    places = {
        id(stream): (key, name)
        for key, group in groups.items()
        for name, stream in list(group["streams"].items())
        if id(stream) in wanted
    }
    for stream, events in new:
        if place := places.get(id(stream)):
            key, name = place
            lines.setdefault(key, {}).setdefault(name, []).append(_line(name, stream, events))
    return lines


def _line(name: str, stream: JsonObject, events: list[JsonObject]) -> bytes:
    return disk.line({"stream": name, "created": stream["creationTime"], "events": events})
