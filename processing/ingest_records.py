"""Put the rows of files that were dropped into a feature group, online and offline.

Called by  train_model, state "Ingest records", in the scikit-learn image; it calls SageMaker, and has a network.
Reads      --config config.json: "definition", and data.files, as the run's manifest lists them;
           --data: the copies of those files that no run has ingested yet (runs/<run id>/ingest.manifest); --report:
           report.json of preprocessing, which names the files that it has put aside: they are left out;
           --group, --record, --event-time: what the group is called, and what tells its records and their events;
           --bucket, --prefix: where its records are written offline, each for itself, as an argument has 256
           characters at most; --key: that of the objects; --role: under which SageMaker writes them, if the group is
           not there yet; empty: then it has to be
Writes     records, by PutRecord: a row of an event that the group knows already changes nothing of it;
           below --output/ingested: an empty file, called like its copy, for each file that is a whole
Exits      0; or 1 where SageMaker does not take a row, or there is no group: --message then says what, where and what
           to do. What was put stays, and the next run puts it once more. A bug raises.
"""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from perennial.data import records
from perennial.data.contract import Contract
from perennial.data.copies import copy_name
from perennial.data.files import find_files
from perennial.data.header import FileError
from perennial.model import feature_groups
from processing import job_script

THREADS = 16
WAITING = 4 * THREADS  # records at most that no thread has taken yet
PATIENT = Config(retries={"mode": "adaptive", "max_attempts": 10}, max_pool_connections=THREADS)
PAUSE_SECONDS = 2.0
CREATED_IN_SECONDS = 600
AGAIN = "Rows before it may be records already; the file stays where it is, and the next run puts them once more"
OPTIONS = ("group", "record", "event-time", "bucket", "prefix", "role", "key")


class IngestError(Exception):
    """Records cannot be put into the group; the text says why, and what to do."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job and return its exit code."""
    about = (__doc__ or "").split("\n", 1)[0]
    arguments = job_script.paths(argv, about, OPTIONS, data="data", report="report")
    try:
        run(arguments)
    except (IngestError, FileError) as error:
        return job_script.refuse(str(error), arguments.message)
    return 0


def run(arguments: Namespace) -> None:
    """Do the whole job. Raises IngestError, FileError."""
    config = json.loads(arguments.config.read_text(encoding="utf-8"))
    contract = Contract.from_definition(config["definition"])
    group = ensured(arguments, contract)
    done = arguments.output / "ingested"
    done.mkdir(parents=True, exist_ok=True)
    aside = {one["position"] for one in _report(arguments.report).get("aside", [])}
    listed = {copy_name(file): (place, file) for place, file in enumerate(config["data"]["files"])}
    runtime = boto3.client("sagemaker-featurestore-runtime", config=PATIENT)
    for path in find_files(arguments.data):
        place, file = listed[path.name]
        if place in aside:
            print(f"{file['Key']}: put aside, not ingested", flush=True)
            continue
        dropped_at = datetime.fromisoformat(file["LastModified"])
        rows = records.records(path, file["Key"], contract, group, dropped_at)
        count = put(runtime, arguments.group, file["Key"], rows)
        (done / path.name).touch()
        print(f"{file['Key']}: {count} rows are records of {arguments.group}", flush=True)


def put(runtime: Any, group: str, name: str, rows: Iterator[tuple[int, Mapping[str, str]]]) -> int:
    """Put a record for each row; return how many. Raises IngestError, with the first row that was refused."""

    def one(number: int, row: Mapping[str, str]) -> None:
        record = [{"FeatureName": feature, "ValueAsString": value} for feature, value in row.items()]
        try:
            runtime.put_record(FeatureGroupName=group, Record=record)
        except (ClientError, BotoCoreError) as error:
            raise IngestError(
                f"{name}, row {number}: the feature group {group} did not take it: {error}. {AGAIN}"
            ) from error

    count, waiting = 0, set[Future[None]]()
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            for number, row in rows:
                count += 1
                waiting.add(pool.submit(one, number, row))
                if len(waiting) >= WAITING:
                    waiting = _checked(waiting)
            while waiting:
                waiting = _checked(waiting)
        except Exception:
            pool.shutdown(cancel_futures=True)
            raise
    return count


def _checked(waiting: set[Future[None]]) -> set[Future[None]]:
    """Wait for a record at least, and return those that are not done. Raises what went wrong with one."""
    done, others = wait(waiting, return_when=FIRST_COMPLETED)
    for future in done:
        future.result()
    return others


def ensured(arguments: Namespace, contract: Contract) -> records.RecordGroup:
    """Return the group; it is made where there is none. Raises IngestError."""
    sagemaker, name = boto3.client("sagemaker", config=PATIENT), arguments.group
    group = records.RecordGroup(arguments.record, arguments.event_time)
    try:
        described = _described(sagemaker, name)
        if described is None:
            _make(sagemaker, arguments, records.definitions(contract, group))
            described = _described(sagemaker, name) or {}
        until = time.monotonic() + CREATED_IN_SECONDS
        while described.get("FeatureGroupStatus") == "Creating" and time.monotonic() < until:
            time.sleep(PAUSE_SECONDS)
            described = _described(sagemaker, name) or {}
    except (ClientError, BotoCoreError) as error:
        raise IngestError(f"{name}: {error}") from error
    if described.get("FeatureGroupStatus") != "Created":
        status, why = described.get("FeatureGroupStatus", "gone"), described.get("FailureReason", "")
        raise IngestError(f"the feature group {name} is {status}{f': {why}' if why else ''}")
    telling = {"record": arguments.record, "event_time": arguments.event_time}
    if why := feature_groups.obstacle(described, telling, _place(arguments)):
        raise IngestError(why)
    features = tuple(one["FeatureName"] for one in described["FeatureDefinitions"])
    return records.RecordGroup(arguments.record, arguments.event_time, features)


def _described(sagemaker: Any, name: str) -> Any:
    try:
        return sagemaker.describe_feature_group(FeatureGroupName=name)
    except sagemaker.exceptions.ResourceNotFound:
        return None


def _make(sagemaker: Any, arguments: Namespace, features: list[dict[str, str]]) -> None:
    """Make the group; another run may have done so meanwhile. Raises IngestError: under no role."""
    if not arguments.role:
        raise IngestError(
            f"there is no feature group {arguments.group}, and this stack makes none in a bucket that is not its own: "
            "`perennial ingest FILE --role ROLE` does, with a file of such rows"
        )
    with suppress(sagemaker.exceptions.ResourceInUse):
        sagemaker.create_feature_group(
            **feature_groups.request(
                *(arguments.group, arguments.record, arguments.event_time, features),
                place=_place(arguments),
                role=arguments.role,
                key=arguments.key,
            )
        )


def _place(arguments: Namespace) -> str:
    return f"s3://{arguments.bucket}/{arguments.prefix}"


def _report(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return document


if __name__ == "__main__":
    job_script.leave_out_pandas()
    sys.exit(main())
