"""A write that finds no room: it is refused, what was there stays, the engine goes on, and later all is well again.

Twice: with a process that is told to find no room, which works everywhere, and on a small file system that really is
full, where one can be mounted.
"""

import errno
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from localcloud import mailbox, process
from localcloud.disk import RESERVE_VARIABLE, forced
from localcloud.settings import Settings
from tests.integration import full_disk, servers
from tests.integration.conftest import ROLE, Cloud, unique, watch_events, with_role
from tests.integration.sagemaker_requests import SKLEARN, Document, end, processing, processing_input, processing_output
from tests.ports import free_port
from tests.waiting import wait_for

FULL = "the disk of the local cloud is full"
WAITS = """
import pathlib, sys, time
pathlib.Path(sys.argv[1], "result.csv").write_text("1,2")
while not pathlib.Path(sys.argv[2]).exists():
    time.sleep(0.05)
"""


def mount(folder: Path) -> bool:
    """Whether a file system of 64 MB could be mounted there."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    return subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], check=False).returncode == 0


def unmount(folder: Path) -> None:
    subprocess.run(["umount", folder], check=True)


def can_mount() -> bool:
    with tempfile.TemporaryDirectory() as name:
        if mounted := mount(Path(name)):
            unmount(Path(name))
        return mounted


NO_MOUNT = pytest.mark.skipif(not can_mount(), reason="no file system can be mounted here")
pytestmark = pytest.mark.xdist_group("full-disk")


class Laptop:
    """A local cloud with a disk of its own, in `root`. Beside it lies the file that says that the disk is full."""

    def __init__(self, root: Path, flag: Path, *, really: bool) -> None:
        self.cloud = Cloud(Settings(free_port(), root / "state"))
        self.state = self.cloud.state
        self._flag, self._ballast, self._really = flag, root / "ballast", really
        self.state.mkdir()
        self.start()

    def start(self) -> None:
        arguments = (str(self.cloud.settings.port), str(self.state), str(self._flag))
        script, log = Path(full_disk.__file__), self._flag.parent / "server.log"
        self._server = servers.start(script, *arguments, log=log, **{RESERVE_VARIABLE: "0"})
        wait_for(lambda: self.status().get("ready"), "the server")

    def status(self) -> process.Status:
        return process.status(self.cloud.settings) or {}

    def problem(self) -> str:
        return str(self.status()["problem"])

    def terminate(self) -> None:
        self._server.terminate()
        self._server.wait()

    def kill(self) -> None:
        self._server.kill()
        self._server.wait()

    def fill(self, only: str = "", leave: int = 0) -> None:
        """No more room: on a real disk but for some bytes, else for the paths that hold the text."""
        if not self._really:
            self._flag.write_text(only)
            return
        saved = [path for path in (self.state / "engine").glob("*.json") if forced(path).exists()]
        wait_for(lambda: all(forced(path).samefile(path) for path in saved), "what is older has given its room back")
        with self._ballast.open("wb") as ballast:
            while True:
                disk = os.statvfs(self.state)
                try:
                    os.posix_fallocate(ballast.fileno(), 0, disk.f_bavail * disk.f_frsize - leave)
                except OSError as error:  # the server has written something meanwhile
                    if error.errno != errno.ENOSPC:
                        raise
                else:
                    return

    def free(self) -> None:
        self._flag.unlink(missing_ok=True)
        self._ballast.unlink(missing_ok=True)


@pytest.fixture(scope="module", params=["told", pytest.param("really", marks=NO_MOUNT)])
def _laptop(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    really, root = request.param == "really", tmp_path_factory.mktemp("disk")
    assert not really or mount(root)
    laptop = Laptop(root, tmp_path_factory.mktemp("beside") / "full", really=really)
    with_role(laptop.cloud)
    yield laptop
    laptop.terminate()
    if really:
        unmount(root)


@pytest.fixture
def laptop(_laptop: Laptop) -> Iterator[Laptop]:
    yield _laptop
    _laptop.free()


@pytest.fixture(params=["Enabled", "Suspended", ""], ids=["versioned", "suspended", "plain"])
def bucket(laptop: Laptop, request: pytest.FixtureRequest) -> str:
    """A bucket with an object `k`, written twice, and another one to copy."""
    s3, name = laptop.cloud.client("s3"), unique("full")
    s3.create_bucket(Bucket=name)
    for status in filter(None, ("Enabled", request.param)):
        if request.param:
            s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": status})
            s3.put_object(Bucket=name, Key="k", Body=b"first" * 5_000)
    s3.put_object(Bucket=name, Key="k", Body=b"second" * 5_000, Tagging="a=1")
    s3.put_object(Bucket=name, Key="other", Body=b"other" * 5_000)
    return name


def content(cloud: Cloud, bucket: str) -> dict[str, Any]:
    """Everything that a bucket shows of its objects."""
    s3 = cloud.client("s3")
    listed = s3.list_object_versions(Bucket=bucket)
    versions = [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]
    return {
        "versions": sorted(
            (item["Key"], item["VersionId"], item["IsLatest"], item.get("ETag", "")) for item in versions
        ),
        "tags": s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"],
        "bytes": {
            (item["Key"], item["VersionId"]): s3.get_object(
                Bucket=bucket, Key=item["Key"], VersionId=item["VersionId"]
            )["Body"].read()
            for item in listed["Versions"]
        },
        "newest": s3.get_object(Bucket=bucket, Key="k")["Body"].read(),
    }


def test_an_object_that_finds_no_room_is_refused_and_what_was_there_stays(laptop: Laptop, bucket: str) -> None:
    s3 = laptop.cloud.client("s3")
    upload = {"Bucket": bucket, "Key": "k", "UploadId": s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]}
    part = s3.upload_part(**upload, PartNumber=1, Body=b"third" * 5_000)
    parts = {"MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}}
    before = content(laptop.cloud, bucket)
    refused = {
        "an upload": lambda: s3.put_object(Bucket=bucket, Key="k", Body=b"third" * 5_000, Tagging="a=2"),
        "a new object": lambda: s3.put_object(Bucket=bucket, Key="a/b/c", Body=b"new" * 5_000),
        "a copy": lambda: s3.copy_object(Bucket=bucket, Key="k", CopySource=f"{bucket}/other"),
        "an upload in parts": lambda: s3.complete_multipart_upload(**upload, **parts),
        "tags": lambda: s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "a", "Value": "3"}]}),
    }
    laptop.fill()

    for what, ask in refused.items():
        with pytest.raises(ClientError, match=f"InsufficientStorage.*{FULL}") as error:
            ask()
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == 507, what
        assert content(laptop.cloud, bucket) == before, what

    laptop.free()
    laptop.terminate()
    laptop.start()
    assert content(laptop.cloud, bucket) == before


# The older version takes 32 KB, the new one 28 KB, its description 4 KB.
@pytest.mark.parametrize(
    ("bucket", "only", "leave"),
    [("Enabled", "/.versions/", 0), ("Enabled", "k.new", 32), ("Enabled", ".meta.json", 60), ("", ".meta.json", 28)],
    ids=["the older version", "its content", "its description", "its description in a plain bucket"],
    indirect=["bucket"],
)
def test_an_object_of_which_one_file_finds_no_room_is_refused_as_a_whole(
    laptop: Laptop, bucket: str, only: str, leave: int
) -> None:
    before = content(laptop.cloud, bucket)
    laptop.fill(only, leave * 1024)

    with pytest.raises(ClientError, match=FULL):
        laptop.cloud.client("s3").put_object(Bucket=bucket, Key="k", Body=b"third" * 5_000)

    laptop.free()
    laptop.kill()
    laptop.start()
    assert content(laptop.cloud, bucket) == before
    assert [path for path in (laptop.state / "s3").rglob("*") if ".tmp" in path.name] == []


@pytest.mark.parametrize("bucket", ["Enabled"], indirect=True)
def test_a_deletion_that_finds_no_room_is_refused_and_done_later(laptop: Laptop, bucket: str) -> None:
    s3, before = laptop.cloud.client("s3"), content(laptop.cloud, bucket)
    many = {"Objects": [{"Key": "k"}, {"Key": "other"}]}
    laptop.fill()

    with pytest.raises(ClientError, match=FULL):
        s3.delete_object(Bucket=bucket, Key="k")
    assert content(laptop.cloud, bucket) == before
    with pytest.raises(ClientError, match=FULL):
        s3.delete_objects(Bucket=bucket, Delete=many)

    laptop.free()
    s3.delete_objects(Bucket=bucket, Delete=many)
    laptop.terminate()
    laptop.start()
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize("bucket", ["Enabled"], indirect=True)
def test_what_was_refused_goes_through_when_there_is_room_and_is_announced_once(laptop: Laptop, bucket: str) -> None:
    s3 = laptop.cloud.client("s3")
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}})
    events = watch_events(laptop.cloud, {"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}})
    upload = {"Bucket": bucket, "Key": "k", "UploadId": s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]}
    part = s3.upload_part(**upload, PartNumber=1, Body=b"third")
    parts = {"MultipartUpload": {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}}
    laptop.fill()
    with pytest.raises(ClientError, match=FULL):
        s3.complete_multipart_upload(**upload, **parts)
    laptop.free()

    completed = s3.complete_multipart_upload(**upload, **parts)

    announced = wait_for(events, "the event")
    assert [event["detail"]["object"]["version-id"] for event in announced] == [completed["VersionId"]]
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"third"


def test_state_and_mails_that_find_no_room_leave_the_last_ones_whole_and_follow_later(laptop: Laptop) -> None:
    ssm, sns, name = laptop.cloud.client("ssm"), laptop.cloud.client("sns"), f"/{unique('full')}"
    topic = sns.create_topic(Name=unique("alerts"))["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="email", Endpoint="ada@example.com")
    sns.publish(TopicArn=topic, Subject="before", Message="text")
    laptop.fill()

    sns.publish(TopicArn=topic, Subject="meanwhile", Message="text")
    ssm.put_parameter(Name=name, Value="kept", Type="String")

    wait_for(laptop.problem, "the failure in the status")
    assert "the state was not saved: [Errno 28] No space left on device" in laptop.problem()
    for path in (laptop.state / "engine").glob("*.json"):
        json.loads(path.read_text())
    laptop.free()
    wait_for(lambda: not laptop.problem(), "the state to be saved")
    assert [mail.subject for mail in mailbox.messages(laptop.state)] == ["before", "meanwhile"]
    laptop.kill()
    laptop.start()
    assert ssm.get_parameter(Name=name)["Parameter"]["Value"] == "kept"
    sns.publish(TopicArn=topic, Subject="after", Message="text")
    assert [mail.subject for mail in mailbox.messages(laptop.state)] == ["before", "meanwhile", "after"]
    wait_for(lambda: not list(laptop.state.rglob("*.draft")), "the last draft to have its place")


def job(laptop: Laptop, name: str) -> Document:
    client = laptop.cloud.client("sagemaker")
    return end(lambda: client.describe_processing_job(ProcessingJobName=name), "ProcessingJob")


@pytest.mark.parametrize("bucket", [""], indirect=True)
def test_a_job_that_cannot_be_noted_is_refused(laptop: Laptop, bucket: str) -> None:
    client, name = laptop.cloud.client("sagemaker"), unique("job")
    laptop.fill()

    with pytest.raises(ClientError, match=f"InsufficientStorage.*{FULL}"):
        client.create_processing_job(**processing(name, "pass"))

    laptop.free()
    client.create_processing_job(**processing(name, "pass"))
    assert job(laptop, name)["ProcessingJobStatus"] == "Completed"


@pytest.mark.parametrize("bucket", [""], indirect=True)
def test_a_job_whose_output_finds_no_room_fails_and_says_so_also_after_a_restart(
    laptop: Laptop, bucket: str, tmp_path: Path
) -> None:
    name, ready, output = unique("job"), tmp_path / "ready", processing_output("result", f"s3://{bucket}/result")
    outputs = {"ProcessingOutputConfig": {"Outputs": [output]}}
    arguments = (output["S3Output"]["LocalPath"], str(ready))
    laptop.cloud.client("sagemaker").create_processing_job(**processing(name, WAITS, *arguments, **outputs))
    jobs = laptop.state / "sagemaker" / "jobs"
    wait_for(lambda: [path for path in jobs.rglob("result.csv") if path.stat().st_size], "the result")
    laptop.fill()
    ready.touch()

    failed = job(laptop, name)

    assert failed["ProcessingJobStatus"] == "Failed"
    assert failed["FailureReason"].startswith("ClientError: Artifact upload failed:InsufficientStorage (507): " + FULL)
    laptop.free()
    laptop.terminate()
    laptop.start()
    assert job(laptop, name)["FailureReason"] == failed["FailureReason"]


@pytest.mark.parametrize("bucket", [""], indirect=True)
def test_a_job_whose_input_finds_no_room_fails_and_says_so(laptop: Laptop, bucket: str) -> None:
    name, given = unique("job"), processing_input("data", f"s3://{bucket}/large")
    laptop.cloud.client("s3").put_object(Bucket=bucket, Key="large", Body=bytes(5 << 20))
    laptop.fill("/ml/processing/input/", 2 << 20)

    laptop.cloud.client("sagemaker").create_processing_job(**processing(name, "pass", ProcessingInputs=[given]))

    failed = job(laptop, name)
    assert failed["ProcessingJobStatus"] == "Failed"
    assert failed["FailureReason"].startswith(f"ClientError: {FULL}")


@pytest.mark.parametrize("bucket", [""], indirect=True)
def test_an_endpoint_whose_model_finds_no_room_fails_and_says_so(laptop: Laptop, bucket: str) -> None:
    client, name = laptop.cloud.client("sagemaker"), unique("endpoint")
    laptop.cloud.client("s3").put_object(Bucket=bucket, Key="model.tar.gz", Body=bytes(5 << 20))
    container = {"Image": SKLEARN, "ModelDataUrl": f"s3://{bucket}/model.tar.gz"}
    variant = {"VariantName": "All", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    client.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    laptop.fill("/sagemaker/endpoints/", 2 << 20)

    client.create_endpoint(EndpointName=name, EndpointConfigName=name)

    def failed() -> Document | None:
        described: Document = client.describe_endpoint(EndpointName=name)
        return described if described["EndpointStatus"] == "Failed" else None

    assert wait_for(failed, "the end of the creation")["FailureReason"].startswith(f"InternalServerError: {FULL}")
