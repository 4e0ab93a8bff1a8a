"""What an endpoint needs next, from what DescribeEndpoint says about it.

Source: Amazon SageMaker API Reference, DescribeEndpoint, EndpointStatus; Developer Guide, "Deployment guardrails". An
update that was rolled back ends InService again, with the previous configuration: the status alone proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from perennial.runs.run_id import RUN_ID

Phase = Literal["Before", "After", "Back"]
Action = Literal["Create", "Update", "Wait", "Recreate", "Done", "RolledBack", "Failed"]
Due = Literal["Nothing", "Create", "Delete", "Recreate", "LookAgain", "Tell"]

BUSY = ("Creating", "Updating", "SystemUpdating", "RollingBack")
UNCHANGEABLE = (*BUSY, "Deleting")
"""While it is in one of these it can be neither updated nor deleted."""
FAILED = ("Failed", "OutOfService")
"""It serves nobody, and all it takes is its deletion."""
NOT_FOUND = "NotFound"
# How the inference ids of our own questions begin: a run's, a monitor's, and those that explain an answer of the model
# that a run has made. They go on with the id of the run or window, and a number.
VERIFICATION, PROBE, EXPLANATION = "verify-", "probe-", "explain-"
_OWN = re.compile(rf"({VERIFICATION}|{PROBE}|{EXPLANATION}){RUN_ID.pattern}-\d+")


@dataclass(frozen=True)
class Step:
    """What a deployment does next, and the status of the endpoint. `serving_config` is None when nothing serves."""

    action: Action
    status: str
    serving_config: str | None
    reason: str


def own_question(inference_id: str) -> str:
    """Return how the inference id of one of our own questions begins; nothing for traffic, however its ids begin."""
    match = _OWN.fullmatch(inference_id)
    return match[1] if match else ""


def serves(description: Mapping[str, Any], config: str) -> bool:
    """Return whether a configuration answers, and no other comes. Scaling and maintenance change only the status."""
    coming = description.get("PendingDeploymentSummary", {}).get("EndpointConfigName", config)
    is_up = description["EndpointStatus"] in ("InService", *BUSY)
    return is_up and (description["EndpointConfigName"], coming) == (config, config)


def decide(
    description: Mapping[str, Any] | None, wanted_config: str, phase: Phase, previous_config: str | None = None
) -> Step:
    """Decide the next step of a deployment; None is an endpoint that does not exist.

    Before the deployment: Create, Update, Wait, Recreate (delete the failed one first), Done or Failed.
    After it was asked for: Wait, Done, RolledBack or Failed.
    Back to the previous configuration, if there is one, from the wanted one: Update, Wait, Done or Failed.
    """
    status = NOT_FOUND if description is None else str(description["EndpointStatus"])
    serving, known = None if description is None else description.get("EndpointConfigName"), description or {}
    if phase == "Back":
        action, reason = _back(status, serving, wanted_config, previous_config, known)
    else:
        action, reason = (_before if phase == "Before" else _after)(status, serving, wanted_config, known)
    return Step(action, status, serving, reason)


def _before(status: str, serving: str | None, wanted: str, _: Mapping[str, Any]) -> tuple[Action, str]:
    if status == NOT_FOUND:
        return "Create", "there is no endpoint yet"
    if status in UNCHANGEABLE:
        return "Wait", f"the endpoint is {status}; it takes no update now"
    if status == "InService" and serving == wanted:
        return "Done", f"{wanted} already serves"
    if status in ("InService", "UpdateRollbackFailed"):
        return "Update", f"{serving} serves ({status})"
    if status in FAILED:
        return "Recreate", f"the endpoint is {status}: it serves nobody, and all it takes is its deletion"
    return "Failed", f"the endpoint has a status that is not known here: {status}"


def _after(status: str, serving: str | None, wanted: str, description: Mapping[str, Any]) -> tuple[Action, str]:
    why = f": {description['FailureReason']}" if description.get("FailureReason") else ""
    if _is_busy(status, description):
        return "Wait", f"the endpoint is {status}"
    if status == "InService" and serving == wanted:
        return "Done", f"{wanted} serves"
    if status == "InService":
        return "RolledBack", f"the update was not made or was rolled back, and {serving} serves{why}"
    if status in (NOT_FOUND, "Deleting"):
        return "Failed", "the endpoint was deleted during its deployment"
    return "Failed", f"the endpoint is {status}{why}"


def _back(
    status: str, serving: str | None, wanted: str, previous: str | None, description: Mapping[str, Any]
) -> tuple[Action, str]:
    """Leave in service what somebody else has put into service."""
    why = f" ({description['FailureReason']})" if description.get("FailureReason") else ""
    if status in (NOT_FOUND, "Deleting"):
        return "Failed", "The endpoint was deleted"
    if previous is None:
        return "Failed", f"The endpoint is {status}, and there is no model to go back to"
    if _is_busy(status, description):
        return "Wait", f"The endpoint is {status}"
    if serving == wanted and status in ("InService", "UpdateRollbackFailed"):
        return "Update", f"The endpoint serves {wanted}{why}"
    if status != "InService":
        return "Failed", f"The endpoint is {status}{why}"
    if serving == previous:
        return "Done", f"The endpoint serves {previous} again"
    return "Failed", f"The endpoint serves {serving}, which somebody else has deployed and which is left in service"


def due(status: str | None, *, awake: bool, may_wake: bool, has_failed: bool) -> Due:
    """Return what is due of an endpoint of a status, None where there is none.

    awake       whether it is to be there now
    may_wake    whether what has happened makes it, where it is not there
    has_failed  whether what has happened is that it failed: to make it again at once might fail for ever

    What changes is left alone: that it is over is an event of its own. Recreate: delete it, and look again.
    """
    if status in BUSY or (status == "Deleting" and not (awake and may_wake)):
        return "Nothing"
    if not awake:
        return "Nothing" if status is None else "Delete"
    if has_failed:
        return "Tell" if status in FAILED else "Nothing"
    if not may_wake:
        return "Nothing"
    if status == "Deleting":
        return "LookAgain"
    return "Create" if status is None else "Recreate" if status in FAILED else "Nothing"


def _is_busy(status: str, description: Mapping[str, Any]) -> bool:
    return status in BUSY or (status == "InService" and "PendingDeploymentSummary" in description)
