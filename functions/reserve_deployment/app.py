"""Let one run at a time deploy, and newer data before older.

Called by  train_model, state "Reserve deployment", again and again while it answers "Wait".
Writes     the item `deployment` of the run table: who has the turn. It is free again when its execution has ended, and
           while that waits for an approval (functions/request_approval).
           The run's record, when the model in service has changed.
Deletes    the model and the configuration of a version that is only deployed, where they are otherwise than they would
           be made now (perennial_aws.made_before); the flow makes them.
Raises     VersionRejectedError: the version was rejected after it had been approved. Permanent.

After "Compare" the run keeps its turn, so that the model in service cannot change a second time.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from perennial.registry import approval
from perennial.runs import run_record, turn, work
from perennial_aws import champion, made_before, model_versions, payloads, runs

logger = Logger()


@dataclass(frozen=True)
class Request:
    """A run that wants to deploy, and the model in service that its candidate was compared with.

    DeploymentId   under which the turn is taken where the version of an earlier run is only deployed
    Version        the ARN of its version, once it is registered
    Model          the request that makes its model, where it is only deployed
    Configuration  the same of its endpoint configuration
    """

    RunId: str
    ExecutionArn: str
    Champion: run_record.Champion | None
    DeploymentId: str | None = None
    Version: str | None = None
    Model: dict[str, Any] | None = None
    Configuration: dict[str, Any] | None = None


@dataclass(frozen=True)
class Answer:
    """What the run does now, and the model in service as far as the run knows it now.

    There  of a version that it deploys: {"Model", "Configuration"}, whether they are there or have to be made
    """

    Turn: turn.Turn
    Reason: str
    Champion: run_record.Champion | None
    There: dict[str, bool] | None = None


class VersionRejectedError(Exception):
    """The registry does not approve the version that is about to be deployed, whoever has let the run go on."""


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Take the turn, or answer who has it; then decide."""
    request = payloads.read(Request, event)
    run_id, serving = request.RunId, request.Champion
    _require_approved(request.Version)
    holder = _take_turn(request.DeploymentId or run_id, request.ExecutionArn)
    if holder:
        decision = turn.wait_for(holder)
    elif request.DeploymentId:
        serving, newest = champion.current(), model_versions.newest_approved()
        stays = _listed(champion.run_of(serving)) if serving and _is_approved() else None
        decision = turn.of_version(request.Version, newest["arn"] if newest else None, _listed(run_id), stays)
        runs.update(request.DeploymentId, champion=serving)
    else:
        serving = champion.current()
        served = _listed(champion.run_of(serving)) if serving else None
        decision = turn.decide(_listed(run_id), request.Champion, serving, served)
        if serving != request.Champion:
            runs.update(run_id, champion=serving)
    logger.info("decided", run_id=run_id, turn=decision.turn, reason=decision.reason)
    there = _there(request, serving) if decision.turn == "Deploy" else None
    return asdict(Answer(decision.turn, decision.reason, serving, there))


def _there(request: Request, serving: run_record.Champion | None) -> dict[str, bool] | None:
    """Return what is there of a version that is deployed; what serves is left as it is."""
    if request.Model is None or request.Configuration is None:
        return None
    if serving and serving["ModelName"] == request.Model["ModelName"]:
        return {"Model": True, "Configuration": True}
    return made_before.keep_or_delete(request.Model, request.Configuration)


def _is_approved() -> bool:
    """Return whether the registry approves the version in service; where it does not, that is gone back from."""
    described = model_versions.in_service()
    return bool(described and described["ModelApprovalStatus"] == approval.APPROVED)


def _require_approved(version_arn: str | None) -> None:
    """Raise VersionRejectedError unless the registry approves a version: a token alone lets nothing serve."""
    described = model_versions.described(version_arn) if version_arn else None
    if version_arn is None or (described and described["ModelApprovalStatus"] == approval.APPROVED):
        return
    number = version_arn.rpartition("/")[2]
    if described is None:
        raise VersionRejectedError(f"version {number} was deleted from the model registry")
    if described["ModelApprovalStatus"] == approval.REJECTED:
        raise VersionRejectedError(f"version {number}: {approval.rejected(described.get('ApprovalDescription'))}")
    raise VersionRejectedError(
        f"version {number} is {described['ModelApprovalStatus']} in the model registry; expected {approval.APPROVED}"
    )


def _take_turn(run_id: str, execution_arn: str) -> work.Holder | None:
    """Take the turn and return None, or return the run that has it."""
    held = runs.turn()
    holder = work.Holder(held["run_id"], runs.status_of_holder(held)) if held else None
    if not (turn.is_free(holder, run_id) or (held or {}).get("given_back")):
        return holder
    if runs.take_turn(run_id, execution_arn, holder.run_id if holder else None):
        return None
    taken = runs.turn() or {"run_id": "unknown"}  # another run was faster
    return None if taken["run_id"] == run_id else work.Holder(taken["run_id"], work.RUNNING)


def _listed(run_id: str) -> turn.Listed:
    data = (runs.get(run_id) or {}).get("data") or {}
    return turn.Listed(run_id, data.get("listed_at") or "")
