"""The seam between the engine and SageMaker, with a SageMaker that only remembers what it was asked."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from localcloud import access, process
from localcloud.settings import PROJECT, Settings
from tests.integration.conftest import Cloud, end_of, run_machine, start_machine, with_role
from tests.ports import free_port
from tests.waiting import wait_for

SYNC = "arn:aws:states:::sagemaker:createTrainingJob.sync"


@pytest.fixture(scope="module")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    settings = Settings(free_port(), tmp_path_factory.mktemp("fake"))
    command = [sys.executable, "-m", "tests.integration.fake_sagemaker", str(settings.port), str(settings.state)]
    with (
        (settings.state / "server.log").open("wb") as log,
        subprocess.Popen(command, cwd=PROJECT, stdout=log, stderr=log) as server,
    ):
        wait_for(lambda: (process.status(settings) or {}).get("ready"), "the server")
        yield with_role(Cloud(settings))
        server.terminate()


def notes(fake: Cloud, what: str) -> list[dict[str, Any]]:
    lines = (fake.state / "fake.jsonl").read_text().splitlines()
    return [note for line in lines if (note := json.loads(line))["what"] == what]


def task(resource: str, arguments: dict[str, Any], **fields: Any) -> dict[str, Any]:
    state = {"Type": "Task", "Resource": resource, "Arguments": arguments, "End": True, **fields}
    return {"StartAt": "Only", "States": {"Only": state, "Caught": {"Type": "Succeed"}}}


def stopped(fake: Cloud, name: str) -> bool:
    return any(note["arguments"]["TrainingJobName"] == name for note in notes(fake, "stopped"))


def test_boto3_reaches_the_control_operations_and_the_endpoints(fake: Cloud) -> None:
    created = fake.client("sagemaker").create_model(ModelName="m", ExecutionRoleArn="arn:aws:iam::000000000000:role/r")
    reply = fake.client("sagemaker-runtime").invoke_endpoint(EndpointName="cars", Body=b"a,b", ContentType="text/csv")

    assert created["ModelArn"] == "arn:SageMaker.CreateModel"
    assert reply["Body"].read() == b"A,B"
    assert reply["InvokedProductionVariant"] == "All"


KINDS = [
    "text/csv; charset=utf-8", "application/json", "application/jsonlines", "application/xml", "text/xml", "text/plain",
    "application/octet-stream", "application/x-npy", "application/x-amz-json-1.1",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_has_the_type_that_the_model_gave_it(fake: Cloud, kind: str) -> None:
    runtime = fake.client("sagemaker-runtime")
    assert runtime.invoke_endpoint(EndpointName="cars", Body=b"a", Accept=kind)["ContentType"] == kind

    keys = access.keys(fake.state)
    signed = AWSRequest("POST", f"{fake.endpoint_url}/endpoints/cars/invocations", data=b"a", headers={"Accept": kind})
    SigV4Auth(Credentials(keys.access_key, keys.secret_key), "sagemaker", fake.region).add_auth(signed)
    with urlopen(Request(str(signed.url), b"a", dict(signed.headers)), timeout=30) as reply:  # noqa: S310
        assert (reply.headers.get_all("Content-Type"), reply.read()) == ([kind], b"A")


def test_the_control_api_answers_in_its_own_protocol(fake: Cloud) -> None:
    created = fake.client("sagemaker").create_model(ModelName="m", ExecutionRoleArn="arn:aws:iam::000000000000:role/r")
    assert created["ResponseMetadata"]["HTTPHeaders"]["content-type"] == "application/x-amz-json-1.1"


def test_the_image_is_warm_when_an_execution_that_begins_by_waiting_comes_to_its_job(fake: Cloud) -> None:
    wait = {"Type": "Wait", "Seconds": 1, "Next": "Only"}
    file = fake.state / "fake.jsonl"
    for resource, expected in (("arn:aws:states:::sagemaker:createModel", ["task"]), (SYNC, ["warm up", "task"])):
        before = len(file.read_text().splitlines())
        states = {"Wait": wait, **task(resource, {"TrainingJobName": "job"})["States"]}
        assert run_machine(fake, {"StartAt": "Wait", "States": states})["status"] == "SUCCEEDED"
        assert [json.loads(line)["what"] for line in file.read_text().splitlines()[before:]] == expected


def test_a_bucket_named_endpoints_is_still_a_bucket(fake: Cloud) -> None:
    s3 = fake.client("s3")
    s3.create_bucket(Bucket="endpoints")
    s3.put_object(Bucket="endpoints", Key="cars/invocations", Body=b"object")

    assert s3.get_object(Bucket="endpoints", Key="cars/invocations")["Body"].read() == b"object"


def test_slow_invocations_hold_up_neither_one_another_nor_other_services(fake: Cloud) -> None:
    def invoke(_: int) -> None:
        client = fake.client("sagemaker-runtime")
        client.meta.events.register(
            "before-call", lambda params, **_: params["headers"].update({"x-fake-seconds": "1"})
        )
        client.invoke_endpoint(EndpointName="cars", Body=b"x")

    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(invoke, range(8))
        time.sleep(0.3)
        before = time.monotonic()
        fake.client("sts").get_caller_identity()
        assert time.monotonic() - before < 0.6
        list(answers)
    assert time.monotonic() - began < 4


def test_a_sync_task_carries_the_tags_of_its_execution(fake: Cloud) -> None:
    given = {"TrainingJobName": "tagged", "Tags": [{"Key": "Project", "Value": "p"}]}

    ended = run_machine(fake, task(SYNC, given))

    assert json.loads(ended["output"]) == {"ModelArn": "arn:model"}
    arguments = next(n["arguments"] for n in notes(fake, "task") if n["arguments"].get("TrainingJobName") == "tagged")
    assert {tag["Key"]: tag["Value"] for tag in arguments["Tags"]} == {
        "Project": "p",
        "MANAGED_BY_AWS": "STARTED_BY_STEP_FUNCTIONS",
        "AWS_STEP_FUNCTIONS_EXECUTION_ARN": ended["executionArn"],
    }


def test_stopping_the_execution_stops_the_job(fake: Cloud) -> None:
    arn = start_machine(fake, task(SYNC, {"TrainingJobName": "halted", "Seconds": 60}))
    wait_for(lambda: any(n["arguments"].get("TrainingJobName") == "halted" for n in notes(fake, "task")), "the job")

    fake.client("stepfunctions").stop_execution(executionArn=arn)

    wait_for(lambda: stopped(fake, "halted"), "the job to be stopped")
    assert end_of(fake, arn)["status"] == "ABORTED"


def test_a_state_that_times_out_stops_its_job(fake: Cloud) -> None:
    ended = run_machine(fake, task(SYNC, {"TrainingJobName": "slow", "Seconds": 60}, TimeoutSeconds=1))

    assert (ended["status"], ended["error"]) == ("FAILED", "States.Timeout")
    wait_for(lambda: stopped(fake, "slow"), "the job to be stopped")


def test_a_failing_branch_stops_the_job_of_its_sibling(fake: Cloud) -> None:
    long = task(SYNC, {"TrainingJobName": "sibling", "Seconds": 60})
    wait = {
        "StartAt": "Wait",
        "States": {"Wait": {"Type": "Wait", "Seconds": 1, "Next": "F"}, "F": {"Type": "Fail", "Error": "Other"}},
    }
    both = {"Type": "Parallel", "Branches": [long, wait], "End": True}

    ended = run_machine(fake, {"StartAt": "Both", "States": {"Both": both}})

    assert (ended["status"], ended["error"]) == ("FAILED", "Other")
    wait_for(lambda: stopped(fake, "sibling"), "the job to be stopped")


def test_the_error_of_an_optimised_task_reaches_catch_under_its_name(fake: Cloud) -> None:
    catch = [
        {
            "ErrorEquals": ["SageMaker.ResourceLimitExceededException"],
            "Output": "{% $states.errorOutput %}",
            "Next": "Caught",
        }
    ]
    arguments = {"Raise": "SageMaker.ResourceLimitExceededException"}

    ended = run_machine(fake, task("arn:aws:states:::sagemaker:createModel", arguments, Catch=catch))

    assert json.loads(ended["output"]) == {"Error": "SageMaker.ResourceLimitExceededException", "Cause": "because"}


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("ValidationException", "SageMaker.SageMakerException"),
        ("ThrottlingException", "SageMaker.SageMakerException"),
        ("ResourceLimitExceeded", "SageMaker.ResourceLimitExceededException"),
        ("ResourceInUse", "SageMaker.ResourceInUseException"),
        ("ResourceNotFound", "SageMaker.ResourceNotFoundException"),
        ("ConflictException", "SageMaker.ConflictException"),
    ],
)
def test_errors_of_sdk_tasks_have_the_names_of_the_sdk(fake: Cloud, code: str, error: str) -> None:
    resource = "arn:aws:states:::aws-sdk:sagemaker:describeEndpoint"

    ended = run_machine(fake, task(resource, {"EndpointName": f"{code}:Could not find endpoint"}))

    assert (ended["status"], ended["error"]) == ("FAILED", error)
    assert ended["cause"].startswith("Could not find endpoint (Service: SageMaker, Status Code: 400, Request ID: ")


def test_an_sdk_task_returns_timestamps_as_iso_strings_and_no_nulls(fake: Cloud) -> None:
    ended = run_machine(fake, task("arn:aws:states:::aws-sdk:sagemaker:describeModel", {"ModelName": "m"}))

    assert json.loads(ended["output"]) == {"ModelName": "m", "CreationTime": "2023-11-14T22:13:20.250Z"}


def test_an_endpoint_can_be_invoked_as_a_task(fake: Cloud) -> None:
    arguments = {"EndpointName": "cars", "ContentType": "text/csv", "Body": "a,b"}

    ended = run_machine(fake, task("arn:aws:states:::aws-sdk:sagemakerruntime:invokeEndpoint", arguments))

    assert json.loads(ended["output"]) == {"Body": "A,B", "ContentType": "text/csv", "InvokedProductionVariant": "All"}


def test_sagemaker_is_started_after_the_server_listens_and_stopped_with_it(tmp_path: Path) -> None:
    settings = Settings(free_port(), tmp_path)
    command = [sys.executable, "-m", "tests.integration.fake_sagemaker", str(settings.port), str(tmp_path)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        wait_for(lambda: (process.status(settings) or {}).get("ready"), "the server")
        server.terminate()
        assert server.wait(10) == 0

    lines = (tmp_path / "fake.jsonl").read_text().splitlines()
    assert [json.loads(line)["what"] for line in lines] == ["start", "stop"]
