"""Where the API of a stack is, and its document by the command."""

import json

import pytest

from perennial.model import definition
from perennial_cli import serving_api
from perennial_cli.console import CommandError
from perennial_cli.stacks import Stack
from tests.command import perennial
from tests.unit.conftest import BUCKET, ROOT, STACK

RUN = "20261120100000-0a1b"
AWS = "https://a1b2c3d4.execute-api.eu-west-1.amazonaws.com/v1"
OUTPUTS = {"BucketName": BUCKET, "ParameterPrefix": f"/{STACK}", "StateMachineArn": "arn", "ApiUrl": AWS}
CARS = Stack(STACK, OUTPUTS, {"ModelName": "used-cars", "Api": "key"})
WITHOUT = Stack(STACK, {"BucketName": BUCKET}, {"ModelName": "used-cars", "Api": "none"})


def test_the_api_is_at_aws_or_on_this_machine_or_nowhere():
    assert serving_api.url_of(CARS, None) == AWS
    local = "http://127.0.0.1:4566"
    assert serving_api.url_of(CARS, local) == f"{local}/_aws/execute-api/a1b2c3d4/v1"
    assert serving_api.url_of(WITHOUT, None) is serving_api.url_of(WITHOUT, local) is None


def test_the_document_is_of_the_model_in_service(aws, monkeypatch):
    model = definition.load(ROOT / "models/used-cars/model.yaml").as_json()
    aws.put(f"runs/{RUN}/config.json", json.dumps({"definition": model}))
    aws.client("ssm").put_parameter(Name=f"/{STACK}/run", Value=RUN, Type="String")
    monkeypatch.setattr("perennial_cli.stacks.chosen", lambda name: CARS)
    ended = perennial("openapi")
    document = json.loads(ended.stdout)
    assert (ended.exit_code, document["info"]["version"], document["servers"]) == (0, RUN, [{"url": AWS}])


def test_before_the_first_model_the_document_is_of_the_deployed_definition(aws, monkeypatch):
    defined = definition.load(ROOT / "models/penguins/model.yaml")
    monkeypatch.setattr("perennial_cli.serving_api.definition_of", lambda stack: defined)
    document = serving_api.document(CARS, None)
    assert document["info"]["version"] == serving_api.NOT_SERVED
    assert "island" in document["components"]["schemas"]["Record"]["properties"]


def test_a_stack_without_an_api_has_no_document():
    with pytest.raises(CommandError, match="has no API; deploy it with the parameter Api=key or Api=iam"):
        serving_api.document(WITHOUT, None)
