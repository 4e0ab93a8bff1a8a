"""A SageMaker that does nothing but remember: for tests of the seams around it. Run as a server process."""

import asyncio
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from localcloud.engine.server import run
from localcloud.sagemaker.errors import AwsError
from localcloud.settings import Settings

JsonObject = dict[str, Any]


class FakeSageMaker:
    """Tasks last until they are told to stop; `DescribeEndpoint` raises the error that the name asks for.

    Endpoints answer the type that a request accepts, else CSV.
    """

    def __init__(self, settings: Settings) -> None:
        self._notes = settings.state / "fake.jsonl"

    def start(self) -> None:
        self._note("start")

    def stop(self) -> None:
        self._note("stop")

    def warm_up(self) -> None:
        self._note("warm up")

    def handle(self, operation: str, request: JsonObject) -> JsonObject:
        if operation == "DescribeEndpoint":
            code, _, message = request["EndpointName"].partition(":")
            raise AwsError(code, message)
        if operation == "DescribeModel":
            return {"ModelName": request["ModelName"], "CreationTime": 1_700_000_000.25, "ExecutionRoleArn": None}
        return {}

    def http(self, operation: str, body: bytes) -> tuple[Any, ...]:
        answer = json.dumps({"ModelArn": f"arn:SageMaker.{operation}"}).encode()
        return 200, {"Content-Type": "application/x-amz-json-1.1"}, answer

    def scale(self, operation: str, body: bytes) -> tuple[Any, ...]:
        return self.http(operation, body)

    def record(self, operation: str, group: str, query: Mapping[str, list[str]], body: bytes) -> tuple[Any, ...]:
        return self.http(operation, body)

    async def invoke(self, endpoint: str, headers: Mapping[str, str], body: bytes) -> tuple[Any, ...]:
        await asyncio.sleep(float(headers.get("x-fake-seconds", 0)))
        kind = headers.get("accept", "text/csv")
        return 200, {"Content-Type": kind, "x-Amzn-Invoked-Production-Variant": "All"}, body.upper()

    def task(
        self,
        resource: str,
        arguments: JsonObject,
        should_stop: Callable[[], bool],
        submitted: Callable[[JsonObject], None],
    ) -> JsonObject:
        self._note("task", resource=resource, arguments=arguments)
        until = time.monotonic() + arguments.get("Seconds", 0)
        while time.monotonic() < until:
            if should_stop():
                self._note("stopped", arguments=arguments)
                return {}
            time.sleep(0.02)
        if "Raise" in arguments:
            from localcloud.sagemaker.stepfunctions import TaskError

            raise TaskError(arguments["Raise"], "because")
        return {"ModelArn": "arn:model"}

    def _note(self, what: str, **details: Any) -> None:
        with self._notes.open("a") as notes:
            notes.write(json.dumps({"what": what, **details}) + "\n")


if __name__ == "__main__":
    run(Settings(int(sys.argv[1]), Path(sys.argv[2])), FakeSageMaker)
