"""What is known of a caller: for how long it holds, and what ends it before. Time stands still unless it is moved."""

import asyncio
import json
import pkgutil
from collections.abc import Callable, Iterator
from contextvars import copy_context
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from localcloud.engine import guard as guard_module
from localcloud.engine.asgi import answer
from localcloud.engine.guard import Guard, Signer
from localcloud.engine.moment import SECONDS, Moment, moment
from localcloud.engine.permissions.requests import refusal_to_invoke, responses, sts
from localcloud.settings import Settings

ACCOUNT, ROLE, ENDPOINT = "000000000000", "asks-for-a-moment", "cars"
HERE = "127.0.0.1"
INVOKE = {"Effect": "Allow", "Action": "sagemaker:InvokeEndpoint", "Resource": f"arn:*:endpoint/{ENDPOINT}"}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    monkeypatch.setattr(moment, "_clock", clock)
    moment.forget()
    yield clock
    moment.forget()


def ask(service: str, **parameters: str) -> str:
    """Ask MiniStack's IAM or STS by a form."""
    responses.set_request_account_id(ACCOUNT)
    handle = pkgutil.resolve_name(f"ministack.services.{service}").handle_request
    headers = {"content-type": "application/x-www-form-urlencoded"}
    status, _, body = asyncio.run(handle("POST", "/", headers, urlencode(parameters).encode(), {}))
    assert status == 200, body
    return body.decode()


def allow(*statements: dict[str, str]) -> None:
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    ask("iam", Action="PutRolePolicy", RoleName=ROLE, PolicyName="all", PolicyDocument=document)


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """Key and token of a session of a role that may invoke one endpoint."""
    monkeypatch.setenv("MINISTACK_ACCOUNT_ID", ACCOUNT)
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    ask("iam", Action="CreateRole", RoleName=ROLE, AssumeRolePolicyDocument=document)
    allow(INVOKE)
    text = ask("sts", Action="AssumeRole", RoleArn=f"arn:aws:iam::{ACCOUNT}:role/{ROLE}", RoleSessionName="s")
    key = text.partition("<AccessKeyId>")[2].partition("<")[0]
    yield key, str(sts._sessions[key]["SessionToken"])
    sts._sessions.pop(key, None)
    ask("iam", Action="DeleteRolePolicy", RoleName=ROLE, PolicyName="all")
    ask("iam", Action="DeleteRole", RoleName=ROLE)


@pytest.fixture
def guard(tmp_path: Path) -> Guard:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, 200, {}, b"")

    return Guard(Settings(4566, tmp_path), inner)


def get_an_answer(guard: Guard, host: str = HERE, seen: Callable[[dict[str, Any]], None] = lambda _: None) -> None:
    """Ask the guard, without a signature."""
    scope = {
        "type": "http", "method": "POST", "path": "/", "raw_path": b"/", "query_string": b"",
        "headers": [(b"host", host.encode())], "client": (HERE, 0),
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        seen(message)

    asyncio.run(guard(scope, receive, send))


def may_invoke(guard: Guard, session: tuple[str, str], client: str = HERE, region: str = "us-east-1") -> bool:
    signer = guard._signer(*session)
    said = f"AWS4-HMAC-SHA256 Credential={session[0]}/20261130/{region}/sagemaker/aws4_request, Signature=0"
    return refusal_to_invoke(ENDPOINT, signer.credential, client, {"authorization": said}) is None


def test_what_was_found_out_holds_for_a_moment_and_not_when_the_clock_was_set_back() -> None:
    clock = Clock()
    known = Moment(clock)

    def found(moved: float) -> Any:
        clock.now = 1000.0
        known.get("key")
        known.keep("key", 1)
        clock.now += moved
        return known.get("key")

    assert (found(0), found(0.9 * SECONDS)) == (1, 1)
    assert (found(1.1 * SECONDS), found(-1)) == (None, None)


def test_a_policy_that_changes_counts_from_the_next_answer(guard: Guard, session: Any, clock: Clock) -> None:
    assert may_invoke(guard, session)
    allow({**INVOKE, "Effect": "Deny"})
    assert may_invoke(guard, session)  # nobody has heard of it yet
    get_an_answer(guard)
    assert not may_invoke(guard, session)
    allow(INVOKE)
    assert may_invoke(guard, session)  # a refusal is not kept


def test_a_policy_that_changes_while_nobody_asks_counts_after_a_moment(
    guard: Guard, session: Any, clock: Clock
) -> None:
    assert may_invoke(guard, session)
    allow({**INVOKE, "Effect": "Deny"})
    clock.now += 1.1 * SECONDS
    assert not may_invoke(guard, session)


def test_a_refusal_may_be_how_somebody_hears_of_a_change(guard: Guard, session: Any, clock: Clock) -> None:
    assert may_invoke(guard, session)
    allow({**INVOKE, "Effect": "Deny"})
    assert not may_invoke(guard, session, client="127.0.0.2")
    assert not may_invoke(guard, session)


def test_a_permission_is_known_of_one_client_and_one_region_only(guard: Guard, session: Any, clock: Clock) -> None:
    allow({**INVOKE, "Resource": "arn:aws:sagemaker:us-east-1:*", "Condition": {"IpAddress": {"aws:SourceIp": HERE}}})  # type: ignore[dict-item]
    assert may_invoke(guard, session)
    assert not may_invoke(guard, session, client="10.0.0.1")
    assert not may_invoke(guard, session, region="us-west-2")


def test_a_region_is_told_apart_wherever_an_authorization_names_it(session: Any, clock: Clock, guard: Guard) -> None:
    allow({**INVOKE, "Resource": "arn:aws:sagemaker:us-east-1:*"})
    credential = guard._signer(*session).credential

    def may(region: str) -> bool:
        scope = f"Credential={session[0]}/20261130/{region}/sagemaker/aws4_request"
        said = f"AWS4-HMAC-SHA256 Signature={'0' * 64}, {scope}, SignedHeaders=host"
        return refusal_to_invoke(ENDPOINT, credential, HERE, {"authorization": said}) is None

    assert may("us-east-1")
    assert not may("us-west-2")


def test_nothing_is_known_any_more_when_a_request_ends_without_an_answer(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise ZeroDivisionError

    guard = Guard(Settings(4566, tmp_path), fail)
    monkeypatch.setattr(guard, "_admit", fail)
    moment.get("key")
    moment.keep("key", 1)
    with pytest.raises(ZeroDivisionError):
        get_an_answer(guard)
    assert moment.get("key") is None


def test_whose_a_key_is_is_forgotten_with_the_rest(
    guard: Guard, session: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = type("Claim", (), {"scheme": type("Scheme", (), {"key": session[0]})})
    signed_posts = "localcloud.engine.guard.signed_posts"
    monkeypatch.setattr(f"{signed_posts}.claim", lambda *_: claim)
    monkeypatch.setattr(f"{signed_posts}.is_right", lambda *_: True)

    def signer() -> Signer | None:
        return guard.signer("/", {"x-amz-security-token": session[1]}, b"")

    assert signer()
    del sts._sessions[session[0]]
    assert signer()
    get_an_answer(guard)
    assert signer() is None


@pytest.mark.parametrize("host", [HERE, "attacker.example"])
def test_nothing_is_known_any_more_when_an_answer_goes_out_whatever_it_is(
    guard: Guard, clock: Clock, host: str
) -> None:
    known: list[Any] = []
    moment.get("key")
    moment.keep("key", 1)
    get_an_answer(guard, host, lambda _: known.append(moment.get("key")))
    assert known
    assert not any(known)


def scope_of(request: AWSRequest) -> dict[str, Any]:
    """Return what uvicorn says of a request."""
    url = urlsplit(request.url)
    headers = [(name.lower().encode(), str(value).encode()) for name, value in request.headers.items()]
    return {
        "type": "http", "method": request.method, "path": url.path, "raw_path": url.path.encode(),
        "query_string": url.query.encode(), "headers": [(b"host", url.netloc.encode()), *headers], "client": (HERE, 0),
    }  # fmt: skip


def test_whoever_sends_a_body_slowly_was_looked_up_before_it(tmp_path: Path, session: Any) -> None:
    """Then MiniStack looks again: the session may have ended meanwhile."""
    times: list[float] = []

    async def inner(*_: Any) -> None:
        times.append(guard_module._admitted_at.get())

    async def receive() -> dict[str, Any]:
        times.append(guard_module.time.monotonic())
        return {"type": "http.request", "body": b"Action=GetCallerIdentity&Version=2011-06-15", "more_body": False}

    request = AWSRequest("POST", f"http://{HERE}:4566/", data=b"Action=GetCallerIdentity&Version=2011-06-15")
    credentials = Credentials(session[0], str(sts._sessions[session[0]]["SecretAccessKey"]), session[1])
    SigV4Auth(credentials, "sts", "us-east-1").add_auth(request)
    asyncio.run(Guard(Settings(4566, tmp_path), inner)(scope_of(request), receive, inner))
    body_at, looked_at = times
    assert looked_at < body_at


def test_a_request_begins_without_the_one_before_it_on_its_connection(tmp_path: Path) -> None:
    """One that has come before the answer to another is started in the context of that."""
    admitted: list[Any] = []

    async def inner(*_: Any) -> None:
        admitted.append(guard_module._admitted.get())

    link = AWSRequest("GET", f"http://{HERE}:4566/?Action=Unsubscribe&Version=2010-03-31&SubscriptionArn=a")
    head = guard_module.Request("GET", "/", "/", {}, {})
    context = copy_context()
    context.run(guard_module._admitted.set, (head, Signer("secret")))
    context.run(asyncio.run, Guard(Settings(4566, tmp_path), inner)(scope_of(link), inner, inner))
    assert admitted == [None]
