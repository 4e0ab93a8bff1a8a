"""Asking an endpoint: records are read and checked as files are, by the definition that the stack was deployed with."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pyarrow as pa
from botocore.exceptions import ClientError

from perennial.data.contract import Checked, Contract, check
from perennial.data.csv_files import Batch
from perennial.data.files import read
from perennial.features.json_text import decode
from perennial.features.rules import broken_rule
from perennial.model.definition import Definition
from perennial.serving import failures
from perennial.words import quoted
from perennial_cli import stacks
from perennial_cli.console import CommandError
from perennial_cli.stacks import Stack

AT_ONCE = 500  # records of a request
LINES = "application/jsonlines"


@dataclass(frozen=True)
class Record:
    """A record to ask about: its number in the file, and why it cannot be asked about, if it cannot."""

    number: int
    features: dict[str, Any]
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What the endpoint says to a record.

    unusual  what it counts as unusual about the records of the same request (features.record_checks)
    """

    record: Record
    answer: dict[str, Any]
    unusual: str = ""


def records(path: Path, definition: Definition, notes: list[str], name: str | None = None) -> Iterator[Record]:
    """Yield the records of a CSV, JSON lines or Parquet file. Raises FileError, a DataError, which begins with `name`.

    notes  takes what a person should know of a file that can be read, such as columns that are passed over
    name   what people call it. Default: its own name
    """
    contract = features_of(definition)
    for batch in read(path, contract.columns, name, replace(contract.form, other_columns="ignore"), notes):
        yield from _checked(contract, batch)
        yield from (Record(row.row, {}, (row.problem,)) for row in batch.unreadable)


def from_bytes(content: bytes, definition: Definition, notes: list[str], name: str) -> list[Record]:
    """Return the records of what a file might hold, whose texts are UTF-8, as `records` does."""
    with tempfile.TemporaryDirectory(prefix="perennial-predict-") as folder:
        path = Path(folder) / "input"
        path.write_bytes(content)
        return list(records(path, in_utf8(definition), notes, name))


def in_utf8(definition: Definition) -> Definition:
    """Return the definition of records that come in no file of the stack's encoding."""
    return definition.model_copy(update={"files": definition.files.model_copy(update={"encoding": "utf-8"})})


def meaning(definition: Definition) -> str:
    """Return in words of which of two classes a score is the probability; empty where there are not two."""
    if definition.problem != "binary_classification":
        return ""
    parse = definition.columns[definition.target].parse
    words = parse.true if parse and parse.true else ()
    is_true = f"is {' or '.join(map(quoted, words))}" if words else "is true (1)"
    return f"score: how probable it is that {definition.target} {is_true}, from 0 to 1"


def on_one_line(source: str) -> str:
    """Return one object that is written on many lines as a JSON line; anything else as it is."""
    try:
        decode(source)
    except ValueError:
        return source
    return source.replace("\r", " ").replace("\n", " ")  # in a text of JSON a line end is an escape


def features_of(definition: Definition) -> Contract:
    """Return the contract of what callers send: the features alone."""
    contract = Contract.from_definition(definition.as_json())
    return replace(contract, columns=contract.features)


def _checked(contract: Contract, batch: Batch) -> Iterator[Record]:
    checked = check(contract, batch.table)
    problems = problems_of(batch, checked)
    numbers = batch.row_numbers(np.arange(batch.table.num_rows)).tolist()
    for position, (number, features) in enumerate(zip(numbers, checked.table.to_pylist(), strict=True)):
        yield Record(number, features, tuple(problems.get(position, ())))


def problems_of(batch: Batch, checked: Checked) -> dict[int, list[str]]:
    """Return what is wrong with rows of a batch that was checked, by their positions."""
    problems: dict[int, list[str]] = {}
    for violation in checked.violations:
        column, array = violation.column, batch.table.column(violation.column.name)
        texts = array.field("text") if pa.types.is_struct(array.type) else array
        for position in violation.rows.tolist():
            why = broken_rule(column, violation.rule, texts[position].as_py())
            problems.setdefault(position, []).append(f"{column.name}: {why}")
    return problems


def require_served(stack: Stack) -> str:
    """Return the run whose model serves. Raises CommandError: no model has come into service."""
    run = stacks.exported(stack.name, "run")
    if run is None:
        raise CommandError(
            f"no model of {stack.name} has come into service, so there is no answer yet: `perennial runs` says what "
            "became of its runs, and `perennial drop FILE` starts one"
        )
    return run


@contextmanager
def asking(client: Any, stack: Stack, what: str) -> Iterator[None]:
    """Raise CommandError where the endpoint of a stack refuses what it is asked about, sleeps, or is not there yet."""
    endpoint = stack.outputs["EndpointName"]
    try:
        yield
    except client.exceptions.ModelError as error:
        text = error.response.get("OriginalMessage") or error.response["Error"]["Message"]
        raise CommandError(f"the endpoint {endpoint} refuses {what}: {text}") from error
    except ClientError as error:
        problem = failures.of_response(error.response, stack.hours, datetime.now(UTC))
        if problem is None:
            raise
        if problem.status == HTTPStatus.SERVICE_UNAVAILABLE:
            require_served(stack)
        raise CommandError(f"{endpoint}: {problem}") from error


def answers(stack: Stack, records: Sequence[Record], inference_ids: Iterator[str] | None = None) -> Iterator[Answer]:
    """Yield what the endpoint of a stack says to each record, in their order.

    inference_ids  those of the requests; None: requests have none

    Raises CommandError: it refuses, says less, sleeps, or is not there yet.
    """
    client, endpoint = boto3.client("sagemaker-runtime"), stack.outputs["EndpointName"]
    for start in range(0, len(records), AT_ONCE):
        part = records[start : start + AT_ONCE]
        body = "".join(f"{json.dumps(record.features)}\n" for record in part).encode()
        known = {"InferenceId": next(inference_ids)} if inference_ids else {}
        with asking(client, stack, f"records {part[0].number} and on"):
            reply = client.invoke_endpoint(EndpointName=endpoint, ContentType=LINES, Accept=LINES, Body=body, **known)
        lines = reply["Body"].read().decode().splitlines()
        if len(lines) != len(part):
            raise CommandError(f"the endpoint {endpoint} gave {len(lines)} answers to {len(part)} records")
        unusual = reply.get("CustomAttributes", "")
        yield from (Answer(record, json.loads(line), unusual) for record, line in zip(part, lines, strict=True))
