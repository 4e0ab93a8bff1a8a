"""One guard before everything: who may speak to this local cloud, whatever the path.

* The request names the loopback as its Host: the name of a web site may lead here as well (DNS rebinding).
* No web page has sent it: neither an Origin nor Sec-Fetch-Site says so.
* It is signed, in a header or in its address, with the keys of the state folder (`access.py`), of an IAM user or of a
  role's session, and its time is not over. What is signed with its content has that content.
* Paths of the local cloud itself (`/_...`) take the account's own keys only.

Two kinds of links need no signature, as on AWS, because a secret is part of them: the answer of a custom resource, and
ConfirmSubscription and Unsubscribe. No answer lets a web page read it. Unsigned requests to what an application may
open to the public on AWS (public buckets, APIs, function URLs, browser uploads by POST, WebSockets) are refused.
"""

import hashlib
import ipaddress
import logging
import os
import re
import time
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs

from localcloud import access
from localcloud.engine.asgi import App, Receive, Scope, Send, answer, answer_json, body_of
from localcloud.engine.seams import Seams
from localcloud.settings import Settings

ministack_app = Seams("app", _credential_failure="179c3d03")
iam_evaluator = Seams(
    "core.iam_evaluator",
    AuthError="7b582688",
    CredentialResolutionError="b48be60f",
    SignedRequest="999634ee",
    _sigv2_check="12c92a4c",
    find_iam_access_key_account="dea7a3ab",
    is_root_access_key="68ab8ee2",
    resolve_credential="f0617c27",
)
responses = Seams("core.responses", _account_from_sts_session="80f9566f")
router = Seams("core.router", detect_service="e264c9da", extract_access_key_id="73d8c373")
sigv4 = Seams(
    "core.sigv4",
    decode_header_value="d7afe4fb",
    header_signature_failure="a33d1e86",
    parse_header_signature="d70000ed",
    parse_query_signature="1ebe72a5",
    presigned_request_is_expired="c0b5bb88",
    request_time_failure="f26f5032",
)
custom_resource = Seams("services.cloudformation.custom_resource", _pending="5e629b86")
lambda_svc = Seams(
    "services.lambda_svc",
    _layer_content_url="e328d00d",
    _presigned_code_url="c9a9a73c",
)

Failure = tuple[str, str]
"""AWS's code (as MiniStack maps it to each service's own) and text."""

_CUSTOM_RESOURCE = "/_ministack/cfn-response/"
_LINKS = ("ConfirmSubscription", "Unsubscribe")
_V4, _V2 = frozenset({"x-amz-algorithm", "x-amz-credential", "x-amz-signature"}), frozenset({"awsaccesskeyid"})
_ALGORITHM = "AWS4-HMAC-SHA256"
_SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
_HEX = re.compile(r"[0-9a-f]{64}")
_WEEK_SECONDS = 7 * 24 * 3600
_LINK_SECONDS = 600
_UNSIGNED = "MissingAuthenticationToken", "Request is missing Authentication Token"
_EXPIRED = "RequestExpired", "Request has expired"
_MISMATCH = (
    "SignatureDoesNotMatch",
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details.",
)
log = logging.getLogger("localcloud.guard")
_right: ContextVar[str] = ContextVar("right", default="")
"""The signature of this request, once it was found to be right."""


@dataclass(frozen=True)
class Request:
    """The head of a request as it arrived. Header names are in lower case."""

    method: str
    path: str
    raw_path: str
    headers: dict[str, str]
    query: dict[str, list[str]]

    @classmethod
    def of(cls, scope: Scope) -> "Request":
        headers: dict[str, str] = {}
        for raw_name, raw in scope["headers"]:
            name, value = raw_name.decode("latin-1").lower(), sigv4.decode_header_value(raw)
            headers[name] = f"{headers[name]},{value}" if name in headers else value  # as several are signed
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True, errors="replace")
        return cls(scope["method"], scope["path"], scope["raw_path"].decode("latin-1"), headers, query)

    @property
    def mechanisms(self) -> list[str]:
        """How it is signed: `header`, `query`, `query-v2`; healthy requests name one, and each of its fields once."""
        names = [name.lower() for name, values in self.query.items() for _ in values]
        found = ["header"] if "authorization" in self.headers else []
        for mechanism, fields in (("query", _V4), ("query-v2", _V2)):
            found += [mechanism] * max((names.count(field) for field in fields), default=0)
        return found

    def parameter(self, name: str) -> str:
        return self.query.get(name, self.query.get(name.lower(), [""]))[0]


class _ContentError(Exception):
    """The content of a request is not the one that was signed."""


class Guard:
    """The application behind the guard."""

    def __init__(self, settings: Settings, inner: App) -> None:
        self._settings, self._inner = settings, inner
        self._keys = access.keys(settings.state)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, send = Request.of(scope), _unreadable_for_web_pages(send)
        if why := foreign(request.headers):
            log.warning("refused %s %s: %s", request.method, request.path, why)
            await answer_json(send, 403, {"message": why})
        elif _is_open_link(request):
            await self._inner(scope, receive, send)
        else:
            await self._admit(request, scope, receive, send)

    async def _admit(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        content = request.headers.get("x-amz-content-sha256", "")
        body = b""
        try:
            mechanism = _only(request.mechanisms)
            if mechanism != "query-v2" and (not content or content.startswith(_SIGNED_CHUNKS)):
                body = await body_of(receive)
                receive = _again(body, receive)
            elif mechanism == "header" and _HEX.fullmatch(content):
                receive = _verified(receive, content)
            self._check(mechanism, request, body)
            await self._inner(scope, receive, send)
        except _RefusedError as refused:
            await self._refuse(request, refused.failure, send)
        except _ContentError:
            text = "The provided 'x-amz-content-sha256' header does not match what was computed."
            await _send_xml(send, "XAmzContentSHA256Mismatch", text)

    def _check(self, mechanism: str, request: Request, body: bytes) -> None:
        """Raises _RefusedError."""
        key = self._signer_by_v2(request) if mechanism == "query-v2" else self._signer(mechanism, request, body)
        if request.path.startswith("/_") and key != self._keys.access_key:
            raise _RefusedError("AccessDenied", f"{request.path} takes the keys of the account only.")

    def _signer(self, mechanism: str, request: Request, body: bytes) -> str:
        """The access key of a request with Signature Version 4. Raises _RefusedError."""
        in_query = mechanism == "query"
        named = request.parameter("X-Amz-Algorithm") if in_query else request.headers["authorization"].split(" ")[0]
        if named != _ALGORITHM:
            raise _RefusedError("IncompleteSignature", f"{named!r} is not {_ALGORITHM}.")
        parsed = (
            sigv4.parse_query_signature(request.query) if in_query else sigv4.parse_header_signature(request.headers)
        )
        if isinstance(parsed, tuple):
            raise _RefusedError(*parsed)
        if router.extract_access_key_id(request.headers, request.query) != parsed.access_key_id:
            raise _RefusedError("IncompleteSignature", "The request names more than one access key.")
        if late := _late(request, parsed) if in_query else sigv4.request_time_failure(parsed):
            raise _RefusedError(*late)
        given = request.parameter("X-Amz-Security-Token") if in_query else request.headers.get("x-amz-security-token")
        secret = self._secret(parsed.access_key_id, given or "")
        _right.set("")
        failure = sigv4.header_signature_failure(
            parsed, secret, request.method, request.raw_path, request.query, request.headers, body, presigned=in_query
        ) if _HEX.fullmatch(parsed.signature) else _MISMATCH  # fmt: skip
        if failure:
            raise _RefusedError(*failure)
        _right.set(parsed.signature)
        return str(parsed.access_key_id)

    def _signer_by_v2(self, request: Request) -> str:
        """The access key of an address with Signature Version 2, which boto3 makes for S3. Raises _RefusedError."""
        key = request.parameter("AWSAccessKeyId")
        self._secret(key, request.parameter("x-amz-security-token"))
        expires, path = request.parameter("Expires"), request.raw_path
        if not re.fullmatch(r"[0-9]{1,12}", expires) or int(expires) < time.time():
            raise _RefusedError(*_EXPIRED)
        account = iam_evaluator.find_iam_access_key_account(key) or self._settings.account_id
        resource = path if "/" in path[1:] else f"{path}/"  # a bucket is signed with the slash after its name
        signed = iam_evaluator.SignedRequest(
            key, request.method, path, request.query, request.headers, sigv2=True, auth_path=resource
        )
        checked = iam_evaluator._sigv2_check(signed, account)
        if isinstance(checked, iam_evaluator.AuthError):
            raise _RefusedError(checked.code, checked.message)
        return key

    def _secret(self, key: str, token: str) -> str:
        """The secret of an access key. Raises _RefusedError: there is none, or it is over."""
        if key == self._keys.access_key and not token:
            return self._keys.secret_key
        if iam_evaluator.is_root_access_key(key):  # MiniStack takes any account's number for its root
            raise _RefusedError("UnrecognizedClientException", "The security token included in the request is invalid.")
        account = responses._account_from_sts_session(key) or iam_evaluator.find_iam_access_key_account(key)
        found = iam_evaluator.resolve_credential(key, account or self._settings.account_id, token)
        if isinstance(found, iam_evaluator.CredentialResolutionError):
            raise _RefusedError(found.code, found.message)
        return str(found.secret_access_key)

    async def _refuse(self, request: Request, failure: Failure, send: Send) -> None:
        """In the form of the service that was asked, so that its clients can read it."""
        code, text = failure
        log.warning("refused %s %s: %s: %s", request.method, request.path, code, text)
        if request.path.startswith("/_"):
            remedy = f'{text} See eval "$(python -m localcloud --state {self._settings.state} env)".'
            known = (
                {"state": str(self._settings.state), "pid": os.getpid()} if request.path == access.STATUS_PATH else {}
            )
            await answer_json(send, 403, {"message": remedy, **known})
            return
        service = router.detect_service(request.method, request.path, request.headers, request.query)
        status, headers, body = ministack_app._credential_failure(
            service, "", str(uuid.uuid4()), iam_evaluator.AuthError(code, text), request.headers
        )
        await answer(send, status, headers, body)


class _RefusedError(Exception):
    def __init__(self, code: str, text: str) -> None:
        self.failure: Failure = (code, text)


def foreign(headers: dict[str, str]) -> str:
    """Why the head of a request is not that of a program on this machine; empty when it is."""
    host, origin, site = (headers.get(name) for name in ("host", "origin", "sec-fetch-site"))
    if not _is_loopback(host or ""):
        return f"The request is for the host {host!r}; the local cloud answers to 127.0.0.1 and localhost only."
    if origin is not None and origin != f"http://{host}":
        return f"The request comes from a web page ({origin}); the local cloud answers programs on this machine only."
    if site not in (None, "none", "same-origin"):
        return "The request comes from a web page; the local cloud answers programs on this machine only."
    return ""


@lru_cache(maxsize=256)
def _is_loopback(host: str) -> bool:
    name = re.sub(r":\d+\Z", "", host).lower()
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761: nobody else's
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def _is_open_link(request: Request) -> bool:
    """Whether a request is one of the links that have a secret in them, and nothing but that."""
    if request.mechanisms or "x-amz-target" in request.headers:
        return False
    if request.method == "PUT" and request.path.startswith(_CUSTOM_RESOURCE):
        return request.path.removeprefix(_CUSTOM_RESOURCE) in custom_resource._pending
    return request.method == "GET" and request.path == "/" and request.query.get("Action", []) in [[a] for a in _LINKS]


def _only(mechanisms: list[str]) -> str:
    if not mechanisms:
        raise _RefusedError(*_UNSIGNED)
    if len(mechanisms) > 1:
        raise _RefusedError("IncompleteSignature", "The request is signed more than once; expected one signature.")
    return mechanisms[0]


def _late(request: Request, parsed: Any) -> Failure | None:
    """Why an address that was signed is not valid now: it has been for X-Amz-Expires seconds, a week at most."""
    given = request.parameter("X-Amz-Expires")
    if not given:
        failure: Failure | None = sigv4.request_time_failure(parsed)
        return failure
    try:
        over = int(given) > _WEEK_SECONDS or sigv4.presigned_request_is_expired(parsed.amz_date, given)
    except ValueError:
        over = True
    return _EXPIRED if over else None


def _unreadable_for_web_pages(send: Send) -> Send:
    async def send_without(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            kept = [pair for pair in message["headers"] if not pair[0].lower().startswith(b"access-control-")]
            message = {**message, "headers": kept}
        await send(message)

    return send_without


def _verified(receive: Receive, expected: str) -> Receive:
    """The content as it arrives; raises _ContentError at its end when it is not what was signed."""
    digest = hashlib.sha256()

    async def receive_verified() -> dict[str, Any]:
        message = await receive()
        if message["type"] == "http.request":
            digest.update(message.get("body", b""))
            if not message.get("more_body", False) and digest.hexdigest() != expected:
                raise _ContentError
        return message

    return receive_verified


def _again(body: bytes, receive: Receive) -> Receive:
    """What has been received, once more."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> dict[str, Any]:
        return messages.pop() if messages else await receive()

    return receive_again


async def _send_xml(send: Send, code: str, text: str) -> None:
    body = f"<Error><Code>{code}</Code><Message>{text}</Message></Error>".encode()
    await answer(send, 400, {"content-type": "application/xml"}, body)


def register(settings: Settings) -> None:
    """Sign the addresses from which Lambda gives out code, and compute no request's signature twice.

    MiniStack must be importable (the environment is set).
    """

    def make(original: Callable[..., str]) -> Callable[..., str]:
        def signed(*arguments: Any) -> str:
            return access.presigned(access.keys(settings.state), original(*arguments).partition("?")[0], _LINK_SECONDS)

        return signed

    for name in ("_presigned_code_url", "_layer_content_url"):
        lambda_svc.replace(name, make)
    sigv4.replace("header_signature_failure", _make_header_signature_failure)


def _make_header_signature_failure(original: Any) -> Any:
    def header_signature_failure(signature: Any, *arguments: Any, **options: Any) -> Failure | None:
        """None for the request that the guard has let in; MiniStack looks at the time and the session all the same."""
        if _right.get() and signature.signature == _right.get():
            return None
        failure: Failure | None = original(signature, *arguments, **options)
        return failure

    return header_signature_failure
