"""What a record may say: features by name, each of its type, and when its event was."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from localcloud.sagemaker.errors import AwsError
from localcloud.sagemaker.platform.store import Document

_ISO = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")
_INTEGRAL = re.compile(r"[+-]?[0-9]{1,19}")
_FRACTIONAL = re.compile(r"[0-9A-Za-z.+-]+")  # of what Python reads as a number also 1_000, " 1 " and other digits
_LATEST = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


def refused(message: str) -> AwsError:
    """Return the runtime's own error of a wrong request; AWS does not document the texts."""
    return AwsError("ValidationError", f"Validation Error: {message}")


def record(group: Document, values: Sequence[Document]) -> dict[str, str]:
    """Return a record's features as texts. Raises AwsError: it is none of the group's."""
    types = {one["FeatureName"]: one["FeatureType"] for one in group["FeatureDefinitions"]}
    features: dict[str, str] = {}
    for value in values:
        name = value["FeatureName"]
        if name not in types:
            raise refused(f"the feature group {group['FeatureGroupName']} has no feature {name!r}.")
        if name in features:
            raise refused(f"the feature {name!r} stands in the record more than once.")
        if "ValueAsStringList" in value:
            raise refused(f"the feature {name!r} is no collection; expected ValueAsString.")
        if "ValueAsString" in value:
            typed(name, types[name], value["ValueAsString"])
            features[name] = value["ValueAsString"]
    for needed in (group["RecordIdentifierFeatureName"], group["EventTimeFeatureName"]):
        if not features.get(needed):
            raise refused(f"the record has no value of {needed!r}.")
    return features


def typed(name: str, kind: str, text: str) -> Any:
    """Return a feature's value. Raises AwsError: the text is none of its type."""
    try:
        if kind == "Integral" and _INTEGRAL.fullmatch(text) and -(2**63) <= int(text) < 2**63:
            return int(text)
        if kind == "Fractional" and _FRACTIONAL.fullmatch(text):
            return float(text)
        if kind == "String":
            return text.encode().decode()  # JSON can name half a character, which no file can hold
    except ValueError:
        pass
    raise refused(f"the value {text[:100]!r} of the feature {name!r} is not {kind}.")


def event_time(group: Document, text: str) -> float:
    """Return an event's time as epoch seconds. Raises AwsError: it is no such time.

    API Reference, CreateFeatureGroup, EventTimeFeatureName: Unix seconds, or ISO 8601 in UTC with or without
    milliseconds.
    """
    name, kinds = group["EventTimeFeatureName"], types_of(group)
    if kinds[name] == "Fractional":
        seconds = float(typed(name, "Fractional", text))
        if not 0 <= seconds < _LATEST:
            raise refused(f"the event time {text[:100]!r} is no Unix timestamp in seconds.")
        return seconds
    try:
        if _ISO.fullmatch(text):
            return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()
    except ValueError:
        pass
    raise refused(
        f"the event time {text[:100]!r} is no ISO 8601 time; expected yyyy-MM-dd'T'HH:mm:ssZ or "
        "yyyy-MM-dd'T'HH:mm:ss.SSSZ."
    )


def types_of(group: Mapping[str, Any]) -> dict[str, str]:
    """Return the type of each feature of a group."""
    return {one["FeatureName"]: one["FeatureType"] for one in group["FeatureDefinitions"]}
