"""Whether what is there is what would be made now."""

from typing import Any

import pytest

from perennial.runs.made_before import is_as_asked

MODEL: dict[str, Any] = {
    "ModelName": "m",
    "Containers": [{"Image": "i", "ModelDataUrl": "s3://m", "Environment": {"A": "1"}}, {"Image": "j"}],
    "VpcConfig": {"Subnets": ["a", "b"], "SecurityGroupIds": ["c"]},
    "Tags": [{"Key": "Run", "Value": "1"}],
}
CONFIGURATION: dict[str, Any] = {
    "EndpointConfigName": "c",
    "ProductionVariants": [{"ModelName": "m", "InitialInstanceCount": 1, "InitialVariantWeight": 1}],
    "DataCaptureConfig": {"EnableCapture": True, "InitialSamplingPercentage": 100, "KmsKeyId": "key"},
    "KmsKeyId": "key",
}


def without(document: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key != name}


@pytest.mark.parametrize(
    ("asked", "described"),
    [
        (MODEL, {**MODEL, "ModelArn": "arn", "CreationTime": 1, "Tags": None}),
        (MODEL, {**MODEL, "VpcConfig": {"SecurityGroupIds": ["c"], "Subnets": ["b", "a"]}}),
        (without(MODEL, "VpcConfig"), without(MODEL, "VpcConfig")),
        ({"Containers": [{"Image": "j"}]}, {"Containers": [{"Image": "j", "Mode": "SingleModel", "Environment": {}}]}),
        ({"Containers": [{"Image": "j", "Environment": {}}]}, {"Containers": [{"Image": "j"}]}),
        (CONFIGURATION, {**CONFIGURATION, "EndpointConfigArn": "arn"}),
    ],
)
def test_what_sagemaker_says_besides_does_not_count(asked: dict[str, Any], described: dict[str, Any]) -> None:
    assert is_as_asked(asked, described)


@pytest.mark.parametrize(
    ("asked", "described"),
    [
        (MODEL, {**MODEL, "VpcConfig": {"Subnets": ["a"], "SecurityGroupIds": ["c"]}}),
        (MODEL, without(MODEL, "VpcConfig")),
        (without(MODEL, "VpcConfig"), MODEL),
        (MODEL, {**MODEL, "Containers": MODEL["Containers"][:1]}),
        (MODEL, {**MODEL, "Containers": MODEL["Containers"][::-1]}),
        (MODEL, {**MODEL, "Containers": [MODEL["Containers"][0], {"Image": "j", "Environment": {"B": "2"}}]}),
        (MODEL, without(MODEL, "Containers")),
        (CONFIGURATION, {**CONFIGURATION, "KmsKeyId": "another"}),
        (CONFIGURATION, without(CONFIGURATION, "KmsKeyId")),
        (without(CONFIGURATION, "KmsKeyId"), CONFIGURATION),
        (CONFIGURATION, without(CONFIGURATION, "DataCaptureConfig")),
        (
            CONFIGURATION,
            {**CONFIGURATION, "DataCaptureConfig": {**CONFIGURATION["DataCaptureConfig"], "KmsKeyId": "k"}},
        ),
        (CONFIGURATION, {**CONFIGURATION, "ProductionVariants": []}),
    ],
)
def test_another_network_key_capture_or_machine_is_another(asked: dict[str, Any], described: dict[str, Any]) -> None:
    assert not is_as_asked(asked, described)
