"""Target encoding against scikit-learn, and what it must not do: tell a row its own target."""

import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.preprocessing import TargetEncoder

from perennial.data.text_sums import DIGITS, LOWEST_WEIGHT, TextSums, rounded
from perennial.features.target_encoding import FOLDS, TargetEncoding

Floats = npt.NDArray[np.float64]


def texts(values: list[str | None]) -> pa.DictionaryArray:
    return pa.array(values, pa.string()).dictionary_encode()


def in_turn(count: int) -> npt.NDArray[np.int64]:
    return np.arange(count) % FOLDS


def fitted(values: list[str | None], target: Floats, *, batches: int = 1, indicator: bool = False) -> TargetEncoding:
    sums, folds = TextSums(), in_turn(len(values))
    for part in np.array_split(np.arange(len(values)), batches):
        sums.update(texts([values[row] for row in part]), target[part], folds[part])
    return sums.encoding("model", indicator)


def matrix(encoding: TargetEncoding, values: list[str | None], folds: Any = None) -> Floats:
    return np.array([np.array(column.to_pylist(), float) for column in encoding.fields(texts(values), folds)]).T


def cars(count: int, seed: int) -> tuple[list[str | None], Floats]:
    """Thirty models in turn, so that each has as many rows."""
    random, models = np.random.default_rng(seed), np.arange(count) // FOLDS % 30
    return [f"M{model}" for model in models], 1_000.0 * models + random.normal(20_000, 3_000, count)


def weight(values: list[str | None], target: Floats) -> float:
    """Variance within over variance between, for models with equally many rows (textbook form of the balanced case)."""
    models = pd.Series(target).groupby(values)
    within = models.var().mean()
    return float(within / (models.mean().var() - within / models.size().iloc[0]))


def test_means_are_those_of_scikit_learn_with_the_weight_that_the_variances_ask_for() -> None:
    values, target = cars(3_000, 1)
    asked = [*sorted({str(value) for value in values}), "never seen"]
    reference = TargetEncoder(smooth=weight(values, target), target_type="continuous")
    expected = reference.fit(np.array(values)[:, None], target).transform(np.array(asked)[:, None])
    found = matrix(fitted(values, target, batches=7), list(asked))
    np.testing.assert_allclose(found[:, :1], expected, rtol=10 ** (1 - DIGITS))
    assert found[:, 1].tolist() == [*(values.count(value) for value in asked[:-1]), 0]


def test_training_rows_are_encoded_by_the_other_folds_only() -> None:
    values, target = cars(1_500, 2)
    folds, smooth = in_turn(len(values)), weight(values, target)
    found = matrix(fitted(values, target), values, folds)[:, 0]
    names = np.array(values)[:, None]
    for fold in range(FOLDS):
        others = TargetEncoder(smooth=smooth, target_type="continuous").fit(names[folds != fold], target[folds != fold])
        np.testing.assert_allclose(found[folds == fold], others.transform(names[folds == fold])[:, 0], rtol=1e-5)


def test_texts_that_say_nothing_become_the_mean_of_all_rows() -> None:
    random = np.random.default_rng(8)
    colours: list[str | None] = [f"colour {number}" for number in random.integers(0, 150, 3_000)]
    ids: list[str | None] = [f"{number}" for number in range(3_000)]
    target = random.normal(20_000, 3_000, 3_000)
    for values in (colours, ids):
        means = matrix(fitted(values, target), values)[:, -2]
        assert means.std() < pd.Series(target).groupby(values).transform("mean").std() / 5


def test_one_row_of_a_name_that_says_all_is_worth_more_than_the_others_of_its_make() -> None:
    values: list[str | None] = [f"Make{n % 5} Model{n % 50}" for n in range(600)]
    target = np.array([1_000.0 * (n % 50) for n in range(600)])
    (rare,) = matrix(fitted([*values, "Make1 Rare"], np.append(target, 90_000.0)), ["Make1 Rare"])
    assert rare[1] == pytest.approx(90_000, rel=0.1)


def test_a_row_is_not_told_its_own_target() -> None:
    values, target = cars(500, 3)
    before = matrix(fitted(values, target), values, in_turn(500))[7]
    target[7] += 1_000
    # What is estimated from all rows, how far to lean on the mean of all, moves by less than a hundredth of that.
    np.testing.assert_allclose(matrix(fitted(values, target), values, in_turn(500))[7], before, atol=10)


def test_an_unknown_value_takes_the_mean_of_its_longest_known_beginning() -> None:
    values: list[str | None] = [*["Audi A4 Sport"] * 20, *["Audi A6 Sport"] * 20, *["Fiat Panda"] * 20]
    target = np.repeat([30_000.0, 50_000.0, 8_000.0], 20)
    encoding = fitted(values, target)
    assert encoding.feature_names == ["model=mean of 1 word", "model=mean", "model=rows"]
    audi, a4, new_audi, stranger = matrix(encoding, ["Audi", "Audi A4 Sport", "Audi Q7", "Lada"])
    assert audi[0] == a4[0] == new_audi[0] == new_audi[1] == pytest.approx(40_000, rel=0.05)
    assert a4[1] == pytest.approx(30_000, rel=0.1)
    assert a4[2] == 20
    assert stranger.tolist() == [encoding.mean, encoding.mean, 0]


def test_a_missing_value_is_the_mean_of_all_rows_and_may_have_a_feature_of_its_own() -> None:
    target = np.array([*[1.0] * 10, *[3.0] * 10, 24.0, 24.0])
    encoding = fitted([*["a"] * 10, *["b"] * 10, None, None], target, indicator=True)
    assert encoding.feature_names == ["model=mean", "model=rows", "model=missing"]
    of_a = (10 + LOWEST_WEIGHT * 4) / (10 + LOWEST_WEIGHT)  # rows of a value do not differ
    assert matrix(encoding, [None, "a"]).tolist() == [[4, 0, 1], [pytest.approx(of_a, rel=1e-5), 10, 0]]


def test_how_rows_are_packed_into_batches_changes_nothing() -> None:
    values, target = cars(1_000, 4)
    one, other = fitted(values, target), fitted(values, target, batches=13)
    assert json.dumps(one.as_json()) == json.dumps(other.as_json())
    rows = in_turn(1_000)
    assert matrix(one, values, rows).tobytes() == matrix(other, values, rows).tobytes()


def test_encoding_survives_json_exactly() -> None:
    values, target = cars(1_000, 5)
    encoding = fitted([f"Make {value} Sport" for value in values], target)
    again = TargetEncoding.from_json(json.loads(json.dumps(encoding.as_json())))
    assert again == encoding
    assert matrix(again, values).tobytes() == matrix(encoding, values).tobytes()


def test_features_do_not_grow_with_values() -> None:
    values: list[str | None] = [f"Make{n % 7} Model{n % 91} Trim{n % 637} {n % 2_548}" for n in range(8_000)]
    assert len(fitted(values, np.ones(8_000)).feature_names) == 5


@pytest.mark.parametrize("size", [1e-30, 1e-3, 1.0, 12345.678, 1e6, 3e38])
def test_means_have_few_digits(size: float) -> None:
    value = rounded(np.array([size * math.pi, -size, 0.0]))
    np.testing.assert_allclose(value, [size * math.pi, -size, 0], rtol=10.0 ** (1 - DIGITS))
    assert all(float(f"{number:.{DIGITS}g}") == pytest.approx(number, rel=1e-15) for number in value)
