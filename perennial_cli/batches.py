"""Files that were scored in batch: their records, and the results that they have."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from perennial.runs.cause import explained
from perennial.runs.naming import run_id
from perennial_cli import following, runs
from perennial_cli.console import CommandError
from perennial_cli.stacks import Stack

SCORED, RECORD = "Scored", "batch.json"


def machine(stack: Stack) -> str:
    """Return the state machine that scores files. Raises CommandError: the stack is older than it."""
    arn = stack.outputs.get("BatchStateMachineArn")
    if arn is None:
        raise CommandError(f"the stack {stack.name} scores no files yet; `perennial deploy` makes it do so")
    return arn


def record(stack: Stack, batch: str) -> dict[str, Any] | None:
    """Return the record of a batch; None where it has none (yet)."""
    return runs.document(stack, f"batch/runs/{batch}/{RECORD}")


def outcome(stack: Stack, described: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record of an execution that has ended, once it is written; or what the execution says of itself."""
    batch, output = run_id(described["executionArn"], described["startDate"]), described.get("output") or "{}"
    if "Decision" in (document := json.loads(output)):  # there was nothing to score
        return {"id": batch, "status": document["Decision"], "reasons": [document["Reason"]]}
    unrecorded = {
        "id": batch,
        "status": described["status"].title().replace("_", ""),
        "reasons": [explained(described.get("cause"))],
    }
    return following.once_written(lambda: record(stack, batch)) or unrecorded


def newest(stack: Stack, most: int) -> list[dict[str, Any]]:
    """Return the records of the newest batches that have ended."""
    return runs.documents(stack, "batch/runs/", RECORD, most)


def fetch(uri: str, target: Path) -> None:
    """Write a result into a file. Raises CommandError: it is not there, or cannot be written."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        boto3.client("s3").download_file(bucket, key, str(target))
    except ClientError as error:
        raise CommandError(f"{uri} cannot be read: {error}") from error
    except OSError as error:
        raise CommandError(f"{target} cannot be written: {error.strerror}") from error


def beside(file: Path) -> Path:
    """Return where the result of a file goes: cars.scored.csv.gz beside cars.csv.gz."""
    name, dot, suffixes = file.name.partition(".")
    return file.with_name(f"{name}.scored{dot}{suffixes}")
