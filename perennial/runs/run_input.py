"""The input of an execution: what a person, an event or a schedule starts a run with."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from perennial.model import complaints
from perennial.model.complaints import ConfigurationError, written
from perennial.runs.run_id import RUN_ID

Input = TypeVar("Input", bound=BaseModel)
MAX_KEY = 1024  # of an object, and of the id of a version (Amazon S3 User Guide, "Naming Amazon S3 objects")
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
    Replay: Annotated[str, written(f"^{RUN_ID.pattern}$", "the id of a run, such as 20260131120000-1a2b")] | None = None
    # A version in the model registry that is only deployed; it has to be the newest approved one.
    ModelVersion: Annotated[int, Field(ge=1)] | None = None
    # What the console and nested executions add.
    Comment: Any = None
    AWS_STEP_FUNCTIONS_STARTED_BY_EXECUTION_ID: Any = None


def execution_input(raw: Any) -> ExecutionInput:
    """Return the input of an execution, or raise ConfigurationError."""
    _require_no_data(raw)
    known = checked(raw, ExecutionInput)
    if (dropped := known.Trigger.Object) is not None:
        require_object(dropped.get("key"), dropped.get("version-id"), "Trigger.Object.key", "Trigger.Object.version-id")
    return known


def _require_no_data(raw: Any) -> None:
    """Raise ConfigurationError when an input names data: a run trains on those of its stack."""
    if not isinstance(raw, dict):
        return
    overrides = raw.get("Overrides")
    named = {**raw, **(overrides if isinstance(overrides, dict) else {})}
    for name, value in named.items():
        if isinstance(value, str) and value.startswith("s3://") and name != "Comment":
            raise ConfigurationError(
                f"the execution's input, {complaints.excerpt(name)}: got {complaints.excerpt(value)}; a run trains on "
                "what is below the data prefix of its stack, and its input names no data. Bring a file there with "
                "`perennial drop s3://BUCKET/KEY`, a folder with `perennial copy-data s3://BUCKET/PREFIX/`, or deploy "
                "with DataBucket and DataPrefix"
            )


def require_object(key: Any, version: Any, *names: str) -> None:
    """Raise ConfigurationError when a key, or a version if there is one, is none that S3 could have given."""
    expected = "the key of the object that was dropped", "its version, as the event of S3 names it, or nothing"
    for value, name, what in zip((key, "1" if version in (None, "") else version), names, expected, strict=True):
        if not (isinstance(value, str) and 0 < len(value) <= MAX_KEY and "\0" not in value):
            raise ConfigurationError(f"the execution's input, {name}: got {complaints.excerpt(value)}; expected {what}")


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
    if not complaints.is_text(raw):
        raise ConfigurationError("the execution's input has half of a character, a surrogate alone; expected text")
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        problems = complaints.of(error, model)
        raise ConfigurationError(complaints.message("the execution's input is not valid", problems)) from error
