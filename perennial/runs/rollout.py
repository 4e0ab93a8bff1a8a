"""How a new model takes over traffic: UpdateEndpoint's DeploymentConfig.

Source: Amazon SageMaker API Reference, DeploymentConfig; Developer Guide, "Deployment guardrails for updating models
in production". A canary or a linear step is at most half of the new fleet, so that one instance takes over at once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

TrafficShift = Literal["canary", "linear", "all-at-once"]
STEPS = 4  # of a linear shift, where there are so many instances; a canary is the first of them
_START_SECONDS = 3600  # of the new fleet, which the limit counts too


def deployment_config(
    shift: TrafficShift, baking_seconds: int, instances: int, alarms: Collection[str]
) -> dict[str, Any] | None:
    """Return the DeploymentConfig of a fleet of so many instances; None where nothing is watched.

    baking_seconds  how long alarms are watched after each step; with 0 the model takes over at once, and unwatched
    alarms          the names of those that take the update back
    """
    if baking_seconds == 0:
        return None
    routing, steps = _routing(shift, instances)
    waits = steps * baking_seconds
    config: dict[str, Any] = {
        "BlueGreenUpdatePolicy": {
            "TrafficRoutingConfiguration": {**routing, "WaitIntervalInSeconds": baking_seconds},
            "TerminationWaitInSeconds": baking_seconds,
            "MaximumExecutionTimeoutInSeconds": waits + _START_SECONDS,
        }
    }
    if alarms:  # an empty list is refused
        config["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": name} for name in alarms]}
    return config


def _routing(shift: TrafficShift, instances: int) -> tuple[dict[str, Any], int]:
    """Return the routing, and in how many steps all traffic has moved."""
    if shift == "all-at-once" or instances < 2:
        return {"Type": "ALL_AT_ONCE"}, 1
    size = -(-instances // STEPS)
    if shift == "canary":  # with a fifth of the traffic or less, an alarm of the share of failures would not ring
        return {"Type": "CANARY", "CanarySize": {"Type": "INSTANCE_COUNT", "Value": size}}, 2
    steps = -(-instances // size)
    return {"Type": "LINEAR", "LinearStepSize": {"Type": "INSTANCE_COUNT", "Value": size}}, steps


def spoken(rollout: Mapping[str, Any]) -> str:
    """Return how a model has taken over, or was to: `config` and `left_out` of a record's `rollout`."""
    config = rollout["config"]
    routing = config["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    seconds = config["BlueGreenUpdatePolicy"]["TerminationWaitInSeconds"]
    size = (routing.get("CanarySize") or routing.get("LinearStepSize") or {}).get("Value")
    how = {
        "CANARY": f"{size} instance{'s' if size != 1 else ''} first, then all",
        "LINEAR": f"{size} instances at a time",
        "ALL_AT_ONCE": "at once",
    }[routing["Type"]]
    alarms = [alarm["AlarmName"] for alarm in config.get("AutoRollbackConfiguration", {}).get("Alarms", [])]
    watched = f"watched for {seconds} s by {', '.join(alarms) or 'no alarm'}"
    rang = f"; {', '.join(rollout['left_out'])} rang before, and did not watch it" if rollout["left_out"] else ""
    return f"{how}, {watched}{rang}"
