"""Say what the endpoint needs: before a deployment, and while one is under way.

Called by  train_model, states "Check endpoint" (Phase "Before") and "Check deployment" (Phase "After").
Input      {"EndpointName": str, "WantedConfigName": str, "Phase": "Before" | "After"}
Output     {"Action": "Create" | "Update" | "Wait" | "Recreate" | "Done" | "RolledBack" | "Failed", "Status": str,
           "ServingConfigName": str | None, "Reason": str}

Only SageMaker's own "Could not find endpoint" counts as absent: any other error is raised.
"""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError
from perennial_aws.clients import client, is_missing

from perennial import endpoint

logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Describe the endpoint and decide."""
    decision = endpoint.decide(_describe(event["EndpointName"]), event["WantedConfigName"], event["Phase"])
    logger.info("decided", endpoint=event["EndpointName"], action=decision.action, status=decision.status)
    return {
        "Action": decision.action,
        "Status": decision.status,
        "ServingConfigName": decision.serving_config,
        "Reason": decision.reason,
    }


def _describe(name: str) -> dict[str, Any] | None:
    try:
        return dict(client("sagemaker").describe_endpoint(EndpointName=name))
    except ClientError as error:
        if is_missing(error):
            return None
        raise
