"""The short way of InvokeEndpoint lets in nothing that the guard's whole way does not.

Both are asked in this process, about what is a healthy invocation but for one thing.
"""

import asyncio
import contextvars
import hashlib
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from botocore.credentials import Credentials

from localcloud.engine.guard import Guard
from localcloud.engine.invocations import DirectInvocations
from localcloud.settings import Settings
from tests.integration.conftest import Cloud
from tests.integration.localcloud.engine.test_guard import clock, own, signed

PATH, BODY = "/endpoints/cars/invocations", b"1,2\n"
Headers = list[tuple[bytes, bytes]]


def healthy(cloud: Cloud, body: bytes = BODY, path: str = PATH, keys: Any = None, **more: str) -> Headers:
    host = f"127.0.0.1:{cloud.settings.port}"
    headers = signed(cloud, "POST", path, body, "sagemaker", keys, Host=host, **{"Content-Type": "text/csv"}, **more)
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


def other(headers: Headers, name: bytes, value: bytes | None) -> Headers:
    """The headers with another value of one of them, or without it."""
    rest = [pair for pair in headers if pair[0] != name]
    return rest if value is None else [*rest, (name, value)]


def ways(cloud: Cloud, headers: Headers, body: bytes = BODY, url: bytes = PATH.encode()) -> tuple[bool, bool]:
    """Whether the short way and the whole way let a POST in."""
    let_in: list[Any] = []

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive()).get("more_body"):
            continue
        let_in.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(_message: dict[str, Any]) -> None:
        """Nobody listens."""

    path, _, query = url.partition(b"?")
    scope = {
        "type": "http", "method": "POST", "path": path.decode("latin-1"), "raw_path": path, "query_string": query,
        "headers": headers,
    }  # fmt: skip
    guard = Guard(Settings(cloud.settings.port, cloud.state), inner)
    direct = DirectInvocations(guard, None, cloud.settings.port)  # type: ignore[arg-type]  # it is not asked

    def short() -> bool:
        answering = direct.is_meant(b"POST", url) and direct.admitted(url, headers, body, "127.0.0.1")
        if answering:
            answering.close()
        return bool(answering)

    took = contextvars.Context().run(short)
    asyncio.run(guard(scope, receive, send))
    return took, bool(let_in)


def test_an_invocation_as_boto3_writes_it_goes_the_short_way(cloud: Cloud) -> None:
    attributes = {"X-Amzn-SageMaker-Custom-Attributes": "trace=1", "Accept": "application/json"}
    body = BODY * 100
    content = {"X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest()}
    for more in ({}, attributes, content):
        assert ways(cloud, healthy(cloud, body, **more), body) == (True, True)


CHANGED: dict[str, tuple[bytes, bytes | None]] = {
    "no signature": (b"authorization", None),
    "another host": (b"host", b"attacker.example"),
    "no host": (b"host", None),
    "a web page": (b"origin", b"http://attacker.example"),
    "another site": (b"sec-fetch-site", b"cross-site"),
    "another time": (b"x-amz-date", b"20200101T000000Z"),
    "no time": (b"x-amz-date", None),
    "no such time": (b"x-amz-date", b"20269901T000000Z"),
    "another type": (b"content-type", b"text/plain"),
    "a header of Amazon's that is not signed": (b"x-amz-meta", b"1"),
    "another operation": (b"x-amz-target", b"SageMaker.DeleteEndpoint"),
    "another content": (b"x-amz-content-sha256", hashlib.sha256(b"other").hexdigest().encode()),
    "no content": (b"x-amz-content-sha256", b"UNSIGNED-PAYLOAD"),
    "a session that is none": (b"x-amz-security-token", b"x"),
    "bytes that are no text": (b"content-type", b"text/csv\xff"),
}


@pytest.mark.parametrize(("name", "value"), CHANGED.values(), ids=CHANGED)
def test_what_is_not_as_it_was_signed_is_not_let_in_by_either(cloud: Cloud, name: bytes, value: bytes | None) -> None:
    assert ways(cloud, other(healthy(cloud), name, value)) == (False, False)


AUTHORIZATIONS = {
    "another signature": lambda text: text[:-4] + (b"0000" if text[-4:] != b"0000" else b"1111"),
    "half a signature": lambda text: text[:-32],
    "a signature in capitals": lambda text: text[:-64] + text[-64:].upper(),
    "another algorithm": lambda text: text.replace(b"AWS4-HMAC-SHA256", b"AWS4-HMAC-SHA1"),
    "another algorithm before": lambda text: b"AWS4-ECDSA-P256-SHA256 " + text,
    "another key": lambda text: text.replace(b"Credential=", b"Credential=AKIA"),
    "two keys": lambda text: text.replace(b" Credential=", b" Credential=test/1/2/sagemaker/aws4_request, Credential="),
    "another service": lambda text: text.replace(b"/sagemaker/", b"/s3/"),
    "another region": lambda text: text.replace(b"/us-east-1/", b"/us-west-2/"),
    "no host among what is signed": lambda text: text.replace(b";host", b""),
    "no time among what is signed": lambda text: text.replace(b";x-amz-date", b""),
    "nothing": lambda text: b"",
}


@pytest.mark.parametrize("change", AUTHORIZATIONS.values(), ids=AUTHORIZATIONS)
def test_a_signature_that_says_something_else_is_not_let_in_by_either(cloud: Cloud, change: Any) -> None:
    headers = healthy(cloud)
    text = dict(headers)[b"authorization"]
    assert change(text) != text
    assert ways(cloud, other(headers, b"authorization", change(text))) == (False, False)


def test_a_body_a_path_and_a_time_are_those_that_were_signed(cloud: Cloud) -> None:
    headers = healthy(cloud)
    assert ways(cloud, headers, b"1,3\n") == (False, False)
    assert ways(cloud, headers, url=b"/endpoints/other/invocations") == (False, False)
    for minutes in (-6, 6):
        with clock(timedelta(minutes=minutes)):
            old = healthy(cloud)
        assert ways(cloud, old) == (False, False)
    with clock(timedelta(minutes=-4)):
        assert ways(cloud, healthy(cloud)) == (True, True)


def test_keys_of_nobody_are_not_let_in_by_either(cloud: Cloud) -> None:
    mine = own(cloud)
    for keys in (
        Credentials(mine.access_key, "x"),
        Credentials("test", "test"),
        Credentials("0" * 12, mine.secret_key),
    ):
        assert ways(cloud, healthy(cloud, keys=keys)) == (False, False)


def unusual(cloud: Cloud) -> Sequence[tuple[Headers, bytes]]:
    """Healthy requests that the short way leaves to the whole one."""
    twice = healthy(cloud, **{"X-Two": "1,2"})
    return (
        (healthy(cloud, path=f"{PATH}?a=b"), f"{PATH}?a=b".encode()),
        ([*other(twice, b"x-two", b"1"), (b"x-two", b"2")], PATH.encode()),
        (other(healthy(cloud), b"transfer-encoding", b"chunked"), PATH.encode()),
        (healthy(cloud, **{"X-Amz-Content-SHA256": "UNSIGNED-PAYLOAD"}), PATH.encode()),
    )


def test_what_is_healthy_and_unusual_goes_the_whole_way(cloud: Cloud) -> None:
    for headers, url in unusual(cloud):
        assert ways(cloud, headers, url=url) == (False, True), headers
