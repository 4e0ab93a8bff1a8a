"""Training runs of the XGBoost stand-in on small files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sklearn  # noqa: F401 - loaded first, because the stand-in keeps xgboost from importing it
import xgboost

from localcloud.sagemaker.algorithms import xgboost_train
from localcloud.sagemaker.algorithms.training_container import run

Rows = np.ndarray[Any, Any]
FILE = {"TrainingInputMode": "File", "S3DistributionType": "FullyReplicated", "RecordWrapperType": "None"}


def make_rows(count: int, seed: int = 0) -> Rows:
    """(count, 5): label 2 a + b², features a to d with a few missing values."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(count, 4)).astype("f4")
    label = 2 * features[:, 0] + features[:, 1] ** 2
    features[random.random(features.shape) < 0.05] = np.nan
    return np.column_stack([label, features]).astype("f4")


def write_csv(path: Path, rows: Rows, delimiter: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = (delimiter.join("" if np.isnan(cell) else repr(float(cell)) for cell in row) for row in rows)
    path.write_text("\n".join(lines) + "\n")


class Job:
    """The files of one training job below a folder that stands for /opt/ml."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.channels: dict[str, dict[str, str]] = {}
        self.hyperparameters = {"num_round": "5"}

    def csv(self, channel: str, rows: Rows, name: str = "part-00000.csv", delimiter: str = ",") -> None:
        self.channels[channel] = {"ContentType": "text/csv", **FILE}
        write_csv(self.root / "input/data" / channel / name, rows, delimiter)

    def run(self) -> int:
        config = self.root / "input/config"
        config.mkdir(parents=True, exist_ok=True)
        (config / "hyperparameters.json").write_text(json.dumps(self.hyperparameters))
        (config / "inputdataconfig.json").write_text(json.dumps(self.channels))
        (config / "resourceconfig.json").write_text('{"current_host": "algo-1", "hosts": ["algo-1"]}')
        return run(xgboost_train.train, ["--root", str(self.root)])

    @property
    def failure(self) -> str:
        return (self.root / "output/failure").read_text()

    @property
    def model(self) -> Path:
        return self.root / "model/xgboost-model"

    def booster(self) -> Any:
        booster = xgboost.Booster()
        booster.load_model(bytearray(self.model.read_bytes()))
        return booster


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(tmp_path)


def test_rounds_are_logged_with_tabs_and_five_decimals(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    job.csv("train", make_rows(200))
    job.csv("validation", make_rows(50, seed=1))

    assert job.run() == 0
    lines = capsys.readouterr().out.splitlines()
    rounds = [line for line in lines if line.startswith("[4]")]
    assert len(rounds) == 1
    parts = rounds[0].split("\t")
    assert parts[0] == "[4]"
    assert parts[1].startswith("train-rmse:")
    assert parts[2].startswith("validation-rmse:")
    assert all(len(part.split(".")[1]) == 5 for part in parts[1:])
    text = "\n".join(lines)
    assert "Determined delimiter of CSV input is ','" in text
    assert "Single node training." in text
    assert "Train matrix has 200 rows and 4 columns" in text
    assert "Validation matrix has 50 rows" in text


def test_the_model_is_what_the_library_trains_from_the_same_rows(job: Job) -> None:
    rows = make_rows(300)
    for number, part in enumerate(np.split(rows, 3)):
        job.csv("train", part, f"part-0000{number}.csv")
    job.hyperparameters = {"num_round": "20", "eta": "0.3", "max_depth": "4"}

    assert job.run() == 0
    expected = xgboost.train(
        {"eta": 0.3, "max_depth": 4}, xgboost.DMatrix(rows[:, 1:], label=rows[:, 0]), num_boost_round=20
    )
    test = xgboost.DMatrix(make_rows(50, seed=2)[:, 1:])
    assert np.array_equal(job.booster().predict(test), expected.predict(test))
    assert job.model.read_bytes()[:2] == b"{L"  # UBJSON
    assert [path.name for path in job.model.parent.iterdir()] == ["xgboost-model"]


def test_the_same_seed_gives_the_same_bytes(job: Job) -> None:
    job.csv("train", make_rows(200))
    job.hyperparameters = {"num_round": "5", "subsample": "0.5", "seed": "7"}

    job.run()
    first = job.model.read_bytes()
    job.run()
    again = job.model.read_bytes()
    job.hyperparameters["seed"] = "8"
    job.run()

    assert again == first
    assert job.model.read_bytes() != first


@pytest.mark.parametrize(("values", "threads"), [(2001, 1), (2000, 3)])
def test_few_values_are_trained_on_by_one_thread_and_many_by_all_cores(
    job: Job, values: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    used = []
    train = xgboost.train

    def note(parameters: dict[str, Any], *arguments: Any, **options: Any) -> Any:
        used.append(parameters["nthread"])
        return train(parameters, *arguments, **options)

    monkeypatch.setattr(xgboost, "train", note)
    monkeypatch.setattr(xgboost_train, "cores", lambda: 3)
    monkeypatch.setattr(xgboost_train, "LARGE", values)
    job.csv("train", make_rows(500))

    assert job.run() == 0
    assert used == [threads]


def test_exact_trees_and_linear_boosters_train_too(job: Job) -> None:
    job.csv("train", np.nan_to_num(make_rows(100)))
    for choice in ({"tree_method": "exact"}, {"tree_method": "approx"}, {"booster": "gblinear"}, {"booster": "dart"}):
        job.hyperparameters = {"num_round": "3", **choice}
        assert job.run() == 0, job.failure


def test_parquet_and_libsvm_are_read(job: Job) -> None:
    rows = make_rows(100)
    folder = job.root / "input/data/train"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({str(i): rows[:, i] for i in range(5)}), folder / "a.parquet")
    job.channels["train"] = {"ContentType": "application/x-parquet", **FILE}
    assert job.run() == 0
    assert job.booster().num_features() == 4

    (folder / "a.parquet").unlink()
    (folder / "a").write_text("1 0:2.5 3:1\n0 1:1\n" * 20)
    job.channels["train"] = dict(FILE)  # without a ContentType it is libsvm
    assert job.run() == 0
    assert job.booster().num_features() == 4


def test_column_one_is_the_weight_with_csv_weights(job: Job) -> None:
    rows = make_rows(100)
    weights = np.random.default_rng(3).random((100, 1)).astype("f4")
    job.csv("train", np.hstack([rows[:, :1], weights, rows[:, 1:]]))
    job.hyperparameters |= {"csv_weights": "1"}

    assert job.run() == 0
    matrix = xgboost.DMatrix(rows[:, 1:], label=rows[:, 0], weight=weights[:, 0])
    expected = xgboost.train({}, matrix, num_boost_round=5)
    assert np.allclose(job.booster().predict(matrix), expected.predict(matrix))


def test_another_delimiter_is_found_by_the_first_line(job: Job) -> None:
    job.csv("train", np.nan_to_num(make_rows(100)), delimiter=";")

    assert job.run() == 0
    assert job.booster().num_features() == 4


def test_early_stopping_keeps_the_best_round(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    job.csv("train", make_rows(200))
    job.csv("validation", make_rows(100, seed=1))
    job.hyperparameters = {
        "num_round": "200",
        "eta": "0.9",
        "early_stopping_rounds": "3",
        "eval_metric": "mae,r2",
    }

    assert job.run() == 0
    scores = [
        float(line.split("validation-r2:")[1])
        for line in capsys.readouterr().out.splitlines()
        if "validation-r2:" in line
    ]
    assert len(scores) < 200
    assert job.booster().num_boosted_rounds() == int(np.argmax(scores)) + 1 == len(scores) - 3


def test_early_stopping_without_a_metric_is_off_and_says_so(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    job.csv("train", make_rows(50))
    job.csv("validation", make_rows(50, seed=1))
    job.hyperparameters = {"num_round": "30", "early_stopping_rounds": "1", "eta": "1"}

    assert job.run() == 0
    assert job.booster().num_boosted_rounds() == 30
    assert "early_stopping_rounds has no effect" in capsys.readouterr().out


def test_the_tuning_objective_is_evaluated_and_comes_last(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    rows = make_rows(100)
    rows[:, 0] = rows[:, 0] > 0
    job.csv("train", rows)
    job.csv("validation", rows)
    job.hyperparameters |= {
        "objective": "binary:logistic",
        "eval_metric": "logloss",
        "_tuning_objective_metric": "validation:f1",
    }

    assert job.run() == 0
    assert "validation-f1:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("channels", "text"),
    [
        ({}, "Missing required channel: train"),
        ({"train": {"ContentType": "text/csv", **FILE}, "test": {}}, "Extraneous channel found: test"),
        ({"train": {"ContentType": "image/png", **FILE}}, "image/png is not an accepted ContentType: csv"),
        ({"train": {"ContentType": "text/csv;label_size=2", **FILE}}, "label_size must be equal to 1"),
        ({"train": {"ContentType": "application/x-recordio-protobuf", **FILE}}, "not supported by the local XGBoost"),
        ({"train": {"ContentType": "text/csv", "TrainingInputMode": "Pipe"}}, "is not supported"),
        ({"train": {"ContentType": "text/csv", **FILE}}, "No data in training channel path"),
    ],
)
def test_wrong_channels_fail_as_the_users_error(job: Job, channels: dict[str, dict[str, str]], text: str) -> None:
    job.channels = channels

    assert job.run() == 1
    assert job.failure.startswith("ClientError: ")
    assert text in job.failure


def test_an_empty_validation_channel_is_refused(job: Job) -> None:
    job.csv("train", make_rows(50))
    job.channels["validation"] = {"ContentType": "text/csv", **FILE}

    assert job.run() == 1
    assert job.failure.startswith("ClientError: No data in validation channel path")


def test_hidden_and_empty_files_do_not_count(job: Job) -> None:
    job.csv("train", make_rows(50))
    (job.root / "input/data/train/_SUCCESS").write_text("not a number")
    (job.root / "input/data/train/.hidden").write_text("not a number")
    (job.root / "input/data/train/empty.csv").touch()

    assert job.run() == 0


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("price,mileage\n1,2\n", "expected numbers only, label first, 2 columns in every row, and no header"),
        ("1,2,3\n1,2\n", "Expected 3 columns, got 2"),
        ("1\n2\n", "Could not determine delimiter on line 1"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(job: Job, content: str, text: str) -> None:
    job.csv("train", make_rows(1))
    (job.root / "input/data/train/part-00000.csv").write_text(content)

    assert job.run() == 1
    assert job.failure.startswith("ClientError: ")
    assert text in job.failure


@pytest.mark.parametrize(
    ("hyperparameters", "text"),
    [
        ({"objective": "binary:logistic"}, "label must be"),
        ({"objective": "multi:softmax", "num_class": "2"}, "label must be"),
        ({"objective": "count:poisson"}, "label must be"),
    ],
)
def test_labels_that_do_not_fit_the_objective_are_the_users_error(
    job: Job, hyperparameters: dict[str, str], text: str
) -> None:
    job.csv("train", make_rows(50))
    job.hyperparameters |= hyperparameters

    assert job.run() == 1
    assert job.failure.startswith("ClientError: ")
    assert text in job.failure
    assert "Stack trace" not in job.failure


def test_what_a_file_holds_is_logged_short_and_printable(job: Job, capsys: pytest.CaptureFixture[str]) -> None:
    job.csv("train", make_rows(1))
    (job.root / "input/data/train/part-00000.csv").write_text("1,2\n1,\x1b[31m\u202e" + "x" * 100_000 + "\n")

    assert job.run() == 1
    for said in (job.failure, capsys.readouterr().out):
        assert "Failed to load csv data" in said
        assert all(line.isprintable() for line in said.splitlines())
        assert len(said) < 20_000


def test_a_failure_file_holds_no_more_than_what_becomes_the_failure_reason(job: Job) -> None:
    job.csv("train", make_rows(5))
    job.hyperparameters |= {"objective": "x" * 3000}

    assert job.run() == 1
    assert len(job.failure) == 1024
