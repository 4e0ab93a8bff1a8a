"""One guard before everything: who may speak to this local cloud, whatever the path.

* The request names the loopback as its Host: the name of a web site may lead here as well (DNS rebinding).
* No web page has sent it: neither an Origin nor Sec-Fetch-Site says so.
* It is signed, in a header or in its address, with the keys of the state folder (`access.py`), of an IAM user or of a
  role's session, and its time is not over. What is signed with its content has that content.
* It is for the service that it was signed for, and each of its `x-amz-` headers is signed: whoever holds a link to an
  object holds that, and no more.
* Paths of the local cloud itself (`/_...`) take the account's own keys only; the page of somebody else's that may be
  below `/_console` checks its callers itself (mounted_page.py).

What the head of a request decides is decided before its body is read; how large and slow a head may be, and how many
connections there are, is bounded before that (`connections.py`).

Two kinds of links need no signature, as on AWS, because a secret is part of them: the answer of a custom resource, and
ConfirmSubscription and Unsubscribe. Methods of APIs that take keys or signatures check their callers themselves
(apigateway.py). No answer lets a web page read it. Unsigned requests to what an application may open to the public on
AWS (public buckets, open APIs, function URLs, browser uploads by POST, WebSockets) are refused.

Sources: IAM User Guide, "Create a signed AWS API request"; Amazon S3 API Reference, "Authenticating Requests (AWS
Signature Version 4)" and "Signing and authenticating REST requests" (Version 2).
"""

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import math
import re
import time
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import parse_qs, quote, urlencode
from xml.sax.saxutils import escape

from botocore.auth import HmacV1Auth
from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE

from localcloud import access
from localcloud.engine import apigateway, signed_posts
from localcloud.engine.asgi import App, Receive, Scope, Send, answer, answer_json, body_of
from localcloud.engine.moment import moment
from localcloud.engine.mounted_page import MountedPage
from localcloud.engine.seams import Seams
from localcloud.sagemaker.errors import one_line
from localcloud.settings import HOST, Settings

ministack_app = Seams(
    "app",
    _credential_failure="179c3d03",
    _routing_params="f998243d",
    detect_service="e264c9da",
    pin_signed_request="f358c38f",
)
iam_evaluator = Seams(
    "core.iam_evaluator",
    AuthError="7b582688",
    CredentialResolutionError="b48be60f",
    SignedRequest="999634ee",
    _anonymous="2c115b84",
    _signed_request="778c6abc",
    _sigv2_check="12c92a4c",
    _verified_key="4e49ed47",
    authenticate="22665084",
    find_iam_access_key_account="dea7a3ab",
    is_root_access_key="68ab8ee2",
    request_caller_arn="743647b4",
    resolve_credential="f0617c27",
)
responses = Seams("core.responses", _account_from_sts_session="80f9566f", get_account_id="270e1115")
router = Seams("core.router", SERVICE_PATTERNS="f2191250", detect_service="e264c9da", extract_access_key_id="73d8c373")
sigv4 = Seams(
    "core.sigv4",
    calculate_signature="e6aa8112",
    decode_header_value="d7afe4fb",
    header_signature_failure="a33d1e86",
    header_signing_documents="5d91b5fd",
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
_LINKS = (
    {"Action": "Unsubscribe", "Version": "2010-03-31", "SubscriptionArn": ""},  # sns_mail.py
    {"Action": "ConfirmSubscription", "TopicArn": "", "Token": ""},  # MiniStack's, of subscriptions over HTTP
)
"""The parameters of the links, and the values of those that have always the same."""
_V4, _V2 = frozenset({"x-amz-algorithm", "x-amz-credential", "x-amz-signature"}), frozenset({"awsaccesskeyid"})
_ALGORITHM = "AWS4-HMAC-SHA256"
_SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
_HEX = re.compile(r"[0-9a-f]{64}")
_WEEK_SECONDS = 7 * 24 * 3600
_LINK_SECONDS = 600
_LARGEST_BODY = 128 << 20
"""Of a request whose signature cannot be checked before its body is there: nothing takes a larger one.

Lambda's CreateFunction takes 70,167,211 bytes, models 128 MB. S3's uploads say in their head what their content is.
"""
_BODY_SECONDS = 60.0
"""For that body. The code and the status are S3's (API Reference, "Error responses")."""
_LOGGED = 300
_V2_QUERY = frozenset((
    *HmacV1Auth.QSAOfInterest, "AWSAccessKeyId", "Signature", "Expires", "x-amz-security-token",
    "continuation-token", "delimiter", "encoding-type", "fetch-owner", "key-marker", "list-type", "marker", "max-keys",
    "max-parts", "max-uploads", "part-number-marker", "prefix", "start-after", "upload-id-marker", "version-id-marker",
))  # fmt: skip
"""What an address with Version 2 may have: what is signed, and which part of a listing is wanted, which is not."""
_UNSIGNED = "MissingAuthenticationToken", "Request is missing Authentication Token"
_EXPIRED = "RequestExpired", "Request has expired"
_MISMATCH = (
    "SignatureDoesNotMatch",
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details.",
)
logger = logging.getLogger(__name__)
_right: ContextVar[str] = ContextVar("right", default="")
"""The signature of this request, once it was found to be right."""
_scope: ContextVar[str] = ContextVar("scope", default="")
"""The service that this request was signed for."""
_admitted: ContextVar["tuple[Request, Signer] | None"] = ContextVar("admitted", default=None)
"""The request as it was let in, and who has signed it."""
_admitted_at: ContextVar[float] = ContextVar("admitted_at", default=-math.inf)
"""When whoever has signed it was looked up, by the monotonic clock in seconds."""
_AT_ONCE_SECONDS = 1.0
_REQUEST = "localcloud.request"
"""What is read of the head of a request is kept in its scope."""


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
        known: Request | None = scope.get(_REQUEST)
        if known is None:
            known = scope[_REQUEST] = cls._read(scope)
        return known

    @classmethod
    def _read(cls, scope: Scope) -> "Request":
        headers: dict[str, str] = {}
        decoded = sigv4.decode_header_value
        for raw_name, raw in scope["headers"]:
            name, value = raw_name.decode("latin-1").lower(), decoded(raw)
            headers[name] = f"{headers[name]},{value}" if name in headers else value  # as several are signed
        raw_query = scope["query_string"].decode("latin-1")
        query = parse_qs(raw_query, keep_blank_values=True, errors="replace") if raw_query else {}
        return cls(scope["method"], scope["path"], scope["raw_path"].decode("latin-1"), headers, query)

    @cached_property
    def is_execution(self) -> bool:
        """Whether it calls an API."""
        return apigateway.is_execution(self.path, self.headers)

    @property
    def mechanisms(self) -> list[str]:
        """How it is signed: `header`, `query`, `query-v2`; healthy requests name one, and each of its fields once."""
        mechanisms = ["header"] if "authorization" in self.headers else []
        if not self.query:
            return mechanisms
        names = [name.lower() for name, values in self.query.items() for _ in values]
        for mechanism, fields in (("query", _V4), ("query-v2", _V2)):
            mechanisms += [mechanism] * max((names.count(field) for field in fields), default=0)
        return mechanisms

    def parameter(self, name: str) -> str:
        return self.query.get(name, self.query.get(name.lower(), [""]))[0]


@dataclass(frozen=True)
class Signer:
    """The access key that a request names. `credential` is MiniStack's, None for the account's own key."""

    secret: str
    credential: Any = None


@dataclass(frozen=True)
class _Claim:
    """What the head of a request says about its signature, and whose it is.

    `content` is the header that says which content is signed; empty when the body has to be there to tell.
    """

    signature: Any
    signer: Signer
    in_query: bool
    content: str


class _ContentError(Exception):
    """The content of a request is not the one that was signed."""


class Guard:
    """The application behind the guard."""

    def __init__(self, settings: Settings, inner: App) -> None:
        self._settings, self._inner = settings, inner
        self._keys = access.keys(settings.state)
        self._page = MountedPage(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        _admitted.set(None)  # one that came before the answer to another begins with what that has left
        _right.set("")
        _scope.set("")
        try:
            await self._answer(scope, receive, _sayable(send))
        finally:
            moment.forget()  # of what fails, uvicorn says so

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request.of(scope)
        if why := foreign(request.headers):
            _log(request, why)
            await answer_json(send, 403, {"message": why})
        elif self._page.is_meant(request.path):
            await self._page(scope, receive, send)
        else:
            await self._let_in(request, scope, receive, _without_scripts(request, send))

    async def _let_in(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        if _is_answer_of_custom_resource(request):
            await self._inner(scope, receive, send)
        elif _is_link(request, self._settings.port):
            await self._inner(scope, _again(b"", receive), send)
        else:
            await self._admit(request, scope, receive, send)

    async def _admit(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if _is_for_api_gateway(request):
                await self._inner(scope, _again(await _bounded_body(request, receive), receive), send)
                return
            mechanism = _only(request.mechanisms)
            if mechanism == "query-v2":
                key, service = self._signer_by_v2(request), "s3"
            else:
                looked_at = time.monotonic()  # its session is looked up before its body is there
                claim = self._claim(request, in_query=mechanism == "query")
                receive = await self._proven(request, claim, receive)
                _admitted.set((request, claim.signer))
                _admitted_at.set(looked_at)
                key, service = claim.signature.access_key_id, claim.signature.service
            self._require_owner(request, key)
            _scope.set(service)
            await self._inner(scope, receive, send)
        except _RefusedError as refused:
            await self._refuse(request, refused, send)
        except _ContentError:
            text = "The provided 'x-amz-content-sha256' header does not match what was computed."
            await _send_xml(send, 400, "XAmzContentSHA256Mismatch", text)

    def signer(self, path: str, headers: dict[str, str], body: bytes) -> Signer | None:
        """Return who has signed a POST to SageMaker that is here as a whole, in a header (`signed_posts.py`).

        None for every other request, for one whose signature is not right, and for one whose key is none: the whole
        way says so. Of what else the guard asks nothing is asked: neither who has sent it, nor whether it is a link.
        """
        if (signed := signed_posts.claim(headers, body)) is None:
            return None
        key = signed.scheme.key, headers.get("x-amz-security-token", "")
        signer: Signer | None = moment.get(key)
        if signer is None:
            try:
                signer = self._signer(*key)
            except _RefusedError:
                return None
            moment.keep(key, signer)
        return signer if signed_posts.is_right(signed, signer.secret, path, headers) else None

    def _claim(self, request: Request, *, in_query: bool) -> _Claim:
        """Return what a request with Signature Version 4 says in its head. Raises _RefusedError."""
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
        session_token = (
            request.parameter("X-Amz-Security-Token") if in_query else request.headers.get("x-amz-security-token")
        )
        signer = self._signer(parsed.access_key_id, session_token or "")
        if request.is_execution:
            _require_execution(parsed.service)
        elif not request.path.startswith("/_"):
            _require_scope(parsed.service, request.headers.get("x-amz-target", ""))
        _require_signed(request, parsed)
        content = request.headers.get("x-amz-content-sha256", "")
        if in_query and parsed.service == "s3":
            content = "UNSIGNED-PAYLOAD"  # S3 API Reference, "Authenticating Requests: Using Query Parameters"
        return _Claim(parsed, signer, in_query, content)

    async def _proven(self, request: Request, claim: _Claim, receive: Receive) -> Receive:
        """Return what receives the body of a request whose signature is right.

        Raises _RefusedError when it is not.
        """
        body = b""
        if claim.content.startswith(_SIGNED_CHUNKS):
            self._require_seed(request, claim)
            body = await body_of(receive)
        elif not claim.content:
            body = await _bounded_body(request, receive)
        self._require_right(request, claim, body)
        if claim.content.startswith(_SIGNED_CHUNKS) or not claim.content:
            return _again(body, receive)
        return _verified(receive, claim.content) if _HEX.fullmatch(claim.content) else receive

    def _require_owner(self, request: Request, key: str) -> None:
        if request.path.startswith("/_") and not request.is_execution and key != self._keys.access_key:
            raise _RefusedError("AccessDenied", f"{request.path} takes the keys of the account only.")

    def _require_right(self, request: Request, claim: _Claim, body: bytes) -> None:
        parsed = claim.signature
        _right.set("")
        failure = sigv4.header_signature_failure(
            parsed, claim.signer.secret, request.method, request.raw_path, request.query, request.headers, body,
            presigned=claim.in_query,
        ) if _HEX.fullmatch(parsed.signature) else _MISMATCH  # fmt: skip
        if failure:
            raise _RefusedError(*failure)
        _right.set(parsed.signature)

    def _require_seed(self, request: Request, claim: _Claim) -> None:
        """Raise _RefusedError unless the head of an upload whose chunks are signed has the right signature."""
        parsed = claim.signature
        _, text = sigv4.header_signing_documents(
            parsed, request.method, request.raw_path, request.query, request.headers, b"", presigned=claim.in_query
        )
        seed = sigv4.calculate_signature(claim.signer.secret, parsed.date_stamp, parsed.region, parsed.service, text)
        if not hmac.compare_digest(seed.encode(), parsed.signature.encode()):
            raise _RefusedError(*_MISMATCH)

    def _signer_by_v2(self, request: Request) -> str:
        """Return the access key of an address with Signature Version 2, which boto3 makes for S3.

        Raises _RefusedError when the signature is not right.
        """
        key = request.parameter("AWSAccessKeyId")
        self._signer(key, request.parameter("x-amz-security-token"))
        if unsigned := sorted(set(request.query) - _V2_QUERY):
            raise _RefusedError("AccessDenied", f"The signature does not cover the parameter {unsigned[0]!r}.")
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

    def _signer(self, key: str, token: str) -> Signer:
        """Return whose an access key is. Raises _RefusedError: there is none, or it is over."""
        if key == self._keys.access_key and not token:
            return Signer(self._keys.secret_key)
        if iam_evaluator.is_root_access_key(key):  # MiniStack takes any account's number for its root
            raise _RefusedError("UnrecognizedClientException", "The security token included in the request is invalid.")
        account = responses._account_from_sts_session(key) or iam_evaluator.find_iam_access_key_account(key)
        credential = iam_evaluator.resolve_credential(key, account or self._settings.account_id, token)
        if isinstance(credential, iam_evaluator.CredentialResolutionError):
            raise _RefusedError(credential.code, credential.message)
        return Signer(credential.secret_access_key, credential)

    async def _refuse(self, request: Request, refused: "_RefusedError", send: Send) -> None:
        """In the form of the service that was asked, so that its clients can read it."""
        _log(request, f"{refused.code}: {refused.text}")
        if refusal := apigateway.refusal(request.path, request.headers, refused.code, refused.text):
            await answer(send, *refusal)
            return
        if request.path.startswith("/_"):
            remedy = f'{refused.text} See eval "$(python -m localcloud env)".'
            await answer_json(send, 403, {"message": remedy})
            return
        service = router.detect_service(request.method, request.path, request.headers, request.query)
        if service == "s3" and refused.fields:
            await _send_xml(send, refused.status or 403, refused.code, refused.text, **refused.fields)
            return
        status, headers, body = ministack_app._credential_failure(
            service, "", str(uuid.uuid4()), iam_evaluator.AuthError(refused.code, refused.text), request.headers
        )
        await answer(send, refused.status or status, headers, body)


class _RefusedError(Exception):
    """AWS's code and text; `status` where it is not the code's own; `fields` are further elements of S3's answer."""

    def __init__(self, code: str, text: str, status: int = 0, **fields: str) -> None:
        super().__init__(text)
        self.code, self.text, self.status, self.fields = code, text, status, fields


def signed_for() -> str:
    """Return the service that this request was signed for, as its signature says."""
    return _scope.get()


def admitted() -> tuple[Request, Signer]:
    """Return this request and who has signed it. Raises LookupError: it has no signature of Version 4."""
    if (admission := _admitted.get()) is None:
        raise LookupError("this request was let in without a signature of Version 4")
    return admission


def foreign(headers: dict[str, str]) -> str:
    """Return why the head of a request is not that of a program on this machine; empty when it is."""
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


def _is_answer_of_custom_resource(request: Request) -> bool:
    """Whether a request is the answer that a custom resource waits for, and nothing but that."""
    if request.method != "PUT" or not request.path.startswith(_CUSTOM_RESOURCE) or _says_more(request):
        return False
    return request.path.removeprefix(_CUSTOM_RESOURCE) in custom_resource._pending


def _is_for_api_gateway(request: Request) -> bool:
    """Whether an unsigned request calls an API whose method has API Gateway check who calls, and nothing but that."""
    return not _says_more(request) and apigateway.checks_callers(request.method, request.path, request.headers)


def _is_link(request: Request, port: int) -> bool:
    """Whether a request is a link of a notification, to this local cloud's own SNS, and nothing but that."""
    if (request.method, request.path) != ("GET", "/") or _says_more(request):
        return False
    if request.headers.get("host", "").lower() not in (f"{HOST}:{port}", f"localhost:{port}"):
        return False
    return any(_has_parameters(request.query, link) for link in _LINKS)


def _says_more(request: Request) -> bool:
    return bool(request.mechanisms) or any(name.startswith("x-amz-") for name in request.headers)


def _has_parameters(query: dict[str, list[str]], link: dict[str, str]) -> bool:
    once = {name: values[0] for name, values in query.items() if len(values) == 1}
    return query.keys() == link.keys() == once.keys() and all(once[name] == link[name] for name in link if link[name])


@lru_cache(maxsize=256)
def _require_scope(scope: str, target: str) -> None:
    """Raise _RefusedError when a request is for another service than that which it was signed for.

    A JSON service is told by X-Amz-Target, before anything else; every other one by the scope itself.
    """
    headers = _as_signed({}, scope)
    signed_for = router.detect_service("POST", "/", headers, {})
    service = router.detect_service("POST", "/", {**headers, "x-amz-target": target}, {})
    known = signed_for != "s3" or scope == "s3"  # what it does not know is S3's
    own_scope = router.SERVICE_PATTERNS.get(service, {}).get("credential_scope")
    if not known or (service != signed_for and own_scope != scope):
        raise _RefusedError("SignatureDoesNotMatch", f"Credential should be scoped to correct service: '{service}'. ")


def _require_execution(scope: str) -> None:
    """Raise _RefusedError when a call of an API is signed for another service."""
    if scope != "execute-api":
        raise _RefusedError("SignatureDoesNotMatch", "Credential should be scoped to correct service: 'execute-api'. ")


def _as_signed(headers: dict[str, str], scope: str) -> dict[str, str]:
    """Return the headers with an Authorization that names the scope, by which MiniStack tells the service."""
    return {**headers, "authorization": f"{_ALGORITHM} Credential=-/-/-/{scope}/aws4_request"}


def _require_signed(request: Request, parsed: Any) -> None:
    """Raise _RefusedError when the signature leaves out the host, or a header that changes what is done."""
    signed = parsed.signed_headers.split(";")
    if "host" not in signed:
        raise _RefusedError(
            "SignatureDoesNotMatch", "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
        )
    left_out = sorted(name for name in request.headers if name.startswith("x-amz-") and name not in signed)
    if left_out and parsed.service == "s3":
        text = "There were headers present in the request which were not signed"
        raise _RefusedError("AccessDenied", text, HeadersNotSigned=", ".join(left_out))
    if left_out:
        text = f"'{left_out[0]}' must be a 'SignedHeader' in the AWS Authorization."
        raise _RefusedError("SignatureDoesNotMatch", text)


async def _bounded_body(request: Request, receive: Receive) -> bytes:
    """Return the body of a request whose signature is not checked yet. Raises _RefusedError: too large, too slow."""
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            return await _small_body(request, receive)
    except TimeoutError:
        text = f"The body did not arrive within {_BODY_SECONDS:g} seconds; say in x-amz-content-sha256 what is sent"
        raise _RefusedError("RequestTimeout", text, 400) from None


async def _small_body(request: Request, receive: Receive) -> bytes:
    declared = request.headers.get("content-length", "")
    size, more, chunks = int(declared) if declared.isdecimal() else 0, True, []
    left = _LARGEST_BODY
    while more:
        if size > _LARGEST_BODY or left < 0:
            text = f"Request must be smaller than {_LARGEST_BODY} bytes, or say in x-amz-content-sha256 what it sends"
            raise _RefusedError("RequestEntityTooLargeException", text, 413)
        message = await receive()
        chunks.append(message.get("body", b""))
        left -= len(chunks[-1])
        more = message.get("more_body", False)
    return b"".join(chunks)


def _only(mechanisms: list[str]) -> str:
    if not mechanisms:
        raise _RefusedError(*_UNSIGNED)
    if len(mechanisms) > 1:
        raise _RefusedError("IncompleteSignature", "The request is signed more than once; expected one signature.")
    return mechanisms[0]


def _late(request: Request, parsed: Any) -> Failure | None:
    """Why an address that was signed is not valid now: it has been for X-Amz-Expires seconds, a week at most."""
    lifetime = request.parameter("X-Amz-Expires")
    if not lifetime:
        failure: Failure | None = sigv4.request_time_failure(parsed)
        return failure
    try:
        over = int(lifetime) > _WEEK_SECONDS or sigv4.presigned_request_is_expired(parsed.amz_date, lifetime)
    except ValueError:
        over = True
    return _EXPIRED if over else None


def _without_scripts(request: Request, send: Send) -> Send:
    """Let no object that a browser opens run a script, or be of the same origin as the console on this port.

    Whoever signs in a header is no browser; an address that is signed could be opened in any, also in one that says
    nothing of itself (Sec-Fetch-Dest).
    """
    if "authorization" in request.headers:
        return send

    async def send_sandboxed(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], (b"content-security-policy", b"sandbox")]}
        await send(message)

    return send_sandboxed


def _sayable(send: Send) -> Send:
    """Answer without headers that let web pages read it, and 500 in place of those that HTTP cannot say.

    At the latter uvicorn would hang up. What was known before an answer is forgotten: whoever gets it may have changed
    that, or know who has.
    """
    ended = False

    async def send_sayable(message: dict[str, Any]) -> None:
        nonlocal ended
        moment.forget()
        if message["type"] == "http.response.start":
            headers = [pair for pair in message["headers"] if not pair[0].lower().startswith(b"access-control-")]
            message = {**message, "headers": headers}
            ended = _has_unsayable(headers)
            if ended:
                logger.error("answered 500: %s", one_line(repr(headers), _LOGGED))
                await answer_json(send, 500, {"message": "The answer has a header that HTTP cannot say; see the log."})
        if not ended:
            await send(message)

    return send_sayable


def _has_unsayable(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether a name or a value has a byte that it may not have."""
    names, values = b"".join(name for name, _ in headers), b"".join(value for _, value in headers)
    return bool(HEADER_RE.search(names) or HEADER_VALUE_RE.search(values))


def _verified(receive: Receive, expected: str) -> Receive:
    """Return the content as it arrives; raises _ContentError at its end when it is not what was signed."""
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
    """Return what gives once more what has been received."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> dict[str, Any]:
        return messages.pop() if messages else await receive()

    return receive_again


async def _send_xml(send: Send, status: int, code: str, text: str, **fields: str) -> None:
    members = {"Code": code, "Message": text, **fields}
    body = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in members.items())
    await answer(send, status, {"content-type": "application/xml"}, f"<Error>{body}</Error>".encode())


def _log(request: Request, why: str) -> None:
    """Tell a refusal in one line of bounded length: path and text are of somebody who may be anybody."""
    operation = f"{request.method} {request.path}"
    logger.warning("refused %s: %s", one_line(operation, _LOGGED), one_line(why, _LOGGED))


def register(settings: Settings) -> None:
    """Sign the addresses from which Lambda gives out code, let the signature tell the service, and compute it once.

    MiniStack must be importable (the environment is set).
    """

    def make(original: Callable[..., str]) -> Callable[..., str]:
        def signed(*arguments: Any) -> str:
            return access.presigned(access.keys(settings.state), original(*arguments).partition("?")[0], _LINK_SECONDS)

        return signed

    for name in ("_presigned_code_url", "_layer_content_url"):
        lambda_svc.replace(name, make)
    iam_evaluator.replace("_sigv2_check", _make_sigv2_check)
    sigv4.replace("header_signature_failure", _make_header_signature_failure)
    iam_evaluator.replace("authenticate", _make_authenticate)
    iam_evaluator.replace("is_root_access_key", lru_cache(maxsize=1024))  # which the environment says, once and for all
    iam_evaluator.replace("request_caller_arn", _make_request_caller_arn)
    ministack_app.replace("pin_signed_request", _make_pin_signed_request)
    ministack_app.replace("detect_service", _make_detect_service)
    ministack_app.replace("_routing_params", _make_routing_params)


def _make_sigv2_check(original: Any) -> Any:
    def sigv2_check(request: Any, account_id: str) -> Any:
        """Read what is asked of the headers of the answer as it was sent: MiniStack writes a blank of it as a plus."""
        overrides = {name: value for name, value in request.query_params.items() if name.startswith("response-")}
        if not overrides:
            return original(request, account_id)
        own = {name: request.query_params[name] for name in request.query_params if name == "AWSAccessKeyId"}
        others = {name: value for name, value in request.query_params.items() if name not in overrides}
        # What follows this path begins with a question mark, in the name of the first parameter, which is not signed.
        path = f"{request.auth_path}?{urlencode(overrides, doseq=True, quote_via=quote)}&"
        return original(replace(request, query_params={**own, **others}, auth_path=path), account_id)

    return sigv2_check


def _make_header_signature_failure(original: Any) -> Any:
    def header_signature_failure(signature: Any, *arguments: Any, **options: Any) -> Failure | None:
        """None for the request that the guard has let in; MiniStack looks at the time and the session all the same."""
        if _right.get() and signature.signature == _right.get():
            return None
        failure: Failure | None = original(signature, *arguments, **options)
        return failure

    return header_signature_failure


def _make_pin_signed_request(original: Any) -> Any:
    def pin_signed_request(
        method: str, raw_path: str, query: dict[str, Any], raw_headers: Any, handshake: bool = False
    ) -> None:
        """Keep the request as the guard has read it, where it was let in by its Authorization."""
        admission = _admitted.get()
        if admission is None or handshake or "authorization" not in admission[0].headers:
            original(method, raw_path, query, raw_headers, handshake)
            return
        request, signer = admission
        signed = None  # root's is not checked again
        if signer.credential is not None:
            key = signer.credential.access_key_id
            signed = iam_evaluator.SignedRequest(key, method, raw_path, query, request.headers)
        iam_evaluator._verified_key.set("")
        iam_evaluator._anonymous.set(False)
        iam_evaluator._signed_request.set(signed)

    return pin_signed_request


def _make_authenticate(original: Any) -> Any:
    def authenticate(access_key_id: str, account_id: str) -> Any:
        """Return the session that the guard has found just now; MiniStack looks at what took longer to arrive."""
        signed, admission = iam_evaluator._signed_request.get(), _admitted.get()
        if signed is None or admission is None or time.monotonic() - _admitted_at.get() > _AT_ONCE_SECONDS:
            return original(access_key_id, account_id)
        request, credential = admission[0], admission[1].credential
        if (
            signed.headers is not request.headers
            or credential is None
            or not access_key_id == signed.access_key_id == credential.access_key_id
            or credential.principal_type != "AssumedRole"  # else the account decides whose key it is
        ):
            return original(access_key_id, account_id)
        iam_evaluator._signed_request.set(None)
        iam_evaluator._verified_key.set(access_key_id)
        return credential

    return authenticate


def _make_request_caller_arn(original: Any) -> Any:
    def request_caller_arn(headers: dict[str, str], query: dict[str, Any] | None = None) -> str:
        """Return who has signed the request that the guard has let in, for whom it has looked already."""
        if (admission := _admitted.get()) is None:
            arn: str = original(headers, query)
            return arn
        credential = admission[1].credential
        return str(credential.principal_arn) if credential else f"arn:aws:iam::{responses.get_account_id()}:root"

    return request_caller_arn


def _make_detect_service(original: Any) -> Any:
    def detect_service(method: str, path: str, headers: dict[str, str], query: dict[str, Any]) -> str:
        """Return the service that a signature names, in the address as well as in the header, whatever else is sent."""
        scope = _scope.get()
        signed_headers = headers if "authorization" in headers or not scope else _as_signed(headers, scope)
        service: str = original(method, path, signed_headers, query)
        return service

    return detect_service


def _make_routing_params(original: Any) -> Any:
    def routing_params(
        method: str, path: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the parameters of the address alone: a form may be an object, and no signature of a link covers it."""
        params: dict[str, Any] = query if _scope.get() == "s3" else original(method, path, headers, body, query)
        return params

    return routing_params
