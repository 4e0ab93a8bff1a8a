"""Distances and the chance in them, against scipy and by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from perennial.data.column_statistics import NumericColumn
from perennial.monitoring import distances


def numbers(values: Any) -> dict[str, Any]:
    column = NumericColumn("x", integral=False)
    column.add(np.asarray(values, np.float64))
    found: dict[str, Any] = column.statistics()["numerical_statistics"]
    return found


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 9, 50, 399])
@pytest.mark.parametrize("times", [0.2, 1.0, 1.5, 4.0])
def test_the_chance_of_a_chi_square_is_scipys(freedom: int, times: float) -> None:
    square = freedom * times
    assert distances.chance_of_chi_square(square, freedom) == pytest.approx(stats.chi2.sf(square, freedom), rel=1e-9)


def test_the_largest_difference_and_its_chance_are_those_of_kolmogorov_and_smirnov() -> None:
    random = np.random.default_rng(1)
    before, after = random.normal(size=1500), random.normal(0.12, size=700)
    found, known = distances.of_numbers(numbers(before), numbers(after)), stats.ks_2samp(before, after, method="asymp")
    assert found.largest == pytest.approx(known.statistic)
    assert found.chance == pytest.approx(known.pvalue, rel=0.1)
    assert known.pvalue <= found.chance


def test_what_sketches_may_be_wrong_by_is_no_change() -> None:
    random = np.random.default_rng(2)
    found = distances.of_numbers(numbers(random.normal(size=200_000)), numbers(random.normal(size=200_000)))
    assert found.chance == 1.0


def test_the_stability_index_of_two_values_is_that_of_a_hand() -> None:
    found = distances.of_texts({"a": 700, "b": 300}, {"a": 55, "b": 45})
    by_hand = (0.7 - 0.55) * math.log(0.7 / 0.55) + (0.3 - 0.45) * math.log(0.3 / 0.45)
    assert found.psi == pytest.approx(by_hand)
    assert found.largest == pytest.approx(0.15)
    square, chance, *_ = stats.chi2_contingency([[700, 300], [55, 45]], correction=False)
    assert square > 0
    assert found.chance == pytest.approx(chance)


def test_numbers_of_the_same_shares_are_alike() -> None:
    found = distances.of_numbers(numbers([2, 4, 4, 6] * 50), numbers([2, 4, 4, 6] * 20))
    assert (found.largest, found.chance) == (0.0, 1.0)
    assert found.psi == pytest.approx(0, abs=1e-12)


def test_values_that_come_once_are_one_rare_value_on_both_sides() -> None:
    """Ids: no value is on both sides, and nothing has changed."""
    found = distances.of_texts({f"old-{n}": 1 for n in range(500)}, {f"new-{n}": 1 for n in range(300)})
    assert (found.chance, found.psi) == (1.0, 0.0)


def test_a_new_value_with_many_rows_is_one_of_its_own() -> None:
    found = distances.of_texts({"a": 2000}, {"a": 900, "b": 100})
    assert found.chance < 1e-10
    assert found.psi > 0.1


def test_chances_of_texts_are_uniform_when_nothing_has_changed() -> None:
    random, raised = np.random.default_rng(3), 0
    shares = 1 / np.arange(1, 41)
    for _ in range(400):
        one, other = (random.multinomial(rows, shares / shares.sum()) for rows in (1000, 300))
        named = [{f"v{n}": int(count) for n, count in enumerate(counts) if count} for counts in (one, other)]
        raised += distances.of_texts(*named).chance < 0.05
    assert 6 <= raised <= 36  # 20 expected; four standard deviations


@pytest.mark.parametrize(("count", "rows", "share"), [(20, 1000, 0.01), (5, 100, 0.01), (300, 1000, 0.25)])
def test_the_chance_of_a_share_is_never_below_the_binomial(count: int, rows: int, share: float) -> None:
    exact = stats.binom.sf(count - 1, rows, share)
    found = distances.chance_of_share(count, rows, share)
    assert exact <= found <= 20 * exact


def test_a_share_that_is_expected_is_no_surprise() -> None:
    assert distances.chance_of_share(10, 1000, 0.01) == 1.0
    assert distances.chance_of_share(1, 1000, 0.0) == 0.0
    assert distances.chance_of_share(1000, 1000, 0.01) < 1e-300


def test_shares_of_two_samples_are_compared_with_yates_correction() -> None:
    found = distances.chance_of_shares((30, 100), (60, 100))
    assert found == pytest.approx(stats.chi2_contingency([[30, 70], [60, 40]], correction=True).pvalue)
    assert distances.chance_of_shares((0, 100), (0, 50)) == 1.0


def test_model_monitors_distance_allows_for_the_size_of_the_samples() -> None:
    before, after = np.arange(2000.0), np.arange(100.0, 2100.0)
    found = distances.of_numbers(numbers(before), numbers(after[:1000] * 1.0))
    assert found.robust == pytest.approx(max(0.0, found.largest - 1.8 * math.sqrt(3000 / 2_000_000)))


def exact_chance(counts: npt.NDArray[np.int64], is_ratio: bool) -> float:
    """The probability of as large a change, by every outcome of four binomial counts."""
    share = counts.sum(axis=0)[:, 0] / counts.sum(axis=0)[:, 1]
    scale = 1 / share if is_ratio else np.ones(2)
    weights = np.array([[1], [-1]]) * np.array([1, -1]) * scale / counts[:, :, 1]
    change, chance = np.zeros(1), np.ones(1)
    for side in np.ndindex(2, 2):
        outcomes = np.arange(counts[side][1] + 1)
        change = np.add.outer(change, weights[side] * outcomes).ravel()
        chance = np.multiply.outer(chance, stats.binom.pmf(outcomes, counts[side][1], share[side[1]])).ravel()
    seen = abs(float((weights * counts[:, :, 0]).sum()))
    return float(chance[np.abs(change) >= seen - 1e-9].sum())


@pytest.mark.parametrize("is_ratio", [False, True])
@pytest.mark.parametrize(
    "counts",
    [
        [[[15, 30], [10, 20]], [[15, 30], [2, 20]]],
        [[[3, 30], [2, 20]], [[2, 30], [9, 20]]],
        [[[1, 40], [0, 10]], [[1, 40], [3, 10]]],
        [[[15, 30], [10, 20]], [[16, 30], [11, 20]]],
    ],
)
def test_the_chance_of_a_difference_of_shares_is_the_exact_one_and_errs_on_the_quiet_side(
    counts: list[list[list[int]]], is_ratio: bool
) -> None:
    found, exact = distances.chance_of_difference(np.array(counts), is_ratio), exact_chance(np.array(counts), is_ratio)
    assert 0.9 * exact <= found <= min(1.0, 2.5 * exact)


@pytest.mark.parametrize("is_ratio", [False, True])
def test_what_is_alike_or_never_positive_is_no_change(is_ratio: bool) -> None:
    assert distances.chance_of_difference(np.array([[[5, 10], [5, 10]], [[50, 100], [50, 100]]]), is_ratio) == 1.0
    assert distances.chance_of_difference(np.array([[[0, 10], [0, 10]], [[0, 100], [0, 100]]]), is_ratio) == 1.0
    assert distances.chance_of_difference(np.array([[[10, 10], [10, 10]], [[9, 9], [9, 9]]]), is_ratio) == 1.0
