"""What each feature contributes to the scores of a model that serves."""

from __future__ import annotations

import io
import json
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from localcloud.sagemaker.algorithms.xgboost_train import import_xgboost
from perennial.features.encoding import Encoder, NumberEncoding, load_hook
from perennial.model import definition
from processing import contributions
from tests.monitored import BIAS, COLUMNS, MODEL, WEIGHTS, as_json, cars, save_model

LINES = [f"{as_json(car)}\n".encode() for car in cars(60, 3)]


@pytest.fixture
def serving(tmp_path: Path) -> Path:
    save_model(definition.parse(MODEL, "model.yaml").as_json(), tmp_path / "serving")
    return tmp_path / "serving"


def replace_model(serving: Path, files: Mapping[str, bytes]) -> None:
    with tarfile.open(serving / "model.tar.gz", "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def boosted(encoded: np.ndarray[Any, Any]) -> tuple[Any, Any]:
    """The library, and a model of encoded records whose target is that of the linear one, squared."""
    xgboost = import_xgboost()
    target = (encoded @ np.array(WEIGHTS) + BIAS) ** 2
    matrix = xgboost.DMatrix(encoded.astype(np.float32), label=target)
    return xgboost, xgboost.train({"max_depth": 3, "nthread": 1}, matrix, 20)


def test_a_linear_models_contributions_are_its_weights_times_the_distance_from_the_baseline(serving: Path) -> None:
    model = contributions.load(serving, "linear-learner")
    encoded = model.encode_lines(LINES)
    assert encoded[0].tolist() == [cars(60, 3)[0].fields[0], *encoded[0, 1:].tolist()]
    explained = model.contributions(encoded, encoded.mean(axis=0).tolist())
    assert explained.features == COLUMNS
    scores = encoded @ np.array(WEIGHTS) + BIAS
    assert explained.values.sum(axis=1) + explained.expected == pytest.approx(scores)
    assert explained.expected == pytest.approx(scores.mean())
    assert explained.values[:, 0] == pytest.approx(WEIGHTS[0] * (encoded[:, 0] - encoded[:, 0].mean()))
    saab = encoded[:, -1]
    assert explained.values[:, 3] == pytest.approx(WEIGHTS[-1] * (saab - saab.mean()))


def test_trees_contributions_add_up_to_their_scores_and_those_of_a_texts_categories_to_the_texts(serving: Path) -> None:
    encoded = contributions.load(serving, "linear-learner").encode_lines(LINES)
    xgboost, booster = boosted(encoded)
    replace_model(serving, {"xgboost-model": bytes(booster.save_raw("ubj"))})
    model = contributions.load(serving, "xgboost")
    explained = model.contributions(encoded, [0] * 6)
    matrix = xgboost.DMatrix(encoded.astype(np.float32))
    margins = booster.predict(matrix, output_margin=True)
    assert explained.features == COLUMNS
    assert explained.values.sum(axis=1) + explained.expected == pytest.approx(margins, rel=1e-5)
    by_column = booster.predict(matrix, pred_contribs=True)
    assert explained.values[:, 3] == pytest.approx(by_column[:, 3:6].sum(axis=1), rel=1e-5)


def test_trees_of_several_classes_contribute_the_sum_of_what_they_move_the_score_of_each(serving: Path) -> None:
    encoded = contributions.load(serving, "linear-learner").encode_lines(LINES)
    xgboost = import_xgboost()
    matrix = xgboost.DMatrix(encoded.astype(np.float32), label=np.arange(len(encoded)) % 3)
    settings = {"objective": "multi:softprob", "num_class": 3, "max_depth": 3, "nthread": 1}
    booster = xgboost.train(settings, matrix, 5)
    replace_model(serving, {"xgboost-model": bytes(booster.save_raw("ubj"))})
    explained = contributions.load(serving, "xgboost").contributions(encoded, [0] * 6)
    of_columns = booster.predict(matrix, pred_contribs=True)
    assert of_columns.shape == (60, 3, 7)
    assert of_columns.sum(axis=2) == pytest.approx(booster.predict(matrix, output_margin=True), abs=1e-5)
    assert (explained.features, explained.expected) == (COLUMNS, None)
    assert explained.values[:, 0] == pytest.approx(np.abs(of_columns[:, :, 0]).sum(axis=1), rel=1e-5)
    assert explained.values[:, 3] == pytest.approx(np.abs(of_columns[:, :, 3:6].sum(axis=2)).sum(axis=1), rel=1e-5)


def test_records_are_encoded_as_tables_as_they_are_as_lines(serving: Path) -> None:
    model = contributions.load(serving, "linear-learner")
    odd = [*LINES[:5], json.dumps({"mileage": 1, "doors": 2, "leather": True, "make": "Lada"}).encode()]
    encoded = model.encode_lines(odd)
    assert encoded.shape == (6, 6)
    assert encoded[5].tolist() == [1, 2, 1, 0, 0, 0]


def _mxnet() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("mx-mod-symbol.json", "{}")
    return file.getvalue()


@pytest.mark.parametrize(
    ("algorithm", "files", "says"),
    [
        ("linear-learner", {"model_algo-1": _mxnet()}, "is an MXNet model"),
        ("linear-learner", {"model_algo-1": b"?"}, "is an MXNet model"),
        ("linear-learner", {"xgboost-model": b""}, "holds xgboost-model; expected model_algo-1"),
        ("xgboost", {"model_algo-1": b""}, "holds model_algo-1; expected xgboost-model"),
        ("xgboost", {"xgboost-model": b"?"}, r"xgboost-model cannot be read: \S.*"),
        ("deepar", {}, "contributions of deepar are not known; expected xgboost, linear-learner"),
    ],
)
def test_a_model_that_cannot_be_explained_says_why(
    serving: Path, algorithm: str, files: Mapping[str, bytes], says: str
) -> None:
    replace_model(serving, files)
    with pytest.raises(contributions.UnexplainedError, match=says):
        contributions.load(serving, algorithm)


def test_an_image_without_xgboost_is_named(serving: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_model(serving, {"xgboost-model": b""})
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(contributions.UnexplainedError, match="no XGBoost in this image"):
        contributions.load(serving, "xgboost")
    assert sys.modules.get("sklearn", "not hidden") is not None


def test_a_folder_without_a_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(contributions.UnexplainedError, match=r"cannot be read: FileNotFoundError.*preprocessor.tar.gz"):
        contributions.load(tmp_path, "xgboost")


def test_means_of_another_encoding_are_refused(serving: Path) -> None:
    model = contributions.load(serving, "linear-learner")
    with pytest.raises(contributions.UnexplainedError, match="means of 5 encoded columns, the model 6"):
        model.contributions(model.encode_lines(LINES), [0] * 5)


def test_a_model_of_other_columns_cannot_be_explained(serving: Path) -> None:
    model = contributions.load(serving, "linear-learner")
    narrow = model.encode_lines(LINES)[:, :5]
    with pytest.raises(contributions.UnexplainedError, match="the model cannot be explained"):
        model.contributions(narrow, [0] * 6)


def test_a_column_that_features_py_makes_has_its_own_contribution(tmp_path: Path) -> None:
    encoder = Encoder((NumberEncoding("miles_a_door", 0, indicator=False),))
    hook = tmp_path / "features.py"
    hook.write_text(
        "import pyarrow as pa\nimport pyarrow.compute as pc\n\n\ndef transform(table):\n"
        "    return pa.table({'miles_a_door': pc.divide(table['mileage'], table['doors'])})\n"
    )
    document = definition.parse(MODEL, "model.yaml").as_json()
    save_model(document, tmp_path / "serving", replace(encoder, hook=load_hook(hook)), hook, weights=(-2.0,))
    model = contributions.load(tmp_path / "serving", "linear-learner")
    encoded = model.encode_lines(LINES)
    explained = model.contributions(encoded, [0])
    miles, doors, *_ = cars(60, 3)[0].fields
    assert explained.features == ("miles_a_door",)
    assert explained.values[0].tolist() == pytest.approx([-2.0 * miles / doors])
