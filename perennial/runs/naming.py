"""Every name of a run, from the stack's name and the execution that it is.

A SageMaker name has at most 63 characters, letters, digits and hyphens, and a job's name is used only once. With a
stack name of up to 26 characters the longest name of a run fits with two digits of retries:
`<stack>-<run id>-model-quality-<retry>` = 26 + 1 + 19 + 1 + 13 + 1 + 2 = 63.
"""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime

from perennial.model.complaints import ConfigurationError
from perennial.runs.run_id import RUN_ID

MAX_STACK_NAME = 26
MAX_NAME = 63
# How the policies of template.yaml tell a run from the rest of another stack's name.
RUN_PATTERN = "20????????????-????"
STEPS = ("preprocess", "train", "predict", "champion", "again", "data-quality", "model-quality", "monitor",
         "batch-check", "batch-score", "batch-join", "ingest")  # fmt: skip
_STACK_NAME = re.compile(r"[a-z](-?[a-z0-9])*")
_LIKE_A_RUN = re.compile(rf"-{RUN_PATTERN.replace('?', '.')}(-|$)")
_LIKE_A_BUCKET = re.compile("-bucket(-|$)")
_RESERVED = ("aws", "ssm")  # Systems Manager User Guide, "Requirements and constraints for parameter names"
_NO_DIGIT = re.compile(r"\D")


class StackNameError(ConfigurationError):
    """The stack's name cannot be the start of the names of its runs."""


def check_stack_name(name: str) -> str:
    """Return the name, or raise StackNameError when SageMaker or Parameter Store would refuse names made from it."""
    if len(name) > MAX_STACK_NAME or not _STACK_NAME.fullmatch(name):
        raise StackNameError(
            f"the stack name {name!r} has {len(name)} characters; expected at most {MAX_STACK_NAME}, lower-case "
            "letters, digits and single hyphens, starting with a letter: names of jobs start with it, and end at 63 "
            "characters; SageMaker writes ARNs in lower case, so that permissions for other names would not match"
        )
    if name.startswith(_RESERVED):
        raise StackNameError(
            f"the stack name {name!r} begins with {name[:3]!r}; expected another beginning than "
            f"{' or '.join(_RESERVED)}: Parameter Store reserves both, and refuses the names of what serves. Delete "
            "this stack and deploy with another --stack-name"
        )
    if _LIKE_A_RUN.search(name):
        raise StackNameError(
            f"the stack name {name!r} goes on like the id of a run (-{RUN_PATTERN}, ? being anything); expected one "
            "that does not: a stack with the beginning of this name might touch this one's jobs. Delete this stack "
            "and deploy with another --stack-name"
        )
    if _LIKE_A_BUCKET.search(name):
        raise StackNameError(
            f"the stack name {name!r} goes on like the name of a bucket (-bucket); expected one that does not: a stack "
            "with the beginning of this name might reach this one's. Delete this stack and deploy with another "
            "--stack-name"
        )
    return name


def run_id(execution_arn: str, start: datetime) -> str:
    """Return `YYYYMMDDHHMMSS-xxxx`: the start of the execution (UTC) and 4 hex digits of its ARN's SHA-256.

    The same execution always gives the same id. Raises ValueError for a time without a time zone.
    """
    if start.tzinfo is None:
        raise ValueError(f"start {start!r} has no time zone; expected an aware time")
    digest = hashlib.sha256(execution_arn.encode()).hexdigest()
    return f"{start.astimezone(UTC):%Y%m%d%H%M%S}-{digest[:4]}"


def stem(stack: str, run: str) -> str:
    """Return the name of the run's model and endpoint configuration, with which its jobs' names start."""
    return f"{stack}-{run}"


def job_name(stack: str, run: str, step: str, retry: int = 0) -> str:
    """Return the name of a run's job at a retry (0 is the first attempt), of at most 63 characters."""
    if step not in STEPS:
        raise ValueError(f"{step!r} is not a step; expected one of {', '.join(STEPS)}")
    return f"{stem(stack, run)}-{step}-{retry}"


def tuning_stem(prefix: str, run: str) -> str:
    """Return the name of a run's tuning job but for the number of the attempt.

    It has at most 32 characters: `<8 of the stack's id>-<run id>-t<retry>` = 8 + 1 + 19 + 2 + 2 (API Reference,
    CreateHyperParameterTuningJob). The names of its trials go on with `-001-0f0444b1`.
    """
    return f"{prefix}-{run}-t"


def run_of(stack: str, name: str) -> str | None:
    """Return the run id in a model's or endpoint configuration's name, or None when the name is not of this stack.

    Stacks `cars` and `cars-eu` may live side by side, so a common start of the name proves nothing.
    """
    rest = name.removeprefix(f"{stack}-")
    return rest if rest != name and RUN_ID.fullmatch(rest) else None


def labelled_key(prefix: str, start: str, end: str) -> str:
    """Return the key under which the labelled records of a window are data; one that is judged again has the same.

    start, end  as windows have them: 2026-11-29T10:00:00Z
    """
    return f"{prefix}labelled/{_NO_DIGIT.sub('', start)}-{_NO_DIGIT.sub('', end)}.csv"


def is_labelled_key(key: str, prefix: str) -> bool:
    """Return whether an object is what `labelled_key` names."""
    return re.fullmatch(re.escape(prefix) + r"labelled/\d{14}-\d{14}\.csv", key) is not None
