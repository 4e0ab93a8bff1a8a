"""The API of a stack: where it is, the document that describes it, and an example of a record."""

from __future__ import annotations

import json
import re
from typing import Any

import boto3

from perennial.serving import openapi
from perennial_cli.account import is_local
from perennial_cli.console import CommandError
from perennial_cli.deployed import definition_of
from perennial_cli.stacks import Stack

NOT_SERVED = "none yet"
_ADDRESS = re.compile(r"https://(?P<api>\w+)\.execute-api\.[^/]+/(?P<stage>\w+)")


def url_of(stack: Stack, local_url: str | None) -> str | None:
    """Return the address of the API, on the local cloud that of this machine; None where the stack has none."""
    url = stack.outputs.get("ApiUrl")
    if url is None or local_url is None:
        return url
    where = _ADDRESS.fullmatch(url)
    return f"{local_url}/_aws/execute-api/{where['api']}/{where['stage']}" if where else url


def address(stack: Stack) -> str | None:
    """Return the address of the API as it is called from here; None where the stack has none."""
    return url_of(stack, str(boto3.client("sts").meta.endpoint_url) if is_local() else None)


def document(stack: Stack, local_url: str | None) -> dict[str, Any]:
    """Return the document of the model in service, or before the first of the one to come. Raises CommandError."""
    url = url_of(stack, local_url)
    if url is None:
        raise CommandError(f"the stack {stack.name} has no API; deploy it with the parameter Api=key or Api=iam")
    run, definition = _served(stack)
    return openapi.document(definition, stack.name, run, stack.parameters["Api"], url)


def record(stack: Stack) -> dict[str, Any]:
    """Return the JSON schema of a record that the model in service takes, with an example."""
    return openapi.record(_served(stack)[1])


def example(stack: Stack) -> dict[str, Any]:
    """Return a record that the model in service takes."""
    return openapi.example(_served(stack)[1])


def _served(stack: Stack) -> tuple[str, dict[str, Any]]:
    """Return the run whose model serves and its definition, or that of the deployed code."""
    name = f"{stack.outputs['ParameterPrefix']}/run"
    parameters = boto3.client("ssm").get_parameters(Names=[name])["Parameters"]
    if not parameters:
        return NOT_SERVED, definition_of(stack).as_json()
    run = str(parameters[0]["Value"])
    body = boto3.client("s3").get_object(Bucket=stack.bucket, Key=f"runs/{run}/config.json")["Body"]
    return run, json.loads(body.read())["definition"]
