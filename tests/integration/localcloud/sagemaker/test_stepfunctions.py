"""SageMaker tasks of state machines, through the local cloud's Step Functions."""

import json
from typing import Any

import pytest

from tests.integration.conftest import Cloud, history, run_machine, start_machine, unique
from tests.integration.sagemaker_requests import Document, end, numbers, processing, training
from tests.waiting import wait_for

OPTIMISED = "arn:aws:states:::sagemaker:"


@pytest.fixture(scope="module")
def bucket(cloud: Cloud) -> str:
    name = unique("states")
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=name)
    for prefix in ("train", "validation"):
        s3.put_object(Bucket=name, Key=f"{prefix}/part-00000.csv", Body=numbers(100))
    return name


def task(action: str, arguments: Document, **members: Any) -> Document:
    """A state machine of one task."""
    state = {"Type": "Task", "Resource": f"{OPTIMISED}{action}", "Arguments": arguments, "End": True, **members}
    return {"StartAt": "Work", "States": {"Work": state}}


def test_a_sync_task_returns_the_description_with_milliseconds_and_a_map_of_tags(cloud: Cloud, bucket: str) -> None:
    name = unique("train")
    request = training(name, bucket, {"num_round": "2"}, Tags=[{"Key": "Stack", "Value": "cars"}])
    ended = run_machine(cloud, task("createTrainingJob.sync", request), seconds=60)
    assert ended["status"] == "SUCCEEDED", ended.get("cause")
    output = json.loads(ended["output"])
    assert output["TrainingJobStatus"] == "Completed"
    assert output["ModelArtifacts"]["S3ModelArtifacts"].endswith("/output/model.tar.gz")
    assert isinstance(output["CreationTime"], int)
    assert output["CreationTime"] > 1_600_000_000_000
    assert output["Tags"] == {
        "Stack": "cars",
        "MANAGED_BY_AWS": "STARTED_BY_STEP_FUNCTIONS",
        "AWS_STEP_FUNCTIONS_EXECUTION_ARN": ended["executionArn"],
    }
    assert "SdkHttpMetadata" not in output
    (event,) = (each for each in history(cloud, ended["executionArn"]) if each["type"] == "TaskSubmitted")
    submitted = event["taskSubmittedEventDetails"]
    assert (submitted["resourceType"], submitted["resource"]) == ("sagemaker", "createTrainingJob.sync")
    answer = json.loads(submitted["output"])
    assert answer["TrainingJobArn"] == output["TrainingJobArn"]
    assert answer["SdkHttpMetadata"]["HttpStatusCode"] == 200


def test_a_task_without_sync_returns_at_once(cloud: Cloud) -> None:
    name = unique("once")
    ended = run_machine(cloud, task("createProcessingJob", processing(name, "import time; time.sleep(60)")))
    arn = f"arn:aws:sagemaker:us-east-1:000000000000:processing-job/{name}"
    output = json.loads(ended["output"])
    assert output.keys() == {"ProcessingJobArn", "SdkHttpMetadata", "SdkResponseMetadata"}
    assert output["ProcessingJobArn"] == arn
    cloud.client("sagemaker").stop_processing_job(ProcessingJobName=name)


def test_a_job_that_fails_fails_the_task_with_its_description_as_the_cause(cloud: Cloud) -> None:
    code = "import pathlib,sys; (pathlib.Path(sys.argv[1]) / 'message').write_text('rows are missing'); sys.exit(1)"
    ended = run_machine(cloud, task("createProcessingJob.sync", processing(unique("fails"), code, "/opt/ml/output")))
    assert (ended["status"], ended["error"]) == ("FAILED", "States.TaskFailed")
    cause = json.loads(ended["cause"])
    assert cause["ProcessingJobStatus"] == "Failed"
    assert cause["FailureReason"] == "AlgorithmError: , exit code: 1"
    assert cause["ExitMessage"] == "rows are missing"


def test_a_job_that_is_stopped_fails_the_task(cloud: Cloud) -> None:
    name = unique("stopped")
    limit = {"StoppingCondition": {"MaxRuntimeInSeconds": 1}}
    request = processing(name, "import time; time.sleep(60)", **limit)
    ended = run_machine(cloud, task("createProcessingJob.sync", request))
    assert (ended["status"], ended["error"]) == ("FAILED", "States.TaskFailed")
    assert json.loads(ended["cause"])["ProcessingJobStatus"] == "Stopped"


ERRORS: list[tuple[str, Document, str, str]] = [
    (
        "createProcessingJob.sync",
        {"ProcessingJobName": "a_b"},
        "SageMaker.AmazonSageMakerException",
        "'processingJobName'",
    ),
    (
        "createProcessingJob",
        {"Processors": 1},
        "States.Runtime",
        "The field 'Processors' is not supported by Step Functions",
    ),
    (
        "createProcessingJob",
        {"Environment": {"N": 1}},
        "States.Runtime",
        "The value for the field 'N' must be a STRING",
    ),
    ("createProcessingJob", {"RoleArn": None}, "States.Runtime", "The field 'RoleArn' is required but was missing"),
    ("createModel.sync", {}, "States.Runtime", "createModel.sync"),
    ("describeModel", {"ModelName": "m"}, "States.Runtime", "sagemaker:describeModel"),
]


@pytest.mark.parametrize(("action", "members", "error", "text"), ERRORS, ids=[text for *_, text in ERRORS])
def test_errors_have_the_names_of_step_functions(
    cloud: Cloud, action: str, members: Document, error: str, text: str
) -> None:
    ended = run_machine(cloud, task(action, {**processing(unique("error"), ""), **members}))
    assert (ended["status"], ended["error"]) == ("FAILED", error)
    assert text in ended["cause"]


def test_a_name_that_is_taken_can_be_caught(cloud: Cloud) -> None:
    request = processing(unique("taken"), "")
    cloud.client("sagemaker").create_processing_job(**request)
    caught = {"ErrorEquals": ["SageMaker.ResourceInUseException"], "Next": "Taken"}
    machine = task("createProcessingJob.sync", request, Catch=[caught])
    machine["States"]["Taken"] = {"Type": "Pass", "Output": "taken", "End": True}
    assert json.loads(run_machine(cloud, machine)["output"]) == "taken"


def test_the_job_is_stopped_when_the_execution_is(cloud: Cloud) -> None:
    name = unique("aborted")
    arn = start_machine(cloud, task("createProcessingJob.sync", processing(name, "import time; time.sleep(60)")))
    client = cloud.client("sagemaker")
    wait_for(lambda: client.list_processing_jobs(NameContains=name)["ProcessingJobSummaries"], "the job")
    cloud.client("stepfunctions").stop_execution(executionArn=arn)
    job = end(lambda: client.describe_processing_job(ProcessingJobName=name), "ProcessingJob", 10)
    assert job["ProcessingJobStatus"] == "Stopped"


def test_the_job_is_stopped_when_the_state_times_out(cloud: Cloud) -> None:
    name = unique("timeout")
    machine = task("createProcessingJob.sync", processing(name, "import time; time.sleep(60)"), TimeoutSeconds=1)
    ended = run_machine(cloud, machine)
    assert ended["error"] == "States.Timeout"
    client = cloud.client("sagemaker")
    job = end(lambda: client.describe_processing_job(ProcessingJobName=name), "ProcessingJob", 10)
    assert job["ProcessingJobStatus"] == "Stopped"


def test_sdk_tasks_describe_with_times_as_text_and_name_errors_as_the_sdk_does(cloud: Cloud) -> None:
    name = unique("sdk")
    cloud.client("sagemaker").create_processing_job(**processing(name, ""))
    machine = {
        "StartAt": "Describe",
        "States": {
            "Describe": {
                "Type": "Task",
                "Resource": "arn:aws:states:::aws-sdk:sagemaker:describeProcessingJob",
                "Arguments": {"ProcessingJobName": name},
                "End": True,
            }
        },
    }
    output = json.loads(run_machine(cloud, machine)["output"])
    assert output["CreationTime"].endswith("Z")
    machine["States"]["Describe"]["Arguments"] = {"ProcessingJobName": "none"}  # type: ignore[index]
    ended = run_machine(cloud, machine)
    assert ended["error"] == "SageMaker.SageMakerException"
    assert "Could not find requested job with name: none" in ended["cause"]


def test_a_task_adds_nothing_to_speak_of_to_the_time_of_its_job(cloud: Cloud) -> None:
    ended = run_machine(cloud, task("createProcessingJob.sync", processing(unique("quick"), "")))
    events = history(cloud, ended["executionArn"])
    assert (events[-1]["timestamp"] - events[0]["timestamp"]).total_seconds() < 1.0
