"""The functions "Request approval" and "Answer approval": people are asked once, and each answer is heard once."""

import json

import pytest

from perennial.runs.work import AWAITS_APPROVAL
from tests.unit.conftest import BUCKET, EXECUTION_ARN, REGION, STACK, load_function, refusal

RUN = "20261120093440-1a2b"
VERSION = f"arn:aws:sagemaker:{REGION}:123456789012:model-package/{STACK}/3"
EVENT = {"detail": {"ModelPackageArn": VERSION, "ModelApprovalStatus": "Approved"}}


@pytest.fixture
def registry(answers):
    """Let the registry say this of the version."""

    def says(status, reason=None):
        described = {"ModelPackageArn": VERSION, "ModelApprovalStatus": status}
        described |= {"ApprovalDescription": reason} if reason else {}
        answers("sagemaker", "DescribeModelPackage", (200, described))

    says("PendingManualApproval")
    return says


@pytest.fixture
def sent(answers):
    """The answers that Step Functions got: (successes, failures)."""
    return answers("stepfunctions", "SendTaskSuccess", (200, {})), answers(
        "stepfunctions", "SendTaskFailure", (200, {})
    )


@pytest.fixture
def mails(answers):
    return answers(
        "sns",
        "Publish",
        (200, "<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>"),
    )


@pytest.fixture
def ask(aws, registry, mails, lambda_context):
    from perennial_aws import runs

    app = load_function("request_approval")
    runs.put({
        "run_id": RUN, "stack": STACK, "model": "used-cars", "bucket": BUCKET, "status": "Running",
        "execution": {"arn": EXECUTION_ARN, "started_at": "2026-11-20T09:34:40.000Z"},
    })  # fmt: skip

    def call(attempt=1):
        event = {"RunId": RUN, "ExecutionArn": EXECUTION_ARN, "Version": VERSION, "Days": 7}
        return app.handler({**event, "TaskToken": f"token-{attempt}"}, lambda_context)

    return call


@pytest.fixture
def answer(aws, registry, lambda_context):
    app = load_function("answer_approval")
    return lambda: app.handler(EVENT, lambda_context)


def bodies(requests):
    return [json.loads(request.body) for request in requests]


def test_people_are_asked_once_however_often_the_task_is_tried(ask, mails):
    assert ask(1)["MessageId"] == "1"
    assert ask(2)["MessageId"] is None
    assert len(mails) == 1
    assert AWAITS_APPROVAL in mails[0].body


def test_a_run_that_waits_gives_its_turn_back_and_keeps_that_of_another(aws, ask):
    from perennial_aws import runs

    runs.take_turn(RUN, EXECUTION_ARN, None)
    ask()
    assert aws.item("deployment")["given_back"] == {"BOOL": True}
    runs.take_turn("20261120093441-2b3c", "arn:other", RUN)
    ask()
    assert "given_back" not in aws.item("deployment")


@pytest.mark.parametrize("attempt", [1, 2])
def test_an_approval_lets_the_run_go_on_by_its_newest_token(ask, answer, registry, sent, attempt):
    ask(1)
    ask(attempt)
    registry("Approved", "looks good")
    assert answer() == {"Version": VERSION, "Status": "Approved", "Resumed": True}
    successes, failures = map(bodies, sent)
    assert (len(successes), failures) == (1, [])
    assert successes[0]["taskToken"] == f"token-{attempt}"
    assert json.loads(successes[0]["output"]) == {"Reason": "looks good"}


def test_a_rejection_ends_the_run_with_its_reason(ask, answer, registry, sent):
    ask()
    registry("Rejected", "biased")
    assert answer()["Resumed"]
    successes, failures = map(bodies, sent)
    assert (successes, [(one["error"], one["cause"]) for one in failures]) == (
        [], [("VersionRejected", "somebody has rejected it: biased")],
    )  # fmt: skip


def test_what_the_registry_says_now_counts_not_the_event(ask, answer, registry, sent):
    ask()
    registry("Rejected")
    assert EVENT["detail"]["ModelApprovalStatus"] == "Approved"
    answer()
    assert [len(one) for one in sent] == [0, 1]


def test_an_answer_before_the_token_was_there_is_heard(ask, answer, registry, sent):
    registry("Approved")
    assert not answer()["Resumed"]
    ask()
    assert bodies(sent[0])[0]["taskToken"] == "token-1"


@pytest.mark.parametrize("code", ["InvalidToken", "TaskDoesNotExist", "TaskTimedOut"])
def test_an_answer_to_a_task_that_waits_no_more_does_no_harm(ask, answer, registry, answers, code):
    ask()
    registry("Approved")
    answers("stepfunctions", "SendTaskSuccess", refusal(code))
    assert not answer()["Resumed"]


def test_an_answer_that_could_not_be_sent_is_raised_so_that_the_event_comes_again(ask, answer, registry, answers):
    ask()
    registry("Approved")
    answers("stepfunctions", "SendTaskSuccess", refusal("KmsAccessDeniedException"))
    with pytest.raises(Exception, match="KmsAccessDenied"):
        answer()


def test_a_version_that_is_gone_has_no_answer(ask, answer, answers, sent):
    ask()
    answers("sagemaker", "DescribeModelPackage", refusal("ValidationException", "ModelPackage arn does not exist."))
    assert answer() == {"Version": VERSION, "Status": None, "Resumed": False}
