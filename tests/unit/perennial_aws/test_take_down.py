"""What runs made ends with their stack, and nothing of another stack."""

import json

import pytest
from botocore.exceptions import ClientError

from tests.unit.conftest import ROOT, STACK, refusal

RUN = "20261120093440-1a2b"
OTHER = f"{STACK}-eu-{RUN}"  # of the stack perennial-used-cars-eu
OVERRIDES = f"/{STACK}_overrides"  # CloudFormation deletes it


@pytest.fixture
def machine(aws):
    definition = {"StartAt": "End", "States": {"End": {"Type": "Succeed"}}}
    made = aws.client("stepfunctions").create_state_machine(
        name=f"{STACK}-train-model", definition=json.dumps(definition), roleArn="arn:aws:iam::123456789012:role/x"
    )
    return made["stateMachineArn"]


@pytest.fixture
def deregistered(answers):
    """The requests by which the endpoint is to scale no more; it has not."""
    missing = refusal("ObjectNotFoundException", "No scalable target found")
    return answers("application-autoscaling", "DeregisterScalableTarget", missing)


@pytest.fixture
def take_down(aws, machine, deregistered, monkeypatch):
    from perennial_aws import take_down

    monkeypatch.setattr("time.sleep", lambda _: None)
    return lambda: take_down.take_down(machine)


@pytest.fixture
def serving(aws):
    aws.create_model(OTHER)
    for name in (aws.serve(RUN), OTHER):
        aws.create_config(name)
    for name, config in ((STACK, f"{STACK}-{RUN}"), (f"{STACK}-eu", OTHER)):
        aws.client("sagemaker").create_endpoint(EndpointName=name, EndpointConfigName=config)
    aws.client("ssm").put_parameter(Name=f"/{STACK}-eu/model", Value=OTHER, Type="String")
    return aws


def names(aws):
    sagemaker = aws.client("sagemaker")
    return {
        *(item["EndpointName"] for item in sagemaker.list_endpoints()["Endpoints"]),
        *(item["EndpointConfigName"] for item in sagemaker.list_endpoint_configs()["EndpointConfigs"]),
        *(item["ModelName"] for item in sagemaker.list_models()["Models"]),
        *(item["Name"] for item in aws.client("ssm").describe_parameters()["Parameters"] if item["Name"] != OVERRIDES),
    }


def test_endpoint_configurations_models_and_names_of_this_stack_are_deleted(serving, take_down, deregistered):
    take_down()
    assert names(serving) == {f"{STACK}-eu", OTHER, f"/{STACK}-eu/model"}
    assert [json.loads(request.body)["ResourceId"] for request in deregistered] == [
        f"endpoint/{STACK}/variant/AllTraffic"
    ]


def test_a_stack_that_never_trained_has_nothing_to_take_down_and_a_second_time_does_no_harm(aws, take_down):
    take_down()
    take_down()
    assert names(aws) == set()


def test_what_runs_is_stopped_before_anything_is_deleted(serving, machine, take_down, answers):
    states = serving.client("stepfunctions")
    arn = states.start_execution(stateMachineArn=machine)["executionArn"]
    answers("sagemaker", "DescribeEndpoint", refusal("AccessDeniedException"))
    with pytest.raises(ClientError, match="AccessDenied"):
        take_down()
    assert states.describe_execution(executionArn=arn)["status"] == "ABORTED"
    assert f"{STACK}-{RUN}" in names(serving)


def test_a_state_machine_that_is_gone_runs_nothing(serving, machine, take_down):
    serving.client("stepfunctions").delete_state_machine(stateMachineArn=machine)
    take_down()
    assert STACK not in names(serving)


@pytest.mark.parametrize("busy", ["Creating", "Updating", "SystemUpdating", "RollingBack"])
def test_an_endpoint_that_cannot_be_deleted_yet_is_waited_for_and_so_is_its_end(take_down, answers, busy):
    statuses = [(200, {"EndpointStatus": status}) for status in (busy, busy, "InService", "Deleting")]
    answers("sagemaker", "DescribeEndpoint", *statuses, refusal("ValidationException", "Could not find endpoint"))
    deleted = answers("sagemaker", "DeleteEndpoint", (200, {}))
    take_down()
    assert len(deleted) == 1


GONE = refusal("ValidationException", 'Could not find endpoint "arn".')


@pytest.mark.parametrize("words", ['Cannot update in-progress endpoint "arn".', 'Cannot update endpoint "arn".'])
def test_an_endpoint_that_begins_to_change_when_it_is_to_be_deleted_is_waited_for(take_down, answers, words):
    answers("sagemaker", "DescribeEndpoint", *[(200, {"EndpointStatus": "InService"})] * 2, GONE)
    asked = answers("sagemaker", "DeleteEndpoint", refusal("ValidationException", words), (200, {}))
    take_down()
    assert len(asked) == 2


def test_what_somebody_else_deletes_at_the_same_time_is_no_error(serving, take_down, answers):
    answers("sagemaker", "DescribeEndpoint", (200, {"EndpointStatus": "InService"}), GONE)
    kinds = ("Endpoint", "EndpointConfig", "Model")
    asked = [
        answers("sagemaker", f"Delete{kind}", refusal("ValidationException", "Could not find it")) for kind in kinds
    ]
    take_down()
    assert [len(requests) for requests in asked] == [1, 1, 1]


def test_versions_of_this_stack_are_deleted_in_all_pages(serving, take_down, answers):
    """Of a group of this name only: the request names it."""
    arns = [f"arn:aws:sagemaker:eu-west-1:123456789012:model-package/{STACK}/{number}" for number in (1, 2)]
    pages = [
        {"ModelPackageSummaryList": [{"ModelPackageArn": arns[0]}], "NextToken": "more"},
        {"ModelPackageSummaryList": [{"ModelPackageArn": arns[1]}]},
    ]
    listed = answers("sagemaker", "ListModelPackages", *((200, page) for page in pages))
    missing = refusal("ValidationException", f"ModelPackage {arns[1]} does not exist.")  # somebody else was faster
    deleted = answers("sagemaker", "DeleteModelPackage", (200, {}), missing)
    take_down()
    assert {json.loads(request.body)["ModelPackageGroupName"] for request in listed} == {STACK}
    assert [json.loads(request.body)["ModelPackageName"] for request in deleted] == arns


def test_a_group_that_was_never_made_has_no_versions(serving, take_down, answers):
    answers("sagemaker", "ListModelPackages", refusal("ValidationException", "ModelPackageGroup arn does not exist."))
    take_down()
    assert STACK not in names(serving)


def test_versions_that_cannot_be_listed_are_an_error(serving, take_down, answers):
    answers("sagemaker", "ListModelPackages", refusal("AccessDeniedException"))
    with pytest.raises(ClientError, match="AccessDenied"):
        take_down()


def test_the_names_are_those_that_a_run_exports():
    from perennial_aws import take_down

    flow = (ROOT / "statemachines" / "train_model.asl.json").read_text()
    exported = [part.partition('"')[0] for part in flow.split('{"Name": "${ParameterPrefix}/')[1:]]
    assert list(take_down.NAMES) == exported
