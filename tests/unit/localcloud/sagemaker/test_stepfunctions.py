"""The optimised integration, with a SageMaker that is a dictionary."""

import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from localcloud.sagemaker.errors import AwsError
from localcloud.sagemaker.platform.store import Store
from localcloud.sagemaker.stepfunctions import TaskError, map_error, run_task

SYNC = "arn:aws:states:::sagemaker:createTransformJob.sync"
REQUEST = {
    "TransformJobName": "t",
    "ModelName": "m",
    "TransformInput": {"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "s3://b/x"}}},
    "TransformOutput": {"S3OutputPath": "s3://b/y"},
    "TransformResources": {"InstanceType": "ml.m5.large", "InstanceCount": 1},
}


class Service:
    """Answers Describe with these statuses, one after the other."""

    def __init__(self, root: Path, *statuses: str) -> None:
        self.store = Store(root)
        self.context = SimpleNamespace(changed=threading.Condition())
        self._statuses = list(statuses)
        self.called: list[str] = []

    def handle(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        self.called.append(operation)
        if not operation.startswith("Describe"):
            return {"TransformJobArn": "arn:t"}
        status = self._statuses.pop(0) if len(self._statuses) > 1 else self._statuses[0]
        return {"TransformJobName": "t", "TransformJobArn": "arn:t", "TransformJobStatus": status, "CreationTime": 1.5}

    answer = handle


def run(service: Service, should_stop: Any = lambda: False, **members: Any) -> dict[str, Any]:
    return run_task(service, SYNC, {**REQUEST, **members}, should_stop)  # type: ignore[arg-type]


def test_a_task_waits_for_the_end_of_its_job(tmp_path: Path) -> None:
    output = run(Service(tmp_path, "InProgress", "InProgress", "Completed"))
    assert output["TransformJobStatus"] == "Completed"
    assert output["CreationTime"] == 1500
    assert output["Tags"] == {}


@pytest.mark.parametrize("status", ["Failed", "Stopped"])
def test_a_job_that_did_not_complete_fails_the_task(status: str, tmp_path: Path) -> None:
    with pytest.raises(TaskError) as failed:
        run(Service(tmp_path, status))
    assert failed.value.name == "States.TaskFailed"
    assert json.loads(failed.value.cause)["TransformJobStatus"] == status


def test_a_stopped_job_can_be_returned_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALCLOUD_SYNC_STOPPED", "return")
    assert run(Service(tmp_path, "Stopped"))["TransformJobStatus"] == "Stopped"
    with pytest.raises(TaskError):
        run(Service(tmp_path, "Failed"))


def test_a_task_that_has_to_end_stops_its_job(tmp_path: Path) -> None:
    service = Service(tmp_path, "InProgress")
    with pytest.raises(TaskError):
        run(service, lambda: True)
    assert service.called[-1] == "StopTransformJob"


def test_every_wrong_field_is_named(tmp_path: Path) -> None:
    service = Service(tmp_path, "Completed")
    with pytest.raises(TaskError) as failed:
        run(service, Foo=1, TransformOutput={"Bar": 1}, Environment={"A": 1}, ModelName=None)
    assert failed.value.name == "States.Runtime"
    for problem in (
        "The field 'Foo' is not supported by Step Functions",
        "The field 'Bar' is not supported by Step Functions",
        "The field 'S3OutputPath' is required but was missing",
        "The value for the field 'A' must be a STRING",
        "The field 'ModelName' is required but was missing",
    ):
        assert problem in failed.value.cause
    assert service.called == []


@pytest.mark.parametrize(
    ("code", "optimised", "sdk"),
    [
        ("ValidationException", "AmazonSageMakerException", "SageMakerException"),
        ("ThrottlingException", "AmazonSageMakerException", "SageMakerException"),
        ("ResourceInUse", "ResourceInUseException", "ResourceInUseException"),
        ("ResourceLimitExceeded", "ResourceLimitExceededException", "ResourceLimitExceededException"),
        ("ResourceNotFound", "ResourceNotFoundException", "ResourceNotFoundException"),
        ("ConflictException", "ConflictException", "ConflictException"),
    ],
)
def test_errors_are_named_as_in_the_two_integrations(code: str, optimised: str, sdk: str) -> None:
    error = AwsError(code, "the text")
    assert map_error(error).name == f"SageMaker.{optimised}"
    assert map_error(error, "aws-sdk").name == f"SageMaker.{sdk}"
    assert map_error(error).cause.startswith("the text (Service: AmazonSageMaker; Status Code: 400; Error Code: ")
    assert map_error(error, "aws-sdk").cause.startswith("the text (Service: SageMaker, Status Code: 400, Request ID: ")
