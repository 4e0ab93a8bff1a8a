"""The code of a model's folder is looked at before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perennial.evaluation.metrics import measures_of
from perennial.model import definition, folder
from perennial.model.complaints import ConfigurationError
from perennial.model.problem_types import PROBLEM_TYPES, is_taken
from tests.monitored import MODEL

SOUND = """import math
import numpy as np


def gain(actual, predicted, *, rate=2.0):
    return _half(1)


def _half(x):
    return x / 2
"""


def check(where: Path, metrics: str, code: str | None) -> None:
    if code is not None:
        (where / "metrics.py").write_text(code)
    folder.check(where, definition.parse(f"{MODEL}\nmetrics: {metrics}\n", "model.yaml"))


@pytest.mark.parametrize(
    "code",
    [SOUND, "def gain(*both): return 1\n", "gain = 1\ndef gain(a, /, p, extra=None): return 1\n",
     "from numpy import linalg\nfrom math import sqrt\nimport os.path\ndef gain(actual, predicted): return sqrt(1)\n"],
)  # fmt: skip
def test_functions_of_two_arguments_with_numpy_are_metrics(tmp_path: Path, code: str) -> None:
    check(tmp_path, "{gain: maximize}", code)


@pytest.mark.parametrize(
    ("metrics", "code", "why"),
    [
        ("{gain: maximize}", "def gain(actual:\n", "metrics.py, line 1: SyntaxError"),
        ("{gain: maximize}", "return 1\n", "metrics.py, line 1: SyntaxError: 'return' outside function"),
        ("{gain: maximize}", None, "model.yaml: metrics.gain: metrics.py has no function gain(actual, predicted)"),
        ("{gain: maximize}", "gain = max\n", "model.yaml: metrics.gain: metrics.py has no function gain"),
        ("{}", SOUND, "line 5: gain: model.yaml does not say which values are better; expected `metrics: {gain: "),
        ("{gain: maximize}", "def gain(actual): return 1\n", "line 1: gain: expected a function of two arguments"),
        ("{gain: maximize}", "def gain(a, p, w): return 1\n", "line 1: gain: expected a function of two arguments"),
        ("{gain: maximize}", "def gain(a, p, *, w): return 1\n", "line 1: gain: expected a function of two"),
        ("{gain: maximize}", "async def gain(a, p): return 1\n", "line 1: gain: expected a function of two"),
        ("{}", "\ndef auc(a, p): return 1\n", "line 2: auc is the name of a metric that there is already"),
        ("{gain: maximize}", f"import pandas as pd\n{SOUND}", "line 1: imports pandas; expected NumPy"),
        ("{gain: maximize}", f"{SOUND}    from sklearn import metrics\n", "line 11: imports sklearn; expected NumPy"),
        ("{gain: maximize}", f"from . import features\n{SOUND}", "line 1: imports its folder; expected NumPy"),
    ],
)
def test_what_is_sure_to_fail_is_told_by_file_and_line(
    tmp_path: Path, metrics: str, code: str | None, why: str
) -> None:
    with pytest.raises(ConfigurationError) as told:
        check(tmp_path, metrics, code)
    assert why in str(told.value)


@pytest.mark.parametrize("problem", PROBLEM_TYPES)
def test_no_metric_may_have_the_name_of_another_in_the_baseline(problem: str) -> None:
    _, measured = measures_of(problem).quality(problem, [0, 1], [0, 1], [0.0, 1.0], 0)
    names: Any = {*measured, *PROBLEM_TYPES[problem].metrics}
    assert [name for name in names if not is_taken(name)] == []
    assert not is_taken("gain")


SCRIPT = """
problem: regression
target: price
columns: {price: {type: float}, rooms: {type: integer}}
split: {method: random}
algorithm: scikit-learn-script
gate: {metric: rmse, threshold: 10}
"""


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({}, "train.py: there is no such file, and the algorithm scikit-learn-script runs it"),
        ({"train.py": "def main(:"}, "train.py, line 1: SyntaxError"),
        ({"train.py": "", "serve.py": "\nx ="}, "serve.py, line 2: SyntaxError"),
        (
            {"train.py": "", "serve.py": "def predict(data, model): pass"},
            "serve.py: has none of the functions model_fn",
        ),
        (
            {"train.py": "", "serve.py": "def transform_fn(a, b, c, d): pass\ndef output_fn(a, b): pass"},
            "serve.py: defines transform_fn, which does it all, and output_fn; leave one of them out",
        ),
        (
            {"train.py": "", "serve.py": "\ndef predict_fn(data): pass"},
            "serve.py, line 2: predict_fn: expected a function of 2 arguments",
        ),
        ({"train.py": "", "requirements.txt": "lightgbm"}, "requirements.txt: nothing can be installed"),
    ],
    ids=lambda value: value[:50] if isinstance(value, str) else "",
)
def test_a_script_that_is_sure_to_fail_is_told_by_file_and_line(
    tmp_path: Path, files: dict[str, str], why: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError) as told:
        folder.check(tmp_path, definition.parse(SCRIPT, "model.yaml"))
    assert why in str(told.value)


def test_scripts_that_may_run_pass(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("import sklearn\n")
    (tmp_path / "serve.py").write_text("def model_fn(model_dir, context=None): pass\n")
    folder.check(tmp_path, definition.parse(SCRIPT, "model.yaml"))
