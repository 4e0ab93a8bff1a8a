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
FAILED = {
    **CLOCK,
    "source": "aws.sagemaker",
    "detail-type": "SageMaker Endpoint State Change",
    "resources": [f"arn:aws:sagemaker:{REGION}:123456789012:endpoint/{STACK}"],
    "detail": {
        "EndpointName": STACK,
        "EndpointArn": f"arn:aws:sagemaker:{REGION}:123456789012:endpoint/{STACK}",
        "EndpointConfigName": CONFIG,
        "ProductionVariants": [{"DesiredWeight": 1.0, "DesiredInstanceCount": 1.0}],
        "EndpointStatus": "FAILED",
        "CreationTime": 1795942800203.0,
        "LastModifiedTime": 1795942994287.0,
        "Tags": {},
    },
}
TARGET = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": f"endpoint/{STACK}/variant/AllTraffic",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
GONE = refusal("ValidationException", f'Could not find endpoint "arn:{STACK}".')
MAILED = (200, "<PublishResponse><PublishResult><MessageId>1</MessageId></PublishResult></PublishResponse>")


def described(status, **more):
    known = {"EndpointName": STACK, "EndpointConfigName": CONFIG, "CreationTime": CREATED}
    return 200, {**known, "EndpointStatus": status, **more}


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
def scaling(answers):
    """The requests that Application Auto Scaling gets, by their operation; nothing is registered."""
    missing = refusal("ObjectNotFoundException", "No scalable target found")
    answers("application-autoscaling", "DescribeScalableTargets", (200, {"ScalableTargets": []}))
    answers("application-autoscaling", "DescribeScalingPolicies", (200, {"ScalingPolicies": []}))
    return {
        "Register": answers("application-autoscaling", "RegisterScalableTarget", (200, {})),
        "Put": answers("application-autoscaling", "PutScalingPolicy", (200, {"PolicyARN": "arn"})),
        "Deregister": answers("application-autoscaling", "DeregisterScalableTarget", missing),
    }


@pytest.fixture
def mails(answers):
    return answers("sns", "Publish", MAILED)


@pytest.fixture
def keep(aws, answers, sagemaker, scaling, mails, monkeypatch, lambda_context):
    """Let something happen at a time to an endpoint of a status; returns what the function has done."""
    app = load_function("keep_hours")
    aws.serve(RUN)

    def call(event, now, endpoint, by="clock", hours="07:00-19:00", scaling="1 0 70"):
        monkeypatch.setenv("HOURS", f"{hours} UTC MON {by}")
        monkeypatch.setenv("SCALING", scaling)
        monkeypatch.setattr(app, "datetime", type("Clock", (), {"now": staticmethod(lambda _: now)}))
        answers("sagemaker", "DescribeEndpoint", endpoint)
        return app.handler(event, lambda_context)["Done"]

    return call


def body(requests):
    return [json.loads(request.body) for request in requests]


def test_outside_of_its_hours_the_endpoint_goes_and_all_else_stays(keep, sagemaker, scaling, aws):
    assert keep(CLOCK, NIGHT, described("InService")) == "Delete"
    assert body(scaling["Deregister"]) == [TARGET], "SageMaker may ask for it of who deletes what scales"
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


NO_MACHINE = described("Failed", FailureReason="CapacityError: no ml.m5.large")


@matrix("Endpoint", "an endpoint that sleeps cannot be made again: SageMaker has no machine for it", ends="Succeeded")
@pytest.mark.parametrize(
    ("hours", "again"), [("07:00-19:00", "AwakeHours+begin+the+next+time"), ("", "by+the+next+run+that+deploys")]
)
def test_one_that_fails_as_it_is_made_again_is_one_mail_however_many_events_come(keep, sagemaker, mails, hours, again):
    """Also where a deployment has ended its hours, which has it made."""
    assert [keep({**FAILED, "id": one}, DAY, NO_MACHINE, hours=hours) for one in ("1", "2")] == ["Tell", "Tell"]
    assert len(mails) == 1
    assert "Endpoint+not+awake%3A+CapacityError%3A+no+ml.m5.large" in mails[0].body
    assert "create-endpoint+--endpoint-name+" in mails[0].body
    assert f"it+is+tried+again+{again}" in mails[0].body.replace("when+the+hours+of+the+parameter+", "")
    assert sagemaker == {"Delete": [], "Create": []}, "to make it again at once might fail for ever"


@pytest.mark.parametrize("hours", ["07:00-19:00", ""])
def test_one_that_a_run_has_made_and_that_fails_is_told_by_the_mail_of_the_run(keep, mails, hours):
    """The event may come when the run has ended; only what is verified is in Parameter Store."""
    failed = described("Failed", FailureReason="CapacityError: no ml.m5.large", EndpointConfigName=f"{STACK}-{LATER}")
    assert keep(FAILED, DAY, failed, hours=hours) == "Nothing"
    assert mails == []


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


def deployed(*ended):
    """What a deployment tells that has changed hours or scaling."""
    return {"id": "1", "source": "aws.cloudformation", "detail": {"Ended": list(ended)}}


def test_hours_that_end_while_the_endpoint_sleeps_wake_it(keep, sagemaker):
    assert keep(deployed("Hours"), NIGHT, GONE, hours="") == "Create"
    assert body(sagemaker["Create"])[0]["EndpointConfigName"] == CONFIG


@pytest.mark.parametrize("event", [CLOCK, RUN_ENDED, IN_SERVICE, deployed(), deployed("Scaling")])
@pytest.mark.parametrize("endpoint", [GONE, described("Failed")])
def test_without_hours_nothing_but_their_end_makes_an_endpoint(keep, sagemaker, mails, event, endpoint):
    assert keep(event, DAY, endpoint, hours="", scaling="1 4 70") == "Nothing"
    assert (sagemaker, mails) == ({"Delete": [], "Create": []}, [])


def test_hours_that_a_deployment_changes_count_at_once(keep):
    assert keep(deployed(), NIGHT, described("InService")) == "Delete"
    assert keep(deployed(), DAY, GONE) == "Create"
    assert keep(deployed(), DAY, GONE, by="run") == "Nothing"


@pytest.mark.parametrize("hours", ["", "07:00-19:00"])
@pytest.mark.parametrize("event", [RUN_ENDED, IN_SERVICE, deployed()])
def test_an_endpoint_in_service_is_let_scale_between_its_bounds(keep, scaling, event, hours):
    assert keep(event, DAY, described("InService"), hours=hours, scaling="2 6 300") == "Scale"
    assert body(scaling["Register"]) == [{**TARGET, "MinCapacity": 2, "MaxCapacity": 6}]
    (policy,) = body(scaling["Put"])
    assert policy["PolicyType"] == "TargetTrackingScaling"
    assert policy["TargetTrackingScalingPolicyConfiguration"] == {
        "TargetValue": 300.0,
        "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
    }


@pytest.mark.parametrize(
    ("least", "most", "target", "done"),
    [(2, 6, 300.0, "Nothing"), (1, 6, 300.0, "Scale"), (2, 5, 300.0, "Scale"), (2, 6, 70.0, "Scale")],
)
def test_one_that_scales_as_it_is_to_is_left_alone(keep, answers, scaling, least, most, target, done):
    """Each change of its instances ends with an event of its own, and a policy that is put again begins anew."""
    known = {**TARGET, "MinCapacity": least, "MaxCapacity": most, "RoleARN": "arn", "CreationTime": CREATED}
    answers("application-autoscaling", "DescribeScalableTargets", (200, {"ScalableTargets": [known]}))
    policy = {**TARGET, "TargetTrackingScalingPolicyConfiguration": {"TargetValue": target}}
    answers("application-autoscaling", "DescribeScalingPolicies", (200, {"ScalingPolicies": [policy]}))
    assert keep(IN_SERVICE, DAY, described("InService"), scaling="2 6 300") == done
    assert len(scaling["Register"]) == (done == "Scale")


def test_what_does_not_scale_by_a_parameter_is_left_as_somebody_has_registered_it(keep, scaling):
    assert keep(IN_SERVICE, DAY, described("InService")) == "Nothing"
    assert scaling == {"Register": [], "Put": [], "Deregister": []}


def test_a_deployment_that_ends_its_scaling_takes_it_back(keep, scaling):
    assert keep(deployed("Scaling"), DAY, described("InService"), hours="") == "Nothing"
    assert body(scaling["Deregister"]) == [TARGET]


@matrix("Endpoint", "an endpoint is to scale while a run deploys", ends="Succeeded")
def test_while_a_run_deploys_nothing_is_registered_and_its_end_is_an_event(keep, answers, scaling):
    from perennial_aws import runs

    answers("stepfunctions", "DescribeExecution", (200, {"status": "RUNNING"}))
    runs.take_turn(LATER, EXECUTION_ARN, None)
    assert keep(IN_SERVICE, DAY, described("InService"), scaling="1 4 70") == "Nothing"
    assert scaling["Register"] == []
    answers("stepfunctions", "DescribeExecution", (200, {"status": "SUCCEEDED"}))
    assert keep(RUN_ENDED, DAY, described("InService"), scaling="1 4 70") == "Scale"


@matrix("Endpoint", "Application Auto Scaling refuses to let the endpoint scale", ends="Succeeded")
def test_a_refusal_to_scale_is_raised_so_that_lambda_tries_again_and_keeps_the_event(keep, answers):
    answers("application-autoscaling", "PutScalingPolicy", refusal("FailedResourceAccessException", "no alarm"))
    with pytest.raises(ClientError, match="no alarm"):
        keep(RUN_ENDED, DAY, described("InService"), scaling="1 4 70")
