"""What judged windows keep of somebody's rows, below `monitoring/<window id>/`: for the command erase. Pure functions.

The manifests of a window name the captures and labels that its job has read; those of its own time were judged.
probe.json names the run whose test rows the endpoint was asked about. Where somebody's rows were among them, what was
MADE of its records goes whole, and `verdict.json` stays without examples and without the value. New windows name no
value that fewer than ten records have (monitoring.texts); older ones may, and are found by it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from perennial.features.grammar import utc_time
from perennial.words import quoted
from perennial_cli.without_rows import UnreadableError, Wanted

PROBE = "probe.json"
MADE = ("report.html", "data-quality/", "model-quality/", "bias/", "attribution/", PROBE)
VERDICT = "verdict.json"
MANIFEST = ".manifest"
ERASED = "(erased)"
_KEY = re.compile(r"monitoring/([^/]+)/(.+)")


def parts(key: str) -> tuple[str, str]:
    """Return the window of an object and the object's name in its folder; nothing of an object of no window."""
    match = _KEY.fullmatch(key)
    return (match[1], match[2]) if match else ("", "")


def is_table(inside: str) -> bool:
    """Return whether an object of a window holds labelled rows, which are searched as those of any file."""
    return inside.startswith("labelled/") and not inside.endswith(".json")


def listed(manifest: bytes) -> set[str]:
    """Return the keys that a manifest lists (API Reference, S3DataSource)."""
    first, *names = json.loads(manifest)
    folder = first["prefix"].removeprefix("s3://").partition("/")[2]
    return {folder + name for name in names}


def span(verdict: bytes) -> tuple[datetime, datetime] | None:
    """Return from when to when a window is, in UTC; None where its verdict does not say it."""
    window = _read(verdict).get("window") or {}
    start, end = (utc_time(str(window.get(name))) for name in ("start", "end"))
    return (start, end) if start and end else None


def holds(period: tuple[datetime, datetime] | None, times: Iterable[datetime | None]) -> bool:
    """Return whether one of these times may lie in a window: one that is not known may, and so may any of no window."""
    return any(period is None or time is None or period[0] <= time < period[1] for time in times)


def probed(probe: bytes) -> str:
    """Return the run from whose test set the rows are that the endpoint was asked about; nothing without such rows."""
    return str(_read(probe).get("about", {}).get("run", ""))


def tells(inside: str) -> bool:
    """Return whether an object of a window may tell a value, and can be searched for it."""
    return inside == VERDICT or (inside.startswith(MADE) and inside.endswith(".json"))


def names_it(body: bytes, wanted: Wanted) -> bool:
    """Return whether a document tells the value: in a sentence, or as one of the column's texts."""
    document, quoted_value = _read(body), quoted(wanted.value)
    return any(quoted_value in text for text in _strings(document)) or any(
        wanted.has(text) for text in _of(document, wanted)
    )


def _read(body: bytes) -> dict[str, Any]:
    """Return a document of a window. Raises UnreadableError."""
    try:
        return dict(json.loads(body))
    except (ValueError, TypeError) as error:
        raise UnreadableError("it is no JSON object, as the monitor writes them") from error


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _strings(one)


def _of(document: dict[str, Any], wanted: Wanted) -> Iterator[str]:
    """Yield the texts that statistics.json or constraints.json has of the column."""
    for feature in document.get("features", ()):
        if wanted.among([feature["name"]]):
            counted = feature.get("string_statistics", {}).get("distribution", {}).get("categorical", {})
            yield from (bucket["value"] for bucket in counted.get("buckets", ()))
            yield from feature.get("string_constraints", {}).get("domains", ())


def without(verdict: bytes, wanted: Wanted) -> bytes:
    """Return verdict.json without its examples and without the value; the same bytes where nothing is to be done."""
    document = _read(verdict)
    cleaned = _cleaned(document, quoted(wanted.value))
    return verdict if cleaned == document else json.dumps(cleaned, indent=2).encode()


def _cleaned(value: Any, quoted_value: str) -> Any:
    if isinstance(value, dict):
        return {name: [] if name == "examples" else _cleaned(one, quoted_value) for name, one in value.items()}
    if isinstance(value, list):
        return [_cleaned(one, quoted_value) for one in value]
    return value.replace(quoted_value, ERASED) if isinstance(value, str) else value
