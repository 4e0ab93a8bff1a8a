"""Check the arguments of a Task against the operation that its Resource calls, by botocore's service models.

Sources: Step Functions Developer Guide, "Integrating optimized services" and "Learning to use AWS service SDK
integrations" (service names and error names there are those of the AWS SDK for Java 2).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StructureShape

from tools import asl

RESOURCE = re.compile(r"arn:aws:states:::(?P<sdk>aws-sdk:)?(?P<service>\w+):(?P<action>\w+)(?P<pattern>\.[\w:.]+)?")
SYNC, TOKEN = ".sync", ".waitForTaskToken"
JOBS = ("createProcessingJob", "createTrainingJob", "createTransformJob", "createHyperParameterTuningJob")
# Optimised integrations: service -> action -> the patterns it has besides request and response.
OPTIMISED: dict[str, dict[str, tuple[str, ...]]] = {
    "lambda": {"invoke": (TOKEN,)},
    "sagemaker": {
        **dict.fromkeys(JOBS, (SYNC,)),
        **dict.fromkeys(("createModel", "createEndpointConfig", "createEndpoint", "updateEndpoint"), ()),
    },
    "states": {"startExecution": (SYNC, ".sync:2", TOKEN)},
    "sns": {"publish": (TOKEN,)},
    "sqs": {"sendMessage": (TOKEN,)},
    "events": {"putEvents": (TOKEN,)},
    "dynamodb": dict.fromkeys(("getItem", "putItem", "updateItem", "deleteItem"), ()),
}
# Service names of the Java SDK that botocore spells otherwise.
BOTOCORE_NAMES = {
    "sfn": "stepfunctions",
    "states": "stepfunctions",
    "eventbridge": "events",
    "cloudwatchlogs": "logs",
    "sagemakerruntime": "sagemaker-runtime",
}
# Members that the API has as text or bytes and a state machine gives as JSON.
JSON_MEMBERS = ("Payload", "Input", "Message", "MessageBody", "Detail")
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "timestamp": (str,),
    "blob": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
}


class UnknownCallError(ValueError):
    """A Resource that calls nothing known."""


@dataclass(frozen=True)
class Call:
    """One operation of one service, as a Task calls it."""

    service: ServiceModel
    operation: str
    pattern: str
    optimised: bool

    @property
    def shape(self) -> StructureShape | None:
        """The shape of the arguments."""
        return self.service.operation_model(self.operation).input_shape

    @property
    def errors(self) -> set[str]:
        """The names under which Step Functions reports the errors of this call."""
        prefix = _java_name(self.service.service_id)
        if self.optimised and prefix == "SageMaker":
            # Developer Guide, "Manage SageMaker AI with Step Functions"; this one covers throttling and validation.
            return {
                f"SageMaker.{name}Exception" for name in ("AmazonSageMaker", "ResourceLimitExceeded", "ResourceInUse")
            }
        if self.optimised and self.service.service_name == "stepfunctions":
            # Its errors have another prefix than those of the SDK integration (Sfn), as executions show them.
            return {f"StepFunctions.{name}Exception" for name in ("AWSStepFunctions", "ExecutionAlreadyExists")}
        modelled = {shape.name.removesuffix("Exception") for shape in self.service.error_shapes}
        return {f"{prefix}.{name}Exception" for name in modelled | {prefix, "SdkClient"}}  # the last: no answer came


@cache
def _loader() -> Loader:
    return Loader()


@cache
def service_model(name: str) -> ServiceModel | None:
    """Return botocore's model of a service by its name in a Resource, or None."""
    known = BOTOCORE_NAMES.get(name, name)
    if known not in _loader().list_available_services("service-2"):
        return None
    return ServiceModel(_loader().load_service_model(known, "service-2"), known)


def call(resource: str) -> Call:
    """Return what a Resource (after substitution) calls. Raises UnknownCallError that says what is allowed."""
    match = RESOURCE.fullmatch(resource)
    if not match:
        raise UnknownCallError(
            f"Resource {resource!r} is not arn:...:states:::[aws-sdk:]<service>:<action>[.<pattern>]"
        )
    service, action, pattern = match["service"], match["action"], match["pattern"] or ""
    model = service_model(service)
    if model is None:
        raise UnknownCallError(f"Resource names the service {service!r}, which AWS does not have")
    if match["sdk"]:
        _check_pattern(action, pattern, (TOKEN,))
    else:
        actions = OPTIMISED.get(service, {})
        if action not in actions:
            raise UnknownCallError(f"{service}:{action} is no optimised integration; use aws-sdk:{service}:{action}")
        _check_pattern(action, pattern, actions[action])
    operation = {name[0].lower() + name[1:]: name for name in model.operation_names}.get(action)
    if operation is None:
        raise UnknownCallError(f"{service} has no action {action!r} (camelCase){_nearest(action, model)}")
    return Call(model, operation, pattern, not match["sdk"])


def _check_pattern(action: str, pattern: str, allowed: tuple[str, ...]) -> None:
    if pattern and pattern not in allowed:
        raise UnknownCallError(f"{action} has no {pattern}; it has {', '.join(allowed) or 'request and response only'}")


def _nearest(action: str, model: ServiceModel) -> str:
    near = difflib.get_close_matches(action, [name[0].lower() + name[1:] for name in model.operation_names], 1)
    return f"; did you mean {near[0]!r}?" if near else ""


def argument_problems(arguments: Any, shape: Shape | None, path: str = "Arguments") -> Iterator[str]:
    """Yield what is wrong with arguments: names, required ones, types of literals, members of enumerations."""
    if asl.expression(arguments) is not None or shape is None:
        return
    if isinstance(shape, StructureShape):
        yield from _structure_problems(arguments, shape, path)
    elif isinstance(shape, ListShape):
        if not isinstance(arguments, list):
            yield f"{path}: expected a list, got {arguments!r}"
            return
        for index, item in enumerate(arguments):
            yield from argument_problems(item, shape.member, f"{path}[{index}]")
    elif isinstance(shape, MapShape):
        if not isinstance(arguments, dict):
            yield f"{path}: expected an object, got {arguments!r}"
            return
        for key, item in arguments.items():
            yield from argument_problems(item, shape.value, f"{path}.{key}")
    else:
        yield from _scalar_problems(arguments, shape, path)


def _structure_problems(arguments: Any, shape: StructureShape, path: str) -> Iterator[str]:
    if not isinstance(arguments, dict):
        yield f"{path}: expected an object, got {arguments!r}"
        return
    members = {name[0].upper() + name[1:]: member for name, member in shape.members.items()}
    required = {name[0].upper() + name[1:] for name in shape.required_members}
    for name in sorted(required - set(arguments)):
        yield f"{path}.{name} is required and missing"
    for name, value in arguments.items():
        if name not in members:
            yield f"{path}.{name} is no argument of {shape.name}; it takes {', '.join(sorted(members))}"
        elif name not in JSON_MEMBERS:
            yield from argument_problems(value, members[name], f"{path}.{name}")


def _scalar_problems(value: Any, shape: Shape, path: str) -> Iterator[str]:
    wanted = TYPES.get(shape.type_name, (object,))
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        yield f"{path}: expected {shape.type_name}, got {value!r}"
        return
    allowed = getattr(shape, "enum", [])
    if allowed and value not in allowed and len(allowed) <= 50:
        yield f"{path}: got {value!r}; allowed are {', '.join(allowed)}"
    elif allowed and value not in allowed:
        yield f"{path}: {value!r} is none of the {len(allowed)} allowed values"


def _java_name(service_id: str) -> str:
    """SSM -> Ssm, DynamoDB -> DynamoDb, SageMaker -> SageMaker, as the AWS SDK for Java 2 names exceptions."""
    words = re.findall(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+[0-9]*|[A-Z]+[0-9]*", service_id)
    return "".join(word.capitalize() for word in words)
