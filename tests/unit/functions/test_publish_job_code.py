"""The function "Publish job code": checks and publishes what is deployed, and always answers CloudFormation."""

import io
import json
import re
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from http.client import RemoteDisconnected
from urllib.error import URLError

import boto3
import pytest

from tests.e2e.matrix.registry import matrix
from tests.unit.conftest import BUCKET, FUNCTIONS, REGION, ROOT, STACK, load_function

REQUEST = {
    "RequestType": "Create",
    "ResponseURL": "https://cloudformation.example/answer?signature=x",
    "StackId": "arn:aws:cloudformation:eu-west-1:123456789012:stack/x",
    "RequestId": "request-1",
    "LogicalResourceId": "JobCode",
    "ResourceProperties": {"ServiceToken": "arn", "LayerVersion": "arn:1"},
}


@pytest.fixture
def shipped(tmp_path):
    """A layer's content of its own, so that a test may spoil it."""
    for folder in ("models", "processing", "perennial"):
        (tmp_path / folder).mkdir()
    shutil.copytree(ROOT / "models", tmp_path / "models", dirs_exist_ok=True)
    shutil.copy(ROOT / "processing" / "unpack.py", tmp_path / "processing")
    (tmp_path / "processing" / "preprocess.py").write_text("print('hello')\n")
    (tmp_path / "perennial" / "__init__.py").write_text("")
    (tmp_path / "commit.txt").write_text("abc123\n")
    return tmp_path


@pytest.fixture
def sent(monkeypatch):
    """What was sent to CloudFormation: (method, address, content type, body)."""
    messages = []

    class Reply:
        def close(self):
            pass

    def urlopen(request, timeout):
        body = json.loads(request.data)
        messages.append((request.get_method(), request.full_url, request.get_header("Content-type"), body))
        return Reply()

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    return messages


@pytest.fixture
def app(aws, shipped, monkeypatch):
    monkeypatch.setattr("perennial_aws.shipped.FOLDER", shipped)
    return load_function("publish_job_code")


@pytest.fixture
def publish(app, sent, lambda_context):
    def call(context=lambda_context, **changes):
        app.handler({**REQUEST, **changes}, context)
        return sent[-1][3]

    return call


def test_job_code_is_published_under_the_hash_of_its_content(aws, publish):
    answer = publish()
    assert answer["Status"] == "SUCCESS"
    data = answer["Data"]
    assert data["CodeUri"] == f"s3://{BUCKET}/code/{data['CodeHash']}"
    assert data["Commit"] == "abc123"
    assert len(data["CodeHash"]) == 16
    assert aws.keys("code/") == [f"code/{data['CodeHash']}/{name}" for name in ("code.zip", "unpack.py")]
    published = set(zipfile.ZipFile(io.BytesIO(aws.body(f"code/{data['CodeHash']}/code.zip"))).namelist())
    assert {"processing/preprocess.py", "perennial/__init__.py", "models/used-cars/model.yaml"} <= published
    assert "commit.txt" not in published
    assert "leather/chart.py" in published, "a library that the image of the jobs does not have"


def test_what_is_published_runs_one_of_its_scripts_with_its_arguments(aws, publish, shipped, tmp_path_factory):
    (shipped / "processing" / "preprocess.py").write_text(
        "import sys\nimport perennial\n"
        "print(__name__, sys.argv[1:], perennial.__file__.startswith(sys.path[0]), sys.modules['__main__'].__file__)\n"
        "sys.exit(3)\n"
    )
    publish()
    mounted = tmp_path_factory.mktemp("mounted")
    for key in aws.keys("code/"):
        (mounted / key.rpartition("/")[2]).write_bytes(aws.body(key))
    ended = subprocess.run(
        [sys.executable, str(mounted / "unpack.py"), "preprocess", "--config", "x"], capture_output=True, text=True
    )
    assert (ended.returncode, ended.stderr) == (3, "")
    assert ended.stdout.startswith("__main__ ['--config', 'x'] True ")
    assert ended.stdout.endswith("/processing/preprocess.py\n")


def test_what_script_mode_starts_with_hyperparameters_trains_by_the_script_of_the_model(
    aws, publish, shipped, tmp_path_factory
):
    (shipped / "processing" / "train_script.py").write_text("import sys\nprint(__name__, sys.argv[1:])\n")
    publish()
    mounted = tmp_path_factory.mktemp("mounted")
    for key in aws.keys("code/"):
        (mounted / key.rpartition("/")[2]).write_bytes(aws.body(key))
    for start in (["unpack.py", "--rate", "0.5"], ["-m", "unpack"]):  # the XGBoost image's script mode runs a module
        ended = subprocess.run([sys.executable, *start], cwd=mounted, capture_output=True, text=True)
        assert (ended.stdout, ended.stderr) == ("__main__ []\n", "")


def test_the_hash_depends_on_contents_and_names_alone(publish, shipped):
    first = publish()["Data"]["CodeHash"]
    (shipped / "commit.txt").write_text("def456\n")
    (shipped / "perennial" / "__pycache__").mkdir()
    (shipped / "perennial" / "__pycache__" / "x.cpython-313.pyc").write_bytes(b"\0")
    assert publish()["Data"]["CodeHash"] == first
    (shipped / "processing" / "preprocess.py").rename(shipped / "processing" / "prepare.py")
    assert publish()["Data"]["CodeHash"] != first


def with_bucket(publish, name):
    return publish(ResourceProperties={**REQUEST["ResourceProperties"], "DataBucket": name})


def test_a_data_bucket_whose_events_reach_nobody_fails_the_deployment(aws, publish, their_bucket, answers):
    answer = with_bucket(publish, their_bucket)
    assert answer["Status"] == "FAILED"
    assert f"DataBucket: s3://{their_bucket} does not send its events to EventBridge" in answer["Reason"]
    assert "Switch that on" in answer["Reason"]
    assert aws.keys("code/") == []
    on = "<NotificationConfiguration><EventBridgeConfiguration/></NotificationConfiguration>"
    answers("s3", "GetBucketNotificationConfiguration", (200, on))
    assert with_bucket(publish, their_bucket)["Status"] == "SUCCESS"


def test_a_data_bucket_that_is_not_there_or_elsewhere_fails_the_deployment(aws, publish):
    answer = with_bucket(publish, "no-such-bucket")
    assert "DataBucket: s3://no-such-bucket cannot be looked at (An error occurred (404)" in answer["Reason"]
    there = boto3.client("s3", region_name="us-west-2")
    there.create_bucket(Bucket="far-bucket", CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    answer = with_bucket(publish, "far-bucket")
    assert f"DataBucket: s3://far-bucket is in us-west-2; expected one in {REGION}" in answer["Reason"]


@pytest.mark.parametrize(("name", "most"), [("VpcSubnetIds", 16), ("VpcSecurityGroupIds", 5)])
def test_more_of_the_network_than_sagemaker_takes_fails_the_deployment(publish, name, most):
    given = [f"id-{number}" for number in range(most)]
    assert publish(ResourceProperties={**REQUEST["ResourceProperties"], name: given})["Status"] == "SUCCESS"
    answer = publish(ResourceProperties={**REQUEST["ResourceProperties"], name: [*given, "id"]})
    assert f"{name}: got {most + 1}; expected at most {most}" in answer["Reason"]


def test_the_answer_goes_to_the_signed_address(publish, sent):
    answer = publish()
    method, address, content_type, _ = sent[-1]
    assert (method, address, content_type) == ("PUT", REQUEST["ResponseURL"], "")
    assert {name: answer[name] for name in ("StackId", "RequestId", "LogicalResourceId")} == {
        name: REQUEST[name] for name in ("StackId", "RequestId", "LogicalResourceId")
    }


def test_an_update_keeps_the_resource_and_the_code_of_before(aws, publish, shipped):
    created = publish()
    (shipped / "processing" / "preprocess.py").write_text("print('changed')\n")
    updated = publish(RequestType="Update", PhysicalResourceId=created["PhysicalResourceId"])
    assert updated["PhysicalResourceId"] == created["PhysicalResourceId"]
    hashes = {key.split("/")[1] for key in aws.keys("code/")}
    assert hashes == {created["Data"]["CodeHash"], updated["Data"]["CodeHash"]}


@pytest.fixture
def stack_is(answers):
    def be(status):
        stack = f"<StackName>x</StackName><StackStatus>{status}</StackStatus>"
        result = f"<DescribeStacksResult><Stacks><member>{stack}</member></Stacks></DescribeStacksResult>"
        answers("cloudformation", "DescribeStacks", (200, f"<DescribeStacksResponse>{result}</DescribeStacksResponse>"))

    return be


@pytest.fixture
def taken_down(app, monkeypatch):
    """The state machines whose runs were taken down."""
    from perennial_aws import take_down

    machines = []
    monkeypatch.setattr(take_down, "take_down", machines.append)
    return machines


RUNS_MADE = {
    "ResourceType": "Custom::RunsMade",
    "LogicalResourceId": "RunsMade",
    "ResourceProperties": {"StateMachineArn": "arn:machine"},
}


@pytest.mark.parametrize("status", ["DELETE_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS"])
def test_deleting_the_stack_leaves_the_code(aws, publish, stack_is, taken_down, status):
    created = publish()
    stack_is(status)
    answer = publish(RequestType="Delete", PhysicalResourceId=created["PhysicalResourceId"])
    assert answer["Status"] == "SUCCESS"
    assert aws.keys("code/")
    assert taken_down == []


def test_a_stack_that_could_not_be_created_leaves_an_empty_bucket(aws, publish, stack_is, shipped):
    publish()
    publish(RequestType="Update")  # each file has two versions
    stack_is("ROLLBACK_IN_PROGRESS")
    assert publish(RequestType="Delete")["Status"] == "SUCCESS"
    assert "Versions" not in aws.client("s3").list_object_versions(Bucket=BUCKET)
    aws.client("s3").delete_bucket(Bucket=BUCKET)


def test_deleting_the_stack_takes_down_what_runs_made(publish, stack_is, taken_down):
    stack_is("DELETE_IN_PROGRESS")
    assert publish(RequestType="Delete", **RUNS_MADE)["Status"] == "SUCCESS"
    assert taken_down == ["arn:machine"]


@pytest.mark.parametrize(
    "status",
    [
        "ROLLBACK_IN_PROGRESS",
        "UPDATE_IN_PROGRESS",
        "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
        "UPDATE_ROLLBACK_IN_PROGRESS",
        "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
    ],
)
def test_what_serves_stays_when_cloudformation_takes_back_its_own_work(publish, stack_is, taken_down, status):
    stack_is(status)
    assert publish(RequestType="Delete", **RUNS_MADE)["Status"] == "SUCCESS"
    assert taken_down == []


@pytest.mark.parametrize("request_type", ["Create", "Update"])
def test_a_stack_that_is_deployed_takes_nothing_down_and_publishes_once(aws, publish, taken_down, request_type):
    answer = publish(RequestType=request_type, **RUNS_MADE)
    assert (answer["Status"], answer["PhysicalResourceId"]) == ("SUCCESS", f"{STACK}-RunsMade")
    assert taken_down == aws.keys("code/") == []


def test_a_wrong_definition_fails_the_deployment_with_its_reason(aws, publish, shipped):
    path = shipped / "models" / "used-cars" / "model.yaml"
    path.write_text(path.read_text().replace("metric: rmse", "metric: auc"))
    answer = publish()
    assert answer["Status"] == "FAILED"
    assert "used-cars/model.yaml" in answer["Reason"]
    assert "gate.metric" in answer["Reason"]
    assert aws.keys("code/") == []


@pytest.mark.parametrize(
    ("name", "code", "why"),
    [
        ("features.py", "import pyarrow\n\ndef transform(table:\n", "line 3: SyntaxError: '(' was never closed"),
        ("metrics.py", "def gain(actual): return 1\n", "line 1: gain: expected a function of two arguments"),
        ("capture.py", "def records(request): return []\n", "line 1: records: expected four arguments"),
    ],
    ids=["features", "metrics", "capture"],
)
def test_code_that_is_sure_to_fail_fails_the_deployment_with_file_and_line(aws, publish, shipped, name, code, why):
    (shipped / "models" / "used-cars" / name).write_text(code)
    answer = publish()
    assert answer["Status"] == "FAILED"
    assert f"used-cars/{name}, {why}" in answer["Reason"]
    assert aws.keys("code/") == []


def broken_definition(folder):
    (folder / "model.yaml").write_text("problem: [")


def features_that_are_no_python(folder):
    (folder / "features.py").write_bytes(b"\0")


def a_folder_for_a_file(folder):
    (folder / "model.yaml").unlink()
    (folder / "model.yaml").mkdir()


@pytest.mark.parametrize("spoil", [broken_definition, features_that_are_no_python, a_folder_for_a_file])
@matrix("Configuration", "another model's broken folder, at deploy", ends="the stack is deployed")
def test_another_models_broken_folder_does_not_stop_this_stacks_deployment(publish, shipped, caplog, spoil):
    spoil(shipped / "models" / "mammography")
    assert publish()["Status"] == "SUCCESS"
    (told,) = [record for record in caplog.records if record.message == "another model's folder is broken"]
    assert told.model == "mammography"


def test_a_model_without_a_folder_fails_naming_those_there_are(publish, monkeypatch):
    monkeypatch.setenv("MODEL_NAME", "boats")
    assert (
        "models/boats/model.yaml; there are: ames-houses, car-sales, employment, mammography, penguins, used-cars"
        in publish()["Reason"]
    )


@pytest.mark.parametrize("second", ["ab@example.com", "a.b@exam-ple.com", "a.b@example.com"])
def test_addresses_that_would_be_one_subscription_fail_with_what_to_do(aws, publish, second):
    answer = publish(ResourceProperties={"AlertEmails": ["x@example.com", "a.b@example.com", second]})
    assert f"AlertEmails: a.b@example.com and {second} are alike but for punctuation" in answer["Reason"]
    assert "Leave one of them out" in answer["Reason"]
    assert aws.keys("code/") == []


@pytest.mark.parametrize("addresses", [[""], ["a.b@example.com", "A.B@example.com", "ab@example.org"]])
def test_addresses_that_differ_are_fine(publish, addresses):
    assert publish(ResourceProperties={"AlertEmails": addresses})["Status"] == "SUCCESS"


def test_a_stack_name_that_is_too_long_fails(publish, monkeypatch):
    monkeypatch.setenv("STACK_NAME", "perennial-used-cars-of-europe")
    assert "at most 26" in publish()["Reason"]


def test_a_stack_name_that_parameter_store_reserves_fails_before_anything_is_published(aws, publish, monkeypatch):
    monkeypatch.setenv("STACK_NAME", "aws-cars")
    assert "begins with 'aws'" in publish()["Reason"]
    assert aws.keys("code/") == []


def test_wrong_stack_parameters_fail(publish):
    overrides = '{"Algorithm": "xgbost", "GateThreshold": "", "HyperParameters": {}, "Instances": {}}'
    answer = publish(ResourceProperties={"StackOverrides": overrides})
    assert "algorithm: got 'xgbost'" in answer["Reason"]
    answer = publish(ResourceProperties={"StackOverrides": '{"Algorithm": "xgboost-script"}'})
    assert "used-cars/train.py: there is no such file, and the algorithm xgboost-script runs it" in answer["Reason"]


def test_a_failing_upload_is_answered(publish, answers):
    answers("s3", "PutObject", (403, {}))
    answer = publish()
    assert answer["Status"] == "FAILED"
    assert "ClientError" in answer["Reason"]


def test_a_slow_upload_is_answered_before_the_function_runs_out_of_time(app, publish, lambda_context, monkeypatch):
    ended = threading.Event()
    monkeypatch.setattr(app, "_work", lambda event: ended.wait(10))
    lambda_context.seconds = 6.0
    started = time.monotonic()
    answer = publish(lambda_context)
    ended.set()
    assert answer["Status"] == "FAILED"
    assert "longer than the function may run" in answer["Reason"]
    assert time.monotonic() - started < 5


def test_an_answer_is_sent_again_when_the_network_fails(app, publish, sent, monkeypatch):
    import urllib.request

    send, failures = urllib.request.urlopen, [URLError("reset"), TimeoutError("read"), RemoteDisconnected("closed")]

    def flaky(request, timeout):
        if failures:
            raise failures.pop()
        return send(request, timeout)

    monkeypatch.setattr("urllib.request.urlopen", flaky)
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert publish()["Status"] == "SUCCESS"
    assert len(sent) == 1


@pytest.mark.parametrize("letter", ["x", "ä", '"', "\0", "🚗"])
def test_a_reason_of_any_length_fits_into_the_answer(app, publish, monkeypatch, letter):
    def fail(event):
        raise ValueError(letter * 10_000)

    monkeypatch.setattr(app, "_work", fail)
    answer = publish()
    assert 3000 < len(json.dumps(answer).encode()) <= 4096
    assert answer["Reason"].startswith(f"ValueError: {letter}")


@pytest.mark.parametrize("error", [SystemExit(3), RecursionError("deep"), TimeoutError("read timed out")])
def test_whatever_ends_the_work_is_answered_as_what_it_is(app, publish, monkeypatch, error):
    def fail(event):
        raise error

    monkeypatch.setattr(app, "_work", fail)
    answer = publish()
    assert answer["Status"] == "FAILED"
    assert answer["Reason"] == f"{type(error).__name__}: {error}"


@pytest.fixture
def without_layer(publish, monkeypatch):
    """The function in a process that cannot load what the layer holds."""
    import perennial_aws

    monkeypatch.setitem(sys.modules, "perennial_aws.job_code", None)
    monkeypatch.delattr(perennial_aws, "job_code", raising=False)
    return publish


def test_a_layer_that_cannot_be_loaded_is_answered(without_layer):
    answer = without_layer()
    assert answer["Status"] == "FAILED"
    assert answer["Reason"].startswith("ModuleNotFoundError: ")
    assert "perennial_aws.job_code" in answer["Reason"]


def test_the_function_that_answers_needs_nothing_of_the_layer():
    program = f"import sys; sys.path.insert(0, {str(FUNCTIONS / 'publish_job_code')!r}); import app"
    # -I and -S: no environment, no site-packages.
    ended = subprocess.run([sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr


def test_a_stack_whose_layer_cannot_be_loaded_can_be_deleted(without_layer, stack_is):
    stack_is("ROLLBACK_IN_PROGRESS")
    assert without_layer(RequestType="Delete")["Status"] == "SUCCESS"


def test_the_physical_id_is_made_from_the_stack_name(publish):
    assert publish()["PhysicalResourceId"] == f"{STACK}-JobCode"


def test_the_clock_of_the_endpoints_hours_is_answered_and_wrong_hours_fail_the_deployment(publish):
    with_hours = {"Hours": "07:00-19:00 Europe/Berlin MON,TUE clock"}
    assert publish(ResourceProperties=with_hours)["Data"]["HoursSchedule"] == "cron(0,45 4,5,17,18 * * ? *)"
    assert "HoursSchedule" not in publish(ResourceProperties={"Hours": " UTC MON clock"})["Data"]
    answer = publish(ResourceProperties={"Hours": "07:00-19:00 Europe/Atlantis MON clock"})
    assert "AwakeTimeZone: got 'Europe/Atlantis'; expected a name of the time zone database" in answer["Reason"]


HOURS, SLEEPLESS = "07:00-19:00 UTC MON clock", " UTC MON clock"


@pytest.mark.parametrize(
    ("old", "new", "ended"),
    [
        ((HOURS, "1 0 70"), (SLEEPLESS, "1 0 70"), ["Hours"]),
        ((HOURS, "1 4 70"), (SLEEPLESS, "1 0 70"), ["Hours", "Scaling"]),
        ((SLEEPLESS, "1 4 70"), (SLEEPLESS, "2 6 70"), []),
        ((SLEEPLESS, "1 0 70"), (HOURS, "1 0 70"), []),
    ],
)
def test_a_deployment_that_changes_hours_or_scaling_has_the_endpoint_looked_at(publish, answers, old, new, ended):
    called = answers("lambda", "Invoke", (202, ""))
    before, after = (dict(zip(("Hours", "Scaling"), texts, strict=True)) for texts in (old, new))
    after["KeepHoursFunction"] = f"{STACK}-keep-hours"
    answer = publish(**{**RUNS_MADE, "ResourceProperties": after}, RequestType="Update", OldResourceProperties=before)
    assert answer["Status"] == "SUCCESS", answer
    (request,) = called
    assert f"/functions/{STACK}-keep-hours/invocations" in request.url
    assert request.headers["X-Amz-Invocation-Type"] == b"Event"
    assert json.loads(request.body) == {"id": "request-1", "source": "aws.cloudformation", "detail": {"Ended": ended}}


def test_a_deployment_that_changes_neither_leaves_the_endpoint_alone(publish, answers):
    called = answers("lambda", "Invoke", (202, ""))
    same = {"Hours": HOURS, "Scaling": "1 4 70"}
    publish(**{**RUNS_MADE, "ResourceProperties": same}, RequestType="Update", OldResourceProperties=same)
    assert called == []


def test_several_machines_that_no_image_is_for_fail_the_deployment(publish, shipped):
    model = shipped / "models/used-cars/model.yaml"
    model.write_text(re.sub(r"(?m)^( +preprocess: {)", r"\g<1>count: 3, ", model.read_text()))
    answer = publish()
    assert answer["Status"] == "FAILED"
    assert "instances.preprocess.count: got 3 where the stack's parameter SparkImage is empty" in answer["Reason"]
    with_image = {**REQUEST["ResourceProperties"], "SparkImage": "images/spark:spark-1a2b"}
    assert publish(ResourceProperties=with_image)["Status"] == "SUCCESS"


@pytest.mark.parametrize(
    ("scaling", "machine", "reason"),
    [
        ("5 4 70", "ml.m5.large", "MinInstances: got 5; expected at most MaxInstances, which is 4"),
        ("1 4 70", "ml.t2.medium", "the endpoint's machines are ml.t2.medium, and SageMaker does not scale burstable"),
    ],
)
def test_what_cannot_scale_fails_the_deployment(publish, shipped, scaling, machine, reason):
    model = shipped / "models/used-cars/model.yaml"
    model.write_text(re.sub(r"(?m)^( +endpoint: .*type: )[a-z0-9.]+", rf"\g<1>{machine}", model.read_text()))
    properties = {**REQUEST["ResourceProperties"], "Scaling": scaling}
    answer = publish(ResourceProperties=properties)
    assert answer["Status"] == "FAILED"
    assert reason in answer["Reason"]
