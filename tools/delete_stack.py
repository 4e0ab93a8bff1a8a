"""Delete a stack and everything that its runs created: endpoint, endpoint configurations, models, parameters.

    python -m tools.delete_stack STACK [--yes]

CloudFormation does not know what the state machine made, and an endpoint costs money every hour. What holds data (the
bucket, the run table, their key) stays, and is named at the end.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from perennial import naming

WAIT_SECONDS = 900
POLL_SECONDS = 2.0


class DeletionError(Exception):
    """Something could not be deleted; the text says what is left."""


def outputs(stack: str) -> dict[str, str]:
    """The outputs of the stack."""
    try:
        described = boto3.client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
    except ClientError as error:
        raise DeletionError(f"there is no stack {stack}: {error.response['Error']['Message']}") from error
    return {item["OutputKey"]: item["OutputValue"] for item in described.get("Outputs", [])}


def stop_executions(state_machine_arn: str) -> Iterator[str]:
    """Stop what runs, so that nothing is created behind our back."""
    states = boto3.client("stepfunctions")
    pages = states.get_paginator("list_executions").paginate(stateMachineArn=state_machine_arn, statusFilter="RUNNING")
    for execution in [item for page in pages for item in page["executions"]]:
        states.stop_execution(executionArn=execution["executionArn"], cause="the stack is being deleted")
        yield f"execution {execution['name']}"


def delete_endpoint(name: str) -> Iterator[str]:
    """Delete the endpoint and wait until it is gone."""
    sagemaker = boto3.client("sagemaker")
    if not _exists(sagemaker, name):
        return
    deadline = time.monotonic() + WAIT_SECONDS
    _when_idle(sagemaker, name, deadline)
    yield f"endpoint {name}"
    while _exists(sagemaker, name):
        if time.monotonic() > deadline:
            raise DeletionError(f"endpoint {name} is still there after {WAIT_SECONDS} s, and costs money: look at it")
        time.sleep(POLL_SECONDS)


def _when_idle(sagemaker: Any, name: str, deadline: float) -> None:
    """An endpoint that is being created or updated refuses to be deleted."""
    while True:
        try:
            sagemaker.delete_endpoint(EndpointName=name)
        except ClientError as error:
            if "in-progress" not in error.response["Error"]["Message"] or time.monotonic() > deadline:
                raise DeletionError(f"endpoint {name} is not deleted: {error.response['Error']['Message']}") from error
            time.sleep(POLL_SECONDS)
        else:
            return


def _exists(sagemaker: Any, name: str) -> bool:
    pages = sagemaker.get_paginator("list_endpoints").paginate(NameContains=name)
    return any(item["EndpointName"] == name for page in pages for item in page["Endpoints"])


def delete_of_runs(stack: str) -> Iterator[str]:
    """Delete endpoint configurations and models that are named after a run of this stack, and no others."""
    sagemaker = boto3.client("sagemaker")
    for kind, listed in (("endpoint_config", "EndpointConfigs"), ("model", "Models")):
        key = "EndpointConfigName" if kind == "endpoint_config" else "ModelName"
        pages = sagemaker.get_paginator(f"list_{kind}s").paginate(NameContains=f"{stack}-")  # type: ignore[call-overload]
        for name in [item[key] for page in pages for item in page[listed]]:
            if naming.run_of(stack, name):
                getattr(sagemaker, f"delete_{kind}")(**{key: name})
                yield f"{kind.replace('_', ' ')} {name}"


def delete_parameters(prefix: str) -> Iterator[str]:
    """Delete everything below the stack's prefix in Parameter Store."""
    ssm = boto3.client("ssm")
    pages = ssm.get_paginator("get_parameters_by_path").paginate(Path=prefix, Recursive=True)
    for name in [item["Name"] for page in pages for item in page["Parameters"]]:
        ssm.delete_parameter(Name=name)
        yield f"parameter {name}"


def delete_stack(stack: str) -> Iterator[str]:
    """Delete the stack and wait until CloudFormation has done it."""
    cloudformation = boto3.client("cloudformation")
    cloudformation.delete_stack(StackName=stack)
    try:
        cloudformation.get_waiter("stack_delete_complete").wait(
            StackName=stack, WaiterConfig={"Delay": int(POLL_SECONDS), "MaxAttempts": int(WAIT_SECONDS / POLL_SECONDS)}
        )
    except Exception as error:
        raise DeletionError(f"stack {stack} is not deleted: {error}; see its events in CloudFormation") from error
    yield f"stack {stack}"


def everything(stack: str, found: dict[str, str]) -> Iterator[str]:
    """Delete in the order in which nothing is left that could create something again."""
    yield from stop_executions(found["StateMachineArn"])
    yield from delete_endpoint(found["EndpointName"])
    yield from delete_of_runs(stack)
    yield from delete_parameters(found["ParameterPrefix"])
    yield from delete_stack(stack)


def _confirmed(stack: str) -> bool:
    """Ask the person at the terminal. Raises DeletionError where there is none."""
    if not sys.stdin.isatty():
        raise DeletionError(
            f"nothing was deleted: there is no terminal to ask for the stack's name. To delete {stack} all the same: "
            f"make delete STACK={stack} YES=1, or --yes"
        )
    try:
        return input(f"Delete {stack} and what serves with it? Type its name: ") == stack
    except EOFError:  # Ctrl-D
        return False


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.delete_stack", description=__doc__.partition("\n")[0])
    parser.add_argument("stack", help="name of the stack")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    arguments = parser.parse_args(argv)
    try:
        found = outputs(arguments.stack)
        if not arguments.yes and not _confirmed(arguments.stack):
            print("nothing was deleted")
            return 1
        for deleted in everything(arguments.stack, found):
            print(f"deleted {deleted}", flush=True)
    except (DeletionError, ClientError, BotoCoreError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"kept: bucket {found['BucketName']}, table {found['RunTableName']} and the key that encrypts them")
    return 0


if __name__ == "__main__":
    sys.exit(main())
