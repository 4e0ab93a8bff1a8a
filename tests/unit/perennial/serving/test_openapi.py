"""The document of an API: it is one of OpenAPI, and takes what the function takes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import openapi_spec_validator
import pytest
import referencing.exceptions
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError

from perennial.model import definition
from perennial.serving import openapi
from perennial.serving.requests import RecordContract
from tests.unit.conftest import ROOT
from tests.unit.perennial.serving.test_requests import CAR, CARS, PENGUIN, PENGUINS

MODELS = sorted(path.parent.name for path in ROOT.glob("models/*/model.yaml"))
URL = "https://abc.execute-api.eu-west-1.amazonaws.com/v1"


def document(of: dict[str, Any], access: str = "key") -> dict[str, Any]:
    return openapi.document(of, "cars", "20261120100000-0a1b", access, URL)


def of_model(name: str) -> dict[str, Any]:
    return definition.load(Path(ROOT / f"models/{name}/model.yaml")).as_json()


def schema(of: dict[str, Any], name: str) -> dict[str, Any]:
    """A schema of the document, with what it refers to."""
    return {"$ref": f"#/components/schemas/{name}", "components": document(of)["components"]}


def accepts(of: dict[str, Any], name: str, value: Any) -> bool:
    return jsonschema.Draft202012Validator(schema(of, name)).is_valid(value)


@pytest.mark.parametrize("access", ["key", "iam"])
@pytest.mark.parametrize("model", MODELS)
def test_the_document_is_one_of_openapi(model: str, access: str) -> None:
    """By a validator of the specification's own schema, which follows references and tries the examples."""
    whole = document(of_model(model), access)
    openapi_spec_validator.validate(whole)
    assert list(whole["security"][0]) == list(whole["components"]["securitySchemes"]) == [access]


BROKEN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no title": lambda whole: whole["info"].pop("title"),
    "a reference to nothing": lambda whole: whole["components"]["schemas"].pop("Answer"),
    "an unknown member": lambda whole: whole["paths"]["/predictions"]["post"].update(colour="red"),
    "a type that there is not": lambda whole: whole["components"]["schemas"]["Record"].update(type="car"),
    "an answer without words": lambda whole: whole["paths"]["/predictions"]["post"]["responses"]["429"].pop(
        "description"
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_document_that_is_none_would_be_seen(case: str) -> None:
    whole = json.loads(json.dumps(document(CARS)))
    BROKEN[case](whole)
    with pytest.raises((OpenAPIValidationError, referencing.exceptions.Unresolvable)):
        openapi_spec_validator.validate(whole)


@pytest.mark.parametrize("model", MODELS)
def test_the_example_is_a_record_that_schema_and_function_take(model: str) -> None:
    defined = of_model(model)
    (example,) = document(defined)["components"]["schemas"]["Record"]["examples"]
    assert accepts(defined, "Record", example)
    RecordContract.from_definition(defined).require([example])


@pytest.mark.parametrize(
    ("change", "sound"),
    [({}, True), ({"mileage": -1}, False), ({"doors": 2.5}, False), ({"make": None}, False), ({"colour": 1}, False)],
)
def test_the_schema_takes_and_refuses_what_the_definition_does(change: dict[str, Any], sound: bool) -> None:
    assert accepts(CARS, "Record", {**CAR, **change}) is sound


def test_units_ranges_categories_and_missing_values_are_in_the_schema() -> None:
    columns = document(PENGUINS)["components"]["schemas"]["Record"]["properties"]
    assert columns["bill_length_mm"] == {
        "type": ["number", "null"],
        "description": "in mm",
        "minimum": 20,
        "maximum": 80,
    }
    assert columns["sex"]["enum"] == ["female", "male", None]
    assert accepts(PENGUINS, "Record", PENGUIN)
    assert not accepts(PENGUINS, "Record", {**PENGUIN, "island": "Elba"})
    cruise = document(CARS)["components"]["schemas"]["Record"]["properties"]["cruise"]
    assert cruise == {"type": "boolean", "description": "cruise control"}


def test_answers_are_of_the_problem() -> None:
    answer = {"inference_id": "1", "predictions": [{"score": 1.0}]}
    assert accepts(CARS, "Answer", answer)
    assert not accepts(PENGUINS, "Answer", answer)
    assert accepts(PENGUINS, "Answer", {**answer, "predictions": [{"score": [0.1, 0.9], "predicted_label": "Gentoo"}]})
