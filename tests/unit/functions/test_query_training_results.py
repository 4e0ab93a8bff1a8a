"""The function "Query training results": metrics by name, both models on the same rows, and the verdict."""

import json
import math

import numpy as np
import pytest

from perennial.evaluation.predictions import PredictionsError
from perennial_aws import runs
from tests.unit.conftest import BUCKET, STACK, load_function

RUN, CHAMPION = "20261120093440-1a2b", "20261101000000-aaaa"
PREFIX = f"s3://{BUCKET}/runs/{RUN}"
LABELS = [10.0, 20.0, 30.0, 40.0]
SPLIT = {"method": "random", "column": None, "seed": 42, "validation": 0.15, "test": 0.2}
DEFINITION = {
    "problem": "regression",
    "target": "y",
    "columns": {"y": {"type": "float"}, "x": {"type": "float"}},
    "split": SPLIT,
}


@pytest.fixture
def app(aws):
    config = {"training_metrics": ["validation:rmse"], "definition": DEFINITION}
    for run in (RUN, CHAMPION):
        aws.put(f"runs/{run}/config.json", json.dumps(config))
        reported_rows(aws, run)
    return load_function("query_training_results")


@pytest.fixture
def reported(answers):
    """Let the training job report these metrics."""

    def report(**metrics):
        listed = [{"MetricName": name.replace("_", ":"), "Value": value} for name, value in metrics.items()]
        body = {"TrainingJobName": f"{STACK}-{RUN}-train-0", "TrainingJobStatus": "Completed"}
        return answers("sagemaker", "DescribeTrainingJob", (200, {**body, "FinalMetricDataList": listed}))

    report(train_rmse=1.5, validation_rmse=2.5)
    return report


@pytest.fixture
def query(app, reported, lambda_context, capsys):
    def call(
        threshold=3.0, improvement=0.0, champion=False, problem="regression", metric="rmse", direction="minimize",
        minimum=2, asked="test", tuning=None,
    ):  # fmt: skip
        gate = {
            "Metric": metric,
            "Direction": direction,
            "Threshold": threshold,
            "MinimumImprovement": improvement,
            "MaximumRegression": 0.05,
            "MinimumUnseenRows": minimum,
            "WithoutComparison": "reject",
        }
        event = {
            "RunId": RUN,
            "Prefix": PREFIX,
            "Problem": problem,
            "Gate": gate,
            "TrainingJobName": f"{STACK}-{RUN}-train-0",
            "CandidatePredictions": f"{PREFIX}/predictions/candidate",
            "ChampionPredictions": f"{PREFIX}/predictions/champion" if champion else None,
            "Champion": {"ModelName": f"{STACK}-{CHAMPION}", "RunId": "other"} if champion else None,
            "ChampionTest": f"{PREFIX}/{asked}/",
            "TuningJobName": tuning,
        }
        return app.handler(event, lambda_context)

    return call


def labels(aws, *values, part=0):
    aws.put(f"runs/{RUN}/labels/part-{part:05}.csv", "".join(f"{value}\n" for value in values))
    told(aws, "test", *(100 * part + number for number in range(1, len(values) + 1)), part=part)


def told(aws, name, *hashes, run=RUN, part=0):
    aws.put(f"runs/{run}/rows/v1/{name}/part-{part:05}.u64", np.array(hashes, "<u8").tobytes())


def reported_rows(aws, run, train=0, **told_by):
    report = {"identity": "one", "champion_identity": "", "sets": {"train": train, "validation": 0, "test": 10}}
    aws.put(f"runs/{run}/report/report.json", json.dumps({**report, **told_by}))


def seen(aws, *hashes):
    """The list of rows that the model in service has seen, all of them."""
    told(aws, "seen", *hashes, run=CHAMPION)
    reported_rows(aws, CHAMPION, train=len(hashes))


def predicted(aws, *scores, model="candidate", part=0):
    body = "".join(json.dumps({"score": score}) + "\n" for score in scores)
    aws.put(f"runs/{RUN}/predictions/{model}/part-{part:05}.jsonl.out", body)


def test_what_was_saved_where_the_machine_might_have_been_taken_away_is_recorded(app, aws, answers, query):
    body = {"TrainingJobName": "t", "EnableManagedSpotTraining": True}
    seconds = {"TrainingTimeInSeconds": 500, "BillableTimeInSeconds": 100}
    listed = [{"MetricName": "validation:rmse", "Value": 2.5}]
    labels(aws, *LABELS)
    predicted(aws, *LABELS)
    runs.put({"run_id": RUN, "status": "Running"})
    went = (*("Starting", "Training", "Interrupted") * 2, "Starting", "Training", "Completed")
    body["SecondaryStatusTransitions"] = [{"Status": status, "StartTime": 1_764_400_000} for status in went]
    answers("sagemaker", "DescribeTrainingJob", (200, {**body, **seconds, "FinalMetricDataList": listed}))
    query()
    spot = runs.get(RUN)["spot"]
    assert (spot["training_seconds"], spot["billable_seconds"], spot["interruptions"]) == (500, 100, 2)


@pytest.mark.parametrize(("threshold", "left"), [(3.0, 205), (0.5, None)], ids=["accepted", "rejected"])
def test_a_candidate_that_may_serve_leaves_the_records_by_which_its_endpoint_is_verified(aws, query, threshold, left):
    """The first of them: 5 are asked, of which a definition may refuse 200."""
    from perennial_aws import objects, verification

    truth = [float(number) for number in range(300)]
    labels(aws, *truth)
    predicted(aws, *[value + 1 for value in truth])
    aws.put(f"runs/{RUN}/test/part-00000.jsonl", "".join(json.dumps({"x": value}) + "\n" for value in truth))
    query(threshold=threshold)
    assert bool(objects.keys(f"{PREFIX}/verification/")) == bool(left)
    for folder in ("test", "predictions/candidate") if left else ():
        (key,) = objects.keys(f"{PREFIX}/{folder}/")
        aws.client("s3").delete_object(Bucket=BUCKET, Key=key)
    if left:
        expected = [(json.dumps({"x": value}), value + 1) for value in truth[:left]]
        assert list(verification.known(PREFIX)) == expected


def test_the_first_candidate_needs_only_the_threshold(aws, query):
    labels(aws, *LABELS)
    predicted(aws, *[label + 3 for label in LABELS])
    result = query(threshold=3.0)
    assert result["Candidate"] == pytest.approx(3.0)
    assert (result["MeetsThreshold"], result["BeatsChampion"], result["Accepted"]) == (True, None, True)
    assert result["Champion"] is None
    assert result["ChampionInterval"] is None
    assert result["TrainingMetrics"] == {"train:rmse": 1.5, "validation:rmse": 2.5}


def test_a_candidate_over_the_threshold_is_rejected_with_the_numbers(aws, query):
    labels(aws, *LABELS)
    predicted(aws, *[label + 3.01 for label in LABELS])
    result = query(threshold=3.0)
    assert result["Accepted"] is False
    assert result["MeetsThreshold"] is False
    assert "3.01" in result["Reason"]


def test_a_candidate_that_is_worse_than_the_model_in_service_is_rejected(aws, query):
    labels(aws, *LABELS)
    predicted(aws, *[label + 2 for label in LABELS])
    predicted(aws, *[label + 1 for label in LABELS], model="champion")
    result = query(champion=True)
    assert (result["Candidate"], result["Champion"]) == (pytest.approx(2.0), pytest.approx(1.0))
    assert (result["MeetsThreshold"], result["BeatsChampion"], result["Accepted"]) == (True, False, False)


def test_parts_are_put_together_in_order(aws, query):
    labels(aws, 10, 20)
    labels(aws, 30, part=1)
    predicted(aws, 10, 20)
    predicted(aws, 33, part=1)
    assert query()["Candidate"] == pytest.approx(math.sqrt(3))


def test_the_interval_contains_the_metric_and_is_the_same_again(aws, query):
    labels(aws, *LABELS)
    predicted(aws, 11, 18, 33, 36)
    first, second = query(), query()
    low, high = first["CandidateInterval"]
    assert low <= first["Candidate"] <= high
    assert first == second


@pytest.mark.parametrize("score", [None, float("nan"), float("inf")])
def test_a_score_that_is_no_number_rejects_the_candidate_and_says_so(aws, query, score):
    labels(aws, *LABELS)
    predicted(aws, 10, score, 30, 40)
    result = query()
    assert (result["Accepted"], result["Candidate"]) == (False, None)
    assert "1 of 4 scores are not finite numbers; the first is " in result["Reason"]
    assert result["Reason"].endswith(", for the record in line 2 of test/part-00000.jsonl in the run's folder")


def test_where_no_model_has_a_score_it_is_said_once_and_by_part(aws, query):
    labels(aws, *LABELS)
    labels(aws, *LABELS, part=1)
    for model in ("candidate", "champion"):
        predicted(aws, *LABELS, model=model)
        predicted(aws, 10, 20, float("inf"), None, model=model, part=1)
    reason = query(champion=True)["Reason"]
    assert (
        "2 of 8 scores are not finite numbers; the first is inf, for the record in line 3 of test/part-00001" in reason
    )
    assert reason.count("not finite") == 1


def test_an_auc_of_one_class_is_no_measurement(aws, query):
    labels(aws, 1, 1)
    predicted(aws, 0.4, 0.6)
    result = query(problem="binary_classification", metric="auc", direction="maximize", threshold=0.5)
    assert (result["Accepted"], result["Candidate"]) == (False, None)
    assert "both classes" in result["Reason"]


def test_a_champion_that_cannot_be_measured_leaves_the_threshold(aws, query):
    labels(aws, *LABELS)
    predicted(aws, *LABELS)
    predicted(aws, None, None, None, None, model="champion")
    result = query(champion=True)
    assert (result["Accepted"], result["BeatsChampion"], result["Champion"]) == (True, None, None)
    assert result["Reason"].endswith("the model in service could not be measured (its rmse is nan)")


@pytest.mark.parametrize("score", [None, float("inf"), 1e200])
def test_one_row_that_the_model_in_service_cannot_score_does_not_switch_the_comparison_off(aws, query, score):
    labels(aws, *range(10))
    told(aws, "test", *range(1, 11), run=CHAMPION)
    predicted(aws, *[label + 2 for label in range(10)])
    predicted(aws, *[label + 1 for label in range(9)], score, model="champion")
    result = query(champion=True)
    assert (result["Accepted"], result["BeatsChampion"], result["Champion"]) == (False, False, pytest.approx(1.0))
    assert result["Reason"].startswith(
        "rmse 2 is worse than the 1 of the model in service on the 9 test rows that it was"
    )
    assert "no score that can be measured for 1 of the 10 test rows that it has not seen" in result["Reason"]


def test_a_missing_training_metric_fails_naming_it_and_those_that_came(aws, app, query, reported):
    labels(aws, *LABELS)
    predicted(aws, *LABELS)
    reported(train_rmse=1.0)
    with pytest.raises(app.MetricMissingError, match="no metric validation:rmse; it reported train:rmse"):
        query()


def test_a_training_metric_that_is_no_number_is_a_missing_one(aws, app, query, reported):
    labels(aws, *LABELS)
    predicted(aws, *LABELS)
    reported(validation_rmse=math.nan)
    with pytest.raises(app.MetricMissingError, match="no metric validation:rmse; it reported validation:rmse nan"):
        query()


def test_metrics_that_were_not_collected_do_not_stop_the_gate_which_measures_itself(aws, query, reported):
    labels(aws, *LABELS)
    predicted(aws, *LABELS)
    reported()
    result = query()
    assert (result["Accepted"], result["TrainingMetrics"]) == (True, {})


def test_metrics_are_read_by_name_in_whatever_order_they_come(aws, query, reported):
    labels(aws, *LABELS)
    predicted(aws, *LABELS)
    reported(zzz=0.0, validation_rmse=7.0, aaa=1.0)
    assert query()["TrainingMetrics"]["validation:rmse"] == 7.0


@pytest.mark.parametrize("count", [3, 5])
def test_predictions_that_are_not_one_for_each_row_are_refused(aws, query, count):
    labels(aws, *LABELS)
    predicted(aws, *[1.0] * count)
    with pytest.raises(PredictionsError, match=f"{count} predictions for 4 test rows"):
        query()


def test_a_missing_part_of_the_predictions_is_named(aws, query):
    labels(aws, *LABELS)
    labels(aws, *LABELS, part=1)
    predicted(aws, *LABELS)
    with pytest.raises(PredictionsError, match=r"part-00001\.jsonl\.out is missing"):
        query()


def test_a_line_that_is_no_prediction_is_shown(aws, query):
    labels(aws, 10)
    aws.put(f"runs/{RUN}/predictions/candidate/part-00000.jsonl.out", "<html>busy</html>\n")
    with pytest.raises(PredictionsError, match="line 1: got '<html>busy"):
        query()


def test_the_baseline_gets_plain_decimals(aws, query):
    labels(aws, 1e-7, 12345678901.5)
    predicted(aws, 2e-7, 1.0)
    query()
    assert aws.get(f"runs/{RUN}/evaluation/predictions.csv").splitlines() == [
        "prediction,label",
        "0.0000002,0.0000001",
        "1,12345678901.5",
    ]


def test_the_baseline_of_a_classification_has_labels_and_probabilities(aws, query):
    labels(aws, 0, 1)
    predicted(aws, 0.25, 0.75)
    query(problem="binary_classification", metric="auc", direction="maximize", threshold=0.5)
    assert aws.get(f"runs/{RUN}/evaluation/predictions.csv").splitlines() == [
        "prediction,label,probability",
        "0,0,0.25",
        "1,1,0.75",
    ]


def test_a_linear_learner_answer_with_its_label_is_understood(aws, query):
    labels(aws, 0, 1)
    body = '{"score":0.25,"predicted_label":0}\n{"score":0.75,"predicted_label":1}\n'
    aws.put(f"runs/{RUN}/predictions/candidate/part-00000.jsonl.out", body)
    result = query(problem="binary_classification", metric="auc", direction="maximize", threshold=0.5)
    assert result["Candidate"] == 1.0


def test_the_evaluation_and_the_record_hold_both_models_and_the_verdict(aws, query):
    from perennial_aws import runs

    labels(aws, *LABELS)
    predicted(aws, *[label + 1 for label in LABELS])
    predicted(aws, *[label + 2 for label in LABELS], model="champion")
    query(champion=True)
    evaluation = aws.get_json(f"runs/{RUN}/evaluation/evaluation.json")
    assert evaluation["metrics"]["test_rows"] == 4
    assert evaluation["metrics"]["candidate"]["mae"] == pytest.approx(1.0)
    assert evaluation["metrics"]["champion"]["mae"] == pytest.approx(2.0)
    assert evaluation["metrics"]["difference_interval"] == [pytest.approx(-1.0), pytest.approx(-1.0)]
    assert evaluation["gate"]["accepted"] is True
    record = runs.get(RUN)
    assert record is not None
    assert record["gate"]["reason"] == evaluation["gate"]["reason"]
    assert record["metrics"]["test_rows"] == 4


def test_what_could_not_be_measured_is_null_in_strict_json(aws, query):
    labels(aws, 5.0, 5.0)
    predicted(aws, 5.0, 6.0)
    query()
    text = aws.get(f"runs/{RUN}/evaluation/evaluation.json")
    assert "NaN" not in text
    assert json.loads(text)["metrics"]["candidate"]["r2"] is None


# ---- Metrics of the model itself

OWN = """
import numpy as np

def bias(actual, predicted):
    return np.mean(predicted - actual)

def broken(actual, predicted):
    return actual.missing

def broken_for_2(actual, predicted):
    return np.mean(predicted - actual) / (predicted[0] - actual[0] != 2)

def raises_for_2(actual, predicted):
    return 1 / int(predicted[0] - actual[0] != 2)
"""


@pytest.fixture
def own(aws, app, tmp_path, monkeypatch):
    """Let the stack's model bring these metrics, all of which are better when they are smaller."""
    for name in ("processing", "perennial"):
        (tmp_path / name).symlink_to(app.own_metrics.FOLDER / name)
    (tmp_path / "models/used-cars").mkdir(parents=True)
    (tmp_path / "models/used-cars/metrics.py").write_text(OWN)
    monkeypatch.setattr(app.own_metrics, "FOLDER", tmp_path)
    names = ("bias", "broken", "broken_for_2", "raises_for_2")
    metrics = dict.fromkeys(names, "minimize")
    config = {"training_metrics": ["validation:rmse"], "definition": {**DEFINITION, "metrics": metrics}}
    aws.put(f"runs/{RUN}/config.json", json.dumps(config))


def test_a_models_own_metrics_are_measured_and_one_that_fails_says_so_and_stops_nothing(aws, query, own):
    labels(aws, *LABELS)
    predicted(aws, *[label + 1 for label in LABELS])
    predicted(aws, *[label + 2 for label in LABELS], model="champion")
    assert query(champion=True)["Accepted"] is True
    metrics = aws.get_json(f"runs/{RUN}/evaluation/evaluation.json")["metrics"]
    assert (metrics["candidate"]["bias"], metrics["champion"]["bias"]) == (1.0, 2.0)
    assert metrics["candidate"]["rmse"] == 1.0
    assert metrics["candidate"]["broken"] is None
    assert metrics["failed"]["broken"].startswith("metrics.py, line 8: AttributeError: ")


@pytest.mark.parametrize(("offset", "accepted"), [(1, True), (3, False)])
def test_a_metric_of_the_model_itself_may_gate(aws, query, own, offset, accepted):
    labels(aws, *LABELS)
    predicted(aws, *[label + offset for label in LABELS])
    predicted(aws, *[label + 2 for label in LABELS], model="champion")
    result = query(champion=True, metric="bias", threshold=5.0)
    assert (result["Candidate"], result["Champion"], result["Accepted"]) == (offset, 2.0, accepted)
    assert result["CandidateInterval"] == [offset, offset]


def test_a_gate_whose_own_metric_fails_accepts_nothing_and_says_where(aws, query, own):
    labels(aws, *LABELS)
    predicted(aws, *LABELS)
    result = query(metric="broken")
    assert (result["Accepted"], result["Candidate"]) == (False, None)
    assert "broken of the candidate could not be measured" in result["Reason"]
    assert "metrics.py, line 8: AttributeError" in result["Reason"]


@pytest.mark.parametrize("metric", ["broken_for_2", "raises_for_2"])
def test_a_function_that_fails_for_the_model_in_service_leaves_no_threshold_to_decide_alone(aws, query, own, metric):
    labels(aws, *LABELS)
    predicted(aws, *[label + 1 for label in LABELS])
    predicted(aws, *[label + 2 for label in LABELS], model="champion")
    result = query(champion=True, metric=metric)
    assert (result["Accepted"], result["Candidate"]) == (False, None)
    assert "metrics.py, line 1" in result["Reason"]


# ---- Which rows compare


@pytest.fixture
def two_models(aws):
    """Ten test rows; the candidate is off by 1 everywhere, the model in service by 2."""
    labels(aws, *range(10))
    predicted(aws, *[label + 1 for label in range(10)])
    predicted(aws, *[label + 2 for label in range(10)], model="champion")


def test_rows_that_the_model_in_service_has_seen_are_not_compared_on(aws, query, two_models):
    predicted(aws, *[label if label < 6 else label + 2 for label in range(10)], model="champion")
    seen(aws, *range(1, 7), 1_000)  # the six that it knows by heart
    result = query(champion=True)
    assert (result["Candidate"], result["Champion"]) == (pytest.approx(1.0), pytest.approx(2.0))
    assert (result["BeatsChampion"], result["Accepted"]) == (True, True)
    comparison = aws.get_json(f"runs/{RUN}/evaluation/evaluation.json")["metrics"]["comparison"]
    assert (comparison["rows"], comparison["unseen"]["rows"], comparison["new"]["rows"]) == (10, 4, 4)


def test_too_few_rows_that_it_has_not_seen_are_no_fair_comparison(aws, query, two_models):
    seen(aws, *range(1, 9))
    result = query(champion=True, minimum=3)
    assert (result["Accepted"], result["BeatsChampion"]) == (False, None)
    assert "it has not seen 2 of the 10 test rows, and 3 are needed" in result["Reason"]


def test_new_rows_do_not_outvote_those_that_the_model_in_service_was_tested_on(aws, query, two_models):
    told(aws, "test", *range(1, 5), run=CHAMPION)
    predicted(aws, *[label if label < 4 else label + 9 for label in range(10)], model="champion")
    result = query(champion=True)
    assert (result["BeatsChampion"], result["Accepted"]) == (True, False)
    assert result["Reason"].startswith("rmse 1 is worse than the 0 of the model in service on the 4 test rows that it")
    gate = aws.get_json(f"runs/{RUN}/evaluation/evaluation.json")["gate"]
    assert (gate["brief"], gate["worse_on_known"]) == ("worse on known rows (rmse 1, in service 0)", True)
    comparison = aws.get_json(f"runs/{RUN}/evaluation/evaluation.json")["metrics"]["comparison"]
    assert (comparison["known"]["rows"], comparison["new"]["rows"]) == (4, 6)


def test_a_row_with_another_target_is_not_known(aws, query, two_models):
    """The same rows again in another file, with other targets: only those that say what they said are known."""
    told(aws, "test", *range(1, 6), run=CHAMPION)
    told(aws, "target", *range(101, 106), run=CHAMPION)
    told(aws, "test", *range(1, 6), *range(1, 6))
    told(aws, "target", *range(101, 106), *range(201, 206))
    predicted(aws, *[label if label < 5 else label + 9 for label in range(10)], model="champion")
    result = query(champion=True)
    assert result["Reason"].startswith("rmse 1 is worse than the 0 of the model in service on the 5 test rows that it")
    comparison = aws.get_json(f"runs/{RUN}/evaluation/evaluation.json")["metrics"]["comparison"]
    assert (comparison["known"]["rows"], comparison["changed"]["rows"], comparison["new"]["rows"]) == (5, 5, 0)
    assert (comparison["changed"]["candidate"], comparison["changed"]["champion"]) == (
        pytest.approx(1),
        pytest.approx(9),
    )


@pytest.fixture
def other_targets(aws, two_models):
    """Each test row came again under its key with another target, by which the model in service is off by 9."""
    told(aws, "test", *range(1, 11), run=CHAMPION)
    told(aws, "target", *range(101, 111), run=CHAMPION)
    told(aws, "target", *range(201, 211))
    predicted(aws, *[label + 9 for label in range(10)], model="champion")
    evaluation = {"metrics": {"candidate": {"rmse": 1.75}}}
    aws.put(f"runs/{CHAMPION}/evaluation/evaluation.json", json.dumps(evaluation))


def test_a_model_in_service_is_not_measured_by_targets_that_it_was_not_accepted_for(aws, query, other_targets):
    result = query(champion=True)
    assert (result["Accepted"], result["BeatsChampion"]) == (False, None)
    assert (
        "no fair comparison with the model in service is possible: 10 of the 10 test rows that it was tested on have "
        "other targets now: its rmse is 9 there, when accepted 1.75; so it stays in service" in result["Reason"]
    )
    gate = aws.get_json(f"runs/{RUN}/evaluation/evaluation.json")["gate"]
    assert (gate["obstacle"], gate["targets_changed"]) == ("changed", True)
    assert gate["brief"] == "targets of tested rows changed (rmse 9, was 1.75)"


@pytest.mark.parametrize("run", [RUN, CHAMPION])
def test_a_run_of_an_earlier_version_has_told_no_targets(aws, query, other_targets, run):
    aws.client("s3").delete_object(Bucket=BUCKET, Key=f"runs/{run}/rows/v1/target/part-00000.u64")
    assert query(champion=True)["Accepted"] is True
    comparison = aws.get_json(f"runs/{RUN}/evaluation/evaluation.json")["metrics"]["comparison"]
    assert (comparison["known"]["rows"], comparison["changed"]["rows"]) == (10, 0)


def test_rows_are_told_by_the_columns_of_the_model_in_service_where_those_are_others(aws, query, two_models):
    reported_rows(aws, RUN, identity="two", champion_identity="one")
    told(aws, "champion", *range(51, 58), 0, 0, 0)  # three cannot be told
    seen(aws, 51, 52, 1, 2, 3, 4)
    query(champion=True)
    comparison = aws.get_json(f"runs/{RUN}/evaluation/evaluation.json")["metrics"]["comparison"]
    assert comparison["unseen"]["rows"] == 5


def test_rows_that_cannot_be_told_are_no_rows_that_it_has_seen_and_the_reason_says_why(aws, query, two_models):
    why = {"trim is absent from their files": 800, "city is missing": 7}
    reported_rows(aws, RUN, identity="two", champion_identity="one", champion_untold=why)
    told(aws, "champion", 51, 52, *[0] * 8)
    assert (
        "it is sure not to have seen 2 of the 10 test rows, and 3 are needed (gate.minimum_unseen_rows): 8 cannot be "
        "told from rows that it has seen (trim is absent from their files; city is missing)"
    ) in query(champion=True, minimum=3)["Reason"]
    comparison = aws.get_json(f"runs/{RUN}/evaluation/evaluation.json")["metrics"]["comparison"]
    assert comparison["untold"].startswith("8 cannot be told")


def test_the_record_knows_how_many_rows_the_model_in_service_was_tested_on(aws, query, two_models):
    told(aws, "test", *range(1, 31), run=CHAMPION)
    query(champion=True)
    assert aws.get_json(f"runs/{RUN}/evaluation/evaluation.json")["metrics"]["comparison"]["tested_before"] == 30


TWINS = "have the features and the target of rows that one of the two has trained on, under other keys"


@pytest.mark.parametrize("trained_by", [RUN, CHAMPION])
@pytest.mark.parametrize(
    ("twins", "usual", "unseen"),
    [
        (6, [70, 71, 72], 4),  # most of them: the key is written otherwise
        (5, [70, 71, 72], 10),  # half of them
        (6, [501, 502, 70], 10),  # a table of few different rows: it was so when the model in service was tested
        (6, [], 10),  # an earlier version left none
    ],
)
def test_known_rows_under_other_keys_are_no_evidence_where_they_are_most_of_the_unseen(
    aws, query, two_models, trained_by, twins, usual, unseen
):
    told(aws, "rest", *range(501, 511))
    told(aws, "rest", *usual, run=CHAMPION)
    told(aws, "seen-rest", 501, 502, 900, run=CHAMPION)
    told(aws, "seen-rest", *range(501, 501 + twins), run=trained_by)
    result = query(champion=True)
    assert result["BeatsChampion"] is True
    comparison = aws.get_json(f"runs/{RUN}/evaluation/evaluation.json")["metrics"]["comparison"]
    assert (comparison["twins"], comparison["unseen"]["rows"]) == (twins, unseen)
    assert comparison["untold"] == (f"6 {TWINS}, and count as seen" if unseen == 4 else "")
    assert f"6 {TWINS}, and count as seen" in query(champion=True, minimum=5)["Reason"] or unseen == 10


def test_a_row_that_the_model_in_service_has_seen_under_its_key_is_no_twin(aws, query, two_models):
    seen(aws, *range(1, 7))
    told(aws, "rest", *range(501, 511))
    told(aws, "rest", 70, run=CHAMPION)
    told(aws, "seen-rest", *range(501, 507), run=CHAMPION)
    query(champion=True)
    comparison = aws.get_json(f"runs/{RUN}/evaluation/evaluation.json")["metrics"]["comparison"]
    assert (comparison["twins"], comparison["unseen"]["rows"]) == (0, 4)


def test_rows_that_nothing_tells_apart_are_not_compared(aws, query, two_models):
    reported_rows(aws, RUN, identity="two", champion_identity="three")
    result = query(champion=True)
    assert result["Accepted"] is False
    assert "the columns that tell rows apart are others than when it was trained" in result["Reason"]


@pytest.mark.parametrize("gone", ["config.json", "report/report.json"])
def test_a_model_in_service_that_left_no_list_of_its_rows_is_not_compared(aws, query, two_models, gone):
    aws.client("s3").delete_object(Bucket=BUCKET, Key=f"runs/{CHAMPION}/{gone}")
    assert "left no list of the rows that it has seen" in query(champion=True)["Reason"]


@pytest.mark.parametrize("there", [(), (1, 2, 3)])
def test_a_list_of_seen_rows_that_is_not_whole_is_no_list(aws, query, two_models, there):
    told(aws, "seen", *there, run=CHAMPION)
    reported_rows(aws, CHAMPION, train=4)
    result = query(champion=True)
    assert result["Accepted"] is False
    assert f"its run left {len(there)} of the 4 hashes of the rows that it has seen" in result["Reason"]


def defined(aws, run, **columns):
    definition = {**DEFINITION, "columns": {**DEFINITION["columns"], **columns}}
    aws.put(f"runs/{run}/config.json", json.dumps({"training_metrics": ["validation:rmse"], "definition": definition}))


def test_a_model_that_came_into_service_meanwhile_and_reads_other_columns_is_not_compared(aws, query, two_models):
    defined(aws, CHAMPION, z={"type": "float"})
    reported_rows(aws, RUN, champion_identity="one")
    told(aws, "champion", *range(51, 61))
    assert "reads other columns than the run's test records" in query(champion=True)["Reason"]
    assert query(champion=True, asked="rows/champion-test")["BeatsChampion"] is True


@pytest.mark.parametrize(
    ("counted", "compares"),
    [({"rows": 800, "other": 0}, True), ({"rows": 800, "other": 1}, False), ({"rows": 0, "other": 0}, False),
     (None, False)],
)  # fmt: skip
def test_whether_another_reading_of_the_target_is_another_target_is_told_by_its_values(
    aws, query, two_models, counted, compares
):
    defined(aws, CHAMPION, y={"type": "float", "parse": {"missing": ["POA"]}})
    reported_rows(aws, RUN, champion_target=counted)
    result = query(champion=True)
    assert (result["BeatsChampion"] is True) == compares, result["Reason"]
    assert ("another target" in result["Reason"]) == (not compares)


def test_a_model_in_service_of_another_target_is_not_compared(aws, query, two_models):
    columns = {**DEFINITION["columns"], "y": {"type": "float", "unit": "EUR"}}
    config = {"definition": {**DEFINITION, "columns": columns}}
    aws.put(f"runs/{CHAMPION}/config.json", json.dumps(config))
    assert "another target, or the same one in another unit" in query(champion=True)["Reason"]


def test_a_model_that_was_split_by_other_groups_is_not_compared(aws, query, two_models):
    split = {**SPLIT, "method": "group", "column": "seller"}
    aws.put(
        f"runs/{RUN}/config.json", json.dumps({"training_metrics": [], "definition": {**DEFINITION, "split": split}})
    )
    assert "it was not split by the same groups (seller)" in query(champion=True)["Reason"]


def test_hashes_that_are_not_one_for_each_test_row_are_refused(aws, query, two_models):
    told(aws, "test", 1, 2, 3)
    with pytest.raises(PredictionsError, match="3 hashes for 10 test rows"):
        query(champion=True)


def test_the_record_holds_the_metric_with_which_the_model_in_service_was_accepted(aws, query, two_models):
    evaluation = {"metrics": {"candidate": {"rmse": 1.75, "mae": 1.0}}}
    aws.put(f"runs/{CHAMPION}/evaluation/evaluation.json", json.dumps(evaluation))
    query(champion=True)
    assert aws.get_json(f"runs/{RUN}/evaluation/evaluation.json")["metrics"]["champion_when_accepted"] == 1.75


# ---- Classes

SPECIES = {
    "problem": "multiclass_classification",
    "target": "species",
    "columns": {"species": {"type": "string", "categories": ["cat", "dog, small", "horse"]}, "x": {"type": "float"}},
    "split": SPLIT,
}
OF_CLASSES = {"problem": "multiclass_classification", "metric": "accuracy", "direction": "maximize", "threshold": 0.5}
RIGHT, WRONG = [[0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.1, 0.2, 0.7], [0.6, 0.2, 0.2]], [[0.2, 0.3, 0.5]] * 4


def classes(aws, definition=SPECIES, before=SPECIES):
    """Four rows of three classes, and both runs' definitions."""
    for run, document in ((RUN, definition), (CHAMPION, before)):
        aws.put(f"runs/{run}/config.json", json.dumps({"training_metrics": [], "definition": document}))
    labels(aws, 0, 1, 2, 1)
    predicted(aws, *RIGHT)


def test_classes_are_measured_by_the_probability_of_each_and_told_by_their_names(aws, query):
    classes(aws)
    result = query(**OF_CLASSES)
    assert (result["Candidate"], result["Accepted"]) == (0.75, True)
    lines = aws.get(f"runs/{RUN}/evaluation/predictions.csv").splitlines()
    assert lines[0] == "prediction,label,probability_0,probability_1,probability_2"
    assert lines[2] == '"dog, small","dog, small",0.2,0.7,0.1'
    assert lines[4] == 'cat,"dog, small",0.6,0.2,0.2'
    measured = json.loads(aws.get(f"runs/{RUN}/evaluation/evaluation.json"))["metrics"]
    assert measured["constant"] == 0.5  # the most frequent class is that of two of four
    assert set(measured["candidate"]) == {
        "accuracy", "logloss", "weighted_f1", "weighted_f0_5", "weighted_f2", "weighted_precision", "weighted_recall",
    }  # fmt: skip


def test_the_best_constant_answer_of_a_log_loss_is_the_share_of_each_class(aws, query):
    classes(aws)
    query(**{**OF_CLASSES, "metric": "logloss", "direction": "minimize", "threshold": 2.0})
    measured = json.loads(aws.get(f"runs/{RUN}/evaluation/evaluation.json"))["metrics"]
    assert measured["constant"] == pytest.approx(1.5 * math.log(2))


def test_a_model_in_service_that_tells_the_same_classes_is_compared(aws, query):
    classes(aws)
    seen(aws)
    told(aws, "test", 1, 2, 3, 4, run=CHAMPION)
    predicted(aws, *WRONG, model="champion")
    result = query(**OF_CLASSES, champion=True)
    assert (result["Candidate"], result["Champion"], result["BeatsChampion"]) == (0.75, 0.25, True)


@pytest.mark.parametrize(
    ("before", "answered", "why"),
    [
        (
            {**SPECIES, "columns": {**SPECIES["columns"], "species": {"type": "string", "categories": ["cat", "dog"]}}},
            [[0.5, 0.5]] * 4,
            "its target has other classes",
        ),
        (DEFINITION, [1.0] * 4, "it predicts another target"),
    ],
)
def test_a_model_in_service_that_tells_others_is_not_and_what_it_answers_breaks_nothing(
    aws, query, before, answered, why
):
    classes(aws, before=before)
    seen(aws)
    told(aws, "test", 1, 2, 3, 4, run=CHAMPION)
    predicted(aws, *answered, model="champion")
    result = query(**OF_CLASSES, champion=True)
    assert (result["Champion"], result["Accepted"]) == (None, False)
    assert why in result["Reason"]


def test_a_probability_that_is_no_number_is_named_by_its_record(aws, query):
    classes(aws)
    predicted(aws, *RIGHT[:2], [0.5, math.nan, 0.5], RIGHT[3])
    result = query(**OF_CLASSES)
    assert (result["Candidate"], result["Accepted"]) == (None, False)
    assert "1 of 4 scores are not finite numbers" in result["Reason"]
    assert "line 3 of test/part-00000.jsonl" in result["Reason"]


def test_parts_of_different_numbers_of_classes_are_no_predictions(aws, query):
    classes(aws)
    labels(aws, 0, part=1)
    predicted(aws, [0.5, 0.5], part=1)
    with pytest.raises(PredictionsError, match="parts have different numbers of scores a row"):
        query(**OF_CLASSES)


def test_what_was_tried_is_recorded_with_the_run(aws, query, answers, app, reported, lambda_context):
    labels(aws, *LABELS)
    predicted(aws, *[label + 3 for label in LABELS])
    objective = {"Type": "Minimize", "MetricName": "validation:rmse"}
    config = {"Strategy": "Random", "HyperParameterTuningJobObjective": objective}
    answers("sagemaker", "DescribeHyperParameterTuningJob", (200, {"HyperParameterTuningJobConfig": config}))
    final = {"MetricName": "validation:rmse", "Value": 2.5}
    best = f"{STACK}-{RUN}-train-0"
    pages = [
        {"TrainingJobSummaries": [{"TrainingJobName": "other", "TrainingJobStatus": "Failed"}], "NextToken": "more"},
        {"TrainingJobSummaries": [
            {"TrainingJobName": best, "TrainingJobStatus": "Completed", "TunedHyperParameters": {"eta": "0.1"},
             "FinalHyperParameterTuningJobObjectiveMetric": final}
        ]},
    ]  # fmt: skip
    answers("sagemaker", "ListTrainingJobsForHyperParameterTuningJob", *((200, page) for page in pages))
    query(tuning="0a1b2c3d-r-t0")
    recorded = runs.get(RUN)["tuning"]
    assert (recorded["job"], recorded["best"], recorded["strategy"]) == ("0a1b2c3d-r-t0", best, "Random")
    assert [(one["name"], one["value"]) for one in recorded["trials"]] == [(best, 2.5), ("other", None)]


ODD = {"where": {"x": {"values": [1]}}, "threshold": None, "maximum_regression": 0.0}


@pytest.fixture
def sliced(aws, two_models):
    """The even rows are better than those of the model in service; the odd ones, of one slice, are worse."""
    definition = {**DEFINITION, "gate": {"slices": {"odd": ODD, "none": {**ODD, "threshold": 1.5}}}}
    aws.put(f"runs/{RUN}/config.json", json.dumps({"training_metrics": ["validation:rmse"], "definition": definition}))
    predicted(aws, *[label + (4 if label % 2 else 1) for label in range(10)])
    predicted(aws, *[label + (2 if label % 2 else 9) for label in range(10)], model="champion")
    told(aws, "slices", *[2 if label % 2 else 0 for label in range(10)])  # none is the first by name


def test_a_slice_that_got_worse_rejects_a_candidate_that_is_better_on_the_whole(aws, query, sliced):
    result = query(threshold=9.0, champion=True)
    assert (result["MeetsThreshold"], result["BeatsChampion"], result["Accepted"]) == (True, True, False)
    assert result["Reason"].startswith("rmse 4 is worse than the 2 of the model in service on the 5 test rows of slice")
    document = aws.get_json(f"runs/{RUN}/evaluation/evaluation.json")
    assert (document["gate"]["obstacle"], document["gate"]["accepted"]) == ("slice", False)
    none, odd = document["metrics"]["slices"]
    assert (odd["name"], odd["rows"], odd["candidate"], odd["failed"]) == ("odd", 5, 4.0, True)
    assert (odd["compared"]["candidate"], odd["compared"]["champion"]) == (4.0, 2.0)
    assert (none["rows"], none["candidate"], none["failed"]) == (0, None, False)
    assert runs.get(RUN)["metrics"]["slices"] == document["metrics"]["slices"]


def test_rows_of_a_slice_that_the_model_in_service_has_seen_do_not_compare(aws, query, sliced):
    seen(aws, *range(2, 11, 2))
    result = query(threshold=9.0, champion=True)
    assert result["Accepted"] is True
    _, odd = aws.get_json(f"runs/{RUN}/evaluation/evaluation.json")["metrics"]["slices"]
    assert "slice odd is not compared: the model in service has not seen 0 of its 5 test rows" in odd["reason"]


def test_the_first_model_has_only_the_thresholds_of_slices(aws, query, sliced):
    assert query(threshold=9.0)["Accepted"] is True
    told(aws, "slices", *[1 if label % 2 else 0 for label in range(10)])
    result = query(threshold=9.0)
    assert result["Accepted"] is False
    assert "rmse 4 on the 5 test rows of slice none misses at most 1.5 (gate.slices.none.threshold)" in result["Reason"]


def test_a_gate_of_slices_without_the_list_of_their_rows_decides_nothing(aws, query, sliced):
    told(aws, "slices", 1, 0)
    with pytest.raises(PredictionsError, match="2 entries for 10 test rows"):
        query(threshold=9.0)


def test_nothing_is_asked_for_twice(aws, query, answers):
    labels(aws, *LABELS)
    predicted(aws, *LABELS)
    predicted(aws, *LABELS, model="champion")
    seen(aws, 9)
    requests = [answers("s3", operation, None) for operation in ("GetObject", "ListObjectsV2")]
    query(champion=True)
    read, listed = ([request.url for request in each] for each in requests)
    assert len(read) == len(set(read)) > 8
    assert len(listed) == len(set(listed))
    assert not [url for url in listed if "json" in url]  # S3 says itself that there is none


# ---- Forecasts

MONTHLY = {
    "problem": "forecasting",
    "target": "y",
    "columns": {"shop": {"type": "string", "feature": False}, "y": {"type": "float"}},
    "split": {**SPLIT, "method": "time", "column": "month", "key": ["shop", "month"]},
    "series": {"key": "shop", "time": "month", "frequency": "M", "prediction_length": 3},
}
MONTHLY["columns"]["month"] = {"type": "timestamp", "feature": False}


def forecast(*values):
    quantiles = {f"0.{tenth}": [value + tenth - 5 for value in values] for tenth in range(1, 10)}
    return json.dumps({"mean": list(values), "quantiles": quantiles}) + "\n"


@pytest.fixture
def judge_series(aws, app, reported, query):
    """Judge forecasts of two series, three months each; the seasonal-naive one is wrong by 10 everywhere."""

    def judge(error, champion=None, seen=(), of_champion=MONTHLY, **more):
        definitions = {RUN: MONTHLY, CHAMPION: of_champion}
        for run, document in definitions.items():
            names = ["test:RMSE"]
            aws.put(f"runs/{run}/config.json", json.dumps({"training_metrics": names, "definition": document}))
        reported(test_RMSE=5.0)
        points = [(0, 1, 100), (0, 2, 110), (0, 3, 120), (1, 1, 200), (1, 2, 210)]  # of the last nobody knows a value
        rows = "".join(f"{line},{step},{label},{label - 10}\n" for line, step, label in points)
        aws.put(f"runs/{RUN}/labels/part-00000.csv", rows)
        told(aws, "test", *range(1, 6))
        told(aws, "seen", *seen, run=CHAMPION)
        reported_rows(aws, CHAMPION, train=len(seen))
        for model, wrong in (("candidate", error), ("champion", champion)):
            if wrong is not None:
                body = forecast(*(value + wrong for value in (100, 110, 120))) + forecast(
                    *(value + wrong for value in (200, 210, 220))
                )
                aws.put(f"runs/{RUN}/predictions/{model}/part-00000.jsonl.out", body)
        given = {"threshold": 0.2, "metric": "mean_wql", "problem": "forecasting", "champion": champion is not None}
        return query(**given, **more)

    return judge


def test_a_forecast_is_judged_by_its_loss_against_threshold_and_last_season(aws, judge_series):
    from perennial_aws import objects

    result = judge_series(error=0)
    # of each point the quantiles are 4 below to 4 above what came true: twice the losses, of 0.1 to 0.9 their mean
    losses = [
        2 * tenth / 10 * (5 - tenth) if tenth < 5 else 2 * (1 - tenth / 10) * (tenth - 5) for tenth in range(1, 10)
    ]
    assert result["Candidate"] == pytest.approx(5 * np.mean(losses) / 740)
    assert result["Accepted"] is True
    assert "is better than the seasonal-naive forecast's 0.0675676" in result["Reason"]
    evaluation = objects.read_json(f"{PREFIX}/evaluation/evaluation.json")["metrics"]
    assert evaluation["naive"] == pytest.approx(50 / 740)
    assert (evaluation["test_rows"], evaluation["candidate"]["rmse"]) == (5, 0)


def test_a_forecast_that_last_season_again_is_as_good_as_does_not_serve(judge_series):
    result = judge_series(error=12)
    assert (result["MeetsThreshold"], result["Accepted"]) == (True, False)
    assert result["Reason"].startswith("mean_wql 0.0720721 is not better than the seasonal-naive forecast's 0.0675676")


@pytest.mark.parametrize(("error", "accepted"), [(1, True), (4, False)], ids=["better", "worse"])
def test_the_model_in_service_is_judged_again_on_the_same_months(judge_series, error, accepted):
    result = judge_series(error=error, champion=2)
    assert (result["BeatsChampion"], result["Accepted"]) == (accepted, accepted)
    assert result["Champion"] is not None


def test_months_that_the_model_in_service_has_learned_compare_nothing(judge_series):
    result = judge_series(error=1, champion=2, seen=[1, 2, 3, 4])
    assert (result["BeatsChampion"], result["Accepted"]) == (None, False)
    assert "no fair comparison with the model in service is possible" in result["Reason"]


def test_a_model_that_forecasts_fewer_months_is_not_compared(judge_series):
    before = {**MONTHLY, "series": {**MONTHLY["series"], "prediction_length": 2}}
    result = judge_series(error=1, champion=2, of_champion=before)
    assert "it forecasts by another frequency, another number of periods ahead" in result["Reason"]
