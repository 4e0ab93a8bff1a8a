"""Let one run at a time deploy, and newer data before older.

Called by  train_model, state "Reserve deployment", again and again while it answers "Wait".
Input      {"RunId": str, "ExecutionArn": str, "Champion": {"ModelName", "EndpointConfigName", "RunId"} | None}: the
           model in service that the candidate was compared with
Output     {"Turn": "Deploy" | "Wait" | "Compare" | "Superseded", "Reason": str, "Champion": the model in service now}
Writes     the item `deployment` of the run table: who has the turn. It is free again when its execution has ended.
           The run's record, when the model in service has changed.

After "Compare" the run keeps its turn, so that the model in service cannot change a second time.
"""

from __future__ import annotations

import os
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.typing import LambdaContext

from perennial.runs import naming, turn, work
from perennial_aws import champion, runs

logger = Logger()


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Take the turn, or say who has it; then decide."""
    run_id, serving = event["RunId"], event.get("Champion")
    holder = _take_turn(run_id, event["ExecutionArn"])
    if holder:
        decision = turn.wait_for(holder)
    else:
        serving = champion.current()
        served = _listed(_run_of(serving)) if serving else None
        decision = turn.decide(_listed(run_id), event.get("Champion"), serving, served)
        if serving != event.get("Champion"):
            runs.update(run_id, champion=serving)
    logger.info("decided", run_id=run_id, turn=decision.turn, reason=decision.reason)
    return {"Turn": decision.turn, "Reason": decision.reason, "Champion": serving}


def _take_turn(run_id: str, execution_arn: str) -> work.Holder | None:
    """Take the turn and return None, or return the run that has it."""
    held = runs.turn()
    holder = work.Holder(held["run_id"], runs.status_of(held)) if held else None
    if not turn.is_free(holder, run_id):
        return holder
    if runs.take_turn(run_id, execution_arn, holder.run_id if holder else None):
        return None
    taken = runs.turn() or {"run_id": "unknown"}  # another run was faster
    return None if taken["run_id"] == run_id else work.Holder(taken["run_id"], work.RUNNING)


def _run_of(serving: dict[str, str]) -> str:
    """The run that made a champion: the model's name knows it, also when the export of the names was cut short."""
    return naming.run_of(os.environ["STACK_NAME"], serving["ModelName"]) or serving["RunId"]


def _listed(run_id: str) -> turn.Listed:
    data = (runs.get(run_id) or {}).get("data") or {}
    return turn.Listed(run_id, data.get("listed_at") or "")
