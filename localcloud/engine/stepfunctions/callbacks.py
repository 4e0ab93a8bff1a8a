"""Tasks that wait for a token: their call, their heartbeat, and their end when what they belong to ends.

MiniStack takes heartbeats and never misses one, and a stopped execution goes on waiting. Here a task looks up from its
waiting: without SendTaskHeartbeat for HeartbeatSeconds it fails with States.HeartbeatTimeout. A call that fails (an
exception of the function that was to take the token) fails the task at once.
Source: Amazon States Language, "HeartbeatSeconds"; Step Functions Developer Guide, "Wait for a Callback with Task
Token", "Configure a Heartbeat Timeout".
"""

import json
import threading
import time
from typing import Any

from localcloud.engine.seams import Seams
from localcloud.engine.stepfunctions import scopes, tasks

stepfunctions = Seams(
    "services.stepfunctions",
    _ExecutionError="65fcaf17",
    _invoke_resource="f3153007",
    _invoke_with_callback="6130097b",
    _task_tokens="376e8d3f",
)

JsonObject = dict[str, Any]
_POLL_SECONDS = 0.1


def register() -> None:
    """Replace the seam. MiniStack must be importable (the environment is set)."""
    stepfunctions.replace("_invoke_with_callback", lambda _: _invoke_with_callback)


def _invoke_with_callback(resource: str, input_data: Any, token: str, state_def: JsonObject) -> Any:
    """Make the call that takes the token, and wait for the answer that comes with it."""
    began = time.monotonic()
    waiting: JsonObject = {"event": threading.Event(), "result": None, "error": None, "heartbeat": None}
    stepfunctions._task_tokens[token] = waiting
    try:
        tasks.submitted(stepfunctions._invoke_resource(resource.removesuffix(".waitForTaskToken"), input_data))
        late = _wait(waiting, state_def.get("TimeoutSeconds"), state_def.get("HeartbeatSeconds"), began)
    finally:
        stepfunctions._task_tokens.pop(token, None)
    scopes.leave_if_ended()
    if late or waiting["error"]:
        error = waiting["error"] or {"Error": late}
        raise stepfunctions._ExecutionError(error.get("Error", ""), error.get("Cause", ""))
    return json.loads(waiting["result"])


def _wait(waiting: JsonObject, seconds: float | None, heartbeat_seconds: float | None, began: float) -> str:
    """Wait for an answer, or for the end of the scope. Returns the error if neither comes in time."""
    last, heartbeat = time.monotonic(), None
    while not waiting["event"].wait(_POLL_SECONDS):
        scopes.leave_if_ended()
        now = time.monotonic()
        if waiting["heartbeat"] != heartbeat:
            last, heartbeat = now, waiting["heartbeat"]
        if seconds is not None and now - began > seconds:
            return "States.Timeout"
        if heartbeat_seconds is not None and now - last > heartbeat_seconds:
            return "States.HeartbeatTimeout"
    return ""
