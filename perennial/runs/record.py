"""The run record: what a run was made of, what it decided and what it left, in one document.

`opened` begins it when the run claims its work, the functions of the run add to it, `closed` ends it. It is kept as
one JSON document in the bucket, `runs/<run id>/run.json`, and as an item of the run table.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from perennial.runs.keeping import kept_until
from perennial.runs.run_record import Aside, Champion, Code, Failure, ModelVersion, Retried, Rows, RunRecord, WarmStart
from perennial.runs.work import RUNNING, Listing

if TYPE_CHECKING:  # most functions import this module, and few know of definitions
    from perennial.runs.configuration import Configuration
    from perennial.runs.run_input import ExecutionInput

FILES_IN_ITEM = 100
# Bytes for each list that people can lengthen, by its section: an item of DynamoDB holds 400 KB, of which definition,
# input, cause and jobs may take 300. The manifest, the report and run.json in the bucket hold all.
ROOM_IN_ITEM = {
    ("data", "files"): 20_000,
    ("data", "ignored"): 10_000,
    ("data", "aside"): 10_000,
    ("failure", "problems"): 10_000,
    ("drift", "moved"): 10_000,
    ("drift", "uncounted"): 5_000,
    ("new_files", "notes"): 5_000,
    ("since", "definition"): 5_000,
    ("since", "unreadable"): 10_000,
    ("new_files", "rules"): 10_000,
    ("tuning", "trials"): 10_000,
}
LISTED_IN_MANIFEST = {"files": "Files", "ignored": "Ignored"}
BASELINES = ("data_quality", "model_quality", "attribution", "bias")


def opened(
    *,
    run_id: str,
    stack: str,
    bucket: str,
    data_bucket: str,
    execution_arn: str,
    started_at: datetime,
    execution_input: ExecutionInput,
    configuration: Configuration,
    images: Mapping[str, str],
    data: Listing,
    fingerprint: str,
    work_key: str,
    configuration_key: str,
    reader: str,
    code_uri: str,
    commit: str,
    champion: Champion | None,
    gone_back_from: str | None = None,
    warm_start: WarmStart | None = None,
    scripts: str | None = None,
) -> RunRecord:
    """Return the record of a run that begins to work. `execution_input` is as whoever started it wrote it."""
    code: Code = {"uri": code_uri, "hash": code_uri.rsplit("/", 1)[-1], "commit": commit}
    if scripts:
        code["scripts"] = scripts
    return {
        "run_id": run_id,
        "stack": stack,
        "model": configuration.model,
        "bucket": bucket,
        "status": RUNNING,
        "execution": {"arn": execution_arn, "started_at": timestamp(started_at)},
        "input": execution_input.model_dump(exclude_none=True),
        "work_key": work_key,
        "configuration_key": configuration_key,
        "reader": reader,
        "code": code,
        "data": {
            "bucket": data_bucket,
            "prefix": configuration.data_prefix,
            "fingerprint": fingerprint,
            "listed_at": timestamp(data.listed_at),
            "manifest": f"s3://{bucket}/runs/{run_id}/manifest.json",
            "file_count": len(data.files),
            "size_bytes": data.size_bytes,
            "files": data.as_manifest()["Files"],
            "ignored": data.as_manifest()["Ignored"],
        },
        "configuration": configuration.as_json(),
        "withheld": configuration.withheld_because,
        "images": dict(images),
        "champion": champion,
        "gone_back_from": gone_back_from,
        "warm_start": warm_start,
        "artifacts": {},
    }


def closed(
    record: RunRecord,
    *,
    status: str,
    ended_at: datetime,
    failure: Failure | None,
    durations_seconds: Mapping[str, float],
    retries: Mapping[str, Retried],
    report: Mapping[str, Any] | None,
    aside: Sequence[Aside],
    jobs: Iterable[Mapping[str, Any]],
    version: ModelVersion | None,
    endpoint: str,
    name: str,
    sets_days: int = 0,
) -> RunRecord:
    """Return the record of a run that ended. What it made stands in it when it succeeded; what it deployed, if it did.

    report     of preprocessing (report.json), if the run got that far
    aside      what it put aside: Key, VersionId, Reason; and KnownSince, the run that had put a file aside before
    sets_days  after how many days what it made of rows is deleted; 0: not at all
    """
    deployed = status == "Succeeded"
    started_at = datetime.fromisoformat(record["execution"]["started_at"])
    made_by = record["deployment"]["run_id"] if "deployment" in record else record["run_id"]
    prefix = f"s3://{record['bucket']}/runs/{made_by}"
    until = kept_until(started_at, ended_at, sets_days) if report else None
    return {
        **record,
        "status": status,
        "execution": {
            **record["execution"],
            "ended_at": timestamp(ended_at),
            "duration_seconds": round((ended_at - started_at).total_seconds(), 3),
        },
        "failure": failure,
        "durations_seconds": dict(durations_seconds),
        "retries": dict(retries),
        "jobs": [dict(job) for job in jobs],
        "version": version,
        **of_report(report),
        **({"data": {**record["data"], "aside": [*aside]}} if aside else {}),
        "baselines": {name: f"{prefix}/baselines/{name.replace('_', '-')}" for name in BASELINES} if deployed else None,
        "deployed": {"endpoint": endpoint, "endpoint_config": name, "model": name} if deployed else None,
        "sets_until": until.isoformat() if until else None,
    }


def of_report(report: Mapping[str, Any] | None) -> RunRecord:
    """Return what a record says of the data, from report.json of preprocessing."""
    known = report or {}
    return {
        "rows": _rows(known) if known else None,
        "drift": known.get("drift"),
        "new_files": known.get("new_files"),
        "since": known.get("since"),
        "late": known.get("late"),
        "training_window": known.get("training_window"),
    }


def _rows(report: Mapping[str, Any]) -> Rows:
    """How many rows were read, used, quarantined and too old, how many repeat others, and how many are in each set."""
    copies = {"repeated": report["duplicates"]["rows"], "trained_again": report["duplicates"].get("trained_again", 0)}
    older = {"older": window["rows"]} if (window := report.get("training_window")) else {}
    rows: dict[str, int] = {**report["rows"], **older, **copies, **report["sets"]}
    return cast(Rows, rows)


def timestamp(time: datetime) -> str:
    """Return an aware time as ISO 8601 in UTC."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def durations(events: Iterable[Mapping[str, Any]], ended_at: datetime) -> tuple[dict[str, float], list[str]]:
    """Return (seconds in each state, states that were never left) from an execution's history, oldest event first.

    A state that was visited more than once counts with all its visits; one that was never left, until the end.
    """
    entered: dict[str, list[datetime]] = {}
    seconds: dict[str, float] = {}
    for event in events:
        if "stateEnteredEventDetails" in event:
            name = event["stateEnteredEventDetails"]["name"]
            entered.setdefault(name, []).append(event["timestamp"])
            seconds.setdefault(name, 0.0)
        elif "stateExitedEventDetails" in event:
            name = event["stateExitedEventDetails"]["name"]
            if entered.get(name):
                seconds[name] += (event["timestamp"] - entered[name].pop(0)).total_seconds()
    for name, starts in entered.items():
        seconds[name] += sum((ended_at - start).total_seconds() for start in starts)
    return {name: round(value, 3) for name, value in seconds.items()}, [name for name in entered if entered[name]]


def retries(events: Iterable[Mapping[str, Any]]) -> dict[str, Retried]:
    """Return which states tried again, from an execution's history, oldest event first.

    Each event names the one before it. What failed and was not tried again is no retry. Without its data a history may
    have no errors.
    """
    states: dict[int, str] = {}
    failed: dict[str, str | None] = {}
    by_state: dict[str, Retried] = {}
    for event in events:
        if "stateEnteredEventDetails" in event:
            name = states[event["id"]] = event["stateEnteredEventDetails"]["name"]
            failed.pop(name, None)
        elif name := states.get(event.get("previousEventId", 0), ""):
            states[event["id"]] = name
            if event["type"].endswith(("Failed", "TimedOut")):
                failed[name] = next((one.get("error") for one in event.values() if isinstance(one, Mapping)), None)
            elif event["type"].endswith("Scheduled") and name in failed:
                retried, error = by_state.setdefault(name, {"times": 0, "errors": []}), failed.pop(name)
                retried["times"] += 1
                retried["errors"] = sorted({*retried["errors"], *([error] if error else [])})
    return by_state


def as_item(record: RunRecord) -> dict[str, Any]:
    """Return the record as an item of the run table: numbers are Decimal, what is not finite is null."""
    document: dict[str, Any] = {**record}
    for (section, name), room in ROOM_IN_ITEM.items():
        entries = (document.get(section) or {}).get(name) or []
        fitting = list(_fitting(entries, room))
        if len(fitting) < len(entries):
            left_out = {name: fitting, f"{name}_left_out": len(entries) - len(fitting)}
            document[section] = {**document[section], **left_out}
    return {"id": f"run#{record['run_id']}", **to_dynamodb(document)}


def _fitting(entries: Iterable[Any], room: int) -> Iterator[Any]:
    """Yield the first of some entries, as many as fit. As JSON they are larger than in DynamoDB."""
    for entry in itertools.islice(entries, FILES_IN_ITEM):
        room -= len(json.dumps(entry, ensure_ascii=False).encode(errors="surrogatepass"))
        if room < 0:
            return
        yield entry


def to_dynamodb(value: Any) -> Any:
    """Return a plain JSON value with every float as Decimal, which is what DynamoDB takes."""
    if isinstance(value, Mapping):
        return {str(key): to_dynamodb(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_dynamodb(item) for item in value]
    if isinstance(value, float):
        return _decimal(value)
    return value


def _decimal(value: float) -> Decimal | None:
    """DynamoDB's numbers reach from 1e-130 to 1e126: what is smaller is 0, what is larger is no measurement."""
    if not math.isfinite(value) or abs(value) >= 1e126:
        return None
    return Decimal(repr(value)) if abs(value) > 1e-130 else Decimal(0)


def from_dynamodb(value: Any) -> Any:
    """Return an item as plain JSON: Decimal becomes int or float."""
    if isinstance(value, dict):
        return {key: from_dynamodb(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_dynamodb(item) for item in value]
    if isinstance(value, Decimal):
        exact = value == value.to_integral_value() and abs(value) <= 2**53
        return int(value) if exact else float(value)
    return value


def json_safe(value: Any) -> Any:
    """Return a value that strict JSON can hold: NaN and infinities become null."""
    if isinstance(value, Mapping):
        return {str(key): json_safe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_safe(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
