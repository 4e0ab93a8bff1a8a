"""What moto and botocore do anew for each request or test, done once or not at all: half of what a test costs."""

import io
from functools import cache
from typing import Any

import pytest
from botocore import useragent, utils
from botocore.auth import SIGV4_TIMESTAMP, S3SigV4Auth, SigV4Auth
from botocore.compat import get_current_datetime
from moto import backend_index
from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID, models, responses
from moto.core.base_backend import BaseBackend
from moto.core.serialize import JSONSerializer
from moto.dynamodb.models.dynamo_type import DynamoType, Item, LimitedSizeDict
from moto.s3.models import FakeKey
from moto.s3.utils import compute_checksum
from moto.sns.models import Subscription

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


def _in(service: str, region: str) -> Any:
    return get_backend(service)[DEFAULT_ACCOUNT_ID][region]


_make_urls = BaseBackend.urls.fget
_sign = SigV4Auth.add_auth
_serialize_structure = JSONSerializer._serialize_type_structure


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
