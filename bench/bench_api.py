"""What the API's function adds to a call of the endpoint, and what it takes to begin.

    python -m bench.bench_api [--calls 400] [--write]

The handler gets events of API Gateway, with an endpoint that answers at once, the definition of used-cars, and the
log that it writes. The floor is the JSON of record and answer alone. An import is that of a new process, less the
process itself; the memory, that of one which has answered 100 records. Exits with 1 when a bound is missed. --write
puts the table into docs/benchmark.md.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bench.processes import measured
from bench.table import Row, finish
from perennial.model import definition
from perennial.serving.requests import RecordContract
from perennial_aws import served_model

ROOT = Path(__file__).resolve().parents[1]
APP = ROOT / "functions" / "answer_request"
CAR = {
    "mileage": 12000, "cylinder": 8, "doors": 2, "cruise": True, "sound": True, "leather": True,
    "make": "Cadillac", "body": "convertible",
}  # fmt: skip
ENVIRONMENT = {"ENDPOINT_NAME": "cars", "STACK_NAME": "cars", "API_ACCESS": "key", "POWERTOOLS_SERVICE_NAME": "cars"}
CONTEXT = SimpleNamespace(
    function_name="cars-answer-request", memory_limit_in_mb=512, invoked_function_arn="arn", aws_request_id="1"
)
IMPORTS = {"nothing": "", "boto3": "import boto3", "the function": "import app"}
ANSWER = "from bench import bench_api; bench_api.added(bench_api.handler(), 100, 1)"


class _Endpoint:
    """Answers each record with a score, at once."""

    def invoke_endpoint(self, Body: bytes, **_: Any) -> dict[str, Any]:  # noqa: N803 - botocore's name
        return {"Body": io.BytesIO(b'{"score": 65356.96}\n' * Body.count(b"\n"))}


def handler() -> Callable[[dict[str, Any], Any], Any]:
    """Return the function's handler, with a model in service and an endpoint."""
    os.environ.update(ENVIRONMENT)
    sys.path.insert(0, str(APP))
    with contextlib.redirect_stdout(io.StringIO()):  # where its log goes from then on
        app: Any = importlib.import_module("app")
    defined = definition.load(ROOT / "models/used-cars/model.yaml").as_json()
    model = served_model.ServedModel("20261129100000-0a1b", defined, RecordContract.from_definition(defined))
    app.memory = SimpleNamespace(model=lambda *_: model)
    app.impatient = lambda _: _Endpoint()
    answer: Callable[[dict[str, Any], Any], Any] = app.handler
    return answer


def milliseconds(call: Callable[[], Any], calls: int) -> float:
    """Return the median of so many calls."""
    took = []
    for _ in range(calls):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e3


def added(answer: Callable[[dict[str, Any], Any], Any], records: int, calls: int) -> Row:
    """Return the time of the handler for a request of so many records, beside that of its JSON."""
    body = json.dumps([CAR] * records)
    event = {"httpMethod": "POST", "headers": {"Content-Type": "application/json"}, "body": body}
    if (answered := answer(event, CONTEXT))["statusCode"] != 200:
        raise ValueError(f"no answer: {answered}")
    us = milliseconds(lambda: answer(event, CONTEXT), calls)
    predictions = {"predictions": [{"score": 65356.96}] * records}
    floor = milliseconds(lambda: (json.dumps(json.loads(body)), json.dumps(predictions)), calls)
    return Row(f"{records:,} record{'s' * (records > 1)}", us, "ms", floor=floor)


def beginning(program: str, rounds: int) -> float:
    """Return the seconds of a new process that imports."""
    runs = [measured([sys.executable, "-c", program], f"{APP}:{ROOT}", ENVIRONMENT) for _ in range(rounds)]
    return statistics.median(run.seconds for run in runs)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", action="store_true", help="write the section of docs/benchmark.md")
    options = parser.parse_args(argv)
    answer = handler()
    rows = [added(answer, 1, options.calls), added(answer, 100, max(1, options.calls // 10))]
    seconds = {name: beginning(program, options.rounds) for name, program in IMPORTS.items()}
    nothing = seconds.pop("nothing")
    rows += [Row(f"import of {name}", took - nothing, "s") for name, took in seconds.items()]
    rows.append(Row("memory", measured([sys.executable, "-c", ANSWER]).mebibytes, "MiB"))
    text = (
        f"Medians of {options.calls} calls and {options.rounds} processes. Us: the handler, with an endpoint that "
        "answers at once. Floor: the JSON of records and answer."
    )
    return finish("api", text, rows, options.write, "json")


if __name__ == "__main__":
    sys.exit(main())
