"""Write TimeoutSeconds and Retry of every Task into statemachines/*.asl.json, from the table below.

    python -m tools.stamp_state_machines           write what differs; part of `make format`
    python -m tools.stamp_state_machines --check   exit with 1, and name the states, if something differs

The files stay plain JSON that deploys as it is. A Task names its Resource and a TimeoutSeconds of any value; the rest
comes from here. Each Retry names transient errors, and its pauses are random (JitterStrategy FULL), so that many runs
do not ask again at once. Why: docs/decisions/0022-a-state-machine-says-each-thing-once.md.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import asl, cfn
from tools.terminal import run

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Pauses:
    """The number of retries and the pauses between them: each is random, up to the one before times `rate`."""

    first_seconds: int
    attempts: int
    rate: float
    longest_seconds: int


# ---- Pauses

MOMENT = Pauses(2, 6, 2, 60)  # a service that stumbles
REFUSAL = Pauses(5, 4, 2, 60)  # the name stands for any refusal, and most of them stay
TWICE = Pauses(5, 2, 2, 60)  # what went on when it was cut short, or is likely to be answered the same way
NO_ROOM = Pauses(2, 40, 2, 300)  # a thousand calls at once all get through ten functions
QUOTA = Pauses(60, 80, 1.5, 900)  # until other jobs have ended: most of a day
GO_ON = Pauses(1, 200, 1, 1)  # two days of calls of 15 minutes, each of which does a part
NAME_TAKEN = Pauses(300, 10, 1, 300)  # by the job that the platform lost: the next attempt has the next name

# ---- Errors
# Developer Guide, "Handle transient Lambda service exceptions" and "Integrate with SageMaker"; an error of an SDK call
# that has no name of its own is <Service>.<Service>Exception, and one that got no answer <Service>.SdkClientException.

STUMBLES = ("Lambda.ServiceException", "Lambda.AWSLambdaException", "Lambda.SdkClientException")
FULL = ("Lambda.TooManyRequestsException",)
CUT_SHORT = ("Sandbox.Timedout", "Lambda.Unknown", "Lambda.ClientExecutionTimeoutException", "States.Timeout")
LIMIT = ("SageMaker.ResourceLimitExceededException",)
IN_USE = ("SageMaker.ResourceInUseException",)
OPTIMISED = ("SageMaker.AmazonSageMakerException",)
SDK = ("SageMaker.SageMakerException", "SageMaker.SdkClientException")
CONFLICT = ("SageMaker.ConflictException",)
S3 = ("S3.S3Exception", "S3.SdkClientException")
STEPS = ("StepFunctions.AWSStepFunctionsException",)
SSM = ("Ssm.SsmException", "Ssm.SdkClientException", "Ssm.InternalServerErrorException", "Ssm.TooManyUpdatesException")
# Where the same request, made twice, does no harm; what would be made twice fails when its time is over.
TIMEOUT = ("States.Timeout",)
# What a function itself raises and calls transient; its docstring says the same.
OWN = {
    "ResolveConfigurationFunction": ("ClaimContestedError", "DataVersionUnavailableError"),
    "SnapshotDataFunction": ("DataVersionUnavailableError",),
    "ResolveWindowFunction": ("HistoryContestedError", "WindowContestedError"),
    "DecideRetrainingFunction": ("HistoryContestedError",),
    "ResolveBatchFunction": ("BatchContestedError",),
}
# What a function raises that has done a part of its work, and goes on when it is called again.
UNFINISHED = {"SnapshotDataFunction": ("CopiesLeftError",)}

# ---- The table: resource, TimeoutSeconds, what is tried again (of functions the template has the Timeout)

JOB_SECONDS = 435_600  # five days, the most that model.yaml lets a job run, and an hour around it
CALL_SECONDS = 300
APPROVAL_SECONDS = "{% ${ApprovalDays} * 86400 %}"
Retried = tuple[tuple[tuple[str, ...], Pauses], ...]
TABLE: tuple[tuple[str, int | str, Retried], ...] = (
    ("sagemaker:create*Job.sync", JOB_SECONDS, ((LIMIT, QUOTA), (OPTIMISED, REFUSAL), (IN_USE, NAME_TAKEN))),
    ("sagemaker:createModel", CALL_SECONDS, ((LIMIT, QUOTA), (OPTIMISED, REFUSAL))),
    ("sagemaker:createEndpoint", CALL_SECONDS, ((LIMIT, QUOTA), (OPTIMISED + TIMEOUT, REFUSAL))),
    ("aws-sdk:sagemaker:createModelPackage", CALL_SECONDS, ((SDK + CONFLICT + TIMEOUT, REFUSAL),)),
    ("aws-sdk:sagemaker:createEndpointConfig", CALL_SECONDS, ((LIMIT, QUOTA), (SDK, REFUSAL))),
    ("aws-sdk:sagemaker:updateEndpoint", CALL_SECONDS, ((LIMIT, QUOTA), (SDK + TIMEOUT, REFUSAL))),
    ("aws-sdk:sagemaker:deleteEndpoint", CALL_SECONDS, ((SDK + TIMEOUT, REFUSAL),)),
    ("aws-sdk:sagemaker:describe*", CALL_SECONDS, ((SDK + TIMEOUT, TWICE),)),
    ("aws-sdk:s3:list*", CALL_SECONDS, ((S3 + TIMEOUT, MOMENT),)),
    ("aws-sdk:s3:copyObject", CALL_SECONDS, ((S3 + TIMEOUT, MOMENT),)),
    ("states:startExecution", CALL_SECONDS, ((STEPS + TIMEOUT, MOMENT),)),
    ("aws-sdk:ssm:putParameter", CALL_SECONDS, ((SSM + TIMEOUT, MOMENT),)),
    ("lambda:invoke.waitForTaskToken", APPROVAL_SECONDS, ((STUMBLES + CUT_SHORT[:-1], MOMENT), (FULL, NO_ROOM))),
)


class NotInTableError(Exception):
    """A Task calls something that no row of the table covers."""


def nets(body: dict[str, Any], functions: dict[str, int]) -> tuple[int | str, Retried]:
    """Return how long a Task may take, in seconds or as an expression, and what it tries again. Raises NotInTableError.

    functions  seconds that the template gives to each function, by its name there
    """
    call = body["Resource"].partition(":states:::")[2]
    if call == "lambda:invoke":
        name = body["Arguments"]["FunctionName"].removeprefix("${").removesuffix("Arn}")
        first = ((UNFINISHED[name], GO_ON),) if name in UNFINISHED else ()
        stumbles = OWN.get(name, ()) + STUMBLES
        return functions[name], (*first, (stumbles, MOMENT), (FULL, NO_ROOM), (CUT_SHORT, TWICE))
    for pattern, seconds, retried in TABLE:
        if fnmatch.fnmatchcase(call, pattern):
            return seconds, retried
    raise NotInTableError(f"{call!r} is in no row of TABLE in tools/stamp_state_machines.py; add one")


def timeouts(template: dict[str, Any]) -> dict[str, int]:
    """Return the Timeout of each function of the template."""
    usual = template["Globals"]["Function"]["Timeout"]
    functions = cfn.resources(template, "AWS::Serverless::Function")
    return {name: function["Properties"].get("Timeout", usual) for name, function in functions.items()}


# ---- Writing


def stamped(text: str, functions: dict[str, int]) -> str:
    """Return the text of a state machine with the nets of every Task. Raises NotInTableError."""
    for name, body in asl.states(asl.parse(text)):
        if body["Type"] == "Task":
            text = _with(text, name, *nets(body, functions))
    return text


def _with(text: str, name: str, seconds: int | str, retried: Retried) -> str:
    """Return the state's own keys, two spaces further in than its name."""
    match = re.search(rf"^( *){re.escape(json.dumps(name))}: {{\n(?:\1 .*\n)+?\1}}", text, re.MULTILINE)
    if match is None:
        raise ValueError(f"state {name!r} does not stand in lines of its own, with its keys two spaces further in")
    indent = match[1] + "  "
    body = re.sub(rf'^{indent}"Retry": \[\n(?:{indent} .*\n)*{indent}\],\n', "", match[0], flags=re.MULTILINE)
    lines = "".join(f"{line}\n" for line in _lines(seconds, retried, indent))
    body = re.sub(rf'^{indent}"TimeoutSeconds": .*\n', lambda _: lines, body, flags=re.MULTILINE)
    return text[: match.start()] + body + text[match.end() :]


def _lines(seconds: int | str, retried: Retried, indent: str) -> Iterator[str]:
    yield f'{indent}"TimeoutSeconds": {json.dumps(seconds)},'
    yield f'{indent}"Retry": ['
    for number, (errors, pauses) in enumerate(retried, 1):
        retrier = {
            "ErrorEquals": errors,
            "IntervalSeconds": pauses.first_seconds,
            "MaxAttempts": pauses.attempts,
            "BackoffRate": pauses.rate,
            "MaxDelaySeconds": pauses.longest_seconds,
            "JitterStrategy": "FULL",
        }
        yield f"{indent}  {json.dumps(retrier)}{',' if number < len(retried) else ''}"
    yield f"{indent}],"


def main(argv: list[str], root: Path = ROOT) -> int:
    """Write the files, or with --check compare them. Return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--check", action="store_true", help="exit with 1, and name the states, if something differs")
    is_check = parser.parse_args(argv).check
    functions, stale = timeouts(cfn.load(root / "template.yaml")), 0
    for path in sorted(root.glob("statemachines/*.asl.json")):
        text = path.read_text()
        wanted = stamped(text, functions)
        if wanted == text:
            continue
        if not is_check:
            path.write_text(wanted)
            continue
        stale = 1
        names = ", ".join(repr(name) for name in _different(text, wanted))
        sys.stderr.write(f"{path}: TimeoutSeconds and Retry of {names} are not the table's; run: make format\n")
    return stale


def _different(text: str, wanted: str) -> list[str]:
    now = dict(asl.states(asl.parse(text)))
    tasks = ((name, body) for name, body in asl.states(asl.parse(wanted)) if body["Type"] == "Task")
    return [name for name, body in tasks if body != now[name]]


if __name__ == "__main__":
    run(main, sys.argv[1:])
