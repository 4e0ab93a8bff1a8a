"""Custom resources: their function is called as CloudFormation calls it, and its answer is worded as AWS does.

MiniStack calls the function once and then waits for the answer, also when the call has failed. CloudFormation calls it
asynchronously: Lambda tries a call that failed twice more, and one that it throttled itself until time is up. Without
an answer the resource fails after ServiceTimeout; here it fails at once when the last attempt has failed, because
nobody is left to answer.

Source: Lambda Developer Guide, "How Lambda handles errors and retries with asynchronous invocation"; CloudFormation
User Guide, "Create custom provisioning logic with custom resources"; the two texts are those of stack events.
"""

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from localcloud.engine.seams import Seams
from localcloud.settings import retry_scale

custom_resource = Seams(
    "services.cloudformation.custom_resource",
    _pending="5e629b86",
    deliver_response="8c916803",
    invoke_custom_resource="e703f1d7",
)
lambda_svc = Seams("services.lambda_svc", _execute_function_with_config_scope="fda59857")

JsonObject = dict[str, Any]
Execute = Callable[[JsonObject, JsonObject], JsonObject]

FAILED = "Received response status [FAILED] from custom resource. Message returned: {reason} (RequestId: {request_id})"
NO_ANSWER = (
    "CloudFormation did not receive a response from your Custom Resource. Please check your logs for requestId "
    "[{request_id}]. If you are using the Python cfn-response module, you may need to update your Lambda function code "
    "so that CloudFormation can attach the updated version."
)
NOT_WAITED = (
    " (The local cloud does not wait for the {limit} s to pass: called {attempts} times, the function ended without an "
    "answer, at last with {error})"
)
# One and two minutes on AWS; seconds here, as for every asynchronous call.
_PAUSES_SECONDS = (1.0, 2.0)
_LONGEST_PAUSE_SECONDS = 300
_DEFAULT_LIMIT_SECONDS = 3600
_LAMBDA_ITSELF = ("TooManyRequestsException", "ServiceException")


@dataclass
class _Request:
    """One request to a custom resource: its id, and why it gets no answer, once that is sure."""

    id: str = ""
    unanswered: str = ""


_request: ContextVar[_Request | None] = ContextVar("custom_resource_request", default=None)


def register() -> None:
    """Replace the seams. MiniStack must be importable (the environment is set)."""
    custom_resource.replace("invoke_custom_resource", _make_invoke_custom_resource)
    lambda_svc.replace("_execute_function_with_config_scope", _make_execute)


def _make_invoke_custom_resource(original: Callable[..., Any]) -> Callable[..., Any]:
    def invoke_custom_resource(*arguments: Any, **options: Any) -> Any:
        request = _Request()
        token = _request.set(request)
        try:
            return original(*arguments, **options)
        except (RuntimeError, TimeoutError) as error:
            raise RuntimeError(_failure_reason(request, error)) from error
        finally:
            _request.reset(token)

    return invoke_custom_resource


def _failure_reason(request: _Request, error: Exception) -> str:
    """Return the reason of the resource's failure."""
    if request.unanswered or isinstance(error, TimeoutError):
        return NO_ANSWER.format(request_id=request.id) + request.unanswered
    return FAILED.format(reason=error, request_id=request.id)


def _make_execute(original: Execute) -> Execute:
    def execute_function_with_config_scope(func: JsonObject, event: JsonObject) -> JsonObject:
        request = _request.get()
        if request is None:
            return original(func, event)
        _request.set(None)  # what the function calls in its turn is not ours
        request.id = event["RequestId"]
        result, attempts = _tried(original, func, event)
        if result.get("error") and not _is_answered(event):
            limit, error = _limit_seconds(event), _error(result.get("body"))
            request.unanswered = NOT_WAITED.format(limit=limit, attempts=attempts, error=error)
            _deliver(event, {"Status": "FAILED"})
        return result

    return execute_function_with_config_scope


def _tried(execute: Execute, func: JsonObject, event: JsonObject) -> tuple[JsonObject, int]:
    """Return the result of the last attempt, and how many there were."""
    refusals, failures, waited = 0, 0, 0.0
    while True:
        result = execute(func, event)
        done = not result.get("error") or _is_answered(event)
        if not done and _is_refused(result):
            pause = min(2.0**refusals, _LONGEST_PAUSE_SECONDS)
            refusals += 1
        elif not done and failures < len(_PAUSES_SECONDS):
            pause = _PAUSES_SECONDS[failures]
            failures += 1
        else:
            return result, refusals + failures + 1
        waited += pause
        if waited > _limit_seconds(event):
            return result, refusals + failures
        time.sleep(pause * retry_scale())


def _is_refused(result: JsonObject) -> bool:
    """Return whether Lambda itself refused the call: the function did not run."""
    body = result.get("body")
    return bool(result.get("throttle")) or (isinstance(body, dict) and body.get("__type") in _LAMBDA_ITSELF)


def _error(body: Any) -> str:
    if not isinstance(body, dict):
        return str(body)
    return f"{body.get('errorType') or body.get('__type')}: {body.get('errorMessage') or body.get('message')}"


def _limit_seconds(event: JsonObject) -> int:
    try:
        return int(event["ResourceProperties"].get("ServiceTimeout", _DEFAULT_LIMIT_SECONDS))
    except ValueError:
        return _DEFAULT_LIMIT_SECONDS


def _token(event: JsonObject) -> str:
    return str(event["ResponseURL"].rpartition("/")[2])


def _is_answered(event: JsonObject) -> bool:
    waiting = custom_resource._pending.get(_token(event))
    return waiting is None or waiting["event"].is_set()


def _deliver(event: JsonObject, answer: JsonObject) -> None:
    custom_resource.deliver_response(_token(event), answer)
