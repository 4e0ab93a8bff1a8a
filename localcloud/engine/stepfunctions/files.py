"""Executions of state machines on the disk: a file for each, to which each event is added when it happens.

A file has a line for the record as it was at the start, one for each event of the history, one with what the end has
changed, and one for each status that EventBridge knows. What an execution costs does not depend on how many
there are. A history is in memory for as long as its execution runs; then it is read when somebody asks for it.

Executions are kept for 90 days after their end (Step Functions Developer Guide, "Quotas", execution history retention).
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

from localcloud import disk, packs

JsonObject = dict[str, Any]
RETENTION = timedelta(days=90)
_EVENT_LINE = b'{"event": '
logger = logging.getLogger(__name__)


class Stored(dict[str, Any]):
    """An execution that has a file. Its events, unless it holds them, are read from there each time."""

    def __init__(self, record: JsonObject, path: Path) -> None:
        super().__init__(record)
        self._path = path

    def __missing__(self, name: str) -> Any:
        if name != "events":
            raise KeyError(name)
        lines = disk.documents(self._path, loads=packs.loads, cut=False)  # its end may be about to be written
        return [line["event"] for line in lines if "event" in line]


class ExecutionFiles:
    """The folder. One that finds no room for a line has the whole file written by `save`; `waits` is called then."""

    def __init__(self, folder: Path, waits: Callable[[], None] = lambda: None) -> None:
        self._folder, self._waits = folder, waits
        self._lock = threading.RLock()
        self._known: dict[str, tuple[str, str | None]] = {}  # the status that is written, and the one that was told
        self._behind: set[str] = set()

    def load(self) -> Iterator[JsonObject]:
        """Yield every execution as it was written last, but for those that ended long ago, which are deleted."""
        self._folder.mkdir(parents=True, exist_ok=True)
        for path, (record, known_status) in self._read():
            if "executionArn" not in record or is_over(record):
                path.unlink()
                continue
            self._known[record["executionArn"]] = record["status"], known_status
            yield Stored(record, path)

    def pack(self) -> None:
        """Spare the next start what was written since the last one. For the end, when nothing more is written."""
        with self._lock:
            list(self._read())

    def _read(self) -> Iterator[tuple[Path, tuple[JsonObject, str | None]]]:
        return packs.read(self._folder, ".jsonl", _without_events, self._folder.with_suffix(".pack"))

    def stored(self, execution: JsonObject) -> Stored:
        """Return an execution that lets go of its events when they are in its file, and nothing follows them."""
        return Stored(execution, self._path(execution["executionArn"]))

    def begin(self, execution: JsonObject, known_status: str | None = None) -> None:
        """Write an execution that has no file yet."""
        arn = execution["executionArn"]
        with self._lock:
            if arn not in self._known:
                self._known[arn] = execution["status"], known_status
                self._add(execution, _whole(execution, known_status))

    def add(self, execution: JsonObject, event: JsonObject) -> None:
        """Write an event that the history has now, and what has changed with it when it is the end."""
        arn, status = execution["executionArn"], execution["status"]
        with self._lock:
            if arn not in self._known:
                self.begin(execution)
                return
            self._known[arn] = status, self._known[arn][1]
            line = (
                _event_line(event) if status == "RUNNING" else disk.line({"record": _record(execution), "event": event})
            )
            self._add(execution, line)

    def tell(self, execution: JsonObject) -> None:
        """Write that EventBridge knows the status. After the end the history is on the disk only, once it is there."""
        arn, status = execution["executionArn"], execution["status"]
        with self._lock:
            self._known[arn] = self._known[arn][0], status
            self._add(execution, disk.line({"told": status}))
            if status != "RUNNING" and isinstance(execution, Stored) and arn not in self._behind:
                execution.pop("events", None)

    def known_status(self, execution: JsonObject) -> str | None:
        """Return the last status that EventBridge knows."""
        return self._known[execution["executionArn"]][1]

    def save(self, all_executions: Callable[[], Iterable[JsonObject]]) -> None:
        """Write what waits for room or has ended without an event, and delete what there is no more.

        Raises OSError: there still is no room.
        """
        with self._lock:
            executions = {execution["executionArn"]: execution for execution in all_executions()}
            for arn in [arn for arn in self._known if arn not in executions]:
                self._path(arn).unlink(missing_ok=True)
                del self._known[arn]
                self._behind.discard(arn)
            for arn, (status, known_status) in list(self._known.items()):
                if status == "RUNNING" != executions[arn]["status"]:  # a child of a distributed map
                    self._known[arn] = executions[arn]["status"], known_status
                    self._add(executions[arn], disk.line({"record": _record(executions[arn])}))
            for arn in list(self._behind):
                disk.write_whole(self._path(arn), _whole(executions[arn], self._known[arn][1]))
                self._behind.discard(arn)

    def _add(self, execution: JsonObject, content: bytes) -> None:
        arn = execution["executionArn"]
        if arn in self._behind:
            return
        try:
            disk.append(self._path(arn), content)
        except OSError:
            logger.exception("execution %s is not saved; it goes on", arn)
            self._behind.add(arn)
            self._waits()

    def _path(self, arn: str) -> Path:
        return disk.lines_of(self._folder, arn)


def _without_events(path: Path) -> tuple[JsonObject, str | None]:
    """Return the record of an execution, and the last status that EventBridge knows."""
    record: JsonObject = {}
    known_status = None
    for line in disk.documents(path, but=_EVENT_LINE):
        record.update(line.get("record", {}))
        known_status = line.get("told", known_status)
    return record, known_status


def is_over(execution: JsonObject) -> bool:
    """Return whether an execution ended so long ago that Step Functions forgets it."""
    stopped = execution.get("stopDate")
    if not stopped:
        return False
    return datetime.fromisoformat(stopped.replace("Z", "+00:00")) < datetime.now(UTC) - RETENTION


def _record(execution: JsonObject) -> JsonObject:
    return {name: value for name, value in execution.items() if name != "events"}


def _event_line(event: JsonObject) -> bytes:
    """Return the line of an event, by orjson in a fourth of the time. Half of a surrogate pair it does not take."""
    with suppress(orjson.JSONEncodeError):
        return _EVENT_LINE + orjson.dumps(event) + b"}\n"
    return disk.line({"event": event})


def _whole(execution: JsonObject, known_status: str | None) -> bytes:
    lines = [{"record": _record(execution), "told": known_status}, *({"event": event} for event in execution["events"])]
    return b"".join(map(disk.line, lines))
