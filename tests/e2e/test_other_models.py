"""The other algorithm and the other model folder: the same stack template, other parameters and nothing else."""

import json
from collections.abc import Callable

import pytest

from tests.e2e.conftest import App, Run
from tools import demo_data

pytestmark = pytest.mark.xdist_group("e2e-used-cars")


@pytest.fixture(scope="module")
def linear(deploy: Callable[..., App]) -> App:
    return deploy("perennial-linear", ModelName="used-cars", Algorithm="linear-learner")


@pytest.fixture(scope="module")
def linear_run(linear: App) -> Run:
    return linear.drop("raw/cars.csv", demo_data.used_cars())


def test_linear_learner_passes_by_switching_one_key(linear: App, linear_run: Run) -> None:
    assert (linear_run.status, linear_run.error, linear_run.cause) == ("SUCCEEDED", None, None)
    record = linear.record(linear_run)
    assert record["configuration"]["algorithm"]["name"] == "linear-learner"
    serving = linear.client("sagemaker").describe_model(ModelName=linear.parameters()["model"])
    assert "linear-learner" in serving["Containers"][1]["Image"]


def test_linear_learner_answers_in_dollars(linear: App, linear_run: Run) -> None:
    car = "12000,8,2,true,true,true,Cadillac,convertible"
    answer = json.loads(linear.invoke(car))["score"]
    assert 20_000 < answer < 80_000


@pytest.fixture(scope="module")
def lesions(deploy: Callable[..., App]) -> App:
    return deploy("perennial-mammography", ModelName="mammography")


@pytest.fixture(scope="module")
def lesions_run(lesions: App) -> Run:
    return lesions.drop("raw/lesions.csv", demo_data.mammography())


def test_classification_gated_on_auc_needs_only_its_folder(lesions: App, lesions_run: Run) -> None:
    assert (lesions_run.status, lesions_run.error, lesions_run.cause) == ("SUCCEEDED", None, None)
    record = lesions.record(lesions_run)
    assert record["gate"]["metric"] == "auc"
    assert record["metrics"]["candidate"]["auc"] >= record["gate"]["threshold"] > 0.5


def test_linear_learner_classifies_too(lesions: App, lesions_run: Run) -> None:
    run = lesions.start(Algorithm="linear-learner", GateThreshold=0.6)
    record = lesions.record(run)
    assert record["metrics"]["candidate"]["auc"] > 0.75
    assert (run.status, run.error) in (("SUCCEEDED", None), ("FAILED", "ModelAccuracyTooLow"))


def test_probability_of_a_round_smooth_mass_is_below_that_of_a_spiculated_one(lesions: App, lesions_run: Run) -> None:
    harmless = json.loads(lesions.invoke("4,30,1,1,3"))["score"]
    suspicious = json.loads(lesions.invoke("5,75,4,5,3"))["score"]
    assert 0 <= harmless < suspicious <= 1
