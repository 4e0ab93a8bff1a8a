"""What a start reads of a group's log events: where the lines of each stream are. Somebody may ask for them later.

An index beside the file has this of the file's first bytes, so that a start looks at what was added since. It only
saves work: where there is none, or one that is not of this file, all of the file is read once.
"""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from localcloud import disk, packs

JsonObject = dict[str, Any]
_VERSION = 1
logger = logging.getLogger(__name__)


class StoredStream(dict[str, Any]):
    """A stream as MiniStack has it. Its events are read when they are needed."""

    def __init__(self, entry: JsonObject, path: Path) -> None:
        super().__init__(
            uploadSequenceToken="1",
            creationTime=entry["created"],
            firstEventTimestamp=entry["first"],
            lastEventTimestamp=entry["last"],
            lastIngestionTime=entry["ingested"],
        )
        self._parts, self._path = entry["parts"], path
        self._stored = entry["bytes"]

    def __missing__(self, name: str) -> Any:
        if name != "events":
            raise KeyError(name)
        events = [event for line in self._lines() for event in line["events"]]
        return self.setdefault("events", sorted(events, key=lambda event: event["timestamp"]))

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name == "events" else super().get(name, default)

    def _lines(self) -> Iterator[JsonObject]:
        with self._path.open("rb") as file:
            for start, end in self._parts:
                file.seek(start)
                yield from map(packs.loads, file.read(end - start).splitlines())

    @property
    def stored_characters(self) -> int | None:
        """How long the messages are; None when the events are read, and there may be more."""
        return None if "events" in self else self._stored


def characters(stream: JsonObject) -> int:
    """Return how long the messages of a stream are, without reading them."""
    stored = stream.stored_characters if isinstance(stream, StoredStream) else None
    return sum(len(event["message"]) for event in stream["events"]) if stored is None else stored


def is_empty(stream: JsonObject) -> bool:
    """Return whether a stream has no events, without reading them."""
    return not (isinstance(stream, StoredStream) and stream.stored_characters is not None) and not stream["events"]


def first_timestamp(stream: JsonObject) -> int:
    """Return the time of a stream's oldest event (milliseconds since 1970), without reading it."""
    if isinstance(stream, StoredStream) and stream.stored_characters is not None:
        return int(stream["firstEventTimestamp"])
    return int(stream["events"][0]["timestamp"])


def streams(path: Path, *, write_after: int) -> dict[str, StoredStream]:
    """Return the streams of a file; its index is written when it lacks so many bytes of it."""
    return {name: StoredStream(entry, path) for name, entry in up_to_date(path, write_after=write_after).items()}


def up_to_date(path: Path, *, write_after: int) -> dict[str, JsonObject]:
    """Return what the index has by stream, with what was added to the file since it was written."""
    index = _read(path)
    entries: dict[str, JsonObject] = index["streams"]
    size = start = index["size"]
    for line in disk.whole_lines(path, start):
        end = start + len(line) + 1
        try:
            document = packs.loads(line)
        except ValueError:
            logger.warning("%s has a line that cannot be read; it is left out", path)
        else:
            _add(entries, document, start, end)
        start = end
    if start - size >= write_after:
        content = {"version": _VERSION, "size": start, "streams": entries}
        with suppress(OSError):  # there is no room: it only saves work
            disk.write_whole(place(path), json.dumps(content).encode())
    return entries


def place(path: Path) -> Path:
    """Return where the index of a file is."""
    return path.with_suffix(".index")


def _read(path: Path) -> JsonObject:
    """Return the index of a file; an empty one if there is none, or if it is not of this file."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        index: JsonObject = packs.loads(place(path).read_bytes())
        if index["version"] == _VERSION and _ends_a_line(path, index["size"]):
            return index
    return {"size": 0, "streams": {}}


def _ends_a_line(path: Path, size: int) -> bool:
    with path.open("rb") as file:
        file.seek(size - 1)
        return file.read(1) == b"\n"


def _add(entries: dict[str, JsonObject], line: JsonObject, start: int, end: int) -> None:
    new = {"created": line["created"], "first": None, "last": None, "ingested": None, "bytes": 0, "parts": []}
    entry = entries.setdefault(line["stream"], new)
    parts = entry["parts"]
    if parts and parts[-1][1] == start:
        parts[-1][1] = end
    else:
        parts.append([start, end])
    for event in line["events"]:
        entry["first"] = _of(min, entry["first"], event["timestamp"])
        entry["last"] = _of(max, entry["last"], event["timestamp"])
        entry["ingested"] = _of(max, entry["ingested"], event["ingestionTime"])
        entry["bytes"] += len(event["message"])


def _of(choose: Callable[[int, int], int], known: int | None, value: int) -> int:
    return value if known is None else choose(known, value)
