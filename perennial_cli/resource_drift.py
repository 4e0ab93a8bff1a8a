"""What has changed a stack's resources beside its deployments, as CloudFormation finds it.

Source: CloudFormation User Guide, "Detect unmanaged configuration changes to stacks with drift detection". Of a
resource only the properties that the template sets are compared, and some types are not.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import boto3

from perennial.words import printable
from perennial_cli.console import CommandError, working
from perennial_cli.stacks import Stack

POLL_SECONDS = 2.0
WAIT_SECONDS = 900
LONGEST_VALUE = 200
WHAT_TO_DO = (
    "What to do: undo it where it was done, or bring it into template.yaml and deploy. A deployment puts back only "
    "what differs from the template of the deployment before."
)


@dataclass(frozen=True)
class Difference:
    """A property that is not what the template says; `path` is a JSON pointer."""

    path: str
    expected: str
    actual: str


@dataclass(frozen=True)
class Resource:
    """A resource that differs; `status` is MODIFIED or DELETED."""

    logical_id: str
    physical_id: str
    kind: str
    status: str
    differences: tuple[Difference, ...]


@dataclass(frozen=True)
class Drift:
    """What a detection found.

    checked    how many resources were compared
    unchecked  how many are of types that CloudFormation does not compare
    failure    why the comparison failed for some, in CloudFormation's words
    """

    resources: tuple[Resource, ...]
    checked: int
    unchecked: int
    failure: str | None = None

    @property
    def is_none(self) -> bool:
        """Whether everything was compared and is as it was deployed."""
        return not self.resources and self.failure is None


def detect(stack: str) -> Drift:
    """Compare a stack with its template. Raises CommandError: that has not ended in time."""
    cloudformation = boto3.client("cloudformation")
    detection = cloudformation.detect_stack_drift(StackName=stack)["StackDriftDetectionId"]
    deadline = time.monotonic() + WAIT_SECONDS
    with working("CloudFormation compares the stack with its template"):
        while True:
            status = cloudformation.describe_stack_drift_detection_status(StackDriftDetectionId=detection)
            if status["DetectionStatus"] != "DETECTION_IN_PROGRESS":
                break
            if time.monotonic() > deadline:
                raise CommandError(f"comparing {stack} took more than {WAIT_SECONDS // 60} minutes; try again")
            time.sleep(POLL_SECONDS)
    # What could be compared is there all the same.
    failure = status.get("DetectionStatusReason", "") if status["DetectionStatus"] == "DETECTION_FAILED" else None
    drifts = _drifts(stack)
    compared = [drift for drift in drifts if drift["StackResourceDriftStatus"] in ("IN_SYNC", "MODIFIED", "DELETED")]
    resources = tuple(
        Resource(
            drift["LogicalResourceId"],
            drift.get("PhysicalResourceId", ""),
            drift["ResourceType"],
            drift["StackResourceDriftStatus"],
            tuple(
                Difference(one["PropertyPath"], one["ExpectedValue"], one["ActualValue"])
                for one in drift.get("PropertyDifferences", [])
            ),
        )
        for drift in compared
        if drift["StackResourceDriftStatus"] != "IN_SYNC"
    )
    return Drift(resources, len(compared), len(drifts) - len(compared), failure)


def _drifts(stack: str) -> list[Any]:
    cloudformation = boto3.client("cloudformation")
    answer = cloudformation.describe_stack_resource_drifts(StackName=stack)
    drifts: list[Any] = answer["StackResourceDrifts"]
    while token := answer.get("NextToken"):  # botocore has no paginator for it
        answer = cloudformation.describe_stack_resource_drifts(StackName=stack, NextToken=token)
        drifts += answer["StackResourceDrifts"]
    return drifts


def report(stack: str, drift: Drift) -> str:
    """Return what a person reads: what differs and how, and what to do."""
    others = f"; {drift.unchecked} are of types that CloudFormation does not compare" if drift.unchecked else ""
    lines = [
        f"{stack} is as it was deployed: {drift.checked} resources compared{others}"
        if drift.is_none
        else f"{stack}: {len(drift.resources)} of {drift.checked} resources are not as they were deployed{others}"
    ]
    if drift.failure is not None:
        lines += ["", f"Not all could be compared: {drift.failure or 'CloudFormation names no reason'}"]
    for resource in drift.resources:
        kind, status = f"{resource.kind}, {resource.physical_id}", resource.status.lower()
        lines += ["", f"{resource.logical_id} ({kind}): {status}"]
        for one in resource.differences:
            deployed, now = printable(one.expected, LONGEST_VALUE), printable(one.actual, LONGEST_VALUE)
            lines.append(f"  {one.path}: deployed as {deployed}, now {now}")
    if drift.resources:
        lines += ["", WHAT_TO_DO]
    return "\n".join(lines)


def tell(stack: Stack, drift: Drift, whom: str) -> None:
    """Send the report to those who get the stack's mails."""
    number = len(drift.resources)
    what = f"{number} resource{'s' * (number != 1)} not as deployed" if number else "not all could be compared"
    boto3.client("sns").publish(
        TopicArn=stack.outputs["TopicArn"],
        Subject=f"{stack.name}: {what}",
        Message=f"{report(stack.name, drift)}\n\nWhere: {whom}",
    )
