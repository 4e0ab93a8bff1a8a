"""The model-quality job on files: what it reads, what it writes, how it fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from processing import analyze_model_quality
from tests.monitored import MODEL, World, cars

Job = Callable[..., dict[str, Any]]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Run the job on the parts given as texts; return its documents, or its message."""

    def run(*parts: str, problem: str = "regression") -> dict[str, Any]:
        predictions, output, message = tmp_path / "predictions", tmp_path / "output", tmp_path / "exit" / "message"
        predictions.mkdir()
        for number, part in enumerate(parts):
            (predictions / f"part-{number:05d}.csv").write_text(part)
        config = tmp_path / "config.json"
        gate = {"metric": "rmse" if problem == "regression" else "auc"}
        known = {"problem": problem, "algorithm": "deepar", "target": "price", "gate": gate}
        config.write_text(json.dumps({"definition": known}))
        arguments = ["--config", config, "--predictions", predictions, "--output", output, "--message", message]
        code = analyze_model_quality.main([str(argument) for argument in arguments])
        if code:
            assert not output.exists()
            return {"code": code, "message": message.read_text()}
        assert not message.exists()
        return {path.stem: json.loads(path.read_text()) for path in (output / "model-quality").iterdir()}

    return run


def test_regression_errors_are_in_the_targets_unit(job: Job) -> None:
    documents = job("prediction,label\n10,13\n20,16\n")
    assert documents["statistics"]["dataset"]["item_count"] == 2
    found = {name: metric["value"] for name, metric in documents["statistics"]["regression_metrics"].items()}
    assert found == pytest.approx({"mae": 3.5, "mse": 12.5, "rmse": 12.5**0.5, "r2": 1 - 25 / 4.5})
    constraints = documents["constraints"]["regression_constraints"]
    assert constraints["mae"] == {"threshold": 3.5, "comparison_operator": "GreaterThanThreshold"}


def test_what_cannot_be_explained_is_said_and_fails_no_run(job: Job, tmp_path: Path) -> None:
    job("prediction,label\n10,13\n20,16\n")
    assert json.loads((tmp_path / "output" / "attribution" / "analysis.json").read_text()) == {
        "version": "1.0",
        "explanations": {},
        "reason": "contributions of deepar are not known; expected xgboost, linear-learner",
    }


def test_predictions_are_explained_by_records_of_the_test_set(tmp_path: Path) -> None:
    world = World(tmp_path)
    document = json.loads((world.baselines / "attribution" / "analysis.json").read_text())
    weights = document["explanations"]["kernel_shap"]["label0"]["global_shap_values"]
    tested = cars(400, 1)
    mean = sum(car.fields[0] for car in tested) / 400
    assert weights["mileage"] == pytest.approx(0.2 * sum(abs(car.fields[0] - mean) for car in tested) / 400)
    assert (weights["doors"], document["dataset"]) == (0, {"item_count": 400})
    assert document["means"][0] == pytest.approx(mean)


SAAB = "{facets: [{column: make, values: [Saab]}, {column: doors, above: 3}], positive: {above: 16000}}"


def test_outcomes_of_facets_are_counted_by_the_records_of_the_test_set(tmp_path: Path) -> None:
    world = World(tmp_path, f"{MODEL}monitoring: {{bias: {SAAB}}}\n")
    document = json.loads((world.baselines / "bias" / "analysis.json").read_text())
    tested = cars(400, 1)
    for column, members in (
        ("make", [car for car in tested if car.fields[3] == "Saab"]),
        ("doors", [car for car in tested if car.fields[1] > 3]),
    ):
        (entry,) = document["pre_training_bias_metrics"]["facets"][column]
        assert entry["counts"]["facet"] == {
            "records": len(members),
            "labels": len(members),
            "positive_labels": sum(car.price > 16_000 for car in members),
            "predictions": len(members),
            "positive_predictions": sum(car.answer > 16_000 for car in members),
        }
        assert entry["counts"]["others"]["records"] == 400 - len(members)


def test_the_analysis_is_of_the_rows_that_train_and_of_the_test_set_in_one_document(tmp_path: Path) -> None:
    world = World(tmp_path, f"{MODEL}monitoring: {{bias: {SAAB[:-1]}, group: doors}}}}\n")
    document = json.loads((world.baselines / "analysis" / "analysis.json").read_text())
    trained, tested = cars(1500, 0), cars(400, 1)
    stages = [document[f"{when}_training_bias_metrics"]["facets"] for when in ("pre", "post")]
    (before,), (after,) = (facets["make"] for facets in stages)
    saabs = sum(car.fields[3] == "Saab" for car in trained)
    assert before["records"] == {"facet": saabs, "others": 1500 - saabs}
    values = {one["name"]: one["value"] for one in [*before["metrics"], *after["metrics"]]}
    right = [
        [(car.price > 16_000) == (car.answer > 16_000) for car in tested if (car.fields[3] == "Saab") == member]
        for member in (False, True)
    ]
    assert values["CI"] == (1500 - 2 * saabs) / 1500
    assert values["AD"] == pytest.approx(sum(right[0]) / len(right[0]) - sum(right[1]) / len(right[1]))
    # The model gives a Saab 1,000 more than another car of the same mileage.
    assert values["FT"] < 0
    assert None not in values.values()
    attribution = json.loads((world.baselines / "attribution" / "analysis.json").read_text())
    assert document["explanations"] == attribution["explanations"]


def test_without_an_encoding_nothing_says_which_records_are_near(tmp_path: Path) -> None:
    world = World(tmp_path, f"{MODEL}monitoring: {{bias: {SAAB}}}\n")
    sides, answers = np.ones((400, 2), np.int8), np.ones(400, bool)
    asked = (sides, answers, world.test)
    own = {**world.definition, "preprocessing": "none"}
    assert "are not encoded" in str(analyze_model_quality.flips(own, *asked, world.serving)[1])
    assert "cannot be read" in str(analyze_model_quality.flips(world.definition, *asked, tmp_path)[0])


def test_without_facets_the_baseline_of_bias_has_none(job: Job, tmp_path: Path) -> None:
    job("prediction,label\n10,13\n20,16\n")
    document = json.loads((tmp_path / "output" / "bias" / "analysis.json").read_text())
    assert document["post_training_bias_metrics"]["facets"] == {}


def test_a_test_set_that_does_not_fit_the_predictions_ends_the_job(tmp_path: Path) -> None:
    world = World(tmp_path, f"{MODEL}monitoring: {{bias: {SAAB}}}\n")
    (world.test / "part-00001.jsonl").write_text('{"make":null,"doors":2}\n')
    given = [f"--{option}={tmp_path / option}" for option in ("predictions", "test", "serving", "message")]
    assert analyze_model_quality.main([f"--config={world.config}", f"--output={tmp_path / 'out'}", *given]) == 1
    assert "400 predictions for 401 test records" in (tmp_path / "message").read_text()
    assert not (tmp_path / "out").exists()


def test_predictions_and_labels_do_not_change_places(job: Job) -> None:
    found = job("prediction,label,probability\n1,0,0.9\n1,0,0.8\n0,1,0.1\n", problem="binary_classification")
    assert found["statistics"]["binary_classification_metrics"]["confusion_matrix"] == {
        "0": {"0": 0, "1": 2},
        "1": {"0": 1, "1": 0},
    }


def test_columns_are_found_by_name_and_others_are_left_alone(job: Job) -> None:
    documents = job("id,label,prediction\na,13,10\nb,16,20\n")
    assert documents["statistics"]["regression_metrics"]["mae"]["value"] == 3.5


def test_probabilities_of_class_1_give_the_auc(job: Job) -> None:
    found = job("prediction,label,probability\n0,0,0.1\n0,1,0.4\n1,1,0.8\n", problem="binary_classification")
    assert found["statistics"]["binary_classification_metrics"]["auc"]["value"] == 1.0
    assert found["constraints"]["binary_classification_constraints"]["auc"]["threshold"] == 1.0


def test_several_parts_are_one_table(job: Job) -> None:
    documents = job("prediction,label\n10,13\n", "prediction,label\n20,16\n")
    assert documents["statistics"]["regression_metrics"]["mae"]["value"] == 3.5


def test_the_time_of_the_evaluation_is_now_in_utc(job: Job) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    written = job("prediction,label\n10,13\n20,16\n")["statistics"]["dataset"]["evaluation_time"]
    assert before <= datetime.fromisoformat(written) <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([], "there is no CSV file below"),
        (["prediction,label\n"], "no rows"),
        (["score\n1\n"], "part-00000.csv has the columns ['score']; expected prediction and label too"),
        (["prediction,label\n1,2\n3,\n"], "part-00000.csv: label is empty or not a number in row 2 of 2"),
        (["prediction,label\nnan,2\n"], "part-00000.csv: prediction is empty or not a number in row 1 of 1"),
        (["prediction,label\nhigh,2\n"], "part-00000.csv: In CSV column #0"),
        (["prediction,label\n1,2\n", "prediction,label,probability\n1,2,0.5\n"], "part-00001.csv has the columns"),
    ],
)
def test_predictions_that_cannot_be_measured_end_the_job_with_the_reason(
    job: Job, parts: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = job(*parts)
    assert outcome["code"] == 1
    assert outcome["message"].startswith("The baseline of the model cannot be computed: ")
    assert message in outcome["message"]
    assert message in capsys.readouterr().err


def test_a_probability_in_place_of_a_class_is_refused(job: Job) -> None:
    outcome = job("prediction,label\n0.7,1\n", problem="binary_classification")
    assert "predictions are not all 0 or 1" in outcome["message"]
