"""Which texts of records may be written down: those that many have. One that few have may name somebody.

Of numbers a document has those of a column by themselves, in their order and without the records that they stood in.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

FEWEST = 10  # records, or rows of the baseline, that have to have a text before it is told
Counts = Mapping[str, int]


def counts(texts: Mapping[str, Any]) -> dict[str, int]:
    """Return the counts of `string_statistics` of statistics.json by text."""
    return {bucket["value"]: bucket["count"] for bucket in texts["distribution"]["categorical"]["buckets"]}


def common(*sides: Counts) -> set[str]:
    """Return the texts that are common on one side at least."""
    return {value for side in sides for value, count in side.items() if count >= FEWEST}


def without_rare(
    statistics: Mapping[str, Any],
    constraints: Mapping[str, Any],
    before: Mapping[str, Any],
    allowed: Mapping[str, Collection[str]],
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return statistics.json and constraints.json of a window without rare texts; every other number stays.

    before   statistics.json of the baseline, or nothing
    allowed  the texts that model.yaml lists, by column: they are nobody's
    """
    known = {
        name: common(own, _texts(before).get(name, {})) | set(allowed.get(name, ()))
        for name, own in _texts(statistics).items()
    }
    return (
        {**statistics, "features": [_described(one, known) for one in statistics["features"]]},
        {**constraints, "features": [_constrained(one, known) for one in constraints["features"]]},
    )


def _texts(statistics: Mapping[str, Any]) -> dict[str, Counts]:
    features = statistics.get("features", ())
    return {one["name"]: counts(one["string_statistics"]) for one in features if "string_statistics" in one}


def _described(feature: Mapping[str, Any], known: Mapping[str, set[str]]) -> dict[str, Any]:
    if feature["name"] not in known:
        return dict(feature)
    texts = feature["string_statistics"]
    buckets = [one for one in texts["distribution"]["categorical"]["buckets"] if one["value"] in known[feature["name"]]]
    return {**feature, "string_statistics": {**texts, "distribution": {"categorical": {"buckets": buckets}}}}


def _constrained(feature: Mapping[str, Any], known: Mapping[str, set[str]]) -> dict[str, Any]:
    if "string_constraints" not in feature or feature["name"] not in known:
        return dict(feature)
    domains = [value for value in feature["string_constraints"]["domains"] if value in known[feature["name"]]]
    return {**feature, "string_constraints": {"domains": domains}}
