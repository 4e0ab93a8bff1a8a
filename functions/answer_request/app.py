"""Answer the serving API: check records by the definition of the model in service, then ask the endpoint.

Called by  API Gateway, methods POST /predictions and GET /openapi.json (parameter Api of the stack).
Reads      which run's model serves (Parameter Store), and its definition (runs/<run id>/config.json); remembers both
Output     {"statusCode", "headers", "body"}; each refusal is a problem document (perennial.serving.problems)
Raises     botocore's ClientError: a permission is missing, which says nothing of the request; API Gateway answers 502

Payloads are in no log.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from aws_lambda_powertools import Logger, single_metric
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError, ConnectionError, HTTPClientError, ReadTimeoutError

from perennial.runs.endpoint import own_question
from perennial.serving import failures, hours, openapi, problems, requests
from perennial.serving.answers import answer
from perennial.serving.problems import ProblemError
from perennial_aws.clients import impatient
from perennial_aws.served_model import ServedModel, memory
from perennial_aws.settings import settings

logger = Logger()

JSON_LINES = "application/jsonlines"
LARGEST_BODY_BYTES = 6_291_456  # of InvokeEndpoint
REFUSED_FRESH_SECONDS = 1.0  # nobody is refused by the definition of a model that serves no more
# API Reference, InvokeEndpoint: \A\S[\p{Print}]*\z
_INFERENCE_ID = re.compile(rf"[!-~][ -~]{{0,{openapi.LONGEST_INFERENCE_ID - 1}}}")


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer a request of API Gateway (proxy integration, payload format 1.0)."""
    try:
        model = memory.model()
        if model is None:
            raise problems.not_there("no model is in service yet", is_expected=True)
        _require_rows(model)
        described = event["httpMethod"] == "GET"
        return _json(_document(event, model) if described else _predictions(event, model))
    except ClientError:
        _count_failure()
        raise
    except ProblemError as refused:
        logger.info("refused", status=refused.status.value)
        if refused.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not refused.is_expected:
            _count_failure()
        headers = {"Content-Type": problems.MEDIA_TYPE, **refused.headers}
        return {"statusCode": refused.status.value, "headers": headers, "body": json.dumps(refused.document)}


def _count_failure() -> None:
    """Give the alarm of the API its number: not of what API Gateway counts as 5xx while the endpoint sleeps."""
    with single_metric(name="ApiFailures", unit=MetricUnit.Count, value=1) as metric:
        metric.add_dimension("service", settings.stack_name)


def _json(document: Mapping[str, Any]) -> dict[str, Any]:
    headers = {"Content-Type": requests.MEDIA_TYPE}
    return {"statusCode": HTTPStatus.OK.value, "headers": headers, "body": json.dumps(document)}


def _require_rows(model: ServedModel) -> None:
    """Raise ProblemError where the model reads no rows."""
    if model.definition.get("series"):
        text = f"this API takes rows, and the model forecasts series; ask endpoint {settings.endpoint_name} itself"
        raise ProblemError(HTTPStatus.NOT_IMPLEMENTED, text, is_expected=True)


def _document(event: Mapping[str, Any], model: ServedModel) -> dict[str, Any]:
    where = event["requestContext"]
    url = f"https://{where['domainName']}/{where['stage']}" if where.get("domainName") else "."
    return openapi.document(model.definition, settings.stack_name, model.run, settings.api_access, url)


def _predictions(event: Mapping[str, Any], model: ServedModel) -> dict[str, Any]:
    headers = {name.lower(): value for name, value in (event["headers"] or {}).items()}
    inference_id = _inference_id(headers)
    records = requests.records_of(_body(event, headers))
    _require(records, model)
    text, unusual = _ask("".join(f"{json.dumps(record)}\n" for record in records).encode(), inference_id)
    answered = answer(text, len(records), inference_id, unusual)
    logger.info("answered", records=len(records), inference_id=inference_id, run_id=model.run)
    return answered


def _inference_id(headers: Mapping[str, str]) -> str:
    chosen = headers.get(openapi.INFERENCE_ID.lower())
    if chosen is None:
        return str(uuid.uuid4())
    if not _INFERENCE_ID.fullmatch(chosen) or own_question(chosen):
        expected = f"1 to {openapi.LONGEST_INFERENCE_ID} printable characters, and none of the stack's own ids"
        raise ProblemError(HTTPStatus.BAD_REQUEST, f"the header {openapi.INFERENCE_ID} is not one; expected {expected}")
    return chosen


def _body(event: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    """Return the text of a JSON body. Raises ProblemError."""
    content_type = headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() != requests.MEDIA_TYPE:
        detail = f"the content type is '{content_type[:100]}'; expected {requests.MEDIA_TYPE}"
        raise ProblemError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, detail)
    body = event["body"] or ""
    try:
        return base64.b64decode(body).decode() if event.get("isBase64Encoded") else body
    except ValueError as error:
        raise ProblemError(HTTPStatus.BAD_REQUEST, "the body is not UTF-8; expected UTF-8") from error


def _require(records: list[Any], model: ServedModel) -> None:
    """Raise ProblemError unless records keep the definition of the model that serves now."""
    try:
        model.records.require(records)
    except ProblemError:
        now = memory.model(REFUSED_FRESH_SECONDS)
        if now is None or now.run == model.run:
            raise
        now.records.require(records)


def _ask(body: bytes, inference_id: str) -> tuple[str, str]:
    """Return what the endpoint answers, and what it finds unusual. Raises ProblemError."""
    if len(body) > LARGEST_BODY_BYTES:
        detail = f"the records are {len(body):,} bytes; expected at most {LARGEST_BODY_BYTES:,}"
        raise ProblemError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail)
    try:
        reply = impatient("sagemaker-runtime").invoke_endpoint(
            EndpointName=settings.endpoint_name,
            ContentType=JSON_LINES,
            Accept=JSON_LINES,
            InferenceId=inference_id,
            Body=body,
        )
        return reply["Body"].read().decode("utf-8", "replace"), reply.get("CustomAttributes", "")
    except ClientError as error:
        if problem := failures.of_response(error.response, hours.read(settings.hours), datetime.now(UTC)):
            raise problem from error
        raise
    except ReadTimeoutError as error:
        raise failures.late() from error
    except (ConnectionError, HTTPClientError) as error:
        raise problems.not_there("the endpoint cannot be reached") from error
