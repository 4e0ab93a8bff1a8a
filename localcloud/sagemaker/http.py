"""SageMaker over HTTP: the API (JSON 1.1, `X-Amz-Target: SageMaker.<Operation>`) and the runtime's InvokeEndpoint.

The runtime speaks restJson1 (botocore, sagemaker-runtime, metadata.protocol "rest-json"), whose errors are
`application/json` (Smithy, "AWS restJson1 protocol", "Content-Type" and "Operation error serialization").
"""

from __future__ import annotations

import json
import logging
import re
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from localcloud.sagemaker.errors import AwsError
from localcloud.sagemaker.service import strike

if TYPE_CHECKING:
    from localcloud.sagemaker.service import SageMakerService

Response = tuple[int, dict[str, str], bytes]

_INVOCATION = re.compile(r"/endpoints/(?P<name>[^/]+)/invocations")
_JSON_1_1, _REST_JSON = "application/x-amz-json-1.1", "application/json"
_MODELLED = ("ConflictException", "ResourceInUse", "ResourceLimitExceeded", "ResourceNotFound")
_logger = logging.getLogger(__name__)


def handle_http(service: SageMakerService, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Response:
    """Answer one request."""
    headers = {name.lower(): value for name, value in headers.items()}
    invocation = _INVOCATION.fullmatch(path) if method == "POST" else None
    content_type = _REST_JSON if invocation else _JSON_1_1
    try:
        if invocation:
            name = unquote(invocation["name"])
            lost = strike("InvokeEndpoint", {"EndpointName": name})
            answer = service.invocations.invoke_http(name, body, headers)
            return _refusal(lost, content_type) if lost else answer
        return _json(200, service.handle(_operation(method, path, headers), _document(body)), content_type)
    except AwsError as error:
        return _refusal(error, content_type)
    except Exception:
        _logger.exception("%s %s failed", method, path)
        failure = AwsError("InternalFailure", "The local SageMaker failed; its log has the traceback.", 500)
        return _refusal(failure, content_type)


def _operation(method: str, path: str, headers: dict[str, str]) -> str:
    service, _, operation = headers.get("x-amz-target", "").rpartition(".")
    if service != "SageMaker" or not operation:
        raise AwsError("UnknownOperationException", f"{method} {path} is not an operation of SageMaker.", 404)
    return operation


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise AwsError("SerializationException", f"The request is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise AwsError("SerializationException", "The request must be a JSON object.")
    return document


def _json(status: int, document: dict[str, Any], content_type: str, **headers: str) -> Response:
    common = {"Content-Type": content_type, "x-amzn-RequestId": str(uuid.uuid4())}
    return status, common | headers, json.dumps(document).encode()


def _refusal(error: AwsError, content_type: str) -> Response:
    """Errors that the model names have `Message`, the others `message`; the runtime reads the type from a header."""
    text = {"Message": error.message} if error.code in _MODELLED or error.fields else {"message": error.message}
    document = {"__type": error.code, **text, **error.fields}
    return _json(error.status, document, content_type, **{"x-amzn-ErrorType": error.code})
