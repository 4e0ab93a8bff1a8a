"""Which requests change no state because they are InvokeEndpoint: those alone that can be nothing else."""

import asyncio
import contextvars
from typing import Any

import pytest

from localcloud.engine import guard, invocations

PATH = "/endpoints/cars/invocations"
HOST = ("host", "127.0.0.1:4566")


def is_invocation(service: str, method: str = "POST", path: str = PATH, *headers: tuple[str, str]) -> bool:
    pairs = [(name.encode(), value.encode()) for name, value in headers or (HOST,)]
    scope: dict[str, Any] = {"method": method, "path": path, "headers": pairs}

    def asked() -> bool:
        guard._scope.set(service)
        return invocations.is_invocation(scope, 4566)

    return contextvars.copy_context().run(asked)


def test_a_request_to_an_endpoint_is_an_invocation() -> None:
    assert is_invocation("sagemaker")
    assert is_invocation("sagemaker", "POST", PATH, ("host", "localhost:4566"))


@pytest.mark.parametrize(
    "request_",
    [
        ("s3",),  # a multipart upload of the object cars/invocations in the bucket `endpoints`
        ("",),
        ("sagemaker", "PUT"),
        ("sagemaker", "POST", "/endpoints/cars/invocations/x"),
        ("sagemaker", "POST", PATH, ("host", "endpoints.s3.localhost:4566")),
        ("sagemaker", "POST", PATH, ("host", "api.execute-api.localhost:4566")),
        ("sagemaker", "POST", PATH, HOST, ("x-amz-target", "SageMaker.DeleteEndpoint")),
        ("sagemaker", "POST", PATH, HOST, ("content-encoding", "gzip")),
    ],
)
def test_what_may_be_something_else_is_saved_as_before(request_: Any) -> None:
    assert not is_invocation(*request_)


def test_a_body_that_ends_too_early_reaches_no_model() -> None:
    messages = [{"type": "http.request", "body": b"1,", "more_body": True}, {"type": "http.disconnect"}]
    asked: list[Any] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0)

    async def note(*message: Any) -> None:
        asked.append(message)

    class SageMaker:
        invoke = note

    async def answer() -> None:
        guard._admitted.set((guard.Request("POST", PATH, PATH, {}, {}), guard.Signer("secret")))
        await invocations.answer_invocation(SageMaker(), {"client": ("", 0)}, receive, note)  # type: ignore[arg-type]

    asyncio.run(answer())
    assert asked == []
