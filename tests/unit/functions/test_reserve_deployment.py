"""The function "Reserve deployment": one run at a time, newer data before older."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tests.e2e.matrix.registry import matrix
from tests.unit.conftest import BUCKET, EXECUTION_ARN, REGION, STACK, load_function, refusal

MINE, OTHER, CHAMPION = "20261120093440-1a2b", "20261120093441-2b3c", "20261119093440-0a1b"
OTHER_ARN = EXECUTION_ARN.replace(":one", ":two")


def named(run: str) -> dict[str, str]:
    return {"ModelName": f"{STACK}-{run}", "EndpointConfigName": f"{STACK}-{run}", "RunId": run}


@pytest.fixture
def reserve(aws, lambda_context):
    app = load_function("reserve_deployment")

    def call(run=MINE, arn=EXECUTION_ARN, champion=None, **more) -> dict[str, Any]:
        return app.handler({"RunId": run, "ExecutionArn": arn, "Champion": champion, **more}, lambda_context)

    return call


@pytest.fixture
def record(aws):
    """Write the record of a run as far as this function reads it."""

    def write(run: str, listed_at: str, status: str = "Running") -> None:
        item = {"id": {"S": f"run#{run}"}, "status": {"S": status}, "data": {"M": {"listed_at": {"S": listed_at}}}}
        aws.client("dynamodb").put_item(TableName="runs", Item=item)

    return write


def holds(aws) -> str:
    return str(aws.item("deployment")["run_id"]["S"])


def test_the_first_run_takes_the_turn(aws, reserve, record):
    record(MINE, "2026-11-20T09:34:41.000Z")
    assert reserve() == {
        "Turn": "Deploy",
        "Reason": "the model in service is the one that the candidate was compared with",
        "Champion": None,
        "There": None,
    }
    assert holds(aws) == MINE


def test_a_retried_call_gets_the_same_answer(aws, reserve, record):
    record(MINE, "2026-11-20T09:34:41.000Z")
    assert reserve() == reserve()


def test_a_run_waits_for_the_one_that_deploys_and_hears_its_name(aws, reserve, record, answers):
    answers("stepfunctions", "DescribeExecution", running())
    record(OTHER, "2026-11-20T09:34:41.000Z")
    reserve(OTHER, OTHER_ARN)
    answer = reserve(champion=named(CHAMPION))
    known = {"Champion": named(CHAMPION), "There": None}
    assert answer == {"Turn": "Wait", "Reason": f"run {OTHER} is deploying", **known}
    assert holds(aws) == OTHER


@pytest.mark.parametrize("status", ["Succeeded", "Failed", "TimedOut", "Aborted", "Rejected"])
def test_a_run_that_has_ended_holds_nothing(aws, reserve, record, status):
    record(OTHER, "2026-11-20T09:34:41.000Z", status)
    reserve(OTHER, OTHER_ARN)
    record(MINE, "2026-11-20T09:34:42.000Z")
    assert reserve()["Turn"] == "Deploy"
    assert holds(aws) == MINE


def test_a_model_of_older_data_that_came_meanwhile_is_compared_with_and_noted(aws, reserve, record):
    record(OTHER, "2026-11-20T09:34:41.000Z", "Succeeded")
    record(MINE, "2026-11-20T09:34:42.000Z")
    aws.serve(OTHER)
    answer = reserve(champion=named(CHAMPION))
    assert (answer["Turn"], answer["Champion"]) == ("Compare", named(OTHER))
    assert aws.item(f"run#{MINE}")["champion"]["M"]["RunId"] == {"S": OTHER}
    assert reserve(champion=answer["Champion"])["Turn"] == "Deploy"


def test_a_model_of_newer_data_stays(aws, reserve, record):
    record(OTHER, "2026-11-20T09:34:43.000Z", "Succeeded")
    record(MINE, "2026-11-20T09:34:42.000Z")
    aws.serve(OTHER)
    answer = reserve(champion=named(CHAMPION))
    assert answer["Turn"] == "Superseded"
    assert f"{STACK}-{OTHER}" in answer["Reason"]


def test_a_model_whose_names_were_exported_in_part_is_told_by_its_name(aws, reserve, record):
    record(OTHER, "2026-11-20T09:34:43.000Z", "Failed")
    record(MINE, "2026-11-20T09:34:42.000Z")
    aws.serve(OTHER)
    aws.client("ssm").put_parameter(Name=f"/{STACK}/run", Value=CHAMPION, Type="String", Overwrite=True)
    assert reserve(champion=named(CHAMPION))["Turn"] == "Superseded"


def test_of_two_that_ask_at_once_one_gets_the_turn(aws, reserve, record, monkeypatch, answers):
    answers("stepfunctions", "DescribeExecution", running())
    record(MINE, "2026-11-20T09:34:42.000Z")
    record(OTHER, "2026-11-20T09:34:43.000Z")
    from perennial_aws import runs

    take = runs.take_turn

    def too_late(*arguments):
        take(OTHER, OTHER_ARN, None)
        return take(*arguments)

    monkeypatch.setattr(runs, "take_turn", too_late)
    assert reserve()["Turn"] == "Wait"
    assert holds(aws) == OTHER


def test_a_version_of_a_run_that_has_ended_holds_the_turn_while_it_is_deployed(aws, reserve, record, answers):
    answers("stepfunctions", "DescribeExecution", running())
    record(OTHER, "2026-11-20T09:34:41.000Z", "Succeeded")
    reserve(OTHER, OTHER_ARN, DeploymentId="20261121093440-3c4d")
    assert reserve() == {
        "Turn": "Wait",
        "Reason": "run 20261121093440-3c4d is deploying",
        "Champion": None,
        "There": None,
    }


def test_a_run_that_waits_for_an_approval_has_given_its_turn_back(aws, reserve, record, answers):
    from perennial_aws import runs

    answers("stepfunctions", "DescribeExecution", running())
    reserve(OTHER, OTHER_ARN)
    runs.give_turn_back(OTHER_ARN)
    assert reserve()["Turn"] == "Deploy"
    assert holds(aws) == MINE
    assert reserve(OTHER, OTHER_ARN)["Turn"] == "Wait"


VERSION = f"arn:aws:sagemaker:{REGION}:123456789012:model-package/{STACK}/3"


@pytest.fixture
def in_service(aws, record, answers):
    """Let a version serve of a run that listed its data at this second, and another one be the newest approved one."""

    def serve(serving: str, second: int, newest: int) -> None:
        record(OTHER, f"2026-11-20T09:34:{second}.000Z", "Succeeded")
        record(MINE, "2026-11-20T09:34:42.000Z", "Succeeded")
        aws.serve(OTHER)
        aws.client("ssm").put_parameter(Name=f"/{STACK}/model-package", Value=f"{VERSION[:-1]}2", Type="String")

        def described(request: Any) -> tuple[int, Any]:
            arn = json.loads(request.body)["ModelPackageName"]
            return 200, {"ModelApprovalStatus": serving if arn.endswith("/2") else "Approved"}

        answers("sagemaker", "DescribeModelPackage", described)
        summary = {"ModelPackageArn": f"{VERSION[:-1]}{newest}", "ModelPackageVersion": newest}
        listed = [{**summary, "ModelApprovalStatus": "Approved"}]
        answers("sagemaker", "ListModelPackages", (200, {"ModelPackageSummaryList": listed}))

    return serve


@pytest.mark.parametrize(("newest", "turn"), [(3, "Deploy"), (4, "Superseded")])
def test_a_version_is_deployed_while_it_is_the_newest_approved_one(aws, reserve, in_service, newest, turn):
    from perennial_aws import runs

    in_service("Approved", 41, newest)
    answer = reserve(DeploymentId="20261121093440-3c4d", Version=VERSION)
    assert (answer["Turn"], answer["Champion"]) == (turn, named(OTHER))
    assert (runs.get("20261121093440-3c4d") or {})["champion"] == named(OTHER), "its end says what served"


@pytest.mark.parametrize(("serving", "turn"), [("Approved", "Superseded"), ("Rejected", "Deploy")])
def test_a_version_of_older_data_does_not_follow_what_serves_unless_that_was_rejected(
    reserve, in_service, serving, turn
):
    """Newer data may have come into service between the question whether a version may serve and the answer."""
    in_service(serving, 43, 3)
    answer = reserve(DeploymentId="20261121093440-3c4d", Version=VERSION)
    assert (answer["Turn"], "newer data (listed at 2026-11-20T09:34:43.000Z; " in answer["Reason"]) == (
        turn,
        turn == "Superseded",
    )


@pytest.fixture
def asked_for(aws):
    """The requests that make a model and a configuration, which are there as they say but for what is changed."""

    def there(name: str, model: Mapping[str, Any], configuration: Mapping[str, Any]) -> dict[str, Any]:
        containers = [{"Image": "i", "ModelDataUrl": f"s3://{BUCKET}/m"}]
        role = "arn:aws:iam::123456789012:role/model"
        variant = {"VariantName": "AllTraffic", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
        asked: dict[str, Any] = {
            "Model": {"ModelName": name, "ExecutionRoleArn": role, "Containers": containers},
            "Configuration": {"EndpointConfigName": name, "ProductionVariants": [{**variant, "ModelName": name}]},
        }
        aws.client("sagemaker").create_model(**{**asked["Model"], **model})
        aws.client("sagemaker").create_endpoint_config(**{**asked["Configuration"], **configuration})
        return asked

    return there


NETWORK = {"VpcConfig": {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}}


@pytest.mark.parametrize("name", ["Model", "Configuration", None])
def test_what_is_there_otherwise_than_it_would_be_made_now_is_deleted(aws, reserve, in_service, asked_for, name):
    """Somebody has changed the stack's network or key since its version served."""
    in_service("Approved", 41, 3)
    changes = NETWORK if name == "Model" else {}, {"KmsKeyId": "another"} if name == "Configuration" else {}
    asked = asked_for(f"{STACK}-{MINE}", *changes)
    there = {"Model": name != "Model", "Configuration": name != "Configuration"}
    for _ in "as for a call that was lost":
        assert reserve(DeploymentId="20261121093440-3c4d", Version=VERSION, **asked)["There"] == there
    sagemaker = aws.client("sagemaker")
    left = {one["ModelName"] for one in sagemaker.list_models()["Models"]} - {f"{STACK}-{OTHER}"}
    assert bool(left) == there["Model"]
    assert bool(sagemaker.list_endpoint_configs()["EndpointConfigs"]) == there["Configuration"]


@pytest.mark.parametrize(("run", "newest"), [(OTHER, 3), (MINE, 4)], ids=["it serves", "it is not deployed"])
def test_what_serves_and_what_is_not_deployed_is_left_as_it_is(aws, reserve, in_service, asked_for, run, newest):
    in_service("Approved", 41, newest)
    aws.client("sagemaker").delete_model(ModelName=f"{STACK}-{OTHER}")
    asked = asked_for(f"{STACK}-{run}", NETWORK, {})
    aws.serve(OTHER) if run != OTHER else None
    answer = reserve(run, DeploymentId="20261121093440-3c4d", Version=VERSION, **asked)
    assert answer["There"] == ({"Model": True, "Configuration": True} if run == OTHER else None)
    described = aws.client("sagemaker").describe_model(ModelName=f"{STACK}-{run}")
    assert described["VpcConfig"] == NETWORK["VpcConfig"]


@matrix("People", "a version is approved and rejected at once", ends="NotApproved")
def test_a_version_that_was_rejected_after_its_approval_is_not_deployed(aws, reserve, answers):
    described = {"ModelPackageVersion": 3, "ModelApprovalStatus": "Rejected", "ApprovalDescription": "biased"}
    answers("sagemaker", "DescribeModelPackage", (200, described))
    with pytest.raises(Exception, match="version 3: somebody has rejected it: biased"):
        reserve(Version=VERSION)
    assert aws.item("deployment") is None


@pytest.mark.parametrize(
    ("described", "why"),
    [
        ((200, {"ModelPackageVersion": 3, "ModelApprovalStatus": "PendingManualApproval"}), "expected Approved"),
        (refusal("ValidationException", "ModelPackage arn does not exist."), "version 3 was deleted"),
    ],
    ids=["nobody has approved it, or not any more", "it is gone"],
)
def test_a_token_alone_lets_no_version_serve(aws, reserve, answers, described, why):
    answers("sagemaker", "DescribeModelPackage", described)
    with pytest.raises(Exception, match=why):
        reserve(Version=VERSION)
    assert aws.item("deployment") is None


def running() -> tuple[int, dict[str, Any]]:
    machine = f"arn:aws:states:{REGION}:123456789012:stateMachine:{STACK}-train-model"
    return 200, {"executionArn": OTHER_ARN, "stateMachineArn": machine, "status": "RUNNING", "startDate": 1}
