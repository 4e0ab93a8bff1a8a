"""Stop the runs of a stack and delete what they made: endpoint, endpoint configurations, models, exported names."""

from __future__ import annotations

import os
import time
from contextlib import suppress

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from perennial import naming
from perennial_aws.clients import client, is_missing

logger = Logger(child=True)

NAMES = ("model", "endpoint", "endpoint-config", "data-quality-baseline", "model-quality-baseline", "run")
# SageMaker, DescribeEndpoint: while it is in one of these it can be neither updated nor deleted.
BUSY = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
POLL_SECONDS = 2.0


def take_down(state_machine_arn: str) -> None:
    """Stop first what could create something again; the endpoint is waited for, whose role ends with the stack.

    SageMaker, DeleteEndpoint: without the permissions of its role, its resources cannot be deleted.
    """
    stack = os.environ["STACK_NAME"]
    _stop_runs(state_machine_arn)
    _delete_endpoint(os.environ["ENDPOINT_NAME"])
    for kind, listed, member in (
        ("endpoint_config", "EndpointConfigs", "EndpointConfigName"),
        ("model", "Models", "ModelName"),
    ):
        _delete_of_runs(stack, kind, listed, member)
    client("ssm").delete_parameters(Names=[f"{os.environ['PARAMETER_PREFIX']}/{name}" for name in NAMES])
    logger.info("taken down", stack=stack)


def _stop_runs(state_machine_arn: str) -> None:
    states = client("stepfunctions")
    pages = states.get_paginator("list_executions").paginate(stateMachineArn=state_machine_arn, statusFilter="RUNNING")
    with suppress(states.exceptions.StateMachineDoesNotExist):
        for execution in [item for page in pages for item in page["executions"]]:
            states.stop_execution(executionArn=execution["executionArn"], cause="the stack is being deleted")


def _delete_endpoint(name: str) -> None:
    """Delete it once it lets itself be deleted, and wait until it is gone."""
    while status := _status(name):
        if status not in BUSY:
            client("sagemaker").delete_endpoint(EndpointName=name)
        time.sleep(POLL_SECONDS)


def _status(endpoint: str) -> str | None:
    try:
        return str(client("sagemaker").describe_endpoint(EndpointName=endpoint)["EndpointStatus"])
    except ClientError as error:
        if is_missing(error):
            return None
        raise


def _delete_of_runs(stack: str, kind: str, listed: str, member: str) -> None:
    """Delete what is named after a run of this stack, and nothing of a stack whose name begins alike."""
    sagemaker = client("sagemaker")
    pages = sagemaker.get_paginator(f"list_{kind}s").paginate(NameContains=f"{stack}-")
    for name in [item[member] for page in pages for item in page[listed]]:
        if naming.run_of(stack, name):
            getattr(sagemaker, f"delete_{kind}")(**{member: name})
