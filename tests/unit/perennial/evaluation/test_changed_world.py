"""The gate where the world has changed, on real cars: bad data stay out, and with training.window a new world comes in.

Rows are dealt, told apart and judged by what a run uses; the models are least squares, which need no time.
"""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest

from perennial.data.row_hasher import RowHasher
from perennial.data.rows import CONTENT, IDENTITY, combined
from perennial.data.split import TEST, TRAIN, VALIDATION, Sets, splitter
from perennial.data.training_window import TrainingPeriod
from perennial.evaluation.comparison import among, compare
from perennial.evaluation.gate import Gate, Verdict, judge
from perennial.evaluation.metrics import metric_named
from perennial.features.values import STRING
from tools import demo_data

SPLIT = {"method": "random", "seed": 42, "column": None, "key": None, "validation": 0.15, "test": 0.2}
YEAR: dict[str, Any] = {"training": {"window": {"column": "sold_on", "days": 365, "newest_files": None}}}
GATE = Gate("rmse", "minimize", threshold=20_000, maximum_regression=0.25, minimum_unseen_rows=30)
RMSE = metric_named("regression", "rmse")


@pytest.fixture(scope="module")
def cars() -> pd.DataFrame:
    """The real cars, sold one after the other in 2024."""
    return sold_in(2024, pd.read_csv(io.BytesIO(demo_data.used_cars()), dtype={"mileage": float}))


def sold_in(year: int, frame: pd.DataFrame) -> pd.DataFrame:
    days = pd.to_datetime(f"{year}-01-01") + pd.to_timedelta(np.arange(len(frame)) * 365 // len(frame), unit="D")
    return frame.assign(sold_on=days)


@dataclass(frozen=True)
class Model:
    """Least squares on the rows that train, the hashes of all rows, and the set of each."""

    frame: pd.DataFrame
    sets: Sets
    identity: npt.NDArray[np.uint64]
    weights: npt.NDArray[np.float64]

    @classmethod
    def trained(cls, frame: pd.DataFrame, definition: dict[str, Any]) -> "Model":
        table = pa.table(
            {name: pa.array(values.to_numpy(), STRING if name in KINDS else None) for name, values in frame.items()}
        )
        identity = RowHasher(sorted(set(frame.columns) - {"price", "sold_on"})).hashes(table)
        splitting = splitter(SPLIT, TrainingPeriod.from_definition(definition, None))
        content = combined(identity, RowHasher(["price"]).hashes(table))
        table = table.append_column(IDENTITY, pa.array(identity)).append_column(CONTENT, pa.array(content))
        splitting.observe(0, splitting.deal(table))
        sets = splitting.finish()[:]
        train = sets == TRAIN
        weights = np.linalg.lstsq(features(frame)[train], frame["price"].to_numpy()[train], rcond=None)[0]
        return cls(frame, sets, identity, weights)

    def of(self, *numbers: int) -> npt.NDArray[np.uint64]:
        return self.identity[np.isin(self.sets, numbers)]


def features(frame: pd.DataFrame) -> npt.NDArray[np.float64]:
    kinds = [(frame[name] == value).to_numpy(float) for name in ("make", "body") for value in sorted(KINDS[name])]
    numbers = [frame[name].to_numpy(float) for name in ("mileage", "cylinder", "doors", "cruise", "sound", "leather")]
    return np.column_stack([np.ones(len(frame)), *numbers, *kinds])


KINDS = {"make": demo_data.MAKES, "body": demo_data.BODIES}


def judged(candidate: Model, champion: Model) -> tuple[Verdict, int]:
    """The gate's verdict, and how many known rows were left to bind it."""
    test = candidate.sets == TEST
    truth, rows = candidate.frame["price"].to_numpy()[test], features(candidate.frame[test])
    ours, theirs = rows @ candidate.weights, rows @ champion.weights
    seen = among(candidate.identity[test], [champion.of(TRAIN, VALIDATION)])
    tested = among(candidate.identity[test], [champion.of(TEST)])
    none = np.zeros(len(truth), bool)
    compared = compare(RMSE, truth, ours, theirs, seen=seen, tested=tested, changed=none)
    return judge(GATE, RMSE.compute(truth, ours), compared), compared.known.rows


@pytest.mark.parametrize("definition", [{}, YEAR], ids=["all rows", "a window"])
def test_a_candidate_that_has_learned_bad_data_is_refused_because_known_rows_get_worse(
    cars: pd.DataFrame, definition: dict[str, Any]
) -> None:
    """As many rows in another currency and in kilometres, of the same months: most rows that nobody has seen."""
    champion = Model.trained(cars, definition)
    bad = cars.assign(price=cars["price"] * 1.6, mileage=(cars["mileage"] * 1.609).round())
    candidate = Model.trained(pd.concat([cars, bad], ignore_index=True), definition)
    verdict, known = judged(candidate, champion)
    assert known >= 100
    assert (verdict.accepted, verdict.obstacle) == (False, "known")
    assert verdict.beats_champion


@pytest.fixture(scope="module")
def another_world(cars: pd.DataFrame) -> pd.DataFrame:
    """The same kinds of car two years later: more miles, and worth half of what they were."""
    later = cars.assign(mileage=cars["mileage"] + 24_000, price=cars["price"] / 2)
    return pd.concat([cars, sold_in(2026, later)], ignore_index=True)


def test_without_a_window_rows_of_the_old_world_keep_the_new_one_out(
    cars: pd.DataFrame, another_world: pd.DataFrame
) -> None:
    verdict, known = judged(Model.trained(another_world, {}), Model.trained(cars, {}))
    assert known >= 100
    assert (verdict.accepted, verdict.obstacle) == (False, "known")


def test_with_a_window_the_old_world_is_not_what_judges_and_the_new_model_is_accepted(
    cars: pd.DataFrame, another_world: pd.DataFrame
) -> None:
    champion, candidate = Model.trained(cars, YEAR), Model.trained(another_world, YEAR)
    verdict, known = judged(candidate, champion)
    assert known == 0
    assert verdict.accepted
    assert verdict.beats_champion
    assert not among(candidate.of(TRAIN, VALIDATION, TEST), [champion.identity]).any()
