"""What a script of the model's own takes: hyperparameters of any name, ranges, columns as they are."""

import re
from typing import Any

import pytest

from perennial.model.algorithms.own_code import metric_definitions
from perennial.model.definition import DefinitionError, validated
from perennial.runs import configuration

MODEL: dict[str, Any] = {
    "problem": "regression",
    "target": "price",
    "columns": {"price": {"type": "float"}, "make": {"type": "string"}},
    "split": {"method": "random"},
    "algorithm": "scikit-learn-script",
    "gate": {"metric": "mae", "threshold": 10},
    "overridable": ["hyperparameters"],
}


def resolved(**own: Any) -> configuration.Configuration:
    return configuration.resolve(
        "cars", validated({**MODEL, "hyperparameters": {MODEL["algorithm"]: own}}, "model.yaml")
    )


def problems(**changed: Any) -> str:
    with pytest.raises(DefinitionError) as refused:
        validated({**MODEL, **changed}, "model.yaml")
    return str(refused.value)


def test_hyperparameters_are_those_that_the_definition_names_and_no_others() -> None:
    own = {"C": 2, "loss": "absolute error", "learning_rate": 0.1, "warm-start": True}
    found = resolved(**own)
    assert found.hyperparameters == {
        "C": "2", "loss": "absolute error", "learning_rate": "0.1", "warm-start": "true",
    }  # fmt: skip
    assert found.decisive()["algorithm"]["is_own"] is True
    assert (found.training_metrics, found.tuning_job()) == ((), None)


@pytest.mark.parametrize(
    ("own", "why"),
    [
        ({"learning rate": 1}, "learning rate: cannot be the name of an argument; expected at most 64 letters, digits"),
        ({"sagemaker_program": "x.py"}, "sagemaker_program: cannot be the name of an argument"),
        ({"depth": {"min": 3, "max": 2}}, "depth: min 3 is not less than max 2"),
        ({"depth": {"min": 1}}, "depth: max is missing; expected two numbers"),
        ({"loss": ["a", "a"]}, "expected 2 to 30 different values"),
        ({"depth": ""}, "depth: got ''; expected text such as some words"),
        ({"depth": "a\0b"}, "depth: got 'a\\x00b'; expected text such as some words in one line"),
        ({"depth": None}, "depth: got None"),
    ],
    ids=str,
)
def test_what_no_argument_can_be_is_refused(own: dict[str, Any], why: str) -> None:
    assert why in problems(hyperparameters={MODEL["algorithm"]: own})


def test_ranges_are_searched_by_the_metric_of_the_gate_unless_another_is_named() -> None:
    own = {"depth": {"min": 2, "max": 8}, "rate": {"min": 0.1, "max": 1}, "loss": ["l1", "l2"]}
    job = resolved(**own).tuning_job()
    assert job is not None
    assert job["HyperParameterTuningJobObjective"] == {"Type": "Minimize", "MetricName": "validation:mae"}
    kinds = {kind: [one["Name"] for one in ranges] for kind, ranges in job["ParameterRanges"].items()}
    assert kinds == {
        "IntegerParameterRanges": ["depth"], "ContinuousParameterRanges": ["rate"],
        "CategoricalParameterRanges": ["loss"],
    }  # fmt: skip
    assert "tuning.metric: got 'validation:auc'; allowed for regression with scikit-learn-script: validation:rmse" in (
        problems(hyperparameters={MODEL["algorithm"]: own}, tuning={"metric": "validation:auc"})
    )


def test_columns_as_they_are_are_for_scripts_alone() -> None:
    assert validated({**MODEL, "preprocessing": "none"}, "model.yaml").preprocessing == "none"
    own = {"columns": {"price": {"type": "float"}, "rooms": {"type": "integer"}}, "algorithm": "xgboost"}
    told = problems(**own, preprocessing="none")
    assert "preprocessing: got 'none'; xgboost learns from numbers, which encode makes (allowed with: scikit" in told


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("validation:rmse=1250.5", "1250.5"),
        ("epoch 3, validation:rmse: 1.2e-3; train:rmse=5", "1.2e-3"),
        ("[INFO] validation:rmse nan", "nan"),
        ("prevalidation:rmse=3", None),
        ("validation:rmse=-1.5.", "-1.5"),
        ("validation:rmse=3, of 5", "3"),
        ("validation:rmse=1_000", None),
        ("validation:rmse=1,250.5", None),
        ("validation:rmse=+-1", None),
        ("validation:rmse=nanny", None),
        ("validation:rmse_of_all=3", None),
    ],
)
def test_a_metric_is_found_in_a_line_of_the_log(line: str, value: str | None) -> None:
    definitions = {one["Name"]: one["Regex"] for one in metric_definitions("regression")}
    assert len(definitions) == 16
    found = re.search(definitions["validation:rmse"], line)
    assert (found[1] if found else None) == value


def test_code_of_ones_own_may_wait_long_for_machines_because_it_goes_on_but_not_in_a_search() -> None:
    instances = {"train": {"spot": True, "max_runtime_seconds": 36_000, "max_wait_seconds": 72_000}}
    found = configuration.resolve("cars", validated({**MODEL, "instances": instances}, "model.yaml"))
    limits = {"MaxRuntimeInSeconds": 36_000, "MaxWaitTimeInSeconds": 72_000}
    assert found.spot() == {"EnableManagedSpotTraining": True, "StoppingCondition": limits}
    searched = {MODEL["algorithm"]: {"depth": {"min": 2, "max": 80}}}
    assert "max_wait_seconds: got 72,000; expected at most 3,600: scikit-learn-script has no checkpoints in a" in (
        problems(instances=instances, hyperparameters=searched)
    )
