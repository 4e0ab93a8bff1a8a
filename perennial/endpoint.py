"""What an endpoint needs next, from what DescribeEndpoint says about it.

Source: Amazon SageMaker API Reference, DescribeEndpoint, EndpointStatus; Developer Guide, "Deployment guardrails". An
update that was rolled back ends InService again, with the previous configuration: the status alone proves nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Phase = Literal["Before", "After"]
Action = Literal["Create", "Update", "Wait", "Recreate", "Done", "RolledBack", "Failed"]

BUSY = ("Creating", "Updating", "SystemUpdating", "RollingBack")
UNCHANGEABLE = (*BUSY, "Deleting")
"""While it is in one of these it can be neither updated nor deleted."""
GONE = "NotFound"


@dataclass(frozen=True)
class Decision:
    """What to do, and what was seen. `serving_config` is None when nothing serves."""

    action: Action
    status: str
    serving_config: str | None
    reason: str


def decide(description: Mapping[str, Any] | None, wanted_config: str, phase: Phase) -> Decision:
    """Decide the next step of a deployment; None is an endpoint that does not exist.

    Before the deployment: Create, Update, Wait, Recreate (delete the failed one first), Done or Failed.
    After it was asked for: Wait, Done, RolledBack or Failed.
    """
    status = GONE if description is None else str(description["EndpointStatus"])
    serving = None if description is None else description.get("EndpointConfigName")
    action, reason = (_before if phase == "Before" else _after)(status, serving, wanted_config, description or {})
    return Decision(action, status, serving, reason)


def _before(status: str, serving: str | None, wanted: str, _: Mapping[str, Any]) -> tuple[Action, str]:
    if status == GONE:
        return "Create", "there is no endpoint yet"
    if status in UNCHANGEABLE:
        return "Wait", f"the endpoint is {status}; it takes no update now"
    if status == "InService" and serving == wanted:
        return "Done", f"{wanted} already serves"
    if status in ("InService", "UpdateRollbackFailed"):
        return "Update", f"{serving} serves ({status})"
    if status in ("Failed", "OutOfService"):
        return "Recreate", f"the endpoint is {status}: it serves nobody, and all it takes is its deletion"
    return "Failed", f"the endpoint has a status that is not known here: {status}"


def _after(status: str, serving: str | None, wanted: str, description: Mapping[str, Any]) -> tuple[Action, str]:
    why = f": {description['FailureReason']}" if description.get("FailureReason") else ""
    if status in BUSY or (status == "InService" and description.get("PendingDeploymentSummary")):
        return "Wait", f"the endpoint is {status}"
    if status == "InService" and serving == wanted:
        return "Done", f"{wanted} serves"
    if status == "InService":
        return "RolledBack", f"the update was not made or was rolled back, and {serving} serves{why}"
    if status in (GONE, "Deleting"):
        return "Failed", "the endpoint was deleted during its deployment"
    return "Failed", f"the endpoint is {status}{why}"
