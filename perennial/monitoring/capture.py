"""Captured requests of an endpoint, in every form that data capture writes.

Files are below `<endpoint>/<variant>/yyyy/mm/dd/hh/`, a JSON object a line, also compressed by gzip. Source: SageMaker
Developer Guide, "Capture data from real-time endpoint"; docs/monitoring.md says what counts as what.
"""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from perennial.features.grammar import utc_time
from perennial.runs.endpoint import EXPLANATION, PROBE, VERIFICATION, own_question
from perennial.words import printable, quoted

GZIP = b"\x1f\x8b"
MAX_EXAMPLES = 5
MAX_NAME = 400  # characters of a file's name
# Bytes: two payloads of 25 MB in base64 (SageMaker AI endpoints and quotas, real-time inference).
LONGEST_LINE = 1 << 26
MOST_UNPACKED, MOST_RATIO = 1 << 26, 100  # bytes, and so many times the size of a gzip file beside
_OWN_QUESTIONS = {VERIFICATION: "verification", PROBE: "probing", EXPLANATION: "explaining"}
_LEFT_OUT = {
    "outside_window": "records outside of the window by the endpoint's clock",
    "files_of_other_endpoints": "files of other endpoints",
    "empty_files": "empty files",
    "torn_files": "torn files",
    "unreadable_records": "records that cannot be read",
    "unreadable_requests": "requests that cannot be read",
    "shadow": "records of shadow variants",
    "verification": "questions after a deployment",
    "probing": "questions of the monitor",
    "explaining": "questions that explain an answer",
}
_time = lru_cache(maxsize=4096)(utc_time)


@dataclass(frozen=True)
class Payload:
    """A request or an answer: its text, and its media type without parameters."""

    text: str
    media_type: str


@dataclass(frozen=True)
class Event:
    """One captured request. `id` is what its label is found by: the caller's inference id, else the event's own.

    `inference_id` is empty where the caller sent none; `file` and `line` say where it stands.
    """

    id: str
    time: datetime
    request: Payload
    answer: Payload | None
    inference_id: str = ""
    file: str = ""
    line: int = 0

    @property
    def where(self) -> str:
        return f"{self.file}, line {self.line}"


@dataclass
class Tally:
    """What was counted, by what it was, with some examples of what could not be read.

    An example says where it stands and what is wrong, never what was read there: nobody erases it from a verdict.
    """

    counts: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    first: dict[str, str] = field(default_factory=dict)
    outside: tuple[datetime, datetime] | None = None

    def refuse(self, what: str, example: str) -> None:
        """Count something that cannot be read."""
        self.counts[what] += 1
        self.first.setdefault(what, example)
        self.note(example)

    def note(self, example: str) -> None:
        """Keep an example, if there is room."""
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(example)

    def leave_out(self, time: datetime) -> None:
        """Count a record of a time outside of the window; keep the first and the last such time."""
        self.counts["outside_window"] += 1
        first, last = self.outside or (time, time)
        self.outside = min(first, time), max(last, time)

    @property
    def left_out(self) -> str:
        """What was captured and is no record of the window, for people; empty where all is."""
        return "; ".join(f"{words}: {self._counted(what)}" for what, words in _LEFT_OUT.items() if self.counts[what])

    def _counted(self, what: str) -> str:
        if what == "outside_window" and self.outside:
            first, last = (f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in self.outside)
            return f"{self.counts[what]:,} ({first} to {last})"
        example = f" (the first {self.first[what]})" if what in self.first else ""
        return f"{self.counts[what]:,}{example}"

    def as_json(self) -> dict[str, Any]:
        return {**dict(sorted(self.counts.items())), "examples": self.examples}


class UnreadableError(ValueError):
    """A captured record is none: the text says what is wrong with it, and no value of it."""


def fault(error: Exception) -> str:
    """Return what is wrong with something that cannot be read, without its values: of errors of others their names."""
    if isinstance(error, json.JSONDecodeError):
        return f"no JSON ({error.msg}, character {error.pos + 1})"
    return str(error) if isinstance(error, UnreadableError) else type(error).__name__


Payloads = tuple[Payload, Payload | None]
Read = Callable[[Mapping[str, Any]], Payloads]


def payloads(captured: Mapping[str, Any]) -> Payloads:
    """Return the request of `captureData` and its answer. Raises UnreadableError, KeyError or TypeError."""
    answer = captured.get("endpointOutput")
    return payload(captured["endpointInput"]), None if answer is None else payload(answer)


def events(
    folder: Path, endpoint: str, start: datetime, end: datetime, tally: Tally, read: Read = payloads
) -> Iterator[Event]:
    """Yield the requests from `start` up to `end` (UTC without a zone); `tally` counts what is left out.

    `read` is asked only for those that are not left out anyway.

    files_of_other_endpoints, empty_files, torn_files (the records before the tear count), unreadable_records,
    outside_window (by the clock of the endpoint), verification, probing and explaining (our own questions), shadow (of
    a variant that does not answer).
    """
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = printable(path.relative_to(folder).as_posix(), MAX_NAME)
        if name.partition("/")[0] != endpoint:
            tally.refuse("files_of_other_endpoints", f"{name}: not below {endpoint}/")
            continue
        has_lines = False
        for number, line in enumerate(lines(path, name, tally), 1):
            has_lines = True
            try:
                event = _event(json.loads(line), (start, end), read, name, number)
            except (ValueError, RecursionError) as error:
                tally.refuse("unreadable_records", f"{name}, line {number}: {fault(error)}")
                continue
            if isinstance(event, Event):
                tally.counts["requests"] += 1
                yield event
            elif isinstance(event, datetime):
                tally.leave_out(event)
            else:
                tally.counts[event] += 1
        if not has_lines:
            tally.refuse("empty_files", f"{name}: no record")


def lines(path: Path, name: str, tally: Tally) -> Iterator[bytes]:
    """Yield the lines of a file that are not blank, unpacked where it is gzip; those before the tear of a torn one.

    One that is longer than LONGEST_LINE is cut there: what it held is not read, and its line tells so.
    """
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
        file.seek(0)
        unpacked: BinaryIO = gzip.GzipFile(fileobj=file) if packed else file  # type: ignore[assignment]
        most = MOST_UNPACKED + MOST_RATIO * path.stat().st_size if packed else None
        try:
            yield from (line for line in _bounded(unpacked, most) if line.strip())
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            tally.refuse("torn_files", f"{name}: {quoted(error, 200)}")


def _bounded(file: BinaryIO, most: int | None) -> Iterator[bytes]:
    """Yield lines of at most LONGEST_LINE bytes. Raises BadGzipFile: they have more than `most` bytes together."""
    size, starts = 0, True
    while line := file.readline(LONGEST_LINE):
        size += len(line)
        if most and size > most:
            raise gzip.BadGzipFile(f"it unpacks to more than {MOST_RATIO} times its size, which no records do")
        if starts:
            yield line
        starts = line.endswith(b"\n")


def _is_shadow(document: Any) -> bool:
    metadata = document.get("eventMetadata") if isinstance(document, dict) else None
    return isinstance(metadata, dict) and metadata.get("invocationSource") == "ShadowExperiment"


def _event(
    document: Any, period: tuple[datetime, datetime], read: Read, file: str, line: int
) -> Event | datetime | str:
    """Return what a captured record says. Raises UnreadableError.

    Of one that is left out: what it is counted as, or its time, which is outside of the period.
    """
    if _is_shadow(document):
        return "shadow"
    try:
        metadata, captured = document["eventMetadata"], document["captureData"]
        key = metadata.get("inferenceId") or metadata["eventId"]
        time = _time(metadata["inferenceTime"])
        if time is None or not isinstance(key, str):
            raise UnreadableError("inferenceTime is no time, or eventId no text")
        if not period[0] <= time < period[1]:
            return time
        if own := own_question(key):
            return _OWN_QUESTIONS[own]
        return Event(key, time, *read(captured), metadata.get("inferenceId") or "", file, line)
    except KeyError as error:
        raise UnreadableError(f"no captured record: it has no {error.args[0]}") from error
    except (TypeError, AttributeError) as error:
        raise UnreadableError(f"no captured record: {type(error).__name__}") from error


_TYPES = {"CSV": "text/csv", "JSON": "application/json"}


def payload(document: Mapping[str, Any]) -> Payload:
    """Return a request or an answer as text. Raises UnreadableError, KeyError or TypeError."""
    data, content_type = content(document)
    try:
        return Payload(data.decode("utf-8"), content_type.partition(";")[0].strip().lower())
    except ValueError as error:
        raise UnreadableError(f"data of {quoted(content_type)} are not UTF-8") from error


def content(document: Mapping[str, Any]) -> tuple[bytes, str]:
    """Return the bytes of a request or an answer, and their content type. Raises as `payload` does."""
    data, encoding = document["data"], document["encoding"]
    content_type = document.get("observedContentType") or _TYPES.get(encoding, "")
    if not isinstance(data, str):
        raise UnreadableError(f"data are {type(data).__name__}; expected a text")
    try:
        return base64.b64decode(data, validate=True) if encoding == "BASE64" else data.encode(), content_type
    except ValueError as error:
        raise UnreadableError(f"data of {quoted(content_type)} are not in base64, or no text") from error
