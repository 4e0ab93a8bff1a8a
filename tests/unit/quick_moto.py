"""What moto and botocore work out anew for each request or test, worked out once: a third of what a test costs."""

from functools import cache
from typing import Any

import pytest
from botocore import useragent
from moto import backend_index
from moto.core import models
from moto.core.base_backend import BaseBackend
from moto.core.serialize import JSONSerializer
from moto.dynamodb.models.dynamo_type import DynamoType
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
    patched.setattr(useragent, "sanitize_user_agent_string_component", cache(_sanitized))
    patched.setattr(DynamoType, "to_regular_json", _plain)
    patched.setattr(JSONSerializer, "_serialize_type_structure", _serialize)


_make_urls = BaseBackend.urls.fget
_sanitized = useragent.sanitize_user_agent_string_component
_serialize_structure = JSONSerializer._serialize_type_structure


@cache
def _urls(kind: type[BaseBackend]) -> Any:
    """The addresses of a service; moto loads the module of S3's again for each request."""
    return _make_urls(object.__new__(kind))


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
