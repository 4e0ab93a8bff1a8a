"""How good the product's defaults are, against what an experienced person writes with pandas and XGBoost.

    python -m bench.bench_quality [--data FOLDER] [--seeds 10] [--only NAME]

Sets     used-cars and mammography, which come with the project, made_up_names, which bench/made_up_names.py makes, and
         those of bench/quality/ whose file is in FOLDER: diamonds.csv, car_details_v3.csv, car_dekho.csv,
         hr_attrition.csv
Product  processing/preprocess.py as a job runs it, the hyperparameters that a model.yaml without any gets, the
         container's training code (localcloud), the serving scripts for the test rows
Person   the same typed rows of the same sets, in pandas: texts as XGBoost's own categories, first words of long texts
         as further ones, a small grid (depth, child weight, logarithm of the target where it is positive) judged on
         the validation rows, early stopping
Error    RMSE, or 1 - AUC, of the same test rows. Of the ratios of the two, one a seed, the median is judged, which may
         be at most 3 % above 1; the lowest and the highest tell how far single splits lie apart

Prints a table; exits with 1 when a set is behind the bar. Without --data only the project's own sets are judged.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import json
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from bench import made_up_names
from localcloud.sagemaker.algorithms import xgboost_train
from localcloud.sagemaker.algorithms.training_container import Environment
from localcloud.sagemaker.containers import xgboost_serve
from perennial.data import machines, sets
from perennial.data.coverage import Coverage
from perennial.data.split import SETS, TEST, TRAIN, VALIDATION
from perennial.features.encoding import Encoder
from perennial.model import definition
from perennial.model.definition import Definition
from perennial.runs import configuration
from processing import inference, postprocess, preprocess
from tests.archives import unpack
from tools import demo_data

xgboost = xgboost_train.import_xgboost()
ROOT = Path(__file__).resolve().parents[1]
BAR = 1.03
SHIPPED = {"used-cars": demo_data.used_cars, "mammography": demo_data.mammography}
GRID = [{"max_depth": depth, "min_child_weight": weight} for depth, weight in ((3, 3), (4, 1), (6, 1), (6, 5), (8, 3))]
WIDE = 50  # categories from which a text is taken apart into words

Floats = npt.NDArray[np.float64]
Frames = dict[str, pd.DataFrame]


def main(argv: Sequence[str] | None = None) -> int:
    """Judge every set and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--data", type=Path, help="a folder with the public files")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", help="one set by its name")
    arguments = parser.parse_args(argv)
    if arguments.data is None:
        print("no --data: only the project's own sets are judged")
    worst = 0.0
    print(
        f"{'set':<16} {'error':<8} {'product':>12} {'person':>12} {'ratio':>7} {'lowest':>7} {'highest':>7}", flush=True
    )
    for name, model, content in found_sets(arguments.data):
        if arguments.only in (None, name):
            errors = np.array([judged(name, model, content, seed) for seed in range(1, arguments.seeds + 1)])
            product, person = (statistics.median(column) for column in errors.T)
            ratios = errors[:, 0] / errors[:, 1]
            worst = max(worst, float(np.median(ratios)))
            metric = "rmse" if model.problem == "regression" else "1 - auc"
            spread = f"{np.median(ratios):>7.3f} {ratios.min():>7.3f} {ratios.max():>7.3f}"
            print(f"{name:<16} {metric:<8} {product:>12,.5g} {person:>12,.5g} {spread}", flush=True)
    print(f"worst ratio {worst:.3f}; the bar is {BAR}")
    return int(worst > BAR)


def found_sets(data: Path | None) -> Iterator[tuple[str, Definition, bytes]]:
    """Yield (name, definition, content of the file) of the sets that are there."""
    for name, made in SHIPPED.items():
        yield name, definition.load(ROOT / "models" / name / "model.yaml"), made()
    for folder in sorted((ROOT / "bench" / "quality").iterdir()):
        if folder.name == "made_up_names":
            yield folder.name, definition.load(folder / "model.yaml"), made_up_names.cars()
        elif data is not None and (file := data / f"{folder.name}.csv").is_file():
            yield folder.name, definition.load(folder / "model.yaml"), file.read_bytes()


def judged(name: str, model: Definition, content: bytes, seed: int) -> tuple[float, float]:
    """Return the test errors (product, person) for one seed of the split."""
    plain = model.model_dump(mode="json", exclude_unset=True) | {"hyperparameters": {}, "algorithm": "xgboost"}
    plain["split"]["seed"] = seed
    resolved = configuration.resolve(name, definition.validated(plain, name))
    with tempfile.TemporaryDirectory(prefix="quality-") as folder:
        root = Path(folder)
        (root / "data").mkdir()
        (root / "data" / f"{name}.csv").write_bytes(content)
        frames: Frames = {}
        with quiet():
            preprocessed({**resolved.as_json(), "model": "bench"}, root, frames)
            scores = answered(root, dict(resolved.hyperparameters))
    truth = frames["test"][model.target].to_numpy(float)
    return error(model, truth, scores), error(model, truth, by_hand(model, frames))


def error(model: Definition, truth: Floats, scores: Floats) -> float:
    """RMSE, or 1 - AUC (by ranks)."""
    if model.problem == "regression":
        return float(np.sqrt(np.mean((truth - scores) ** 2)))
    positive, ranks = truth == 1, pd.Series(scores).rank().to_numpy()
    pairs = positive.sum() * (~positive).sum()
    return 1 - float((ranks[positive].sum() - positive.sum() * (positive.sum() + 1) / 2) / pairs)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Swallow what the jobs print."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


# ---- The product


def preprocessed(config: dict[str, Any], root: Path, frames: Frames) -> None:
    """Run the job, and keep its typed rows of each set for the person."""

    class Writer(sets.SetWriter):
        def write(self, encoder: Encoder, coverage: Coverage, shortest: int) -> int:
            widest = super().write(encoder, coverage, shortest)
            parts: dict[int, list[pd.DataFrame]] = {}
            for number, rows in self._rows((TRAIN, VALIDATION, TEST)):
                parts.setdefault(number, []).append(rows.select([self._target, *self._features]).to_pandas())
            frames.update({SETS[number]: pd.concat(part, ignore_index=True) for number, part in parts.items()})
            return widest

    vars(machines)["SetWriter"] = Writer
    preprocess.run(config, root / "data", root / "output")


def answered(root: Path, hyperparameters: dict[str, str]) -> Floats:
    """Train as the container does and return the scores of the test rows, as the endpoint answers them."""
    settings = root / "ml" / "input" / "config"
    settings.mkdir(parents=True)
    (root / "ml" / "model").mkdir()
    (settings / "hyperparameters.json").write_text(json.dumps(hyperparameters))
    channels = {name: {"ContentType": "text/csv"} for name in ("train", "validation")}
    (settings / "inputdataconfig.json").write_text(json.dumps(channels))
    (root / "ml" / "input" / "data").symlink_to(root / "output")
    xgboost_train.train(Environment(root / "ml"))
    booster = xgboost_serve.load_booster(root / "ml" / "model" / xgboost_train.MODEL_NAME)
    unpack(root / "output" / "preprocessor" / "model.tar.gz", root / "preprocessor")
    preprocessor = inference.model_fn(str(root / "preprocessor"))
    scores = [scored(part, preprocessor, booster) for part in sorted((root / "output" / "test").glob("part-*"))]
    document = json.loads((root / "preprocessor" / "preprocessor.json").read_text())
    learned = np.concatenate(scores).astype(float)
    turned = postprocess.TRANSFORMS.get(document["target_transform"])
    return learned if turned is None else np.array([turned(score) for score in learned])


def scored(part: Path, preprocessor: inference.Preprocessor, booster: Any) -> Floats:
    table = inference.read(inference.input_fn(part.read_bytes(), inference.JSON_LINES), preprocessor)
    encoded = bytes(preprocessor.encoder.encode(table))
    rows = np.loadtxt(io.BytesIO(encoded), np.float32, delimiter=",", ndmin=2)
    return np.asarray(booster.predict(xgboost.DMatrix(rows)), float)


# ---- The person


def by_hand(model: Definition, frames: Frames) -> Floats:
    """Return the test scores of the best of a small grid."""
    whole = pd.concat(frames, names=["set"])
    target = whole.pop(model.target).astype(float)
    features = widened(whole)
    by_set = {name: features.loc[name] for name in SETS}
    regression = model.problem == "regression"
    logarithms = [False, True] if regression and target.min() > 0 else [False]
    best: tuple[float, Floats] = (float("inf"), np.empty(0))
    for logarithm, parameters in itertools.product(logarithms, GRID):
        learned = np.log(target) if logarithm else target
        matrices = {name: xgboost.DMatrix(by_set[name], learned.loc[name], enable_categorical=True) for name in SETS}
        booster = boosted(matrices, regression, parameters)
        scores = {name: np.asarray(booster.predict(matrices[name]), float) for name in ("validation", "test")}
        if logarithm:
            scores = {name: np.exp(score) for name, score in scores.items()}
        best = min(best, (error(model, target.loc["validation"].to_numpy(), scores["validation"]), scores["test"]),
                   key=lambda item: item[0])  # fmt: skip
    return best[1]


def boosted(matrices: dict[str, Any], regression: bool, parameters: dict[str, Any]) -> Any:
    metric, objective = ("rmse", "reg:squarederror") if regression else ("auc", "binary:logistic")
    settings = {"objective": objective, "eval_metric": metric, "eta": 0.05, "subsample": 0.8, "colsample_bytree": 0.8}
    stopping = xgboost.callback.EarlyStopping(rounds=50, metric_name=metric, maximize=not regression, save_best=True)
    watched = [(matrices["validation"], "validation")]
    return xgboost.train(
        settings | parameters, matrices["train"], 3000, evals=watched, callbacks=[stopping], verbose_eval=False
    )


def widened(frame: pd.DataFrame) -> pd.DataFrame:
    """Texts as categories, and the first words of long ones beside them; truth values as numbers."""
    made: dict[str, Any] = {}
    for name in frame:
        values = frame[name]
        if isinstance(values.dtype, pd.CategoricalDtype) or (values.dtype == object and not is_truth(values)):
            texts = values.astype(object)
            made[name] = texts.astype("category")
            if texts.nunique() > WIDE and texts.dropna().str.contains(" ").mean() > 0.9:
                for words in (1, 2):
                    made[f"{name} {words}"] = texts.str.split().str[:words].str.join(" ").astype("category")
        else:
            made[name] = values.astype(float)
    return pd.DataFrame(made)


def is_truth(values: pd.Series[Any]) -> bool:
    return bool(values.dropna().map(lambda value: isinstance(value, bool)).all())


if __name__ == "__main__":
    sys.exit(main())
