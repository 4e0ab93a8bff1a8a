"""Access logs of REST APIs: MiniStack accepts their settings and writes nothing.

One line for each request that reaches a stage, in the format of the stage; what is not known here is `-`, as on AWS
what is not there: the ARN of a caller, for one. The account's role for logs is not asked for.

Sources: API Gateway Developer Guide, "Set up CloudWatch logging for REST APIs", "Variables for access logging".
"""

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from localcloud.engine.cloudformation.kms_properties import kept_by
from localcloud.engine.seams import Seams
from localcloud.engine.stepfunctions.logs import append

apigateway = Seams(
    "services.apigateway_v1",
    _GatewayError="3733d4fe",
    _api_keys="86e2c841",
    _gateway_error_response="742b6bcd",
    _header_ci="2a7105bf",
    stages_for_api="18a851fe",
)

JsonObject = dict[str, Any]
_VARIABLE = re.compile(r"\$context\.([A-Za-z.]+)")
_UNKNOWN = "-"


def register() -> None:
    """Keep the settings of stages that CloudFormation makes. MiniStack must be importable (the environment is set)."""
    kept_by("AWS::ApiGateway::Stage", _keep_of_stage)


def _keep_of_stage(name: str, props: JsonObject) -> None:
    settings, stage = props.get("AccessLogSetting") or {}, apigateway.stages_for_api(props["RestApiId"]).get(name)
    if stage is not None:
        stage["accessLogSettings"] = {
            "destinationArn": settings.get("DestinationArn"),
            "format": settings.get("Format"),
        }


def answered(request: JsonObject, method: str, answer: Any, began: float) -> Any:
    """Return the answer that callers get, and log it as the stage says, if it says so; `began` is of time.monotonic."""
    error = answer.response_type if isinstance(answer, apigateway._GatewayError) else _UNKNOWN
    if error != _UNKNOWN:
        answer = apigateway._gateway_error_response(answer, request)
    settings = (request.get("stage") or {}).get("accessLogSettings") or {}
    group = str(settings.get("destinationArn") or "").removesuffix(":*").partition(":log-group:")[2]
    if group and isinstance(answer, tuple):
        status, _, body = answer
        milliseconds = str(round(1000 * (time.monotonic() - began)))
        line = filled(settings.get("format") or "", {
            "requestId": request["request_id"],
            "requestTime": datetime.now(UTC).strftime("%d/%b/%Y:%H:%M:%S +0000"),
            "httpMethod": method,
            "resourcePath": request["resource_path"] or _UNKNOWN,
            "status": str(status),
            "error.responseType": error,
            "identity.sourceIp": "127.0.0.1",
            "identity.apiKeyId": _key_id(request["headers"]),
            "responseLength": str(len(body or b"")),
            "responseLatency": milliseconds,
            "integrationLatency": _UNKNOWN if error != _UNKNOWN else milliseconds,
        })  # fmt: skip
        append(group, f"{request['api_id']}-{request['stage_name']}", line)
    return answer


def filled(text: str, values: Mapping[str, str]) -> str:
    """Return a format with the values of its variables."""
    return _VARIABLE.sub(lambda match: values.get(match[1], _UNKNOWN), text).strip()


def _key_id(headers: JsonObject) -> str:
    value = apigateway._header_ci(headers, "x-api-key")
    return next((str(key["id"]) for key in apigateway._api_keys.values() if value and key["value"] == value), _UNKNOWN)
