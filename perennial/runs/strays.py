"""Files that cannot be read as the model's table: put aside by the run that meets them, left alone by later ones.

Nothing is moved or deleted. The run table knows the newest of them, as many as fit into an item; one that it has
forgotten is met again. A file is tried again when it is replaced, and when what reads it has changed: the definition or
the code.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from perennial.runs.run_record import Aside
from perennial.runs.work import NO_VERSIONS, Ignored, Listing

MAX_BYTES = 300_000  # an item of DynamoDB holds 400 KB
MAX_REASON = 200  # of what is remembered
MOST_CHARACTERS = 950  # of what the record and the mail say
PUT_ASIDE = "put aside by run"
# What of a definition says which files can be read, and what becomes of those that cannot.
READS = ("columns", "target", "other_columns", "files", "quality")


def reader(definition: Mapping[str, Any], code_hash: str) -> str:
    """Return a hash of all that decides whether a file can be read (hex)."""
    read = {name: definition.get(name) for name in READS}
    return hashlib.sha256(json.dumps([code_hash, read], sort_keys=True).encode()).hexdigest()[:16]


def mark(key: str, version: str, reader: str) -> str:
    """Return a hash of an object version (`DataFile.version`) and of the reader that cannot read it (hex)."""
    text = f"{reader}\n{version}\n{key}"
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:24]


def _mark(stray: Mapping[str, str], reader: str) -> str:
    version = stray["ETag"] if stray["VersionId"] == NO_VERSIONS else stray["VersionId"]
    return mark(stray["Key"], version, reader)


def without(data: Listing, known: Iterable[Mapping[str, str]], reader: str) -> Listing:
    """Return the listing with the known strays among what is ignored, each with its reason."""
    marks = {stray["mark"]: stray for stray in known}
    if not marks:
        return data
    marked = [(file, marks.get(mark(file.key, file.version, reader))) for file in data.files]
    strays = tuple(
        Ignored(file.key, file.version_id, f"{PUT_ASIDE} {stray['run_id']}: {stray['reason']}", file.last_modified)
        for file, stray in marked
        if stray
    )
    ignored = tuple(sorted((*data.ignored, *strays), key=lambda item: item.key))
    return dataclasses.replace(data, files=tuple(file for file, stray in marked if not stray), ignored=ignored)


def put_aside(report: Mapping[str, Any] | None, files: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return {"Key", "VersionId", "ETag", "Reason"} of what a run put aside, from its report and manifest's files."""
    aside = [item for item in (report or {}).get("aside", []) if item["position"] < len(files)]
    return [
        {**{name: files[item["position"]][name] for name in ("Key", "VersionId", "ETag")}, "Reason": _whole(item)}
        for item in aside
    ]


def _whole(item: Mapping[str, Any]) -> str:
    """Return the reason of a file with its other problems: those that fit, and how many do not."""
    reason, problems = item["reason"], item.get("problems", [])
    for number, text in enumerate(problems):
        if len(reason) + len(text) > MOST_CHARACTERS:
            return f"{reason}; and {len(problems) - number:,} more in report/report.json (aside)"
        reason = f"{reason}; {text}"
    return str(reason)


def remembered(
    known: Sequence[Mapping[str, str]], strays: Iterable[Mapping[str, str]], reader: str, run_id: str
) -> list[dict[str, str]]:
    """Return the known strays with those of a run, oldest first: the newest that fit."""
    marks = {stray["mark"] for stray in known}
    fresh = [
        {"mark": name, "run_id": run_id, "reason": stray["Reason"][:MAX_REASON]}
        for stray in strays
        if (name := _mark(stray, reader)) not in marks
    ]
    newest, room = [], MAX_BYTES
    for stray in reversed([*map(dict, known), *fresh]):
        room -= len(json.dumps(stray, ensure_ascii=False).encode(errors="surrogatepass"))
        if room < 0:
            break
        newest.append(stray)
    return newest[::-1]


def with_first_run(stray: Mapping[str, str], since: Mapping[str, str], reader: str, run_id: str) -> Aside:
    """Return a stray of a run, with KnownSince when another run has put it aside before; `since` is by mark."""
    first = since.get(_mark(stray, reader), run_id)
    return cast(Aside, {**stray, **({"KnownSince": first} if first != run_id else {})})


def removal(bucket: str, key: str) -> str:
    """Return the command that takes an object away; its versions stay."""
    return f"aws s3 rm {shlex.quote(f's3://{bucket}/{key}')}"
