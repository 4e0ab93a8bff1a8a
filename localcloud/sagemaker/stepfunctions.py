"""Step Functions' optimised integration, `arn:aws:states:::sagemaker:<action>[.sync]`.

Actions, outputs and error names as in the Step Functions Developer Guide, "Create and manage Amazon SageMaker jobs".
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from localcloud.sagemaker.api import requests, tags
from localcloud.sagemaker.errors import AwsError
from localcloud.sagemaker.jobs.family import TERMINAL
from localcloud.sagemaker.platform.store import Document

if TYPE_CHECKING:
    from localcloud.sagemaker.service import SageMakerService

PREFIX = "arn:aws:states:::sagemaker:"
_WAIT_SECONDS = 0.1
_LOOK_SECONDS = 2.0  # a change of the job comes with a notification; should one be missed, it is seen then
_JOBS = {f"create{noun}": noun for noun in ("ProcessingJob", "TrainingJob", "TransformJob", "HyperParameterTuningJob")}
_AT_ONCE = ("createModel", "createEndpointConfig", "createEndpoint", "updateEndpoint")
_TYPES = {
    "string": "a STRING",
    "boolean": "a BOOLEAN",
    "integer": "an INTEGER",
    "long": "a LONG",
    "float": "a FLOAT",
    "double": "a DOUBLE",
    "timestamp": "a TIMESTAMP",
    "structure": "an OBJECT",
    "map": "an OBJECT",
    "list": "an ARRAY",
}
_NAMED = ("ConflictException", "ResourceInUse", "ResourceLimitExceeded", "ResourceNotFound")


class TaskError(Exception):
    """Fails the state: `name` is what Retry and Catch match, `cause` what they show."""

    def __init__(self, name: str, cause: str) -> None:
        super().__init__(f"{name}: {cause}")
        self.name = name
        self.cause = cause


def run_task(
    service: SageMakerService,
    resource: str,
    arguments: Document,
    should_stop: Callable[[], bool] = lambda: False,
    submitted: Callable[[Document], None] = lambda _: None,
) -> Document:
    """Carry out one task; blocks until the job has ended for `.sync`, and gives the API's answer to `submitted` before.

    Returns the API's answer, or for `.sync` the job's description (times are epoch milliseconds, Tags is a map).
    When `should_stop` turns true the job is stopped and the task fails. Raises TaskError.
    """
    action, sync = resource.removeprefix(PREFIX).removesuffix(".sync"), resource.endswith(".sync")
    if not resource.startswith(PREFIX) or action not in (*_JOBS, *_AT_ONCE) or (sync and action not in _JOBS):
        supported = ", ".join([*(f"{job}[.sync]" for job in _JOBS), *_AT_ONCE])
        raise TaskError("States.Runtime", f"The resource {resource} is not supported here; supported: {supported}.")
    operation = action[0].upper() + action[1:]
    _check_fields(requests.input_shape(operation), arguments)
    try:
        answer = service.handle(operation, arguments)
    except AwsError as error:
        raise map_error(error) from error
    if not sync:
        return answer
    submitted(answer)
    return _wait(service, _JOBS[action], arguments, should_stop)


def map_error(error: AwsError, integration: str = "optimised") -> TaskError:
    """Return what a state sees of an API error; `integration` is `optimised` or `aws-sdk`.

    Errors that the API's model names keep their name; all others, ValidationException and throttling included, share
    one: `SageMaker.AmazonSageMakerException` (optimised) or `SageMaker.SageMakerException` (aws-sdk).
    """
    named = f"{error.code.removesuffix('Exception')}Exception" if error.code in _NAMED else None
    request = uuid.uuid4()
    if integration == "aws-sdk":
        cause = f"{error.message} (Service: SageMaker, Status Code: {error.status}, Request ID: {request})"
        return TaskError(f"SageMaker.{named or 'SageMakerException'}", cause)
    cause = (
        f"{error.message} (Service: AmazonSageMaker; Status Code: {error.status}; Error Code: {error.code}; "
        f"Request ID: {request}; Proxy: null)"
    )
    return TaskError(f"SageMaker.{named or 'AmazonSageMakerException'}", cause)


def _wait(service: SageMakerService, noun: str, arguments: Document, should_stop: Callable[[], bool]) -> Document:
    name = {f"{noun}Name": arguments[f"{noun}Name"]}
    changed, looks = service.context.changed, 0.0
    while True:
        with changed:
            if time.monotonic() >= looks:
                description = service.answer(f"Describe{noun}", name)
                if description[f"{noun}Status"] in TERMINAL:
                    break
                looks = time.monotonic() + _LOOK_SECONDS
            if changed.wait(_WAIT_SECONDS):
                looks = 0.0
        if should_stop():
            _stop(service, noun, name)
            raise TaskError(
                "States.TaskFailed", f"The task ended before {arguments[f'{noun}Name']}, which was stopped."
            )
    output = sync_output(noun, description, tags.read(service.store, description[f"{noun}Arn"]))
    status = description[f"{noun}Status"]
    if status == "Failed" or (status == "Stopped" and os.environ.get("LOCALCLOUD_SYNC_STOPPED", "raise") == "raise"):
        raise TaskError("States.TaskFailed", json.dumps(output))
    return output


def _stop(service: SageMakerService, noun: str, name: Document) -> None:
    try:
        service.answer(f"Stop{noun}", name)
    except AwsError as error:
        if "is in status" not in error.message:  # it has ended in this moment
            raise map_error(error) from error


def sync_output(noun: str, description: Document, tag_map: dict[str, str]) -> Document:
    """Return a description as `.sync` tasks return it."""
    output: Document = _milliseconds(requests.output_shape(f"Describe{noun}"), description)
    return output | {"Tags": tag_map}


def _milliseconds(shape: Any, value: Any) -> Any:
    if shape.type_name == "timestamp":
        return round(value * 1000)
    if shape.type_name == "structure":
        return {name: _milliseconds(shape.members[name], item) for name, item in value.items()}
    if shape.type_name == "list":
        return [_milliseconds(shape.member, item) for item in value]
    return value


# ---- What Step Functions checks before it calls the service


def _check_fields(shape: Any, arguments: Document) -> None:
    """Unknown fields, wrong types and missing fields end the execution: States.Runtime cannot be caught."""
    problems = list(_problems(shape, arguments, ""))
    if problems:
        text = json.dumps(arguments)
        raise TaskError(
            "States.Runtime",
            f"The Parameters '{text}' could not be used to start the Task: [{', '.join(problems)}]",
        )


def _problems(shape: Any, value: Any, name: str) -> Iterator[str]:
    if value is None:
        return
    if not requests.has_type(shape, value):
        yield f"The value for the field '{name}' must be {_TYPES[shape.type_name]}"
    elif shape.type_name == "structure":
        for key, item in value.items():
            if key in shape.members:
                yield from _problems(shape.members[key], item, key)
            else:
                yield f"The field '{key}' is not supported by Step Functions"
        for key in shape.required_members:
            if value.get(key) is None:
                yield f"The field '{key}' is required but was missing"
    elif shape.type_name == "list":
        for item in value:
            yield from _problems(shape.member, item, name)
    elif shape.type_name == "map":
        for key, item in value.items():
            yield from _problems(shape.value, item, key)
