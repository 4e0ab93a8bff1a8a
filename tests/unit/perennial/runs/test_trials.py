"""What a record and a mail hold of a tuning job, and whether a later search may go on from it."""

from datetime import UTC, datetime, timedelta

import pytest

from perennial.runs import costs, facts, trials

OBJECTIVE = {"Type": "Minimize", "MetricName": "validation:rmse"}
RANGES = {
    "IntegerParameterRanges": [{"Name": "max_depth", "MinValue": "2", "MaxValue": "8"}],
    "ContinuousParameterRanges": [{"Name": "eta", "MinValue": "0.1", "MaxValue": "0.3"}],
    "CategoricalParameterRanges": [],
}
CONFIG = {"Strategy": "Bayesian", "HyperParameterTuningJobObjective": OBJECTIVE, "ParameterRanges": RANGES}
BEGUN = datetime(2026, 11, 29, 10, tzinfo=UTC)


def summary(number, status="Completed", value=None, reason=None):
    final = {"FinalHyperParameterTuningJobObjectiveMetric": {"MetricName": "validation:rmse", "Value": value}}
    return {
        "TrainingJobName": f"t0-{number:03d}-0f0444b1",
        "TrainingJobStatus": status,
        "TrainingStartTime": BEGUN,
        "TrainingEndTime": BEGUN + timedelta(seconds=number),
        "TunedHyperParameters": {"max_depth": str(number), "eta": "0.1"},
        **(final if value is not None else {}),
        **({"FailureReason": reason} if reason else {}),
    }


SUMMARIES = [
    summary(1, value=3.5),
    summary(2, "Failed", reason="AlgorithmError: no"),
    summary(3, value=2.25),
    summary(4, "Stopped", 9.0),
]


def tuned(best="t0-003-0f0444b1", config=CONFIG, summaries=SUMMARIES):
    return trials.of("0a1b2c3d-r-t0", config, best, summaries)


def test_trials_are_recorded_the_best_first_and_those_without_a_value_last():
    recorded = tuned()
    assert [one["value"] for one in recorded["trials"]] == [2.25, 3.5, 9.0, None]
    assert recorded["counts"] == {"Completed": 2, "Failed": 1, "Stopped": 1}
    assert recorded["trials"][-1]["reason"] == "AlgorithmError: no"
    assert recorded["trials"][0]["seconds"] == 3.0


def test_the_order_is_that_of_the_objective():
    config = {**CONFIG, "HyperParameterTuningJobObjective": {**OBJECTIVE, "Type": "Maximize"}}
    assert [one["value"] for one in tuned("t0-001-0f0444b1", config)["trials"]] == [3.5, 9.0, 2.25, None]


def test_so_many_trials_are_recorded_as_an_item_has_room_for_and_all_are_counted():
    recorded = tuned(summaries=[summary(number, value=float(number)) for number in range(1, 200)])
    assert len(recorded["trials"]) == trials.RECORDED
    assert recorded["counts"] == {"Completed": 199}
    assert recorded["trials"][0]["name"] == "t0-003-0f0444b1"


def test_the_mail_says_what_was_tried_and_what_was_best():
    (line,) = trials.line({"tuning": tuned()})
    told = "4 trials (2 completed, 1 failed, 1 stopped), bayesian; best validation:rmse 2.25 with eta=0.1, max_depth=3"
    assert line == told
    assert list(trials.line({})) == []


@pytest.mark.parametrize(
    ("begun", "said"),
    [
        ({"parent": "0a1b2c3d-q-t0", "reason": None}, "began with what 0a1b2c3d-q-t0 had tried"),
        ({"parent": None, "reason": "no model is in service"}, "began anew: no model is in service"),
    ],
)
def test_the_mail_says_with_what_a_search_began(begun, said):
    assert list(trials.line({"tuning": tuned(), "warm_start": begun}))[1:] == [said]
    assert trials.search({"tuning": tuned(), "warm_start": begun}).get("parent") == begun["parent"]


def test_a_mail_has_the_line_of_a_run_that_has_tuned():
    execution = {"ended_at": "2026-11-29T10:00:00Z", "duration_seconds": 1, "arn": ""}
    record = {"run_id": "r", "model": "m", "stack": "s", "status": "Failed", "execution": execution, "tuning": tuned()}
    assert dict(facts.lines(record))["Tuned"].startswith("4 trials")


def test_a_model_has_the_values_of_the_best_trial():
    configuration = {"algorithm": {"name": "xgboost", "hyperparameters": {"num_round": "50"}}}
    assert trials.hyperparameters({"configuration": configuration, "tuning": tuned()}) == {
        "num_round": "50", "max_depth": "3", "eta": "0.1",
    }  # fmt: skip
    assert trials.hyperparameters({"configuration": configuration}) == {"num_round": "50"}


def test_of_a_tuned_number_four_digits_are_read() -> None:
    values = {
        "eta": "0.09983532168900672",
        "alpha": "1.5e-05",
        "max_depth": "12345",
        "booster": "dart",
        "lambda": "1.0",
    }
    assert trials.spoken(values) == "eta=0.09984, alpha=0.000015, max_depth=12345, booster=dart, lambda=1"


def test_how_a_run_has_tuned_is_a_few_facts() -> None:
    assert trials.search({"tuning": tuned()}) == {
        "strategy": "Bayesian", "trials": 4, "trials.Completed": 2, "trials.Failed": 1, "trials.Stopped": 1,
        "metric": "validation:rmse", "best_value": 2.25,
    }  # fmt: skip
    assert trials.search({}) == {}


def test_every_trial_costs_what_a_training_job_does():
    run = "20261129100000-0a1b"
    names = [f"0a1b2c3d-{run}-t0-{number:03d}-0f0444b1" for number in (1, 2)]
    jobs = [
        {"kind": "Training", "name": name, "status": status, "created_at": "2026-11-29T10:00:00Z",
         "ended_at": "2026-11-29T11:00:00Z"}
        for name, status in zip(names, ("Completed", "Failed"), strict=True)
    ]  # fmt: skip
    definition = {"instances": {"train": {"type": "ml.m5.large", "count": 1}}}
    record = {"run_id": run, "configuration": {"definition": definition}, "jobs": jobs}
    cost = costs.of_jobs(costs.recorded_jobs(record), "us-east-1")
    assert (cost.jobs, cost.usd) == (2, pytest.approx(2 * 0.115))
    assert costs.step_of(names[0], run) == "trial"
    assert costs.short_name(names[0], run) == "t0-001"
    assert costs.short_name(f"cars-{run}-data-quality-0", run) == "data-quality-0"


STATIC = {"num_round": "50", "seed": "42"}
PARENT = {
    "HyperParameterTuningJobStatus": "Completed",
    "HyperParameterTuningJobConfig": CONFIG,
    "TrainingJobDefinition": {"StaticHyperParameters": {**STATIC, "_tuning_objective_metric": "validation:rmse"}},
}


@pytest.mark.parametrize(
    ("change", "static", "why"),
    [
        ({}, STATIC, None),
        ({"HyperParameterTuningJobStatus": "Stopped"}, STATIC, None),
        ({"HyperParameterTuningJobStatus": "InProgress"}, STATIC, "it has not ended (InProgress)"),
        ({}, {**STATIC, "gamma": "0"}, "only one of the two has the hyperparameters gamma"),
        ({}, {"num_round": "50", "alpha": "1"}, "only one of the two has the hyperparameters alpha, seed"),
    ],
)
def test_a_search_goes_on_from_one_that_has_ended_and_had_the_same_hyperparameters(change, static, why):
    assert trials.obstacle({**PARENT, **change}, CONFIG, static) == why


def test_what_was_tuned_may_be_static_later_and_the_objective_must_be_the_same():
    fewer = {**CONFIG, "ParameterRanges": {**RANGES, "IntegerParameterRanges": []}}
    assert trials.obstacle(PARENT, fewer, {**STATIC, "max_depth": "4"}) is None
    other = {**CONFIG, "HyperParameterTuningJobObjective": {**OBJECTIVE, "MetricName": "validation:mae"}}
    why = "its objective was minimize validation:rmse, and is minimize validation:mae now"
    assert trials.obstacle(PARENT, other, STATIC) == why
