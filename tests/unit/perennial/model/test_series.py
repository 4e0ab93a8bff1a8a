"""A forecasting in model.yaml: what its series say, what follows from them, and what has no meaning for it."""

import re

import pytest

from perennial.model.definition import DefinitionError, validated
from perennial.model.folder import check
from perennial.model.series import season_of
from perennial.runs.configuration import resolve

MODEL = {
    "problem": "forecasting",
    "target": "sold",
    "columns": {
        "shop": {"type": "string", "feature": False},
        "day": {"type": "timestamp", "feature": False},
        "sold": {"type": "integer", "min": 0},
        "town": {"type": "string", "categories": ["Oslo", "Rome"]},
        "open_hours": {"type": "float"},
    },
    "series": {"key": "shop", "time": "day", "frequency": "D", "context_length": 28, "prediction_length": 7},
    "algorithm": "deepar",
    "hyperparameters": {"deepar": {"epochs": 20}},
    "gate": {"metric": "mean_wql", "threshold": 0.2},
}


SLICED = {**MODEL["gate"], "slices": {"oslo": {"where": {"town": "Oslo"}, "threshold": 1}}}


STORE = {"groups": {"shops": {"record": "shop", "event_time": "day"}}}


def problems(**changed):
    with pytest.raises(DefinitionError) as refused:
        validated({**MODEL, **changed}, "model.yaml")
    return str(refused.value)


def with_column(name, **column):
    return {**MODEL["columns"], name: column}


def test_the_split_and_deepars_hyperparameters_follow_from_the_series():
    resolved = resolve("shops", validated(MODEL, "model.yaml"))
    split = resolved.definition.split
    assert (split.method, split.column, split.key) == ("time", "day", ("shop", "day"))
    assert resolved.hyperparameters == {
        "epochs": "20", "time_freq": "D", "context_length": "28", "prediction_length": "7", "cardinality": "[2]",
        "num_dynamic_feat": "1",
    }  # fmt: skip
    assert resolved.training_metrics == ("test:mean_wQuantileLoss",)


def test_a_run_may_override_what_a_model_of_rows_may():
    defined = validated({**MODEL, "overridable": ["hyperparameters", "gate.threshold"]}, "model.yaml")
    resolved = resolve("shops", defined, run={"GateThreshold": 0.1, "HyperParameters": {"epochs": 5}})
    assert (resolved.gate.threshold, resolved.hyperparameters["epochs"]) == (0.1, "5")
    tuned = resolve("shops", defined, run={"HyperParameters": {"num_cells": {"min": 20, "max": 80}}})
    assert tuned.objective == ("test:mean_wQuantileLoss", "minimize")


@pytest.mark.parametrize(
    ("frequency", "season"), [("M", 12), ("W", 52), ("D", 7), ("H", 24), ("15min", 96), ("7min", 1), ("3M", 4)]
)
def test_a_season_is_a_year_a_week_or_a_day(frequency, season):
    assert season_of({"frequency": frequency}) == season
    assert season_of({"frequency": frequency, "season": 5}) == 5


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"gate": SLICED}, "gate.slices: has no meaning"),
        ({"series": None}, "series: is missing; a forecasting needs key, time, frequency"),
        ({"series": {**MODEL["series"], "frequency": "Q"}}, "series.frequency: got 'Q'; expected M, W, D, H or min"),
        ({"series": {**MODEL["series"], "key": "shp"}}, "series.key: 'shp' is not one of the columns; did you mean"),
        ({"series": {**MODEL["series"], "key": ""}}, "series.key: is missing; where there is one series alone"),
        ({"series": {**MODEL["series"], "time": "town"}}, "series.time: 'town' is string; expected a column of type"),
        ({"series": {**MODEL["series"], "prediction_length": 0}}, "series.prediction_length"),
        ({"split": {"method": "random"}}, "split: a forecasting is split by time, as its section series says"),
        ({"columns": with_column("shop", type="string")}, "columns.shop.feature: is series.key"),
        ({"columns": with_column("town", type="string")}, "columns.town.categories: is missing"),
        ({"columns": with_column("open_hours", type="float", nullable=True)}, "DeepAR takes no missing value of a"),
        ({"columns": with_column("missing_share", type="float")}, "is the name of what monitoring computes"),
        ({"target": {"column": "sold", "transform": "log"}}, "only the target of a regression is transformed"),
        ({"training": {"window": {"newest_files": 3}}}, "training.window: has no meaning for a forecasting"),
        ({"instances": {"preprocess": {"count": 2}}}, "instances.preprocess.count: got 2; allowed: 1, the points of a"),
        ({"instances": {"train": {"count": 2}}}, "instances.train.count: got 2; allowed: 1, deepar trains on one"),
        ({"feature_store": STORE}, "feature_store: has no meaning for a forecasting: its records are rows of one time"),
        ({"serving": {"missing": "refuse"}}, "serving: has no meaning for a forecasting: DeepAR itself answers"),
        ({"metrics": {"own": "minimize"}}, "metrics: has no meaning for a forecasting"),
        ({"monitoring": {"probing": {"enabled": True}}}, "monitoring.probing: has no meaning for a forecasting"),
        ({"monitoring": {"attribution": {"min_ndcg": 0.5}}}, "monitoring.attribution: has no meaning"),
        ({"monitoring": {"bias": {"facets": [{"column": "town", "values": ["Oslo"]}]}}}, "monitoring.bias: has no"),
        ({"gate": {"metric": "auc", "threshold": 0.7}}, "'auc' is not a metric of forecasting; allowed: mean_wql"),
        ({"algorithm": "xgboost"}, "xgboost does not learn forecasting; allowed: deepar"),
        ({"algorithm": "own-image"}, "own-image does not learn forecasting; allowed: deepar"),
        ({"hyperparameters": {"deepar": {"time_freq": "D"}}}, "time_freq: follows from series.frequency"),
        ({"hyperparameters": {"deepar": {"likelihood": "poisson"}}}, "expected one of gaussian, beta"),
    ],
)  # fmt: skip
def test_what_a_forecasting_cannot_say_is_refused_with_the_reason(changed, told):
    assert told in problems(**changed)


def test_what_is_wrong_with_a_key_is_said_of_the_series_alone():
    """The split that follows from them is none that anybody has written."""
    assert "split" not in problems(series={**MODEL["series"], "key": "shp", "time": ""})


def test_series_are_of_a_forecasting_alone():
    assert "series: only a forecasting has series, and this is a regression" in problems(
        problem="regression", split={"method": "random"}, algorithm="xgboost", gate={"metric": "rmse", "threshold": 5}
    )


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("features.py", "def transform(table):\n    return table\n"),
        ("capture.py", "def records(request, request_type, answer, answer_type):\n    return []\n"),
    ],
)
def test_code_that_a_forecasting_would_not_run_is_refused(tmp_path, name, code):
    (tmp_path / name).write_text(code)
    with pytest.raises(ValueError, match=rf"{re.escape(name)}: has no meaning for a forecasting"):
        check(tmp_path, validated(MODEL, "model.yaml"))


def test_monitoring_may_leave_out_what_it_computes_of_series():
    monitoring = {"data_quality": {"leave_out": ["season_change"]}}
    assert validated({**MODEL, "monitoring": monitoring}, "model.yaml").monitoring.data_quality.leave_out
