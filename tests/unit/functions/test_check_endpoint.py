"""The function "Check endpoint": what DescribeEndpoint says becomes an action, and errors are never read as absence."""

import json

import pytest
from botocore.exceptions import ClientError

from tests.e2e.matrix.registry import matrix
from tests.unit.conftest import BUCKET, STACK, load_function, refusal

WANTED = f"{STACK}-20261120093440-1a2b"


@pytest.fixture
def check(aws, lambda_context):
    app = load_function("check_endpoint")
    return lambda phase="Before", **more: app.handler(
        {"EndpointName": STACK, "WantedConfigName": WANTED, "Phase": phase, **more}, lambda_context
    )


def described(status, config="old", **more):
    return 200, {"EndpointName": STACK, "EndpointStatus": status, "EndpointConfigName": config, **more}


def test_an_endpoint_that_does_not_exist_is_created(check, answers):
    answers("sagemaker", "DescribeEndpoint", refusal("ValidationException", f'Could not find endpoint "arn:{STACK}".'))
    assert check() == {
        "Action": "Create",
        "Status": "NotFound",
        "ServingConfigName": None,
        "Reason": "there is no endpoint yet",
        "DeploymentConfig": None,
        "LeftOut": [],
    }


def test_a_serving_endpoint_is_updated(check, answers):
    answers("sagemaker", "DescribeEndpoint", described("InService"))
    assert check()["Action"] == "Update"
    assert check()["ServingConfigName"] == "old"


@pytest.mark.parametrize("code", ["AccessDeniedException", "ValidationException", "UnknownOperationException"])
def test_an_error_is_not_read_as_an_absent_endpoint(check, answers, code):
    answers("sagemaker", "DescribeEndpoint", refusal(code, "something else is wrong"))
    with pytest.raises(ClientError, match="something else"):
        check()


def test_throttling_is_waited_out(check, answers):
    requests = answers(
        "sagemaker",
        "DescribeEndpoint",
        refusal("ThrottlingException", "Rate exceeded"),
        refusal("ThrottlingException", "Rate exceeded"),
        described("InService"),
    )
    assert check()["Action"] == "Update"
    assert len(requests) == 3


def test_a_rolled_back_update_is_told_apart_from_a_success(check, answers):
    answers(
        "sagemaker", "DescribeEndpoint", described("InService", FailureReason="alarm x"), described("InService", WANTED)
    )
    rolled_back, done = check("After"), check("After")
    assert (rolled_back["Action"], done["Action"]) == ("RolledBack", "Done")
    assert "alarm x" in rolled_back["Reason"]


def sealed(aws):
    """Return a run that has recorded what its artefacts are."""
    from perennial_aws import artifacts, runs

    run = WANTED.removeprefix(f"{STACK}-")
    runs.put({"run_id": run})
    for name in artifacts.NAMES:
        aws.put(f"runs/{run}/{name}/model.tar.gz", name)
        artifacts.seal(run, name, f"s3://{BUCKET}/runs/{run}/{name}/model.tar.gz")
    return run


def test_a_model_whose_sealed_file_was_replaced_is_neither_deployed_nor_gone_back_to(aws, check, answers):
    from perennial_aws import artifacts

    answers("sagemaker", "DescribeEndpoint", described("InService"))
    run = sealed(aws)
    champion = {"ModelName": WANTED, "EndpointConfigName": "before", "RunId": "another"}
    back = {"phase": "Back", "Champion": champion}
    assert check(RunId=run)["Action"] == check(Champion=champion)["Action"] == "Update"
    aws.put(f"runs/{run}/serving/preprocessor.tar.gz", "something else")
    answers("sagemaker", "DescribeEndpoint", described("InService", WANTED))
    for given in ({"RunId": run}, {"Champion": champion}, back):
        with pytest.raises(artifacts.ArtifactChangedError, match="the preprocessor of run"):
            check(**given)
    answers("sagemaker", "DescribeEndpoint", described("InService", "before"))
    assert check(**back)["Action"] == "Done"  # nothing is to serve that does not serve already


def test_the_way_back_leads_to_the_configuration_of_the_champion(check, answers):
    champion = {"ModelName": "old", "EndpointConfigName": "old", "RunId": "earlier"}
    answers("sagemaker", "DescribeEndpoint", described("InService", WANTED), described("InService", "old"))
    assert [check("Back", Champion=champion)["Action"] for _ in range(2)] == ["Update", "Done"]
    assert check("Back", Champion=None)["Action"] == "Failed"


def test_an_endpoint_that_changes_is_looked_at_until_it_has_changed(check, answers, monkeypatch):
    pauses = []
    monkeypatch.setattr("time.sleep", pauses.append)
    requests = answers(
        "sagemaker", "DescribeEndpoint", described("Updating"), described("Updating"), described("InService", WANTED)
    )
    assert check("After")["Action"] == "Done"
    assert len(requests) == 3
    assert sum(pauses) == pytest.approx(0.1)


def test_an_endpoint_that_goes_on_changing_is_looked_at_for_a_second(check, answers, monkeypatch):
    pauses = []
    monkeypatch.setattr("time.sleep", pauses.append)
    answers("sagemaker", "DescribeEndpoint", described("Updating"))
    assert check("After")["Action"] == "Wait"
    assert sum(pauses) == pytest.approx(1)


ALARMS = ["errors", "latency", "model-quality"]


@pytest.fixture
def watched(monkeypatch, aws, check, answers):
    """An endpoint of two instances, and its alarms in these states; the requests for them."""
    monkeypatch.setenv("BAKING_SECONDS", "300")

    def states(*values):
        variants = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 2}]
        answers("sagemaker", "DescribeEndpoint", described("InService", ProductionVariants=variants))
        for name, value in zip(ALARMS, values, strict=True):
            aws.client("cloudwatch").put_metric_alarm(
                AlarmName=name, MetricName="m", Namespace="n", Statistic="Sum", Period=60, EvaluationPeriods=1,
                Threshold=0, ComparisonOperator="GreaterThanThreshold",
            )  # fmt: skip
            aws.client("cloudwatch").set_alarm_state(AlarmName=name, StateValue=value, StateReason="a test")
        return answers("cloudwatch", "DescribeAlarms", None)

    return states


@matrix("Endpoint", "an alarm rings before the update: it does not watch it, and the mail says so", ends="Succeeded")
def test_an_update_is_watched_by_the_alarms_that_do_not_ring_yet(aws, check, watched):
    from perennial_aws import runs

    run = sealed(aws)
    watched("OK", "INSUFFICIENT_DATA", "ALARM")
    answer = check(RunId=run)
    config = answer["DeploymentConfig"]
    assert config["AutoRollbackConfiguration"] == {"Alarms": [{"AlarmName": "errors"}, {"AlarmName": "latency"}]}
    assert config["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["Type"] == "CANARY"
    assert answer["LeftOut"] == ["model-quality"]
    assert runs.get(run)["rollout"] == {"config": config, "left_out": ["model-quality"]}


def test_how_the_version_of_an_earlier_run_takes_over_is_told_by_its_deployment(aws, check, watched):
    from perennial_aws import runs

    run = sealed(aws)
    watched("OK", "OK", "OK")
    check(RunId=run, DeploymentId="20261121093440-2b3c")
    assert runs.get("20261121093440-2b3c")["rollout"]["left_out"] == []
    assert "rollout" not in runs.get(run)


@pytest.mark.parametrize("phase", ["After", "Back"])
def test_only_an_update_that_is_about_to_begin_is_planned(check, watched, phase):
    requests = watched("OK", "OK", "OK")
    champion = {"ModelName": WANTED, "EndpointConfigName": "before", "RunId": "another"}
    assert check(phase, **({"Champion": champion} if phase == "Back" else {}))["DeploymentConfig"] is None
    assert requests == []


def test_without_baking_no_alarm_is_looked_at(monkeypatch, check, watched):
    requests = watched("OK", "OK", "OK")
    monkeypatch.setenv("BAKING_SECONDS", "0")
    assert check()["DeploymentConfig"] is None
    assert requests == []


@matrix("Endpoint", "a person's update is watched by alarms when a run comes: it is waited out", ends="Succeeded")
def test_an_update_of_a_person_that_bakes_is_waited_out_and_then_updated(check, answers):
    coming = {"PendingDeploymentSummary": {"EndpointConfigName": "theirs"}}
    answers("sagemaker", "DescribeEndpoint", described("Updating", **coming))
    assert check()["Action"] == "Wait"
    answers("sagemaker", "DescribeEndpoint", described("InService", **coming), described("InService", "theirs"))
    assert check()["Action"] == "Update"


@pytest.fixture
def deregistered(answers, monkeypatch):
    """The requests by which an endpoint that may scale is to scale no more."""
    monkeypatch.setenv("SCALING", "1 4 70")
    return answers("application-autoscaling", "DeregisterScalableTarget", (200, {}))


def machines(**by_config):
    """DescribeEndpointConfig of configurations with these machines."""

    def answer(request):
        name = json.loads(request.body)["EndpointConfigName"]
        machine = by_config["old" if name == "old" else "wanted"]
        return 200, {"EndpointConfigName": name, "ProductionVariants": [{"InstanceType": machine}]}

    return answer


@matrix("Endpoint", "an endpoint that scales is updated to another machine type", ends="Succeeded")
def test_to_another_machine_type_it_is_updated_when_it_scales_no_more(check, answers, deregistered):
    """Developer Guide, "Update endpoints that use auto scaling": the update would be refused."""
    answers("sagemaker", "DescribeEndpoint", described("InService"))
    answers("sagemaker", "DescribeEndpointConfig", machines(old="ml.m5.large", wanted="ml.m5.xlarge"))
    assert check()["Action"] == "Update"
    assert [json.loads(one.body)["ResourceId"] for one in deregistered] == [f"endpoint/{STACK}/variant/AllTraffic"]


def test_to_the_same_machine_type_it_is_updated_as_it_scales(check, answers, deregistered):
    answers("sagemaker", "DescribeEndpoint", described("InService"))
    answers("sagemaker", "DescribeEndpointConfig", machines(old="ml.m5.large", wanted="ml.m5.large"))
    assert check()["Action"] == "Update"
    assert deregistered == []


@pytest.mark.parametrize("status", ["Failed", "OutOfService"])
def test_one_that_is_to_be_deleted_scales_no_more(check, answers, deregistered, status):
    """Developer Guide, "Delete endpoints configured for auto scaling"."""
    answers("sagemaker", "DescribeEndpoint", described(status))
    assert check()["Action"] == "Recreate"
    assert len(deregistered) == 1


def test_what_somebody_else_lets_scale_is_not_looked_at(check, answers, deregistered, monkeypatch):
    monkeypatch.setenv("SCALING", "1 0 70")
    answers("sagemaker", "DescribeEndpoint", described("InService"))
    looked = answers("sagemaker", "DescribeEndpointConfig", machines(old="ml.m5.large", wanted="ml.m5.xlarge"))
    assert check()["Action"] == "Update"
    assert (looked, deregistered) == ([], [])
