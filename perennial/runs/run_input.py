"""The input of an execution: what a person, an event or a schedule starts a run with."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from perennial.model import complaints
from perennial.model.complaints import ConfigurationError
from perennial.runs.run_id import RUN_ID

Input = TypeVar("Input", bound=BaseModel)
TriggerType = Literal["DataDrop", "Manual", "Schedule", "Drift", "Alarm", "Registry", "Image"]


class TriggerSection(BaseModel):
    """What started the run, as its input says: whoever may start one can say anything, and it decides no service.

    `Object` is the S3 event's own, for a DataDrop; `Image` the digest of the image that was pushed, for an Image.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    Type: TriggerType = "Manual"
    Id: str | None = None
    Time: str | None = None
    Bucket: str | None = None
    Object: dict[str, Any] | None = None
    By: str | None = None
    Image: str | None = None


class ExecutionInput(BaseModel):
    """The input of an execution: the same shape for every trigger. A person may start one with `{}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    Trigger: TriggerSection = TriggerSection()
    Overrides: dict[str, Any] = Field(default_factory=dict)
    # A run whose data, to the version, are to be trained on again instead of what is there now.
    Replay: Annotated[str, Field(pattern=f"^{RUN_ID.pattern}$")] | None = None
    # A version in the model registry that is only deployed; it has to be the newest approved one.
    ModelVersion: Annotated[int, Field(ge=1)] | None = None
    # What the console and nested executions add.
    Comment: Any = None
    AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID: Any = None


def execution_input(raw: Any) -> ExecutionInput:
    """Return the input of an execution, or raise ConfigurationError."""
    known = checked(raw, ExecutionInput)
    dropped = known.Trigger.Object
    if dropped is not None and not isinstance(dropped.get("key"), str):
        raise ConfigurationError(
            f"the execution's input, Trigger.Object.key: got {complaints.excerpt(dropped.get('key'))}; expected the "
            "key of the object that was dropped"
        )
    return known


def checked(raw: Any, model: type[Input]) -> Input:
    """Return the input of an execution as its type, or raise ConfigurationError."""
    if complaints.is_deep(raw):
        raise ConfigurationError(
            f"the execution's input is nested on more than {complaints.MAX_LEVELS} levels; expected an object with "
            f"{', '.join(model.model_fields)}"
        )
    size = complaints.size(raw)
    if size > complaints.MAX_INPUT_BYTES:
        raise ConfigurationError(
            f"the execution's input has {size:,} bytes; expected at most {complaints.MAX_INPUT_BYTES:,}"
        )
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        problems = complaints.of(error, model)
        raise ConfigurationError(complaints.message("the execution's input is not valid", problems)) from error
