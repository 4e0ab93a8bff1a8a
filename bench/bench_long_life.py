"""Whether a local cloud stays what it is: after ten runs, and after a thousand in the same state folder.

    python -m bench.bench_long_life [--runs 1000] [--write]

A run is an object, whose event goes to a queue, and an execution of a state machine with a log, whose states call a
function, put an item and run a processing job that does nothing: what the project's runs leave, without their rows.
What is there after ten is put aside. In the end a server is started with the one folder and with the other, in turn,
because others use the machine too, and what follows is measured: the start, the answers to changes (each is saved
before), a page of each list, memory and disk. Of an answer the fastest of TIMES counts: what has grown has grown for
each. Exits with 1 when a measure after all is over its bound, which is by that after ten.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bench import local_stack, processes
from bench.bench_orchestration import Clients, chain, make_function, make_role
from bench.table import Row, finish
from localcloud import process
from localcloud.settings import Settings

FEW = 10
SIDE_BY_SIDE = 2
ROUNDS = 5
TIMES = 21
BUCKET, TABLE, QUEUE = "bench-runs", "bench-runs", "bench-runs"
IMAGE = "000000000000.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3"
RESOURCES = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 20}
Measures = dict[tuple[str, str], float]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--write", action="store_true", help="write the section of docs/benchmark.md")
    arguments = parser.parse_args(argv)
    with local_stack.local_cloud() as settings, tempfile.TemporaryDirectory(prefix="bench-") as aside:
        clients = Clients()
        machine = prepare(clients)
        run_many(clients, machine, range(FEW))
        process.stop(settings.state)
        few = replace(settings, state=Path(aside) / "state")
        shutil.copytree(settings.state, few.state)
        process.start(settings)
        run_many(clients, machine, range(FEW, arguments.runs))
        process.stop(settings.state)
        rounds = [
            (measured(few, clients, machine, FEW), measured(settings, clients, machine, arguments.runs))
            for _ in range(ROUNDS)
        ]
    after_few, after_all = (medians([one[which] for one in rounds]) for which in range(2))
    text = (
        f"A state folder after {arguments.runs:,} runs (us) and after {FEW}. A run is an object, its event, and "
        "an execution of eight states with a function, an item, a job and a log. "
        f"Medians of {ROUNDS} starts of each, in turn; of an answer the fastest of {TIMES} after each start."
    )
    rows = [
        Row(what, after_all[what, unit], unit, peers={f"after {FEW}": few}) for (what, unit), few in after_few.items()
    ]
    return finish("long life", text, rows, arguments.write)


def medians(several: Sequence[Measures]) -> Measures:
    """Return the median of each measure."""
    return {what: statistics.median(one[what] for one in several) for what in several[0]}


def prepare(clients: Clients) -> str:
    """Make what runs use; return the ARN of their state machine."""
    role = make_role(clients)
    function = make_function(clients, role)
    clients.s3.create_bucket(Bucket=BUCKET)
    clients.s3.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"EventBridgeConfiguration": {}}
    )
    queue = clients.sqs.create_queue(QueueName=QUEUE)["QueueUrl"]
    arn = clients.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    clients.events.put_rule(Name="bench", EventPattern=json.dumps({"source": ["aws.s3"]}))
    clients.events.put_targets(Rule="bench", Targets=[{"Id": "queue", "Arn": arn}])
    clients.dynamodb.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "Key", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "Key", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    group = "/aws/vendedlogs/states/bench"
    clients.logs.create_log_group(logGroupName=group)
    log = clients.logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["arn"]
    name = "{% $states.context.Execution.Name %}"
    return str(
        clients.stepfunctions.create_state_machine(
            name="bench-run",
            definition=json.dumps(definition(function, role, name)),
            roleArn=role,
            loggingConfiguration={
                "level": "ALL",
                "includeExecutionData": True,
                "destinations": [{"cloudWatchLogsLogGroup": {"logGroupArn": log}}],
            },
        )["stateMachineArn"]
    )


def definition(function: str, role: str, name: str) -> dict[str, Any]:
    """Return the state machine of a run."""
    calls: list[tuple[str, dict[str, Any]]] = [
        ("lambda:invoke", {"FunctionName": function, "Payload": {"Run": name}}),
        ("dynamodb:putItem", {"TableName": TABLE, "Item": {"Key": {"S": name}, "Text": {"S": "x" * 1000}}}),
        (
            "sagemaker:createProcessingJob.sync",
            {
                "ProcessingJobName": name,
                "ProcessingResources": {"ClusterConfig": RESOURCES},
                "AppSpecification": {"ImageUri": IMAGE, "ContainerEntrypoint": ["python3", "-c", "print('done')"]},
                "RoleArn": role,
            },
        ),
    ]
    whole = chain(8, {"Type": "Pass"})
    for number, (action, arguments) in enumerate(calls, start=2):
        state = whole["States"][f"Step {number}"]
        state.update(Type="Task", Resource=f"arn:aws:states:::{action}", Arguments=arguments)
    return whole


def run_many(clients: Clients, machine: str, numbers: range) -> None:
    """Run them, some side by side. Raises RuntimeError: one has failed."""
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        list(pool.map(partial(run_one, clients, machine), numbers))


def run_one(clients: Clients, machine: str, number: int) -> None:
    """Run once, to the end."""
    states, queue = clients.stepfunctions, clients.sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]
    name = f"run-{number:06d}"
    clients.s3.put_object(Bucket=BUCKET, Key=name, Body=b"x" * 1000)
    arn = states.start_execution(stateMachineArn=machine, name=name, input='{"Number": 1}')["executionArn"]
    while (execution := states.describe_execution(executionArn=arn))["status"] == "RUNNING":
        time.sleep(0.02)
    if execution["status"] != "SUCCEEDED":
        raise RuntimeError(f"{arn} ended as {execution['status']}: {execution.get('error')}: {execution.get('cause')}")
    for message in clients.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
        clients.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])


def measured(settings: Settings, clients: Clients, machine: str, runs: int) -> Measures:
    """Start the server with a folder; return what is measured then."""
    size, files = on_disk(settings.state)
    began = time.perf_counter()
    process.start(settings)
    measures: Measures = {("start", "ms"): (time.perf_counter() - began) * 1000}
    pid = local_stack.pid(settings)
    measures["start, processor time", "ms"] = processes.processor_seconds(pid) * 1000
    for what, call in calls(clients, machine).items():
        measures[what, "ms"] = fastest(call)
    measures["memory", "MiB"] = processes.mebibytes_of_all(pid)
    measures["disk for a run", "KiB"] = size / runs / 1024
    measures["files for a run", ""] = files / runs
    process.stop(settings.state)
    return measures


def calls(clients: Clients, machine: str) -> dict[str, Callable[[], Any]]:
    """Return what is asked: changes, which are saved before they are answered, and the first page of lists."""
    last = clients.stepfunctions.list_executions(stateMachineArn=machine, maxResults=1)["executions"][0]["executionArn"]
    return {
        "save an item": lambda: clients.dynamodb.put_item(TableName=TABLE, Item={"Key": {"S": "measured"}}),
        "save a parameter": lambda: clients.ssm.put_parameter(
            Name="/bench", Value=str(time.time()), Type="String", Overwrite=True
        ),
        "save an object": lambda: clients.s3.put_object(Bucket=BUCKET, Key="measured", Body=b"text"),
        "save a tag of a state machine": lambda: clients.stepfunctions.tag_resource(
            resourceArn=machine, tags=[{"key": "at", "value": str(time.time())}]
        ),
        "save a retention of logs": lambda: clients.logs.put_retention_policy(
            logGroupName="/aws/vendedlogs/states/bench", retentionInDays=30 + int(time.time()) % 2 * 30
        ),
        "list executions": lambda: clients.stepfunctions.list_executions(stateMachineArn=machine, maxResults=10),
        "list jobs": lambda: clients.sagemaker.list_processing_jobs(MaxResults=10),
        "list objects": lambda: clients.s3.list_objects_v2(Bucket=BUCKET, MaxKeys=10),
        "list log streams": lambda: clients.logs.describe_log_streams(
            logGroupName="/aws/vendedlogs/states/bench", limit=10
        ),
        "a history": lambda: clients.stepfunctions.get_execution_history(executionArn=last),
    }


def fastest(call: Callable[[], Any]) -> float:
    """Return how long a call takes, in milliseconds."""
    took = []
    for _ in range(TIMES):
        began = time.perf_counter()
        call()
        took.append((time.perf_counter() - began) * 1000)
    return min(took)


def on_disk(folder: Path) -> tuple[int, int]:
    """Return the bytes and the number of all files."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files), len(files)


if __name__ == "__main__":
    sys.exit(main())
