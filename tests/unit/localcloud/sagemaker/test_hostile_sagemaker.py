"""Any request to the local SageMaker: an answer or one of AWS's refusals, in its own folder, no failure of ours."""

import json
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localcloud.sagemaker import http
from localcloud.sagemaker.api import requests
from localcloud.sagemaker.service import SageMakerService
from tests.fuzz.control_api import NoBuckets, answered, service_in, value
from tests.memory import bounded
from tests.unit.test_memory import BITES, grow_and_hide_it

HEADERS = (
    "content-type",
    "accept",
    *(f"x-amzn-sagemaker-{name}" for name in ("target-variant", "inference-id", "custom-attributes")),
)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SageMakerService]:
    root = tmp_path_factory.mktemp("hostile") / "state"
    service = service_in(root, NoBuckets())
    yield service
    service.stop()
    assert {path.name for path in root.parent.iterdir()} <= {"state"}


def ask(service: SageMakerService, path: str, headers: dict[str, str], body: bytes) -> int:
    with bounded():
        return answered(service, path, headers, body)


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
        status, _, content = http.handle_http(service, "ListModels", body)
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
