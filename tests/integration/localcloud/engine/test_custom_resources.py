"""Custom resources whose function fails, refuses, is throttled or is over its time."""

import json
import time
from typing import Any

import pytest

from localcloud import faults
from tests.integration.conftest import Cloud, make_function, unique, wait_for

ANSWERING = """
import json, urllib.request
def handler(event, context):
    wanted = event["ResourceProperties"]["Status"]
    answer = {"Status": wanted, "Reason": "no seats: 4 given", "PhysicalResourceId": "car"}
    answer |= {name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")}
    request = urllib.request.Request(event["ResponseURL"], json.dumps(answer).encode(), method="PUT")
    urllib.request.urlopen(request).close()
"""
NO_ANSWER = (
    "CloudFormation did not receive a response from your Custom Resource. Please check your logs for requestId ["
)


def deploy(cloud: Cloud, function: str, **properties: Any) -> tuple[str, str]:
    """The status of a new stack of one custom resource, and why that failed."""
    resource = {"Type": "Custom::Car", "Properties": {"ServiceToken": function, "ServiceTimeout": 600, **properties}}
    template, cloudformation = json.dumps({"Resources": {"Car": resource}}), cloud.client("cloudformation")
    stack = cloudformation.create_stack(StackName=unique("stack"), TemplateBody=template)["StackId"]

    def ended() -> str | None:
        status = cloudformation.describe_stacks(StackName=stack)["Stacks"][0]["StackStatus"]
        return str(status) if status.endswith("COMPLETE") else None

    status = wait_for(ended, "the end of the deployment", 30)
    events = cloudformation.describe_stack_events(StackName=stack)["StackEvents"]
    failed = [event["ResourceStatusReason"] for event in events if event["ResourceStatus"] == "CREATE_FAILED"]
    return status, "\n".join(failed)


def injected(cloud: Cloud, function: str, effect: str, **more: Any) -> Any:
    name = function.rpartition(":")[2]
    return faults.Client(cloud.environment(), name).injected(f"function:{name}", effect, **more)


def test_what_a_function_refuses_is_told_as_cloudformation_tells_it(cloud: Cloud) -> None:
    status, reason = deploy(cloud, make_function(cloud, ANSWERING), Status="FAILED")
    assert status == "ROLLBACK_COMPLETE"
    said = "Received response status [FAILED] from custom resource. Message returned: no seats: 4 given (RequestId: "
    assert reason.startswith(said)
    assert len(reason) == len(said) + len("9dabc9e0-8ae4-44ef-94e1-c1f6b1cd7c5a)")


@pytest.mark.parametrize(
    ("effect", "more", "error"),
    [
        ("error", {"error": "KeyError", "message": "'seats'"}, "KeyError: 'seats'"),
        ("timeout", {}, "Sandbox.Timedout: RequestId: "),
    ],
)
def test_nobody_waits_for_a_function_that_fails_without_an_answer(
    cloud: Cloud, effect: str, more: dict[str, str], error: str
) -> None:
    function, began = make_function(cloud, ANSWERING), time.monotonic()
    with injected(cloud, function, effect, times="always", **more) as number:
        status, reason = deploy(cloud, function, Status="SUCCESS")
        assert faults.Client(cloud.environment()).fired(number) == 3
    assert status == "ROLLBACK_COMPLETE"
    assert reason.startswith(NO_ANSWER)
    assert f"called 3 times, the function ended without an answer, at last with {error}" in reason
    assert time.monotonic() - began < 25


@pytest.mark.parametrize("effect", ["error", "throttle"])
def test_a_call_that_fails_or_is_throttled_is_tried_again(cloud: Cloud, effect: str) -> None:
    function = make_function(cloud, ANSWERING)
    with injected(cloud, function, effect, error="KeyError") as number:
        assert deploy(cloud, function, Status="SUCCESS") == ("CREATE_COMPLETE", "")
        assert faults.Client(cloud.environment()).fired(number) == 1


def test_a_function_that_fails_after_its_answer_has_answered(cloud: Cloud) -> None:
    function = make_function(cloud, ANSWERING + "    raise OSError('too late')\n")
    assert deploy(cloud, function, Status="SUCCESS") == ("CREATE_COMPLETE", "")


def test_throttling_that_lasts_is_given_up_when_the_time_limit_is_over(cloud: Cloud) -> None:
    function = make_function(cloud, ANSWERING)
    with injected(cloud, function, "throttle", times="always") as number:
        status, reason = deploy(cloud, function, Status="SUCCESS", ServiceTimeout=2)
        assert faults.Client(cloud.environment()).fired(number) == 2
    assert status == "ROLLBACK_COMPLETE"
    assert reason.startswith(NO_ANSWER)
    assert "at last with TooManyRequestsException: Rate Exceeded." in reason


def test_a_function_that_ends_well_may_be_answered_for_until_the_time_limit(cloud: Cloud) -> None:
    silent = make_function(cloud, "def handler(event, context):\n    pass\n")
    began = time.monotonic()
    status, reason = deploy(cloud, silent, ServiceTimeout=2)
    assert status == "ROLLBACK_COMPLETE"
    assert reason.startswith(NO_ANSWER)
    assert "local cloud" not in reason
    assert time.monotonic() - began >= 2
