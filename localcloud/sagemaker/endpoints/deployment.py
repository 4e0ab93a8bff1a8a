"""How an update moves traffic to a new fleet: in which steps, how long each bakes, and which alarms take it back.

Source: SageMaker Developer Guide, "Deployment guardrails for updating models in production"; API Reference,
DeploymentConfig, BlueGreenUpdatePolicy, TrafficRoutingConfiguration, AutoRollbackConfig. Where AWS publishes no text of
an error, it is ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from localcloud.sagemaker.errors import invalid, unsupported
from localcloud.sagemaker.platform.aws import Aws
from localcloud.sagemaker.platform.store import Document

_LARGEST_STEP = 0.5  # of the new fleet
_SMALLEST_LINEAR_STEP = 0.1
_SIZES = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}


@dataclass(frozen=True)
class Step:
    """A share of the new fleet that answers, and how long the endpoint is watched before the next step.

    waits_for  the member of the policy that says how long
    """

    instances: int
    share: float
    seconds: int
    waits_for: str

    @property
    def action(self) -> str:
        """What the endpoint does, as events and DescribeEndpoint have it."""
        return f"Baking for {self.seconds} seconds ({self.waits_for})"

    @property
    def capacity(self) -> str:
        return "full capacity" if self.share == 1 else "canary capacity"


@dataclass(frozen=True)
class Deployment:
    """A DeploymentConfig, for a fleet of so many instances."""

    steps: tuple[Step, ...]
    alarms: tuple[str, ...]
    limit_seconds: float

    @classmethod
    def of(cls, config: Document, plan: Document) -> Deployment:
        """Read a DeploymentConfig. Raises AwsError: a policy that is not valid, or not for this fleet."""
        if "RollingUpdatePolicy" in config:
            if "BlueGreenUpdatePolicy" in config:
                raise invalid("Only one of BlueGreenUpdatePolicy and RollingUpdatePolicy can be specified.")
            raise unsupported("DeploymentConfig.RollingUpdatePolicy", "Use BlueGreenUpdatePolicy.")
        policy = config.get("BlueGreenUpdatePolicy", {})
        instances = min(item["Variant"].get("InitialInstanceCount", 1) for item in plan["Variants"])
        steps = tuple(_steps(policy, instances))
        limit = policy.get("MaximumExecutionTimeoutInSeconds", math.inf)
        if (waits := sum(step.seconds for step in steps)) >= limit:
            raise invalid(
                f"MaximumExecutionTimeoutInSeconds is {limit}; expected more than the {waits} s of all waits."
            )
        alarms = config.get("AutoRollbackConfiguration", {}).get("Alarms", [])
        return cls(steps, tuple(alarm["AlarmName"] for alarm in alarms), limit)

    def in_alarm(self, aws: Aws) -> list[str]:
        """Return which of the alarms are in the state ALARM."""
        return [alarm["AlarmName"] for alarm in self._described(aws) if alarm["StateValue"] == "ALARM"]

    def require_alarms(self, aws: Aws) -> None:
        """Raise AwsError for an alarm that does not exist."""
        there = {alarm["AlarmName"] for alarm in self._described(aws)}
        if missing := [name for name in self.alarms if name not in there]:
            raise invalid(f"Could not find the following alarm(s): [{', '.join(missing)}].")

    def _described(self, aws: Aws) -> list[Document]:
        if not self.alarms:
            return []
        described: list[Document] = aws.client("cloudwatch").describe_alarms(AlarmNames=list(self.alarms))[
            "MetricAlarms"
        ]
        return described


def _steps(policy: Document, instances: int) -> Iterator[Step]:
    routing = policy.get("TrafficRoutingConfiguration", {})
    kind, wait = routing.get("Type", "ALL_AT_ONCE"), routing.get("WaitIntervalInSeconds", 0)
    if kind != "ALL_AT_ONCE":
        size = _size(routing, kind, instances)
        for number in range(size, size + 1 if kind == "CANARY" else instances, size):
            yield Step(number, number / instances, wait, "WaitIntervalInSeconds")
    yield Step(instances, 1.0, policy.get("TerminationWaitInSeconds", 0), "TerminationWaitInSeconds")


def _size(routing: Document, kind: str, instances: int) -> int:
    """Return how many instances a step takes. Raises AwsError: too few or too many of them."""
    member = _SIZES[kind]
    size = routing.get(member)
    if size is None:
        raise invalid(f"{member} is required for the traffic routing type {kind}.")
    value: int = size["Value"]
    share = value / instances if size["Type"] == "INSTANCE_COUNT" else value / 100
    smallest = _SMALLEST_LINEAR_STEP if kind == "LINEAR" else 0.0
    if not smallest <= share <= _LARGEST_STEP:
        at_least = f" at least {smallest:.0%} and" if smallest else ""
        raise invalid(
            f"{member} is {value} ({size['Type']}) of {instances} instance(s); expected{at_least} at most "
            f"{_LARGEST_STEP:.0%} of the new fleet."
        )
    count = math.ceil(round(share * instances, 6))
    if count == instances:
        raise invalid(f"{member}: a fleet of {instances} instance(s) has no smaller part; use ALL_AT_ONCE.")
    return count
