"""The function "Keep hours": the endpoint goes and comes by the clock, and never under a run that deploys."""

import json
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError

from tests.e2e.matrix.registry import matrix
from tests.unit.conftest import EXECUTION_ARN, REGION, STACK, load_function, refusal

RUN, LATER = "20261120093440-1a2b", "20261121093440-1a2b"
CONFIG = f"{STACK}-{RUN}"
ARN = f"arn:aws:sagemaker:{REGION}:123456789012:endpoint-config/{CONFIG}"
TAGS = [{"Key": "Project", "Value": "perennial"}]
CREATED = 1_795_942_800
DAY, NIGHT = datetime(2026, 11, 30, 12, tzinfo=UTC), datetime(2026, 11, 30, 20, tzinfo=UTC)
CLOCK = {"id": "1", "source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}
RUN_ENDED = {**CLOCK, "source": "aws.states", "detail": {"executionArn": EXECUTION_ARN, "status": "FAILED"}}
IN_SERVICE = {**CLOCK, "source": "aws.sagemaker", "detail": {"EndpointStatus": "IN_SERVICE"}}
FAILED = {**CLOCK, "source": "aws.sagemaker", "detail": {"EndpointStatus": "FAILED"}}
GONE = refusal("ValidationException", f'Could not find endpoint "arn:{STACK}".')
MAILED = (200, "<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>")


def described(status, **more):
    return 200, {"EndpointName": STACK, "EndpointStatus": status, "CreationTime": CREATED, **more}


@pytest.fixture
def sagemaker(answers):
    """The requests that SageMaker gets, by their operation; the endpoint has the status that is set first."""
    answers("sagemaker", "DescribeEndpointConfig", (200, {"EndpointConfigArn": ARN}))
    answers("sagemaker", "ListTags", (200, {"Tags": TAGS}))
    return {
        "Delete": answers("sagemaker", "DeleteEndpoint", (200, {})),
        "Create": answers("sagemaker", "CreateEndpoint", (200, {"EndpointArn": "arn"})),
    }


@pytest.fixture
def mails(answers):
    return answers("sns", "Publish", MAILED)


@pytest.fixture
def keep(aws, answers, sagemaker, mails, monkeypatch, lambda_context):
    """Let something happen at a time to an endpoint of a status; returns what the function has done."""
    app = load_function("keep_hours")
    aws.serve(RUN)

    def call(event, now, endpoint, by="clock"):
        monkeypatch.setenv("HOURS", f"07:00-19:00 UTC MON {by}")
        monkeypatch.setattr(app, "datetime", type("Clock", (), {"now": staticmethod(lambda _: now)}))
        answers("sagemaker", "DescribeEndpoint", endpoint)
        return app.handler(event, lambda_context)["Done"]

    return call


def body(requests):
    return [json.loads(request.body) for request in requests]


def test_outside_of_its_hours_the_endpoint_goes_and_all_else_stays(keep, sagemaker, aws):
    assert keep(CLOCK, NIGHT, described("InService")) == "Delete"
    assert body(sagemaker["Delete"]) == [{"EndpointName": STACK}]
    assert aws.client("ssm").get_parameter(Name=f"/{STACK}/endpoint-config")["Parameter"]["Value"] == CONFIG


def test_before_its_hours_it_is_made_of_what_parameter_store_names_with_the_tags_of_that(keep, sagemaker):
    assert keep(CLOCK, DAY, GONE) == "Create"
    assert body(sagemaker["Create"]) == [{"EndpointName": STACK, "EndpointConfigName": CONFIG, "Tags": TAGS}]


@pytest.mark.parametrize("event", [CLOCK, RUN_ENDED, IN_SERVICE, FAILED])
@pytest.mark.parametrize(
    ("now", "endpoint"),
    [
        (NIGHT, GONE), (DAY, described("InService")), (NIGHT, described("Deleting")),
        *((now, described(busy)) for now in (DAY, NIGHT) for busy in ("Creating", "Updating", "RollingBack")),
    ],
)  # fmt: skip
def test_what_is_as_it_should_be_and_what_changes_is_left_alone(keep, sagemaker, event, now, endpoint):
    assert keep(event, now, endpoint) == "Nothing"
    assert sagemaker == {"Delete": [], "Create": []}


@pytest.mark.parametrize("event", [CLOCK, RUN_ENDED, IN_SERVICE])
def test_whatever_made_it_outside_of_its_hours_it_goes_again(keep, event):
    assert keep(event, NIGHT, described("InService")) == "Delete"


def test_where_runs_wake_it_the_first_run_that_ends_in_its_hours_does_whatever_it_ends_as(keep):
    assert keep(CLOCK, DAY, GONE, by="run") == "Nothing"
    assert keep(RUN_ENDED, NIGHT, GONE, by="run") == "Nothing"
    assert keep(RUN_ENDED, DAY, GONE, by="run") == "Create"


def test_before_the_first_model_there_is_nothing_to_make(keep, aws, sagemaker):
    aws.client("ssm").delete_parameter(Name=f"/{STACK}/endpoint-config")
    assert keep(CLOCK, DAY, GONE) == "Nothing"
    assert sagemaker["Create"] == []


@matrix("Endpoint", "the hours of the endpoint end while a run deploys", ends="Succeeded")
@pytest.mark.parametrize(("now", "endpoint"), [(NIGHT, described("InService")), (DAY, GONE)])
def test_while_a_run_deploys_nothing_is_done_and_its_end_is_an_event(keep, aws, answers, sagemaker, now, endpoint):
    from perennial_aws import runs

    answers("stepfunctions", "DescribeExecution", (200, {"status": "RUNNING"}))
    runs.take_turn(LATER, EXECUTION_ARN, None)
    assert keep(CLOCK, now, endpoint) == "Nothing"
    assert sagemaker == {"Delete": [], "Create": []}
    answers("stepfunctions", "DescribeExecution", (200, {"status": "SUCCEEDED"}))
    assert keep(RUN_ENDED, now, endpoint) != "Nothing"


def test_a_run_that_waits_for_people_keeps_nobody_awake(keep, answers):
    from perennial_aws import runs

    answers("stepfunctions", "DescribeExecution", (200, {"status": "RUNNING"}))
    runs.take_turn(LATER, EXECUTION_ARN, None)
    runs.give_turn_back(EXECUTION_ARN)
    assert keep(CLOCK, NIGHT, described("InService")) == "Delete"


@matrix("Endpoint", "the endpoint is being deleted when its hours begin", ends="Succeeded")
def test_one_that_is_being_deleted_is_looked_at_again(keep):
    with pytest.raises(Exception, match="is being deleted, and is to be there now"):
        keep(CLOCK, DAY, described("Deleting"))


def test_one_that_has_failed_is_deleted_when_its_hours_begin_and_looked_at_again(keep, sagemaker):
    with pytest.raises(Exception, match="is being deleted"):
        keep(CLOCK, DAY, described("Failed"))
    assert len(sagemaker["Delete"]) == 1


@matrix("Endpoint", "an endpoint that sleeps cannot be made again: SageMaker has no machine for it", ends="Succeeded")
def test_one_that_fails_as_it_is_made_again_is_one_mail_however_many_events_come(keep, sagemaker, mails):
    failed = described("Failed", FailureReason="CapacityError: no ml.m5.large")
    assert [keep({**FAILED, "id": one}, DAY, failed) for one in ("1", "2")] == ["Tell", "Tell"]
    assert len(mails) == 1
    assert "Endpoint+not+awake%3A+CapacityError%3A+no+ml.m5.large" in mails[0].body
    assert "create-endpoint+--endpoint-name+" in mails[0].body
    assert sagemaker == {"Delete": [], "Create": []}, "to make it again at once might fail for ever"


def test_one_that_fails_outside_of_its_hours_goes_without_a_word(keep, mails):
    assert keep(FAILED, NIGHT, described("Failed")) == "Delete"
    assert mails == []


@matrix("Endpoint", "an endpoint that sleeps cannot be made again: the account's quota is used up", ends="Succeeded")
def test_a_refusal_is_one_mail(keep, answers, mails):
    answers("sagemaker", "CreateEndpoint", refusal("ResourceLimitExceeded", "the account-level service limit"))
    assert keep(CLOCK, DAY, GONE) == "Tell"
    assert len(mails) == 1
    assert "the+account-level+service+limit" in mails[0].body


def test_who_was_faster_has_made_it(keep, answers, mails):
    taken = f'Cannot create already existing endpoint "arn:{STACK}".'
    answers("sagemaker", "CreateEndpoint", refusal("ValidationException", taken))
    assert keep(CLOCK, DAY, GONE) == "Nothing"
    assert mails == []


def test_an_endpoint_that_has_begun_to_change_meanwhile_is_looked_at_again(keep, answers):
    answers("sagemaker", "DeleteEndpoint", refusal("ValidationException", "Cannot update in-progress endpoint"))
    with pytest.raises(ClientError, match="in-progress"):
        keep(CLOCK, NIGHT, described("InService"))
