"""What moto and botocore do anew for each request or test, done once or not at all: half of what a test costs."""

import io
import re
import string
from collections.abc import Callable
from functools import cache, lru_cache
from types import SimpleNamespace
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import pytest
from botocore import useragent, utils
from botocore.auth import SIGV4_TIMESTAMP, S3SigV4Auth, SigV4Auth
from botocore.compat import get_current_datetime
from botocore.httpchecksum import AwsChunkedWrapper
from moto import backend_index
from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID, models, responses
from moto.core.base_backend import BaseBackend
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.exceptions import HTTPException
from moto.core.model import Shape
from moto.core.request import Request, environ_key_for_header, normalize_request
from moto.core.serialize import (
    AttributePickerContext,
    JSONSerializer,
    ResponseSerializer,
    S3Serializer,
    XFormedAttributePicker,
)
from moto.dynamodb.models.dynamo_type import DynamoType, Item, LimitedSizeDict
from moto.moto_api._internal.moto_random import MotoRandom
from moto.s3.models import FakeKey
from moto.s3.responses import S3Response
from moto.s3.utils import compute_checksum
from moto.sns.models import Subscription

RAW_URL = "moto.raw_url"  # of a request's environment
DECLARATION = '<?xml version="1.0" encoding="utf-8"?>\n'
SERVICES = {
    "cloudwatch",
    "dynamodb",
    "s3",
    "sagemaker",
    "sagemakerruntime",
    "sns",
    "sqs",
    "ssm",
    "stepfunctions",
    "sts",
}


def install(patched: pytest.MonkeyPatch) -> None:
    make_key = Subscription.private_key  # remembers what it made; to make one takes a tenth of a second
    patched.setattr(Subscription, "private_key", lambda _: make_key(None))
    patched.setattr(models, "RESPONSES_METHODS", [])  # of the library requests, by which nothing here asks AWS
    ours = [(service, pattern) for service, pattern in backend_index.backend_url_patterns if service in SERVICES]
    patched.setattr(backend_index, "backend_url_patterns", ours)
    patched.setattr(BaseBackend, "urls", property(lambda backend: _urls(type(backend))))
    patched.setattr(responses, "method_names_from_class", cache(responses.method_names_from_class))
    patched.setattr(useragent.UserAgentComponent, "to_string", cache(useragent.UserAgentComponent.to_string))
    patched.setattr(utils, "_parse_timestamp_with_tzinfo", cache(utils._parse_timestamp_with_tzinfo))
    patched.setattr(FakeKey, "__deepcopy__", _listed, raising=False)
    patched.setattr(Item, "__init__", _make_item)
    patched.setattr(DynamoType, "to_regular_json", _plain)
    patched.setattr(JSONSerializer, "_serialize_type_structure", _serialize)
    patched.setattr(BotocoreStubber, "process_request", _process_request)
    patched.setattr(Request, "from_primitives", classmethod(_request))
    patched.setattr(Request, "raw_url", property(lambda one: one.environ.get(RAW_URL) or _make_raw_url(one)))
    patched.setattr(S3Response, "subdomain_based_buckets", staticmethod(lambda one: _names_bucket(one.host)))
    patched.setattr(ResponseSerializer, "get_value", _value)
    patched.setattr(
        S3Serializer, "_serialize_body", lambda _, body: DECLARATION + "".join(map(_xml, body, body.values()))
    )
    patched.setattr(MotoRandom, "get_random_string", _random_text)


def sign_nothing(patched: pytest.MonkeyPatch) -> None:
    """Say whose a request is and no more, while moto answers, which checks no signature."""
    patched.setattr(SigV4Auth, "add_auth", _add_auth)


def make(region: str, *, bucket: str, table: str, topic: str) -> None:
    """Make what each test has: a versioned bucket, a table whose items have an id, and a topic."""
    s3 = _in("s3", "aws")
    s3.create_bucket(bucket, region)
    s3.put_bucket_versioning(bucket, "Enabled")
    nothing = dict.fromkeys(("throughput", "streams", "sse_specification", "warm_throughput"))
    _in("dynamodb", region).create_table(
        table,
        schema=[{"AttributeName": "id", "KeyType": "HASH"}],
        attr=[{"AttributeName": "id", "AttributeType": "S"}],
        billing_mode="PAY_PER_REQUEST",
        global_indexes=[],
        indexes=[],
        tags=[],
        deletion_protection_enabled=False,
        **nothing,
    )
    _in("sns", region).create_topic(topic)


def put(bucket: str, key: str, body: bytes) -> str:
    """Put an object without a request; return its version."""
    s3 = _in("s3", "aws")
    made = s3.put_object(bucket, key, body, checksum_value=compute_checksum(body, "CRC32").decode())
    made.checksum_algorithm = "CRC32"
    made.set_acl(s3.get_bucket(bucket).acl)
    return str(made.version_id)


def put_parameter(region: str, name: str, value: str) -> None:
    """Put a parameter of Parameter Store without a request."""
    nothing = dict.fromkeys(("allowed_pattern", "keyid", "tier", "policies"))
    _in("ssm", region).put_parameter(
        name, value=value, parameter_type="String", description="", overwrite=True, tags=[], data_type="text", **nothing
    )


def versions(bucket: str) -> dict[str, list[bytes]]:
    """Return each version of each object without a request, the newest first."""
    kept = _in("s3", "aws").get_bucket(bucket).keys
    every = {key: [one.value for one in reversed(kept.getlist(key)) if isinstance(one, FakeKey)] for key in kept}
    return {key: bodies for key, bodies in every.items() if bodies}


def _in(service: str, region: str) -> Any:
    return get_backend(service)[DEFAULT_ACCOUNT_ID][region]


_make_urls = BaseBackend.urls.fget
_sign = SigV4Auth.add_auth
_serialize_structure = JSONSerializer._serialize_type_structure
_process_any = BotocoreStubber.process_request
_make_request = Request.from_primitives.__func__
_make_raw_url = Request.raw_url.fget
_look_for_bucket = S3Response.subdomain_based_buckets
_pick_value = ResponseSerializer.get_value


@cache
def _urls(kind: type[BaseBackend]) -> Any:
    """The addresses of a service; moto loads the module of S3's again for each request."""
    return _make_urls(object.__new__(kind))


def _add_auth(self: SigV4Auth, request: Any) -> None:
    """Name the key and the region; addresses that are signed are signed."""
    if type(self) not in (SigV4Auth, S3SigV4Auth):
        _sign(self, request)
        return
    request.context["timestamp"] = get_current_datetime().strftime(SIGV4_TIMESTAMP)
    self._modify_request_before_signing(request)
    request.headers["Authorization"] = f"AWS4-HMAC-SHA256 Credential={self.scope(request)}"


def _listed(self: FakeKey, _: Any) -> FakeKey:
    """A copy for a list of versions, which sets on it whether it is the latest: without the content."""
    listed: FakeKey = object.__new__(FakeKey)
    listed.__dict__ = {**self.__dict__, "_etag": self.etag.strip('"'), "_value_buffer": io.BytesIO(), "disposed": True}
    return listed


def _make_item(self: Item, hash_key: Any, range_key: Any, attrs: dict[str, Any]) -> None:
    """Measure an item once; moto measures all of it again for each of its attributes."""
    self.hash_key, self.range_key, self.attrs = hash_key, range_key, LimitedSizeDict()
    names = list(attrs)
    for name in names[:-1]:
        dict.__setitem__(self.attrs, name, DynamoType(attrs[name]))
    for name in names[-1:]:
        self.attrs[name] = DynamoType(attrs[name])


def _plain(value: DynamoType) -> dict[str, Any]:
    """Without moto's copy, at each level, of all that is below."""
    if isinstance(value.value, dict):
        return {value.type: {name: _plain(member) for name, member in value.value.items()}}
    if value.type == "L":
        return {value.type: [_plain(member) for member in value.value]}
    return {value.type: list(value.value) if isinstance(value.value, list) else value.value}


def _serialize(self: JSONSerializer, serialized: Any, value: Any, shape: Any, key: str) -> None:
    """A value of DynamoDB is the JSON of its answer already; moto looks for each of ten types under five names."""
    if shape.name == "AttributeValue":
        serialized[self.get_serialized_name(shape, key)] = value
    else:
        _serialize_structure(self, serialized, value, shape, key)


# ---- Requests


@lru_cache(4096)
def _answering(address: str) -> Callable[..., Any] | None:
    """Return what of moto answers an address; moto compiles and tries the patterns of its services for each request."""
    for service, pattern in backend_index.backend_url_patterns:
        if pattern.match(address):
            for url, method in _urls(get_backend(service).backend).items():
                if re.match(url, address):
                    return method
    return None


def _process_request(self: BotocoreStubber, request: Any) -> Any:
    method = _answering(request.url.partition("?")[0])
    if method is None:
        return _process_any(self, request)
    asked = normalize_request(request)
    try:
        return method(asked, asked.raw_url, asked.headers)
    except HTTPException as error:
        return error.code, error.get_headers(), error.get_body()


@lru_cache(4096)
def _environ(method: str, url: str) -> dict[str, Any]:
    request = _make_request(Request, method, url, {})
    return {**request.environ, RAW_URL: request.raw_url}


def _request(kind: type[Request], method: str, url: str, headers: Any, body: Any = None) -> Request:
    """Add headers and body to what is known of the address."""
    body = body.read() if isinstance(body, AwsChunkedWrapper) else body
    if not isinstance(body, str | bytes | None) or any("_" in name for name in headers):
        return _make_request(kind, method, url, headers, body)
    content = body.encode() if isinstance(body, str) else body or b""
    environ = {**_environ(method, url), "wsgi.input": io.BytesIO(content)}
    for name, value in headers.items():
        if name.lower() != "transfer-encoding":
            environ[environ_key_for_header(name)] = value.decode() if isinstance(value, bytes) else str(value)
    return kind({**environ, "CONTENT_LENGTH": str(len(content))})


@cache
def _names_bucket(host: str) -> bool:
    return _look_for_bucket(SimpleNamespace(headers={"host": host}))


# ---- Answers


@cache
def _names(shape: Shape, parent: Shape | None, key: str) -> tuple[str, ...]:
    """Return what moto calls a member of a dictionary, in its order."""
    return tuple(dict.fromkeys(XFormedAttributePicker().get_possible_keys(AttributePickerContext({}, key, shape))))


def _value(self: ResponseSerializer, value: Any, key: str, shape: Shape) -> Any:
    """Look into a dictionary without asking, for each member of each item, what the member is called."""
    picker = self._value_picker
    if type(value) is not dict or type(picker) is not XFormedAttributePicker or picker.response_transformers:
        return _pick_value(self, value, key, shape)
    return next((value[name] for name in _names(shape, getattr(shape, "parent", None), key) if name in value), None)


def _xml(name: str, value: Any) -> str:
    """Write an element, or one for each item of a list, as xmltodict does."""
    if isinstance(value, list):
        return "".join(_xml(name, one) for one in value)
    if isinstance(value, bool):
        value = str(value).lower()
    members = value if isinstance(value, dict) else {} if value is None else {"#text": value}
    attributes = "".join(f" {key[1:]}={quoteattr(one)}" for key, one in members.items() if key.startswith("@"))
    inside = "".join(_xml(key, one) for key, one in members.items() if key[0] not in "@#")
    inside += escape(str(members.get("#text", "")))
    return f"<{name}{attributes}>{inside}</{name}>" if inside else f"<{name}{attributes}/>"


def _random_text(self: MotoRandom, length: int = 20, include_digits: bool = True, lower_case: bool = False) -> str:
    """Choose all characters at once."""
    text = "".join(self.choices(string.ascii_letters + string.digits * include_digits, k=length))
    return text.lower() if lower_case else text
