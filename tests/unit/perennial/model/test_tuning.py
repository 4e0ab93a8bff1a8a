"""Ranges of hyperparameters and the section `tuning`: what is accepted, and what each mistake is told."""

import pytest

from perennial.model import definition
from perennial.model.definition import DefinitionError
from perennial.runs import configuration

TEXT = """
problem: regression
target: price
columns:
  price: {type: float}
  mileage: {type: float}
split: {method: random}
gate: {metric: rmse, threshold: 3000}
hyperparameters:
  xgboost: {num_round: 50, eta: {min: 0.01, max: 0.3, scale: logarithmic}, max_depth: {min: 2, max: 8}}
  linear-learner: {wd: {min: 0.0001, max: 1}, use_bias: ["true", "false"]}
tuning: {strategy: random, jobs: 6, parallel_jobs: 3, early_stopping: true}
overridable: [algorithm, hyperparameters, tuning]
"""
ETA, DEPTH = "eta: {min: 0.01, max: 0.3, scale: logarithmic}", "max_depth: {min: 2, max: 8}"
TUNING = "tuning: {strategy: random, jobs: 6, parallel_jobs: 3, early_stopping: true}"


def resolve(text=TEXT, **run):
    return configuration.resolve("cars", definition.parse(text, "model.yaml"), run=run)


def test_ranges_become_the_configuration_of_a_tuning_job():
    assert resolve().tuning_job() == {
        "Strategy": "Random",
        "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "validation:rmse"},
        "ResourceLimits": {"MaxNumberOfTrainingJobs": 6, "MaxParallelTrainingJobs": 3},
        "ParameterRanges": {
            "IntegerParameterRanges": [
                {"Name": "max_depth", "MinValue": "2", "MaxValue": "8", "ScalingType": "Auto"},
            ],
            "ContinuousParameterRanges": [
                {"Name": "eta", "MinValue": "0.01", "MaxValue": "0.3", "ScalingType": "Logarithmic"},
            ],
            "CategoricalParameterRanges": [],
        },
        "TrainingJobEarlyStoppingType": "Auto",
    }


def test_what_is_tuned_is_no_hyperparameter_of_all_trials_and_no_default_stands_in_for_it():
    hyperparameters = resolve().hyperparameters
    assert hyperparameters["num_round"] == "50"
    assert not {"eta", "max_depth"} & hyperparameters.keys()


def test_words_are_tuned_by_a_list():
    tuned = resolve(Algorithm="linear-learner").tuning_job()
    assert tuned["ParameterRanges"]["CategoricalParameterRanges"] == [{"Name": "use_bias", "Values": ["true", "false"]}]
    assert tuned["HyperParameterTuningJobObjective"]["MetricName"] == "validation:objective_loss"


def test_a_run_may_set_a_value_in_place_of_a_range_and_trains_once_where_none_is_left():
    one_left = resolve(HyperParameters={"eta": 0.2})
    assert one_left.hyperparameters["eta"] == "0.2"
    assert one_left.ranges.keys() == {"max_depth"}
    assert resolve(HyperParameters={"eta": 0.2, "max_depth": 3}).tuning_job() is None


def test_a_run_may_bring_ranges_and_say_how_they_are_searched():
    tuned = resolve(
        HyperParameters={"gamma": {"min": 0, "max": 2.5}},
        Tuning={"Strategy": "bayesian", "Jobs": 4, "Metric": "validation:r2", "EarlyStopping": False},
    ).tuning_job()
    assert tuned["Strategy"] == "Bayesian"
    assert tuned["HyperParameterTuningJobObjective"] == {"Type": "Maximize", "MetricName": "validation:r2"}
    assert tuned["ResourceLimits"] == {"MaxNumberOfTrainingJobs": 4, "MaxParallelTrainingJobs": 3}
    assert tuned["TrainingJobEarlyStoppingType"] == "Off"
    names = [one["Name"] for one in tuned["ParameterRanges"]["ContinuousParameterRanges"]]
    assert names == ["eta", "gamma"]


def test_a_run_may_not_tune_where_the_definition_does_not_allow_it():
    with pytest.raises(configuration.ConfigurationError, match=r"Tuning\.Jobs: may not be overridden"):
        resolve(TEXT.replace(", tuning]", "]"), Tuning={"Jobs": 4})


REGRESSION_METRICS = (
    "allowed for regression with xgboost: validation:rmse, validation:rmsle, validation:mae, validation:mape, "
    "validation:mphe, validation:mse, validation:r2, validation:gamma-deviance, validation:gamma-nloglik, "
    "validation:poisson-nloglik, validation:tweedie-nloglik"
)


@pytest.mark.parametrize(
    ("run", "problem"),
    [
        ({"Tuning": {"ParallelJobs": 7}}, "Tuning.ParallelJobs: got 7; expected at most as many as there are jobs, 6"),
        ({"HyperParameters": {"eta": {"min": 2, "max": 0.5}}}, "HyperParameters.eta: min: got 2; expected a number"),
        (
            {"HyperParameters": {"eta": 0.1, "max_depth": {"min": 2, "max": 4}}},
            "Tuning.Jobs (not in the input): got 6, and",
        ),
        ({"HyperParameters": {"eta": {"min": 10**400, "max": 1}}}, "HyperParameters.eta: min: got 401 characters"),
        (
            {"HyperParameters": {"eta": {"min": 0.1, "max": 1, "scale": []}}},
            "HyperParameters.eta: scale is []; allowed",
        ),
        (
            {"HyperParameters": {"max_depth": {"min": 1, "max": 2**63}}},
            "HyperParameters.max_depth: max: got 92233720368",
        ),
        ({"Tuning": {"Metric": "validation:auc"}}, "Tuning.Metric: got 'validation:auc'; allowed for regression"),
    ],
)
def test_the_input_of_a_run_is_to_blame_for_what_it_sets_in_its_own_words(run, problem):
    with pytest.raises(configuration.ConfigurationError) as caught:
        resolve(**run)
    assert str(caught.value).startswith("the run's input, Overrides: not valid with models/cars/model.yaml (")
    assert f"\n  {problem}" in str(caught.value)


WRONG = [
    (DEPTH, "max_depth: {min: 8, max: 2}", "max_depth: min 8 is not less than max 2"),
    (DEPTH, "max_depth: {min: 3, max: 3}", "max_depth: min 3 is not less than max 3"),
    (DEPTH, "max_depth: {min: 2.5, max: 8}", "max_depth: min: got 2.5; expected a whole number of at least 0"),
    (DEPTH, "max_depth: {min: 2}", "max_depth: max is missing; expected two numbers, such as {min: 2, max: 8}"),
    (DEPTH, "max_depth: {}", "max_depth: min is missing and max is missing; expected two numbers"),
    (
        ETA,
        "booster: [gbtree]",
        "booster: got a range; expected one value, one of gbtree, gblinear, dart (xgboost tunes",
    ),
    (DEPTH, "max_depth: {min: 2, max: true}", "max_depth: max is True; expected two numbers"),
    (DEPTH, "max_depth: {min: 2, max: 8, step: 2}", "'step' is no key of a range; allowed: min, max, scale"),
    (DEPTH, "max_depth: [2, 4, 8]", "max_depth: got a list; a number is tuned between two ends"),
    (DEPTH, "max_depth: {min: 2, max: 8, scale: reverse_logarithmic}", "scale reverse_logarithmic needs fractions"),
    (ETA, "eta: {min: 0.1, max: 3}", "eta: max: got 3; expected a number of at least 0 and of at most 1"),
    (ETA, "eta: {min: 0, max: 1, scale: logarithmic}", "eta: scale logarithmic needs a min above 0; got 0"),
    (ETA, "eta: {min: 0.1, max: 1, scale: log}", "eta: scale is 'log'"),
    (
        ETA,
        "booster: [gbtree, dart]",
        "booster: got a range; expected one value, one of gbtree, gblinear, dart (xgboost tunes only alpha, ",
    ),
    (ETA, "seed: {min: 1, max: 9}", "seed: got a range; expected one value, a whole number"),
    ('["true", "false"]', '["true"]', "use_bias: got ['true']; expected 2 to 30 different values"),
    ('["true", "false"]', '["true", true]', "use_bias: got ['true', True]; expected 2 to 30 different values"),
    ('["true", "false"]', '["true", maybe]', "use_bias: got 'maybe'; expected one of true, false"),
    ('["true", "false"]', "{min: 0, max: 1}", "use_bias: got ends of a range; a word is tuned by a list"),
    (
        "parallel_jobs: 3",
        "parallel_jobs: 7",
        "tuning.parallel_jobs: got 7; expected at most as many as there are jobs, 6",
    ),
    ("jobs: 6", "jobs: 501", "tuning.jobs"),
    ("strategy: random", "strategy: grid", "tuning.strategy"),
    ("strategy: random", "metric: validation:auc", f"got 'validation:auc'; {REGRESSION_METRICS}"),
    ("strategy: random", "metric: validation:foo", f"got 'validation:foo'; {REGRESSION_METRICS}"),
    ("jobs: 6", "jobs: 500", "together up to 601,200 s; expected at most 432,000"),
]


@pytest.mark.parametrize(("old", "new", "message"), WRONG, ids=[each[1][:60] for each in WRONG])
def test_each_mistake_is_named_with_what_is_expected(old, new, message):
    assert old in TEXT
    with pytest.raises(DefinitionError) as caught:
        definition.parse(TEXT.replace(old, new), "model.yaml")
    assert message in str(caught.value)


def test_more_trials_than_there_are_different_ones_are_refused_as_aws_does():
    with pytest.raises(DefinitionError, match="and the ranges allow 7 different trials"):
        definition.parse(TEXT.replace(f", {ETA}", "").replace("jobs: 6", "jobs: 8"), "model.yaml")


def test_the_objective_is_what_training_watches_on_the_validation_set_and_its_direction_is_known():
    scored = TEXT.replace("regression", "binary_classification").replace("rmse", "auc").replace("3000", "0.8")
    auc = resolve(scored.replace("price: {type: float}", "price: {type: boolean}"))
    assert auc.objective == ("validation:auc", "maximize")
    own = TEXT.replace("num_round: 50", 'num_round: 50, eval_metric: "rmse,mae"')
    assert resolve(own).objective == ("validation:mae", "minimize")


@pytest.mark.parametrize(
    ("changes", "noted"),
    [
        ({}, False),
        ({ETA: "eta: 0.1", DEPTH: "max_depth: 6"}, True),
        ({ETA: "eta: 0.1", DEPTH: "max_depth: 6", TUNING: ""}, False),
        ({ETA: "eta: 0.1", DEPTH: "max_depth: 6", TUNING: f"{TUNING}\nalgorithm: linear-learner"}, False),
    ],
)
def test_a_search_of_nothing_is_noted(changes, noted):
    text = TEXT
    for old, new in changes.items():
        text = text.replace(old, new)
    notes = definition.notes(definition.parse(text, "model.yaml"))
    assert [path for path, _ in notes] == (["tuning"] if noted else [])
    if noted:
        assert notes[0][1].startswith("has no effect until a hyperparameter of xgboost is a range, such as")
