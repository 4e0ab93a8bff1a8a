"""Processing jobs against a real local cloud."""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud.sagemaker.platform.aws import Aws
from localcloud.sagemaker.service import SageMakerService
from tests.integration.conftest import Cloud, unique, watch_events
from tests.integration.sagemaker_requests import SKLEARN, Document, end, processing, processing_input, processing_output
from tests.waiting import wait_for

PROGRAM = """
import json, os, pathlib, sys
root = pathlib.Path(sys.argv[1])
config = json.loads((root / "config" / "processingjobconfig.json").read_text())
report = {
    "files": sorted(str(p.relative_to(root)) for p in (root / "processing" / "input").rglob("*") if p.is_file()),
    "outputs": sorted(p.name for p in (root / "processing" / "output").iterdir()),
    "hosts": json.loads((root / "config" / "resourceconfig.json").read_text())["hosts"],
    "config": config,
    "where": os.environ["WHERE"],
    "region": os.environ["AWS_REGION"],
    "host": "PYTEST_CURRENT_TEST" in os.environ,
}
(root / "processing" / "output" / "report" / "report.json").write_text(json.dumps(report))
(root / "output" / "message").write_text("wrote " + str(root / "processing"))
print("a line\\twith a tab", flush=True)
print("an error", file=sys.stderr)
"""


@pytest.fixture(scope="module")
def bucket(cloud: Cloud) -> str:
    name = unique("processing")
    cloud.client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture
def put(cloud: Cloud, bucket: str) -> Callable[[str, bytes], None]:
    return lambda key, body: cloud.client("s3").put_object(Bucket=bucket, Key=key, Body=body)


@pytest.fixture
def service(cloud: Cloud, tmp_path: Path) -> Iterator[SageMakerService]:
    """A SageMaker of this process, so that it can be ended and started again, with short grace times."""
    made = make_service(cloud, tmp_path, [])
    yield made
    made.stop()


def make_service(cloud: Cloud, state: Path, events: list[Document]) -> SageMakerService:
    return SageMakerService(
        state,
        cloud.endpoint_url,
        cloud.region,
        "000000000000",
        cloud.image_python,
        credentials=cloud.credentials(),
        put_event=events.append,
        stop_grace_seconds=0.3,
    )


def run(cloud: Cloud, request: Document) -> Document:
    client = cloud.client("sagemaker")
    client.create_processing_job(**request)
    return ended(cloud, request["ProcessingJobName"])


def ended(cloud: Cloud, name: str) -> Document:
    client = cloud.client("sagemaker")
    return end(lambda: client.describe_processing_job(ProcessingJobName=name), "ProcessingJob")


def keys(cloud: Cloud, bucket: str, prefix: str) -> list[str]:
    listed = cloud.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", [])
    return [item["Key"].removeprefix(prefix) for item in listed]


def log_lines(cloud: Cloud, group: str, job: str) -> tuple[str, list[str]]:
    """The name and the lines of the job's only log stream."""
    logs = cloud.client("logs")
    streams = logs.describe_log_streams(logGroupName=group, logStreamNamePrefix=f"{job}/")["logStreams"]
    assert len(streams) == 1
    name = streams[0]["logStreamName"]
    events = logs.get_log_events(logGroupName=group, logStreamName=name, startFromHead=True)["events"]
    return name, [event["message"] for event in events]


def test_a_job_sees_the_container_and_its_work_reaches_s3_logs_and_events(
    cloud: Cloud, bucket: str, put: Callable[[str, bytes], None]
) -> None:
    put("a/data/one.csv", b"1")
    put("a/data/deep/two.csv", b"2")
    put("a/config.json", b"{}")
    put("a/code/report.py", PROGRAM.encode())
    so_far = watch_events(
        cloud, {"source": ["aws.sagemaker"], "detail-type": ["SageMaker Processing Job State Change"]}
    )
    name = unique("whole")
    described = run(
        cloud,
        processing(
            name,
            "",
            AppSpecification={
                "ImageUri": SKLEARN,
                "ContainerEntrypoint": ["python3", "/opt/ml/processing/input/code/report.py"],
                "ContainerArguments": ["/opt/ml"],
            },
            Environment={"WHERE": "/opt/ml/processing", "OTHER": "s3://bucket/opt/ml/kept"},
            ProcessingInputs=[
                processing_input("data", f"s3://{bucket}/a/data"),
                processing_input("config", f"s3://{bucket}/a/config.json"),
                processing_input("code", f"s3://{bucket}/a/code/report.py"),
            ],
            ProcessingOutputConfig={
                "Outputs": [
                    processing_output("report", f"s3://{bucket}/a/out/report"),
                    processing_output("empty", f"s3://{bucket}/a/out/empty"),
                ]
            },
        ),
    )
    assert described["ProcessingJobStatus"] == "Completed"
    assert described["ExitMessage"] == "wrote /opt/ml/processing"
    assert described["ProcessingStartTime"] <= described["ProcessingEndTime"]
    assert keys(cloud, bucket, "a/out/") == ["report/report.json"]
    report = json.loads(cloud.client("s3").get_object(Bucket=bucket, Key="a/out/report/report.json")["Body"].read())
    assert report["files"] == [
        "processing/input/code/report.py",
        "processing/input/config/config.json",
        "processing/input/data/deep/two.csv",
        "processing/input/data/one.csv",
    ]
    assert report["outputs"] == ["empty", "report"]
    assert report["hosts"] == ["algo-1"]
    assert report["where"].endswith("/ml/processing")
    assert report["region"] == cloud.region
    assert report["host"] is False
    config = report["config"]
    assert config["Environment"] == {"WHERE": "/opt/ml/processing", "OTHER": "s3://bucket/opt/ml/kept"}
    assert config["ProcessingInputs"][0]["S3Input"]["LocalPath"] == "/opt/ml/processing/input/data"
    assert config["ProcessingInputs"][0]["DatasetDefinition"] is None
    assert config["ProcessingOutputConfig"]["KmsKeyId"] is None
    stream, lines = log_lines(cloud, "/aws/sagemaker/ProcessingJobs", name)
    assert re.fullmatch(rf"{name}/algo-1-\d{{10}}", stream)
    assert lines == ["a line#011with a tab", "an error"]

    def events_of_job() -> list[str]:
        details = [event["detail"] for event in so_far()]
        found = [detail["ProcessingJobStatus"] for detail in details if detail["ProcessingJobName"] == name]
        return found if "Completed" in found else []

    assert wait_for(events_of_job, "events of the job") == ["InProgress", "Completed"]
    assert not list((cloud.state / "sagemaker" / "jobs").rglob(name))


@pytest.mark.parametrize("isolated", [True, False])
def test_a_job_that_is_isolated_has_neither_credentials_nor_endpoint(cloud: Cloud, isolated: bool) -> None:
    code = """
import os
names = [name for name in ("AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL") if name in os.environ]
open("/opt/ml/output/message", "w").write(" ".join(names))
"""
    job = processing(unique("isolated"), code, NetworkConfig={"EnableNetworkIsolation": isolated})
    described = run(cloud, job)
    assert described["NetworkConfig"]["EnableNetworkIsolation"] is isolated
    assert described["ExitMessage"] == "AWS_REGION" + ("" if isolated else " AWS_ACCESS_KEY_ID AWS_ENDPOINT_URL")


def test_files_arrive_whatever_their_names_are(
    cloud: Cloud, bucket: str, put: Callable[[str, bytes], None], tmp_path: Path
) -> None:
    """In the server's own process they come without a socket, elsewhere over HTTP."""
    names = ["a b+c%2F&=;~(1)!'\".csv", "ü/ключ?#[x].csv", "%20.csv", "empty"]
    for number, key in enumerate(names):
        put(f"odd/{key}", b"\0\xff" * number)
    code = (
        "import pathlib,sys\n"
        "for path in pathlib.Path(sys.argv[1]).rglob('*'):\n"
        "    if path.is_file(): print(path.stat().st_size, path)"
    )
    name = unique("odd")
    source = processing_input("data", f"s3://{bucket}/odd/")
    job = run(cloud, processing(name, code, "/opt/ml/processing/input/data", ProcessingInputs=[source]))
    assert job["ProcessingJobStatus"] == "Completed"
    expected = sorted(f"{2 * number} /opt/ml/processing/input/data/{key}" for number, key in enumerate(names))
    assert sorted(log_lines(cloud, "/aws/sagemaker/ProcessingJobs", name)[1]) == expected

    asked: list[str] = []
    elsewhere = Aws(
        cloud.endpoint_url,
        cloud.region,
        "000000000000",
        credentials=cloud.credentials(),
        ask=lambda _keys, _service, _method, path, *_: asked.append(path),
    )
    elsewhere.download_prefix(f"s3://{bucket}/odd/", tmp_path)
    assert sorted(asked) == sorted([f"/{bucket}", *(f"/{bucket}/odd/{key}" for key in names)])
    assert [(tmp_path / key).stat().st_size for key in names] == [0, 2, 4, 6]


def test_a_manifest_names_the_files(cloud: Cloud, bucket: str, put: Callable[[str, bytes], None]) -> None:
    put("m/data/one.csv", b"1")
    put("m/data/deep/two.csv", b"2")
    put("m/data/other.csv", b"3")
    put("m/manifest", json.dumps([{"prefix": f"s3://{bucket}/m/data/"}, "one.csv", "deep/two.csv"]).encode())
    code = "import pathlib,sys; print(sorted(p.name for p in pathlib.Path(sys.argv[1]).rglob('*.csv')))"
    name = unique("manifest")
    source = processing_input("data", f"s3://{bucket}/m/manifest", S3DataType="ManifestFile")
    job = run(cloud, processing(name, code, "/opt/ml/processing/input/data", ProcessingInputs=[source]))
    assert job["ProcessingJobStatus"] == "Completed"
    assert log_lines(cloud, "/aws/sagemaker/ProcessingJobs", name)[1] == ["['one.csv', 'two.csv']"]


def test_a_job_that_fails_says_its_exit_code_and_still_uploads(cloud: Cloud, bucket: str) -> None:
    code = (
        "import pathlib,sys; root = pathlib.Path(sys.argv[1])\n"
        "(root / 'processing/output/part/x').write_text('half')\n"
        "(root / 'output/message').write_text('ü' * 1000)\n"
        "sys.exit(3)"
    )
    output = processing_output("part", f"s3://{bucket}/failed")
    job = run(cloud, processing(unique("fails"), code, "/opt/ml", ProcessingOutputConfig={"Outputs": [output]}))
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"] == "AlgorithmError: , exit code: 3"
    assert job["ExitMessage"] == "ü" * 512  # the first 1 KB
    assert keys(cloud, bucket, "failed/") == ["x"]


def test_a_message_that_is_no_text_fails_the_job(cloud: Cloud) -> None:
    code = "import pathlib,sys; (pathlib.Path(sys.argv[1]) / 'output/message').write_bytes(b'\\xff\\xfe')"
    job = run(cloud, processing(unique("binary"), code, "/opt/ml"))
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"] == "ClientError: The file /opt/ml/output/message is not valid UTF-8 text."


def test_an_empty_prefix_fails_the_job_in_aws_words(cloud: Cloud, bucket: str) -> None:
    source = processing_input("data", f"s3://{bucket}/nothing/here/")
    job = run(cloud, processing(unique("empty"), "", ProcessingInputs=[source]))
    assert job["ProcessingJobStatus"] == "Failed"
    assert job["FailureReason"].startswith(
        f'ClientError: No S3 objects found under S3 URL "s3://{bucket}/nothing/here/" given in input data source. '
        "Please ensure that the bucket exists in the selected region (us-east-1)"
    )


def test_a_bucket_that_does_not_exist_is_an_empty_prefix(cloud: Cloud) -> None:
    source = processing_input("data", "s3://no-such-bucket-anywhere/x")
    job = run(cloud, processing(unique("bucket"), "", ProcessingInputs=[source]))
    assert "No S3 objects found" in job["FailureReason"]


def test_a_key_that_is_both_a_file_and_a_folder_fails_the_job(
    cloud: Cloud, bucket: str, put: Callable[[str, bytes], None]
) -> None:
    put("both/a", b"1")
    put("both/a/b", b"2")
    source = processing_input("data", f"s3://{bucket}/both/")
    job = run(cloud, processing(unique("both"), "", ProcessingInputs=[source]))
    assert "there is no object that is both a folder as well as a file" in job["FailureReason"]


def test_a_manifest_entry_that_leaves_its_folder_is_refused(
    cloud: Cloud, bucket: str, put: Callable[[str, bytes], None]
) -> None:
    put("escape/manifest", json.dumps([{"prefix": f"s3://{bucket}/escape/"}, "../../../../escaped"]).encode())
    source = processing_input("data", f"s3://{bucket}/escape/manifest", S3DataType="ManifestFile")
    job = run(cloud, processing(unique("escape"), "", ProcessingInputs=[source]))
    assert job["ProcessingJobStatus"] == "Failed"
    assert "'../../../../escaped' leaves its folder" in job["FailureReason"]


def test_links_are_not_uploaded(cloud: Cloud, bucket: str) -> None:
    code = (
        "import os,pathlib,sys; out = pathlib.Path(sys.argv[1])\n"
        "(out / 'real').write_text('x'); os.symlink('/etc/hostname', out / 'file'); os.symlink('/etc', out / 'folder')"
    )
    outputs = {"Outputs": [processing_output("o", f"s3://{bucket}/links")]}
    run(cloud, processing(unique("links"), code, "/opt/ml/processing/output/o", ProcessingOutputConfig=outputs))
    assert keys(cloud, bucket, "links/") == ["real"]


def test_outputs_are_encrypted_with_the_key_that_is_given(cloud: Cloud, bucket: str) -> None:
    key = cloud.client("kms").create_key()["KeyMetadata"]["Arn"]
    code = "import pathlib,sys; (pathlib.Path(sys.argv[1]) / 'x').write_text('x')"
    outputs = {"KmsKeyId": key, "Outputs": [processing_output("o", f"s3://{bucket}/kms")]}
    run(cloud, processing(unique("kms"), code, "/opt/ml/processing/output/o", ProcessingOutputConfig=outputs))
    head = cloud.client("s3").head_object(Bucket=bucket, Key="kms/x")
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key)


def test_continuous_outputs_are_uploaded_while_the_job_runs(cloud: Cloud, bucket: str) -> None:
    code = "import pathlib,sys,time; (pathlib.Path(sys.argv[1]) / 'x').write_text('x'); print('on'); time.sleep(60)"
    name = unique("continuous")
    outputs = {"Outputs": [processing_output("o", f"s3://{bucket}/continuous", "Continuous")]}
    client = cloud.client("sagemaker")
    client.create_processing_job(
        **processing(name, code, "/opt/ml/processing/output/o", ProcessingOutputConfig=outputs)
    )
    wait_for(lambda: keys(cloud, bucket, "continuous/"), "the first upload")
    assert client.describe_processing_job(ProcessingJobName=name)["ProcessingJobStatus"] == "InProgress"
    client.stop_processing_job(ProcessingJobName=name)
    assert ended(cloud, name)["ProcessingJobStatus"] == "Stopped"


def test_a_job_whose_time_is_up_is_stopped_not_failed(service: SageMakerService) -> None:
    request = processing("slow", "import time; time.sleep(60)", StoppingCondition={"MaxRuntimeInSeconds": 1})
    service.handle("CreateProcessingJob", request)
    job = end(lambda: service.handle("DescribeProcessingJob", {"ProcessingJobName": "slow"}), "ProcessingJob")
    assert job["ProcessingJobStatus"] == "Stopped"
    assert "FailureReason" not in job


def test_a_third_job_waits_for_a_place_and_can_be_stopped_while_it_waits(service: SageMakerService) -> None:
    def status(name: str) -> str:
        return str(service.handle("DescribeProcessingJob", {"ProcessingJobName": name})["ProcessingJobStatus"])

    for name in ("one", "two", "three", "four"):
        service.handle("CreateProcessingJob", processing(name, "import time; time.sleep(60)"))
    wait_for(
        lambda: service.handle("DescribeProcessingJob", {"ProcessingJobName": "two"}).get("ProcessingStartTime"), "two"
    )
    assert "ProcessingStartTime" not in service.handle("DescribeProcessingJob", {"ProcessingJobName": "three"})
    service.handle("StopProcessingJob", {"ProcessingJobName": "three"})
    assert status("three") == "Stopped"
    assert status("four") == "InProgress"
    service.handle("StopProcessingJob", {"ProcessingJobName": "one"})
    wait_for(
        lambda: service.handle("DescribeProcessingJob", {"ProcessingJobName": "four"}).get("ProcessingStartTime"),
        "four",
    )
    assert status("one") == "Stopped"


def test_jobs_that_ran_when_the_service_ended_have_failed_after_the_restart(cloud: Cloud, tmp_path: Path) -> None:
    first = make_service(cloud, tmp_path, [])
    for name in ("runs", "waits-1", "waits-2"):
        first.handle("CreateProcessingJob", processing(name, "import time; time.sleep(60)"))
    wait_for(lambda: list((tmp_path / "sagemaker" / "jobs").rglob("pid")), "a program")
    first.stop()
    events: list[Document] = []
    second = make_service(cloud, tmp_path, events)
    second.start()
    for name in ("runs", "waits-1", "waits-2"):
        job = second.handle("DescribeProcessingJob", {"ProcessingJobName": name})
        assert job["ProcessingJobStatus"] == "Failed"
        assert job["FailureReason"] == "InternalServerError: We encountered an internal error.  Please try again."
    told = wait_for(lambda: events if len(events) == 3 else None, "events")
    assert {json.loads(event["Detail"])["ProcessingJobStatus"] for event in told} == {"Failed"}
    assert not list((tmp_path / "sagemaker" / "jobs").glob("*/*"))
    second.stop()


def test_a_trivial_job_takes_little_more_than_its_own_time(service: SageMakerService) -> None:
    service.start()
    took = []
    for number in range(3):
        started = time.monotonic()
        service.handle("CreateProcessingJob", processing(f"quick-{number}", ""))
        describe: Document = {"ProcessingJobName": f"quick-{number}"}
        end(lambda request=describe: service.handle("DescribeProcessingJob", request), "ProcessingJob")  # type: ignore[misc]
        took.append(time.monotonic() - started)
    assert min(took) < 0.5


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"ProcessingInputs": [processing_input("a", "s3://b/x", LocalPath="/opt/ml/input")]}, "below /opt/ml/processing/"),
    (
        {"ProcessingInputs": [processing_input("a", "s3://b/x", LocalPath="/opt/ml/processing/../../x")]},
        "must be a folder",
    ),
    (
        {"ProcessingInputs": [processing_input("a", "s3://b/x", S3InputMode="Pipe")]},
        "S3InputMode Pipe is not supported",
    ),
    ({"ProcessingInputs": [processing_input("a", "s3://b/x")] * 2}, "InputName must be unique"),
    (
        {
            "ProcessingResources": {
                "ClusterConfig": {"InstanceCount": 2, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
            }
        },
        "InstanceCount 2 is not supported",
    ),
    ({"AppSpecification": {"ImageUri": "x/tensorflow:2", "ContainerEntrypoint": ["a"]}}, "repository 'tensorflow'"),
    ({"AppSpecification": {"ImageUri": "x/sagemaker-scikit-learn:1"}}, "without AppSpecification.ContainerEntrypoint"),
    ({"ExperimentConfig": {"ExperimentName": "e"}}, "ExperimentConfig is not supported"),
]


@pytest.mark.parametrize(("members", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_cannot_be_carried_out_is_refused(service: SageMakerService, members: Document, message: str) -> None:
    with pytest.raises(Exception, match=re.escape(message)):
        service.handle("CreateProcessingJob", {**processing("refused", ""), **members})
    with pytest.raises(Exception, match="Could not find requested job with name: refused"):
        service.handle("DescribeProcessingJob", {"ProcessingJobName": "refused"})


def test_a_name_is_used_once(cloud: Cloud) -> None:
    name = unique("twice")
    run(cloud, processing(name, ""))
    client = cloud.client("sagemaker")
    with pytest.raises(ClientError) as refused:
        client.create_processing_job(**processing(name, ""))
    assert refused.value.response["Error"] == {
        "Code": "ResourceInUse",
        "Message": "Job name must be unique within an AWS account and region, and a job with this name already exists "
        f"(arn:aws:sagemaker:us-east-1:000000000000:processing-job/{name})",
    }
    client.delete_processing_job(ProcessingJobName=name)
    assert run(cloud, processing(name, ""))["ProcessingJobStatus"] == "Completed"


def test_a_gzip_channel_is_not_taken_for_processing(service: SageMakerService) -> None:
    source = processing_input("a", "s3://b/x", S3CompressionType="Gzip")
    with pytest.raises(Exception, match="Gzip can only be used if Pipe mode is specified"):
        service.handle("CreateProcessingJob", processing("gzip", "", ProcessingInputs=[source]))
