"""REST APIs where MiniStack takes what AWS refuses: who may call, how much, how long, and what the function allows.

* A request without a signature reaches a method that takes API keys or signatures, which API Gateway then checks and
  refuses itself; methods that are open to everybody are refused before (guard.py).
* A body of more than 10 MB is 413, as is an event of more than 6 MB, which Lambda does not take. What API Gateway says
  of the second is not written; callers report 413 of both.
* A function that does not let API Gateway invoke it is a wrong configuration, 500; one that does not answer in the time
  of the integration, 504; what one that fails says is for its log, and callers get 502.

Sources: API Gateway Developer Guide, "Quotas for configuring and running a REST API", "Gateway response types", "Lambda
proxy integrations"; Lambda Developer Guide, "Lambda quotas".
"""

import asyncio
import json
import time
from collections.abc import Mapping
from typing import Any

from localcloud.engine import api_logs
from localcloud.engine.permissions.services import may_invoke
from localcloud.engine.seams import Seams

ministack_app = Seams("app", _enforce_execute_api="7ff84c06", _parse_execute_api_url="5d105d57")
iam_evaluator = Seams("core.iam_evaluator", AuthError="7b582688")
responses = Seams("core.responses", request_scope="1136c5e3")
apigateway = Seams(
    "services.apigateway_v1",
    _execute_in_scope="87f1f3e2",
    _extract_lambda_ref_from_integration_uri="54117e3a",
    _gateway_error_response="742b6bcd",
    _gw_error="393d04d8",
    _invoke_lambda_proxy_v1="414a7001",
    _match_resource_tree="7825613a",
    authentication_error_response="a7c88530",
    find_api_scope="4a38bcd4",
    method_authorization_type="29bd9b1e",
    stages_for_api="18a851fe",
)

LARGEST_BODY_BYTES = 10 << 20
LARGEST_EVENT_BYTES = 6 << 20
_INTEGRATION_SECONDS = 29.0
BAD_GATEWAY = 502
_FAILED = b'{"message": "Internal server error"}'
JsonObject = dict[str, Any]


def register() -> None:
    """Replace the seams. MiniStack must be importable (the environment is set)."""
    ministack_app.replace("_enforce_execute_api", _make_enforce_execute_api)
    apigateway.replace("_execute_in_scope", _make_execute_in_scope)
    apigateway.replace("_invoke_lambda_proxy_v1", _make_invoke_lambda_proxy)


def is_execution(path: str, headers: Mapping[str, str]) -> bool:
    """Return whether a request calls an API, by its path or its host."""
    return ministack_app._parse_execute_api_url(headers.get("host", ""), path) is not None


def checks_callers(method: str, path: str, headers: Mapping[str, str]) -> bool:
    """Return whether API Gateway itself refuses a request that shows no key and no signature."""
    called = ministack_app._parse_execute_api_url(headers.get("host", ""), path)
    scope = apigateway.find_api_scope(called[0]) if called else None
    if called is None or scope is None or called[1] not in apigateway.stages_for_api(called[0]):
        return False
    authorization = apigateway.method_authorization_type(called[0], called[1], method, called[2])
    if authorization in (None, "AWS_IAM"):  # no such method is refused as well
        return True
    with responses.request_scope(*scope):
        resource, _ = apigateway._match_resource_tree(called[0], [part for part in called[2].split("/") if part])
    return (resource or {}).get("resourceMethods", {}).get(method, {}).get("apiKeyRequired") is True


def refusal(path: str, headers: Mapping[str, str], code: str, text: str) -> Any:
    """Return the answer of an API to a request whose signature is not right; None where there is no such API."""
    called = ministack_app._parse_execute_api_url(headers.get("host", ""), path)
    error = iam_evaluator.AuthError(code, text)
    return called and apigateway.authentication_error_response(called[0], called[1], error, headers, {})


def _make_enforce_execute_api(original: Any) -> Any:
    def enforce_execute_api(
        api: str, stage: str, method: str, path: str, headers: JsonObject, query: JsonObject, **options: Any
    ) -> Any:
        """Answer who may not as the API answers, by its gateway response ACCESS_DENIED."""
        denied = original(api, stage, method, path, headers, query, **options)
        document = json.loads(denied[2]) if denied and denied[0] == 403 else {}
        if "__type" not in document:
            return denied
        request = {
            "api_id": api, "stage_name": stage, "stage": apigateway.stages_for_api(api).get(stage) or {},
            "headers": headers, "query_params": query, "path_params": {}, "resource_path": path, "request_id": "",
        }  # fmt: skip
        with responses.request_scope(*apigateway.find_api_scope(api)):
            return apigateway._gateway_error_response(
                apigateway._gw_error("ACCESS_DENIED", document["message"]), request
            )

    return enforce_execute_api


def _make_execute_in_scope(original: Any) -> Any:
    async def execute_in_scope(
        request: JsonObject, api: str, stage: str, method: str, path: str, headers: JsonObject, body: bytes, *rest: Any
    ) -> Any:
        began = time.monotonic()
        request["stage"] = apigateway.stages_for_api(api).get(stage)
        if request["stage"] and len(body or b"") > LARGEST_BODY_BYTES:
            answer = _too_large()
        else:
            answer = await original(request, api, stage, method, path, headers, body, *rest)
        return api_logs.answered(request, method, answer, began)

    return execute_in_scope


def _make_invoke_lambda_proxy(original: Any) -> Any:
    async def invoke_lambda_proxy(
        integration: JsonObject, api: str, stage: str, stage_record: JsonObject, resource: JsonObject, path: str,
        method: str, headers: JsonObject, body: bytes, *rest: Any, **options: Any,
    ) -> Any:  # fmt: skip
        function = apigateway._extract_lambda_ref_from_integration_uri(integration.get("uri", ""))
        if not may_invoke(function, f"{api}/{stage}/{method}{resource['path']}"):
            return apigateway._gw_error("API_CONFIGURATION_ERROR", "Internal server error")
        if len(json.dumps((body or b"").decode("utf-8", "replace"), ensure_ascii=False).encode()) > LARGEST_EVENT_BYTES:
            return _too_large()
        seconds = float(integration.get("timeoutInMillis") or 1000 * _INTEGRATION_SECONDS) / 1000
        try:
            async with asyncio.timeout(seconds):
                answer = await original(
                    integration, api, stage, stage_record, resource, path, method, headers, body, *rest, **options
                )
        except TimeoutError:
            return apigateway._gw_error("INTEGRATION_TIMEOUT", "Endpoint request timed out")
        return _without_its_words(answer)

    return invoke_lambda_proxy


def _without_its_words(answer: Any) -> Any:
    """Return an answer without what a function's error says, which callers do not get to see."""
    if not isinstance(answer, tuple) or answer[0] != BAD_GATEWAY or list(json.loads(answer[2])) != ["message"]:
        return answer
    return BAD_GATEWAY, {**answer[1], "x-amzn-ErrorType": "InternalServerErrorException"}, _FAILED


def _too_large() -> Any:
    return apigateway._gw_error("REQUEST_TOO_LARGE", "Request Too Long")
