"""Show files that are scored: one as the model knows them, and one with outliers, which is not.

The local cloud is up and the stack of models/used-cars is deployed when this starts (`make demo-batch` sees to both).
The first time the real data are dropped, so that a first model serves.

Exit code 0 only if the first file has a prediction for each row, and the second none, and a mail that names the column.
"""

from __future__ import annotations

import csv
import io
import json
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from perennial.runs.batch_file import INCOMING
from perennial_cli import batches, following
from perennial_cli.stacks import Stack
from tools import batch_files, demo, demo_data, terminal
from tools.demo import DemoError, console, line, section, show_text


@dataclass(frozen=True)
class Scored:
    """The stack, and where the mails are."""

    stack: Stack
    state: Path

    def drop(self, name: str, body: bytes, expected: str) -> tuple[dict[str, Any], str]:
        """Drop a file, follow it, and return its record and the text of its mail."""
        with closing(boto3.client("s3")) as s3:
            version = s3.put_object(Bucket=self.stack.bucket, Key=f"{INCOMING}{name}", Body=body)["VersionId"]
        line("dropped", f"s3://{self.stack.bucket}/{INCOMING}{name}")
        machine = batches.machine(self.stack)
        record = batches.outcome(self.stack, demo.follow(following.wait_for_drop(self.stack, version, machine=machine)))
        line("outcome", str(record["status"]))
        if record["status"] != expected:
            raise DemoError(f"{name} is {record['status']}; expected {expected}: {json.dumps(record['reasons'])}")
        mail = demo.wait_for_mail(self.state, f"/executions/details/{record['execution']}").body
        console.print()
        show_text("\n".join(f"  | {text}" for text in mail.partition(demo.FOOTER)[0].strip().split("\n")))
        return record, mail


def first_model(stack: Stack) -> None:
    """Drop the real data, if nothing was dropped yet."""
    s3 = boto3.client("s3")
    if s3.list_objects_v2(Bucket=stack.bucket, Prefix="raw/").get("KeyCount"):
        return
    section("A first model")
    version = s3.put_object(Bucket=stack.bucket, Key="raw/cars-0001.csv", Body=demo_data.used_cars())["VersionId"]
    execution = demo.follow(demo.execution_for(stack, version))
    if execution["status"] != "SUCCEEDED":
        raise DemoError(f"the first run ended as {execution['status']}: {execution.get('error')}")


def run(scored: Scored) -> None:
    """Score a file as the model knows them, and one that is not.

    Raises:
        DemoError: something that the demo promises did not happen.
    """
    first_model(scored.stack)
    section("1. A file as the model knows them")
    body = batch_files.cars()
    record, _ = scored.drop(batch_files.SOUND, body, "Scored")
    bucket, _, key = str(record["result"]).removeprefix("s3://").partition("/")
    with closing(boto3.client("s3")) as s3:
        result = s3.get_object(Bucket=bucket, Key=key)["Body"].read().decode()
    rows = list(csv.DictReader(io.StringIO(result)))
    if len(rows) != body.count(b"\n") - 1 or not all(row["prediction"] for row in rows):
        raise DemoError(f"{record['result']} has not a prediction for each row")
    show_text("\n".join(f"  {text}" for text in result.splitlines()[:4]))
    section("2. A file with outliers")
    refused, mail = scored.drop(batch_files.WITH_OUTLIERS, batch_files.cars(outliers=True), "Drift")
    if "mileage: " not in mail:
        raise DemoError("the mail does not name the column mileage")
    prefix = f"batch/scored/{refused['id']}/"
    with closing(boto3.client("s3")) as s3:
        if s3.list_objects_v2(Bucket=scored.stack.bucket, Prefix=prefix)["KeyCount"]:
            raise DemoError(f"there are predictions of a file with outliers below s3://{scored.stack.bucket}/{prefix}")


def main(argv: list[str] | None = None) -> int:
    return demo.started(
        argv, "demo_batch", __doc__ or "", "perennial-used-cars",
        lambda name, state: run(Scored(demo.find_stack(name), state)),
    )  # fmt: skip


if __name__ == "__main__":
    terminal.run(main)
