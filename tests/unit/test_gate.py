"""The gate: thresholds are inclusive, direction follows the metric, and no measurement is no admission."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as some

from perennial.gate import Gate, judge

RMSE = Gate("rmse", "minimize", 3500.0)
AUC = Gate("auc", "maximize", 0.8)


@pytest.mark.parametrize(("gate", "value"), [(RMSE, 3500.0), (AUC, 0.8), (RMSE, 0.0), (AUC, 1.0)])
def test_model_is_accepted_up_to_and_including_the_threshold(gate, value):
    assert judge(gate, value, None).accepted


@pytest.mark.parametrize(("gate", "value"), [(RMSE, math.nextafter(3500, 4000)), (AUC, math.nextafter(0.8, 0))])
def test_model_is_rejected_one_step_beyond_the_threshold(gate, value):
    verdict = judge(gate, value, None)
    assert (verdict.accepted, verdict.meets_threshold) == (False, False)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("gate", [RMSE, AUC])
@pytest.mark.parametrize("champion", [None, 0.5])
def test_a_candidate_without_a_measurement_is_rejected(gate, value, champion):
    verdict = judge(gate, value, champion)
    assert (verdict.accepted, verdict.meets_threshold, verdict.beats_champion) == (False, False, None)
    assert "could not be measured" in verdict.reason


def test_the_first_run_has_only_the_threshold():
    verdict = judge(RMSE, 3000.0, None)
    assert (verdict.accepted, verdict.beats_champion) == (True, None)
    assert "no model in service" in verdict.reason


@pytest.mark.parametrize(
    ("gate", "champion", "better", "worse"), [(RMSE, 3000.0, 2999.0, 3001.0), (AUC, 0.9, 0.91, 0.89)]
)
def test_better_than_the_model_in_service_depends_on_the_direction(gate, champion, better, worse):
    assert judge(gate, better, champion).accepted
    assert not judge(gate, worse, champion).accepted
    assert judge(gate, worse, champion).meets_threshold


def test_as_good_as_the_model_in_service_is_enough_when_no_improvement_is_asked():
    assert judge(RMSE, 3000.0, 3000.0).accepted


@pytest.mark.parametrize(
    ("gate", "champion", "enough", "too_little"),
    [
        (Gate("rmse", "minimize", 5000.0, 0.1), 3000.0, 2700.0, 2701.0),
        (Gate("auc", "maximize", 0.5, 0.1), 0.8, 0.8801, 0.8799),
        (Gate("r2", "maximize", -1.0, 0.5), -0.4, -0.2, -0.21),
    ],
)
def test_the_improvement_is_relative_to_the_model_in_service(gate, champion, enough, too_little):
    assert judge(gate, enough, champion).accepted
    assert not judge(gate, too_little, champion).accepted


def test_beating_the_model_in_service_does_not_replace_the_threshold():
    verdict = judge(RMSE, 3600.0, 9000.0)
    assert (verdict.accepted, verdict.beats_champion) == (False, True)


@pytest.mark.parametrize("champion", [float("nan"), float("inf")])
def test_a_model_in_service_without_a_measurement_leaves_the_threshold(champion):
    verdict = judge(RMSE, 3000.0, champion)
    assert (verdict.accepted, verdict.beats_champion) == (True, None)
    assert "model in service could not be measured" in verdict.reason


def test_the_reason_has_the_numbers():
    reason = judge(Gate("rmse", "minimize", 3500.0, 0.05), 2345.678, 2400.0).reason
    assert reason == (
        "rmse 2,345.68 meets the threshold (at most 3,500), but does not improve on the model in service (2,400) "
        "by the 5 % asked"
    )


finite = some.floats(allow_nan=False, allow_infinity=False, width=32)


@given(finite, finite, some.sampled_from(["minimize", "maximize"]), some.floats(0, 0.99))
def test_a_model_never_beats_itself_when_an_improvement_is_asked_and_always_otherwise(
    value, threshold, direction, asked
):
    gate = Gate("m", direction, threshold, asked)
    verdict = judge(gate, value, value)
    assert verdict.beats_champion is (gate.to_beat(value) == value)
    assert verdict.accepted is (verdict.meets_threshold and verdict.beats_champion)
