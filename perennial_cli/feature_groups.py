"""Feature groups of a stack's model: made where the stack takes its data, and fed with the rows of files.

Offline, their records lie below the data prefix, so that what is written there starts a run as a dropped file does.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from botocore.exceptions import ClientError

from perennial.data import records
from perennial.data.broken import counted
from perennial.data.files import GZIP
from perennial.data.text_files import PARQUET
from perennial.features.from_text import from_text
from perennial.features.grammar import EXPECTED
from perennial.features.parsing import MISSING_WORDS
from perennial.model import feature_groups
from perennial.model.definition import Definition
from perennial.model.feature_store import FeatureGroup
from perennial_cli.console import CommandError
from perennial_cli.stacks import Stack

AT_ONCE = 25  # records of a request
REQUESTS = 4  # at once
ATTEMPTS, PAUSE_SECONDS = 6, 1.0  # with records that were not taken
AGAIN = "Others may be records already; ingesting the whole file once more changes nothing of them"
EVENT_TIME = r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z|\d+(\.\d+)?)$"  # as it is taken, or Unix seconds


@dataclass(frozen=True)
class Ingested:
    """What has been done: the group, whether it was made for it, and how many records it got.

    hours  in which their events lie: SageMaker writes a file for each, at least
    """

    group: str
    created: bool
    records: int
    hours: int


def ingest(stack: Stack, definition: Definition, path: Path, name: str | None, role: str | None) -> Ingested:
    """Put the rows of a file into a feature group, online and offline; the group is made where there is none.

    name  of the group. Default: the first, whose records are the rows of runs
    role  that SageMaker takes to write the group's records offline

    Raises CommandError: the definition names no such group, the file is not of it, or SageMaker refuses.
    """
    name, group = _group(definition, name)
    called = _called(stack, name, definition)
    table, first = read(path)
    if not table.num_rows:
        raise CommandError(f"{path}: holds no rows; expected one at least")
    if group.record not in table.column_names:
        raise CommandError(f"{path}: has no column {group.record!r}, which tells the records of {name}")
    table = _without_missing(table, definition, group)
    _require(path, pc.greater(pc.binary_length(table[group.record]), 0), first, f"has no {group.record}, its record")
    table = _with_times(path, _with_time(table, group, datetime.now(UTC)), group.event_time, first)
    hours = len(pc.unique(pc.utf8_slice_codeunits(table[group.event_time], 0, len("2026-11-29T10"))))
    try:
        created = _ensure(stack, definition, called, group, table, role)
        return Ingested(called, created, _put(path, called, table, first), hours)
    except ClientError as error:
        raise CommandError(f"{called}: {error.response['Error']['Message']}") from error


def _group(definition: Definition, name: str | None) -> tuple[str, FeatureGroup]:
    if definition.feature_store is None:
        raise CommandError("the stack's model.yaml names no feature groups (feature_store.groups)")
    groups = definition.feature_store.groups
    chosen = name or next(iter(groups))
    if chosen not in groups:
        raise CommandError(f"{chosen!r} is none of the feature groups of model.yaml: {', '.join(groups)}")
    return chosen, groups[chosen]


def _called(stack: Stack, name: str, definition: Definition) -> str:
    """Return what a group is called in the account: as model.yaml has it, where a group of the stack is already."""
    of_stack = feature_groups.group_name(stack.name, name)
    client = boto3.client("sagemaker")
    if if_there(client, of_stack) or (definition.feature_store and definition.feature_store.ingest):
        return of_stack
    known = if_there(client, name)
    group = definition.feature_store.groups[name].model_dump() if definition.feature_store else {}
    return name if known and feature_groups.obstacle(known, group, place_of(stack)) is None else of_stack


def if_there(client: Any, name: str) -> Any:
    """Return the description of a group; None where there is none."""
    try:
        return client.describe_feature_group(FeatureGroupName=name)
    except client.exceptions.ResourceNotFound:
        return None


def role_of(stack: Stack) -> str | None:
    """Return the stack's role that writes records offline; None where the data are in a bucket of somebody else."""
    is_own = stack.outputs["DataBucketName"] == stack.outputs.get("BucketName")
    return stack.outputs.get("OfflineStoreRoleArn") if is_own else None


def key_of(stack: Stack) -> str | None:
    """Return the key of records offline: the stack's, the only one that its bucket takes; elsewhere what it is told.

    None has SageMaker take AWS's own key for S3 (API Reference, CreateFeatureGroup, OfflineStoreConfig).
    """
    if stack.outputs["DataBucketName"] == stack.outputs.get("BucketName"):
        return stack.outputs.get("KeyArn")
    return stack.parameters.get("DataBucketKeyArn") or stack.parameters.get("KmsKeyArn") or None


def place_of(stack: Stack) -> str:
    """Return where runs of a stack read records."""
    return f"s3://{stack.outputs['DataBucketName']}/{stack.outputs['DataPrefix']}".rstrip("/")


def read(path: Path) -> tuple[pa.Table, int]:
    """Return a CSV file, also in gzip, or a Parquet file as texts, and the number of its first row.

    An empty field is no value; of CSV the header is row 1. Raises CommandError.
    """
    try:
        with path.open("rb") as file:
            begin = file.read(len(PARQUET))
        if begin == PARQUET:
            table = pq.read_table(path)
            return pa.table({name: _texts(table[name]) for name in table.column_names}), 1
        compression = "gzip" if begin.startswith(GZIP) else None
        with pa.input_stream(str(path), compression=compression) as file:
            names = pa_csv.open_csv(file).schema.names
        if twice := [name for name, times in Counter(names).items() if times > 1]:
            raise CommandError(f"{path}: the column {twice[0]!r} stands in the header more than once")
        # Else pyarrow takes NA, null and nan for no value, whatever the column.
        texts = pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True
        )
        with pa.input_stream(str(path), compression=compression) as file:
            return pa_csv.read_csv(file, convert_options=texts), 2
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        raise CommandError(f"{path}: cannot be read as CSV or Parquet: {error}") from error


def _texts(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return values as texts, times as the feature store takes those of events."""
    if pa.types.is_timestamp(values.type):
        return records.written(values)
    return values.cast(pa.string())


def _without_missing(table: pa.Table, definition: Definition, group: FeatureGroup) -> pa.Table:
    """Return rows without the words that mean no value, where runs read them so as well: in all but texts."""
    words = pa.array(sorted(MISSING_WORDS))
    for place, feature in enumerate(features_of(definition, group, table)):
        if feature["FeatureType"] != "String":
            texts = table.column(place)
            is_missing = pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(texts)), words)
            table = table.set_column(place, feature["FeatureName"], pc.if_else(is_missing, None, texts))
    return table


def _require(path: Path, are_sound: pa.ChunkedArray, first: int, what: str, expected: str = "") -> None:
    """Raise CommandError, which names the first row that is not sound, before anything is put."""
    wrong = [row for row, is_sound in enumerate(are_sound.to_pylist(), first) if not is_sound]
    if wrong:
        more = f", and {counted(len(wrong) - 1, 'more row')}" if len(wrong) > 1 else ""
        raise CommandError(f"{path}: row {wrong[0]} {what}{more}{expected}; nothing has been ingested")


def _with_times(path: Path, table: pa.Table, name: str, first: int) -> pa.Table:
    """Return rows with times of events as the feature store takes them, in UTC. Raises CommandError: one is no time."""
    texts = table[name].combine_chunks()
    times, invalid = from_text("timestamp", texts)
    is_taken = pc.fill_null(pc.match_substring_regex(texts, EVENT_TIME), False)
    wrong = pc.and_not(pc.is_null(times) if invalid is None else pc.or_(pc.is_null(times), invalid), is_taken)
    if pc.any(wrong).as_py():
        text = texts[pc.index(wrong, True).as_py()].as_py()
        what = f"says {text!r} in {name}" if text else f"has no {name}"
        _require(path, pc.invert(wrong), first, what, f"; expected {EXPECTED['timestamp']}, the time of the event")
    sound = pc.if_else(is_taken, texts, records.written(times))
    return table.set_column(table.column_names.index(name), name, sound)


def _with_time(table: pa.Table, group: FeatureGroup, now: datetime) -> pa.Table:
    """Return rows with the time of their event: now, where the file says none."""
    if group.event_time in table.column_names:
        return table
    return table.append_column(group.event_time, pa.array([now.strftime(feature_groups.TIME)] * table.num_rows))


def _ensure(
    stack: Stack, definition: Definition, name: str, group: FeatureGroup, table: pa.Table, role: str | None
) -> bool:
    """Make the group unless it is there; return whether it was made."""
    client = boto3.client("sagemaker")
    known, place = if_there(client, name), place_of(stack)
    if known is not None:
        _check(known, group, table, place)
        _wait(client, name)
        return False
    if role is None:
        raise CommandError(
            f"there is no feature group {name}. Name the role that SageMaker takes to write its records into {place}: "
            "--role arn:aws:iam::...:role/..."
        )
    features, key = features_of(definition, group, table), key_of(stack)
    client.create_feature_group(
        **feature_groups.request(name, group.record, group.event_time, features, place=place, role=role, key=key)
    )
    _wait(client, name)
    return True


def _check(known: Any, group: FeatureGroup, table: pa.Table, place: str) -> None:
    """Raise CommandError unless the rows of a file can be records of a group that is there."""
    if why := feature_groups.obstacle(known, group.model_dump(), place):
        raise CommandError(why)
    features = [one["FeatureName"] for one in known["FeatureDefinitions"]]
    if unknown := [column for column in table.column_names if column not in features]:
        name = known["FeatureGroupName"]
        raise CommandError(f"the feature group {name} has no feature {unknown[0]!r}; it has {', '.join(features)}")


def features_of(definition: Definition, group: FeatureGroup, table: pa.Table) -> Iterator[Any]:
    """Yield a feature for each column of a file: of the type that the definition says, else text."""
    types = {
        source: feature_groups.TYPES.get(column.type, "String")
        for name, column in definition.columns.items()
        for source in (name, *(column.source or ()))
    }
    for name in table.column_names:
        kind = "String" if name in (group.record, group.event_time) else types.get(name, "String")
        yield {"FeatureName": name, "FeatureType": kind}


def _wait(client: Any, name: str) -> None:
    while (made := client.describe_feature_group(FeatureGroupName=name))["FeatureGroupStatus"] == "Creating":
        time.sleep(PAUSE_SECONDS)
    if made["FeatureGroupStatus"] != "Created":
        raise CommandError(f"the feature group {name} is {made['FeatureGroupStatus']}: {made.get('FailureReason')}")


def _put(path: Path, name: str, table: pa.Table, first_row: int) -> int:
    """Put each row as a record; an empty field is a feature without a value. Raises CommandError, with the row."""
    client = boto3.client("sagemaker-featurestore-runtime")

    def put(first: int) -> int:
        entries: list[Any] = [_entry(name, row) for row in table.slice(first, AT_ONCE).to_pylist()]
        waiting = entries
        for _ in range(ATTEMPTS):
            answer = client.batch_write_record(Entries=waiting)
            if errors := answer["Errors"]:
                row = first_row + first + entries.index(errors[0]["Entry"])
                raise CommandError(f"{path}: row {row}: {errors[0]['ErrorMessage']} {AGAIN}")
            if not (waiting := answer["UnprocessedEntries"]):
                return len(entries)
            time.sleep(PAUSE_SECONDS)
        raise CommandError(f"{path}: SageMaker does not take the rows from {first_row + first} on. {AGAIN}")

    with ThreadPoolExecutor(REQUESTS) as pool:
        return sum(pool.map(put, range(0, table.num_rows, AT_ONCE)))


def _entry(name: str, row: Mapping[str, str | None]) -> dict[str, Any]:
    record = [{"FeatureName": key, "ValueAsString": value} for key, value in row.items() if value]
    return {"FeatureGroupName": name, "Record": record}
