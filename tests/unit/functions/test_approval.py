"""The functions "Request approval" and "Answer approval": people are asked once, and each answer is heard once."""

import json
from urllib.parse import parse_qs

import pytest

from perennial.runs import run_input
from perennial.runs.work import AWAITS_APPROVAL
from tests.e2e.matrix.registry import matrix
from tests.unit.conftest import BUCKET, EXECUTION_ARN, REGION, STACK, load_function, refusal

RUN = "20261120093440-1a2b"
GROUP = f"arn:aws:sagemaker:{REGION}:123456789012:model-package/{STACK}"
VERSION = f"{GROUP}/3"
APPROVERS = f"arn:aws:sns:{REGION}:123456789012:approvers"
MACHINE = f"arn:aws:states:{REGION}:123456789012:stateMachine:{STACK}-train-model"
EVENT = {"id": "1-2", "detail": {"ModelPackageArn": VERSION, "ModelApprovalStatus": "Approved"}}


@pytest.fixture
def registry(answers):
    """Let the registry say this of the version."""

    def says(status, reason=None, newest=None, maker=None):
        described = {"ModelPackageArn": VERSION, "ModelPackageVersion": 3, "ModelApprovalStatus": status}
        described |= {"CreatedBy": {"IamIdentity": {"Arn": f"arn:aws:sts::{maker}:assumed-role/p/s"}}} if maker else {}
        described |= {"CreationTime": 1_764_400_000, "LastModifiedTime": 1_764_447_861.25}
        described |= {"ModelPackageDescription": f"run {RUN}"}
        described |= {"ApprovalDescription": reason} if reason else {}
        answers("sagemaker", "DescribeModelPackage", (200, described))
        approved = [
            {
                "ModelPackageArn": f"{GROUP}/{number}",
                "ModelPackageVersion": number,
                "ModelApprovalStatus": "Approved",
                "ModelPackageDescription": f"run {RUN}",
            }
            for number in ([newest] if newest else [])
        ]
        answers("sagemaker", "ListModelPackages", (200, {"ModelPackageSummaryList": approved}))

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
def ask(aws, registry, mails, lambda_context, monkeypatch):
    from perennial_aws import runs

    monkeypatch.setenv("APPROVER_TOPIC_ARN", APPROVERS)
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
def answer(aws, registry, lambda_context, monkeypatch):
    monkeypatch.setenv("STATE_MACHINE_ARN", MACHINE)
    app = load_function("answer_approval")

    def call(event_id=EVENT["id"], ended=None):
        detail = {"executionArn": ended} if ended else EVENT["detail"]
        return app.handler({"id": event_id, "detail": detail}, lambda_context)

    return call


def bodies(requests):
    return [json.loads(request.body) for request in requests]


def test_people_are_asked_once_however_often_the_task_is_tried(ask, mails):
    assert ask(1)["MessageId"] == "1"
    assert ask(2)["MessageId"] is None
    assert len(mails) == 1
    assert AWAITS_APPROVAL in mails[0].body
    assert parse_qs(mails[0].body)["TopicArn"] == [APPROVERS]


def test_what_is_known_of_a_run_that_waits_is_there_to_compare_with_all_of_its_files(aws, ask):
    from perennial_aws import runs

    files = [{"Key": f"raw/{number}.csv", "VersionId": "1"} for number in range(200)]
    aws.put(f"runs/{RUN}/manifest.json", json.dumps({"Files": files}))
    data = {"manifest": f"s3://{BUCKET}/runs/{RUN}/manifest.json", "files": files, "file_count": 200, "prefix": "raw/"}
    runs.update(RUN, data=data)
    runs.put(runs.get(RUN))  # which keeps but some of them
    ask()
    so_far = aws.get_json(f"runs/{RUN}/approval.json")
    assert (so_far["run_id"], so_far["status"], so_far["data"]["files"]) == (RUN, AWAITS_APPROVAL, files)
    assert so_far["version"] == {"arn": VERSION, "number": 3, "status": "PendingManualApproval"}
    assert runs.get(RUN)["status"] == "Running"


@matrix("People", "two calls ask about one version at the same time", ends="Succeeded")
def test_two_who_ask_at_the_same_time_keep_the_newest_token(ask, answer, registry, sent, monkeypatch):
    """The second call comes while the first writes its mail; nothing of it is lost when the first has."""
    from perennial_aws import ends

    publish, calls = ends.publish, []

    def meanwhile(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            ask(attempt=2)
        return publish(*arguments)

    monkeypatch.setattr(ends, "publish", meanwhile)
    ask(attempt=1)
    assert ask(attempt=3)["MessageId"] is None, "that they were asked is known, whoever was first"
    registry("Approved")
    answer()
    assert [body["taskToken"] for body in bodies(sent[0])] == ["token-3"]


def test_that_people_were_asked_says_nothing_of_the_token(aws, ask):
    from perennial_aws import approvals, runs

    approvals.wait_for(VERSION, RUN, EXECUTION_ARN, "first")
    approvals.wait_for(VERSION, RUN, EXECUTION_ARN, "second")
    approvals.were_asked(VERSION)
    assert runs.item(f"approval#{VERSION}") == {
        "id": f"approval#{VERSION}", "run_id": RUN, "execution_arn": EXECUTION_ARN, "token": "second", "asked": True,
    }  # fmt: skip


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
    assert answer() == {"Version": VERSION, "Status": "Approved", "Done": "Resumed"}
    successes, failures = map(bodies, sent)
    assert (len(successes), failures) == (1, [])
    assert successes[0]["taskToken"] == f"token-{attempt}"
    assert json.loads(successes[0]["output"]) == {"Reason": "looks good"}


def test_a_rejection_ends_the_run_with_its_reason(ask, answer, registry, sent):
    ask()
    registry("Rejected", "biased")
    assert answer()["Done"] == "Resumed"
    successes, failures = map(bodies, sent)
    assert (successes, [(one["error"], one["cause"]) for one in failures]) == (
        [], [("VersionRejectedError", "somebody has rejected it: biased")],
    )  # fmt: skip


def test_what_the_registry_says_now_counts_not_the_event(ask, answer, registry, sent):
    ask()
    registry("Rejected")
    assert EVENT["detail"]["ModelApprovalStatus"] == "Approved"
    answer()
    assert [len(one) for one in sent] == [0, 1]


def test_an_answer_before_the_token_was_there_is_heard(ask, answer, registry, sent):
    registry("Approved")
    assert answer()["Done"] == "Nothing"
    ask()
    assert bodies(sent[0])[0]["taskToken"] == "token-1"


@matrix("People", "a version is approved when no run waits for it any more: its token has expired", ends="Succeeded")
@pytest.mark.parametrize("code", ["InvalidToken", "TaskDoesNotExist", "TaskTimedOut"])
def test_an_answer_to_a_task_that_waits_no_more_does_no_harm(ask, answer, registry, answers, code):
    ask()
    registry("Approved")
    answers("stepfunctions", "SendTaskSuccess", refusal(code))
    assert answer()["Done"] == "Nothing"


def test_an_answer_that_could_not_be_sent_is_raised_so_that_the_event_comes_again(ask, answer, registry, answers):
    ask()
    registry("Approved")
    answers("stepfunctions", "SendTaskSuccess", refusal("KmsAccessDeniedException"))
    with pytest.raises(Exception, match="KmsAccessDenied"):
        answer()


@matrix("People", "the registry throttles when a version was answered: the event comes again", ends="Succeeded")
def test_an_answer_that_the_registry_does_not_give_is_raised_and_heard_when_the_event_comes_again(
    ask, answer, registry, answers, sent
):
    ask()
    answers("sagemaker", "DescribeModelPackage", refusal("ThrottlingException", "Rate exceeded"))
    with pytest.raises(Exception, match="Rate exceeded"):
        answer()
    registry("Approved")
    assert answer()["Done"] == "Resumed"


@matrix(
    "People",
    "the version or its group is deleted while a run waits: it waits until its time is over",
    ends="NotApproved",
)
def test_a_version_that_is_gone_has_no_answer(ask, answer, answers, sent):
    ask()
    answers("sagemaker", "DescribeModelPackage", refusal("ValidationException", "ModelPackage arn does not exist."))
    assert answer() == {"Version": VERSION, "Status": None, "Done": "Nothing"}


# ---- Where no run waits


@pytest.fixture
def started(answers):
    """The executions that were started."""
    return answers("stepfunctions", "StartExecution", (200, {"executionArn": "arn", "startDate": 1}))


@pytest.fixture
def run(aws, answers):
    """The run that has registered the version has this status."""
    from perennial_aws import runs

    def ended(status, error=None):
        runs.put({"run_id": RUN, "execution": {"arn": EXECUTION_ARN, "started_at": "2026-11-20T09:34:40.000Z"}})
        described = {"executionArn": EXECUTION_ARN, "stateMachineArn": MACHINE, "status": status, "startDate": 1}
        described |= {"error": error} if error else {}
        answers("stepfunctions", "DescribeExecution", (200, described))

    ended("FAILED")
    return ended


def serve(aws, number):
    aws.client("ssm").put_parameter(Name=f"/{STACK}/model-package", Value=f"{GROUP}/{number}", Type="String")


def test_an_approval_that_comes_late_starts_a_deployment_of_that_version(aws, answer, registry, started, run):
    serve(aws, 2)
    registry("Approved", newest=3)
    assert answer()["Done"] == "Deploy"
    (request,) = bodies(started)
    assert (request["stateMachineArn"], request["name"]) == (MACHINE, "version-3-20251129202421250000")
    document = json.loads(request["input"])
    assert document == {"Trigger": {"Type": "Registry", "Id": "1-2"}, "ModelVersion": 3}
    run_input.execution_input(document)


def test_of_what_another_account_has_registered_nothing_follows_here(aws, answer, registry, started, run):
    serve(aws, 2)
    registry("Approved", newest=3, maker="222222222222")
    assert answer()["Done"] == "Nothing"
    assert bodies(started) == []


@matrix("People", "a version is approved twice, or its event comes twice", ends="Succeeded")
def test_an_answer_of_which_there_are_several_events_starts_one_deployment(aws, answer, registry, answers, run):
    registry("Approved", newest=3)
    started = answers("stepfunctions", "StartExecution", (200, {"executionArn": "arn", "startDate": 1}))
    assert answer()["Done"] == "Deploy"
    first = bodies(started)[0]["name"]
    again = answers("stepfunctions", "StartExecution", refusal("ExecutionAlreadyExists"))
    assert answer("another-event")["Done"] == "Deploy"
    assert [one["name"] for one in bodies(again)] == [first]


def test_a_version_of_another_environment_is_deployed_without_a_look_at_its_run_there(
    aws, answer, registry, started, answers
):
    from perennial_aws import runs

    step = {"version": VERSION, "stack": "cars-dev", "by": "arn:aws:iam::1:role/ada", "at": "2026-11-20"}
    runs.put({"run_id": RUN, "execution": {"arn": "arn:of-another-account"}, "promotions": [step]})
    answers("stepfunctions", "DescribeExecution", refusal("AccessDeniedException"))
    registry("Approved", newest=3)
    assert answer()["Done"] == "Deploy"
    assert json.loads(bodies(started)[0]["input"])["ModelVersion"] == 3


def test_an_answer_that_came_as_the_time_of_its_run_ended_is_followed_at_the_end(aws, answer, registry, started, run):
    from perennial_aws import runs

    registry("Approved", newest=3)
    runs.remember(EXECUTION_ARN, {"Decision": "Train", "RunId": RUN})
    run("RUNNING")
    assert answer()["Done"] == "Nothing"
    run("FAILED", "ApprovalTimedOut")
    assert answer(ended=EXECUTION_ARN)["Done"] == "Deploy"
    assert json.loads(bodies(started)[0]["input"])["ModelVersion"] == 3


@pytest.mark.parametrize("error", ["DeploymentFailed", "ModelAccuracyTooLow"])
def test_the_version_of_a_run_that_ended_otherwise_is_not_brought_back(aws, answer, registry, started, run, error):
    from perennial_aws import runs

    registry("Approved", newest=3)
    runs.remember(EXECUTION_ARN, {"Decision": "Train", "RunId": RUN})
    run("FAILED", error)
    assert (answer(ended=EXECUTION_ARN)["Done"], list(started)) == ("Nothing", [])


@pytest.mark.parametrize(
    ("serving", "newest", "status"),
    [(3, 3, "FAILED"), (2, 4, "FAILED"), (2, 3, "RUNNING")],
    ids=["it serves", "a newer one is approved", "its run works"],
)
def test_an_approval_starts_nothing_where_nothing_follows(aws, answer, registry, started, run, serving, newest, status):
    serve(aws, serving)
    run(status)
    registry("Approved", newest=newest)
    assert (answer()["Done"], list(started)) == ("Nothing", [])


def test_the_rejection_of_the_version_in_service_brings_back_the_newest_approved_one(
    aws, answer, registry, started, run
):
    serve(aws, 3)
    registry("Rejected", "biased", newest=2)
    assert answer()["Done"] == "Deploy"
    assert json.loads(bodies(started)[0]["input"])["ModelVersion"] == 2


def test_the_rejection_of_another_version_changes_nothing(aws, answer, registry, started, run):
    serve(aws, 4)
    registry("Rejected", "biased", newest=4)
    assert (answer()["Done"], list(started)) == ("Nothing", [])


def test_a_rejection_of_the_version_in_service_without_another_starts_what_says_so(aws, answer, registry, started, run):
    serve(aws, 3)
    registry("Rejected", "biased")
    assert answer()["Done"] == "Deploy"
    assert json.loads(bodies(started)[0]["input"])["ModelVersion"] == 3


ENDED = {"id": "2-3", "detail": {"executionArn": EXECUTION_ARN, "status": "SUCCEEDED"}}


@pytest.fixture
def end(answer, aws, lambda_context):
    """Tell the function that a run has ended, which is that of the version unless it is another one."""

    def call(run_id=RUN):
        from perennial_aws import runs

        runs.remember(EXECUTION_ARN, {"RunId": run_id, "Decision": "Train"})
        return load_function("answer_approval").handler(ENDED, lambda_context)

    return call


@matrix(
    "People", "a version is rejected while its run deploys it: at the run's end it is gone back from", ends="Succeeded"
)
def test_a_rejection_while_the_run_deploys_is_done_when_the_run_has_ended(aws, answer, end, registry, started, run):
    run("RUNNING")
    registry("Rejected", "biased", newest=2)
    assert (answer()["Done"], list(started)) == ("LookAgain", []), "it is no error, so that nothing is tried again"
    serve(aws, 3)
    run("SUCCEEDED")
    assert end()["Done"] == "Deploy"
    (request,) = bodies(started)
    assert (request["name"], json.loads(request["input"])["ModelVersion"]) == ("version-2-20251129202421250000", 2)


def test_the_end_of_a_run_whose_version_serves_as_people_want_changes_nothing(aws, end, registry, started, run):
    serve(aws, 3)
    registry("Approved", newest=3)
    assert (end()["Done"], list(started)) == ("Nothing", [])


def test_the_end_of_a_run_that_has_deployed_nothing_is_not_looked_at(aws, end, registry, started, run):
    """Or a version that cannot be deployed would be tried again at the end of its own deployment, for ever."""
    serve(aws, 3)
    registry("Rejected", "biased", newest=2)
    assert end("20261121093440-2b3c") == {"Version": None, "Status": None, "Done": "Nothing"}
    assert list(started) == []


@pytest.mark.parametrize("number", [None, 3])
def test_the_end_of_an_execution_that_nobody_has_answered_is_not_looked_at(aws, answer, number, lambda_context):
    if number:
        serve(aws, number)
    assert load_function("answer_approval").handler(ENDED, lambda_context)["Done"] == "Nothing"


@matrix("People", "an older version waits when a newer one is approved and serves", ends="Superseded")
@pytest.mark.parametrize(("waiting", "ends"), [(2, True), (4, False)])
def test_whoever_waits_with_an_older_version_ends_when_a_newer_one_serves(
    aws, answers, end, registry, sent, run, waiting, ends
):
    from perennial_aws import approvals

    serve(aws, 3)
    registry("Approved", newest=3)
    older = {"ModelPackageArn": f"{GROUP}/{waiting}", "ModelPackageVersion": waiting}
    pending = {"ModelPackageSummaryList": [{**older, "ModelApprovalStatus": "PendingManualApproval"}]}
    approved = {"ModelPackageSummaryList": [{**older, "ModelPackageArn": VERSION, "ModelPackageVersion": 3,
                                             "ModelApprovalStatus": "Approved"}]}  # fmt: skip
    answers(
        "sagemaker",
        "ListModelPackages",
        lambda request: (200, pending if b"Pending" in request.body else approved),
    )
    approvals.wait_for(f"{GROUP}/{waiting}", "20261119093440-9a9b", "arn:other", "their-token")
    end()
    _, failures = map(bodies, sent)
    told = [(one["taskToken"], one["error"], one["cause"]) for one in failures]
    cause = "version 3, which is newer, was approved and has come into service"
    assert told == ([("their-token", "VersionSupersededError", cause)] if ends else [])
