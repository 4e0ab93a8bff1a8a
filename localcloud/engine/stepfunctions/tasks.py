"""Task states as on AWS: their attempts, their events in the history, and the metadata of answers.

* A task of a service is TaskScheduled (with its parameters and time limits), TaskStarted, for `.sync` and
  `.waitForTaskToken` TaskSubmitted (with the service's answer), and then TaskSucceeded, TaskFailed or TaskTimedOut, all
  with `resource` and `resourceType`. A function by its ARN is LambdaFunctionScheduled and so on, an activity
  ActivityScheduled and so on (ActivityStarted is left out). An expression that fails is EvaluationFailed.
* The result of an optimised call carries SdkHttpMetadata and SdkResponseMetadata, that of `lambda:invoke` also
  ExecutedVersion; those of `events:putEvents`, of `.sync` and of SDK integrations do not.

Source: Step Functions API Reference, "HistoryEvent"; histories recorded on AWS, in the snapshots of
github.com/localstack/localstack, tests/aws/services/stepfunctions/v2 (services, callback, timeouts).
"""

import re
import uuid
import zlib
from collections.abc import Callable
from contextvars import ContextVar
from email.utils import formatdate
from typing import Any

from localcloud.engine.seams import Seams
from localcloud.engine.stepfunctions import payloads

responses = Seams("core.responses", get_region="5f4ea734")
lambda_svc = Seams("services.lambda_svc", _get_func_record_for_ref="ab104970")
sfn = Seams(
    "services.stepfunctions",
    _ExecutionError="65fcaf17",
    _add_event="22045b13",
    _apply_catcher="4472b1df",
    _apply_input_path="d24996eb",
    _apply_jsonata_arguments="d87b70aa",
    _apply_jsonata_output="70ee92b2",
    _apply_output_path="0699e96a",
    _apply_parameters="5c948900",
    _apply_result_path="0db2dd65",
    _apply_result_selector="5c20eee2",
    _apply_state_assign="c56fff1b",
    _execute_task="a8ee9d5a",
    _find_matching_catcher="8164ed47",
    _find_matching_retrier="d9c96be7",
    _invoke_resource="f3153007",
    _invoke_resource_with_timeout="70d7625c",
    _invoke_with_callback="6130097b",
    _jsonata_state_field="9ba63520",
    _next_or_end="903f6f8f",
    _scaled_sleep="a5ebb09d",
    _state_query_language="dd205417",
)

JsonObject = dict[str, Any]
_LONGEST_PAUSE_SECONDS = 60
_TIMEOUTS = ("States.Timeout", "States.HeartbeatTimeout")
_JSON_1_0, _JSON_1_1 = "application/x-amz-json-1.0", "application/x-amz-json-1.1"
_CONTENT_TYPES = {
    "dynamodb": _JSON_1_0,
    "lambda": "application/json",
    "sagemaker": _JSON_1_1,
    "sns": "text/xml",
    "sqs": _JSON_1_0,
    "states": _JSON_1_0,
}
"""The optimised integrations whose answers carry metadata, and the Content-Type in them."""
_submitted: ContextVar[Callable[[Any], None] | None] = ContextVar("submitted", default=None)


def register() -> None:
    """Replace the seam. MiniStack must be importable (the environment is set)."""
    sfn.replace("_execute_task", lambda _: _execute_task)


def submitted(answer: Any) -> None:
    """Add to the history that the current task waits, with the service's answer to its call."""
    if tell := _submitted.get():
        tell(answer)


def integration(resource: str) -> tuple[str, str]:
    """Return `resourceType` and `resource` of a task: ("aws-sdk:ssm", "putParameter"), ("sagemaker", "createModel")."""
    match = re.fullmatch(r"((?:aws-sdk:)?[^:]+):(.+)", resource.partition(":states:::")[2])
    return (match[1], match[2]) if match else ("", resource)


def with_metadata(resource: str, arguments: Any, result: Any) -> Any:
    """Return the answer of an optimised call with the metadata of the SDK for Java."""
    service, action = integration(resource)
    if service not in _CONTENT_TYPES or ".sync" in action or not isinstance(result, dict):
        return result
    is_call = service == "lambda"
    body = payloads.text_of(result.get("Payload") if is_call else result).encode(errors="surrogatepass")
    request_id = str(uuid.uuid4())
    headers = {
        "x-amzn-RequestId": request_id,
        "Connection" if is_call else "connection": "keep-alive",
        "Content-Length": str(len(body)),
        "Date": formatdate(usegmt=True),
        "Content-Type": _CONTENT_TYPES[service],
    }
    if service == "dynamodb":
        headers |= {"Server": "Server", "x-amz-crc32": str(zlib.crc32(body))}
    if is_call:
        version = _version(arguments)
        headers |= {"X-Amz-Executed-Version": version, "x-amzn-Remapped-Content-Length": "0"}
        result = {"ExecutedVersion": version, **result}
    http = {
        "AllHttpHeaders": {name: [value] for name, value in headers.items()},
        "HttpHeaders": headers,
        "HttpStatusCode": 200,
    }
    return {**result, "SdkHttpMetadata": http, "SdkResponseMetadata": {"RequestId": request_id}}


def _version(arguments: JsonObject) -> str:
    _, config, _ = lambda_svc._get_func_record_for_ref(arguments.get("FunctionName", ""))
    return str((config or {}).get("Version", "$LATEST"))


def _execute_task(state: JsonObject, raw_input: Any, execution: JsonObject, ctx: JsonObject) -> tuple[Any, str | None]:
    """Attempt a task until it succeeds, or no Retry applies; then it goes where its Catch says, or fails."""
    language = sfn._state_query_language(state, ctx)
    for field in ("TimeoutSeconds", "HeartbeatSeconds"):
        if isinstance(state.get(field), str) and language == "JSONata":
            state = {**state, field: sfn._jsonata_state_field(state, field, "number", raw_input, ctx)}
    retries: dict[int, int] = {}
    while True:
        ctx["State"]["RetryCount"] = sum(retries.values())
        try:
            return _attempt(state, raw_input, execution, ctx), sfn._next_or_end(state)
        except sfn._ExecutionError as error:
            if error.error == "States.QueryEvaluationError":
                details = {"error": error.error, "cause": error.cause, "state": ctx["State"]["Name"]}
                sfn._add_event(execution, "EvaluationFailed", {"evaluationFailedEventDetails": details})
            retrier, index = sfn._find_matching_retrier(state.get("Retry", []), error.error, retries)
            if retrier is None:
                catcher = sfn._find_matching_catcher(state.get("Catch", []), error.error)
                if catcher is None:
                    raise
                output = {"Error": error.error, "Cause": error.cause}
                return sfn._apply_catcher(catcher, raw_input, ctx, language, output), catcher["Next"]
        done = retries.get(index, 0)
        pause = retrier.get("IntervalSeconds", 1) * retrier.get("BackoffRate", 2.0) ** done
        sfn._scaled_sleep(min(pause, _LONGEST_PAUSE_SECONDS))
        retries[index] = done + 1


def _attempt(state: JsonObject, raw_input: Any, execution: JsonObject, ctx: JsonObject) -> Any:
    """Do a task once, and return its output."""
    if ".waitForTaskToken" in state["Resource"]:
        ctx["Task"] = {"Token": str(uuid.uuid4())}
    if sfn._state_query_language(state, ctx) == "JSONata":
        result = _call(state, sfn._apply_jsonata_arguments(state, raw_input, ctx), execution, ctx)
        output = sfn._apply_jsonata_output(state, raw_input, ctx, result=result, default=result)
        sfn._apply_state_assign(state, raw_input, ctx, result=result)
        return output
    task_input = sfn._apply_parameters(state, sfn._apply_input_path(state, raw_input, ctx), ctx)
    result = sfn._apply_result_selector(state, _call(state, task_input, execution, ctx))
    return sfn._apply_output_path(state, sfn._apply_result_path(state, raw_input, result), ctx)


def _call(state: JsonObject, arguments: Any, execution: JsonObject, ctx: JsonObject) -> Any:
    """Make the call of a task, and add it to the history."""
    resource = state["Resource"]
    kind = "Activity" if ":activity:" in resource else "Task" if ":states:::" in resource else "LambdaFunction"
    service, action = integration(resource)
    ids = {"resource": action, "resourceType": service} if kind == "Task" else {}

    def say(stage: str, **details: Any) -> None:
        name = f"{kind[:1].lower()}{kind[1:]}{stage}EventDetails"
        sfn._add_event(execution, kind + stage, {name: {**ids, **details}})

    limits = {
        name: int(state[field])
        for name, field in (("timeoutInSeconds", "TimeoutSeconds"), ("heartbeatInSeconds", "HeartbeatSeconds"))
        if field in state and (kind, field) != ("LambdaFunction", "HeartbeatSeconds")
    }
    text = payloads.text_of(arguments)
    if kind == "Task":
        say("Scheduled", region=responses.get_region(), parameters=text, **limits)
        say("Started")
    else:
        say("Scheduled", resource=resource, input=text, **limits)
    if kind == "LambdaFunction":
        sfn._add_event(execution, "LambdaFunctionStarted")
    token = _submitted.set(lambda answer: say("Submitted", output=payloads.text_of(answer)))
    try:
        if ".waitForTaskToken" in resource:
            result = sfn._invoke_with_callback(resource, arguments, ctx["Task"]["Token"], state)
        elif "TimeoutSeconds" in state and kind != "Activity":  # its time begins when a worker takes it
            result = sfn._invoke_resource_with_timeout(resource, arguments, state["TimeoutSeconds"])
        else:
            result = sfn._invoke_resource(resource, arguments)
    except sfn._ExecutionError as error:
        if error.error in _TIMEOUTS:
            say("TimedOut", error=error.error)
        else:
            say("Failed", error=error.error, cause=error.cause)
        raise
    finally:
        _submitted.reset(token)
    say("Succeeded", output=payloads.text_of(result))
    return result
