"""What the notebooks share: the stack that they work with, the role of their jobs, and what an execution did."""

from __future__ import annotations

import json
import logging.config
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import rich.traceback
from rich.console import Console

from perennial.data.copies import copy_name
from perennial.model import tuning
from perennial.model.algorithms import ALGORITHMS
from perennial.model.algorithms.ranges import as_sagemaker
from perennial.model.definition import NUMBERS
from perennial_cli import deployed, explain, following, stacks
from perennial_cli.account import account, is_local
from perennial_cli.console import CommandError
from perennial_cli.stacks import Stack

ROLE = "perennial-notebooks"
EXAMPLES: dict[str, dict[str, Any]] = {
    "xgboost": {"eta": {"min": 0.03, "max": 0.3, "scale": "logarithmic"}, "max_depth": {"min": 2, "max": 6}},
    "linear-learner": {
        "learning_rate": {"min": 0.001, "max": 0.1, "scale": "logarithmic"},
        "wd": {"min": 0.00001, "max": 0.1, "scale": "logarithmic"},
    },
    "deepar": {
        "learning_rate": {"min": 0.0001, "max": 0.1, "scale": "logarithmic"},
        "num_cells": {"min": 30, "max": 200},
    },
}
TRUSTED = ("sagemaker.amazonaws.com", "states.amazonaws.com")


def stack() -> Stack:
    """Return the stack of PERENNIAL_STACK, or the only one that there is. Raises CommandError: none, or several."""
    return stacks.chosen(os.environ.get("PERENNIAL_STACK") or None)


def run_in_service(stack: Stack) -> dict[str, Any]:
    """Return the record of the run whose model serves. Raises CommandError: none does."""
    return dict(explain.lineage(stack.name)["run"])


def require(stack: Stack, record: Mapping[str, Any], **expected: str) -> None:
    """Raise CommandError where a notebook is not for a run's model: by problem, algorithm and metric of the gate."""
    definition = record["configuration"]["definition"]
    theirs = {name: definition[name] for name in ("problem", "algorithm")} | {"metric": definition["gate"]["metric"]}
    if others := [f"{name} {theirs[name]}" for name, value in expected.items() if theirs[name] != value]:
        wanted = ", ".join(f"{name} {value}" for name, value in expected.items())
        raise CommandError(
            f"this notebook is for a model with {wanted}; that of {stack.name} has {', '.join(others)}. Name another "
            "stack: export PERENNIAL_STACK=..."
        )


def training_job(record: Mapping[str, Any]) -> str:
    """Return the training job that made a run's model: of a run that has tuned the best trial's."""
    if tuned := record.get("tuning"):
        return str(tuned["best"])
    return str(next(job["name"] for job in record["jobs"] if job["kind"] == "Training"))


def two_numbers(stack: Stack, record: Mapping[str, Any]) -> tuple[str, str]:
    """Return the first two features that are numbers. Raises CommandError: there are fewer, or features.py is there."""
    if f"models/{stack.model}/features.py" in deployed.code_of(stack).namelist():
        raise CommandError(f"{stack.model} has a features.py already; try the idea there: perennial try {stack.model}")
    definition = record["configuration"]["definition"]
    numbers = [
        name
        for name, column in definition["columns"].items()
        if column["type"] in NUMBERS and column["feature"] and name != definition["target"]
    ]
    if len(numbers) < 2:
        raise CommandError(f"notebook 02 makes a feature of two that are numbers; {stack.model} has {len(numbers)}")
    return numbers[0], numbers[1]


@dataclass(frozen=True)
class Search:
    """What a tuning job of a notebook looks for, and where: ranges of model.yaml, else usual ones of the algorithm."""

    metric: str
    direction: str
    ranges: Mapping[str, Any]
    as_sagemaker: Mapping[str, Any]

    def is_better(self, one: float, other: float) -> bool:
        return one < other if self.direction == "minimize" else one > other


def search(record: Mapping[str, Any]) -> Search:
    """Return how a model's hyperparameters may be searched. Raises CommandError: its algorithm has no ranges."""
    configuration = record["configuration"]
    definition, algorithm = configuration["definition"], configuration["algorithm"]["name"]
    own = tuning.ranges(definition["hyperparameters"].get(algorithm, {}))
    ranges = {name: value for name, value in own.items() if isinstance(value, Mapping)} or EXAMPLES.get(algorithm, {})
    if not ranges:
        raise CommandError(f"notebook 02 knows no ranges for {algorithm}; write some into model.yaml (hyperparameters)")
    watched, chosen = configuration["training_metrics"], definition["tuning"]["metric"]
    metric, direction = tuning.objective(algorithm, definition["problem"], watched, chosen)
    return Search(metric, direction, ranges, as_sagemaker(ranges, ALGORITHMS[algorithm].table(ranges)))


def role() -> str:
    """Return the role that jobs of notebooks have: PERENNIAL_ROLE; on the local cloud one is made.

    Raises CommandError: on AWS none is named.
    """
    if chosen := os.environ.get("PERENNIAL_ROLE"):
        return chosen
    if not is_local():
        raise CommandError(
            "name the role that the jobs of notebooks have: export PERENNIAL_ROLE=arn:aws:iam::...:role/... It is for "
            "SageMaker and Step Functions to take, reads the stack's code/ and the bucket of your SageMaker session"
        )
    iam = boto3.client("iam")
    trust = {"Effect": "Allow", "Principal": {"Service": list(TRUSTED)}, "Action": "sts:AssumeRole"}
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    with suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=json.dumps({**everything, "Statement": [trust]}))
    iam.put_role_policy(RoleName=ROLE, PolicyName="all", PolicyDocument=json.dumps(everything))
    return str(iam.get_role(RoleName=ROLE)["Role"]["Arn"])


def bucket() -> str:
    """Return the bucket for what notebooks make: the one that SageMaker's SDKs make by themselves; it is made."""
    whom = account()
    name = f"sagemaker-{whom.region}-{whom.account_id}"
    place: Any = {} if whom.region == "us-east-1" else {"LocationConstraint": whom.region}
    s3 = boto3.client("s3")
    with suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket=name, **({"CreateBucketConfiguration": place} if place else {}))
    return name


def quiet_sdks() -> None:
    """Leave out what the SageMaker SDK says whenever it is imported or called; call it before the import.

    It also puts rich's tracebacks in place of the kernel's, and whoever runs a notebook without a browser then sees no
    word of an error.
    """
    rich.traceback.install = lambda *_, **__: sys.excepthook
    os.environ["SAGEMAKER_SUPPRESS_V2_WARNING"] = "1"
    warnings.filterwarnings("ignore", module="stepfunctions|pkg_resources")
    loggers = {name: {"level": "WARNING"} for name in ("sagemaker", "sagemaker.config", "botocore")}
    logging.config.dictConfig({"version": 1, "disable_existing_loggers": False, "loggers": loggers})


def follow(execution_arn: str) -> dict[str, Any]:
    """Print a line for each state as it ends, until the execution has; return that end."""
    return following.follow(execution_arn, Console(highlight=False, force_jupyter=False, force_terminal=False))


def files(record: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return the data files of a run, each with the name that its copy has and the version that the run read."""
    data = record["data"]
    bucket = data.get("bucket") or record["bucket"]
    return [
        (copy_name(file), {"Bucket": bucket, "Key": file["Key"], "VersionId": file["VersionId"]})
        for file in data["files"]
        if file["Size"]
    ]


def download(record: Mapping[str, Any], folder: Path) -> None:
    """Bring the data of a run into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    s3 = boto3.client("s3")
    for name, version in files(record):
        (folder / name).write_bytes(s3.get_object(**version)["Body"].read())


def upload(record: Mapping[str, Any], bucket: str, prefix: str) -> None:
    """Write below a prefix what a preprocessing job reads: data/, config/ and champion/, of no model in service."""
    s3 = boto3.client("s3")
    for name, version in files(record):
        s3.put_object(Bucket=bucket, Key=f"{prefix}/data/{name}", Body=s3.get_object(**version)["Body"].read())
    s3.put_object(Bucket=bucket, Key=f"{prefix}/config/config.json", Body=json.dumps(preprocessing(record)).encode())
    s3.put_object(Bucket=bucket, Key=f"{prefix}/champion/champion.json", Body=b"{}")


def preprocessing(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with which the data of a run are preprocessed as it did, without a model in service."""
    listed = [file for file in record["data"]["files"] if file["Size"]]
    data = {"listed_at": record["data"]["listed_at"], "files": listed}
    definition = record["configuration"]["definition"]
    return {"model": record["model"], "definition": definition, "trigger": "Manual", "data": data}


@dataclass(frozen=True)
class State:
    """A state that an execution has been in: what it got, and what it gave; None where it gave nothing."""

    name: str
    input: Any
    output: Any


def states(execution_arn: str) -> Iterator[State]:
    """Yield the states of an execution, in the order in which they were entered."""
    events = following.history(execution_arn)
    details = [event["stateExitedEventDetails"] for event in events if event["type"].endswith("StateExited")]
    outputs = {each["name"]: json.loads(each.get("output") or "null") for each in details}
    for event in events:
        if event["type"].endswith("StateEntered"):
            entered = event["stateEnteredEventDetails"]
            yield State(entered["name"], json.loads(entered.get("input") or "null"), outputs.get(entered["name"]))
