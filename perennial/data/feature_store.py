"""Rows of feature groups: what SageMaker's offline store holds, each as of a time.

The offline store has every version of every record (Developer Guide, "Amazon SageMaker Feature Store offline store data
format"). A row is a record of the first group that the definition names, as its latest event up to `as_of` says. The
other groups are joined to it by their record identifiers: a row gets what they said at its own event time, never what
they said later. Of events of one time the one that was written last counts. A record whose latest event deletes it is
no row, and gives a row no values.

All versions of a record's times are in memory, and so are the columns of the rows: 100 bytes a version and more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from perennial.data.header import FileError, reason
from perennial.model.feature_groups import group_of

DELETED, WRITTEN = "is_deleted", "write_time"
_LATEST = np.iinfo(np.int64).max
_TIME = pa.timestamp("ms", tz="UTC")
Integers = npt.NDArray[np.int64]
NamedFile = tuple[str, Path | None]


def _places(keys: Sequence[str], groups: Collection[str]) -> dict[str, list[tuple[list[int], bool]]]:
    """Return the files, by their places, of each group: those of each that was made, and whether they count.

    They do not where the group was deleted, and made again under the same name.
    """
    made: dict[str, dict[str, dict[int, list[int]]]] = {name: {} for name in groups}
    for place, key in enumerate(keys):
        if group := group_of(key, groups):
            name, called, created = group
            made[name].setdefault(called, {}).setdefault(created, []).append(place)
    return {
        name: [(places, when == max(one)) for one in called.values() for when, places in one.items()]
        for name, called in made.items()
    }


@dataclass(frozen=True)
class _Versions:
    """All versions of a group's records: their columns, and by version (n,) identifier, times and file."""

    table: pa.Table
    identifiers: pa.Array
    events: Integers
    written: Integers
    deleted: npt.NDArray[np.bool_]
    files: Integers


def rows(
    files: Sequence[tuple[str, Path]],
    keys: Sequence[str],
    section: Mapping[str, Any],
    wanted: Collection[str],
    folder: Path,
) -> list[NamedFile]:
    """Return the files with the rows that their records are, written below `folder`, in the same places.

    A file is None where none of its records is a row: they are superseded, deleted, joined to others, or of a group
    that was deleted and has been made again. One that is of no group stays as it is.

    keys     of the files, which say their groups
    section  `feature_store` of the definition
    wanted   the names that the definition's columns may have in files: others are left out

    Raises FileError: a file of a group lacks what tells its records, or cannot be read.
    """
    made_of = _places(keys, section["groups"])
    of_group = {
        name: sorted(place for places, counts in of if counts for place in places) for name, of in made_of.items()
    }
    (spine, first), *others = section["groups"].items()
    joins = {other["record"] for _, other in others}
    versions = _read(first, files, of_group[spine], {*wanted, *joins})
    made: list[NamedFile] = list(files)
    for place in (place for of in made_of.values() for places, _ in of for place in places):
        made[place] = (files[place][0], None)
    if versions is None:
        return made
    distinct, codes = _coded(versions.identifiers)
    until = _milliseconds(section["as_of"]) if section.get("as_of") else _LATEST
    each = np.arange(len(distinct))
    chosen = np.sort(_known_at(versions, codes, each, np.full(len(distinct), until)))
    chosen = chosen[chosen >= 0]
    table, events = versions.table.take(chosen), versions.events[chosen]
    for name, other in others:
        joined = _read(other, files, of_group[name], wanted)
        table = _join(table, events, other, joined, wanted)
    table = table.select([name for name in table.column_names if name in wanted])
    for place in np.unique(versions.files[chosen]).tolist():
        path = folder / files[place][1].name
        pq.write_table(table.filter(pa.array(versions.files[chosen] == place)), path)
        made[place] = (files[place][0], path)
    return made


def _join(
    table: pa.Table, events: Integers, group: Mapping[str, str], joined: _Versions | None, wanted: Collection[str]
) -> pa.Table:
    """Return rows with what a group said of them at their events; a column that they have stays theirs."""
    if joined is None or group["record"] not in table.column_names:
        return table
    distinct, codes = _coded(joined.identifiers)
    records = pc.fill_null(pc.index_in(_texts(table[group["record"]]), distinct), -1)
    known = _known_at(joined, codes, np.asarray(records, np.int64), events)
    places = pa.array(known, mask=known < 0)
    for name in joined.table.column_names:
        if name in wanted and name not in table.column_names and name not in group.values():
            table = table.append_column(name, joined.table[name].take(places))
    return table


def _known_at(versions: _Versions, codes: Integers, records: Integers, times: Integers) -> Integers:
    """Return which version of each record that is asked about was the latest one at a time; -1: none, or a deletion."""
    n, m = len(codes), len(records)
    code, time = np.concatenate([codes, records]), np.concatenate([versions.events, times])
    is_question = np.repeat([False, True], [n, m])
    written = np.concatenate([versions.written, np.zeros(m, np.int64)])
    order = np.lexsort((written, is_question, time, code))
    is_version = ~is_question[order]
    last = np.maximum.accumulate(np.where(is_version, np.arange(n + m), -1))
    questions = np.flatnonzero(~is_version)
    versions_before = last[questions]
    version_at = order[np.maximum(versions_before, 0)]
    is_known = (versions_before >= 0) & (code[version_at] == code[order[questions]])
    known = np.full(m, -1, np.int64)
    known[order[questions] - n] = np.where(is_known, version_at, -1)
    is_deleted = np.zeros(m, np.bool_)
    is_deleted[known >= 0] = versions.deleted[known[known >= 0]]
    known[is_deleted] = -1
    return known


def _coded(identifiers: pa.Array) -> tuple[pa.Array, Integers]:
    encoded = identifiers.dictionary_encode()
    return encoded.dictionary, np.asarray(encoded.indices, np.int64)


# ---- Reading


def _read(
    group: Mapping[str, str], files: Sequence[tuple[str, Path]], places: Sequence[int], wanted: Collection[str]
) -> _Versions | None:
    """Return the versions in a group's files; None where there is none."""
    needed, tables, of_file = {*group.values(), *wanted, DELETED, WRITTEN}, [], []
    for place in places:
        table = _table(*files[place], needed)
        for what, column in (("record identifier", group["record"]), ("event time", group["event_time"])):
            if column not in table.column_names:
                raise FileError(f"{files[place][0]}: has no column {column!r}, the {what} of its feature group")
        tables.append(table)
        of_file.append(np.full(table.num_rows, place, np.int64))
    if not sum(table.num_rows for table in tables):
        return None
    files_of, name = np.concatenate(of_file), files[places[0]][0]
    try:
        whole = pa.concat_tables(tables, promote_options="permissive").combine_chunks()
    except pa.ArrowException as error:
        raise FileError(f"{name}: other files of its feature group have other types ({reason(error)})") from error
    try:
        events = _times(whole[group["event_time"]])
        written = _times(whole[WRITTEN]) if WRITTEN in whole.column_names else np.zeros(len(files_of), np.int64)
    except pa.ArrowException as error:
        raise FileError(
            f"{name}: {group['event_time']} holds no event times ({reason(error)}); expected Unix seconds or ISO 8601 "
            "in UTC, as SageMaker Feature Store takes them"
        ) from error
    deleted = (
        np.asarray(pc.fill_null(whole[DELETED], False)).astype(np.bool_)
        if DELETED in whole.column_names
        else np.zeros(len(files_of), np.bool_)
    )
    return _Versions(whole, _texts(whole[group["record"]]), events, written, deleted, files_of)


def _table(name: str, path: Path, needed: Collection[str]) -> pa.Table:
    try:
        with pq.ParquetFile(path) as file:
            return file.read([column for column in file.schema_arrow.names if column in needed])
    except (pa.ArrowException, OSError) as error:
        raise FileError(f"{name}: the Parquet data are damaged or cut off ({reason(error)})") from error


def _texts(values: pa.ChunkedArray) -> pa.Array:
    return pc.cast(values.combine_chunks(), pa.string())


def _times(values: pa.ChunkedArray) -> Integers:
    """Return times as epoch milliseconds."""
    array = values.combine_chunks()
    if pa.types.is_floating(array.type) or pa.types.is_integer(array.type):
        array = pc.cast(pc.round(pc.multiply(pc.cast(array, pa.float64()), 1000.0)), pa.int64())
    elif pa.types.is_string(array.type) or pa.types.is_timestamp(array.type):
        array = pc.cast(pc.cast(array, _TIME, safe=False), pa.int64())
    return np.asarray(pc.fill_null(array, -1), np.int64)


def _milliseconds(text: str) -> int:
    return round(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)
