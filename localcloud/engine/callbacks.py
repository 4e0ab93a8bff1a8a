"""Tasks that wait for a token: their heartbeat, and their end when what they belong to ends.

MiniStack takes heartbeats and never misses one, and a stopped execution goes on waiting. Here a watcher looks after
each waiting task: without SendTaskHeartbeat for HeartbeatSeconds it fails with States.HeartbeatTimeout.
Source: Amazon States Language, "HeartbeatSeconds"; Step Functions Developer Guide, "Wait for a Callback with Task
Token", "Configure a Heartbeat Timeout".
"""

import contextvars
import threading
import time
from typing import Any

from localcloud.engine import scopes
from localcloud.engine.seams import replace

JsonObject = dict[str, Any]
_POLL_SECONDS = 0.1


def register() -> None:
    """Replace the seam. MiniStack must be importable (the environment is set)."""
    replace("services.stepfunctions", "_invoke_with_callback", _make_invoke_with_callback)


def _make_invoke_with_callback(original: Any) -> Any:
    def invoke_with_callback(resource: str, input_data: Any, token: str, state: JsonObject) -> Any:
        scopes.leave_if_ended()
        over = threading.Event()
        watch = contextvars.copy_context().run
        threading.Thread(target=watch, args=(_watch, token, state.get("HeartbeatSeconds"), over), daemon=True).start()
        try:
            return original(resource, input_data, token, state)
        finally:
            over.set()
            scopes.leave_if_ended()

    return invoke_with_callback


def _watch(token: str, heartbeat_seconds: float | None, over: threading.Event) -> None:
    """Wake the waiting task when its heartbeat is missed or its scope has ended."""
    from ministack.services import stepfunctions

    last, heard = time.monotonic(), None
    scope = scopes.current()
    while not over.wait(_POLL_SECONDS):
        waiting = stepfunctions._task_tokens.get(token)
        if waiting is None:
            continue
        if waiting["heartbeat"] != heard:
            last, heard = time.monotonic(), waiting["heartbeat"]
        missed = heartbeat_seconds is not None and time.monotonic() - last > heartbeat_seconds
        if missed or (scope and scope.ended()):
            waiting["error"] = {"Error": "States.HeartbeatTimeout", "Cause": ""}
            waiting["event"].set()
            return
