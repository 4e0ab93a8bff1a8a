"""`perennial try` of a model with a script of its own: the script is run and asked, or it is said why not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from perennial.model import definition
from perennial_cli import own_script, quick_fit
from perennial_cli.quick_fit import Trial, tried
from tests.command import perennial

MODEL = {
    "problem": "regression",
    "target": "price",
    "columns": {"price": {"type": "float"}, "zip": {"type": "string"}},
    "split": {"method": "random"},
    "quality": {"min_rows": 10},
    "algorithm": "scikit-learn-script",
    "preprocessing": "none",
    "hyperparameters": {"scikit-learn-script": {"times": {"min": 2, "max": 30}}},
    "gate": {"metric": "rmse", "threshold": 10},
}
# Without pandas, which takes half a second to import.
TRAIN = """import os
import sys

with open(os.path.join(os.environ["SM_MODEL_DIR"], "times"), "w") as file:
    file.write(sys.argv[sys.argv.index("--times") + 1])
print(len(os.listdir(os.environ["SM_CHANNEL_TRAIN"])))
"""
SERVE = """def model_fn(model_dir):
    with open(f"{model_dir}/times") as file:
        return int(file.read())


def input_fn(body, content_type):
    return [int(line) for line in body.split()]


def predict_fn(data, model):
    return [model * one for one in data]
"""


@pytest.fixture
def trial(tmp_path: Path) -> Callable[..., Trial]:
    """What becomes of 200 rows whose price is twice their zip, with these changes of the definition."""

    def run(train: str = TRAIN, serve: str = SERVE, **changes: Any) -> Trial:
        folder = tmp_path / "houses"
        folder.mkdir()
        (folder / "train.py").write_text(train)
        (folder / "serve.py").write_text(serve)
        (folder / "model.yaml").write_text(yaml.safe_dump({**MODEL, **changes}))
        rows = tmp_path / "rows.csv"
        rows.write_text("price,zip\n" + "".join(f"{2 * zip},{zip:05}\n" for zip in range(200)))
        return tried(definition.load(folder / "model.yaml"), "houses", [rows], tmp_path)

    return run


def test_the_script_is_trained_and_asked_with_the_first_value_of_a_range(trial, monkeypatch) -> None:
    monkeypatch.setattr(quick_fit, "MOST_ROWS", 20)
    found = trial()
    assert (list(found.problems), found.unfitted) == ([], "")
    assert found.fit is not None
    assert (found.fit.by, found.fit.metric, found.fit.model, found.fit.rows) == ("train.py", "rmse", 0.0, 20)
    assert found.fit.constant > 50


def test_a_script_that_fails_is_what_a_run_would_fail_of(trial, tmp_path: Path) -> None:
    assert trial(train="1\n{}['yaer']").problems == ["train.py, line 2: KeyError: 'yaer'"]
    ended = perennial("try", tmp_path / "houses", "--file", tmp_path / "rows.csv")
    assert ended.exit_code == 1
    assert "a run would fail: train.py, line 2: KeyError: 'yaer'" in ended.stderr


def test_a_script_that_is_killed_is_told_by_its_last_words(trial) -> None:
    killed = "import os\nprint('goodbye', flush=True)\nos.kill(os.getpid(), 9)"
    assert trial(train=killed).problems == ["train.py ended with exit code -9: goodbye"]


def test_where_there_is_no_environment_for_it_this_is_said(trial, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(own_script.project, "folder", lambda: tmp_path)
    found = trial()
    assert (found.fit, list(found.problems)) == (None, [])
    where = f"the environment that stands in for its image is not installed in {tmp_path} (make install)"
    assert found.unfitted == f"train.py is not run: {where}"


def test_of_an_image_of_ones_own_there_is_no_fit_on_columns_as_they_are(trial, tmp_path: Path) -> None:
    assert trial(algorithm="own-image").unfitted == (
        "an image of one's own learns from the columns as they are, and none is started here"
    )
    ended = perennial("try", tmp_path / "houses", "--file", tmp_path / "rows.csv")
    assert "no fit: an image of one's own" in ended.stderr + ended.stdout
