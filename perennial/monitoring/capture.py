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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from perennial.features.from_text import utc_time
from perennial.runs.endpoint import PROBE, VERIFICATION, own_question
from perennial.words import quoted

GZIP = b"\x1f\x8b"
MAX_EXAMPLES = 5
_OWN_QUESTIONS = {VERIFICATION: "verification", PROBE: "probing"}
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

    def refuse(self, what: str, example: str) -> None:
        """Count something that cannot be read."""
        self.counts[what] += 1
        self.note(example)

    def note(self, example: str) -> None:
        """Keep an example, if there is room."""
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(example)

    def as_json(self) -> dict[str, Any]:
        return {**dict(sorted(self.counts.items())), "examples": self.examples}


class UnreadableError(ValueError):
    """A captured record is none: the text says what is wrong with it, and no value of it."""


def fault(error: Exception) -> str:
    """Return what is wrong with something that cannot be read, without its values: of errors of others their names."""
    if isinstance(error, json.JSONDecodeError):
        return f"no JSON ({error.msg}, character {error.pos + 1})"
    return str(error) if isinstance(error, UnreadableError) else type(error).__name__


def events(folder: Path, endpoint: str, start: datetime, end: datetime, tally: Tally) -> Iterator[Event]:
    """Yield the requests from `start` up to `end` (UTC without a zone); `tally` counts what is left out.

    files_of_other_endpoints, empty_files, torn_files (the records before the tear count), unreadable_records,
    outside_window (by the clock of the endpoint), verification and probing (our own questions), shadow (of a variant
    that does not answer).
    """
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder).as_posix()
        if name.partition("/")[0] != endpoint:
            tally.refuse("files_of_other_endpoints", f"{name}: not below {endpoint}/")
            continue
        has_lines = False
        for number, line in enumerate(lines(path, name, tally), 1):
            has_lines = True
            try:
                document = json.loads(line)
                if _is_shadow(document):
                    tally.counts["shadow"] += 1
                    continue
                event = _event(document, name, number)
            except (ValueError, RecursionError) as error:
                tally.refuse("unreadable_records", f"{name}, line {number}: {fault(error)}")
                continue
            if not start <= event.time < end:
                tally.counts["outside_window"] += 1
            elif own := own_question(event.id):
                tally.counts[_OWN_QUESTIONS[own]] += 1
            else:
                tally.counts["requests"] += 1
                yield event
        if not has_lines:
            tally.counts["empty_files"] += 1


def lines(path: Path, name: str, tally: Tally) -> Iterator[bytes]:
    """Yield the lines of a file that are not blank, unpacked where it is gzip; those before the tear of a torn one."""
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
        file.seek(0)
        unpacked: Iterable[bytes] = gzip.GzipFile(fileobj=file) if packed else file
        try:
            yield from (line for line in unpacked if line.strip())
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            tally.refuse("torn_files", f"{name}: {quoted(error, 200)}")


def _is_shadow(document: Any) -> bool:
    metadata = document.get("eventMetadata") if isinstance(document, dict) else None
    return isinstance(metadata, dict) and metadata.get("invocationSource") == "ShadowExperiment"


def _event(document: Any, file: str, line: int) -> Event:
    """Return what a captured record says. Raises UnreadableError."""
    try:
        metadata, captured = document["eventMetadata"], document["captureData"]
        key = metadata.get("inferenceId") or metadata["eventId"]
        time = _time(metadata["inferenceTime"])
        if time is None or not isinstance(key, str):
            raise UnreadableError("inferenceTime is no time, or eventId no text")
        answer = captured.get("endpointOutput")
        request, reply = payload(captured["endpointInput"]), None if answer is None else payload(answer)
        return Event(key, time, request, reply, metadata.get("inferenceId") or "", file, line)
    except KeyError as error:
        raise UnreadableError(f"no captured record: it has no {error.args[0]}") from error
    except (TypeError, AttributeError) as error:
        raise UnreadableError(f"no captured record: {type(error).__name__}") from error


_TYPES = {"CSV": "text/csv", "JSON": "application/json"}


def payload(document: dict[str, Any]) -> Payload:
    """Return a request or an answer as text. Raises UnreadableError, KeyError or TypeError."""
    data, encoding = document["data"], document["encoding"]
    media_type = document.get("observedContentType") or _TYPES.get(encoding, "")
    if encoding == "BASE64":
        try:
            data = base64.b64decode(data, validate=True).decode("utf-8")
        except ValueError as error:
            raise UnreadableError(f"data of {quoted(media_type)} are not UTF-8 in base64") from error
    if not isinstance(data, str):
        raise UnreadableError(f"data are {type(data).__name__}; expected a text")
    return Payload(data, media_type.partition(";")[0].strip().lower())
