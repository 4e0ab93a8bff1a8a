"""Slices of the test rows: a group that has become worse is no longer hidden by the average."""

from dataclasses import replace

import numpy as np
import pytest

from perennial.evaluation import comparison, metrics
from perennial.evaluation.gate import Compared, Gate
from perennial.evaluation.slices import Sliced, judge

MAE = Gate("mae", "minimize", 3500.0, minimum_unseen_rows=30)
AUC = Gate("auc", "maximize", 0.8, minimum_unseen_rows=30)
WORSE = Compared(100, 200.0, 100.0, (60.0, 140.0))


def answered(one, gate=MAE):
    return judge(gate, [one])[0]


def failures(one, gate=MAE):
    return [answer.brief for answer in answered(one, gate).answers if answer.obstacle]


def test_a_slice_that_got_worse_by_more_than_chance_fails_and_says_by_how_much():
    judged = answered(Sliced("saab", 120, 210.0, WORSE))
    assert failures(judged.sliced) == ["worse in slice saab (mae 200, in service 100)"]
    assert judged.as_json()["failed"] is True
    reason = judged.as_json()["reason"]
    assert "on the 100 test rows of slice saab that it has not seen" in reason
    assert "where at most 100 is allowed (gate.slices.saab.maximum_regression)" in reason


@pytest.mark.parametrize(
    "held",
    [
        pytest.param(replace(WORSE, difference=(-10.0, 210.0)), id="within chance"),
        pytest.param(replace(WORSE, difference=None), id="of no known chance"),
        pytest.param(replace(WORSE, candidate=90.0, difference=(-50.0, -10.0)), id="better"),
        pytest.param(replace(WORSE, candidate=100.0, difference=(0.0, 0.0)), id="as good"),
    ],
)
def test_a_slice_that_is_no_worse_than_allowed_holds(held):
    assert failures(Sliced("saab", 120, 210.0, held)) == []


def test_a_slice_may_be_worse_by_its_own_bound():
    assert failures(Sliced("saab", 120, 210.0, WORSE, maximum_regression=0.99)) != []
    allowed = replace(WORSE, candidate=150.0)
    assert failures(Sliced("saab", 120, 210.0, allowed, maximum_regression=0.5)) == []
    assert failures(Sliced("saab", 120, 210.0, WORSE, threshold=300.0, maximum_regression=None)) == []


@pytest.mark.parametrize(("gate", "good", "bad", "threshold"), [(MAE, 300.0, 300.1, 300.0), (AUC, 0.9, 0.89, 0.9)])
def test_a_slice_has_a_threshold_of_its_own(gate, good, bad, threshold):
    assert failures(Sliced("saab", 120, good, None, threshold=threshold), gate) == []
    assert len(failures(Sliced("saab", 120, bad, None, threshold=threshold), gate)) == 1


@pytest.mark.parametrize(
    ("one", "says"),
    [
        (Sliced("saab", 29, 9e9, WORSE, threshold=1.0), "it has 29 test rows, and 30 are needed"),
        (Sliced("saab", 120, None, WORSE, threshold=1.0), "mae has no value for its 120 test rows"),
        (Sliced("saab", 120, 1.0, replace(WORSE, rows=29)), "has not seen 29 of its 120 test rows, and 30 are needed"),
        (Sliced("saab", 120, 1.0, None), "mae 1 on its 120 test rows; there is nothing to compare with"),
    ],
)
def test_a_slice_that_says_nothing_is_not_judged_and_says_why(one, says):
    judged = answered(one)
    assert failures(one) == []
    assert says in judged.as_json()["reason"]


def test_many_slices_together_are_worse_by_chance_as_rarely_as_one():
    barely = Sliced("s", 120, 210.0, replace(WORSE, difference=(1.0, 199.0)))  # 95 %: just without 0
    assert failures(barely)
    assert not [answer for one in judge(MAE, [barely] * 2) for answer in one.answers if answer.obstacle]


def test_good_candidates_are_refused_by_chance_no_more_often_than_one_time_in_twenty():
    """Twenty slices, a candidate as good as the model in service: of 200 such tables few are refused."""
    random, metric, refused = np.random.default_rng(7), metrics.metric_named("regression", "mae"), 0
    inside = {f"s{number}": np.arange(1000) % 20 == number for number in range(20)}
    rules = {name: {"threshold": None, "maximum_regression": 0.0} for name in inside}
    for _ in range(200):
        truth = random.normal(size=1000)
        one, other = (truth + random.normal(size=1000) for _ in range(2))
        fair = np.ones(1000, bool)
        measured = comparison.of_slices(metric, truth, one, other, inside=inside, fair=fair, rules=rules)
        refused += any(answer.obstacle for judged in judge(MAE, measured) for answer in judged.answers)
    assert refused <= 20  # 5 % are 10; the interval is a normal approximation for 50 rows


def test_both_models_are_measured_on_the_rows_of_a_slice_that_compare():
    truth = np.array([1.0, 2.0, 3.0, 4.0])
    inside = {"first": np.array([True, True, True, False])}
    (measured,) = comparison.of_slices(
        metrics.metric_named("regression", "mae"),
        truth,
        truth + 1,
        np.array([3.0, np.nan, 5.0, 6.0]),
        inside=inside,
        fair=np.array([True, True, False, True]),
        rules={"first": {"threshold": 5.0, "maximum_regression": 0.1}},
    )
    assert (measured.rows, measured.candidate, measured.threshold, measured.maximum_regression) == (3, 1.0, 5.0, 0.1)
    assert measured.compared is not None
    assert (measured.compared.rows, measured.compared.candidate, measured.compared.champion) == (1, 1.0, 2.0)
