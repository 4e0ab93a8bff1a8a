"""What differs between two runs, and whether a run can be the same again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from perennial.model.definition import Definition
from perennial.words import number

# Of a record: what decides a run, what it worked on, and what it measured.
COMPARED = ("configuration", "code", "images", "data", "rows", "metrics", "gate", "status")
LEFT_OUT = {"data.listed_at", "data.manifest", "data.files", "data.ignored", "metrics.comparison", "code.uri"}
MAX_SHOWN = 60


@dataclass(frozen=True)
class Difference:
    """A value that is another one in each of two records; None where one has none."""

    path: str
    first: Any
    second: Any

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[Difference]:
    """Return what differs between the records of two runs, in the order of what decides first."""
    pair = [{name: record.get(name) for name in COMPARED} for record in (one, other)]
    first, second = (dict(_leaves("", document)) for document in pair)
    paths = dict.fromkeys([*first, *second])
    changed = [
        Difference(path, first.get(path), second.get(path)) for path in paths if first.get(path) != second.get(path)
    ]
    return [*changed, *_files(one, other)]


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if path in LEFT_OUT:
        return
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(f"{path}.{key}" if path else str(key), item)
    else:
        yield path, value


def _files(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[Difference]:
    versions = [
        {file["Key"]: file["VersionId"] for file in (record.get("data") or {}).get("files", [])}
        for record in (one, other)
    ]
    for key in sorted({*versions[0], *versions[1]}):
        if versions[0].get(key) != versions[1].get(key):
            yield Difference(f"data.files {key}", versions[0].get(key), versions[1].get(key))


def readable(value: Any) -> str:
    """Return a value of a record as people read it."""
    if value is None:
        return "-"
    text = number(value, 9) if isinstance(value, float) else str(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."


def not_the_same(record: Mapping[str, Any], definition: Definition, code_uri: str) -> list[str]:
    """Return why the stack would not run the same again as a record says; nothing where it would."""
    lines = []
    hash_now = code_uri.rpartition("/")[2]
    if record["code"]["hash"] != hash_now:
        lines.append(
            f"the code is another by now: {record['code']['hash']} then (commit {record['code']['commit']}), "
            f"{hash_now} now"
        )
    overrides = set(record["configuration"].get("sources") or {})
    then = dict(_leaves("", record["configuration"]["definition"]))
    now = dict(_leaves("", definition.as_json()))
    changed = [
        path
        for path in {**then, **now}
        if then.get(path) != now.get(path) and not any(path.startswith(one) for one in overrides)
    ]
    if changed:
        lines.append(f"model.yaml is another by now: {', '.join(changed[:5])}{', ...' if len(changed) > 5 else ''}")
    return lines
