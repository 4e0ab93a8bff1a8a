"""SageMaker over HTTP: the API (JSON 1.1, `X-Amz-Target: SageMaker.<Operation>`) and the runtime's InvokeEndpoint.

Application Auto Scaling, whose targets are endpoints here, speaks as the API does.

The runtime speaks restJson1 (botocore, sagemaker-runtime, metadata.protocol "rest-json"), whose errors are
`application/json` (Smithy, "AWS restJson1 protocol", "Content-Type" and "Operation error serialization").
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from localcloud import faults
from localcloud.sagemaker.api import requests
from localcloud.sagemaker.errors import AwsError
from localcloud.sagemaker.features.records import SERVICE as RECORDS
from localcloud.sagemaker.service import strike, struck

if TYPE_CHECKING:
    from localcloud.sagemaker.endpoints.scaling import ScalableTargets
    from localcloud.sagemaker.service import SageMakerService

Response = tuple[int, dict[str, str], bytes]

_JSON_1_1, _REST_JSON = "application/x-amz-json-1.1", "application/json"
_MODELLED = (
    "ConflictException",
    "LimitExceededException",
    "ObjectNotFoundException",
    "ResourceInUse",
    "ResourceLimitExceeded",
    "ResourceNotFound",
)
logger = logging.getLogger(__name__)


async def handle_invocation(service: SageMakerService, name: str, headers: Mapping[str, str], body: bytes) -> Response:
    """Answer one InvokeEndpoint; header names are lower case."""
    try:
        lost, fault = None, faults.take("sagemaker:InvokeEndpoint", name)
        if fault and fault.effect == "delay":
            await faults.wait_out_on_loop(fault)
        elif fault:
            lost = struck(fault)
        answer = await service.invocations.invoke_http(name, body, headers)
        return _refusal(lost, _REST_JSON) if lost else answer
    except AwsError as error:
        return _refusal(error, _REST_JSON)
    except Exception:
        return _failed("InvokeEndpoint", name, _REST_JSON)


def handle_http(service: SageMakerService | ScalableTargets, operation: str, body: bytes) -> Response:
    """Answer one request of the API."""
    try:
        return _json(200, service.handle(operation, _document(body)), _JSON_1_1)
    except AwsError as error:
        return _refusal(error, _JSON_1_1)
    except Exception:
        return _failed(operation, "", _JSON_1_1)


def handle_record(
    service: SageMakerService, operation: str, group: str, query: Mapping[str, list[str]], body: bytes
) -> Response:
    """Answer one request of the feature store's runtime, which speaks restJson1 as well."""
    try:
        request = _document(body) | ({"FeatureGroupName": group} if group else {})
        for member, shape in requests.input_shape(operation, RECORDS).members.items():
            if shape.serialization.get("location") == "querystring" and (
                values := query.get(shape.serialization["name"])
            ):
                request[member] = values if shape.type_name == "list" else values[0]
        lost = strike(operation, request)
        answer = service.records.handle(operation, request)
        return _refusal(lost, _REST_JSON) if lost else _json(200, answer, _REST_JSON)
    except AwsError as error:
        return _refusal(error, _REST_JSON)
    except Exception:
        return _failed(operation, group, _REST_JSON)


def _failed(operation: str, name: str, content_type: str) -> Response:
    logger.exception("%s %s failed", operation, name)
    failure = AwsError("InternalFailure", "The local SageMaker failed; its log has the traceback.", 500)
    return _refusal(failure, content_type)


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
