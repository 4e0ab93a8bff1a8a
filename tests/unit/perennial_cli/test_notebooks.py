"""The command that opens the notebooks, and what they share."""

import io
import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import rich.traceback

from perennial.data.copies import copy_name
from perennial.model import definition
from perennial.model.algorithms import ALGORITHMS, ranges
from perennial.runs import configuration
from perennial_cli import notebooks, project
from perennial_cli.commands.notebook import NAMES_AWS
from perennial_cli.console import CommandError
from perennial_cli.stacks import Stack
from tests.command import perennial

ROOT = Path(__file__).parents[3]
ROLE = "arn:aws:iam::123456789012:role/mine"
FILE = {"Key": "raw/cars.csv", "VersionId": "v1", "ETag": "e1", "Size": 7}


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What is run, in order; nothing is."""
    run: list[list[str]] = []
    monkeypatch.setattr("perennial_cli.project.program", lambda *parts: Path("/", *parts))
    monkeypatch.setattr("subprocess.run", lambda words, **_: run.append(words))
    monkeypatch.setattr("os.execve", lambda _, words, environ: run.append([*words, environ["PYTHONPATH"]]))
    for name in NAMES_AWS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(ROOT)
    return run


JUPYTER = ["/notebooks/bin/python", "-m", "jupyterlab", f"--notebook-dir={ROOT / 'notebooks'}", "--no-browser"]


def test_notebooks_are_opened_with_the_local_cloud_up(programs: list[list[str]]) -> None:
    assert perennial("notebook", "--no-browser").exit_code == 0
    local = ["/dev/bin/python", str(ROOT / "localcloud")]
    assert programs == [[*local, "up"], [*local, "env", "--", *JUPYTER, str(ROOT)]]


@pytest.mark.parametrize("name", NAMES_AWS)
def test_notebooks_speak_to_what_the_shell_names(
    programs: list[list[str]], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "x")
    assert "what this shell names" in perennial("notebook", "--no-browser").stderr
    assert programs == [[*JUPYTER, str(ROOT)]]


def test_its_help_is_its_own_and_opens_nothing(programs: list[list[str]]) -> None:
    text = perennial("notebook", "--help").stdout
    assert "Open Jupyter" in text
    assert "--allow-root" in text
    assert programs == []


def test_the_environment_of_notebooks_is_installed_when_it_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[list[str]] = []

    def make(words: list[str], **_: Any) -> Any:
        made.append(words)
        path = tmp_path / ".venvs/notebooks/bin/python"
        path.parent.mkdir(parents=True)
        path.touch()
        return type("Ended", (), {"returncode": 0})

    monkeypatch.setattr("perennial_cli.project.required", lambda: tmp_path)
    monkeypatch.setattr("subprocess.run", make)
    assert project.program("notebooks", "bin", "python") == tmp_path / ".venvs/notebooks/bin/python"
    assert made == [["make", ".venvs/notebooks/.installed"]]


def test_the_role_of_the_shell_is_taken_and_on_aws_one_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notebooks, "is_local", lambda: False)
    monkeypatch.setenv("PERENNIAL_ROLE", ROLE)
    assert notebooks.role() == ROLE
    monkeypatch.delenv("PERENNIAL_ROLE")
    with pytest.raises(CommandError, match="export PERENNIAL_ROLE="):
        notebooks.role()


def test_the_data_of_a_run_are_the_versions_of_its_record_and_no_empty_files() -> None:
    record = {"bucket": "b", "data": {"files": [{**FILE, "Size": 0}, FILE, {**FILE, "Key": "raw/b/new.csv"}]}}
    assert notebooks.files(record) == [
        (copy_name(FILE), {"Bucket": "b", "Key": "raw/cars.csv", "VersionId": "v1"}),
        (copy_name({**FILE, "Key": "raw/b/new.csv"}), {"Bucket": "b", "Key": "raw/b/new.csv", "VersionId": "v1"}),
    ]
    record["data"]["bucket"] = "theirs"  # type: ignore[index]
    assert {version["Bucket"] for _, version in notebooks.files(record)} == {"theirs"}


def test_the_training_job_of_a_run_that_has_tuned_is_that_of_its_best_trial() -> None:
    jobs = [
        {"kind": "Processing", "name": "p"},
        {"kind": "Training", "name": "t0-001"},
        {"kind": "Training", "name": "t0-002"},
    ]
    assert notebooks.training_job({"jobs": jobs}) == "t0-001"
    assert notebooks.training_job({"jobs": jobs, "tuning": {"best": "t0-002"}}) == "t0-002"


def run_of(model: str, **changes: Any) -> dict[str, Any]:
    """A record of a run of one of the project's models, as far as notebooks read it."""
    defined = definition.load(ROOT / f"models/{model}/model.yaml")
    resolved = configuration.resolve(model, defined.model_copy(update=changes))
    return {"configuration": resolved.as_json()}


@pytest.mark.parametrize(
    ("model", "metric", "direction"),
    [
        ("used-cars", "validation:rmse", "minimize"),
        ("mammography", "validation:auc", "maximize"),
        ("penguins", "validation:mlogloss", "minimize"),
    ],
)
def test_a_search_goes_by_the_metric_of_the_model_and_knows_what_is_better(
    model: str, metric: str, direction: str
) -> None:
    search = notebooks.search(run_of(model))
    assert (search.metric, search.direction, list(search.ranges)) == (metric, direction, ["eta", "max_depth"])
    assert search.is_better(0.2, 0.3) is (direction == "minimize")


def test_a_search_takes_the_ranges_of_numbers_of_the_definition() -> None:
    own = {"gamma": {"min": 0, "max": 2}, "tree_method": ["hist", "exact"]}
    search = notebooks.search(run_of("used-cars", hyperparameters={"xgboost": own}))
    assert search.as_sagemaker["ContinuousParameterRanges"] == [
        {"Name": "gamma", "MinValue": "0", "MaxValue": "2", "ScalingType": "Auto"}
    ]
    assert search.as_sagemaker["CategoricalParameterRanges"] == []


@pytest.mark.parametrize("algorithm", notebooks.EXAMPLES)
def test_the_usual_ranges_of_an_algorithm_are_allowed(algorithm: str) -> None:
    for name, value in notebooks.EXAMPLES[algorithm].items():
        assert name in ALGORITHMS[algorithm].tunable
        assert list(ranges.problems(value, ALGORITHMS[algorithm].hyperparameters[name])) == []


def test_there_are_usual_ranges_for_every_algorithm() -> None:
    assert set(notebooks.EXAMPLES) == {name for name, one in ALGORITHMS.items() if not one.is_own}


def code_with(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    code = zipfile.ZipFile(io.BytesIO(), "w")
    for name in names:
        code.writestr(name, "")
    monkeypatch.setattr("perennial_cli.deployed.code_of", lambda _: code)


def test_an_idea_is_made_of_the_first_two_features_that_are_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    code_with(monkeypatch)
    stack = Stack("cars", {}, {"ModelName": "used-cars"})
    assert notebooks.two_numbers(stack, run_of("used-cars")) == ("mileage", "cylinder")
    one = run_of("used-cars")
    for column in one["configuration"]["definition"]["columns"].values():
        column["feature"] = False
    with pytest.raises(CommandError, match="used-cars has 0"):
        notebooks.two_numbers(stack, one)
    code_with(monkeypatch, "models/used-cars/features.py")
    with pytest.raises(CommandError, match=r"has a features\.py already"):
        notebooks.two_numbers(stack, run_of("used-cars"))


def test_a_notebook_says_which_stacks_it_is_for() -> None:
    stack = Stack("birds", {}, {"ModelName": "penguins"})
    notebooks.require(stack, run_of("penguins"), algorithm="xgboost", metric="accuracy")
    expected = (
        "for a model with problem regression, metric rmse; that of birds has problem multiclass_classification, metric"
    )
    with pytest.raises(CommandError, match=expected):
        notebooks.require(stack, run_of("penguins"), problem="regression", metric="rmse")


def test_states_are_told_in_order_with_what_went_in_and_came_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def event(end: str, name: str, **document: Any) -> dict[str, Any]:
        key = f"state{end}EventDetails"
        return {"type": f"TaskState{end}", key: {"name": name, **{k: json.dumps(v) for k, v in document.items()}}}

    events = [event("Entered", "A", input=1), event("Exited", "A", output=2), event("Entered", "B", input=2)]
    monkeypatch.setattr("perennial_cli.following.history", lambda _: events)
    assert list(notebooks.states("arn")) == [notebooks.State("A", 1, 2), notebooks.State("B", 2, None)]


def test_the_sdk_is_asked_to_be_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAGEMAKER_SUPPRESS_V2_WARNING", "0")
    monkeypatch.setattr("logging.config.dictConfig", lambda _: None)
    monkeypatch.setattr(rich.traceback, "install", rich.traceback.install)
    monkeypatch.setattr(sys, "excepthook", hook := sys.excepthook)
    notebooks.quiet_sdks()
    assert os.environ["SAGEMAKER_SUPPRESS_V2_WARNING"] == "1"
    assert (rich.traceback.install(), sys.excepthook) == (hook, hook)
