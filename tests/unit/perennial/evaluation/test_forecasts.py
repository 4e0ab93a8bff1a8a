"""Forecasts: read as DeepAR answers them, measured as DeepAR measures them, and held against the season before."""

import json

import numpy as np
import pytest

from perennial.data.seasonal import seasonal_naive
from perennial.evaluation import forecasts, gate, metrics
from perennial.evaluation.predictions import PredictionsError
from perennial.model.problem_types import FORECAST_LOSSES, FORECAST_QUANTILES

NAN = float("nan")


def answer(*values, spread=10.0):
    """A forecast whose quantiles lie evenly around the mean."""
    quantiles = {f"{q:g}": [value + spread * (q - 0.5) for value in values] for q in FORECAST_QUANTILES}
    return json.dumps({"mean": list(values), "quantiles": quantiles})


def points(*lines):
    return forecasts.points([f"{line}\n" for line in lines], "labels/part-00000.csv")


def test_metrics_are_what_a_hand_computes_of_deepars_definitions():
    """wQuantileLoss[q] = 2 sum(q (y - f) where y > f, else (1 - q) (f - y)) / sum |y|."""
    known = points("0,1,100,90", "0,2,110,120")
    said = json.loads(answer(104, 108)) | {"mean": [103, 109]}
    scores = forecasts.scores_of(known, [json.dumps(said)], "out")
    measured = metrics.evaluate("forecasting", known.labels, scores)
    # p10 is 100 and 104: 100 - 100 = 0, and 110 - 104 = 6 below; p90 is 108 and 112: 8 and 2 above.
    assert measured["wql_p10"] == pytest.approx(2 * (0.1 * 6) / 210)
    assert measured["wql_p90"] == pytest.approx(2 * (0.1 * 8 + 0.1 * 2) / 210)
    assert measured["wql_p50"] == pytest.approx(2 * (0.5 * 4 + 0.5 * 2) / 210)
    assert measured["mean_wql"] == pytest.approx(np.mean([measured[name] for name in FORECAST_LOSSES]))
    assert measured["rmse"] == pytest.approx(np.sqrt((3**2 + 1**2) / 2))  # of the means


def test_the_seasonal_naive_forecast_says_the_same_of_each_quantile():
    known = points("0,1,100,90", "0,2,110,120")
    naive = metrics.evaluate("forecasting", known.labels, forecasts.naive_scores(known))
    assert naive["mean_wql"] == pytest.approx(20 / 210)  # the weighted absolute error
    assert naive["rmse"] == pytest.approx(10)


@pytest.mark.parametrize(
    ("values", "season", "expected"),
    [
        ([1, 2, 3, 4, 5, 6], 3, [4, 5, 6, 4]),
        ([1, 2, 3, NAN, 5, 6], 3, [1, 5, 6, 1]),
        ([7, NAN, NAN], 12, [7, 7, 7, 7]),
        ([NAN, NAN], 2, [NAN] * 4),
    ],
    ids=["again and again", "an earlier season", "the last of all", "nothing is known"],
)
def test_last_season_comes_again(values, season, expected):
    np.testing.assert_array_equal(seasonal_naive(np.array(values, float), season, 4), expected)


def test_points_get_the_forecast_of_their_series_and_step():
    known = points("0,2,1,1", "1,1,1,1", "1,3,1,1")
    scores = forecasts.scores_of(known, [answer(10, 20), answer(30, 40)], "out")
    assert scores[:, 0].tolist()[:2] == [20, 30]
    assert np.isnan(scores[2, :-1]).all()  # a model that forecasts two periods says nothing of the third


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([answer(1)], "1 forecasts for 2 series"),
        ([answer(1), "3.5"], "out, line 2: got '3.5'; expected"),
        ([answer(1), '{"mean": [1], "quantiles": {"0.5": [1]}}'], "line 2: got"),
        ([answer(1), "{"], "line 2: got '{'"),
    ],
)
def test_what_is_no_forecast_is_told_with_its_line(lines, told):
    with pytest.raises(PredictionsError, match=told):
        forecasts.scores_of(points("0,1,1,1", "1,1,1,1"), lines, "out")


def test_a_forecast_has_to_be_better_than_last_season_again():
    wanted = gate.Gate("mean_wql", "minimize", 0.1)
    better, same = (
        gate.judge(wanted, 0.02, None, others=gate.than_naive(wanted, 0.02, naive)) for naive in (0.03, 0.02)
    )
    assert better.accepted
    assert "better than the seasonal-naive forecast's 0.03" in better.reason
    assert (same.accepted, same.obstacle) == (False, "naive")
    assert same.brief == "mean_wql 0.02 is not better than the seasonal-naive forecast's 0.02"


def test_chance_is_what_other_series_would_have_made_of_a_metric():
    """The jackknife over series (Efron and Stein, 1981): of 20 periods of 4 series it leaves out 4 times 5."""
    known = points(*(f"{line},{step},{100 + line},{90 + line}" for line in range(4) for step in range(1, 6)))
    answers = [answer(*[100 + line + 3 * line] * 5) for line in range(4)]  # each series errs alike in all its periods
    scores = forecasts.scores_of(known, answers, "out")
    rmse = metrics.metric_named("forecasting", "rmse")
    errors = np.array([0, 3, 6, 9])
    without = [np.sqrt(np.mean(np.delete(errors, line) ** 2)) for line in range(4)]
    assert rmse.without_each(known.labels, scores) == pytest.approx(without)
    low, high = metrics.interval(rmse, known.labels, scores)
    assert high - low == pytest.approx(2 * metrics.DEVIATIONS * np.sqrt(3 * np.var(without)))
    assert rmse.resampled(known.labels, scores).std() > 1  # of series, not of twenty periods
