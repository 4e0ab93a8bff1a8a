"""What unit tests of the functions share: an AWS in memory, the functions as modules, and a Lambda context."""

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no failure of a property.
settings.register_profile("perennial", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("perennial")

ROOT = Path(__file__).parents[2]
FUNCTIONS = ROOT / "functions"
STACK = "perennial-used-cars"
BUCKET = "cars-bucket"
REGION = "eu-west-1"
EXECUTION_ARN = f"arn:aws:states:{REGION}:123456789012:execution:{STACK}-train-model:one"

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "BUCKET": BUCKET,
    "DATA_BUCKET": BUCKET,
    "DATA_PREFIX": "raw/",
    "RUN_TABLE": "runs",
    "STACK_NAME": STACK,
    "MODEL_NAME": "used-cars",
    "ENDPOINT_NAME": STACK,
    "PARAMETER_PREFIX": f"/{STACK}",
    "CODE_URI": f"s3://{BUCKET}/code/0123456789abcdef",
    "TOPIC_ARN": f"arn:aws:sns:{REGION}:123456789012:alerts",
    "KMS_KEY_ARN": f"arn:aws:kms:{REGION}:123456789012:key/1",
    "XGBOOST_IMAGE": "1.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-xgboost:3.2-0",
    "LINEAR_LEARNER_IMAGE": "2.dkr.ecr.eu-west-1.amazonaws.com/linear-learner:1",
    "SKLEARN_IMAGE": "1.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3",
    "VPC_SUBNETS": "",
    "VPC_SECURITY_GROUPS": "",
    "QUIET_PERIOD_SECONDS": "30",
    "MODELS_TO_KEEP": "2",
    "RUN_SETS_DAYS": "30",
    "COPIES_DAYS": "0",
    "TRAFFIC_SHIFT": "canary",
    "BAKING_SECONDS": "0",
    "ROLLBACK_ALARMS": "errors,latency,model-quality",
    "TUNING_PREFIX": "0a1b2c3d",
    "POWERTOOLS_SERVICE_NAME": STACK,
    "POWERTOOLS_METRICS_NAMESPACE": "Perennial",
}


@cache
def load_function(name: str) -> ModuleType:
    """The app.py of a function as a module of its own name, loaded as Lambda loads it: all of them are called app."""
    if str(FUNCTIONS) not in sys.path:
        sys.path.insert(0, str(FUNCTIONS))
    spec = importlib.util.spec_from_file_location(f"function_{name}", FUNCTIONS / name / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in ENVIRONMENT.items():
            patch.setenv(variable, value)
        spec.loader.exec_module(module)
    return module


@dataclass
class Context:
    """What Lambda hands to a handler."""

    function_name: str = "function"
    memory_limit_in_mb: int = 512
    invoked_function_arn: str = f"arn:aws:lambda:{REGION}:123456789012:function:function"
    aws_request_id: str = "request-1"
    seconds: float = 60.0

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


def asked_again(state: str) -> list[dict[str, Any]]:
    """The history of an execution whose state waited twice for a quota, and once made a job again that was lost."""
    error = {"error": "SageMaker.ResourceLimitExceededException", "resourceType": "sagemaker", "resource": "x"}
    kinds: list[tuple[str, str, Any]] = [("TaskStateEntered", "stateEnteredEventDetails", {"name": state})]
    for _ in range(2):
        kinds += [("TaskScheduled", "", None), ("TaskSubmitFailed", "taskSubmitFailedEventDetails", error)]
    return [
        {
            "timestamp": number,
            "type": kind,
            "id": number,
            "previousEventId": number - 1,
            **({name: body} if name else {}),
        }
        for number, (kind, name, body) in enumerate([*kinds, ("TaskScheduled", "", None), kinds[0]], 1)
    ]


@dataclass
class FakeAws:
    """The AWS of a test: in memory, empty but for a versioned bucket, the run table and the topic."""

    client: Callable[[str], Any]

    def put(self, key: str, body: str | bytes) -> str:
        """Put an object, as boto3 puts it, and return its version."""
        from tests.unit import quick_moto

        return quick_moto.put(BUCKET, key, body.encode() if isinstance(body, str) else body)

    def get(self, key: str) -> str:
        return self.body(key).decode()

    def body(self, key: str) -> bytes:
        return bytes(self.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def versions(self) -> dict[str, list[bytes]]:
        """Return the contents of each version of each object, the newest first."""
        from tests.unit import quick_moto

        return quick_moto.versions(BUCKET)

    def get_json(self, key: str) -> Any:
        return json.loads(self.get(key))

    def keys(self, prefix: str) -> list[str]:
        listed = self.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [item["Key"] for item in listed.get("Contents", [])]

    def override(self, text: str) -> None:
        """Set what parameters of the stack set over model.yaml."""
        from tests.unit import quick_moto

        quick_moto.put_parameter(REGION, f"/{STACK}_overrides", text)

    def item(self, item_id: str) -> dict[str, Any] | None:
        return self.client("dynamodb").get_item(TableName="runs", Key={"id": {"S": item_id}}).get("Item")

    def serve(self, run: str) -> str:
        """Create a model and the parameters that name it, as a finished run leaves them."""
        name = f"{STACK}-{run}"
        self.create_model(name)
        for parameter, value in (("model", name), ("endpoint-config", name), ("run", run)):
            self.client("ssm").put_parameter(Name=f"/{STACK}/{parameter}", Value=value, Type="String", Overwrite=True)
        return name

    def create_model(self, name: str) -> None:
        self.client("sagemaker").create_model(
            ModelName=name,
            ExecutionRoleArn="arn:aws:iam::123456789012:role/model",
            PrimaryContainer={"Image": "image", "ModelDataUrl": f"s3://{BUCKET}/model.tar.gz"},
        )

    def create_config(self, name: str) -> None:
        self.client("sagemaker").create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[
                {
                    "VariantName": "AllTraffic",
                    "ModelName": name,
                    "InstanceType": "ml.m5.large",
                    "InitialInstanceCount": 1,
                }
            ],
        )


@pytest.fixture(scope="session")
def _moto() -> Iterator[tuple[Any, Any]]:
    """Imported once, and only by those who need it: it takes a second. With the session that has read AWS's models."""
    os.environ.update(ENVIRONMENT)
    import boto3
    from moto import mock_aws

    from tests.unit import quick_moto

    with pytest.MonkeyPatch.context() as patched:
        quick_moto.install(patched)
        session: Any = boto3.Session()
        session.client = cache(session.client)  # to make one costs as much as ten requests
        yield mock_aws, session


@pytest.fixture
def aws(_moto: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAws]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.syspath_prepend(str(FUNCTIONS))
    mock_aws, session = _moto
    with mock_aws():
        from perennial_aws.clients import client
        from tests.unit import quick_moto

        monkeypatch.setattr("boto3.DEFAULT_SESSION", session)
        quick_moto.sign_nothing(monkeypatch)
        quick_moto.make(REGION, bucket=BUCKET, table="runs", topic="alerts")
        quick_moto.put_parameter(REGION, f"/{STACK}_overrides", "{}")
        yield FakeAws(client)


@pytest.fixture
def their_bucket(aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket without versions that is not the stack's, into which data are dropped; its name."""
    name = "their-bucket"
    aws.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    monkeypatch.setenv("DATA_BUCKET", name)
    return name


@pytest.fixture
def lambda_context() -> Context:
    return Context()


Answer = tuple[int, dict[str, Any] | str] | Exception | None


@pytest.fixture
def answers(aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Let AWS answer an operation with these, one after the other.

    Each is (status, body), an error, None for moto, or a function that says which of these, from the request.
    Returns the list of requests that came. The last answer is repeated; a new plan replaces the one before.
    """
    from botocore.awsrequest import AWSResponse
    from moto.core.botocore_stubber import BotocoreStubber

    plans: dict[str, tuple[list[Any], tuple[Answer, ...]]] = {}
    in_memory = BotocoreStubber.__call__
    monkeypatch.setattr("time.sleep", lambda _: None)

    def send(self: Any, event_name: str, request: Any, **given: Any) -> Any:
        requests, planned = plans.get(event_name, ([], (None,)))
        requests.append(request)
        item: Any = planned[min(len(requests), len(planned)) - 1]
        item = item(request) if callable(item) else item
        if isinstance(item, Exception):
            raise item
        if item is None:
            return in_memory(self, event_name, request, **given)
        status, body = item
        content = body if isinstance(body, str) else json.dumps(body)
        return AWSResponse(request.url, status, {}, _Raw(content.encode()))

    monkeypatch.setattr(BotocoreStubber, "__call__", send)

    def answer(service: str, operation: str, *planned: Answer) -> list[Any]:
        service_id = aws.client(service).meta.service_model.service_id.hyphenize()
        plans[f"before-send.{service_id}.{operation}"] = ([], planned)
        return plans[f"before-send.{service_id}.{operation}"][0]

    return answer


class _Raw:
    """The body of a response, as urllib3 hands it to botocore."""

    def __init__(self, body: bytes) -> None:
        self.body = body

    def stream(self, **_: Any) -> Iterator[bytes]:
        yield self.body

    def read(self, *_: Any, **__: Any) -> bytes:
        body, self.body = self.body, b""
        return body


def refusal(code: str, message: str = "no") -> tuple[int, dict[str, Any]]:
    """An error of a JSON service."""
    return 400, {"__type": code, "message": message}


def xml_refusal(status: int, code: str) -> tuple[int, str]:
    """An error of a service that speaks XML, such as SNS."""
    error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>no</Message></Error>"
    return status, f"<ErrorResponse>{error}<RequestId>1</RequestId></ErrorResponse>"
