"""`perennial stack-drift`: what CloudFormation answers, in the words of its service model, and what people are told."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from perennial_cli.account import Account
from perennial_cli.stacks import Stack
from tests.command import perennial

STACK_ID = "arn:aws:cloudformation:us-east-1:123456789012:stack/cars/1a2b"
TOPIC = "arn:aws:sns:us-east-1:123456789012:cars-AlertTopic-1A2B"
QUEUE = {
    "StackId": STACK_ID,
    "LogicalResourceId": "Queue",
    "PhysicalResourceId": "https://sqs/cars-Queue",
    "ResourceType": "AWS::SQS::Queue",
    "Timestamp": "2026-11-29T05:00:00Z",
}
LONGER = {
    "PropertyPath": "/MessageRetentionPeriod",
    "ExpectedValue": "1209600",
    "ActualValue": "60\n\x1b[31m",
    "DifferenceType": "NOT_EQUAL",
}
SAME = {**QUEUE, "LogicalResourceId": "Topic", "StackResourceDriftStatus": "IN_SYNC"}
MODIFIED = {**QUEUE, "StackResourceDriftStatus": "MODIFIED", "PropertyDifferences": [LONGER]}
DELETED = {**QUEUE, "LogicalResourceId": "Rule", "StackResourceDriftStatus": "DELETED"}
UNCHECKED = {**QUEUE, "LogicalResourceId": "JobCode", "StackResourceDriftStatus": "NOT_CHECKED"}


class Answers:
    """CloudFormation and SNS, each call checked against its service model."""

    def __init__(self) -> None:
        self.clients = {name: boto3.client(name, region_name="us-east-1") for name in ("cloudformation", "sns")}
        self.stubbers = {name: Stubber(client) for name, client in self.clients.items()}
        for stubber in self.stubbers.values():
            stubber.activate()

    def compared(self, *pages: list[dict[str, Any]], status: str = "DETECTION_COMPLETE", reason: str = "") -> None:
        stubber = self.stubbers["cloudformation"]
        stubber.add_response("detect_stack_drift", {"StackDriftDetectionId": "7"}, {"StackName": "cars"})
        seen = {"StackId": STACK_ID, "StackDriftDetectionId": "7", "Timestamp": "2026-11-29T05:00:00Z"}
        for one in ("DETECTION_IN_PROGRESS", status):
            answer = {**seen, "DetectionStatus": one, **({"DetectionStatusReason": reason} if reason else {})}
            stubber.add_response("describe_stack_drift_detection_status", answer, {"StackDriftDetectionId": "7"})
        for number, page in enumerate(pages, 1):
            more = {"NextToken": str(number)} if number < len(pages) else {}
            asked = {"NextToken": str(number - 1)} if number > 1 else {}
            stubber.add_response(
                "describe_stack_resource_drifts", {"StackResourceDrifts": page, **more}, {"StackName": "cars", **asked}
            )

    def mail(self, subject: str, message: str) -> None:
        expected = {"TopicArn": TOPIC, "Subject": subject, "Message": message}
        self.stubbers["sns"].add_response("publish", {"MessageId": "1"}, expected)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[Answers]:
    made = Answers()
    monkeypatch.setattr(boto3, "client", made.clients.__getitem__)
    monkeypatch.setattr("perennial_cli.resource_drift.POLL_SECONDS", 0)
    account = Account("123456789012", "us-east-1", None)
    monkeypatch.setattr("perennial_cli.commands.stacks.say_whom", lambda: account)
    monkeypatch.setattr("perennial_cli.stacks.chosen", lambda name: Stack("cars", {"TopicArn": TOPIC}, {}))
    yield made
    for stubber in made.stubbers.values():
        stubber.assert_no_pending_responses()


def test_a_stack_that_nobody_has_touched_is_no_news(answers: Answers) -> None:
    answers.compared([SAME, UNCHECKED])
    ended = perennial("stack-drift", "--mail")
    assert ended.exit_code == 0
    assert ended.stdout == (
        "cars is as it was deployed: 1 resources compared; 1 are of types that CloudFormation does not compare\n"
    )


REPORT = r"""cars: 2 of 3 resources are not as they were deployed

Queue (AWS::SQS::Queue, https://sqs/cars-Queue): modified
  /MessageRetentionPeriod: deployed as 1209600, now 60\u000a\u001b[31m

Rule (AWS::SQS::Queue, https://sqs/cars-Queue): deleted

What to do: undo it where it was done, or bring it into template.yaml and deploy. A deployment puts back only what differs from the template of the deployment before.
"""  # noqa: E501 - as it is printed


def test_what_somebody_has_changed_is_printed_and_mailed(answers: Answers) -> None:
    answers.compared([SAME, MODIFIED], [DELETED])
    answers.mail("cars: 2 resources not as deployed", f"{REPORT}\nWhere: AWS, account 123456789012, region us-east-1")
    ended = perennial("stack-drift", "--mail")
    assert (ended.exit_code, ended.stdout) == (1, REPORT)


def test_without_being_asked_to_it_mails_nobody(answers: Answers) -> None:
    answers.compared([MODIFIED])
    ended = perennial("stack-drift", "--json")
    assert ended.exit_code == 1
    (resource,) = json.loads(ended.stdout)["resources"]
    assert (resource["logical_id"], resource["differences"][0]["path"]) == ("Queue", "/MessageRetentionPeriod")


def test_a_comparison_that_failed_for_some_is_no_good_news(answers: Answers) -> None:
    answers.compared([SAME], status="DETECTION_FAILED", reason="no permission apigateway:GET")
    why = "Not all could be compared: no permission apigateway:GET"
    message = f"cars: 0 of 1 resources are not as they were deployed\n\n{why}"
    answers.mail("cars: not all could be compared", f"{message}\n\nWhere: AWS, account 123456789012, region us-east-1")
    ended = perennial("stack-drift", "--mail")
    assert (ended.exit_code, ended.stdout) == (1, f"{message}\n")


def test_a_comparison_without_an_end_is_given_up(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    answers.compared(status="DETECTION_IN_PROGRESS")
    monkeypatch.setattr("perennial_cli.resource_drift.WAIT_SECONDS", -1)
    ended = perennial("stack-drift")
    assert (ended.exit_code, "took more than" in ended.stderr) == (1, True)
    answers.stubbers["cloudformation"]._queue.clear()
