"""What has become of data and definition since the model in service was trained.

Its rows are known to be rows of this table. Where they cannot be read any more, mostly because the definition reads
files otherwise now, a candidate of the rest would be tested on few rows that both models know, or on none: they are
reported, and more than `quality.max_invalid_share` of them stop the run (data.report). Files that people have removed
are reported only.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

# What of a definition changes neither the data nor the model nor the decision.
PASSED_OVER = ("description", "instances", "overridable", "deployable_overrides", "serving")
# Where people choose the keys: one that is new there is a change; elsewhere it is one that older code did not have.
OPEN = re.compile(r"columns\.|columns\.\w+\.parse\.units\.|hyperparameters\.(\S+\.)?")
# What of a definition says which rows can be used.
READS = ("columns", "target", "other_columns", "files", "feature_store", "quality", "split")


@dataclass(frozen=True)
class ChampionFiles:
    """The training files of the model in service, among the data of a later run.

    rows        that it was trained, validated and tested on
    there       the rows of those that the run will read under the same keys, by their positions
    replaced    which of those positions hold other bytes now: the files were overwritten
    unreadable  {"name", "rows", "reason"} of those that are not read: put aside by an earlier run, or empty now
    gone        {"files", "rows"} of those that are not among the run's data
    older       of those that are there, and older than the files that train (training.window)
    """

    rows: int = 0
    there: Mapping[int, int] = field(default_factory=dict)
    replaced: Sequence[int] = ()
    unreadable: Sequence[Mapping[str, Any]] = ()
    gone: Mapping[str, int] = field(default_factory=lambda: {"files": 0, "rows": 0})
    older: Mapping[str, int] = field(default_factory=lambda: {"files": 0, "rows": 0})

    @classmethod
    def among(
        cls,
        rows_by_key: Mapping[str, int],
        keys: Sequence[str],
        new: Container[int],
        ignored: Mapping[str, str],
        older: Container[str] = (),
    ) -> ChampionFiles:
        """Look for the training files of a model among a later run's data.

        keys     of the run's files, in their order
        new      positions of those whose content the model was not trained on
        ignored  why other objects are not used, by key
        older    which of these are only too old
        """
        there = {position: rows_by_key[key] for position, key in enumerate(keys) if key in rows_by_key}
        now = set(keys)
        absent = {key: rows for key, rows in rows_by_key.items() if key not in now}
        left_out = [rows for key, rows in absent.items() if key in older]
        absent = {key: rows for key, rows in absent.items() if key not in older}
        unreadable = [{"name": key, "rows": absent[key], "reason": ignored[key]} for key in absent if key in ignored]
        rows_of_absent = [rows for key, rows in absent.items() if key not in ignored]
        replaced = [position for position in there if position in new]
        return cls(sum(rows_by_key.values()), there, replaced, unreadable, _counted(rows_of_absent), _counted(left_out))

    @classmethod
    def from_json(cls, document: Mapping[str, Any] | None) -> ChampionFiles | None:
        """Read what `as_json` wrote."""
        if not document:
            return None
        there = {int(position): rows for position, rows in document["there"].items()}
        return cls(**{**document, "there": there})

    def as_json(self) -> dict[str, Any]:
        """Return the files as champion.json has them."""
        return asdict(self)

    def as_report(self, aside: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return the section `since` of a report; `aside` are the files that the run has put aside."""
        now = [
            {"name": item["name"], "rows": self.there[item["position"]], "reason": item["reason"]}
            for item in aside
            if item["position"] in self.there
        ]
        positions = {item["position"] for item in aside}
        replaced = _counted([self.there[position] for position in self.replaced if position not in positions])
        unreadable = [*now, *self.unreadable]
        counted = {"gone": dict(self.gone), "older": dict(self.older), "replaced": replaced}
        return {"rows": self.rows, **counted, "unreadable": unreadable}


def _counted(rows: Sequence[int]) -> dict[str, int]:
    """Return the number of files, of which the rows of each are given, and the sum of the rows."""
    return {"files": len(rows), "rows": sum(rows)}


def rows_by_key(manifest: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, int]:
    """Return how many rows of each file a run has used; files that it has put aside are none of them."""
    aside = {item["position"] for item in report.get("aside", [])}
    keys = [file["Key"] for position, file in enumerate(manifest.get("Files", [])) if position not in aside]
    rows = [file["rows"] - file["quarantined"] for file in report.get("files", [])]
    return dict(zip(keys, rows, strict=True)) if len(keys) == len(rows) else {}


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the keys (dotted) in which two definitions differ, but for those that change neither data nor decision."""
    return [path for path in _changed(before, after) if path.partition(".")[0] not in PASSED_OVER]


def set_by(sources: Mapping[str, str], paths: Iterable[str]) -> dict[str, str]:
    """Return who has set each of some paths, where that was not model.yaml; `sources` name what is at or above one."""
    return {
        path: who for path in paths for above, who in sources.items() if path == above or path.startswith(f"{above}.")
    }


def _changed(before: Mapping[str, Any], after: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name in [*after, *(name for name in before if name not in after)]:
        path, one, other = f"{above}{name}", before.get(name), after.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from _changed(one, other, f"{path}.")
        elif one != other and (OPEN.fullmatch(above) or (name in before and name in after)):
            yield path
