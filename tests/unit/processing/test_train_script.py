"""A model's own script is run as script mode runs it, asked as it will serve, and told of by file and line."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from perennial.model.definition import validated
from processing import job_script, train_script
from tests.e2e.matrix.registry import matrix

DEFINITION = {
    "problem": "regression",
    "target": "price",
    "columns": {
        "price": {"type": "float"},
        "zip": {"type": "string"},
        "rooms": {"type": "integer", "nullable": True},
    },
    "split": {"method": "random"},
    "algorithm": "scikit-learn-script",
    "preprocessing": "none",
    "gate": {"metric": "rmse", "threshold": 10},
}
TRAIN = """import argparse
import os
import sys

from script_tables import read

features, target = read("train")
with open(os.path.join(os.environ["SM_MODEL_DIR"], "mean.txt"), "w") as file:
    file.write(str(target.mean()))
with open(os.path.join(os.environ["SM_OUTPUT_DATA_DIR"], "called.txt"), "w") as file:
    file.write(repr([sys.argv[1:], os.environ["SM_HPS"], os.environ["SM_HP_RATE"], os.environ["SM_CHANNELS"]]))
    file.write(repr(os.listdir(os.environ["SM_CHECKPOINT_DIR"])))
    file.write(repr([features.values.tolist(), features.dtypes.astype(str).tolist()]))
"""
SERVE = """import os


def model_fn(model_dir):
    with open(os.path.join(model_dir, "mean.txt")) as file:
        return float(file.read())


def predict_fn(data, model):
    assert data["zip"].tolist() == ["01234", "98765"]
    return [model + rooms for rooms in data["rooms"].fillna(0)]
"""


@pytest.fixture
def train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, Path]]:
    """Run the job on the files of a model's folder: (exit code, /opt/ml/output/failure, /opt/ml)."""
    root, models = tmp_path / "ml", tmp_path / "models"
    before, path, argv = dict(os.environ), list(sys.path), list(sys.argv)
    monkeypatch.setattr(job_script, "MODELS", models)
    monkeypatch.chdir(tmp_path)

    def run(definition: dict[str, Any] = DEFINITION, **files: str) -> tuple[int, str, Path]:
        (models / "houses").mkdir(parents=True)
        for name, text in files.items():
            (models / "houses" / f"{name}.py").write_text(text)
        for name in ("input/config", "input/data/config", "model", "output/data"):
            (root / name).mkdir(parents=True)
        rows = {"train": "100,01234,3\n200,98765,\n", "validation": "150,01234,2\n250,98765,\n"}
        for name, text in rows.items():
            (root / "input/data" / name).mkdir()
            (root / "input/data" / name / "part-00000.csv").write_text(f"price,zip,rooms\n{text}")
        config = {"model": "houses", "definition": validated(definition, "model.yaml").as_json()}
        documents = {
            "data/config/config.json": config,
            "config/hyperparameters.json": {
                "rate": "0.5",
                "C": "true",
                "_tuning_objective_metric": "validation:rmse",
                "sagemaker_program": "unpack.py",
            },
            "config/resourceconfig.json": {"hosts": ["algo-1"], "current_host": "algo-1"},
            "config/inputdataconfig.json": {"train": {}, "validation": {}, "code": {}},
        }
        for name, document in documents.items():
            (root / "input" / name).write_text(json.dumps(document))
        code = train_script.main(["--root", str(root)])
        failure = root / "output/failure"
        return code, failure.read_text() if failure.exists() else "", root

    yield run
    os.environ.clear()
    os.environ.update(before)
    sys.path[:], sys.argv[:] = path, argv
    for name in [name for name, one in sys.modules.items() if str(getattr(one, "__file__", "")).startswith(str(root))]:
        del sys.modules[name]


def test_a_script_gets_what_script_mode_gives_and_its_model_carries_the_scripts_that_serve(train) -> None:
    code, failure, root = train(train=TRAIN, serve=SERVE, helper="")
    assert (code, failure) == (0, "")
    assert (root / "output/data/called.txt").read_text() == (
        "[['-C', 'True', '--rate', '0.5'], '{\"C\":true,\"rate\":0.5}', '0.5', '[\"code\",\"train\",\"validation\"]']"
        "[][[['01234', 3.0], ['98765', nan]], ['object', 'float64']]"
    )
    packed = {path.relative_to(root / "model").as_posix() for path in (root / "model").rglob("*.*")}
    own = {"train.py", "serve.py", "helper.py"}
    assert packed == {"mean.txt", *(f"code/{name}" for name in (*own, *train_script.BESIDE, "script.json"))}
    assert json.loads((root / "model/code/script.json").read_text())["texts"] == ["zip"]


@pytest.mark.parametrize(
    ("files", "failure"),
    [
        ({}, "models/houses has no train.py, which the algorithm scikit-learn-script runs; write it"),
        ({"train": "1\n2 +\n"}, "train.py, line 2: SyntaxError: invalid syntax"),
        ({"train": "import helper\nhelper.f()", "helper": "def f():\n    {}['a']"}, "helper.py, line 2: KeyError: 'a'"),
        (
            {"train": "import sys\nsys.exit('too few rows')"},
            "ended itself as failed (it was called with -C True",
        ),
        ({"train": "open('../model/code', 'w').close()"}, "train.py has written a file `code` into the model, where"),
        ({"train": "raise MemoryError"}, "train.py, line 1: not enough memory; take a larger machine (instances.train"),
        ({"train": ""}, "train.py has ended and written no model; expected at least one file below the folder that"),
        ({"train": TRAIN}, "the model holds mean.txt; expected model.joblib"),
        ({"train": TRAIN, "serve": SERVE.replace("model +", "modle +")}, "serve.py, line 11: NameError: name 'modle'"),
        (
            {"train": TRAIN, "serve": SERVE.replace("return [model", "return [0.0] and [model][:1] or [model")},
            "serve.py answers 2 records of the validation set with scores of shape (1,); expected (2,): one number for",
        ),
        (
            {"train": TRAIN, "serve": f"{SERVE}\n\ndef output_fn(prediction, accept):\n    return 'dear', accept\n"},
            "the answer of serve.py, line 1: got 'dear'; expected a number or {'score': number}",
        ),
        ({"train": TRAIN, "serve": SERVE.replace("model + rooms", "float('inf')")}, "inf is no finite number"),
    ],
    ids=lambda value: "".join(value)[:20] if isinstance(value, dict) else None,
)
@matrix("Jobs", "train.py or serve.py of a model fails, or makes no model", ends="Failed")
def test_what_is_wrong_is_said_with_script_line_and_reason(train, files: dict[str, str], failure: str) -> None:
    code, reason, _ = train(**files)
    assert code == 1
    assert failure in reason
    assert len(reason.encode()) <= train_script.FAILURE_BYTES


@pytest.mark.parametrize(
    ("end", "code", "said"),
    [
        (
            "print('no rows', file=sys.stderr)\nsys.exit(7)",
            7,
            "ended itself with exit code 7 (it was called with -C True",
        ),
        ("sys.exit(256)", 1, "ended itself with exit code 256"),
        ("import argparse\nargparse.ArgumentParser().parse_args()", 2, "ended itself with exit code 2"),
        ("sys.exit('too few rows')", 1, "ended itself as failed (it was called with -C True --rate 0.5): too few rows"),
    ],
)
def test_the_job_ends_with_the_exit_code_of_the_script(train, end: str, code: int, said: str) -> None:
    ended, failure, _ = train(train=f"import sys\n{end}")
    assert ended == code
    assert failure.startswith(f"train.py {said}")


def test_a_hyperparameter_that_no_variable_can_hold_is_said(train, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_script, "_hyperparameters", lambda _root: {"rate": "a\0b"})
    code, failure, _ = train(train=TRAIN)
    assert (code, failure[:57]) == (1, "SM_HP_RATE would be 'a\\x00b', and no variable can hold a ")


def test_what_features_py_makes_is_a_text_where_any_part_of_a_set_holds_what_is_no_number(tmp_path: Path) -> None:
    definition = validated(DEFINITION, "model.yaml").as_json()
    parts = {
        "train/part-00000.csv": "price,a,b,c,d\n1,2,1e5,,inf\n",
        "train/part-00001.csv": "price,a,b,c,d\n1,2,-.5,nan,7\n",
        "validation/part-00000.csv": "price,a,b,c,d\n1,1_000,+3.,8,9\n",
    }
    for name, text in parts.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert train_script.about({"model": "houses", "definition": definition}, tmp_path)["texts"] == ["a", "c"]


def test_of_classes_every_record_gets_the_probability_of_each(train) -> None:
    target = {"type": "string", "categories": ["a", "b", "c"]}
    definition = {**DEFINITION, "problem": "multiclass_classification", "target": "kind"}
    definition["columns"] = {**DEFINITION["columns"], "kind": target}
    definition["gate"] = {"metric": "accuracy", "threshold": 0.5}
    _, reason, _ = train(definition, train=TRAIN, serve=SERVE)
    assert "scores of shape (2,); expected (2, 3): the probability of each class" in reason


class Classifier:
    """A model with probabilities, as scikit-learn's have."""

    def __init__(self, probabilities: list[list[float]]) -> None:
        self.predict_proba = lambda _data: np.array(probabilities)


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """serve_script beside no serve.py, and what script_tables says of the model."""
    from processing import serve_script

    tables = SimpleNamespace(known={"problem": "binary_classification", "classes": []})
    tables.about = lambda: tables.known
    monkeypatch.setitem(sys.modules, "script_tables", tables)
    serve_script.tables = tables
    return serve_script


def test_without_serve_py_probabilities_are_answered_in_the_form_that_is_accepted(serving) -> None:
    scores = serving.predict_fn("rows", Classifier([[0.75, 0.25], [0.5, 0.5]]))
    assert serving.output_fn(scores, "text/csv; charset=utf-8") == ("0.25\n0.5\n", "text/csv")
    assert serving.output_fn(scores, "application/json") == (
        '{"predictions": [{"score": 0.25}, {"score": 0.5}]}',
        "application/json",
    )
    serving.tables.known = {"problem": "multiclass_classification", "classes": ["a", "b", "c"]}
    with pytest.raises(ValueError, match="predict_proba has 2 columns; expected 3, one for each class"):
        serving.predict_fn("rows", Classifier([[0.75, 0.25]]))
    scores = serving.predict_fn("rows", Classifier([[0.5, 0.25, 0.25]]))
    assert serving.output_fn(scores, "application/jsonlines")[0] == '{"score": [0.5, 0.25, 0.25]}\n'
    assert serving.output_fn(scores, "*/*") == ("0.5,0.25,0.25\n", "text/csv")
    with pytest.raises(ValueError, match="Accept image/png: expected text/csv, application/jsonlines or"):
        serving.output_fn(scores, "image/png")
