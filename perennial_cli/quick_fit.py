"""A model in a second, to say what files are good for: the product's own preprocessing, and few rounds of XGBoost.

What a deployed run does with more patience; its numbers are near, and not the same. A model's own script is run itself.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pa_csv

from perennial.data.copies import copy_name
from perennial.data.report import IN_QUARANTINE
from perennial.evaluation import forecasts, predictions
from perennial.evaluation.metrics import UndefinedMetricError, metric_named
from perennial.evaluation.problem_types.measures import Floats
from perennial.features.values import DataError
from perennial.hooks import HookError
from perennial.model.algorithms import ALGORITHMS
from perennial.model.algorithms.ranges import is_range
from perennial.model.definition import Definition
from perennial.words import number
from perennial_cli import own_script
from processing import contributions, preprocess
from processing.analyze_model_quality import lines as test_lines

ROUNDS = 120
MOST_ROWS = 10_000  # that it learns from
LEAST_GAIN = 0.05  # over the mean predictor, of a model that says anything
LARGE = 2_000_000  # values of a table
NO_IMAGE = "an image of one's own learns from the columns as they are, and none is started here"
QUICK: dict[str, str] = {"eta": "0.15", "max_depth": "6", "min_child_weight": "3", "subsample": "0.8", "max_bin": "64"}


@dataclass(frozen=True)
class Fit:
    """How well a model does on rows that it has not seen, beside one that always answers the same.

    metric    of the gate
    model     its value for the quick fit
    constant  and for the mean of the training rows, or the share of each class among them
    rows      that were measured
    by        whose values they are
    """

    metric: str
    model: float
    constant: float
    rows: int
    by: str = "A quick fit"


@dataclass(frozen=True)
class Trial:
    """What preprocessing makes of some files: its report, lines of the quarantine, and a fit.

    problems  why the files cannot be used; nothing where they can
    unfitted  why there is no fit, where one was wanted
    naive     what the seasonal-naive forecast reaches of series; None of rows, and where it is undefined
    """

    report: Mapping[str, Any]
    quarantine: Sequence[Mapping[str, Any]]
    problems: Sequence[str]
    fit: Fit | None
    unfitted: str = ""
    naive: float | None = None


def tried(definition: Definition, model: str, files: Sequence[Path], models: Path, *, with_fit: bool = True) -> Trial:
    """Return what a run would make of files; `models` is the folder of the models' folders, for features.py."""
    with tempfile.TemporaryDirectory(prefix="perennial-try-") as folder:
        output = Path(folder) / "output"
        problems = prepare(definition, model, files, models, output)
        report = json.loads((output / "report/report.json").read_text())
        fit, unfitted, naive = None, "", None
        if with_fit and not problems and definition.series:
            naive, reached = _last_season_again(definition, output)
            unfitted = f"DeepAR is not trained here; {reached}"
        elif with_fit and not problems and ALGORITHMS[definition.algorithm].is_script:
            try:
                fit = _script_fit(definition, model, output, models)
            except own_script.ScriptFailedError as error:
                problems = str(error).splitlines()
            except own_script.NotTriedError as error:
                unfitted = str(error)
        elif with_fit and not problems and definition.preprocessing == "encode":
            fit = quick_fit(definition, output)
        elif with_fit and not problems:
            unfitted = NO_IMAGE
        return Trial(report, _lines(output / "quarantine"), problems, fit, unfitted, naive)


def prepare(definition: Definition, model: str, files: Sequence[Path], models: Path, output: Path) -> Sequence[str]:
    """Preprocess files as a run does; return why they cannot be used, if they cannot."""
    data = output.with_name("data")
    data.mkdir()
    listed = [{"Key": path.name, "VersionId": "", "ETag": str(position)} for position, path in enumerate(files)]
    for file, path in zip(listed, files, strict=True):
        (data / copy_name(file)).symlink_to(path.resolve())
    config = {
        "model": model, "definition": definition.as_json(), "trigger": "Manual",
        "data": {"files": listed, "listed_at": datetime.now(UTC).isoformat()},
        "algorithm": {"is_own": ALGORITHMS[definition.algorithm].is_script},
    }  # fmt: skip
    try:
        with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
            preprocess.run(config, data, output, models=models)
    except DataError as error:
        return [line for line in error.lines if not line.endswith(IN_QUARANTINE)]  # there is no run
    except HookError as error:
        return [str(error)]
    return ()


def beside(metric: str, model: float, constant: float) -> str:
    """Return in words how well a model does beside always the same answer."""
    return f"{metric} {rounded(model)}; always the same answer: {rounded(constant)}"


def rounded(value: float | None) -> str:
    """Return a metric with four digits that say something."""
    return number(None if value is None else float(f"{value:.4g}"), 9)


def _lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]


class _Hidden:
    """Finds no module of some packages, as where they are not installed."""

    def __init__(self, *packages: str) -> None:
        self._packages = packages

    def find_spec(self, name: str, *_: object) -> None:
        if name.partition(".")[0] in self._packages:
            raise ModuleNotFoundError(f"{name} is hidden", name=name)


def import_lean() -> None:
    """Import XGBoost and Arrow without scikit-learn and pandas, which both look for and nothing here uses: 1.5 s.

    For a program that is nothing else than a quick fit, of a model whose own code may not ask for them.
    """
    hidden = _Hidden("sklearn", "pandas")
    sys.meta_path.insert(0, hidden)
    try:
        import xgboost  # noqa: F401

        pa.scalar(0)  # Arrow looks once
    finally:
        sys.meta_path.remove(hidden)


@dataclass(frozen=True)
class QuickModel:
    """What few rounds of XGBoost have learned, and how what it answers is a score in the target's unit.

    booster  an xgboost.Booster
    learned  the target of the rows that it has learned from
    """

    booster: Any
    learned: Floats
    back: Callable[[Floats], Floats]

    def scores(self, features: npt.NDArray[Any]) -> Floats:
        import xgboost

        matrix = xgboost.DMatrix(features.astype(np.float32), **_threads(features))
        return self.back(self.booster.predict(matrix).astype(np.float64))


def quick_model(definition: Definition, prepared: Path) -> QuickModel:
    """Return a model of the prepared training rows."""
    import xgboost  # a third of a second

    target, features = _sample(*_table(prepared / "train"))
    own = definition.hyperparameters.get("xgboost", {}) if definition.algorithm == "xgboost" else {}
    values = {name: value for name, value in own.items() if not is_range(value)}
    depth: dict[str, str] = {name: str(values[name]) for name in ("max_depth", "min_child_weight") if name in values}
    threads = _threads(features)
    parameters = {**QUICK, **depth, **threads, **_objective(definition), "seed": "0", "verbosity": "0"}
    booster = xgboost.train(parameters, xgboost.DMatrix(features, target, **threads), ROUNDS)
    back: Callable[[Floats], Floats] = np.exp if definition.target_transform == "log" else np.asarray
    return QuickModel(booster, back(target), back)


def _threads(features: npt.NDArray[Any]) -> dict[str, int]:
    """Return one thread for few values: those that wait for each other on a busy machine take longer."""
    return {"nthread": 1} if features.size < LARGE else {}


def quick_fit(definition: Definition, prepared: Path) -> Fit:
    """Return how a model of the prepared training rows does on those that validate; of a split by time that test.

    Those that validate come next after the ones that train, and are easier than the latest, which the gate asks about.
    """
    model = quick_model(definition, prepared)
    constant = _constant(model.learned, len(definition.classes))
    if definition.split.method == "time":
        actual, encoded = _tested(prepared)
        return _measured(definition, actual, model.scores(encoded), constant)
    labels, unseen = _table(prepared / "validation")
    return _measured(definition, model.back(labels), model.scores(unseen), constant)


def _tested(prepared: Path) -> tuple[Floats, npt.NDArray[Any]]:
    """Return the target of the rows that test, in its own unit, and their features as the preprocessor encodes them."""
    serving = prepared.with_name("serving")
    serving.mkdir()
    (serving / "preprocessor.tar.gz").symlink_to(prepared / "preprocessor/model.tar.gz")
    preprocessor = contributions.load_preprocessor(serving)
    return labels_of(prepared), contributions.encode_lines(preprocessor, test_lines(prepared / "test"))


def labels_of(prepared: Path) -> Floats:
    """Return the target of the rows that test `(n_rows,)`, in its own unit."""
    lines = (line for path in sorted((prepared / "labels").glob("*.csv")) for line in path.read_text().splitlines())
    return predictions.labels(lines, "labels")


def _script_fit(definition: Definition, model: str, prepared: Path, models: Path) -> Fit:
    """Return how what train.py makes of the prepared training rows does on those that validate."""
    made = own_script.answers(definition, model, prepared, models, MOST_ROWS)
    back: Callable[[Floats], Floats] = np.exp if definition.target_transform == "log" else np.asarray
    constant = _constant(back(made.learned), len(definition.classes))
    fit = _measured(definition, back(made.labels), back(made.scores), constant)
    return dataclasses.replace(fit, by="train.py")


def _last_season_again(definition: Definition, prepared: Path) -> tuple[float | None, str]:
    """Return what the seasonal-naive forecast reaches, which a candidate has to beat, also in words."""
    files = sorted((prepared / "labels").glob("*.csv"))
    parts = [forecasts.points(path.read_text().splitlines(), path.name) for path in files]
    labels = np.concatenate([part.labels for part in parts])
    metric = metric_named(definition.problem, definition.gate.metric)
    try:
        value = metric.compute(labels, np.concatenate([forecasts.naive_scores(part) for part in parts]))
    except UndefinedMetricError as error:
        return None, str(error)
    return value, f"last season again reaches {metric.name} {rounded(value)} ({labels.size:,} values that test)"


def _sample(target: Floats, features: npt.NDArray[np.float32]) -> tuple[Floats, npt.NDArray[np.float32]]:
    """Return at most MOST_ROWS rows, the same ones each time."""
    if len(target) <= MOST_ROWS:
        return target, features
    chosen = np.random.default_rng(0).choice(len(target), MOST_ROWS, replace=False)
    return target[chosen], features[chosen]


def _objective(definition: Definition) -> dict[str, str]:
    if definition.classes:
        return {"objective": "multi:softprob", "num_class": str(len(definition.classes))}
    return {"objective": "binary:logistic" if definition.problem == "binary_classification" else "reg:squarederror"}


def _constant(target: Floats, classes: int) -> Floats:
    """Return the mean of the training rows, or the share of each class."""
    shares = np.bincount(target.astype(np.int64), minlength=classes) / len(target) if classes else target.mean()
    return np.asarray(shares, np.float64)


def _measured(definition: Definition, labels: Floats, scores: Floats, constant: Floats) -> Fit:
    metric = metric_named(definition.problem, definition.gate.metric)
    values = []
    for answers in (scores, np.broadcast_to(constant, scores.shape)):
        try:
            values.append(metric.compute(labels, answers))
        except UndefinedMetricError:
            values.append(float("nan"))
    return Fit(metric.name, values[0], values[1], len(labels))


def _table(folder: Path) -> tuple[Floats, npt.NDArray[np.float32]]:
    """Return the labels and the encoded features of a set."""
    options = pa_csv.ReadOptions(autogenerate_column_names=True)
    tables = [pa_csv.read_csv(path, read_options=options) for path in sorted(folder.glob("*.csv"))]
    values = np.concatenate(
        [np.column_stack([column.to_numpy() for column in table.columns]).astype(np.float64) for table in tables]
    )
    return values[:, 0], values[:, 1:].astype(np.float32)
