"""`perennial analyze`: what files and a quick fit show of bias, held against what is counted by hand."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perennial.model import definition
from perennial_cli import quick_analysis, quick_fit
from tests.command import perennial

MODEL = """
problem: regression
target: {column: wage, transform: log}
columns:
  wage: {type: float, min: 1}
  years: {type: float, min: 0, max: 50}
  sex: {type: string, categories: [f, m]}
  branch: {type: string, categories: [shop, office]}
split: {method: random, seed: 1}
algorithm: xgboost
gate: {metric: rmse, threshold: 500}
monitoring: {bias: {facets: [{column: sex, values: [f]}], positive: {above: 1500}, group: branch}}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder and 600 wages, of which women have 300 less whatever else they say."""
    folder, random = tmp_path_factory.mktemp("wages"), np.random.default_rng(0)
    (folder / "models/wages").mkdir(parents=True)
    (folder / "models/wages/model.yaml").write_text(MODEL)
    with (folder / "wages.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["wage", "years", "sex", "branch"])
        drawn = zip(
            random.uniform(0, 40, 600).round(3), random.random(600) < 0.4, random.random(600) < 0.5, strict=True
        )
        for years, woman, office in drawn:
            wage = 1_200 + 20 * years - 300 * woman + 100 * office
            rows.writerow([wage, years, "f" if woman else "m", "office" if office else "shop"])
    return folder


@pytest.fixture
def answered(project: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.chdir(project)
    ended = perennial("analyze", "wages", "--file", "wages.csv", "--json", "-o", "analysis.json", "--force")
    assert ended.exit_code == 0
    document: dict[str, Any] = json.loads(ended.stdout)
    assert json.loads((project / "analysis.json").read_text()) == document
    return document


def values(stage: dict[str, Any]) -> dict[str, float]:
    return {one["name"]: one["value"] for one in stage["facets"]["sex"][0]["metrics"]}


def test_bias_is_that_of_the_rows_that_train_and_of_the_answers_to_the_others(
    project: Path, answered: dict[str, Any], tmp_path: Path
) -> None:
    defined = definition.load(project / "models/wages/model.yaml")
    assert quick_fit.prepare(defined, "wages", [project / "wages.csv"], project / "models", tmp_path / "output") == ()
    with (tmp_path / "output/baseline/part-00000.csv").open() as file:
        trained = list(csv.DictReader(file))
    women, men = ([float(row["wage"]) > 1500 for row in trained if row["sex"] == sex] for sex in "fm")
    before = values(answered["pre_training_bias_metrics"])
    assert answered["pre_training_bias_metrics"]["label_value_or_threshold"] == "(1500, inf)"
    assert before["CI"] == pytest.approx((len(men) - len(women)) / len(trained))
    assert before["DPL"] == pytest.approx(np.mean(men) - np.mean(women))
    assert before["CDDL"] > 0.2
    tested = [json.loads(line) for line in (tmp_path / "output/test/part-00000.jsonl").read_text().splitlines()]
    (stage,) = answered["post_training_bias_metrics"]["facets"]["sex"]
    assert sum(stage["records"].values()) == len(tested)
    after = values(answered["post_training_bias_metrics"])
    assert after["DPPL"] == pytest.approx(before["DPL"], abs=0.15)
    # Of a test row of a man with the same years and branch the model says more.
    assert after["FT"] > 0.2
    assert abs(after["AD"]) < 0.1


def test_features_are_ranked_by_their_mean_contributions(answered: dict[str, Any], project: Path) -> None:
    explained = answered["explanations"]["kernel_shap"]["label0"]
    weights = explained["global_shap_values"]
    assert weights["years"] > weights["sex"] > weights["branch"] > 0
    assert explained["expected_value"] == pytest.approx(np.log(1_500), abs=0.1)
    shown = perennial("analyze", "wages", "--file", "wages.csv").stdout
    assert "Bias in the training rows; positive is wage (1500, inf)" in shown
    assert "Class Imbalance (CI)" in shown
    assert [line.split()[0] for line in shown.splitlines()[-3:]] == ["years", "sex", "branch"]


def test_without_a_fit_the_data_are_analysed_alone(project: Path) -> None:
    defined = definition.load(project / "models/wages/model.yaml")
    own = defined.model_copy(update={"algorithm": "scikit-learn-script"})
    document = quick_analysis.analyzed(own, "wages", [project / "wages.csv"], project / "models").document
    assert values(document["pre_training_bias_metrics"])["DPL"] > 0
    assert document["post_training_bias_metrics"]["facets"] == document["explanations"] == {}
    assert document["reason"] == quick_analysis.OWN_SCRIPT


def test_files_that_a_run_could_not_use_are_not_analysed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    (project / "other.csv").write_text("wage,years\n1000,3\n")
    ended = perennial("analyze", "wages", "--file", "other.csv")
    assert ended.exit_code == 1
    assert "a run would fail: other.csv: column" in ended.stderr
