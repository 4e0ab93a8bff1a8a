"""Finding a stack by its name, or the only one; the error where there is none names those that exist."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import boto3
from botocore.exceptions import ClientError

from perennial.serving import hours
from perennial.serving.hours import Hours
from perennial_cli.console import CommandError

MOST_NAMES = 10
PLANNED = "REVIEW_IN_PROGRESS"  # a change set was never executed: there are no parameters, and it can be deleted


class NoStackError(CommandError):
    """There is no such stack; the text names those that exist."""


@dataclass(frozen=True)
class Stack:
    """A deployed stack: its outputs and parameters by name."""

    name: str
    outputs: Mapping[str, str]
    parameters: Mapping[str, str]

    @property
    def model(self) -> str:
        return self.parameters["ModelName"]

    @property
    def bucket(self) -> str:
        """Where runs leave what they make."""
        return self.outputs["BucketName"]

    @property
    def hours(self) -> Hours | None:
        """When the endpoint is there; None: always."""
        texts = (self.parameters.get(name, "") for name in ("AwakeHours", "AwakeTimeZone", "AwakeDays", "WakeBy"))
        return hours.read(" ".join(texts))

    @property
    def state_machine_arn(self) -> str:
        return self.outputs["StateMachineArn"]


def chosen(name: str | None) -> Stack:
    """Return the stack of a name, or the only one that there is. Raises NoStackError: none, several, or half of one."""
    if name is None:
        ours = _ours()
        if len(ours) != 1:
            several = f"there are several stacks: {', '.join(_named(ours))}. Name one: --stack NAME"
            raise NoStackError(
                several if ours else "there is no stack of Perennial here; `perennial deploy MODEL` makes one"
            )
        return _whole(ours[0])
    return _whole(find(name))


def _whole(described: Mapping[str, Any]) -> Stack:
    outputs = {item["OutputKey"]: item["OutputValue"] for item in described.get("Outputs", [])}
    parameters = {item["ParameterKey"]: item["ParameterValue"] for item in described.get("Parameters", [])}
    if "StateMachineArn" not in outputs or "ModelName" not in parameters:
        raise NoStackError(
            f"the stack {described['StackName']} ({described.get('StackStatus')}) is none of Perennial, or not "
            "deployed whole: it has no output StateMachineArn"
        )
    return Stack(described["StackName"], outputs, parameters)


def find(name: str) -> dict[str, Any]:
    """Return a stack of Perennial as CloudFormation describes it. Raises NoStackError.

    Of an empty name CloudFormation describes every stack of the account.
    """
    if not name.strip():
        raise NoStackError(f"the name of the stack is empty; expected that of one. {_others(name)}")
    try:
        described = dict(boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0])
    except ClientError as error:
        answer = error.response["Error"]
        if answer["Code"] != "ValidationError":
            raise
        raise NoStackError(f"there is no stack {name}: {answer['Message']}. {_others(name)}") from error
    if not _is_ours(described) and described["StackStatus"] != PLANNED:
        raise NoStackError(f"the stack {name} is none of Perennial: it has no parameter ModelName. {_others(name)}")
    return described


def model_of(name: str) -> str | None:
    """Return the model of a stack; None: there is no such stack yet, or it is none of Perennial.

    Asks about this one alone, as whoever deploys it may.
    """
    try:
        described = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ValidationError":
            raise
        return None
    parameters = {item["ParameterKey"]: item["ParameterValue"] for item in described.get("Parameters", [])}
    return parameters.get("ModelName")


def names() -> list[str]:
    """Return the names of all stacks of Perennial that are here."""
    return _named(_ours())


def exported(stack: str, name: str) -> str | None:
    """Return what Parameter Store names for a stack, such as the run whose model serves; None: it names none."""
    ssm = boto3.client("ssm")
    try:
        return str(ssm.get_parameter(Name=f"/{stack}/{name}")["Parameter"]["Value"])
    except ssm.exceptions.ParameterNotFound:
        return None


def _others(name: str) -> str:
    """Return the stacks of Perennial, whose parameters name a model: what is spelt much the same first."""
    listed = names()
    near = get_close_matches(name, listed, n=MOST_NAMES)
    ordered = [*near, *(other for other in listed if other not in near)]
    more = f" and {len(ordered) - MOST_NAMES} more" if len(ordered) > MOST_NAMES else ""
    return f"There are: {', '.join(ordered[:MOST_NAMES])}{more}" if ordered else "There is no stack of Perennial here"


def _ours() -> list[Any]:
    pages = boto3.client("cloudformation").get_paginator("describe_stacks").paginate()
    return [stack for page in pages for stack in page["Stacks"] if _is_ours(stack)]


def _named(some: list[Any]) -> list[str]:
    return sorted(stack["StackName"] for stack in some)


def _is_ours(stack: Any) -> bool:
    return any(parameter["ParameterKey"] == "ModelName" for parameter in stack.get("Parameters", []))
