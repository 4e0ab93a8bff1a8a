"""What the guard has found out of a request is taken over by MiniStack, and nothing else is."""

import asyncio
import pkgutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from localcloud.engine import guard

evaluator: Any = pkgutil.resolve_name("ministack.core.iam_evaluator")
SESSION = evaluator.ResolvedCredential(
    access_key_id="ASIAKEY",
    secret_access_key="secret",
    account_id="000000000000",
    principal_arn="arn:aws:sts::000000000000:assumed-role/role/session",
    principal_id="id:session",
    principal_type="AssumedRole",
)
HEADERS = {"authorization": "AWS4-HMAC-SHA256 Credential=ASIAKEY/20261129/us-east-1/s3/aws4_request", "a": "b"}
RAW = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
ORIGINAL = evaluator.AuthError("Original", "MiniStack has looked")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """Forget the request of a test at its end."""
    yield
    guard._admitted.set(None)
    evaluator._signed_request.set(None)
    evaluator._verified_key.set("")


def admit(credential: Any, headers: dict[str, str] = HEADERS, ago_seconds: float = 0) -> None:
    """Let a request in as the guard does, and have MiniStack keep it as its application does."""
    guard._admitted.set((guard.Request("GET", "/b/k", "/b/k", headers, {}), guard.Signer("secret", credential)))
    guard._admitted_at.set(guard.time.monotonic() - ago_seconds)
    pin = guard._make_pin_signed_request(evaluator.pin_signed_request)
    pin("GET", "/b/k", {}, RAW)


def authenticate(key: str = "ASIAKEY") -> Any:
    asked = guard._make_authenticate(lambda key, account: ORIGINAL)
    return asked(key, "000000000000")


def test_what_is_kept_of_a_request_is_what_ministack_would_keep() -> None:
    admit(SESSION)
    kept = evaluator._signed_request.get()
    evaluator.pin_signed_request("GET", "/b/k", {}, RAW)
    assert kept == evaluator._signed_request.get()
    assert (evaluator._anonymous.get(), evaluator._verified_key.get()) == (False, "")


def test_a_session_whose_signature_the_guard_has_checked_is_not_looked_up_again() -> None:
    admit(SESSION)
    assert authenticate() is SESSION
    assert (evaluator._signed_request.get(), evaluator._verified_key.get()) == (None, "ASIAKEY")


@pytest.mark.parametrize(
    ("credential", "asked"),
    [
        pytest.param(SESSION, "ASIAOTHER", id="another key"),
        pytest.param(replace(SESSION, access_key_id="ASIAOTHER"), "ASIAKEY", id="a key that the guard has not seen"),
        pytest.param(replace(SESSION, principal_type="User"), "ASIAKEY", id="a user, whom the account decides"),
        pytest.param(None, "ASIAKEY", id="root"),
    ],
)
def test_ministack_looks_at_every_other_key_itself(credential: Any, asked: str) -> None:
    admit(credential)
    assert authenticate(asked) is ORIGINAL


def test_ministack_looks_at_what_was_let_in_long_ago_itself() -> None:
    """The body may take minutes, and the session end meanwhile."""
    admit(SESSION, ago_seconds=1.5)
    assert authenticate() is ORIGINAL


def test_ministack_looks_at_a_request_that_it_has_kept_itself() -> None:
    admit(SESSION)
    evaluator.pin_signed_request("GET", "/b/k", {}, RAW)
    assert authenticate() is ORIGINAL


def test_a_signed_address_is_kept_as_ministack_keeps_it() -> None:
    pinned = list[tuple[Any, ...]]()
    guard._admitted.set((guard.Request("GET", "/b/k", "/b/k", {}, {"X-Amz-Signature": ["s"]}), guard.Signer("secret")))
    guard._make_pin_signed_request(lambda *arguments: pinned.append(arguments))("GET", "/b/k", {}, RAW)
    assert pinned == [("GET", "/b/k", {}, RAW, False)]


@pytest.mark.parametrize(
    ("header", "is_said"),
    [
        ((b"content-type", b'text/csv; a="b"\tc'), True),
        ((b"content-type", b"text/csv\r\nInjected: yes"), False),
        ((b"content-type", b"a\x00"), False),
        ((b"content type", b"text/csv"), False),
        ((b"content-type:", b"text/csv"), False),
    ],
)
def test_an_answer_is_sent_without_what_lets_web_pages_read_it_and_only_if_http_can_say_it(
    header: tuple[bytes, bytes], is_said: bool
) -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    open_to_all = (b"Access-Control-Allow-Origin", b"*")
    start = {"type": "http.response.start", "status": 200, "headers": [(b"a", b"b"), header, open_to_all]}
    asyncio.run(guard._sayable(send)(start))
    assert sent[0]["status"] == (200 if is_said else 500)
    assert not is_said or sent[0]["headers"] == [(b"a", b"b"), header]
