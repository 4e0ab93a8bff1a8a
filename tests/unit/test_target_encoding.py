"""Target encoding against scikit-learn, and what it must not do: tell a row its own target."""

import json
import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from sklearn.preprocessing import TargetEncoder

from perennial.target_encoding import DIGITS, FOLDS, MIN_ROWS, SMOOTHING, Sums, TargetEncoding, TextSums, rounded

Floats = npt.NDArray[np.float64]


def texts(values: list[str | None]) -> pa.DictionaryArray:
    return pa.array(values, pa.string()).dictionary_encode()


def in_turn(count: int) -> npt.NDArray[np.int64]:
    return np.arange(count) % FOLDS


def fitted(values: list[str | None], target: Floats, *, batches: int = 1, indicator: bool = False) -> TargetEncoding:
    sums, folds = TextSums(), in_turn(len(values))
    for part in np.array_split(np.arange(len(values)), batches):
        sums.update(texts([values[row] for row in part]), target[part], folds[part])
    rows, total = np.bincount(folds, minlength=FOLDS), np.bincount(folds, target, FOLDS)
    return sums.encoding("model", indicator, Sums([""], rows[None].astype(float), total[None]))


def matrix(encoding: TargetEncoding, values: list[str | None], folds: Any = None) -> Floats:
    return np.array([np.array(column.to_pylist(), float) for column in encoding.fields(texts(values), folds)]).T


def cars(count: int, seed: int) -> tuple[list[str | None], Floats]:
    random = np.random.default_rng(seed)
    models = random.integers(0, 30, count)
    return [f"M{model}" for model in models], 1_000.0 * models + random.normal(20_000, 3_000, count)


def test_means_are_those_of_scikit_learn() -> None:
    values, target = cars(3_000, 1)
    asked = [*sorted({str(value) for value in values}), "never seen"]
    reference = TargetEncoder(smooth=SMOOTHING, target_type="continuous").fit(np.array(values)[:, None], target)
    expected = reference.transform(np.array(asked)[:, None])
    found = matrix(fitted(values, target, batches=7), list(asked))
    np.testing.assert_allclose(found[:, :1], expected, rtol=10 ** (1 - DIGITS))
    assert found[:, 1].tolist() == [*(values.count(value) for value in asked[:-1]), 0]


def test_training_rows_are_encoded_by_the_other_folds_only() -> None:
    values, target = cars(2_000, 2)
    folds = in_turn(len(values))
    found = matrix(fitted(values, target), values, folds)[:, 0]
    names = np.array(values)[:, None]
    for fold in range(FOLDS):
        others = TargetEncoder(smooth=SMOOTHING, target_type="continuous").fit(
            names[folds != fold], target[folds != fold]
        )
        np.testing.assert_allclose(found[folds == fold], others.transform(names[folds == fold])[:, 0], rtol=1e-5)


def test_a_row_is_not_told_its_own_target() -> None:
    values, target = cars(500, 3)
    before = matrix(fitted(values, target), values, in_turn(500))[7]
    target[7] += 1e6
    np.testing.assert_array_equal(matrix(fitted(values, target), values, in_turn(500))[7], before)


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


def test_rare_values_are_encoded_as_if_they_had_never_been_seen() -> None:
    values: list[str | None] = [*["often"] * 50, *["rare"] * (MIN_ROWS - 1)]
    encoding = fitted(values, np.arange(50.0 + MIN_ROWS - 1))
    assert encoding.knows("often")
    assert not encoding.knows("rare")
    assert matrix(encoding, ["rare"]).tolist() == matrix(encoding, ["never"]).tolist()


def test_a_missing_value_is_the_mean_of_all_rows_and_may_have_a_feature_of_its_own() -> None:
    encoding = fitted([*["a"] * 10, None, None], np.array([*[1.0] * 10, 7.0, 7.0]), indicator=True)
    assert encoding.feature_names == ["model=mean", "model=rows", "model=missing"]
    assert matrix(encoding, [None, "a"]).tolist() == [[2, 0, 1], [pytest.approx(20 / 15, rel=1e-5), 10, 0]]


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
