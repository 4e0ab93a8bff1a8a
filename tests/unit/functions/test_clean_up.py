"""The function "Clean up": what is superseded goes, what serves, may serve again or still works stays."""

import pytest
from botocore.exceptions import ClientError

from tests.unit.conftest import STACK, load_function, refusal

NOW = "20261120093440-1a2b"
EARLIER = [f"2026110{day}000000-aaa{day}" for day in range(1, 6)]


@pytest.fixture
def clean_up(aws, lambda_context):
    app = load_function("clean_up")
    return lambda: app.handler({"RunId": NOW}, lambda_context)


def deployed(aws, *runs, stack=STACK):
    for run in runs:
        aws.create_model(f"{stack}-{run}")
        aws.create_config(f"{stack}-{run}")


def names(aws):
    models = aws.client("sagemaker").list_models()["Models"]
    configs = aws.client("sagemaker").list_endpoint_configs()["EndpointConfigs"]
    return {item["ModelName"] for item in models}, {item["EndpointConfigName"] for item in configs}


def named(*runs, stack=STACK):
    return {f"{stack}-{run}" for run in runs}


def test_all_but_the_newest_deployed_models_go(aws, clean_up):
    deployed(aws, *EARLIER, NOW)
    result = clean_up()
    assert names(aws) == (named(EARLIER[-1], NOW), named(EARLIER[-1], NOW))
    assert set(result["DeletedModels"]) == named(*EARLIER[:-1]) == set(result["DeletedEndpointConfigs"])
    assert set(result["Kept"]) == named(EARLIER[-1], NOW)


def test_rejected_models_do_not_push_out_a_model_one_can_go_back_to(aws, clean_up):
    deployed(aws, EARLIER[0], NOW)
    for run in EARLIER[1:]:
        aws.create_model(f"{STACK}-{run}")
    clean_up()
    assert names(aws)[0] == named(EARLIER[0], NOW)


def test_what_an_endpoint_uses_stays_however_old(aws, clean_up):
    deployed(aws, *EARLIER, NOW)
    aws.client("sagemaker").create_endpoint(EndpointName="someone-elses", EndpointConfigName=f"{STACK}-{EARLIER[0]}")
    clean_up()
    assert names(aws) == (named(EARLIER[0], EARLIER[-1], NOW), named(EARLIER[0], EARLIER[-1], NOW))


def test_a_model_that_another_configuration_serves_stays(aws, clean_up):
    deployed(aws, *EARLIER, NOW)
    sagemaker = aws.client("sagemaker")
    variant = {
        "VariantName": "v",
        "ModelName": f"{STACK}-{EARLIER[0]}",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": 1,
    }
    sagemaker.create_endpoint_config(EndpointConfigName="mine", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName="mine", EndpointConfigName="mine")
    clean_up()
    assert f"{STACK}-{EARLIER[0]}" in names(aws)[0]


def test_a_configuration_that_an_update_is_going_to_stays(aws, clean_up, answers):
    deployed(aws, *EARLIER, NOW)
    aws.client("sagemaker").create_endpoint(EndpointName=STACK, EndpointConfigName=f"{STACK}-{NOW}")
    pending = {"EndpointConfigName": f"{STACK}-{EARLIER[0]}"}
    described = {"EndpointName": STACK, "EndpointStatus": "Updating", "EndpointConfigName": f"{STACK}-{NOW}"}
    answers("sagemaker", "DescribeEndpoint", (200, {**described, "PendingDeploymentSummary": pending}))
    clean_up()
    assert f"{STACK}-{EARLIER[0]}" in names(aws)[1]


def test_models_of_a_run_that_still_works_stay(aws, clean_up):
    from perennial_aws import runs

    deployed(aws, *EARLIER[1:], NOW)
    aws.create_model(f"{STACK}-{EARLIER[0]}")
    runs.update(EARLIER[0], status="Running")
    clean_up()
    assert f"{STACK}-{EARLIER[0]}" in names(aws)[0]


def test_models_of_a_newer_run_stay(aws, clean_up):
    newer = "20261201000000-ffff"
    deployed(aws, *EARLIER, NOW)
    aws.create_model(f"{STACK}-{newer}")
    clean_up()
    assert f"{STACK}-{newer}" in names(aws)[0]


def test_another_stack_whose_name_starts_alike_is_left_alone(aws, clean_up):
    other = f"{STACK}-eu"
    deployed(aws, *EARLIER, NOW)
    deployed(aws, *EARLIER, stack=other)
    aws.create_model(f"{STACK}-made-by-hand")
    clean_up()
    assert named(*EARLIER, stack=other) <= names(aws)[0]
    assert f"{STACK}-made-by-hand" in names(aws)[0]


def test_what_somebody_deleted_meanwhile_is_no_error(aws, clean_up, answers):
    deployed(aws, *EARLIER, NOW)
    answers("sagemaker", "DeleteModel", refusal("ValidationException", 'Could not find model "arn".'), None)
    assert f"{STACK}-{EARLIER[0]}" in clean_up()["DeletedModels"]


def test_a_refused_deletion_is_raised(aws, clean_up, answers):
    deployed(aws, *EARLIER, NOW)
    answers("sagemaker", "DeleteEndpointConfig", refusal("AccessDeniedException"))
    with pytest.raises(ClientError, match="AccessDenied"):
        clean_up()


def test_nothing_to_clean_is_fine(aws, clean_up):
    deployed(aws, NOW)
    assert clean_up() == {"DeletedEndpointConfigs": [], "DeletedModels": [], "Kept": [f"{STACK}-{NOW}"]}
