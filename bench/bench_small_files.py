"""What many small files cost: twenty thousand of ten rows each, in a local cloud of its own.

    python -m bench.bench_small_files [--files 20000] [--write]

All files are there when the first run begins; the second one has a hundred more. Measured are the states that look at
each file, the processor time and memory of preprocessing by itself, and what grows with the number of files: the
largest input or output of a state (Step Functions takes 256 KiB), the run's item in the run table (DynamoDB takes 400
KB) and its documents in the bucket. Exits with 1 when one of these limits, or of memory, is exceeded.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import boto3

from bench import bench_preprocess, local_stack, processes
from bench.bench_run import newest, wait_for_end
from bench.table import Row, finish
from perennial.runs import naming, record
from perennial_cli import following
from tools import synthetic

ROWS, MORE, AT_ONCE = 10, 100, 4
STATES = ("Resolve configuration", "Snapshot data", "Preprocess")
DOCUMENTS = ("config.json", "input.manifest", "manifest.json", "run.json", "report/report.json")
Measures = dict[tuple[str, str], float]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--write", action="store_true", help="write the section of docs/benchmark.md")
    arguments = parser.parse_args(argv)
    job = preprocessing(arguments.files)
    with local_stack.local_cloud():
        outputs = local_stack.deploy()
        boto3.client("events").disable_rule(Name=f"{local_stack.STACK}-data-drop")
        first = a_run(outputs, 0, arguments.files)
        second = a_run(outputs, 1, MORE)
    text = (
        f"{arguments.files:,} files of {ROWS} rows. Us: the first run, which copies all. Beside it the next one, with "
        f"{MORE} more. Of the job by itself: processor time, start-up included."
    )
    rows = [Row(what, us, unit, others={"next run": second[what, unit]}) for (what, unit), us in first.items()]
    return finish("small files", text, [*rows, *job], arguments.write)


def files(number: int, seed: int, *, wide: bool = False) -> Iterator[bytes]:
    """Yield so many CSV files of used cars."""
    batches = synthetic.batches(number * ROWS, seed=seed, wide=wide)
    lines = (line for batch in batches for line in batch.splitlines(keepends=True))
    header = next(lines)
    for _ in range(number):
        yield header + b"".join(islice(lines, ROWS))


def preprocessing(number: int) -> list[Row]:
    """Measure the job by itself, on the files as it finds them."""
    with tempfile.TemporaryDirectory(prefix="bench-small-") as name:
        folder = Path(name)
        (folder / "data").mkdir()
        for place, body in enumerate(files(number, seed=1, wide=True)):
            (folder / "data" / f"{place:06d}.csv").write_bytes(body)
        run = processes.measured(bench_preprocess.command("preprocess", folder / "data" / "any", folder, number * ROWS))
    return [
        Row("preprocessing by itself", run.processor_seconds, "s"),
        Row("memory of preprocessing", run.mebibytes, "MiB"),
    ]


def a_run(outputs: dict[str, str], drop: int, number: int) -> Measures:
    """Let a run train on all that was dropped, this drop included."""
    s3, states = boto3.client("s3"), boto3.client("stepfunctions")
    bucket, machine = outputs["BucketName"], outputs["StateMachineArn"]

    def put(one: tuple[int, bytes]) -> None:
        s3.put_object(Bucket=bucket, Key=f"raw/drop-{drop}/cars-{one[0]:06d}.csv", Body=one[1])

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(put, enumerate(files(number, seed=drop + 1))))
    started = {"Trigger": {"Type": "Manual"}}
    arn = states.start_execution(stateMachineArn=machine, input=json.dumps(started))["executionArn"]
    while newest(outputs)["status"] == "RUNNING":
        time.sleep(0.5)
    wait_for_end(outputs)
    events, described = following.history(arn), states.describe_execution(executionArn=arn)
    seconds, _ = record.durations(events, described["stopDate"])
    run = naming.run_id(arn, described["startDate"])  # which the gate may have ended
    item = run_item(outputs, run)
    documents = sum(s3.head_object(Bucket=bucket, Key=f"runs/{run}/{name}")["ContentLength"] for name in DOCUMENTS)
    return {
        **{(f"state {state!r}", "s"): seconds[state] for state in STATES},
        ("the run", "s"): (described["stopDate"] - described["startDate"]).total_seconds(),
        ("largest payload of a state", "KiB"): max(map(len, payloads(arn))) / 1024,
        ("item in the run table", "KB"): len(json.dumps(item)) / 1000,
        ("documents of the run", "MB"): documents / 1e6,
    }


def run_item(outputs: dict[str, str], run: str) -> dict[str, Any]:
    """Return the run's item, once the run is told."""
    table, key = boto3.client("dynamodb"), {"id": {"S": f"run#{run}"}}
    while (item := table.get_item(TableName=outputs["RunTableName"], Key=key)["Item"])["status"]["S"] == "Running":
        time.sleep(0.5)
    return dict(item)


def payloads(arn: str) -> Iterator[str]:
    """Yield the inputs and outputs of an execution's states."""
    pages = boto3.client("stepfunctions").get_paginator("get_execution_history")
    for page in pages.paginate(executionArn=arn, includeExecutionData=True):
        for event in page["events"]:
            for details in event.values():
                if isinstance(details, dict):
                    yield from (details[name] for name in ("input", "output", "parameters") if details.get(name))


if __name__ == "__main__":
    sys.exit(main())
