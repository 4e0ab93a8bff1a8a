"""Requests to the local SageMaker's control API: as bytes for a fuzzer, and of the shapes that botocore describes.

A line of the bytes is a request, `<operation> <JSON>`, and later lines meet what earlier ones have made.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

from botocore.exceptions import ClientError

from localcloud.sagemaker import http
from localcloud.sagemaker.api import requests
from localcloud.sagemaker.platform.aws import Credentials
from localcloud.sagemaker.service import SageMakerService

MAX_REQUESTS = 20
ROLE = "arn:aws:iam::000000000000:role/test"
REGISTRY = "000000000000.dkr.ecr.us-east-1.amazonaws.com/sagemaker-"
TEXTS = (
    *("a", "", "x" * 300, "../x", "/opt/ml/x", "/opt/ml/../../x", "s3://b/../x", "s3://b/k", "s3://", "\0", "\ud800"),
    *(ROLE, f"{REGISTRY}xgboost:3.2-0"),
    *("\u202e", "a\r\nx: y", "0", "-1", "%2e%2e", "ml.m5.large", "Completed", "InService"),
)
JUNK = (None, [], {}, "x", 1, 1.5, True, [None], {"a": {"b": 1}}, 10**30, float("nan"), float("inf"), -1, "")


class NoBuckets:
    """An AWS in which nothing exists."""

    def __getattr__(self, operation: str) -> Any:
        def refuse(*_: Any, **__: Any) -> None:
            raise ClientError(
                {"Error": {"Code": "NoSuchBucket", "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 404}},
                operation,
            )

        return refuse


class EmptyObjects(NoBuckets):
    """An AWS in which every object is, so that models can be made."""

    def head_object(self, **_: str) -> dict[str, Any]:
        return {}


def service_in(state: Path, aws: NoBuckets, **options: Any) -> SageMakerService:
    """A local SageMaker with this for the rest of AWS."""
    service = SageMakerService(
        state,
        "http://127.0.0.1:9",
        "us-east-1",
        "000000000000",
        Path("python3"),
        credentials=Credentials("key", "secret"),
        put_event=lambda _: None,
        **options,
    )
    service.aws.client = lambda _: aws  # type: ignore[method-assign]
    return service


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


def answered(service: SageMakerService, path: str, headers: dict[str, str], body: bytes) -> int:
    """The status of an answer or of one of AWS's refusals; anything else is a failure of ours."""
    if path.endswith("/invocations"):
        name = path.removeprefix("/endpoints/").removesuffix("/invocations")
        status, names, content = asyncio.run(http.handle_invocation(service, name, headers, body))
    else:
        status, names, content = http.handle_http(service, headers["x-amz-target"].rpartition(".")[2], body)
    assert status < 500, (headers, body[:1000], content)
    assert all("\n" not in text and "\r" not in text for text in names.values())
    return status


def check(content: bytes) -> None:
    """Each request is answered or refused, and nothing is written but the state. What is created never runs."""
    service, folder = _idle_service()
    for line in content.split(b"\n")[:MAX_REQUESTS]:
        operation, _, body = line.partition(b" ")
        answered(service, "/", {"x-amz-target": f"SageMaker.{operation.decode('latin-1')}"}, body)
    assert {path.name for path in folder.glob("*")} <= {"state"}
    with service.store._lock:  # the thread that sends events reads it, too
        service.store._kinds.clear()
        shutil.rmtree(folder, ignore_errors=True)


@cache
def _idle_service() -> tuple[SageMakerService, Path]:
    folder = Path(tempfile.gettempdir(), f"fuzz-sagemaker-{os.getpid()}")
    service = service_in(folder / "state", EmptyObjects(), max_jobs=0)
    service.endpoints._in_background = lambda *_: None  # type: ignore[method-assign]
    return service, folder


def seeds() -> tuple[bytes, ...]:
    """A story of each kind of resource, and every operation with something of its shape."""
    shapes = ((name, requests.input_shape(name)) for name in _idle_service()[0].supported)
    arbitrary = (_lines((name, value(shape, Random(number)))) for number, (name, shape) in enumerate(shapes))
    return (_endpoint(), _jobs(), *arbitrary)


def _endpoint() -> bytes:
    variant = {"VariantName": "a", "ModelName": "m", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    container = {"Image": f"{REGISTRY}xgboost:3.2-0", "ModelDataUrl": "s3://b/model.tar.gz"}
    return _lines(
        ("CreateModel", {"ModelName": "m", "ExecutionRoleArn": ROLE, "PrimaryContainer": container}),
        ("CreateEndpointConfig", {"EndpointConfigName": "c", "ProductionVariants": [variant]}),
        ("CreateEndpoint", {"EndpointName": "e", "EndpointConfigName": "c", "Tags": [{"Key": "k", "Value": "v"}]}),
        ("DescribeEndpoint", {"EndpointName": "e"}),
        ("UpdateEndpoint", {"EndpointName": "e", "EndpointConfigName": "c"}),
        ("ListEndpoints", {"NameContains": "e", "MaxResults": 1, "SortBy": "Name"}),
        ("ListTags", {"ResourceArn": "arn:aws:sagemaker:us-east-1:000000000000:endpoint/e"}),
        ("DeleteEndpoint", {"EndpointName": "e"}),
        ("DeleteModel", {"ModelName": "m"}),
    )


def _jobs() -> bytes:
    machine = {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 1}
    program = {"ImageUri": f"{REGISTRY}scikit-learn:1.4-2", "ContainerEntrypoint": ["python3", "-c", "1"]}
    source = {"S3Uri": "s3://b/x", "LocalPath": "/opt/ml/processing/x", "S3DataType": "S3Prefix", "S3InputMode": "File"}
    job = {"ProcessingJobName": "p", "ProcessingResources": {"ClusterConfig": machine}, "RoleArn": ROLE}
    return _lines(
        (
            "CreateProcessingJob",
            {**job, "AppSpecification": program, "ProcessingInputs": [{"InputName": "x", "S3Input": source}]},
        ),
        ("DescribeProcessingJob", {"ProcessingJobName": "p"}),
        ("ListProcessingJobs", {"StatusEquals": "InProgress", "CreationTimeAfter": 0}),
        ("StopProcessingJob", {"ProcessingJobName": "p"}),
        ("DeleteProcessingJob", {"ProcessingJobName": "p"}),
    )


def _lines(*stories: tuple[str, Any]) -> bytes:
    return b"\n".join(f"{operation} {json.dumps(document)}".encode() for operation, document in stories)
