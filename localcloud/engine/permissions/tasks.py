"""Permissions of state machines: each task under the state machine's role, and what making one asks of that role."""

import json
import logging
import uuid
from collections.abc import Iterator
from typing import Any

from localcloud.engine.permissions import actions
from localcloud.engine.permissions.actions import Needs, NotMappedError
from localcloud.engine.permissions.decisions import Denial, check, session_arn
from localcloud.engine.seams import Seams
from localcloud.engine.stepfunctions import scopes

responses = Seams("core.responses", error_response_json="8a1cabf9")
provisioners = Seams("services.cloudformation.provisioners", _RESOURCE_HANDLERS="70ecdfd3", _sfn_definition="6e3f0922")
stepfunctions = Seams(
    "services.stepfunctions",
    _ExecutionError="65fcaf17",
    _create_state_machine="9e50830c",
    _invoke_resource="f3153007",
    _state_machines="79f3cc64",
    _update_state_machine="f615188d",
)

JsonObject = dict[str, Any]
logger = logging.getLogger(__name__)

_SERVICE = "states.amazonaws.com"
_ERRORS = {
    "lambda": ("Lambda.AWSLambdaException", "AWSLambda", 403),
    "sagemaker": ("SageMaker.AmazonSageMakerException", "AmazonSageMaker", 400),
    "dynamodb": ("DynamoDB.AmazonDynamoDBException", "AmazonDynamoDBv2", 400),
    "sns": ("SNS.AmazonSNSException", "AmazonSNS", 403),
    "sqs": ("SQS.AmazonSQSException", "AmazonSQS", 403),
    "events": ("Events.AmazonEventsException", "AmazonEventBridge", 400),
    "states": ("StepFunctions.AWSStepFunctionsException", "AWSStepFunctions", 400),
}
"""Optimised integration -> the error's name, the service in its cause, the HTTP status."""
_SDK_ERRORS = {
    "ssm": "Ssm",
    "dynamodb": "DynamoDb",
    "eventbridge": "EventBridge",
    "sagemakerruntime": "SageMakerRuntime",
}
"""SDK integration -> the prefix of its errors, where it is not the capitalised name."""
_SDK_PREFIXES = {
    "sagemaker": "SageMaker", "lambda": "Lambda", "s3": "S3", "sns": "Sns", "sqs": "Sqs", "sfn": "Sfn"
} | _SDK_ERRORS  # fmt: skip


def register() -> None:
    """Replace the seams. MiniStack must be importable (the environment is set)."""
    stepfunctions.replace("_invoke_resource", _make_invoke_resource)
    stepfunctions.replace("_create_state_machine", _make_create_state_machine)
    stepfunctions.replace("_update_state_machine", _make_update_state_machine)
    made = provisioners._RESOURCE_HANDLERS["AWS::StepFunctions::StateMachine"]
    made["create"] = _make_provision(made["create"])


# ---- Tasks


def _make_invoke_resource(original: Any) -> Any:
    def invoke_resource(resource: str, input_data: Any) -> Any:
        caller = _caller()
        if caller:
            parameters = input_data if isinstance(input_data, dict) else {}
            _begin(caller, resource, parameters)
            result = original(resource, input_data)
            _end(caller, resource, parameters)
            return result
        return original(resource, input_data)

    return invoke_resource


def _caller() -> str:
    """Return the session of the current execution's role; empty outside of executions."""
    scope = scopes.current()
    execution = scope.execution if scope else None
    machine = stepfunctions._state_machines.get(execution["stateMachineArn"]) if execution else None
    if not execution or not machine:
        return ""
    session = uuid.uuid5(uuid.NAMESPACE_URL, execution["executionArn"]).hex
    return session_arn(machine["roleArn"], session)


def _begin(caller: str, resource: str, parameters: JsonObject) -> None:
    """Refuse a task whose role may not begin it."""
    if ":activity:" in resource:
        return  # a worker asks for it, with permissions of its own
    try:
        needed = actions.task(resource, parameters, actions.here())
    except NotMappedError as error:
        raise _error("States.Runtime", str(error)) from error
    if ".sync" in resource and resource.startswith("arn:aws:states:::sagemaker:") and not parameters.get("Tags"):
        needed.append(Needs("sagemaker:AddTags", needed[0].resource))  # the tags that Step Functions adds
    _require(caller, resource, needed)


def _end(caller: str, resource: str, parameters: JsonObject) -> None:
    """Give the job's description as the output of a `.sync` task."""
    if needs := job_needs("Describe", resource, parameters):
        _require(caller, resource, [needs])


def job_needs(verb: str, resource: str, parameters: JsonObject) -> Needs | None:
    """Return the permission to describe or to stop the job of a `.sync` task of SageMaker; None for other tasks."""
    name = actions.task_name(resource)
    if ".sync" not in resource or not name.startswith("sagemaker:create"):
        return None
    return actions.sagemaker(name.replace("sagemaker:create", verb), {**parameters, "Tags": []}, actions.here())[0]


def refusal_to_stop(resource: str, parameters: JsonObject) -> Denial | None:
    """Return whether the execution's role may not stop the job of its `.sync` task."""
    caller, needs = _caller(), job_needs("Stop", resource, parameters)
    return check(caller, needs.action, needs.resource) if caller and needs else None


def _require(caller: str, resource: str, needed: list[Needs]) -> None:
    for needs in needed:
        if denial := check(caller, needs.action, needs.resource, needs.context):
            raise _error(*_as_error(resource, denial.text))


def _as_error(resource: str, text: str) -> tuple[str, str]:
    """Name and cause of the error that a Retry or a Catch sees."""
    request_id = uuid.uuid4()
    service = actions.task_name(resource).split(":")[0] if resource.startswith("arn:aws:states") else "lambda"
    if service == "aws-sdk":
        name = actions.task_name(resource).split(":")[1]
        prefix, status = _SDK_PREFIXES.get(name, ""), 403 if name == "s3" else 400
        cause_text = f"{text} (Service: {prefix}, Status Code: {status}, Request ID: {request_id})"
        return f"{prefix}.{prefix}Exception", cause_text
    name, title, status = _ERRORS[service]
    cause = f"{text} (Service: {title}; Status Code: {status}; Error Code: AccessDeniedException; "
    return name, f"{cause}Request ID: {request_id}; Proxy: null)"


def _error(name: str, cause: str) -> Exception:
    error: Exception = stepfunctions._ExecutionError(name, cause)
    return error


# ---- Making and changing a state machine


def _make_create_state_machine(original: Any) -> Any:
    def create_state_machine(data: JsonObject) -> Any:
        return _refused(data.get("roleArn"), data.get("definition")) or original(data)

    return create_state_machine


def _make_update_state_machine(original: Any) -> Any:
    def update_state_machine(data: JsonObject) -> Any:
        machine = stepfunctions._state_machines.get(data.get("stateMachineArn")) or {}
        role, definition = data.get("roleArn") or machine.get("roleArn"), data.get("definition")
        return _refused(role, definition or machine.get("definition")) or original(data)

    return update_state_machine


def _make_provision(original: Any) -> Any:
    def create(logical_id: str, props: JsonObject, stack_name: str) -> Any:
        """Make a state machine in CloudFormation's way, which does not go through CreateStateMachine."""
        if problem := _problem(props.get("RoleArn"), provisioners._sfn_definition(props)):
            raise ValueError(
                f'Resource handler returned message: "{problem} (Service: AWSStepFunctions; Status Code: 400; '
                'Error Code: AccessDeniedException)"'
            )
        return original(logical_id, props, stack_name)

    return create


def _refused(role_arn: str | None, definition: str | None) -> Any:
    problem = _problem(role_arn, definition)
    return responses.error_response_json("AccessDeniedException", problem, 400) if problem else None


def _problem(role_arn: str | None, definition: str | None) -> str:
    """Why Step Functions refuses the role: it cannot be assumed, or it may not make the rules of `.sync` tasks."""
    if not role_arn:
        return ""  # the API says so itself
    place = actions.here()
    if check(_SERVICE, "sts:AssumeRole", role_arn, {"aws:SourceAccount": place.account}):
        return (
            f"Neither the global service principal {_SERVICE}, nor the regional one is authorized to assume the "
            "provided role."
        )
    caller = session_arn(role_arn, "StepFunctions")
    for needs in actions.managed_rules(list(_resources(definition)), place):
        if check(caller, needs.action, needs.resource):
            return f"'{role_arn}' is not authorized to create managed-rule."
    return ""


def _resources(definition: str | None) -> Iterator[str]:
    """Yield the Resource of every Task state, at any depth."""
    try:
        waiting = [json.loads(definition or "{}")]
    except (ValueError, RecursionError):
        return
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if node.get("Type") == "Task" and isinstance(node.get("Resource"), str):
                yield node["Resource"]
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
