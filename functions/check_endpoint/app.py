"""Decide what the endpoint needs: before a deployment, and while one is under way.

Called by  train_model, states "Check endpoint" (Phase "Before"), "Check deployment" ("After") and "Check what serves"
           ("Back").
Writes     the run record: how the update takes over
Raises     ArtifactChangedError: what is about to serve is not what its jobs have written. Permanent.

Before an update it says how traffic moves to the new model, and which alarms take that back. One that rings already
would take back any update, also the one that is to mend what it rings for: it is left out, and the record says so.
SageMaker refuses to change the machine type of what scales, and may refuse to delete it: it scales no more until it is
in service again.

Only SageMaker's own "Could not find endpoint" counts as absent: any other error is raised.
An endpoint that changes is looked at for a second, so that a change that is over sooner is waited for no longer.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from perennial.runs import endpoint, rollout, run_record
from perennial.serving import scaling
from perennial_aws import artifacts, autoscaling, payloads, runs
from perennial_aws.clients import client, if_there
from perennial_aws.settings import settings

PAUSES_SECONDS = (0.05, 0.05, 0.1, 0.1, 0.2, 0.25, 0.25)
logger = Logger()


@dataclass(frozen=True)
class Request:
    """What the endpoint is to serve.

    Phase     Before: nothing has been asked of the endpoint yet; After: it has; Back: the champion is to serve again
    RunId     the run whose model is about to serve; with the phase Before
    DeploymentId  under which it is told where the version of an earlier run is only deployed
    Champion  with which the candidate was compared, and which comes back; not with the phase After
    """

    EndpointName: str
    WantedConfigName: str
    Phase: endpoint.Phase
    RunId: str | None = None
    DeploymentId: str | None = None
    Champion: run_record.Champion | None = None


@dataclass(frozen=True)
class Answer:
    """What to do next, and why.

    DeploymentConfig  how an update takes over traffic; None: at once, and nothing is watched
    LeftOut           alarms that do not watch it: they have rung before it, so that they say nothing about it
    """

    Action: endpoint.Action
    Status: str
    ServingConfigName: str | None
    Reason: str
    DeploymentConfig: dict[str, Any] | None = None
    LeftOut: list[str] = field(default_factory=list)


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Describe the endpoint and decide; check that the artefacts that may serve next are unchanged."""
    request = payloads.read(Request, event)
    description, decision = _look(request)
    for pause in PAUSES_SECONDS:
        if decision.action != "Wait":
            break
        time.sleep(pause)
        description, decision = _look(request)
    if request.RunId:
        artifacts.require_sealed(request.RunId)
    if request.Phase == "Before" or decision.action == "Update":
        artifacts.require_sealed_champion(request.Champion)
    logger.info("decided", endpoint=request.EndpointName, action=decision.action, status=decision.status)
    begins = request.Phase == "Before" and decision.action == "Update"
    if scaling.read(settings.scaling) and (
        decision.action == "Recreate" or (begins and _changes_machines(request, decision.serving_config))
    ):
        autoscaling.deregister()
    config, left_out = _rollout(request, description or {}) if begins else (None, [])
    return asdict(Answer(decision.action, decision.status, decision.serving_config, decision.reason, config, left_out))


def _changes_machines(request: Request, serving: str | None) -> bool:
    """Return whether the update is to another machine type."""
    wanted = _machines(request.WantedConfigName)
    return wanted is not None and wanted != _machines(serving or "")


def _machines(config: str) -> list[str] | None:
    """Return the machine types of a configuration; None where it is gone, which may be one that serves."""
    described = if_there(client("sagemaker").describe_endpoint_config, EndpointConfigName=config)
    return [variant["InstanceType"] for variant in described["ProductionVariants"]] if described else None


def _rollout(request: Request, description: dict[str, Any]) -> tuple[dict[str, Any] | None, list[str]]:
    """Return how the update is to take over, and which alarms cannot watch it; the run's record has both."""
    if settings.baking_seconds == 0:
        return None, []
    described = client("cloudwatch").describe_alarms(AlarmNames=settings.rollback_alarms)["MetricAlarms"]
    ringing = [alarm["AlarmName"] for alarm in described if alarm["StateValue"] == "ALARM"]
    watching = [alarm["AlarmName"] for alarm in described if alarm["StateValue"] != "ALARM"]
    variants = description.get("ProductionVariants", [])
    instances = min((variant["DesiredInstanceCount"] for variant in variants), default=1)
    config = rollout.deployment_config(settings.traffic_shift, settings.baking_seconds, instances, watching)
    if request.RunId:
        runs.update(request.DeploymentId or request.RunId, rollout={"config": config, "left_out": ringing})
    return config, ringing


def _look(request: Request) -> tuple[dict[str, Any] | None, endpoint.Step]:
    """Return what the endpoint is, None where there is none, and what to do next."""
    description = if_there(client("sagemaker").describe_endpoint, EndpointName=request.EndpointName)
    previous = request.Champion["EndpointConfigName"] if request.Champion else None
    return description, endpoint.decide(description, request.WantedConfigName, request.Phase, previous)
