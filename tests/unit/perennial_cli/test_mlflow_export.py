"""What of a run goes to MLflow; that it arrives there is tested against a real server (tests/integration)."""

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from perennial_cli import mlflow_export
from perennial_cli.console import CommandError
from perennial_cli.stacks import Stack
from tests.command import perennial
from tests.unit.perennial_cli.test_running import RUN, TUNED, record, stack

__all__ = ["stack"]


def whole() -> dict[str, Any]:
    return record(bucket="b", stack="cars", model="used-cars")


def test_parameters_are_what_decided_the_run() -> None:
    expected = {"algorithm": "xgboost", "hyperparameters.eta": "0.1", "gate.threshold": "3000.0", "split.seed": "42"}
    assert expected.items() <= mlflow_export.parameters(whole()).items()


def test_parameters_of_a_run_that_has_tuned_have_the_values_of_its_best_trial() -> None:
    tuned = {**whole(), "tuning": TUNED}
    expected = {
        "hyperparameters.eta": "0.1", "hyperparameters.max_depth": "4", "tuning.strategy": "Random",
        "tuning.trials": "2", "tuning.metric": "validation:rmse", "tuning.best_value": "2.5",
    }  # fmt: skip
    assert expected.items() <= mlflow_export.parameters(tuned).items()
    tags = mlflow_export.tags(tuned)
    assert (tags["perennial.tuning.job"], tags["perennial.tuning.best"]) == (TUNED["job"], TUNED["best"])


class RefusedError(Exception):
    """What MLflow raises."""


@pytest.mark.parametrize(
    ("uri", "variable"), [("mlruns", ""), ("file:///mlruns", ""), ("mlruns", "true"), ("http://x", "")]
)
def test_of_a_folder_it_says_what_to_set(uri: str, variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def client(tracking_uri: str) -> None:
        raise RefusedError("many lines")

    monkeypatch.setitem(sys.modules, "mlflow.exceptions", SimpleNamespace(MlflowException=RefusedError))
    monkeypatch.setitem(sys.modules, "mlflow.tracking", SimpleNamespace(MlflowClient=client))
    monkeypatch.setenv(mlflow_export.FILE_STORE, variable)
    with pytest.raises(CommandError) as refused:
        mlflow_export.export(Stack("cars", {}, {}), [whole()], uri)
    if variable or uri == "http://x":
        assert str(refused.value).endswith("many lines")
    else:
        assert (
            str(refused.value)
            == f"{uri} is a folder, and MLflow writes to folders only with {mlflow_export.FILE_STORE}=true"
        )


def test_metrics_are_numbers_and_tell_both_models_apart() -> None:
    training = {"train:rmse": 1, "a@b": 3}
    some = {"candidate": {"rmse": 1.5, "r2": float("nan")}, "champion": {"rmse": 2}, "training": training}
    assert mlflow_export.metrics({**whole(), "metrics": some, "rows": {"used": 804}}) == {
        "rmse": 1.5, "champion.rmse": 2.0, "training.train:rmse": 1.0, "training.a_b": 3.0, "rows.used": 804.0,
        "duration_seconds": 8.1,
    }  # fmt: skip


def test_tags_lead_back_to_code_and_data() -> None:
    tags = mlflow_export.tags(whole())
    assert tags["mlflow.source.git.commit"] == "abc"
    assert tags["perennial.data.fingerprint"] == "f" * 64
    assert tags["perennial.data.files"] == "s3://b/raw/a.csv?versionId=v1"
    assert tags["perennial.decision"] == "meets the threshold"
    assert tags["perennial.status"] == "Succeeded"


def test_a_run_that_failed_before_it_had_data_has_what_is_known() -> None:
    failed = {"run_id": RUN, "status": "Failed", "execution": {}, "failure": {"cause": "no access"}, "input": {}}
    assert mlflow_export.parameters(failed) == {}
    assert mlflow_export.metrics(failed) == {}
    assert mlflow_export.tags(failed)["perennial.decision"] == "no access"


def test_without_mlflow_it_says_what_to_install(stack: Any, answers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answers("stepfunctions", "ListExecutions", (200, {"executions": []}))
    monkeypatch.setitem(sys.modules, "mlflow.exceptions", None)
    ended = perennial("runs", "--export", "mlflow", "--to", "http://localhost:1")
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "pip install '.[mlflow]'" in ended.stderr


def test_runs_that_have_ended_are_exported(stack: Any, answers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answers("stepfunctions", "ListExecutions", (200, {"executions": []}))
    exported: list[Any] = []

    def export(stack: Stack, records: Any, uri: str) -> dict[str, str]:
        exported.append((stack.name, [one["run_id"] for one in records], uri))
        return {RUN: "m"}

    monkeypatch.setattr(mlflow_export, "export", export)
    ended = perennial("runs", "--export", "mlflow", "--to", "http://localhost:1")
    assert (ended.exit_code, ended.stdout) == (0, "exported 1 run of cars to http://localhost:1\n")
    assert exported == [("cars", [RUN], "http://localhost:1")]


@pytest.mark.parametrize("words", ["--export mlflow", "--to http://localhost:1", "--export x --to http://localhost:1"])
def test_an_export_names_what_and_where(words: str) -> None:
    assert perennial("runs", *words.split()).exit_code == 2
