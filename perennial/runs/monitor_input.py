"""The input of an execution that judges a window: what a person, an event or the clock starts it with."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from perennial.runs.run_input import checked


class MonitorTrigger(BaseModel):
    """What started the execution, as its input says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    Type: Literal["Manual", "Schedule", "EndpointInService"] = "Manual"
    Id: str | None = None
    Time: str | None = None
    By: str | None = None


class AskedWindow(BaseModel):
    """A window that is judged instead of the next one: times in UTC such as 2026-11-29T10:00:00Z, End is not in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    Start: str
    End: str


class MonitorInput(BaseModel):
    """The input of an execution. A person may start one with `{}`: the window since the last one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    Trigger: MonitorTrigger = MonitorTrigger()
    Window: AskedWindow | None = None
    # What the console and nested executions add.
    Comment: Any = None
    AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID: Any = None


def monitor_input(raw: Any) -> MonitorInput:
    """Return the input of an execution, or raise ConfigurationError."""
    return checked(raw, MonitorInput)
