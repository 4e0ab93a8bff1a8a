"""The input of an execution that scores a file: what a drop, the clock or a person starts it with."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from perennial.model import complaints
from perennial.model.complaints import ConfigurationError
from perennial.runs.batch_file import INCOMING
from perennial.runs.run_input import checked, require_object


class BatchTrigger(BaseModel):
    """What started the execution, as its input says. `Object` is the S3 event's own, for a BatchDrop."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    Type: Literal["Manual", "Schedule", "BatchDrop"] = "Manual"
    Id: str | None = None
    Time: str | None = None
    Object: dict[str, Any] | None = None
    By: str | None = None


class WaitingFile(BaseModel):
    """A file below batch/incoming/; without a version its newest one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    Key: str
    VersionId: str | None = None


class BatchInput(BaseModel):
    """The input of an execution. Without a file, such as `{}`: all that wait are scored, each by its own execution."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    Trigger: BatchTrigger = BatchTrigger()
    File: WaitingFile | None = None
    # What the console and nested executions add.
    Comment: Any = None
    AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID: Any = None

    @property
    def is_drop(self) -> bool:
        """Whether the event of a file started it: each version of a file has one."""
        return self.Trigger.Type == "BatchDrop"


def batch_input(raw: Any) -> BatchInput:
    """Return the input of an execution, the file of an event as its file. Raises ConfigurationError."""
    known = checked(raw, BatchInput)
    if known.is_drop:
        dropped = known.Trigger.Object or {}
        file = WaitingFile.model_construct(Key=dropped.get("key"), VersionId=dropped.get("version-id"))
        known = known.model_copy(update={"File": file})
    if known.File and not (isinstance(known.File.Key, str) and known.File.Key.startswith(INCOMING)):
        where = "Trigger.Object.key" if known.is_drop else "File.Key"
        raise ConfigurationError(
            f"the execution's input, {where}: got {complaints.excerpt(known.File.Key)}; expected the key of a file "
            f"below {INCOMING}. `perennial score s3://BUCKET/KEY` copies one there, and scores it"
        )
    if known.File:
        names = ("Trigger.Object.key", "Trigger.Object.version-id") if known.is_drop else ("File.Key", "File.VersionId")
        require_object(known.File.Key, known.File.VersionId, *names)
    return known


def file_of(raw: Any) -> str | None:
    """Return the key that an execution's input names, whatever else it says; None where it names none."""
    try:
        file = batch_input(raw).File
    except ConfigurationError:
        return None
    return file.Key if file else None
