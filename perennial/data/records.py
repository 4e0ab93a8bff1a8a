"""Rows of a file as records of a feature group: texts by the names of features, as PutRecord takes them.

Rows that break the contract are none. A feature is called like its column, or as `source` of the column says. Values
are in the column's unit, with its marks and words (`parse`), so that the same column reads the record alike.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from perennial.data.contract import Contract, check, parsed
from perennial.data.csv_files import Batch
from perennial.data.files import read
from perennial.data.header import FileError
from perennial.features.column import Column
from perennial.features.values import to_text
from perennial.model.feature_groups import TIME, TYPES


@dataclass(frozen=True)
class RecordGroup:
    """What tells the records of a group, when the event of each was, and all its features; None: it is to be made."""

    record: str
    event_time: str
    features: Collection[str] | None = None


def definitions(contract: Contract, group: RecordGroup) -> list[dict[str, str]]:
    """Return the features of a group that is to be made: a column each, and the time of the event."""
    types = {
        _feature(column, group): TYPES.get(column.type, "String") if column.parsing.decimal == "." else "String"
        for column in contract.columns
    }
    types |= {group.record: "String", group.event_time: "String"}
    return [{"FeatureName": name, "FeatureType": kind} for name, kind in types.items()]


def records(
    path: Path, name: str, contract: Contract, group: RecordGroup, dropped_at: datetime
) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Yield the record of each row of a file that keeps the contract, with the number of the row.

    dropped_at  when the event was of rows that say no time

    Raises FileError: the file cannot be read, or has a column that is no feature of the group.
    """
    event = _event_column(contract, group)
    columns = contract.columns if event in contract.columns else (*contract.columns, event)
    for batch in read(path, columns, name, contract.form):
        checked = check(contract, batch.table)
        keep = np.ones(batch.table.num_rows, bool)
        keep[checked.invalid_rows()] = False
        features = {_feature(column, group): column for column in contract.columns if column.name not in batch.absent}
        if group.features is not None and (unknown := sorted(features.keys() - {*group.features})):
            raise FileError(
                f"{name}: the feature group has no feature {unknown[0]!r}; it has {', '.join(group.features)}. "
                "UpdateFeatureGroup adds features"
            )
        values = {feature: texts(column, batch.table.column(column.name)) for feature, column in features.items()}
        values[group.event_time] = pc.fill_null(_times(name, batch, event, keep), dropped_at.strftime(TIME))
        rows = np.flatnonzero(keep)
        table = pa.table(values).take(pa.array(rows))
        for number, row in zip(batch.row_numbers(rows).tolist(), table.to_pylist(), strict=True):
            yield number, {feature: text for feature, text in row.items() if text}


def texts(column: Column, values: pa.Array) -> pa.Array:
    """Return the values of a column as a record has them; what is missing is null."""
    if column.type == "timestamp":
        return written(values) if pa.types.is_timestamp(values.type) else _aswritten(values)
    read_as, words = parsed(column, values).values, column.parsing
    if column.type == "boolean":
        return pc.if_else(read_as, (*words.true, "1")[0], (*words.false, "0")[0])
    text = pc.cast(to_text(read_as), pa.string())
    return pc.replace_substring(text, ".", words.decimal) if column.type == "float" else text


def _aswritten(values: pa.Array) -> pa.Array:
    return values.field("text") if pa.types.is_struct(values.type) else pc.cast(values, pa.string())


def _feature(column: Column, group: RecordGroup) -> str:
    """Return what the feature of a column is called: as the group has it, or tells its records by it."""
    names = (column.name, *column.sources)
    known = {group.record, group.event_time, *(group.features or ())}
    return next((name for name in names if name in known), column.name)


def _event_column(contract: Contract, group: RecordGroup) -> Column:
    named = (one for one in contract.columns if group.event_time in (one.name, *one.sources))
    return next(named, Column(group.event_time, "timestamp", nullable=True, optional=True))


def _times(name: str, batch: Batch, event: Column, keep: np.ndarray) -> pa.Array:
    if event.name in batch.absent:
        return pa.nulls(batch.table.num_rows, pa.string())
    column = event if event.type == "timestamp" else Column(event.name, "timestamp", nullable=True)
    read_as = parsed(column, batch.table.column(event.name))
    if read_as.invalid is not None:
        wrong = np.flatnonzero(pc.fill_null(read_as.invalid, False).to_numpy(zero_copy_only=False) & keep)
        if len(wrong):
            (number, *_) = batch.row_numbers(wrong).tolist()
            raise FileError(f"{name}, row {number}: {event.name} is no time of an event; expected ISO 8601 in UTC")
    return written(read_as.values)


def written(times: pa.Array) -> pa.Array:
    """Return times as the feature store takes those of events, in UTC."""
    return pc.strftime(pc.cast(times, pa.timestamp("ms", "UTC"), safe=False), TIME)
