"""The message of a run: short, safe, the reason first, and something to do."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as some

from perennial.evaluation.gate import TWINS
from perennial.runs import advice, cause, message, strays
from perennial.runs.advice import Outcome

PART = {"rows": 0, "candidate": None, "champion": None, "difference": None}
COMPARED = {
    "rows": 161,
    "unseen": {"rows": 150, "candidate": 2300.0, "champion": 2400.0, "difference": [-180.0, 12.0]},
    "known": {"rows": 120, "candidate": 2310.0, "champion": 2320.0, "difference": [-90.0, 60.0]},
    "new": {"rows": 30, "candidate": 2250.0, "champion": 2900.0, "difference": None},
    "unfair": "",
}
RECORD = {
    "run_id": "20261120093440-1a2b",
    "stack": "perennial-used-cars",
    "model": "used-cars",
    "bucket": "cars",
    "status": "Succeeded",
    "execution": {
        "arn": "arn:aws:states:eu-west-1:123456789012:execution:m:one",
        "started_at": "2026-11-20T09:34:40.000Z",
        "ended_at": "2026-11-20T10:36:02.000Z",
        "duration_seconds": 3682.0,
    },
    "input": {"Trigger": {"Type": "DataDrop", "Object": {"key": "raw/cars.csv"}}},
    "data": {"file_count": 3, "prefix": "raw/", "ignored": [{"Key": "raw/"}]},
    "configuration": {
        "definition": {
            "target": "price",
            "problem": "regression",
            "columns": {"price": {"unit": "USD"}},
            "gate": {"metric": "rmse"},
            "split": {"method": "time"},
        },
    },
    "champion": {"ModelName": "cars-20261101000000-aaaa"},
    "gate": {
        "metric": "rmse",
        "direction": "minimize",
        "threshold": 3500.0,
        "candidate": 2345.678,
        "champion": 2400.0,
        "reason": "rmse 2,345.68 meets the threshold (at most 3,500) and is no worse than the model in service (2,400)",
    },
    "metrics": {
        "test_rows": 161,
        "candidate_interval": [2000.0, 2700.0],
        "champion_interval": [2100.0, 2800.0],
        "comparison": COMPARED,
    },
    "failure": None,
    "deployed": {"endpoint": "perennial-used-cars", "model": "cars-20261120093440-1a2b"},
}


def compose(**changes):
    return message.compose({**RECORD, **changes}, region="eu-west-1")


def failed(error="States.TaskFailed", text="it broke", state="Train", status="Failed", **more):
    return compose(
        status=status, failure={"error": error, "cause": text, "state": state}, deployed=None, **{"gate": None, **more}
    )


def test_a_success_reads_as_one():
    assert compose().body == (
        "Model in service: rmse 2,345.68 meets the threshold (at most 3,500) and is no worse than the model in service "
        "(2,400)\n"
        "\n"
        "Run           20261120093440-1a2b\n"
        "Model         used-cars (stack perennial-used-cars)\n"
        "Input says    DataDrop (raw/cars.csv); who started it: CloudTrail, event StartExecution\n"
        "Ended         2026-11-20T10:36:02.000Z, after 1 h 1 min 22 s\n"
        "Data          3 files under 'raw/', 1 ignored\n"
        "rmse          2,345.68 USD on all 161 test rows (95 % interval 2,000 to 2,700)\n"
        "Threshold     at most 3,500 USD\n"
        "Test rows     161, of which the model in service has not seen 150 (120 known, 30 new)\n"
        "Unseen rows   2,300 USD, model in service 2,400 USD; "
        "difference -180 to 12 USD (95 % interval): within chance\n"
        "Known rows    2,310 USD, model in service 2,320 USD; "
        "difference -90 to 60 USD (95 % interval): within chance\n"
        "New rows      2,250 USD, model in service 2,900 USD\n"
        "Endpoint      perennial-used-cars serves cars-20261120093440-1a2b\n"
        "\n"
        "Execution  https://eu-west-1.console.aws.amazon.com/states/home?region=eu-west-1#/v2/executions/details/"
        "arn:aws:states:eu-west-1:123456789012:execution:m:one\n"
        "Record     s3://cars/runs/20261120093440-1a2b/run.json\n"
    )


def test_what_the_best_constant_answer_reaches_stands_below_the_threshold():
    body = compose(metrics={**RECORD["metrics"], "constant": 0.4375}).body
    assert "\nThreshold     at most 3,500 USD\nBest constant 0.4375 USD, of always the same answer\n" in body


def test_a_mail_says_what_the_run_has_cost(monkeypatch):
    monkeypatch.setattr("perennial.runs.costs.line", lambda record: f"at most 1 USD for {record['run_id']}")
    assert "\nCost          at most 1 USD for 20261120093440-1a2b\n" in compose().body


def test_what_spot_instances_save_is_told():
    spot = {"job": "cars-train-0", "training_seconds": 500, "billable_seconds": 100}
    assert "\nSpot          100 of 500 s of training are billed: 80% saved\n" in compose(spot=spot).body
    told = "\nSpot          100 of 500 s of training are billed: 80% saved; interrupted once, and begun anew\n"
    assert told in compose(spot={**spot, "interruptions": 1}).body


def test_that_a_job_was_made_again_for_want_of_a_machine_is_told_but_not_of_the_one_that_the_run_failed_with():
    jobs = [
        {"name": f"perennial-used-cars-20261120093440-1a2b-train-{number}", "status": "Failed", "reason": reason}
        for number, reason in enumerate(
            ("CapacityError: no ml.m5.large", "InternalServerError: sorry", "ClientError: no")
        )
    ]
    trial = {"name": "0a1b2c3d-20261120093440-1a2b-t0-001-0f0444b1", "status": "Failed", "reason": "CapacityError: no"}
    jobs.append(trial)
    first = "\nWaited        job train-0 was made again: CapacityError: no ml.m5.large\n"
    second = "\nWaited        job train-1 was made again: InternalServerError: sorry\n"
    body = compose(jobs=jobs).body
    assert first in body
    assert second in body
    assert body.count("was made again") == 2
    last = {"TrainingJobName": jobs[1]["name"], "FailureReason": jobs[1]["reason"]}
    failed = compose(jobs=jobs, status="Failed", failure={"error": "States.TaskFailed", "cause": json.dumps(last)}).body
    assert first in failed
    assert second not in failed


def test_that_a_run_has_waited_for_machines_is_told_and_other_retries_are_not():
    busy = {"times": 3, "errors": ["SageMaker.ResourceLimitExceededException"]}
    body = compose(retries={"Train": busy, "Clean up": {"times": 1, "errors": ["Lambda.ServiceException"]}}).body
    why = "tried again 3 times, after SageMaker.ResourceLimitExceededException"
    assert f"\nWaited        in state 'Train', {why}\n" in body
    assert "Clean up" not in body


def test_where_the_api_is_stands_among_the_links_of_a_deployment():
    url = "https://a1b2.execute-api.eu-west-1.amazonaws.com/v1"
    assert f"\nAPI        {url}/predictions\nExecution  " in compose(api=url).body
    assert "\nAPI " not in compose(api="").body + compose(api=url, deployed=None).body


def test_when_the_endpoint_sleeps_and_what_that_saves_is_said():
    about = {"hours": "07:00-19:00 Europe/Berlin MON,TUE,WED,THU,FRI clock"}
    text = "\nSleeps        outside of 07:00-19:00 Europe/Berlin on MON, TUE, WED, THU, FRI"
    assert f"{text}\n" in compose(**about).body, "in a region whose prices are not known"
    configuration = copy.deepcopy(RECORD["configuration"])
    configuration["definition"]["instances"] = {"endpoint": {"type": "ml.m5.large", "count": 2}}
    execution = {**RECORD["execution"], "arn": RECORD["execution"]["arn"].replace("eu-west-1", "us-east-1")}
    body = compose(**about, configuration=configuration, execution=execution).body
    assert f"{text}; that saves 106.69 USD a month\n" in body
    assert "Sleeps" not in compose(hours=" UTC MON clock").body


def test_slices_say_what_they_answered_those_that_failed_first():
    slices = [
        {"name": "buick", "failed": False, "reason": "rmse 1 is better"},
        {"name": "saab", "failed": True, "reason": "rmse 9 is worse"},
    ]
    body = compose(metrics={**RECORD["metrics"], "slices": slices}).body
    assert "\nSlice saab    rmse 9 is worse\nSlice buick   rmse 1 is better\n" in body


def test_empty_objects_are_named_and_what_is_no_data_is_counted():
    ignored = [{"Key": f"raw/{n}.csv", "Reason": "an empty object"} for n in range(5)]
    data = {"file_count": 1, "prefix": "raw/", "ignored": [{"Key": "raw/_SUCCESS", "Reason": "hidden"}, *ignored]}
    body = compose(data=data).body
    assert "Data          1 file under 'raw/', 6 ignored\n" in body
    assert "Empty         raw/0.csv, raw/1.csv, raw/2.csv and 2 more: 0 bytes, ignored\n" in body
    assert "_SUCCESS" not in body


def test_a_rejection_has_metric_threshold_previous_best_and_what_still_serves():
    gate = {**RECORD["gate"], "candidate": 3600.0, "reason": "rmse 3,600 misses the threshold (at most 3,500)"}
    body = failed("ModelAccuracyTooLow", "rmse 3,600", status="Rejected", gate=gate).body
    assert body.startswith("Candidate rejected: rmse 3,600 misses the threshold (at most 3,500)\n")
    for expected in (
        "3,600 USD",
        "at most 3,500 USD",
        "2,400 USD",
        "cars-20261101000000-aaaa (as before)",
        "lower the bar",
    ):
        assert expected in body


MOVED = {"column": "mileage", "distance": 0.314, "chance": 0.1, "before": "median 19,800", "after": "median 31,000"}


DRIFT = {"rows": 200, "moved": [], "distances": {}, "uncounted": []}


def test_columns_that_are_not_compared_are_told():
    body = compose(drift={**DRIFT, "uncounted": ["vin", "title"]}).body
    assert "no column has moved (vin, title: too many different texts to be compared)\n" in body


def test_the_rows_and_both_models_on_both_parts_of_the_test_set_are_told():
    metrics = {**RECORD["metrics"], "champion_when_accepted": 2183.5}
    rows = {"read": 2007, "used": 2004, "quarantined": 3, "repeated": 1200, "trained_again": 780}
    body = compose(metrics=metrics, rows=rows, drift={**DRIFT, "moved": [MOVED] * 5}).body
    moved = "mileage by 0.31 (median 19,800 -> median 31,000)"
    for line in (
        "Rows          804 different ones in the sets: 2,007 read, 3 quarantined, 1,200 repeat others "
        "(780 of them train again)\n",
        "Drift         200 rows that no known file has, against the data of the model in service: "
        f"{moved}; {moved}; {moved}; 2 more\n",
        "When accepted model in service 2,183.5 USD, on its own test rows\n",
    ):
        assert line in body


def test_a_difference_that_is_no_chance_and_parts_without_rows():
    compared = {**COMPARED, "unseen": {**COMPARED["unseen"], "difference": [-180.0, -12.0]}, "new": PART}
    body = compose(metrics={"comparison": compared}, drift=DRIFT).body
    assert "; difference -180 to -12 USD (95 % interval): more than chance on these rows\n" in body
    assert "New rows" not in body
    assert "no column has moved\n" in body


@pytest.mark.parametrize(
    ("obstacle", "says"),
    [
        ("threshold", "lower the bar"),
        ("champion", "lower the bar"),
        ("unfair", "Drop more data, of which a part tests, or let the threshold decide: set gate.without_comparison"),
        ("chance", "the test rows do not tell the two apart"),
    ],
)
def test_a_rejection_says_what_helps_against_what_it_failed_at(obstacle, says):
    gate = {**RECORD["gate"], "obstacle": obstacle}
    assert says in failed("ModelAccuracyTooLow", "rmse 3,600", status="Rejected", gate=gate).body


def test_a_run_may_let_the_threshold_decide_where_the_definition_lets_it():
    definition = {**RECORD["configuration"]["definition"], "deployable_overrides": ["gate.without_comparison"]}
    gate, configuration = {**RECORD["gate"], "obstacle": "unfair"}, {"definition": definition}
    body = failed("ModelAccuracyTooLow", "no", status="Rejected", gate=gate, configuration=configuration).body
    assert '{"Overrides": {"GateWithoutComparison": "threshold"}}' in body


WITHHELD = "its input decides data_prefix, which deployable_overrides in the model.yaml of used-cars does not list"


def test_a_run_that_only_trained_says_why_with_its_numbers_and_what_serves():
    told = compose(status="TrainedOnly", withheld=WITHHELD, deployed=None)
    assert told.subject.startswith("Trained only: its input decides data_prefix")
    first, *rest = told.body.splitlines()
    assert first.startswith(f"Trained only: {WITHHELD}. It passed the gate: rmse 2,345.68 meets")
    for line in ("rmse          2,345.68 USD", "In service    cars-20261101000000-aaaa (as before)"):
        assert any(found.startswith(line) for found in rest)
    assert "under the stack's own prefix" in told.body.partition("What to do")[2]


@pytest.mark.parametrize(
    ("trigger", "says"),
    [
        ({"Type": "Schedule", "By": "ada"}, "Schedule (by ada)"),
        ({"Type": "DataDrop", "Object": {"key": "raw/a.csv"}}, "DataDrop (raw/a.csv)"),
        ({"Object": "raw/a.csv", "Id": 7}, "Manual (7)"),
        (5, "Manual"),
    ],
)
def test_what_an_input_says_started_it_is_told_as_that(trigger, says):
    assert (
        f"Input says    {says}; who started it: CloudTrail, event StartEx" in compose(input={"Trigger": trigger}).body
    )


def test_a_subject_of_a_model_in_service_has_its_metric_and_that_of_the_one_before():
    assert compose().subject == "Model in service: rmse 2,300 USD, before 2,400 [perennial-used-cars]"
    alone = {"gate": {**RECORD["gate"], "champion": None}, "metrics": {"comparison": None}}
    assert compose(champion=None, **alone).subject == "Model in service: rmse 2,345.68 USD [perennial-used-cars]"
    assert compose(**alone).subject == "Model in service: rmse 2,345.68 USD, not compared [perennial-used-cars]"


# ---- What is news


def aside(*keys, **more):
    return [{"Key": key, "VersionId": "v", "Reason": "column 'price' is missing", **more} for key in keys]


def rejected(obstacle, brief="worse (rmse 132.4, in service 130.2)", **changes):
    gate = {**RECORD["gate"], "obstacle": obstacle, "brief": brief, **changes.pop("gate", {})}
    return failed("ModelAccuracyTooLow", "no", status="Rejected", gate=gate, **changes)


def dropped(*aside, **data):
    return {
        "data": {**RECORD["data"], "aside": [*aside], **data},
        "input": {"Trigger": {"Object": {"key": "raw/utf16.txt"}}},
    }


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (
            {"FailureReason": "AlgorithmError: eta is out of range, exit code: 1"},
            "AlgorithmError: eta is out of range,",
        ),
        ({"TrainingJobStatus": "Stopped"}, "its job was stopped ["),
    ],
)
def test_the_subject_of_a_run_whose_job_failed_has_the_reason_not_the_jobs_name(end, said):
    job = {"TrainingJobName": "perennial-used-cars-20261120093440-1a2b-train", **end}
    mail = compose(status="Failed", failure={"error": "States.TaskFailed", "cause": json.dumps(job), "state": "Train"})
    assert mail.subject.startswith(f"Run failed: in state 'Train': {said}")
    assert "perennial-used-cars-20261120093440-1a2b-train" in mail.body


def test_a_rejection_has_its_cause_in_the_subject():
    assert rejected("champion").subject == (
        "Candidate rejected: worse (rmse 132.4, in service 130.2) [perennial-used-cars]"
    )


def test_a_dropped_file_that_was_put_aside_comes_first_in_subject_and_first_line():
    mail = rejected("champion", **dropped(*aside("raw/utf16.txt")))
    assert mail.subject == (
        "1 file put aside: raw/utf16.txt. Candidate rejected: worse (rmse 132.4, in... [perennial-used-cars]"
    )
    assert mail.body.startswith("1 file put aside: raw/utf16.txt. Candidate rejected: rmse 2,345.68 meets")


def test_of_several_files_that_were_put_aside_the_dropped_one_is_named_and_a_long_key_keeps_its_end():
    key = f"raw/{'folder/' * 20}cars.csv"
    strays = [*aside("raw/a.csv", key), *aside("raw/old.csv", KnownSince="20261101000000-aaaa")]
    mail = compose(**{**dropped(*strays), "input": {"Trigger": {"Object": {"key": key}}}})
    assert mail.subject.startswith("2 files put aside: ...lder/folder/folder/cars.csv and 1 more. Model in ser")
    assert mail.body.startswith(f"2 files put aside: {key} and 1 more. Model in service: ")


@pytest.mark.parametrize(
    "data",
    [
        dropped(*aside("raw/utf16.txt", KnownSince="20261101000000-aaaa")),
        dropped(ignored=[{"Key": "raw/utf16.txt", "Reason": "put aside by run 20261101000000-aaaa: no"}]),
    ],
    ids=["by this run too", "by another run"],
)
def test_a_dropped_file_that_another_run_has_put_aside_is_news_of_the_run_that_it_started(data):
    assert compose(**data).subject.startswith("1 file put aside: raw/utf16.txt. Model in service: ")


def test_a_failure_whose_reason_is_the_file_says_so_once():
    problems = ["raw/utf16.txt: column 'price' is missing"]
    told = {"error": "States.TaskFailed", "cause": "x", "state": "Preprocess", "problems": problems}
    mail = compose(status="Failed", failure=told, deployed=None, gate=None, **dropped(*aside("raw/utf16.txt")))
    assert mail.subject.startswith("Run failed: in state 'Preprocess': raw/utf16.txt: column")


DRIFTED = {"drift": {"rows": 350, "moved": [MOVED], "distances": {}}}
WORSE = {"gate": {**RECORD["gate"], "worse_on_known": True}}
DIFFERS = "The new files are not like the data of the model in service: mileage (Drift, below)."


def test_a_model_in_service_that_is_worse_on_known_rows_or_learned_unlike_files_does_not_read_as_an_improvement():
    mail = compose(**DRIFTED, **WORSE)
    assert mail.subject == (
        "Model in service: worse on known rows (2,310, before 2,320); new files dif... [perennial-used-cars]"
    )
    assert mail.body.splitlines()[1] == DIFFERS
    assert "What to do\n  Look at the files that came last" in mail.body
    assert "go back to the previous model" in mail.body
    assert compose(**DRIFTED).subject == (
        "Model in service: new files differ: mileage; rmse 2,300 USD, before 2,400 [perennial-used-cars]"
    )


AGAIN = {"gone_back_from": "20261101000000-aaaa"}


def test_data_of_a_model_that_was_gone_back_from_are_news():
    mail = compose(**AGAIN)
    assert mail.subject.startswith("Model in service: data of a model that was gone back from; rmse 2,300")
    assert mail.body.splitlines()[1] == (
        "Somebody has gone back from the model of run 20261101000000-aaaa, and all files of that run are here again."
    )
    assert "go back to the previous model" in mail.body


@pytest.mark.parametrize("obstacle", ["threshold", "champion", "chance", "known"])
@pytest.mark.parametrize("doubt", [DRIFTED, WORSE, {**DRIFTED, **WORSE}], ids=["drift", "known rows", "both"])
def test_data_in_doubt_are_looked_at_before_a_gate_is_lowered(obstacle, doubt):
    body = rejected(obstacle, **doubt).body
    assert "What to do\n  Look at the files that came last before anything else" in body
    assert "gate." not in body.partition("What to do")[2]
    assert "lower the bar" not in body
    assert (DIFFERS in body) == ("drift" in doubt)


KNOWN_DATA = {"new_files": {"files": 0, "rows": 0, "quarantined": 0}}


@pytest.mark.parametrize(
    ("since", "says"),
    [
        (
            {"definition": ["algorithm"]},
            "; the configuration has changed (algorithm). Put that back, improve the model, or lower",
        ),
        ({"gone": {"files": 2, "rows": 500}, "rows": 9}, "; 2 files of that model are gone. Put that back"),
        ({}, "; nor has the configuration changed. Improve the model or lower the bar in model.yaml (gate)"),
    ],
)
@pytest.mark.parametrize("obstacle", ["threshold", "champion", "known"])
def test_without_new_files_nobody_is_sent_to_look_at_them(obstacle, since, says):
    body = rejected(obstacle, **KNOWN_DATA, since=since, gate={"worse_on_known": True}).body
    assert f"What to do\n  No data are new since the model in service was trained{says}" in body
    assert "files that came last" not in body
    assert "data that came last" not in body


def test_a_changed_definition_is_the_cause_and_not_a_copy_that_lies_there():
    body = rejected("known", new_files=NEW, since={"definition": ["split.seed"]}, gate={"worse_on_known": True}).body
    assert "No data are new since the model in service was trained; the configuration has changed (split.seed)." in body
    assert "Take the new files away" not in body


@pytest.mark.parametrize("files", [0, 1])
@pytest.mark.parametrize("obstacle", ["known", "champion"])
def test_a_model_of_data_that_are_gone_may_be_gone_back_from(obstacle, files):
    """It has learned what was wrong, so that no candidate of the right data reaches it."""
    changes = {"new_files": {"files": files, "rows": 0, "quarantined": 0}, "gate": {"worse_on_known": True}}
    gone = {"gone": {"files": 2, "rows": 500}, "rows": 900}
    assert ("go back to the model before it" in rejected(obstacle, since=gone, **changes).body) == (obstacle == "known")
    assert "go back to the model" not in rejected(obstacle, since={**gone, "gone": {"files": 0}}, **changes).body


def test_rows_that_are_dated_after_the_run_are_the_news():
    mail = compose(late={"column": "sold_on", "rows": 4824, "latest": "2099-01-01T00:00:00"})
    assert mail.subject.startswith("Model in service: 4,824 rows dated after the run; ")
    assert mail.body.splitlines()[1].startswith(
        "4,824 rows are dated after this run (sold_on, the latest 2099-01-01T00:00:00): a split by time tests on them"
    )
    assert "What to do\n  Look at the files that came last" in mail.body


def test_rows_that_are_dated_after_the_run_do_not_move_its_window():
    definition = {**RECORD["configuration"]["definition"], "split": {"method": "random"}}
    late = {"column": "sold_on", "rows": 2, "latest": "2099-01-01T00:00:00"}
    body = compose(late=late, configuration={"definition": definition}).body
    assert "the latest 2099-01-01T00:00:00): training.window does not count back from them." in body


def test_a_value_of_a_series_that_nobody_can_know_yet_is_the_news():
    definition = {**RECORD["configuration"]["definition"], "series": {"key": "shop"}}
    late = {"column": "month", "rows": 1, "latest": "2099-01-01T00:00:00"}
    body = compose(late=late, configuration={"definition": definition}).body
    assert "1 row is dated after this run (month, the latest 2099-01-01T00:00:00): in no set" in body


def test_rows_that_are_too_old_to_train_are_counted():
    window = {"column": "sold_on", "days": 365, "ends": "2026-11-28T00:00:00", "rows": 1200}
    rows = {"read": 2007, "used": 2004, "older": 1200, "quarantined": 3, "repeated": 0}
    body = compose(training_window=window, rows=rows).body
    period = "365 days back from the newest sold_on, 2026-11-28"
    assert f"\nLeft out      1,200 rows from before (training.window: {period})\n" in body
    assert "Rows          804 different ones in the sets: 2,007 read, 3 quarantined, 0 repeat others, 1,200 too" in body


def test_points_of_series_that_are_in_no_set_are_counted_apart():
    body = compose(rows={"read": 904, "used": 904, "in_no_set": 3, "quarantined": 0, "repeated": 0}).body
    counts = "904 read, 0 quarantined, 0 repeat others, 3 in no set (no value, none before it, or later than the run)"
    assert f"\nRows          901 different ones in the sets: {counts}\n" in body


def test_of_files_that_could_not_be_read_no_row_is_said_to_be_in_a_set():
    nothing = {"read": 0, "used": 0, "quarantined": 0, "repeated": 0}
    assert "Rows          none could be read\n" in compose(status="Failed", rows=nothing, deployed=None).body


def test_files_that_are_too_old_to_train_are_counted():
    reason = "left out by training.window: older than the newest 12 files"
    ignored = [{"Key": f"raw/{number}.csv", "Reason": reason} for number in range(5)]
    since = {"rows": 900, "gone": {"files": 0, "rows": 0}, "older": {"files": 2, "rows": 300}}
    body = compose(data={"file_count": 12, "prefix": "raw/", "ignored": ignored}, since=since).body
    assert "\nLeft out      5 files older than the newest 12 files (training.window)\n" in body
    assert "left out by training.window: 2 files, 300 rows" in body


def test_a_metric_of_the_model_itself_that_failed_is_said_by_name_and_line():
    failed = {"gain": "metrics.py, line 7: ZeroDivisionError: division by zero"}
    body = compose(metrics={**RECORD["metrics"], "failed": failed}).body
    assert "\nNot measured  gain: metrics.py, line 7: ZeroDivisionError: division by zero\n" in body


def test_metrics_of_the_model_itself_are_in_one_line_of_both_models():
    definition = {**RECORD["configuration"]["definition"], "metrics": {"gain": "maximize", "close": "maximize"}}
    values = {"candidate": {"gain": 1234.5, "close": 0.25}, "champion": {"gain": 1100.0}}
    body = compose(configuration={"definition": definition}, metrics={**RECORD["metrics"], **values}).body
    assert "\nOwn metrics   gain 1,234.5 (model in service 1,100); close 0.25\n" in body
    assert "Own metrics" not in compose(metrics={**RECORD["metrics"], **values}).body


def test_the_gate_may_be_asked_for_a_metric_of_the_model_itself():
    definition = {**RECORD["configuration"]["definition"], "gate": {"metric": "gain"}, "metrics": {"gain": "maximize"}}
    gate = {**RECORD["gate"], "metric": "gain", "direction": "maximize"}
    body = compose(configuration={"definition": definition}, gate=gate).body
    assert "\nThreshold     at least 3,500\n" in body


@pytest.mark.parametrize("left_out", [{"training_window": {"rows": 9}}, {"since": {"older": {"files": 1}}}])
def test_a_bound_whose_known_rows_the_window_leaves_out_says_so(left_out):
    compared = {**COMPARED, "known": {**COMPARED["known"], "rows": 0}, "tested_before": 160}
    gate = {**RECORD["gate"], "maximum_regression": 0.25, "minimum_unseen_rows": 20}
    body = compose(gate=gate, metrics={**RECORD["metrics"], "comparison": compared}, **left_out).body
    assert "was tested on 0 test now: training.window leaves older ones out." in body


@pytest.mark.parametrize("champion", [RECORD["champion"], None])
@pytest.mark.parametrize("state", ["Create endpoint", "Update endpoint"])
def test_a_model_in_service_that_did_not_serve_is_told(champion, state):
    body = compose(champion=champion, durations_seconds={state: 1.0}).body
    assert ("There was no endpoint when this run deployed" in body) == (state.startswith("Create") and bool(champion))


@pytest.mark.parametrize("end", ["\u2028", "\u2029"])
def test_what_only_looks_like_a_blank_in_a_name_is_escaped(end):
    assert cause.safe(f"cars{end}new.csv\n", 99) == f"cars\\u{ord(end):x}new.csv"


@pytest.mark.parametrize("method", ["time", "random"])
@pytest.mark.parametrize(
    ("before", "known", "bound", "unfair", "is_told"),
    [
        (160, 0, 0.25, "", True),
        (160, 20, 0.25, "", False),  # enough
        (10, 0, 0.25, "", False),  # never enough
        (160, 0, None, "", False),
        (160, 0, 0.25, "why", False),
    ],
)
def test_a_bound_on_known_rows_that_none_are_left_for_is_told(method, before, known, bound, unfair, is_told):
    compared = {**COMPARED, "known": {**COMPARED["known"], "rows": known}, "tested_before": before, "unfair": unfair}
    gate = {**RECORD["gate"], "maximum_regression": bound, "minimum_unseen_rows": 20}
    configuration = copy.deepcopy(RECORD["configuration"])
    configuration["definition"]["split"] = {"method": method}
    body = compose(gate=gate, metrics={**RECORD["metrics"], "comparison": compared}, configuration=configuration).body
    line = (
        "The bound on known rows (gate.maximum_regression) did not bind: of the 160 rows that the model in service was "
    )
    assert (line in body) == is_told
    assert ("pushed them into training (split.method: time)" in body) == (is_told and method == "time")


@pytest.mark.parametrize("counted", [True, False])
def test_known_rows_under_other_keys_are_told(counted):
    text = f"40 {TWINS}, and count as seen" if counted else ""
    body = compose(metrics={**RECORD["metrics"], "comparison": {**COMPARED, "twins": 40, "untold": text}}).body
    assert (f"; {text}\n" if counted else f"; 40 that it has not seen {TWINS}\n") in body
    assert body.count(TWINS) == 1
    assert ("Most test rows that nobody has seen are known ones under other keys" in body) == counted


def test_a_model_that_came_into_service_worse_on_known_rows_without_new_files_says_what_changed():
    body = compose(**WORSE, **KNOWN_DATA, since={"definition": ["algorithm"]}).body
    assert "the configuration has changed (algorithm). If the model should not be worse on known rows, go back" in body


OTHER_TARGETS = {
    "rows": 161,
    "unseen": COMPARED["unseen"],
    "known": PART,
    "changed": {"rows": 120, "candidate": 0.83, "champion": 0.155, "difference": [0.6, 0.7]},
    "new": COMPARED["new"],
    "unscored": 3,
    "unfair": "",
}


def test_rows_with_other_targets_are_told_with_both_models_and_looked_at_first():
    told = {"metrics": {**RECORD["metrics"], "comparison": OTHER_TARGETS}}
    mail = rejected(
        "changed", "targets of tested rows changed (auc 0.155, was 0.845)", gate={"targets_changed": True}, **told
    )
    assert mail.subject == (
        "Candidate rejected: targets of tested rows changed (auc 0.155, was 0.845) [perennial-used-cars]"
    )
    assert (
        "Test rows     161, of which the model in service has not seen 150 (0 known, 120 with another target now, 30 "
        "new); for 3 more it has no score that can be measured\n" in mail.body
    )
    assert "Changed rows  0.83 USD, model in service 0.155 USD; difference 0.6 to 0.7 USD" in mail.body
    assert "What to do\n  Look at the files that came last before anything else: rows that the model in" in mail.body
    assert "the threshold can decide: set gate.without_comparison" in mail.body
    served = compose(gate={**RECORD["gate"], "targets_changed": True}, **told)
    assert served.subject.startswith("Model in service: 120 tested rows have other targets now; rmse 2,345.68 US")
    assert "go back to the previous model" in served.body


def test_a_known_obstacle_is_told_once_and_the_doubt_with_it():
    mail = rejected("known", "worse on known rows (rmse 192, in service 138)", **DRIFTED, gate={"worse_on_known": True})
    assert mail.subject == (
        "Candidate rejected: worse on known rows (rmse 192, in service 138); new fi... [perennial-used-cars]"
    )


# ---- Since the model in service was trained

LOST = {"name": "raw/a.csv", "rows": 3361, "reason": "not UTF-8: byte b'\\xeb' (line 2)"}
SINCE = {"rows": 4861, "gone": {"files": 2, "rows": 500}, "unreadable": [LOST], "definition": ["files.encoding"]}


def test_rows_of_the_model_in_service_that_cannot_be_read_now_come_first():
    mail = compose(since=SINCE, **dropped(*aside("raw/a.csv")))
    assert mail.subject == (
        "3,361 of 4,861 rows unreadable: raw/a.csv. Model in service: rmse 2,300 US... [perennial-used-cars]"
    )
    assert mail.body.startswith(
        "1 file that the model in service was trained on cannot be read now: 3,361 of 4,861 rows are missing "
        "(raw/a.csv). Model in service: rmse"
    )


def test_the_rows_before_and_what_changed_in_the_definition_have_a_line():
    keys, replaced = [f"columns.c{number}" for number in range(12)], {"files": 1, "rows": 1000}
    body = compose(since={**SINCE, "definition": keys, "replaced": replaced}).body
    assert (
        "\nRows before   4,861 used by the model in service; not among this run's data: 2 files, 500 rows; "
        "replaced by other content: 1 file, 1,000 rows; cannot be read now: 1 file, 3,361 rows\n"
    ) in body
    assert "\nChanged since the model in service was trained: columns.c0, columns.c1, " in body
    assert "columns.c9 and 2 more (model.yaml)\n" in body
    quiet = compose(since={"rows": 9, "gone": {"files": 0, "rows": 0}, "unreadable": [], "definition": []}).body
    assert "Rows before   9 used by the model in service\n" in quiet
    assert "Changed since" not in quiet


def test_what_changed_is_of_the_run_that_had_set_it_and_not_of_model_yaml():
    before, now = "the run's input, Overrides", "the stack's parameters"
    keys = ["split.seed", "tuning.jobs", "hyperparameters.xgboost.eta.min"]
    configuration = {**RECORD["configuration"], "sources": {"tuning.jobs": now, "hyperparameters.xgboost.et": before}}
    since = {"rows": 0, "definition": keys, "sources": {"hyperparameters.xgboost.eta.min": before}}
    assert (
        "\nChanged since the model in service was trained: split.seed (model.yaml); tuning.jobs (the stack's "
        "parameters); hyperparameters.xgboost.eta.min (the run's input, Overrides, then)\n"
    ) in compose(since=since, configuration=configuration).body


def test_rows_that_are_all_of_one_part_are_told_once():
    part = COMPARED["known"] | {"rows": 150}
    empty = {"rows": 0, "candidate": None, "champion": None, "difference": None}
    body = compose(
        metrics={**RECORD["metrics"], "comparison": {**COMPARED, "unseen": part, "known": part, "new": empty}}
    )
    assert "not seen 150 (150 known, 0 new)\nUnseen rows " in body.body
    assert "Known rows" not in body.body


@pytest.mark.parametrize(
    ("counts", "said"),
    [({"Completed": 8, "Failed": 2}, "best of 10 trials, 2 failed"), ({"Completed": 1}, "best of 1 trial")],
)
@pytest.mark.parametrize("status", ["Succeeded", "Rejected"])
def test_the_subject_of_a_run_that_has_tuned_says_of_how_many_trials_its_model_is_the_best(counts, said, status):
    tuning = {"strategy": "Random", "metric": "validation:rmse", "counts": counts, "trials": []}
    gate = {**RECORD["gate"], "brief": "rmse 3,600, not at most 3,500"}
    assert f"; {said} [" in compose(tuning=tuning, status=status, gate=gate, stack="s").subject


def refused(problem, **since):
    job = {"ProcessingJobName": "p", "ProcessingJobStatus": "Failed", "ExitMessage": problem}
    told = {"cause": f'State "Preprocess" failed: {json.dumps(job)}', "state": "Preprocess", "problems": [problem]}
    return compose(
        status="Failed", failure={"error": "States.TaskFailed", **told}, deployed=None, gate=None, since=since
    )


def test_a_run_that_stopped_for_them_says_so_once_and_what_to_do():
    mail = refused(f"3,361 of the 4,861 rows cannot be read any more; raw/a.csv: {LOST['reason']}", **SINCE)
    assert mail.subject.startswith("Run failed: in state 'Preprocess': 3,361 of the 4,861 rows")
    assert (
        "What to do\n  raw/a.csv could be read when the model in service was trained. model.yaml has changed since "
        "(files.encoding), which is the likely cause: put that back, or drop it again as it was. To train without its"
    ) in mail.body
    assert "Correct the data" not in mail.body
    replaced = refused(f"cannot be read any more; raw/a.csv: {LOST['reason']}", **{**SINCE, "definition": []})
    assert "trained. The file was replaced, or the code: drop it again as it was. To train" in replaced.body


def test_few_lost_rows_are_advised_on_whatever_became_of_the_run():
    assert "What to do\n  raw/a.csv could be read when" in compose(since=SINCE).body
    assert "rm). Then start a run.\n  Look at the data that came last" in rejected("threshold", since=SINCE).body


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        (["split.seed"], "model.yaml has changed since"),
        (["columns.x.max"], "model.yaml has changed since"),
        (["gate.threshold"], "Correct the data"),
        ([], "Correct the data"),
    ],
)
def test_data_are_not_blamed_for_a_definition_that_has_changed(changed, says):
    body = refused(
        "too many rows break the data contract", rows=9, gone={"files": 0, "rows": 0}, definition=changed
    ).body
    assert f"What to do\n  {says}" in body


def test_more_data_are_not_asked_for_where_they_cannot_help():
    compared = {**COMPARED, "unfair": "it was not split by the same groups (seller)"}
    body = rejected("unfair", metrics={"comparison": compared}).body
    assert "More data cannot help; the threshold can decide: set gate.without_comparison: threshold" in body
    assert "Drop more data" not in body


RULES = [
    {
        "column": "price",
        "rule": "type",
        "rows": 7,
        "expected": "a number",
        "examples": ["raw/b.csv row 3: '$4'", "raw/b.csv row 5: '$5'"],
    },
    *({"column": f"c{number}", "rule": "missing", "rows": 1, "examples": ["raw/b.csv row 9"]} for number in range(14)),
]
NEW = {
    "files": 1, "rows": 1500, "quarantined": 8, "repeated": 1492, "rules": RULES,
    "notes": [f"raw/b.csv: note {n}" for n in range(5)],
}  # fmt: skip


def test_the_broken_rows_of_new_files_are_told_by_rule_with_an_example_and_where_they_are():
    body = compose(new_files=NEW).body
    counts = "1,500 rows, of which 8 quarantined, 1,492 repeat rows of known files"
    assert f"New files     1 file, {counts}\n" in body
    keyed = compose(new_files={**NEW, "repeated": 1400, "replaced": 92}).body
    assert "1,400 repeat rows of known files, 92 replace one of the same key (split.key)\n" in keyed
    series = {"definition": {**RECORD["configuration"]["definition"], "series": {"key": "shop"}}}
    body_of_series = compose(new_files={**NEW, "replaced": 92}, configuration=series).body
    assert ", 92 replace one of the same series and time\n" in body_of_series
    assert (
        "\nRows of new files that break the data contract, not trained on; with their reasons: "
        "s3://cars/runs/20261120093440-1a2b/quarantine/\n"
        "  price breaks the rule 'type' in 7 rows: expected a number (raw/b.csv row 3: '$4')\n"
        "  c0 breaks the rule 'missing' in 1 row (raw/b.csv row 9)\n"
    ) in body
    assert (
        "  c10 breaks the rule 'missing' in 1 row (raw/b.csv row 9)\n"
        "  ... and 3 more rules; all of them: "
        "s3://cars/runs/20261120093440-1a2b/report/report.json (new_files, rules)\n"
    ) in body
    assert body.count("Note          raw/b.csv: note ") == 3


@pytest.mark.parametrize("status", ["Succeeded", "Rejected"])
def test_new_files_that_only_repeat_known_rows_are_the_news_and_to_be_taken_away(status):
    gate = {**RECORD["gate"], "brief": "worse within chance", "obstacle": "chance"}
    mail = compose(status=status, new_files=NEW, gate=gate)
    assert "new files only repeat known rows" in mail.subject
    assert "\nAll rows of the new files are rows of known files (New files, below).\n" in mail.body
    assert "Take the new files away (aws s3 rm)" in mail.body
    assert "minimum_improvement" not in mail.body
    copy = {"files": 1, "rows": 0, "quarantined": 0, "repeated": 0, "copies": 1}
    assert "only repeat" in compose(status=status, new_files=copy, gate=gate).subject
    for other in (
        {**copy, "files": 2},
        {**NEW, "replaced": 60},
        {**NEW, "repeated": 1491},
        {**NEW, "rows": 0, "quarantined": 0, "repeated": 0},
    ):
        assert "only repeat" not in compose(status=status, new_files=other, gate=gate).subject


def test_a_failure_for_the_broken_rows_says_them_once():
    told = {"error": "States.TaskFailed", "cause": "x", "state": "Preprocess", "problems": ["8 of 500 rows break"]}
    assert "with their reasons" not in compose(status="Failed", failure=told, new_files=NEW, deployed=None).body


def test_all_rows_of_the_first_run_are_new():
    body = compose(new_files=NEW, champion=None).body
    assert "\nRows that break the data contract" in body
    assert "New files" not in body


def test_a_failure_claims_nothing_about_what_serves_now():
    body = failed("EndpointVerificationError", "answers differ", "Verify endpoint").body
    assert "cars-20261101000000-aaaa (when the run began)" in body
    assert "as before" not in body


def test_the_first_model_has_no_previous_best():
    gate = {**RECORD["gate"], "champion": None}
    assert "Previous best none; this is the first model" in compose(gate=gate, champion=None).body


@pytest.mark.parametrize(("problem", "metric"), [("regression", "r2"), ("binary_classification", "auc")])
def test_only_metrics_in_the_targets_unit_have_a_unit(problem, metric):
    definition = {**RECORD["configuration"]["definition"], "problem": problem, "gate": {"metric": metric}}
    body = compose(configuration={"definition": definition}, gate={**RECORD["gate"], "metric": metric}).body
    assert "USD" not in body


@pytest.mark.parametrize(
    ("error", "state", "expected"),
    [
        ("States.TaskFailed", "Preprocess", "drop them again"),
        ("States.TaskFailed", "Train", "/aws/sagemaker/TrainingJobs"),
        ("DefinitionError", "Resolve configuration", "Correct what is named above"),
        ("StackNameError", "Resolve configuration", "Correct what is named above"),
        ("EndpointVerificationError", "Verify endpoint", "Parameter Store are still those of the previous model"),
        ("DeploymentFailed", "Deployment failed", "the previous model serves"),
        ("SageMaker.ResourceLimitExceededException", "Train", "quota"),
        ("DataVersionMissingError", "Snapshot data", "Drop it again"),
        ("Something.New", "Save model", "Open the execution"),
        ("Something.New", "Preprocess", "Open the execution"),
        ("SupersededByNewerData", None, "Nothing: the newer model serves"),
        ("BaselinesMissing", "Create baselines", "without these files"),
        ("ArtifactMissingError", "Seal model", "without the file that is named above"),
        ("ArtifactChangedError", "Seal model", "Somebody has written where only a job of the run writes"),
        ("DeploymentBusy", "Reserve deployment", "Stop it if it is stuck"),
        ("EmptyFileError", "Resolve configuration", "Upload the file again"),
        ("FileNotListedError", "Resolve configuration", "Upload the file under another name"),
    ],
)
def test_a_failure_says_what_to_do(error, state, expected):
    assert expected in failed(error, f'State "{state}" failed: it broke' if state else "it broke", state).body


def test_time_outs_and_aborts_name_the_state():
    assert failed(None, None, "Train", "TimedOut").body.startswith(
        "Run timed out: it was over its time in state 'Train'"
    )
    assert failed(None, None, "Train", "Aborted").body.startswith(
        "Run aborted: a person or a deployment stopped it in state"
    )


def test_a_run_that_never_reached_a_state_is_told_too():
    assert failed(None, None, None).body.startswith("Run failed: before its first state: no cause was given")


# ---- Subjects


@pytest.mark.parametrize("reason", ["x" * 500, "größer als 5 €", "a\nb", "\u202eevil"])
def test_a_subject_is_short_printable_ascii_on_one_line(reason):
    subject = failed(text=reason).subject
    assert len(subject) < 100
    assert subject.isascii()
    assert subject.isprintable()
    assert subject.startswith("Run failed")
    assert subject.endswith(" [perennial-used-cars]")


@given(some.text())
def test_no_cause_breaks_out_of_its_line(text):
    mail = failed(text=text)
    assert mail.subject.isprintable()
    assert len(mail.subject) < 100
    assert mail.body.count("What to do") - text.count("What to do") <= 2
    assert not any(line.startswith("Model in service") for line in mail.body.splitlines())


def test_each_problem_has_a_line_and_the_first_line_of_the_mail_has_the_first():
    body = failed(
        "ConfigurationError", "model.yaml: not valid (2 problems)\n  a: one\n  b: two", "Resolve configuration"
    ).body
    lines = body.splitlines()
    assert lines[0] == "Run failed: in state 'Resolve configuration': model.yaml: not valid (2 problems)"
    at = lines.index("Cause (ConfigurationError, state 'Resolve configuration')")
    assert lines[at + 1 : at + 5] == ["  model.yaml: not valid (2 problems)", "  a: one", "  b: two", ""]


def test_a_long_problem_goes_on_in_the_next_line():
    words = " ".join(f"word-{number}" for number in range(100))
    lines = failed(text=words).body.splitlines()
    at = lines.index("Cause (States.TaskFailed, state 'Train')")
    found = lines[at + 1 : lines.index("What to do") - 1]
    assert " ".join(line.strip() for line in found) == words
    assert [line[:5].count(" ") for line in found] == [2, 4, 4]
    assert all(len(line) <= 400 for line in found)


@pytest.mark.parametrize("key", ["raw/a.csv", "raw/a b's.csv", "raw/" + "long-name " * 90 + ".csv"])
def test_a_command_has_a_line_of_its_own_however_long_it_is(key):
    command = strays.removal("cars", key)
    text = f"{key!r} (version v) is archived and cannot be read. Restore it, or take it away: {command}\nS3 said: no"
    lines = failed("DataVersionRefusedError", text, "Resolve configuration").body.splitlines()
    assert f"    {command}" in lines
    assert lines[lines.index(f"    {command}") + 1] == "  S3 said: no"
    assert "aws s3 rm" not in lines[0]


def test_a_file_with_a_long_name_is_taken_away_by_a_whole_command():
    key = "raw/" + "long name " * 90
    body = compose(data={**RECORD["data"], "aside": aside(key)}).body
    assert f"    to take it away: {strays.removal('cars', key)}\n" in body


@pytest.mark.parametrize("key", ["raw/a  b.csv", "raw/www.x.csv", "raw/a\u202eb.csv"])
def test_a_command_that_a_mail_cannot_show_as_it_is_is_not_shown(key):
    body = compose(data={**RECORD["data"], "aside": aside(key)}).body
    assert "    to take it away: its name cannot be copied from a mail; run.json has it (data, aside)\n" in body
    assert "aws s3 rm" not in body


def test_a_mail_of_many_problems_names_the_file_that_has_them_all():
    text = "\n".join(f"problem {number}" for number in range(50))
    assert (
        "  problem 19\n  ... and 30 more; all of them: s3://cars/runs/20261120093440-1a2b/run.json"
        in failed(text=text).body
    )
    failure = {"error": "e", "cause": "short", "problems": text.split("\n"), "problems_at": "s3://cars/p.txt"}
    body = compose(status="Failed", failure=failure, deployed=None, gate=None).body
    assert body.startswith("Run failed: before its first state: problem 0\n")
    assert "  problem 19\n  ... and 30 more; all of them: s3://cars/p.txt\n" in body


# ---- Files that are put aside


def test_a_file_that_is_put_aside_is_named_once_with_the_reason_and_how_to_take_it_away():
    strays = [*aside("raw/read me.txt"), *aside("raw/old.txt", KnownSince="20261101000000-aaaa")]
    body = compose(data={**RECORD["data"], "aside": strays}).body
    assert "Data          3 files under 'raw/', 1 ignored, 2 put aside\n" in body
    assert (
        "\n1 file is put aside: not trained on, and left alone until replaced, or model.yaml changes\n"
        "  raw/read me.txt: column 'price' is missing\n"
        "    to take it away: aws s3 rm 's3://cars/raw/read me.txt'\n"
    ) in body
    assert "Put aside     raw/old.txt: before this run, not trained on\n" in body
    assert body.count("raw/old.txt") == 1


def test_every_rule_that_a_file_breaks_is_in_the_mail_that_says_it_is_put_aside():
    rules = [
        f"column_{n} breaks the rule 'type' in 50 rows: expected a number (raw/a.csv row {n}: 'x')" for n in range(9)
    ]
    body = compose(data={**RECORD["data"], "aside": aside("raw/a.csv", Reason="; ".join(rules))}).body
    lines = body.splitlines()
    start = next(at for at, line in enumerate(lines) if line.startswith("  raw/a.csv: "))
    end = next(at for at, line in enumerate(lines) if line.startswith("    to take it away"))
    assert " ".join(line.strip() for line in lines[start:end]) == f"raw/a.csv: {'; '.join(rules)}"
    assert end - start == 3


def test_a_file_in_another_bucket_than_the_stacks_is_taken_away_there():
    body = compose(data={**RECORD["data"], "bucket": "theirs", "aside": aside("raw/a.txt")}).body
    assert "    to take it away: aws s3 rm s3://theirs/raw/a.txt\n" in body


def test_what_earlier_runs_have_put_aside_is_named_until_it_is_mended():
    ignored = [{"Key": f"raw/{n}.csv", "Reason": "put aside by run 20261101000000-aaaa: no"} for n in range(5)]
    body = compose(data={**RECORD["data"], "ignored": ignored}).body
    assert "Put aside     raw/0.csv, raw/1.csv, raw/2.csv and 2 more: before this run, not trained on\n" in body


def test_the_reason_of_a_file_that_is_put_aside_is_said_once_where_it_failed_the_run():
    problems = ["raw/read me.txt: column 'price' is missing"]
    told = {"error": "States.TaskFailed", "cause": problems[0], "state": "Preprocess", "problems": problems}
    data = {**RECORD["data"], "aside": aside("raw/read me.txt")}
    body = compose(status="Failed", failure=told, data=data, deployed=None).body
    assert body.partition("\n")[2].count("column 'price' is missing") == 1
    assert "  raw/read me.txt\n    to take it away: aws s3 rm" in body


def test_of_many_files_that_are_put_aside_some_are_named():
    body = compose(data={**RECORD["data"], "aside": aside(*(f"raw/{number}" for number in range(1234)))}).body
    assert body.count("to take it away") == 5
    assert "  ... and 1,229 more; all of them: s3://cars/runs/20261120093440-1a2b/run.json (data, aside)\n" in body


# ---- Causes


def test_a_failed_jobs_own_words_are_taken_out_of_its_description():
    description = {"FailureReason": "AlgorithmError: , exit code: 1", "ExitMessage": "price: 12 rows out of range"}
    assert cause.explained(f'State "Preprocess" failed: {json.dumps(description)}') == "price: 12 rows out of range"


def test_a_mistake_in_features_is_not_blamed_on_the_data():
    job = {
        "ProcessingJobName": "p",
        "ProcessingJobStatus": "Failed",
        "ExitMessage": "features.py, line 2: KeyError: 'x'",
    }
    body = failed(text=json.dumps(job), state="Preprocess").body
    assert "features.py, line 2: KeyError: 'x'" in body
    assert "Correct features.py in the model's folder" in body
    assert "drop them again" not in body


def test_a_failed_functions_message_is_taken_out_of_its_error():
    said = {"errorMessage": "no metric x", "errorType": "MetricMissingError", "stackTrace": ["..."]}
    assert cause.explained(json.dumps(said)) == "no metric x"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, ""),
        ("", ""),
        ("plain words", "plain words"),
        ('State "Train" failed: plain words', "plain words"),
        ("braces {of a human}", "braces {of a human}"),
        ('{"TrainingJobStatus": "Stopped"}', '{"TrainingJobStatus": "Stopped"}'),
        ("[1, 2]", "[1, 2]"),
        ('State "Train" failed: {"FailureReason": "no capacity"}', "no capacity"),
    ],
)
def test_other_causes_are_passed_on(text, said):
    assert cause.explained(text) == said


def test_the_state_is_read_from_a_cause():
    assert cause.failed_state('State "Save model" failed: x') == "Save model"
    assert cause.failed_state("x") is None
    assert cause.failed_state(None) is None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a\r\nb\tc", "a b c"),
        ("\x1b[31mred\x00", "[31mred"),
        ("abc\u202edef\u200b", "abcdef"),
        ("see HTTPS://evil.example", "see HXXPS://evil.example"),
        ("ftp://x", "fxp://x"),
        ("\uff19https://evil.example", "\uff19hxxps://evil.example"),
        ("xhttp://a file://b", "xhxxp://a fxle://b"),
        ("www.evil.example", "www[.]evil.example"),
        ("s3://bucket/key", "s3://bucket/key"),
        ("x" * 50, "x" * 17 + "..."),
    ],
)
def test_text_from_data_is_made_harmless(text, kept):
    assert cause.safe(text, 20 if text.startswith("xx") else 100) == kept


@pytest.mark.parametrize("depth", ['{"a":', "["])
def test_a_cause_nested_too_deep_is_a_text(depth):
    assert cause.explained("{" + depth * 100_000).startswith("{" + depth)


def test_an_endless_state_name_takes_no_endless_line():
    body = failed(state="\uff19" * 5000).body
    assert max(map(len, body.splitlines())) <= message.MAX_LINE


@pytest.mark.parametrize(
    ("partition", "domain"),
    [
        ("aws", "eu-west-1.console.aws.amazon.com"),
        ("aws-cn", "console.amazonaws.cn"),
        ("aws-us-gov", "console.amazonaws-us-gov.com"),
    ],
)
def test_the_link_leads_to_the_console_of_the_partition(partition, domain):
    assert message.console_link("arn:x", "eu-west-1", partition).startswith(
        f"https://{domain}/states/home?region=eu-west-1#"
    )


@pytest.mark.parametrize(
    ("error", "state", "cause"),
    [
        ("SageMaker.AmazonSageMakerException", "Train", "Refused (Error Code: AccessDeniedException; Request ID: 1)"),
        ("ClientError", "Snapshot data", "An error occurred (AccessDenied) when calling the PutObject operation"),
        ("S3.S3Exception", "List baselines", "User: arn:aws:sts::1:x is not authorized to perform: s3:ListBucket"),
        ("ClientError", "Resolve configuration", "(403) when calling the HeadObject operation: Forbidden"),
        ("SageMaker.AmazonSageMakerException", "Train", "Could not assume role arn:aws:iam::1:role/x."),
        ("PermissionError", "Snapshot data", "The role defined for the function cannot be assumed by Lambda: x"),
    ],
)
def test_a_missing_permission_is_advised_on_whoever_asked(error: str, state: str, cause: str) -> None:
    assert "lacks the permission" in advice.advice(Outcome("Failed", error, state, cause))


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        ("Check deployment", "'no such key'"),
        ("Update endpoint", "Cannot update in-progress endpoint 'arn:aws:sagemaker:::endpoint/x'."),
        ("Create endpoint", 'Cannot create already existing endpoint "arn:aws:sagemaker:::endpoint/x".'),
    ],
)
def test_a_deployment_that_may_have_begun_may_serve_either_model(state: str, cause: str) -> None:
    """A call whose answer was lost is made again, and refused because it has worked."""
    assert "it may serve the new model" in advice.advice(Outcome("Failed", "SageMaker.X", state, cause))


def test_an_endpoint_that_was_refused_serves_as_before() -> None:
    refused = 'State "Update endpoint" failed: Could not find endpoint'
    assert "may serve" not in advice.advice(Outcome("Failed", "SageMaker.X", "Update endpoint", refused))


@pytest.mark.parametrize("state", ["Update endpoint", "Wait for deployment", "Verify endpoint"])
def test_a_failure_that_no_state_has_caught_may_serve_either_model(state: str) -> None:
    """The state machine names the state of every error that it catches; of others it takes nothing back."""
    assert "it may serve the new model" in advice.advice(
        advice.Outcome("Failed", "States.Runtime", state, "the output is too large")
    )
    assert "may serve" not in advice.advice(
        advice.Outcome("Failed", "States.Runtime", "Train", "the output is too large")
    )


def asked(days=7):
    """The mail about a run that waits until its version 3 is approved."""
    arn = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/perennial-used-cars/3"
    version = {"arn": arn, "number": 3, "status": "PendingManualApproval"}
    running = {name: RECORD["execution"][name] for name in ("arn", "started_at")}
    waiting = {**RECORD, "status": "AwaitsApproval", "execution": running, "deployed": None, "version": version}
    return message.ask(waiting, version, days)


def test_a_mail_that_asks_people_shows_the_metric_against_the_model_in_service_first():
    mail = asked()
    assert mail.subject == "Approval needed: rmse 2,300 USD, before 2,400 [perennial-used-cars]"
    assert mail.body.startswith("Approval needed: rmse 2,345.68 meets the threshold (at most 3,500) and is no worse ")
    assert "\nUnseen rows   2,300 USD, model in service 2,400 USD; difference" in mail.body


def test_a_mail_that_asks_people_has_three_ways_to_answer_and_what_follows():
    body = asked().body
    update = (
        "aws sagemaker update-model-package --model-package-arn arn:aws:sagemaker:eu-west-1:123456789012:model-package"
    )
    for text in (
        "https://eu-west-1.console.aws.amazon.com/sagemaker/home?region=eu-west-1: Studio, Models, group perennial",
        f"{update}/perennial-used-cars/3 --model-approval-status Approved\n",
        f"{update}/perennial-used-cars/3 --model-approval-status Rejected --approval-description 'why'\n",
        "perennial approve 3 --stack perennial-used-cars\n",
        "perennial reject 3 --stack perennial-used-cars --reason 'why'\n",
        "nobody answers within 7 days, the run ends",
    ):
        assert text in body
    assert "within 1 day," in asked(1).body


def test_a_mail_that_asks_people_names_nothing_that_is_written_when_the_run_ends():
    body = asked().body
    assert "run.json" not in body
    assert "Ended" not in body


GROUP = "arn:aws:sagemaker:eu-west-1:{}:model-package/{}"


def asked_in_prod(champion):
    """The mail about a version that was trained in dev, and has come from staging."""
    ada = "arn:aws:iam::2:user/ada"
    steps = [
        {"version": f"{GROUP.format(1, 'cars-dev')}/7", "stack": "cars-dev", "by": ada, "at": "T1"},
        {"version": f"{GROUP.format(2, 'cars-staging')}/4", "stack": "cars-staging", "at": "T2",
         "by": "arn:aws:sts::3:assumed-role/deploys-cars-prod/session"},
    ]  # fmt: skip
    version = {"arn": f"{GROUP.format(3, 'cars-prod')}/2", "number": 2, "status": "PendingManualApproval"}
    data = {**RECORD["data"], "listed_at": "2026-11-01T00:00:00.000Z"}
    here = {"stack": "cars-prod", "status": "AwaitsApproval", "version": version, "deployed": None, "data": data}
    promoted = {**RECORD, **here, "promotions": steps, "champion": champion, "report": "s3://prod/runs/1/report.html"}
    return message.ask(promoted, version, None)


def test_a_mail_that_asks_about_a_promoted_version_says_from_where_it_comes_and_by_whom():
    mail = asked_in_prod({"ModelName": "cars-prod-20261101000000-aaaa"})
    assert mail.subject == "Approval needed: rmse 2,345.68 USD, promoted from cars-staging [cars-prod]"
    assert mail.body.startswith(
        "Approval needed: assumed-role/deploys-cars-prod/session has promoted version 4 of cars-staging to cars-prod; "
        "it was trained in cars-dev, where its gate has let it pass with rmse 2,345.68 USD\n"
    )
    assert f"\nPromoted      {GROUP.format(1, 'cars-dev')}/7, by user/ada at T1\nPromoted      " in mail.body
    assert "\nData          3 files, listed in cars-dev at 2026-11-01T00:00:00.000Z\n" in mail.body
    assert "\nReport     s3://prod/runs/1/report.html\n" in mail.body
    assert "In service    nothing; this is the first model\n" in asked_in_prod(None).body


def test_a_mail_that_asks_about_a_promoted_version_says_of_this_environment_what_serves_and_nothing_else():
    body = asked_in_prod({"ModelName": "cars-prod-20261101000000-aaaa"}).body
    assert "\nIn service    cars-prod-20261101000000-aaaa (now)\n" in body
    for of_dev in ("Execution", "model in service", "before", "Input says", "Ended", "Endpoint", "cars-20261101000000"):
        assert of_dev not in body


@pytest.mark.parametrize(
    "why", ["somebody has rejected it: biased", "nobody has approved or rejected it within 7 days"]
)
def test_a_version_that_was_not_approved_says_why_and_that_the_model_in_service_stays(why):
    mail = failed("VersionRejectedError", f'State "Wait for approval" failed: version 3: {why}', status="NotApproved")
    assert mail.subject.startswith(f"Not approved: version 3: {why}"[:60])
    assert "In service    cars-20261101000000-aaaa (as before)" in mail.body
    assert "perennial approve" in mail.body
