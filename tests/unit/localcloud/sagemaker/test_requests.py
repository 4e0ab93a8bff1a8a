"""What the local SageMaker refuses, and with which of AWS's words."""

import pytest

from localcloud.sagemaker.api import requests
from localcloud.sagemaker.errors import AwsError

PROCESSING = {
    "ProcessingJobName": "prepare-1",
    "ProcessingResources": {"ClusterConfig": {"InstanceCount": 1, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 20}},
    "AppSpecification": {"ImageUri": "image"},
    "RoleArn": "arn:aws:iam::000000000000:role/job",
}


def refusal(request: dict[str, object], operation: str = "CreateProcessingJob") -> AwsError:
    with pytest.raises(AwsError) as refused:
        requests.check(operation, request)
    return refused.value


def test_a_good_request_passes_unchanged() -> None:
    assert requests.check("CreateProcessingJob", PROCESSING) == PROCESSING


def test_null_members_count_as_absent() -> None:
    given = {**PROCESSING, "Environment": None, "AppSpecification": {"ImageUri": "image", "ContainerArguments": None}}
    assert requests.check("CreateProcessingJob", given) == PROCESSING


def test_a_whole_number_written_as_a_float_is_an_integer() -> None:
    cluster = {"InstanceCount": 1.0, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 20.0}
    checked = requests.check("CreateProcessingJob", {**PROCESSING, "ProcessingResources": {"ClusterConfig": cluster}})
    assert repr(checked["ProcessingResources"]["ClusterConfig"]["VolumeSizeInGB"]) == "20"


@pytest.mark.parametrize("name", ["a_b", "-a", "a-", "a.b", "ä", "a b", ""])
def test_a_job_name_outside_the_pattern_is_refused_in_aws_words(name: str) -> None:
    refused = refusal({**PROCESSING, "ProcessingJobName": name})
    assert refused.code == "ValidationException"
    assert (
        f"Value '{name}' at 'processingJobName' failed to satisfy constraint: Member must satisfy regular expression "
        "pattern: [a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}"
    ) in refused.message


def test_a_name_may_have_63_characters_and_no_more() -> None:
    requests.check("CreateProcessingJob", {**PROCESSING, "ProcessingJobName": "a" * 63})
    assert (
        "Member must have length less than or equal to 63"
        in refusal({**PROCESSING, "ProcessingJobName": "a" * 64}).message
    )


def test_all_violations_are_reported_at_once() -> None:
    message = refusal({}).message
    assert message.startswith("4 validation errors detected: Value null at 'processingJobName' failed")
    for member in ("processingJobName", "processingResources", "appSpecification", "roleArn"):
        assert f"Value null at '{member}' failed to satisfy constraint: Member must not be null" in message


def test_nested_members_are_named_by_their_path() -> None:
    cluster = {"InstanceCount": 0, "InstanceType": "ml.none", "VolumeSizeInGB": 20}
    message = refusal({**PROCESSING, "ProcessingResources": {"ClusterConfig": cluster}}).message
    path = "processingResources.clusterConfig"
    assert (
        f"Value '0' at '{path}.instanceCount' failed to satisfy constraint: Member must have value greater" in message
    )
    assert f"Value 'ml.none' at '{path}.instanceType' failed to satisfy constraint: Member must satisfy enum" in message


def test_members_of_lists_are_numbered() -> None:
    message = refusal({**PROCESSING, "ProcessingInputs": [{"InputName": "a"}, {}]}).message
    assert "Value null at 'processingInputs.2.member.inputName'" in message


def test_map_keys_and_values_are_checked() -> None:
    message = refusal({**PROCESSING, "Environment": {"1x": "v" * 257}}).message
    assert (
        "at 'environment' failed to satisfy constraint: Map keys must satisfy constraint: [Member must satisfy"
        in message
    )
    assert "Map value must satisfy constraint: [Member must have length less than or equal to 256]" in message


@pytest.mark.parametrize(
    ("value", "shown"),
    [(200, "NUMBER_VALUE"), (True, "TRUE_VALUE"), (False, "FALSE_VALUE"), (0.5, "NUMBER_VALUE")],
)
def test_hyperparameters_that_are_no_text_are_refused(value: object, shown: str) -> None:
    refused = refusal({"TrainingJobName": "t", "HyperParameters": {"num_round": value}}, "CreateTrainingJob")
    assert refused.code == "SerializationException"
    assert refused.message == f"{shown} can not be converted to a String: hyperParameters.num_round"


def test_lists_and_structures_in_wrong_places_are_refused() -> None:
    assert "Start of list found" in refusal({**PROCESSING, "RoleArn": ["x"]}).message
    assert "Start of structure or map found" in refusal({**PROCESSING, "RoleArn": {}}).message
    assert "can not be converted to a List" in refusal({**PROCESSING, "ProcessingInputs": "x"}).message
    assert "can not be converted to a Structure" in refusal({**PROCESSING, "AppSpecification": "x"}).message


def test_a_fraction_is_no_integer() -> None:
    cluster = {"InstanceCount": 1.5, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 20}
    refused = refusal({**PROCESSING, "ProcessingResources": {"ClusterConfig": cluster}})
    assert refused.code == "SerializationException"


@pytest.mark.parametrize("number", [2**31, -(2**31), 1e308, float("nan"), float("inf"), 10**400])
def test_a_number_beyond_those_of_its_type_is_refused(number: float) -> None:
    cluster = {"InstanceCount": number, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 20}
    refused = refusal({**PROCESSING, "ProcessingResources": {"ClusterConfig": cluster}})
    assert refused.code == "SerializationException"
    assert "NUMBER_VALUE can not be converted to a Integer: processingResources.clusterConfig" in refused.message


@pytest.mark.parametrize("moment", [float("nan"), float("-inf"), 10**400])
def test_a_time_that_is_no_number_is_refused(moment: float) -> None:
    assert refusal({"CreationTimeAfter": moment}, "ListModelPackages").code == "SerializationException"


def test_a_member_that_the_api_does_not_have_is_named() -> None:
    message = refusal({**PROCESSING, "Processors": 1}).message
    assert message.startswith('Unknown parameter in input: "Processors", must be one of: ProcessingInputs, ')


def test_tags_take_letters_of_any_script_but_no_braces() -> None:
    requests.check("CreateProcessingJob", {**PROCESSING, "Tags": [{"Key": "équipe", "Value": "東京 1"}]})
    assert "'tags.1.member.key'" in refusal({**PROCESSING, "Tags": [{"Key": "a{", "Value": "b"}]}).message


@pytest.mark.parametrize(
    "operation",
    [
        "AddTags",
        "CreateEndpoint",
        "CreateEndpointConfig",
        "CreateModel",
        "CreateProcessingJob",
        "CreateTrainingJob",
        "CreateTransformJob",
        "ListTrainingJobs",
        "UpdateEndpoint",
    ],
)
def test_every_pattern_of_every_operation_can_be_checked(operation: str) -> None:
    """A pattern that Python cannot read would surface as an internal error in the middle of a request."""
    for pattern in _patterns(requests.input_shape(operation), set()):
        requests.matches(pattern, "a")
        requests.matches(pattern, "é")


def _patterns(shape: object, seen: set[str]) -> set[str]:
    name = shape.name  # type: ignore[attr-defined]
    if name in seen:
        return set()
    seen.add(name)
    own = {shape.metadata["pattern"]} if "pattern" in shape.metadata else set()  # type: ignore[attr-defined]
    members = [*getattr(shape, "members", {}).values()]
    members += [part for part in (getattr(shape, "member", None), getattr(shape, "key", None)) if part is not None]
    return own.union(*(_patterns(member, seen) for member in members))


def test_only_refuses_what_asks_for_something() -> None:
    requests.only({"A": 1, "B": False, "C": {}, "D": None, "E": {"On": False, "More": {"Off": ""}}}, ["A"])
    with pytest.raises(AwsError, match=r"where\.B is not supported by the local SageMaker"):
        requests.only({"A": 1, "B": True}, ["A"], "where.")
