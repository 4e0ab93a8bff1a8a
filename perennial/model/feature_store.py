"""`feature_store` of a model.yaml: the feature groups whose records are the rows of the files.

Names of features are those in SageMaker Feature Store: what `source` of a column says, or the column's own name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from perennial.model.complaints import Complaint, Strict, suggestion, written

MAX_GROUPS = 20
SECTION = "feature_store"
NAME = r"^[a-zA-Z0-9]([-_]*[a-zA-Z0-9]){0,63}$"
Name = Annotated[str, written(NAME, "letters and digits, with - and _ between them")]
AS_OF = written(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", "a time in UTC, such as 2026-11-29T10:00:00Z")


def _as_text(value: Any) -> Any:
    """Return a time, which YAML reads for itself, as it is written."""
    if isinstance(value, datetime) and value.tzinfo:
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return value.isoformat() if isinstance(value, date) else value


class FeatureGroup(Strict):
    """A group: the features that tell its records, and when the event of each was."""

    record: Name
    event_time: Name


class FeatureStore(Strict):
    """The groups: each record of the first is a row, and the others are joined to it as they were at its event.

    as_of   events after it do not count; None: all that are in the files do
    ingest  runs put the rows of files that are dropped into the group
    """

    groups: Annotated[dict[Name, FeatureGroup], Field(min_length=1, max_length=MAX_GROUPS)]
    as_of: Annotated[str, BeforeValidator(_as_text), AS_OF] | None = None
    ingest: bool = False


def check(store: FeatureStore | None, columns: Mapping[str, Any], key: Sequence[str] | None) -> Iterator[Complaint]:
    """Yield what a section says that the columns and the key of the split do not allow."""
    if store is None:
        return
    name, first = next(iter(store.groups.items()))
    telling = [column for column, one in columns.items() if first.record in (column, *(one.source or ()))]
    if not telling:
        path = f"{SECTION}.groups.{name}.record"
        yield path, f"{first.record!r} is not one of the columns{suggestion(first.record, columns)}"
    elif list(key or ()) != telling[:1]:
        yield "split.key", f"expected [{telling[0]}], which tells the records of the feature group {name}"
    if store.ingest and (len(store.groups) > 1 or store.as_of):
        text = "true is for one group without as_of: rows of a file that is dropped train at once, as the file has them"
        yield f"{SECTION}.ingest", text
