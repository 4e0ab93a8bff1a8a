"""The seam between MiniStack and our SageMaker: HTTP requests and Step Functions tasks reach it from here.

`localcloud.sagemaker` knows nothing of MiniStack. Error names of tasks follow the Step Functions Developer Guide
("Call SageMaker with Step Functions") and the AWS SDK for Java, whose exception names the SDK integrations carry.
"""

import json
import re
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from localcloud import access
from localcloud.engine import inside, operations
from localcloud.engine.eventbridge.events import put_entry
from localcloud.engine.permissions.services import assume_role
from localcloud.engine.permissions.tasks import refusal_to_stop
from localcloud.engine.seams import Seams
from localcloud.engine.stepfunctions import executions, scopes, tasks
from localcloud.engine.stepfunctions.sdk_results import output_shape, sdk_output
from localcloud.sagemaker.errors import AwsError
from localcloud.settings import Settings, enforced, image_python

ministack_app = Seams(
    "app", fix_error_content_type="77ba44b4", fix_success_content_type="ab8045c4", SERVICE_HANDLERS="cdc0e379"
)
concurrency = Seams("core.concurrency", run_reentrant="093cde40")
iam_evaluator = Seams("core.iam_evaluator", _resource_policy="881ce6ea")
router = Seams("core.router", SERVICE_PATTERNS="f2191250")
sts = Seams("services.sts", _caller_identity="0258ba85")
stepfunctions = Seams("services.stepfunctions", _ExecutionError="65fcaf17", _SERVICE_DISPATCH="0f380e9a")

JsonObject = dict[str, Any]
Response = tuple[int, dict[str, str], bytes]

_SCALING = "application-autoscaling"
_OPTIMISED = "arn:aws:states:::sagemaker:"
_SDK = "arn:aws:states:::aws-sdk:sagemaker:"
_SDK_RUNTIME = "arn:aws:states:::aws-sdk:sagemakerruntime:"
_NAMED_ERRORS = {
    "ConflictException": "ConflictException",
    "ResourceInUse": "ResourceInUseException",
    "ResourceLimitExceeded": "ResourceLimitExceededException",
    "ResourceNotFound": "ResourceNotFoundException",
}
_NAMED_RUNTIME_ERRORS = {
    "InternalDependencyException": "InternalDependencyException",
    "InternalFailure": "InternalFailureException",
    "ModelError": "ModelErrorException",
    "ModelNotReadyException": "ModelNotReadyException",
    "ServiceUnavailable": "ServiceUnavailableException",
    "ValidationError": "ValidationErrorException",
}


class SageMaker(Protocol):
    """What the engine needs of a SageMaker. A test may use one of its own."""

    def handle(self, operation: str, request: JsonObject) -> JsonObject: ...

    def http(self, operation: str, body: bytes) -> Response: ...

    def scale(self, operation: str, body: bytes) -> Response: ...

    def record(self, operation: str, group: str, query: Mapping[str, list[str]], body: bytes) -> Response: ...

    async def invoke(self, endpoint: str, headers: Mapping[str, str], body: bytes) -> Response: ...

    def task(
        self,
        resource: str,
        arguments: JsonObject,
        should_stop: Callable[[], bool],
        submitted: Callable[[JsonObject], None],
    ) -> JsonObject: ...

    def warm_up(self) -> None: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...


class LocalSageMaker:
    """`localcloud.sagemaker` as the engine needs it. Imports it when made, not before."""

    def __init__(self, settings: Settings) -> None:
        from localcloud.sagemaker.http import handle_invocation
        from localcloud.sagemaker.platform.aws import Credentials
        from localcloud.sagemaker.service import SageMakerService

        self._invoke = handle_invocation
        keys = access.keys(settings.state)
        self._service = SageMakerService(
            settings.state,
            settings.endpoint_url,
            settings.region,
            settings.account_id,
            image_python(),
            credentials=Credentials(keys.access_key, keys.secret_key),
            put_event=lambda entry: put_entry(entry, settings.account_id, settings.region),
            assume_role=_role_of(settings) if enforced() else None,
            ask=partial(_ask, settings),
        )
        self.start, self.stop, self.handle = self._service.start, self._service.stop, self._service.handle
        self.warm_up = self._service.context.image.warm_up

    def http(self, operation: str, body: bytes) -> Response:
        from localcloud.sagemaker.http import handle_http

        response: Response = handle_http(self._service, operation, body)
        return response

    def scale(self, operation: str, body: bytes) -> Response:
        from localcloud.sagemaker.http import handle_http

        response: Response = handle_http(self._service.scaling, operation, body)
        return response

    def record(self, operation: str, group: str, query: Mapping[str, list[str]], body: bytes) -> Response:
        from localcloud.sagemaker.http import handle_record

        response: Response = handle_record(self._service, operation, group, query, body)
        return response

    async def invoke(self, endpoint: str, headers: Mapping[str, str], body: bytes) -> Response:
        response: Response = await self._invoke(self._service, endpoint, headers, body)
        return response

    def task(
        self,
        resource: str,
        arguments: JsonObject,
        should_stop: Callable[[], bool],
        submitted: Callable[[JsonObject], None],
    ) -> JsonObject:
        from localcloud.sagemaker.stepfunctions import run_task

        output: JsonObject = run_task(self._service, resource, arguments, should_stop, submitted)
        return output


def _make_resource_policy(original: Any, handle: Callable[[str, JsonObject], JsonObject], account: str) -> Any:
    def resource_policy(service: str, resource_arn: str) -> tuple[str, str] | None:
        """Return the policy of a model package group too, also for its versions, and whose it is."""
        pattern = rf"arn:aws:sagemaker:[^:]*:{account}:model-package(?:-group)?/([^/]+).*"
        named = re.fullmatch(pattern, resource_arn) if service == "sagemaker" else None
        if not named:
            known: tuple[str, str] | None = original(service, resource_arn)
            return known
        try:
            policy: str = handle("GetModelPackageGroupPolicy", {"ModelPackageGroupName": named[1]})["ResourcePolicy"]
        except AwsError:  # there is none
            policy = ""
        return policy, account

    return resource_policy


def _ask(settings: Settings, credentials: Any, *request: Any) -> tuple[int, bytes] | None:
    keys = (credentials.access_key, credentials.secret_key, credentials.token or None)
    return inside.ask(settings.endpoint_url, settings.region, keys, *request)


def _role_of(settings: Settings) -> Callable[[str, str], Any]:
    """How SageMaker gets the credentials of a job's or a model's role."""
    from localcloud.sagemaker.errors import invalid
    from localcloud.sagemaker.platform.aws import Credentials

    def assume(role_arn: str, session: str) -> Credentials:
        try:
            return Credentials(*assume_role(role_arn, session, settings.account_id, settings.region))
        except PermissionError as error:
            raise invalid(str(error)) from error

    return assume


def register(sagemaker: SageMaker, client: Callable[[str], Any], account: str) -> None:
    """Route requests signed for SageMaker to it, and the three kinds of Step Functions tasks.

    `account` is this local cloud's; `client` makes a boto3 client of it. InvokeEndpoint is
    `POST /endpoints/<name>/invocations`, which looks like an object in a bucket named `endpoints`; the signature's
    service name tells them apart.
    """

    async def handler(method: str, path: str, headers: JsonObject, body: bytes, query: JsonObject) -> Response:
        operation, endpoint = operations.sagemaker(method, path, headers)
        if endpoint:
            return await sagemaker.invoke(endpoint, headers, body)
        of_record, group = operations.feature_record(method, path)
        if of_record and operation == of_record:
            answer: Response = await concurrency.run_reentrant(sagemaker.record, operation, group, query, body)
            return answer
        access.caller.set(_user(headers, query))
        # A thread of its own, which knows the caller: whatever the service does, it holds up no other request, and it
        # may call back.
        response: Response = await concurrency.run_reentrant(sagemaker.http, operation, body)
        return response

    async def scaling_handler(method: str, path: str, headers: JsonObject, body: bytes, query: JsonObject) -> Response:
        operation = headers["x-amz-target"].rpartition(".")[2]
        response: Response = await concurrency.run_reentrant(sagemaker.scale, operation, body)
        return response

    router.SERVICE_PATTERNS[_SCALING] = {
        "target_prefixes": ["AnyScaleFrontendService."],
        "host_patterns": [rf"{_SCALING}\."],
    }
    ministack_app.SERVICE_HANDLERS[_SCALING] = scaling_handler
    router.SERVICE_PATTERNS["sagemaker"] = {"target_prefixes": ["SageMaker."], "host_patterns": [r"sagemaker\."]}
    ministack_app.SERVICE_HANDLERS["sagemaker"] = handler
    iam_evaluator.replace("_resource_policy", partial(_make_resource_policy, handle=sagemaker.handle, account=account))
    for fix in ("fix_success_content_type", "fix_error_content_type"):
        ministack_app.replace(fix, _except_for_sagemaker)
    stepfunctions._SERVICE_DISPATCH[_OPTIMISED] = lambda resource, arguments: _run_task(sagemaker, resource, arguments)
    executions.while_waiting(lambda tasks: sagemaker.warm_up() if any(map(_is_job, tasks)) else None)
    stepfunctions._SERVICE_DISPATCH[_SDK] = lambda resource, arguments: _run_sdk_task(sagemaker, resource, arguments)
    stepfunctions._SERVICE_DISPATCH[_SDK_RUNTIME] = lambda resource, arguments: _run_runtime_task(
        client, resource, arguments
    )


def _user(headers: JsonObject, query: JsonObject) -> JsonObject:
    """Return who asks, as SageMaker keeps it of who makes or changes a resource: API Reference, UserContext."""
    who = sts._caller_identity(headers, query)
    return {"IamIdentity": {"Arn": who["userArn"], "PrincipalId": who["userId"]}} if isinstance(who, dict) else {}


def _is_job(state: JsonObject) -> bool:
    return str(state.get("Resource")).startswith(f"{_OPTIMISED}create") and state["Resource"].endswith(".sync")


def _except_for_sagemaker(fix: Callable[[str, int, JsonObject], None]) -> Callable[[str, int, JsonObject], None]:
    """MiniStack gives JSON the type of the service's protocol; SageMaker has two, and models answer in their own."""

    def fixed(service: str, status: int, headers: JsonObject) -> None:
        if service not in ("sagemaker", _SCALING):
            fix(service, status, headers)

    return fixed


def _fail(name: str, cause: str) -> Exception:
    failure: Exception = stepfunctions._ExecutionError(name, cause)
    return failure


def _run_task(sagemaker: SageMaker, resource: str, arguments: JsonObject) -> JsonObject:
    """Run an optimised task: return its output, or raise the error that a Retry or Catch sees."""
    from localcloud.sagemaker.stepfunctions import TaskError

    scope = scopes.current()
    if resource.endswith(".sync"):
        arguments = {**arguments, "Tags": [*arguments.get("Tags", []), *_managed_tags(scope)]}

    def should_stop() -> bool:
        """Return whether the job is to be stopped; a role that may not stop it leaves it running, as on AWS."""
        if scope is None or not scope.ended():
            return False
        if enforced() and (denial := refusal_to_stop(resource, arguments)):
            raise TaskError("SageMaker.AmazonSageMakerException", denial.text)
        return True

    def submitted(answer: JsonObject) -> None:
        tasks.submitted(tasks.with_metadata(resource.removesuffix(".sync"), arguments, answer))

    try:
        return sagemaker.task(resource, arguments, should_stop, submitted)
    except TaskError as error:
        raise _fail(error.name, error.cause) from error


def _managed_tags(scope: scopes.Scope | None) -> list[dict[str, str]]:
    """Return the tags that Step Functions puts on a job that it waits for."""
    arn = (scope.execution or {}).get("executionArn", "") if scope else ""
    return [
        {"Key": "MANAGED_BY_AWS", "Value": "STARTED_BY_STEP_FUNCTIONS"},
        {"Key": "AWS_STEP_FUNCTIONS_EXECUTION_ARN", "Value": arn},
    ]


def _run_sdk_task(sagemaker: SageMaker, resource: str, arguments: JsonObject) -> JsonObject:
    """Run an SDK task of any SageMaker operation: timestamps in its output are ISO strings."""
    from localcloud.sagemaker.errors import AwsError

    action = resource.removeprefix(_SDK)
    operation = action[:1].upper() + action[1:]
    try:
        result = sagemaker.handle(operation, arguments or {})
    except AwsError as error:
        name = _NAMED_ERRORS.get(error.code, "SageMakerException")
        raise _fail(f"SageMaker.{name}", _sdk_cause(error.message, "SageMaker", error.status)) from error
    output: JsonObject = sdk_output(result, output_shape("sagemaker", operation))
    return output


def _run_runtime_task(client: Callable[[str], Any], resource: str, arguments: JsonObject) -> JsonObject:
    """InvokeEndpoint as a task: the body goes in as a string or as JSON, and comes back as a string."""
    from botocore.exceptions import BotoCoreError, ClientError

    if resource != f"{_SDK_RUNTIME}invokeEndpoint":
        raise _fail("States.Runtime", f"{resource} is not supported by the local cloud; invokeEndpoint is")
    body = arguments.get("Body", "")
    request = {**arguments, "Body": body if isinstance(body, str) else json.dumps(body)}
    try:
        response = client("sagemaker-runtime").invoke_endpoint(**request)
    except ClientError as error:
        details = error.response["Error"]
        name = _NAMED_RUNTIME_ERRORS.get(details["Code"], "SageMakerRuntimeException")
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        raise _fail(f"SageMakerRuntime.{name}", _sdk_cause(details["Message"], "SageMakerRuntime", status)) from error
    except BotoCoreError as error:
        raise _fail("SageMakerRuntime.SdkClientException", str(error)) from error
    output = {name: value for name, value in response.items() if name != "ResponseMetadata"}
    return {**output, "Body": response["Body"].read().decode()}


def _sdk_cause(message: str, service: str, status: int) -> str:
    return f"{message} (Service: {service}, Status Code: {status}, Request ID: {uuid.uuid4()})"
