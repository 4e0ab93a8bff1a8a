"""How long it takes from a drop to an answer of the new model: the demo's data, in a local cloud of its own.

    python -m bench.bench_run [--rounds 5] [--write] [--states]

The clock starts when PutObject of the file is sent, and stops when the endpoint has answered a record with the model
that came of it. The first time is that of a new stack, whose first model it is: the 804 used cars. Warm are the runs
after it, each with 200 new listings, which are compared with the model in service as well. The memory is the most that
the local cloud and all that it runs have during one more run. Exits with 1 when a bound is missed. --states says for
how long each state of each run was entered.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Any

import boto3

from bench import local_stack, processes
from bench.table import Row, finish
from perennial_cli import following
from tools import demo, demo_data

LIMIT_SECONDS = 120.0
PAUSE_SECONDS = 0.05  # between two looks at the endpoint; each takes the local cloud some 5 ms from what is measured
MOST_DROPS = 20  # not every model is better


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write the section of docs/benchmark.md")
    parser.add_argument("--states", action="store_true")
    arguments = parser.parse_args(argv)
    with local_stack.local_cloud() as settings:
        outputs = local_stack.deploy()
        server = local_stack.pid(settings)
        seconds, used = [], []
        for number in range(MOST_DROPS):
            before = processes.processor_seconds_of_all(server)
            took = drop_to_answer(outputs, number)
            wait_for_end(outputs)
            if arguments.states:
                print_states(outputs)
            if took is not None:
                seconds.append(took)
                used.append(processes.processor_seconds_of_all(server) - before)
            if len(seconds) > arguments.rounds:
                break
        with processes.Watch(server) as memory:
            drop_to_answer(outputs, MOST_DROPS)
            wait_for_end(outputs)
    text = (
        "From PutObject of the file to the endpoint's answer by the new model. First: 804 used cars in a new stack. "
        "Warm: 200 new listings, compared with the model in service; medians of "
        f"{len(seconds) - 1} whose model was better."
    )
    rows = [
        Row("drop to answer, first", seconds[0], "s"),
        Row("drop to answer, warm", statistics.median(seconds[1:]), "s"),
        Row("processor time of a run, first", used[0], "s"),
        Row("processor time of a run, warm", statistics.median(used[1:]), "s"),
        Row("memory", memory.most, "MiB"),
    ]
    return finish("run", text, rows, arguments.write)


def drop_to_answer(outputs: dict[str, str], number: int) -> float | None:
    """Drop a file, and return the seconds until its model has answered a record; None if the gate has rejected it.

    The first file has the 804 used cars, each other one new listings.
    """
    body = demo_data.used_cars() if number == 0 else demo_data.new_listings(demo.NEW_LISTINGS, seed=number + 1)
    key = f"raw/cars-{number:04d}.csv"
    s3, sagemaker = boto3.client("s3"), boto3.client("sagemaker")
    runtime = boto3.client("sagemaker-runtime")
    endpoint = outputs["EndpointName"]
    earlier, run, looked = configuration(sagemaker, endpoint), newest(outputs), 0.0
    record = json.dumps(demo.SAMPLE).encode()
    began = time.perf_counter()
    s3.put_object(Bucket=outputs["BucketName"], Key=key, Body=body, ContentType="text/csv")
    while time.perf_counter() < began + LIMIT_SECONDS:
        if configuration(sagemaker, endpoint) not in (earlier, None):
            answer = runtime.invoke_endpoint(EndpointName=endpoint, ContentType="application/jsonlines", Body=record)
            answer["Body"].read()
            return time.perf_counter() - began
        if time.perf_counter() > looked + 1:
            looked, now = time.perf_counter(), newest(outputs)
            if now.get("status") == "FAILED" and now["executionArn"] != run.get("executionArn"):
                return None
        time.sleep(PAUSE_SECONDS)
    raise TimeoutError(f"no new model answered within {LIMIT_SECONDS:g} s of the drop of {key}")


def configuration(sagemaker: Any, endpoint: str) -> str | None:
    """Return what serves; None while nothing does, or it is about to change."""
    try:
        described = sagemaker.describe_endpoint(EndpointName=endpoint)
    except sagemaker.exceptions.ClientError:
        return None
    return described["EndpointConfigName"] if described["EndpointStatus"] == "InService" else None


def newest(outputs: dict[str, str]) -> dict[str, Any]:
    """Return the newest execution as ListExecutions has it; empty when there is none yet."""
    states = boto3.client("stepfunctions")
    listed = states.list_executions(stateMachineArn=outputs["StateMachineArn"], maxResults=1)["executions"]
    return dict(listed[0]) if listed else {}


def wait_for_end(outputs: dict[str, str]) -> None:
    """Wait until the run, which goes on after the first answer, has ended. Raises RuntimeError: it has failed."""
    while (run := newest(outputs))["status"] == "RUNNING":
        time.sleep(0.1)
    ended = boto3.client("stepfunctions").describe_execution(executionArn=run["executionArn"])
    if ended.get("error") not in (None, "ModelAccuracyTooLow"):
        raise RuntimeError(f"{run['executionArn']} ended: {ended.get('error')}: {ended.get('cause')}")
    time.sleep(1)  # its message


def print_states(outputs: dict[str, str]) -> None:
    events = following.history(newest(outputs)["executionArn"])
    print(f"-- started {events[0]['timestamp'].isoformat()}")
    for event in events:
        details: dict[str, Any] = next((event[key] for key in event if key.endswith("EventDetails")), {})
        offset = (event["timestamp"] - events[0]["timestamp"]).total_seconds()
        print(f"{offset:8.3f} {event['type']:32} {details.get('name', '')}")


if __name__ == "__main__":
    sys.exit(main())
