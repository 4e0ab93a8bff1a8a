"""Training jobs that run a script or a program of the caller's, as the SageMaker SDKs ask for them."""

import io
import json
import tarfile
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud import faults
from tests.integration.conftest import Cloud, unique
from tests.integration.sagemaker_requests import (
    LINEAR_LEARNER,
    ROLE,
    SKLEARN,
    XGBOOST,
    Document,
    channel,
    end,
    numbers,
    processing,
    processing_input,
    processing_output,
    training,
)

# What a notebook user's script does: arguments, variables, paths that are written in it, AWS under the job's role.
SCRIPT = """
import argparse, json, os, sys
import boto3
import helper

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--alpha", type=float)
    parser.add_argument("--layers")
    parser.add_argument("-b", type=int)
    parser.add_argument("--train", default=os.environ["SM_CHANNEL_TRAIN"])
    given = parser.parse_args()
    said = {
        "arguments": [given.alpha, given.layers, given.b],
        "files": os.listdir(given.train),
        "folder": os.listdir(),
        "hyperparameters": json.loads(os.environ["SM_HPS"]),
        "channels": json.loads(os.environ["SM_CHANNELS"]),
        "who": boto3.client("sts").get_caller_identity()["Arn"],
        "helper": helper.ANSWER,
    }
    with open("/opt/ml/model/said.json", "w") as file:
        json.dump(said, file)
    with open(os.path.join(os.environ["SM_OUTPUT_DATA_DIR"], "log.txt"), "w") as file:
        file.write("done")
    print("loss=0.25; written to /opt/ml/model")
"""
SERVED = """
import json
def model_fn(model_dir):
    return json.load(open(model_dir + "/said.json"))
def predict_fn(data, model):
    return [model["helper"] * len(data)]
"""


@pytest.fixture(scope="module")
def bucket(cloud: Cloud) -> str:
    name = unique("scripts")
    s3 = cloud.client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="train/rows.csv", Body=numbers(50))
    return name


def packed(files: dict[str, str]) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    return archive.getvalue()


def by_script(
    cloud: Cloud, bucket: str, files: dict[str, str], program: str, image: str = SKLEARN, **members: Any
) -> Document:
    """A job of the SDK's: an uploaded archive, and hyperparameters that are JSON."""
    name = unique("script")
    cloud.client("s3").put_object(Bucket=bucket, Key=f"{name}/source/sourcedir.tar.gz", Body=packed(files))
    values = {
        "sagemaker_program": program,
        "sagemaker_submit_directory": f"s3://{bucket}/{name}/source/sourcedir.tar.gz",
        "sagemaker_container_log_level": 20,
        "sagemaker_job_name": name,
        "sagemaker_region": "us-east-1",
    }
    parameters = {key: json.dumps(value) for key, value in (values | members.pop("values", {})).items()}
    return train(
        cloud, training(name, bucket, parameters, image, **{"InputDataConfig": [train_channel(bucket)], **members})
    )


def train_channel(bucket: str) -> Document:
    return channel("train", f"s3://{bucket}/train/")


def train(cloud: Cloud, request: Document) -> Document:
    client = cloud.client("sagemaker")
    client.create_training_job(**request)
    return end(lambda: client.describe_training_job(TrainingJobName=request["TrainingJobName"]), "TrainingJob")


def model_file(cloud: Cloud, job: Document, name: str) -> str:
    bucket, _, key = job["ModelArtifacts"]["S3ModelArtifacts"].removeprefix("s3://").partition("/")
    body = cloud.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as archive:
        file = archive.extractfile(name)
        assert file is not None
        return file.read().decode()


def log_of(cloud: Cloud, name: str, group: str = "/aws/sagemaker/TrainingJobs") -> str:
    found = cloud.client("logs").filter_log_events(logGroupName=group, logStreamNamePrefix=f"{name}/")
    return "\n".join(event["message"] for event in found["events"])


@pytest.fixture(scope="module")
def scripted(cloud: Cloud, bucket: str) -> Document:
    """A job by a script that has completed."""
    files = {"train.py": SCRIPT, "helper.py": "ANSWER = 42\n", "serve.py": SERVED}
    definitions = [{"Name": "loss", "Regex": "loss=([0-9.]+)"}]
    algorithm = {"TrainingImage": SKLEARN, "TrainingInputMode": "File", "MetricDefinitions": definitions}
    values = {"alpha": 0.5, "layers": {"a": 1, "b": 2}, "b": 3}
    channels = [{**train_channel(bucket), "InputMode": "FastFile"}]
    members = {"AlgorithmSpecification": algorithm, "InputDataConfig": channels}
    return by_script(cloud, bucket, files, "train.py", values=values, **members)


def test_a_script_is_run_as_the_toolkit_runs_it(cloud: Cloud, bucket: str, scripted: Document) -> None:
    assert scripted["TrainingJobStatus"] == "Completed", scripted.get("FailureReason")
    said = json.loads(model_file(cloud, scripted, "said.json"))
    assert said["arguments"] == [0.5, "a=1,b=2", 3]
    assert said["hyperparameters"] == {"alpha": 0.5, "layers": {"a": 1, "b": 2}, "b": 3}
    assert (said["files"], said["channels"], said["helper"]) == (["rows.csv"], ["train"], 42)
    assert "train.py" in said["folder"]
    assert [(metric["MetricName"], metric["Value"]) for metric in scripted["FinalMetricDataList"]] == [("loss", 0.25)]


def test_a_script_finds_aws_under_the_role_of_its_job(cloud: Cloud, scripted: Document) -> None:
    who = json.loads(model_file(cloud, scripted, "said.json"))["who"]
    assert who == "arn:aws:sts::000000000000:assumed-role/test/SageMaker"


def test_a_script_whose_machine_is_taken_away_goes_on_from_what_it_has_left(cloud: Cloud, bucket: str) -> None:
    script = """
import os
import time
state = "/opt/ml/checkpoints/epoch"
epoch = int(open(state).read()) if os.path.exists(state) else 0
with open(state, "w") as file:
    file.write(str(epoch + 1))
left = "/opt/ml/output/data/left"
is_left = os.path.exists(left)
open(left, "w").close()
print("epoch", epoch, flush=True)
if not epoch:
    time.sleep(60)
with open("/opt/ml/model/epoch", "w") as file:
    file.write(f"{epoch} {is_left}")
"""
    members = {
        "EnableManagedSpotTraining": True,
        "StoppingCondition": {"MaxRuntimeInSeconds": 600, "MaxWaitTimeInSeconds": 7200},
        "CheckpointConfig": {"S3Uri": f"s3://{bucket}/{unique('kept')}/checkpoints"},
    }
    with faults.Client(cloud.environment(), name="*").injected("job:script", "interrupt"):
        job = by_script(cloud, bucket, {"train.py": script}, "train.py", **members)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert "Interrupted" in [one["Status"] for one in job["SecondaryStatusTransitions"]]
    assert model_file(cloud, job, "epoch") == "1 False"  # another machine has another disk


def test_paths_that_are_written_in_a_script_are_those_of_its_job(cloud: Cloud, bucket: str, scripted: Document) -> None:
    assert "written to /opt/ml/model" in log_of(cloud, scripted["TrainingJobName"])
    name = unique("written")
    script = b"""rows = open("/opt/ml/processing/input/rows/rows.csv").read()
open("/opt/ml/processing/output/copy/a.csv", "w").write(rows)"""
    cloud.client("s3").put_object(Bucket=bucket, Key=f"{name}/job.py", Body=script)
    request = processing(
        name,
        "",
        ProcessingInputs=[
            processing_input("rows", f"s3://{bucket}/train/"),
            processing_input("code", f"s3://{bucket}/{name}/"),
        ],
        ProcessingOutputConfig={"Outputs": [processing_output("copy", f"s3://{bucket}/{name}/out")]},
    )
    request["AppSpecification"]["ContainerEntrypoint"] = ["python3", "/opt/ml/processing/input/code/job.py"]
    client = cloud.client("sagemaker")
    client.create_processing_job(**request)
    job = end(lambda: client.describe_processing_job(ProcessingJobName=name), "ProcessingJob")
    assert job["ProcessingJobStatus"] == "Completed", log_of(cloud, name, "/aws/sagemaker/ProcessingJobs")
    assert cloud.client("s3").get_object(Bucket=bucket, Key=f"{name}/out/a.csv")["Body"].read() == numbers(50)


def test_a_model_serves_with_the_source_that_was_uploaded(cloud: Cloud, bucket: str, scripted: Document) -> None:
    """Also by the https address of its artefact, which CreateModel takes for S3's."""
    name, key = unique("served"), scripted["ModelArtifacts"]["S3ModelArtifacts"].removeprefix(f"s3://{bucket}/")
    container = {
        "Image": SKLEARN,
        "ModelDataUrl": f"https://{bucket}.s3.us-east-1.amazonaws.com/{key}",
        "Environment": {
            "SAGEMAKER_PROGRAM": "serve.py",
            "SAGEMAKER_SUBMIT_DIRECTORY": json.loads(scripted["HyperParameters"]["sagemaker_submit_directory"]),
        },
    }
    client = cloud.client("sagemaker")
    client.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=ROLE)
    variant = {"VariantName": "a", "ModelName": name, "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
    client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    client.create_endpoint(EndpointName=name, EndpointConfigName=name)
    client.get_waiter("endpoint_in_service").wait(EndpointName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    answer = cloud.client("sagemaker-runtime").invoke_endpoint(
        EndpointName=name, ContentType="application/json", Body=b"[[1], [2]]"
    )
    client.delete_endpoint(EndpointName=name)
    assert json.loads(answer["Body"].read()) == [84]


def test_xgboost_runs_scripts_too(cloud: Cloud, bucket: str) -> None:
    script = "import xgboost; open('/opt/ml/model/version', 'w').write(xgboost.__version__)"
    job = by_script(cloud, bucket, {"train.py": script}, "train.py", XGBOOST)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert model_file(cloud, job, "version") == "3.2.0"


def test_a_shell_script_is_run_as_well(cloud: Cloud, bucket: str) -> None:
    job = by_script(cloud, bucket, {"train.sh": 'echo "$@" > $SM_MODEL_DIR/said'}, "train.sh", values={"rate": 0.1})
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert model_file(cloud, job, "said") == "--rate 0.1\n"


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (
            {"train.py": "raise SystemExit(3)"},
            "AlgorithmError: ExecuteUserScriptError:\nExitCode 3\nErrorMessage \"\"\nCommand "
            "\"/miniconda3/bin/python train.py --alpha 1\", exit code: 1",
        ),
        ({"other.py": ""}, "ClientError: No script 'train.py' in s3://"),
        ({"train.py": "", "setup.py": ""}, "has a setup.py; the local SageMaker installs nothing."),
        (
            {"train.py": "", "requirements.txt": "numpy\nno-such-package==1.0\n"},
            "ClientError: requirements.txt asks for no-such-package==1.0, which the local image does not have",
        ),
    ],
)  # fmt: skip
def test_a_source_that_cannot_be_run_says_why(cloud: Cloud, bucket: str, files: dict[str, str], reason: str) -> None:
    job = by_script(cloud, bucket, files, "train.py", values={"alpha": 1})
    assert job["TrainingJobStatus"] == "Failed"
    assert reason in job["FailureReason"]


def test_a_source_that_the_role_may_not_read_fails_the_job(cloud: Cloud, bucket: str) -> None:
    job = by_script(
        cloud, bucket, {"train.py": ""}, "train.py", values={"sagemaker_submit_directory": "s3://no-such/a"}
    )
    assert job["FailureReason"].startswith("ClientError: Data download failed:NoSuchBucket (404)")


def test_an_isolated_job_cannot_fetch_its_source(cloud: Cloud, bucket: str) -> None:
    job = by_script(cloud, bucket, {"train.py": ""}, "train.py", EnableNetworkIsolation=True)
    assert job["FailureReason"].startswith("ClientError: the job is isolated from the network, so its container cannot")


def test_a_program_is_run_instead_of_the_images_own(cloud: Cloud, bucket: str) -> None:
    """As SDK 3 runs source code: a shell script of one channel, which runs the code of another."""
    drivers = "set -e\ncd /opt/ml/input/data/code\ncommand -v pip3\npython3 train.py\npip3 install wheel"
    code = "import os; open('/opt/ml/model/said', 'w').write(os.environ['TRAINING_JOB_NAME'] + os.environ['PLACE'])"
    name, s3 = unique("program"), cloud.client("s3")
    s3.put_object(Bucket=bucket, Key=f"{name}/code/train.py", Body=code.encode())
    s3.put_object(Bucket=bucket, Key=f"{name}/sm_drivers/sm_train.sh", Body=drivers.encode())
    path = "/opt/ml/input/data/sm_drivers/sm_train.sh"
    algorithm = {
        "TrainingImage": SKLEARN,
        "TrainingInputMode": "File",
        "ContainerEntrypoint": ["/bin/bash"],
        "ContainerArguments": ["-c", f"chmod +x {path} && {path} || true"],
    }
    channels = [channel(each, f"s3://{bucket}/{name}/{each}/") for each in ("code", "sm_drivers")]
    request = training(name, bucket, {}, Environment={"PLACE": "/opt/ml"})
    job = train(cloud, request | {"AlgorithmSpecification": algorithm, "InputDataConfig": channels})
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert model_file(cloud, job, "said").startswith(name)
    assert "pip: the local SageMaker installs nothing" in log_of(cloud, name)


ASKS_FOR_NOTHING = [
    {"ProfilerConfig": {"DisableProfiler": True}},
    {
        "DebugHookConfig": {"S3OutputPath": "s3://{bucket}/out/", "CollectionConfigurations": []},
        "DebugRuleConfigurations": [],
        "ProfilerConfig": {"S3OutputPath": "s3://{bucket}/out/", "DisableProfiler": False},
        "ProfilerRuleConfigurations": [],
    },
]


@pytest.mark.parametrize("members", ASKS_FOR_NOTHING)
def test_debugger_and_profiler_of_the_sdk_are_accepted_and_the_log_says_what_they_do(
    cloud: Cloud, bucket: str, members: Document
) -> None:
    given = json.loads(json.dumps(members).replace("{bucket}", bucket))
    job = by_script(cloud, bucket, {"train.py": ""}, "train.py", **given)
    assert job["TrainingJobStatus"] == "Completed", job.get("FailureReason")
    assert job["ProfilerConfig"] == given["ProfilerConfig"]
    told = "The local SageMaker saves no tensors and no profile" in log_of(cloud, job["TrainingJobName"])
    assert told == ("DebugHookConfig" in members)


HOOK = {"S3OutputPath": "s3://b/out/"}
RULE = {"RuleConfigurationName": "r", "RuleEvaluatorImage": "i"}
PROGRAM = {"TrainingInputMode": "File", "TrainingImage": SKLEARN}
REFUSED: list[tuple[Document, str]] = [
    ({"DebugHookConfig": {**HOOK, "CollectionConfigurations": [{"CollectionName": "losses"}]}}, "DebugHookConfig.Coll"),
    ({"DebugHookConfig": {**HOOK, "HookParameters": {"save_interval": "1"}}}, "DebugHookConfig.HookParameters is not"),
    ({"DebugRuleConfigurations": [RULE]}, "DebugRuleConfigurations is not supported"),
    ({"ProfilerConfig": {**HOOK, "ProfilingIntervalInMilliseconds": 500}}, "ProfilerConfig.ProfilingInterval"),
    ({"ProfilerConfig": {**HOOK, "ProfilingParameters": {"a": "b"}}}, "ProfilerConfig.ProfilingParameters is not"),
    ({"ProfilerRuleConfigurations": [RULE]}, "ProfilerRuleConfigurations is not supported"),
    ({"AlgorithmSpecification": PROGRAM, "HyperParameters": {}}, "without a script is not supported"),
    ({"AlgorithmSpecification": {**PROGRAM, "ContainerArguments": ["a"]}}, "ContainerArguments without ContainerEntry"),
    (
        {"AlgorithmSpecification": {**PROGRAM, "TrainingImage": LINEAR_LEARNER, "ContainerEntrypoint": ["sh"]}},
        "ContainerEntrypoint with linear-learner is not supported",
    ),
]


@pytest.mark.parametrize(("members", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_asks_for_something_is_refused(cloud: Cloud, bucket: str, members: Document, message: str) -> None:
    parameters = {"sagemaker_program": "train.py"}
    with pytest.raises(ClientError) as error:
        cloud.client("sagemaker").create_training_job(**training(unique("no"), bucket, parameters, SKLEARN) | members)
    assert error.value.response["Error"]["Code"] == "ValidationException"
    assert message in error.value.response["Error"]["Message"]


def test_no_job_has_a_warm_pool(cloud: Cloud, scripted: Document) -> None:
    listed = cloud.client("sagemaker").list_training_jobs
    assert scripted["TrainingJobName"] in str(listed(NameContains="script"))
    assert listed(NameContains="script", WarmPoolStatusEquals="Available")["TrainingJobSummaries"] == []


def test_kms_without_a_key_is_the_key_that_aws_manages(cloud: Cloud, bucket: str) -> None:
    """As SDKs upload source; the key lets the whole account use it, so a role needs no permission for it."""
    s3 = cloud.client("s3")
    put = s3.put_object(Bucket=bucket, Key="kms", Body=b"1", ServerSideEncryption="aws:kms")
    head = s3.head_object(Bucket=bucket, Key="kms")
    assert put["ServerSideEncryption"] == head["ServerSideEncryption"] == "aws:kms"
    assert head["SSEKMSKeyId"] == "arn:aws:kms:us-east-1:000000000000:alias/aws/s3"
    assert s3.get_object(Bucket=bucket, Key="kms")["Body"].read() == b"1"
