"""Say what the endpoint needs: before a deployment, and while one is under way.

Called by  train_model, states "Check endpoint" (Phase "Before"), "Check deployment", "Check what serves" and "Check
           restoration" (Phase "After").
Input      {"EndpointName": str, "WantedConfigName": str, "Phase": "Before" | "After"}; "Before" also "RunId": str,
           whose model is about to serve; "Before", and before a restoration, "Champion": {"ModelName", "RunId", ...} |
           None, with which it was compared
Output     {"Action": "Create" | "Update" | "Wait" | "Recreate" | "Done" | "RolledBack" | "Failed", "Status": str,
           "ServingConfigName": str | None, "Reason": str}
Raises     ArtifactChangedError: what is about to serve is not what its jobs have written. Permanent.

Only SageMaker's own "Could not find endpoint" counts as absent: any other error is raised.
"""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext
from perennial_aws import artifacts
from perennial_aws.clients import client, if_there

from perennial import endpoint

logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Describe the endpoint and decide; first look whether what may serve next is untouched."""
    if "RunId" in event:
        artifacts.require_sealed(event["RunId"])
    artifacts.require_sealed_champion(event.get("Champion"))
    description = if_there(client("sagemaker").describe_endpoint, EndpointName=event["EndpointName"])
    decision = endpoint.decide(description, event["WantedConfigName"], event["Phase"])
    logger.info("decided", endpoint=event["EndpointName"], action=decision.action, status=decision.status)
    return {
        "Action": decision.action,
        "Status": decision.status,
        "ServingConfigName": decision.serving_config,
        "Reason": decision.reason,
    }
