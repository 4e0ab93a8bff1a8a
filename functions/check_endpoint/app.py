"""Decide what the endpoint needs: before a deployment, and while one is under way.

Called by  train_model, states "Check endpoint" (Phase "Before"), "Check deployment" ("After") and "Check what serves"
           ("Back").
Raises     ArtifactChangedError: what is about to serve is not what its jobs have written. Permanent.

Only SageMaker's own "Could not find endpoint" counts as absent: any other error is raised.
An endpoint that changes is looked at for a second, so that a change that is over sooner is waited for no longer.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from perennial.runs import endpoint, run_record
from perennial_aws import artifacts, payloads
from perennial_aws.clients import client, if_there

PAUSES_SECONDS = (0.05, 0.05, 0.1, 0.1, 0.2, 0.25, 0.25)
logger = Logger()


@dataclass(frozen=True)
class Request:
    """What the endpoint is to serve.

    Phase     Before: nothing has been asked of the endpoint yet; After: it has; Back: the champion is to serve again
    RunId     the run whose model is about to serve; with the phase Before
    Champion  with which the candidate was compared, and which comes back; not with the phase After
    """

    EndpointName: str
    WantedConfigName: str
    Phase: endpoint.Phase
    RunId: str | None = None
    Champion: run_record.Champion | None = None


@dataclass(frozen=True)
class Answer:
    """What to do next, and why."""

    Action: endpoint.Action
    Status: str
    ServingConfigName: str | None
    Reason: str


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Describe the endpoint and decide; check that the artefacts that may serve next are unchanged."""
    request = payloads.read(Request, event)
    decision = _decide(request)
    for pause in PAUSES_SECONDS:
        if decision.action != "Wait":
            break
        time.sleep(pause)
        decision = _decide(request)
    if request.RunId:
        artifacts.require_sealed(request.RunId)
    if request.Phase == "Before" or decision.action == "Update":
        artifacts.require_sealed_champion(request.Champion)
    logger.info("decided", endpoint=request.EndpointName, action=decision.action, status=decision.status)
    return asdict(Answer(decision.action, decision.status, decision.serving_config, decision.reason))


def _decide(request: Request) -> endpoint.Step:
    description = if_there(client("sagemaker").describe_endpoint, EndpointName=request.EndpointName)
    previous = request.Champion["EndpointConfigName"] if request.Champion else None
    return endpoint.decide(description, request.WantedConfigName, request.Phase, previous)
