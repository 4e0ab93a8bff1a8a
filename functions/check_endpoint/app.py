"""Say what the endpoint needs: before a deployment, and while one is under way.

Called by  train_model, states "Check endpoint" (Phase "Before"), "Check deployment" ("After") and "Check what serves"
           ("Back").
Input      {"EndpointName": str, "WantedConfigName": str, "Phase": "Before" | "After" | "Back"}; "Before" also "RunId":
           str, whose model is about to serve; "Before" and "Back" also "Champion": {"ModelName", "EndpointConfigName",
           "RunId"} | None, with which it was compared and which comes back
Output     {"Action": "Create" | "Update" | "Wait" | "Recreate" | "Done" | "RolledBack" | "Failed", "Status": str,
           "ServingConfigName": str | None, "Reason": str}
Raises     ArtifactChangedError: what is about to serve is not what its jobs have written. Permanent.

Only SageMaker's own "Could not find endpoint" counts as absent: any other error is raised.
"""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from perennial.runs import endpoint
from perennial_aws import artifacts
from perennial_aws.clients import client, if_there

logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Describe the endpoint and decide; look whether what may serve next is untouched."""
    phase, champion = event["Phase"], event.get("Champion")
    description = if_there(client("sagemaker").describe_endpoint, EndpointName=event["EndpointName"])
    previous = champion["EndpointConfigName"] if champion else None
    decision = endpoint.decide(description, event["WantedConfigName"], phase, previous)
    if "RunId" in event:
        artifacts.require_sealed(event["RunId"])
    if phase == "Before" or decision.action == "Update":
        artifacts.require_sealed_champion(champion)
    logger.info("decided", endpoint=event["EndpointName"], action=decision.action, status=decision.status)
    return {
        "Action": decision.action,
        "Status": decision.status,
        "ServingConfigName": decision.serving_config,
        "Reason": decision.reason,
    }
