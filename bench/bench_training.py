"""What a million rows take to train: a job of the local cloud, beside plain xgboost.train on the same files.

    python -m bench.bench_training [--rows 1540000] [--rounds 3] [--write]

The sets are generated used cars as preprocessing writes them, CSV without a header; two thirds of the rows train. Both
have the same hyperparameters and as many threads as cores, look at both sets after each round, and end with the same
errors, or this fails. In turn:

job        us: from CreateTrainingJob until DescribeTrainingJob says that it has ended. The files come from the bucket
           and the model goes there; processor time is that of the whole local cloud, and memory the most that it has
           with all that it runs, during one more job
xgboost    the peer: Arrow reads the files, QuantileDMatrix takes the arrays, xgboost.train, save_model
boosting   the floor: xgboost.train alone, in the peer's process
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from bench import local_stack, processes
from bench.bench_endpoint import IMAGES
from bench.bench_orchestration import Clients, make_role
from bench.bench_preprocess import IMAGE_PYTHON, command, data_file
from bench.processes import CACHE
from bench.table import Row, finish

BUCKET = "bench-training"
CHANNELS = ("train", "validation")
ROUNDS = 100
HYPERPARAMETERS = {"objective": "reg:squarederror", "eta": "0.1", "max_depth": "6", "eval_metric": "rmse"}

PLAIN = """
import json, os, sys, time
import pyarrow as pa, pyarrow.csv as pa_csv, pyarrow.dataset as ds
import numpy as np, xgboost
def rows(folder):
    files = sorted(os.scandir(folder), key=lambda one: one.name)
    tables = [pa_csv.read_csv(one.path, pa_csv.ReadOptions(autogenerate_column_names=True)) for one in files]
    columns = pa.concat_tables(tables).columns
    return np.column_stack([column.to_numpy().astype(np.float32) for column in columns])
matrices, reference = {}, None
for name in ("train", "validation"):
    array = rows(f"{sys.argv[1]}/{name}")
    matrices[name] = reference = xgboost.QuantileDMatrix(array[:, 1:], label=array[:, 0], ref=reference)
watched, errors = [(matrix, name) for name, matrix in matrices.items()], {}
wall, processor = time.perf_counter(), time.process_time()
booster = xgboost.train(json.loads(sys.argv[2]), matrices["train"], int(sys.argv[3]), evals=watched,
                        evals_result=errors, verbose_eval=False)
took = time.perf_counter() - wall, time.process_time() - processor
booster.save_model(f"{sys.argv[1]}/model.ubj")
last = {name: values["rmse"][-1] for name, values in errors.items()}
open(f"{sys.argv[1]}/took.json", "w").write(json.dumps({"took": took, "errors": last}))
"""


class Took(NamedTuple):
    """Wall and processor time of one contender, and its errors in the end, by set."""

    seconds: float
    processor_seconds: float
    errors: dict[str, float]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rows", type=int, default=1_540_000, help="of which two thirds train")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmark.md")
    arguments = parser.parse_args(argv)
    data = data_file(arguments.rows)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=CACHE) as name, local_stack.local_cloud() as settings:
        folder, server, clients = Path(name), local_stack.pid(settings), Clients()
        processes.measured(command("preprocess", data, folder, arguments.rows))
        sets = json.loads((folder / "output/report/report.json").read_text())["sets"]
        role = prepare(clients, folder / "output")
        jobs, peers, floors, mebibytes = [], [], [], []
        for number in range(arguments.rounds):
            jobs.append(job(clients, role, server, f"bench-{number}"))
            run, plain, boosting = xgboost_by_itself(folder / "output")
            peers.append(plain)
            floors.append(boosting)
            mebibytes.append(run.mebibytes)
        with processes.Watch(server) as memory:
            job(clients, role, server, "bench-memory")
    for ours, theirs in zip(jobs, peers, strict=True):
        if any(abs(ours.errors[channel] / theirs.errors[channel] - 1) > 1e-5 for channel in CHANNELS):
            raise ValueError(f"the job ends with {ours.errors}, XGBoost by itself with {theirs.errors}")

    def row(what: str, of: int) -> Row:
        us, peer, floor = (statistics.median(float(one[of]) for one in some) for some in (jobs, peers, floors))  # type: ignore[arg-type]
        return Row(what, us, "s", floor, {"XGBoost": peer})

    table = [
        row("from start to end", 0),
        row("processor time", 1),
        Row("memory", memory.most, "MiB", peers={"XGBoost": statistics.median(mebibytes)}),
    ]
    text = (
        f"{sets['train']:,} rows train and {sets['validation']:,} validate, {ROUNDS} rounds of depth "
        f"{HYPERPARAMETERS['max_depth']}, medians of {arguments.rounds} jobs. Us: the job, with all that the local "
        "cloud does for it. Floor: boosting alone."
    )
    return finish("training", text, table, arguments.write, "boosting")


def prepare(clients: Clients, sets: Path) -> str:
    """Put the sets into a bucket; return the role of jobs."""
    clients.s3.create_bucket(Bucket=BUCKET)
    for channel in CHANNELS:
        for part in (sets / channel).iterdir():
            clients.s3.upload_file(str(part), BUCKET, f"{channel}/{part.name}")
    return make_role(clients)


def job(clients: Clients, role: str, server: int, name: str) -> Took:
    """Train by a job. Raises RuntimeError: it has failed."""
    before, began = processes.processor_seconds_of_all(server), time.perf_counter()
    clients.sagemaker.create_training_job(
        TrainingJobName=name,
        AlgorithmSpecification={"TrainingImage": IMAGES[1], "TrainingInputMode": "File"},
        HyperParameters={**HYPERPARAMETERS, "num_round": str(ROUNDS)},
        InputDataConfig=[
            {
                "ChannelName": channel,
                "ContentType": "text/csv",
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{BUCKET}/{channel}/"}},
            }
            for channel in CHANNELS
        ],
        OutputDataConfig={"S3OutputPath": f"s3://{BUCKET}/models"},
        ResourceConfig={"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 20},
        StoppingCondition={"MaxRuntimeInSeconds": 3600},
        RoleArn=role,
    )
    while (described := clients.sagemaker.describe_training_job(TrainingJobName=name))["TrainingJobStatus"] in (
        "InProgress",
        "Stopping",
    ):
        time.sleep(0.05)
    seconds, used = time.perf_counter() - began, processes.processor_seconds_of_all(server) - before
    if described["TrainingJobStatus"] != "Completed":
        raise RuntimeError(f"the job has ended as {described['TrainingJobStatus']}: {described.get('FailureReason')}")
    errors = {one["MetricName"].removesuffix(":rmse"): one["Value"] for one in described["FinalMetricDataList"]}
    return Took(seconds, used, errors)


def xgboost_by_itself(sets: Path) -> tuple[processes.Run, Took, Took]:
    """Train by a script; return the run, what it took, and what boosting took of it."""
    parameters = json.dumps({**HYPERPARAMETERS, "nthread": os.cpu_count()})
    run = processes.measured(
        [str(IMAGE_PYTHON), "-c", PLAIN, str(sets), parameters, str(ROUNDS)],
        variables={"OMP_WAIT_POLICY": "passive"},  # threads that spin take the time of others
    )
    done = json.loads((sets / "took.json").read_text())
    boosting, of_processors = done["took"]
    errors = done["errors"]
    return run, Took(run.seconds, run.processor_seconds, errors), Took(boosting, of_processors, errors)


if __name__ == "__main__":
    sys.exit(main())
