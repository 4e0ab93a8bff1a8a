"""Endpoints as boto3 sees them: created, invoked, updated under load, rolled back, captured, deleted."""

import asyncio
import io
import json
import re
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from botocore.exceptions import ClientError

from localcloud.sagemaker.algorithms.linear_model import LinearModel
from perennial.runs.endpoint import decide
from tests.integration.conftest import ROLE, Cloud, unique, watch_events
from tests.integration.localcloud.engine.test_guard import signed
from tests.repeating import Repeating
from tests.waiting import wait_for

PHASES = ("Before", "After")
DIMENSION = "sagemaker:variant:DesiredInstanceCount"
REGISTRY = "141502667606.dkr.ecr.eu-west-1.amazonaws.com"
SKLEARN_IMAGE = f"{REGISTRY}/sagemaker-scikit-learn:1.9-0-cpu-py3"
LINEAR_LEARNER_IMAGE = f"{REGISTRY}/linear-learner:1"
# Doubles every number, so that a pipeline's answer shows that both containers took part.
SCRIPT = """
import time

from sagemaker_containers.beta.framework import worker

def model_fn(model_dir):
    print("loading from", model_dir)

def transform_fn(model, body, content_type, accept):
    text = body if isinstance(body, str) else body.decode()
    if text.startswith("sleep"):
        _, seconds, text = text.split(" ", 2)
        time.sleep(float(seconds))
    if text.startswith("bad"):
        return worker.Response("record 1: price is missing", status=400, mimetype="text/plain")
    if text.startswith("bug"):
        raise KeyError("price")
    return "\\n".join(",".join(str(2 * float(cell)) for cell in line.split(",")) for line in text.split()), "text/csv"
"""


class Lab:
    """Models and configurations in one bucket of the cloud."""

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        self.cloud, self.folder = cloud, folder
        self.sagemaker, self.runtime, self.s3 = (
            cloud.client(name) for name in ("sagemaker", "sagemaker-runtime", "s3")
        )
        self.bucket = unique("bucket")
        self.s3.create_bucket(Bucket=self.bucket)
        self.script = self.archive("script.tar.gz", {"code/inference.py": SCRIPT.encode()})

    def archive(self, key: str, files: dict[str, bytes]) -> str:
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz") as tar:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=content.getvalue())
        return f"s3://{self.bucket}/{key}"

    def linear(self, bias: float) -> str:
        """The artefact of a model that answers the sum of two features, plus the bias."""
        path = self.folder / "model"
        LinearModel("regressor", np.array([1.0, 1.0]), bias).save(path)
        return self.archive(f"linear-{bias:g}.tar.gz", {"model_algo-1": path.read_bytes()})

    def model(self, bias: float, script: str | None = None) -> str:
        """A pipeline: the doubling script, then the linear model."""
        name = unique("model")
        program = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
        self.sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn=ROLE,
            Containers=[
                {"Image": SKLEARN_IMAGE, "ModelDataUrl": script or self.script, "Environment": program},
                {"Image": LINEAR_LEARNER_IMAGE, "ModelDataUrl": self.linear(bias)},
            ],
        )
        return name

    def xgboost(self, booster: Any) -> str:
        """A pipeline: the doubling script, then XGBoost."""
        name, image = unique("model"), f"{REGISTRY}/sagemaker-xgboost:3.2-0"
        program = {"SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"}
        url = self.archive(f"{name}.tar.gz", {"xgboost-model": bytes(booster.save_raw("ubj"))})
        self.sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn=ROLE,
            Containers=[
                {"Image": SKLEARN_IMAGE, "ModelDataUrl": self.script, "Environment": program},
                {"Image": image, "ModelDataUrl": url},
            ],
        )
        return name

    def broken_model(self) -> str:
        name = unique("model")
        container = {
            "Image": LINEAR_LEARNER_IMAGE,
            "ModelDataUrl": self.archive("broken.tar.gz", {"other": b"no model"}),
        }
        self.sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
        return name

    def config(
        self,
        *models: str,
        weights: tuple[float, ...] = (1.0, 1.0),
        count: int = 1,
        machine: str = "ml.m5.large",
        **more: Any,
    ) -> str:
        name = unique("config")
        variants = [
            {
                "VariantName": "AllTraffic" if len(models) == 1 else f"Variant{number}",
                "ModelName": model,
                "InitialInstanceCount": count,
                "InstanceType": machine,
                "InitialVariantWeight": weight,
            }
            for number, (model, weight) in enumerate(zip(models, weights, strict=False), 1)
        ]
        self.sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=variants, **more)
        return name

    def create(self, config: str) -> str:
        name = unique("endpoint")
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
        assert self.settled(name)["EndpointStatus"] == "InService"
        return name

    def settled(self, name: str) -> dict[str, Any]:
        def answer() -> dict[str, Any] | None:
            found: dict[str, Any] = self.sagemaker.describe_endpoint(EndpointName=name)
            busy = ("Creating", "Updating", "RollingBack", "Deleting")
            return None if found["EndpointStatus"] in busy else found

        return wait_for(answer, f"endpoint {name} settles")

    def ask(self, name: str, body: str = "1,2", accept: str = "application/jsonlines", **more: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.runtime.invoke_endpoint(
            EndpointName=name, Body=body, ContentType="text/csv", Accept=accept, **more
        )
        return answer

    def score(self, name: str, **more: Any) -> float:
        return float(json.loads(self.ask(name, **more)["Body"].read())["score"])

    def captured(self, prefix: str) -> list[tuple[str, dict[str, Any]]]:
        listed = self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])
        return [
            (item["Key"], json.loads(line))
            for item in listed
            for line in self.s3.get_object(Bucket=self.bucket, Key=item["Key"])["Body"].read().splitlines()
        ]


@pytest.fixture(scope="module")
def lab(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(cloud, tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def endpoint(lab: Lab) -> Iterator[str]:
    """One endpoint for the tests that change nothing; its model adds 10."""
    name = lab.create(lab.config(lab.model(10)))
    yield name
    lab.sagemaker.delete_endpoint(EndpointName=name)


def error_of(call: Callable[..., Any], **arguments: Any) -> tuple[str, str]:
    """Code and message of the refusal."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def test_a_request_passes_through_the_pipeline(lab: Lab, endpoint: str) -> None:
    answer = lab.ask(endpoint, "1,2\n3,4")

    assert [json.loads(line) for line in answer["Body"].read().splitlines()] == [{"score": 16.0}, {"score": 24.0}]
    assert answer["ContentType"] == "application/jsonlines"
    assert answer["InvokedProductionVariant"] == "AllTraffic"


def test_json_is_answered_as_json(lab: Lab, endpoint: str) -> None:
    answer = lab.ask(endpoint, "1,2\n3,4", accept="application/json")

    assert json.load(answer["Body"]) == {"predictions": [{"score": 16.0}, {"score": 24.0}]}
    assert answer["ContentType"] == "application/json"


def test_describe_has_the_variants_as_on_aws(lab: Lab, endpoint: str) -> None:
    found = lab.sagemaker.describe_endpoint(EndpointName=endpoint)

    (variant,) = found["ProductionVariants"]
    images = variant.pop("DeployedImages")
    assert [image["SpecifiedImage"] for image in images] == [SKLEARN_IMAGE, LINEAR_LEARNER_IMAGE]
    for image in images:
        assert re.fullmatch(
            re.escape(image["SpecifiedImage"].partition(":")[0]) + "@sha256:[0-9a-f]{64}", image["ResolvedImage"]
        )
    assert variant == {
        "VariantName": "AllTraffic",
        "CurrentWeight": 1.0,
        "DesiredWeight": 1.0,
        "CurrentInstanceCount": 1,
        "DesiredInstanceCount": 1,
    }
    assert "Plan" not in found
    assert endpoint in [item["EndpointName"] for item in lab.sagemaker.list_endpoints(MaxResults=100)["Endpoints"]]


def model_error(lab: Lab, endpoint: str, body: str) -> dict[str, Any]:
    with pytest.raises(lab.runtime.exceptions.ModelError) as caught:
        lab.ask(endpoint, body)
    response: dict[str, Any] = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["LogStreamArn"].endswith(f":log-group:/aws/sagemaker/Endpoints/{endpoint}")
    assert response["Error"]["Message"].endswith(" for more information.")
    return response


def test_a_scripts_refusal_reaches_the_caller_with_its_status_and_text(lab: Lab, endpoint: str) -> None:
    response = model_error(lab, endpoint, "bad")

    assert response["OriginalStatusCode"] == 400
    assert response["ResponseMetadata"]["HTTPHeaders"]["content-type"] == "application/json"
    assert response["OriginalMessage"] == "record 1: price is missing"
    refused = 'Received client error (400) from container-1 with message "record 1: price is missing". See https://'
    assert response["Error"]["Message"].startswith(refused)


def test_a_scripts_exception_is_a_server_error_without_its_text(lab: Lab, endpoint: str) -> None:
    response = model_error(lab, endpoint, "bug")

    assert response["OriginalStatusCode"] == 500
    assert "<title>500 Internal Server Error</title>" in response["OriginalMessage"]
    assert "price" not in response["OriginalMessage"]
    assert response["Error"]["Message"].startswith("Received server error (500) from container-1 with message")


def test_an_unknown_accept_is_the_second_containers_refusal(lab: Lab, endpoint: str) -> None:
    code, message = error_of(lab.ask, name=endpoint, accept="image/png")

    assert code == "ModelError"
    assert message.startswith("Received client error (406) from container-2 with message")


def test_an_endpoint_that_is_not_there_is_not_found(lab: Lab) -> None:
    code, message = error_of(lab.ask, name="nowhere")
    assert (code, message) == ("ValidationError", "Endpoint nowhere of account 000000000000 not found.")

    code, message = error_of(lab.sagemaker.describe_endpoint, EndpointName="nowhere")
    assert code == "ValidationException"
    assert message == f'Could not find endpoint "arn:aws:sagemaker:{lab.cloud.region}:000000000000:endpoint/nowhere".'


def test_bodies_above_six_mebibytes_are_refused(lab: Lab, endpoint: str) -> None:
    code, message = error_of(lab.ask, name=endpoint, body="1" * 6_291_457)

    assert code == "ValidationError"
    assert "Value at 'body' failed to satisfy constraint: Member must have length less than or equal to" in message


def test_names_that_are_taken_or_missing_are_refused_in_awss_words(lab: Lab, endpoint: str) -> None:
    config = lab.sagemaker.describe_endpoint(EndpointName=endpoint)["EndpointConfigName"]
    arn = f"arn:aws:sagemaker:{lab.cloud.region}:000000000000"
    create = lab.sagemaker.create_endpoint
    assert error_of(create, EndpointName=endpoint, EndpointConfigName=config) == (
        "ValidationException",
        f'Cannot create already existing endpoint "{arn}:endpoint/{endpoint}".',
    )
    assert error_of(create, EndpointName=unique("endpoint"), EndpointConfigName="none") == (
        "ValidationException",
        f'Could not find endpoint configuration "{arn}:endpoint-config/none".',
    )


def routed(kind: str, wait: int, **more: Any) -> dict[str, Any]:
    """A DeploymentConfig whose traffic moves so."""
    routing = {"Type": kind, "WaitIntervalInSeconds": wait, **more}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}}


ONE_INSTANCE = {"Type": "INSTANCE_COUNT", "Value": 1}


@pytest.mark.parametrize(
    ("deployment", "text"),
    [
        pytest.param(
            routed("CANARY", 0, CanarySize=ONE_INSTANCE),
            "CanarySize is 1 (INSTANCE_COUNT) of 1 instance(s); expected at most 50% of the new fleet",
            id="canary of one instance",
        ),
        pytest.param(
            {"AutoRollbackConfiguration": {"Alarms": [{"AlarmName": "nobody-has-made-it"}]}},
            "Could not find the following alarm(s): [nobody-has-made-it]",
            id="alarm",
        ),
    ],
)
def test_deployments_that_the_fleet_or_the_alarms_do_not_allow_are_refused(
    lab: Lab, endpoint: str, deployment: dict[str, Any], text: str
) -> None:
    config = lab.config(lab.model(0))

    code, message = error_of(
        lab.sagemaker.update_endpoint, EndpointName=endpoint, EndpointConfigName=config, DeploymentConfig=deployment
    )
    assert code == "ValidationException"
    assert text in message


class Callers(Repeating):
    """Clients that ask an endpoint without a pause, and what each of their requests got: a score, or None."""

    def __init__(self, lab: Lab, name: str, clients: int = 3) -> None:
        super().__init__(clients)
        self.scores: list[float | None] = []
        self._lab, self._name = lab, name

    def ask(self) -> None:
        """Note what a request got."""
        try:
            self.scores.append(self._lab.score(self._name))
        except ClientError as error:
            assert error.response["OriginalStatusCode"] == 500  # noqa: PT017 - in a thread
            self.scores.append(None)


@pytest.fixture
def errors_alarm(lab: Lab) -> Iterator[Callable[[str], str]]:
    """An alarm on the server errors of an endpoint, of whatever fleet."""
    cloudwatch, made = lab.cloud.client("cloudwatch"), []

    def alarm(endpoint: str) -> str:
        name = unique("alarm")
        dimensions = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": "AllTraffic"}]
        cloudwatch.put_metric_alarm(
            AlarmName=name, Namespace="AWS/SageMaker", MetricName="Invocation5XXErrors", Dimensions=dimensions,
            Statistic="Sum", Period=10, EvaluationPeriods=1, Threshold=0, ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="notBreaching",
        )  # fmt: skip
        made.append(name)
        return name

    yield alarm
    cloudwatch.delete_alarms(AlarmNames=made)


def test_a_faulty_model_is_rolled_back_and_only_the_canarys_share_of_requests_fails(
    lab: Lab, errors_alarm: Callable[[str], str]
) -> None:
    broken = SCRIPT.replace("    text = body if", "    raise KeyError('price')\n    text = body if")
    faulty = lab.archive("faulty.tar.gz", {"code/inference.py": broken.encode()})
    old, new = lab.config(lab.model(5), count=4), lab.config(lab.model(6, faulty), count=4)
    name = lab.create(old)
    deployment = routed("CANARY", 60, CanarySize=ONE_INSTANCE) | {
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": errors_alarm(name)}]}
    }
    with Callers(lab, name) as callers:
        lab.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=new, DeploymentConfig=deployment)
        wait_for(lambda: None in callers.scores, "the first failure")
        pending = lab.sagemaker.describe_endpoint(EndpointName=name)["PendingDeploymentSummary"]
        found = lab.settled(name)
        after = len(callers.scores)
        wait_for(lambda: len(callers.scores) > after + 50, "more requests")

    (status,) = pending["ProductionVariants"][0]["VariantStatus"]
    assert status["Status"] == "Baking"
    assert status["StatusMessage"] == (
        "Baking for 60 seconds (WaitIntervalInSeconds) with traffic enabled on canary capacity of 1 instance(s)."
    )
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", old)
    assert "CloudWatch alarm(s) in the state ALARM" in found["FailureReason"]
    assert found["LastDeploymentConfig"] == deployment
    failed = [number for number, score in enumerate(callers.scores) if score is None]
    during = callers.scores[failed[0] : failed[-1] + 1]
    assert 0.1 < len(failed) / len(during) < 0.4  # one of four instances
    assert set(callers.scores) == {11.0, None}
    assert None not in callers.scores[after + 5 :]
    lab.sagemaker.delete_endpoint(EndpointName=name)


def test_a_sound_model_reaches_all_traffic_step_by_step_without_a_failed_request(
    lab: Lab, errors_alarm: Callable[[str], str]
) -> None:
    old, new = lab.config(lab.model(5), count=2), lab.config(lab.model(6), count=2)
    name = lab.create(old)
    deployment = routed("LINEAR", 2, LinearStepSize=ONE_INSTANCE) | {
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": errors_alarm(name)}]}
    }
    with Callers(lab, name) as callers:
        lab.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=new, DeploymentConfig=deployment)
        wait_for(lambda: "PendingDeploymentSummary" in lab.sagemaker.describe_endpoint(EndpointName=name), "the update")
        others = [
            error_of(lab.sagemaker.update_endpoint, EndpointName=name, EndpointConfigName=old),
            error_of(lab.sagemaker.delete_endpoint, EndpointName=name),
        ]
        meanwhile = lab.sagemaker.describe_endpoint(EndpointName=name)
        found = lab.settled(name)
        after = len(callers.scores)
        wait_for(lambda: len(callers.scores) > after + 50, "more requests")

    assert all("Cannot update in-progress endpoint" in str(one) for one in others)
    assert {decide(meanwhile, config, phase).action for config in (old, new) for phase in PHASES} == {"Wait"}
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", new)
    first, last = callers.scores.index(12.0), len(callers.scores) - callers.scores[::-1].index(11.0)
    assert 0.3 < callers.scores[first:last].count(12.0) / (last - first) < 0.7
    assert set(callers.scores[after + 5 :]) == {12.0}
    assert set(callers.scores) == {11.0, 12.0}
    lab.sagemaker.delete_endpoint(EndpointName=name)


def test_an_alarm_that_rings_before_the_update_takes_it_back_at_once(
    lab: Lab, errors_alarm: Callable[[str], str]
) -> None:
    old = lab.config(lab.model(5))
    name = lab.create(old)
    alarm = errors_alarm(name)
    for _ in range(3):
        error_of(lab.ask, name=name, body="bug")
    cloudwatch = lab.cloud.client("cloudwatch")
    wait_for(
        lambda: cloudwatch.describe_alarms(AlarmNames=[alarm])["MetricAlarms"][0]["StateValue"] == "ALARM", "the alarm"
    )
    deployment = {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
            "TerminationWaitInSeconds": 60,
        },
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": alarm}]},
    }
    lab.sagemaker.update_endpoint(
        EndpointName=name, EndpointConfigName=lab.config(lab.model(6)), DeploymentConfig=deployment
    )
    found = lab.settled(name)
    assert (found["EndpointConfigName"], lab.score(name)) == (old, 11.0)
    assert alarm in found["FailureReason"]
    lab.sagemaker.delete_endpoint(EndpointName=name)


def test_traffic_follows_the_weights_and_the_target(lab: Lab) -> None:
    name = lab.create(lab.config(lab.model(0), lab.model(100), weights=(1, 3)))
    scores = [lab.score(name) for _ in range(200)]

    assert 0.6 < scores.count(106.0) / 200 < 0.9
    assert set(scores) == {6.0, 106.0}
    answer = lab.ask(name, TargetVariant="Variant1")
    assert answer["InvokedProductionVariant"] == "Variant1"
    assert json.loads(answer["Body"].read())["score"] == 6.0
    assert error_of(lab.ask, name=name, TargetVariant="Other")[0] == "ValidationError"
    lab.sagemaker.delete_endpoint(EndpointName=name)


def test_captured_records_reach_s3_within_two_seconds(lab: Lab) -> None:
    capture = {
        "EnableCapture": True,
        "InitialSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{lab.bucket}/capture",
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
    }
    name = lab.create(lab.config(lab.model(1), DataCaptureConfig=capture))
    assert lab.sagemaker.describe_endpoint(EndpointName=name)["DataCaptureConfig"] == {
        "EnableCapture": True,
        "CaptureStatus": "Started",
        "CurrentSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{lab.bucket}/capture",
        "KmsKeyId": "",
    }
    lab.ask(name, InferenceId="car-7", CustomAttributes="trace=1")
    error_of(lab.ask, name=name, body="bad")

    records = wait_for(lambda: lab.captured(f"capture/{name}/"), "a captured record", 2.5)
    assert len(records) == 1
    key, record = records[0]
    assert key.startswith(f"capture/{name}/AllTraffic/{time.strftime('%Y/%m/%d/', time.gmtime())}")
    assert record["captureData"]["endpointInput"]["data"] == "1,2"
    assert record["captureData"]["endpointOutput"]["encoding"] == "BASE64"
    assert record["eventMetadata"]["inferenceId"] == "car-7"
    lab.sagemaker.delete_endpoint(EndpointName=name)


def test_an_update_under_load_loses_no_request(lab: Lab) -> None:
    """Four clients ask without a pause while three updates follow each other; a fifth waits for one answer."""
    configs = [lab.config(lab.model(bias)) for bias in (0, 1, 2, 3)]
    name = lab.create(configs[0])
    stop = threading.Event()
    scores: list[list[float]] = [[] for _ in range(4)]
    failures: list[Exception] = []

    def hammer(mine: list[float]) -> None:
        while not stop.is_set():
            try:
                mine.append(lab.score(name))
            except Exception as error:
                failures.append(error)

    clients = [threading.Thread(target=hammer, args=(mine,)) for mine in scores]
    slow: list[float] = []
    clients.append(threading.Thread(target=lambda: slow.append(lab.score(name, body="sleep 3 1,2"))))
    for client in clients:
        client.start()
    for config in configs[1:]:
        lab.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config)
        found = lab.settled(name)
        assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", config)
        time.sleep(0.3)
    stop.set()
    for client in clients:
        client.join()

    assert failures == []
    assert slow == [6.0]  # of the model that it had asked
    for mine in scores:
        assert mine == sorted(mine)  # once the switch is made, nobody sees the old model again
        assert set(mine) == {6.0, 7.0, 8.0, 9.0}
    lab.sagemaker.delete_endpoint(EndpointName=name)


class Caller(asyncio.Protocol):
    """A connection over which one record after the other is asked for; each answer has to be that of its own record.

    `allowed` has what each model answers to each record, the one that serves first; one in ten is refused.
    """

    def __init__(self, cloud: Cloud, name: str, number: int, allowed: list[list[str]]) -> None:
        self._cloud, self._url, self._allowed = cloud, f"/endpoints/{name}/invocations", allowed
        self._asked, self._received, self.by_model = number, b"", [0] * len(allowed)
        self.is_over, self.refused = False, 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self._ask()

    def _ask(self) -> None:
        self._asked += 1
        record = self._asked % len(self._allowed[0])
        body = b"bad" if self._asked % 10 == 0 else b"%d,1" % record
        headers = {"Content-Type": "text/csv", "Host": f"127.0.0.1:{self._cloud.settings.port}"}
        head = signed(self._cloud, "POST", self._url, body, "sagemaker", **headers)
        lines = "".join(f"{key}: {value}\r\n" for key, value in {**head, "Content-Length": len(body)}.items())
        self._received = b""
        self._transport.write(f"POST {self._url} HTTP/1.1\r\n{lines}\r\n".encode() + body)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, _, body = self._received.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        if length is None or len(body) < int(length[1]):
            return
        try:
            self._check(head, body.decode())
        except AssertionError as error:
            self._transport.close()
            self.done.set_exception(error)
            return
        if self.is_over:
            self._transport.close()
            self.done.set_result(None)
        else:
            self._ask()

    def _check(self, head: bytes, body: str) -> None:
        if self._asked % 10 == 0:
            assert (head[9:12], "price is missing" in body) == (b"424", True), (head, body)
            self.refused += 1
            return
        answers = [of_model[self._asked % len(of_model)] for of_model in self._allowed]
        assert body in answers, f"record {self._asked % len(self._allowed[0])}: {head!r} {body!r}, expected {answers}"
        self.by_model[answers.index(body)] += 1


def test_each_of_many_clients_gets_the_answers_to_its_own_records_also_while_the_model_changes(lab: Lab) -> None:
    """32 connections, and 500 records whose predictions are all different, bit by bit those of the library."""
    rows = np.array([[2.0 * record, 2.0] for record in range(500)], dtype="f4")
    data = [xgboost.DMatrix(rows, label=rows[:, 0] * factor) for factor in (1.0, 3.0)]
    parameters = {"tree_method": "exact", "max_depth": 12, "min_child_weight": 0, "lambda": 0}
    boosters = [xgboost.train(parameters, one, 20) for one in data]
    allowed = [[f"{value}\n" for value in booster.inplace_predict(rows).tolist()] for booster in boosters]
    assert len({*allowed[0], *allowed[1]}) == 1000
    configs = [lab.config(lab.xgboost(booster)) for booster in boosters]
    name = lab.create(configs[0])

    def update() -> None:
        lab.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=configs[1])
        assert lab.settled(name)["EndpointConfigName"] == configs[1]

    async def ask() -> list[Caller]:
        loop = asyncio.get_running_loop()
        callers = [Caller(lab.cloud, name, number * 17, allowed) for number in range(32)]
        for caller in callers:
            await loop.create_connection(lambda caller=caller: caller, "127.0.0.1", lab.cloud.settings.port)  # type: ignore[misc]
        await asyncio.sleep(0.5)
        await asyncio.to_thread(update)
        await asyncio.sleep(0.5)
        for caller in callers:
            caller.is_over = True
        async with asyncio.timeout(30):
            await asyncio.gather(*(caller.done for caller in callers))
        await asyncio.sleep(0)  # their connections are closed
        return callers

    callers = asyncio.run(ask())
    by_model = np.sum([caller.by_model for caller in callers], axis=0)
    assert (by_model > 100).all()
    assert sum(caller.refused for caller in callers) > 20
    lab.sagemaker.delete_endpoint(EndpointName=name)


def test_an_update_keeps_the_number_of_instances_where_it_is_asked_to_and_how_it_scales(lab: Lab) -> None:
    """API Reference, UpdateEndpoint, RetainAllVariantProperties and ExcludeRetainedVariantProperties."""
    model, count = lab.model(0), [{"VariantPropertyType": "DesiredInstanceCount"}]
    name = lab.create(lab.config(model, count=2))

    def updated(**more: Any) -> int:
        lab.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=lab.config(model), **more)
        return int(lab.settled(name)["ProductionVariants"][0]["DesiredInstanceCount"])

    assert updated(RetainAllVariantProperties=True) == 2
    assert updated(RetainAllVariantProperties=True, ExcludeRetainedVariantProperties=count) == 1
    assert updated() == 1

    scaling, resource = lab.cloud.client("application-autoscaling"), f"endpoint/{name}/variant/AllTraffic"
    target = {"ServiceNamespace": "sagemaker", "ResourceId": resource, "ScalableDimension": DIMENSION}
    scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=2)
    with pytest.raises(ClientError, match="deregister it first"):
        lab.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=lab.config(model, machine="ml.m5.xlarge"))
    assert updated() == 1, "of the same type it is updated as it scales"
    listed = scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[resource])
    assert [one["MaxCapacity"] for one in listed["ScalableTargets"]] == [2]
    lab.sagemaker.delete_endpoint(EndpointName=name)
    wait_for(lambda: not lab.sagemaker.list_endpoints(NameContains=name)["Endpoints"], "its end")
    with pytest.raises(scaling.exceptions.ObjectNotFoundException):
        scaling.deregister_scalable_target(**target)


def test_an_update_that_fails_is_rolled_back(lab: Lab) -> None:
    old = lab.config(lab.model(5))
    name = lab.create(old)
    lab.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=lab.config(lab.broken_model()))
    during = lab.sagemaker.describe_endpoint(EndpointName=name)
    assert during["EndpointConfigName"] == old
    busy = ("ValidationException", f'Cannot update in-progress endpoint "{during["EndpointArn"]}".')
    if during["EndpointStatus"] == "Updating":
        assert during["PendingDeploymentSummary"]["ProductionVariants"][0]["VariantStatus"][0]["Status"] == "Creating"
        assert error_of(lab.sagemaker.delete_endpoint, EndpointName=name) == busy

    found = lab.settled(name)
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", old)
    assert found["FailureReason"].startswith(
        "The primary container for production variant AllTraffic did not pass the ping health check. Please check "
        "CloudWatch logs for this endpoint."
    )
    assert "expected model_algo-1 at the root of model.tar.gz" in found["FailureReason"]
    assert "PendingDeploymentSummary" not in found
    assert lab.score(name) == 11.0
    lab.sagemaker.delete_endpoint(EndpointName=name)


def test_an_endpoint_that_cannot_start_has_failed_and_can_only_be_deleted(lab: Lab) -> None:
    name = unique("endpoint")
    lab.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=lab.config(lab.broken_model()))

    assert lab.settled(name)["EndpointStatus"] == "Failed"
    update = lab.sagemaker.update_endpoint
    code, message = error_of(update, EndpointName=name, EndpointConfigName=lab.config(lab.model(0)))
    assert code == "ValidationException"
    assert "with status Failed; delete it" in message
    assert error_of(lab.ask, name=name)[0] == "ValidationError"
    lab.sagemaker.delete_endpoint(EndpointName=name)


def test_a_deleted_endpoint_is_gone_and_its_name_is_free(lab: Lab) -> None:
    config = lab.config(lab.model(0))
    name = lab.create(config)
    lab.sagemaker.delete_endpoint(EndpointName=name)

    def gone() -> bool:
        try:
            return bool(lab.sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"] != "Deleting")
        except ClientError as error:
            return error.response["Error"]["Message"].startswith("Could not find endpoint")

    wait_for(gone, "the endpoint is gone")
    assert error_of(lab.ask, name=name)[0] == "ValidationError"
    lab.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=config)
    assert lab.settled(name)["EndpointStatus"] == "InService"
    lab.sagemaker.delete_endpoint(EndpointName=name)


def test_containers_log_under_awss_names(lab: Lab, endpoint: str) -> None:
    logs = lab.cloud.client("logs")
    group = f"/aws/sagemaker/Endpoints/{endpoint}"

    def lines() -> list[str]:
        streams = logs.describe_log_streams(logGroupName=group)["logStreams"]
        return [
            f"{stream['logStreamName']} {event['message']}"
            for stream in streams
            for event in logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])["events"]
        ]

    found = wait_for(
        lambda: [line for line in lines() if "loading from /opt/ml/model" in line], "the script's own output", 5
    )
    assert found[0].startswith("AllTraffic/i-")
    assert found[0].split(" ")[0].endswith("/container-1")


def test_invocations_and_latency_reach_cloudwatch(lab: Lab, endpoint: str) -> None:
    lab.score(endpoint)
    cloudwatch = lab.cloud.client("cloudwatch")

    def sums(metric: str) -> float:
        points = cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=metric,
            Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": "AllTraffic"}],
            StartTime=time.time() - 600,
            EndTime=time.time() + 60,
            Period=3600,
            Statistics=["Sum"],
        )["Datapoints"]
        return float(sum(point["Sum"] for point in points))

    assert wait_for(lambda: sums("Invocations"), "Invocations", 5) >= 1
    assert wait_for(lambda: sums("ModelLatency"), "ModelLatency", 5) > 100


def test_state_changes_are_events(lab: Lab) -> None:
    name = unique("endpoint")
    so_far = watch_events(lab.cloud, {"source": ["aws.sagemaker"], "detail": {"EndpointName": [name]}})
    first, second = lab.config(lab.model(0)), lab.config(lab.model(1))
    lab.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=first)
    lab.settled(name)
    lab.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=second)
    lab.settled(name)
    lab.sagemaker.delete_endpoint(EndpointName=name)
    wait_for(
        lambda: [event for event in so_far() if event["detail"]["EndpointStatus"] == "DELETING"],
        "the event of the deletion",
    )
    received = so_far()
    plain = [event["detail"] for event in received if event["detail-type"] == "SageMaker Endpoint State Change"]
    assert [detail["EndpointStatus"] for detail in plain] == [
        "CREATING",
        "IN_SERVICE",
        "UPDATING",
        "IN_SERVICE",
        "DELETING",
    ]
    deployments = [e["detail"] for e in received if e["detail-type"] == "SageMaker Endpoint Deployment State Change"]
    assert deployments[0]["PendingDeploymentSummary"]["EndpointConfigName"] == second
    assert deployments[0]["EndpointConfigName"] == first
