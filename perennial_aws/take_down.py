"""Stop the runs of a stack and delete what they made: endpoint, its configurations, models, their versions, names."""

from __future__ import annotations

import re
import time
from contextlib import suppress

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError

from perennial.runs import endpoint, naming
from perennial_aws import autoscaling, model_versions, runs
from perennial_aws.clients import client, if_there
from perennial_aws.settings import settings

logger = Logger(child=True)

NAMES = (
    "model", "endpoint", "endpoint-config", "data-quality-baseline", "model-quality-baseline", "attribution-baseline",
    "bias-baseline", "model-package", "run",
)  # fmt: skip
POLL_SECONDS = 2.0
BUSY = re.compile(r'Cannot update (in-progress )?endpoint "')  # as the flow takes it


def take_down(state_machine_arn: str) -> None:
    """Stop runs, and delete the endpoint, configurations, models, versions and names of the stack, in this order.

    Runs first, which could create something again. It waits for the endpoint, whose role ends with the stack.

    SageMaker, DeleteEndpoint: without the permissions of its role, its resources cannot be deleted.
    """
    stack = settings.stack_name
    _stop_runs(state_machine_arn)
    autoscaling.deregister()
    _delete_endpoint(settings.endpoint_name)
    for run in runs.with_config(stack):
        if_there(client("sagemaker").delete_endpoint_config, EndpointConfigName=naming.stem(stack, run))
    for run in runs.with_model(stack):
        if_there(client("sagemaker").delete_model, ModelName=naming.stem(stack, run))
    model_versions.delete_all()
    client("ssm").delete_parameters(Names=[f"{settings.parameter_prefix}/{name}" for name in NAMES])
    logger.info("taken down", stack=stack)


def _stop_runs(state_machine_arn: str) -> None:
    states = client("stepfunctions")
    pages = states.get_paginator("list_executions").paginate(stateMachineArn=state_machine_arn, statusFilter="RUNNING")
    with suppress(states.exceptions.StateMachineDoesNotExist):
        for execution in [item for page in pages for item in page["executions"]]:
            states.stop_execution(executionArn=execution["executionArn"], cause="the stack is being deleted")


def _delete_endpoint(name: str) -> None:
    """Delete the endpoint as soon as its status allows it, and wait until it does not exist any more."""
    while description := if_there(client("sagemaker").describe_endpoint, EndpointName=name):
        if description["EndpointStatus"] not in endpoint.UNCHANGEABLE:
            try:
                if_there(client("sagemaker").delete_endpoint, EndpointName=name)
            except ClientError as error:
                if not BUSY.search(str(error)):
                    raise
        time.sleep(POLL_SECONDS)
