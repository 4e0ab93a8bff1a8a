"""Finding a stack by its name; the error where there is none names those that exist."""

from difflib import get_close_matches
from typing import Any

import boto3
from botocore.exceptions import ClientError

MOST_NAMES = 10


class NoStackError(Exception):
    """There is no such stack; the text names those that exist."""


def find(name: str) -> dict[str, Any]:
    """Return a stack as CloudFormation describes it. Raises NoStackError."""
    try:
        return dict(boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0])
    except ClientError as error:
        answer = error.response["Error"]
        if answer["Code"] != "ValidationError":
            raise
        raise NoStackError(f"there is no stack {name}: {answer['Message']}. {_others(name)}") from error


def _others(name: str) -> str:
    """Return the stacks of Perennial, whose parameters name a model: what is spelt much the same first."""
    pages = boto3.client("cloudformation").get_paginator("describe_stacks").paginate()
    names = sorted(stack["StackName"] for page in pages for stack in page["Stacks"] if _is_ours(stack))
    near = get_close_matches(name, names, n=MOST_NAMES)
    ordered = [*near, *(other for other in names if other not in near)]
    more = f" and {len(ordered) - MOST_NAMES} more" if len(ordered) > MOST_NAMES else ""
    return f"There are: {', '.join(ordered[:MOST_NAMES])}{more}" if ordered else "There is no stack of Perennial here"


def _is_ours(stack: Any) -> bool:
    return any(parameter["ParameterKey"] == "ModelName" for parameter in stack.get("Parameters", []))
