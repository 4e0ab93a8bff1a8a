"""Any request to the local SageMaker: an answer or one of AWS's refusals, in its own folder, no failure of ours."""

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localcloud.sagemaker import http, requests
from localcloud.sagemaker.service import SageMakerService
from tests.memory import bounded
from tests.unit.test_memory import BITES, grow_and_hide_it

TEXTS = (
    *("a", "", "x" * 300, "../x", "/opt/ml/x", "/opt/ml/../../x", "s3://b/../x", "s3://b/k", "s3://", "\0", "\ud800"),
    *("arn:aws:iam::000000000000:role/test", "000000000000.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.2-0"),
    *("\u202e", "a\r\nx: y", "0", "-1", "%2e%2e", "ml.m5.large", "Completed", "InService"),
)
JUNK = (None, [], {}, "x", 1, 1.5, True, [None], {"a": {"b": 1}}, 10**30, float("nan"), float("inf"), -1, "")
HEADERS = (
    "content-type",
    "accept",
    *(f"x-amzn-sagemaker-{name}" for name in ("target-variant", "inference-id", "custom-attributes")),
)


class NoBuckets:
    """An AWS in which nothing exists."""

    def __getattr__(self, operation: str) -> Any:
        def refuse(*_: Any, **__: Any) -> None:
            raise ClientError({"Error": {"Code": "NoSuchBucket", "Message": "no"}}, operation)

        return refuse


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SageMakerService]:
    root = tmp_path_factory.mktemp("hostile") / "state"
    service = SageMakerService(
        root, "http://127.0.0.1:9", "us-east-1", "000000000000", Path("python3"), put_event=lambda _: None
    )
    service.aws.client = lambda _: NoBuckets()  # type: ignore[method-assign]
    yield service
    service.stop()
    assert {path.name for path in root.parent.iterdir()} <= {"state"}


def value(shape: Any, random: Random, depth: int = 0) -> Any:
    """Something of the shape, mostly; sometimes junk."""
    if random.random() < 0.03:
        return random.choice(JUNK)
    kind = shape.type_name
    if kind == "structure":
        share = 0.25 if depth < 4 else 0.02
        wanted = [name for name in shape.members if name in shape.required_members or random.random() < share]
        return {name: value(shape.members[name], random, depth + 1) for name in wanted}
    if kind == "list":
        return [value(shape.member, random, depth + 1) for _ in range(random.choice((0, 1, 1, 2)))]
    if kind == "map":
        return {str(value(shape.key, random, depth + 1)): value(shape.value, random, depth + 1)}
    if kind == "string":
        return random.choice(shape.enum or TEXTS)
    choices = {"boolean": (True, False), "timestamp": (0, 1.5, 1e18, -1e18, "2024-01-01", "x")}
    return random.choice(choices.get(kind, (0, 1, 2, 20, 3600, -1, 10**12, 1.0, 2.5)))


def ask(service: SageMakerService, path: str, headers: dict[str, str], body: bytes) -> int:
    with bounded():
        status, answered, content = http._answer(service, "POST", path, headers, body)
    assert status < 500, (headers, body[:1000], content)
    assert all("\n" not in text and "\r" not in text for text in answered.values())
    return status


@settings(max_examples=400, suppress_health_check=list(HealthCheck))
@given(random=st.randoms(use_true_random=False))
def test_any_request_to_any_operation_is_answered_or_refused(service: SageMakerService, random: Random) -> None:
    operation = random.choice(service.supported)
    document = value(requests.input_shape(operation), random)
    ask(service, "/", {"x-amz-target": f"SageMaker.{operation}"}, json.dumps(document).encode())


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(body=st.one_of(st.binary(max_size=200), st.text(max_size=200).map(str.encode)), target=st.text(max_size=30))
def test_any_body_to_any_target_is_answered_or_refused(service: SageMakerService, body: bytes, target: str) -> None:
    ask(service, "/", {"x-amz-target": target}, body)
    ask(service, "/", {"x-amz-target": "SageMaker.CreateModel"}, body)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(name=st.text(max_size=100), headers=st.dictionaries(st.sampled_from(HEADERS), st.text(max_size=100)))
def test_any_endpoint_name_and_header_is_answered_or_refused(
    service: SageMakerService, name: str, headers: dict[str, str]
) -> None:
    ask(service, f"/endpoints/{name}/invocations", headers, b"1,2")


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"ModelName": ' * 100_000, b'{"MaxResults": ' + b"9" * 5000 + b"}"])
def test_json_that_cannot_be_read_is_refused_as_such(service: SageMakerService, body: bytes) -> None:
    with bounded():
        status, _, content = http._answer(service, "POST", "/", {"x-amz-target": "SageMaker.ListModels"}, body)
    assert (status, json.loads(content)["__type"]) == (400, "SerializationException")


def test_a_request_that_takes_memory_beyond_measure_fails_its_test(
    service: SageMakerService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def greedy(_: str, request: dict[str, Any]) -> dict[str, Any]:
        grow_and_hide_it()
        return request

    monkeypatch.setattr(requests, "check", greedy)
    with pytest.raises(AssertionError, match=BITES):
        ask(service, "/", {"x-amz-target": "SageMaker.ListModels"}, b"{}")
