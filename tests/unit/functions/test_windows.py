"""The functions of the monitoring flow: which window, what follows from its verdict, and who is told."""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest
from botocore.exceptions import ClientError

from perennial.model import definition
from perennial.runs.naming import run_id
from tests import dashboard
from tests.e2e.matrix.registry import matrix
from tests.unit.conftest import BUCKET, REGION, ROOT, STACK, asked_again, load_function, refusal

ARN = f"arn:aws:states:{REGION}:123456789012:execution:{STACK}-monitor-model"
NOW = datetime.now(UTC).replace(microsecond=0)
RUN, NEXT_RUN = "20261120100000-0a1b", "20261121100000-0a1b"
MODEL = definition.load(ROOT / "models" / "used-cars" / "model.yaml").as_json()


def written(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("CAPTURE_DELAY_SECONDS", "0")
    monkeypatch.setenv("DATA_TOPIC_ARN", f"arn:aws:sns:{REGION}:123456789012:alerts")
    monkeypatch.setenv("TRAINING_EXECUTIONS", f"arn:aws:states:{REGION}:123456789012:execution:{STACK}-train-model")


@pytest.fixture
def serving(aws, answers):
    """Let the endpoint serve the model of a run since a time."""

    def serve(run=RUN, since=NOW - timedelta(hours=2)):
        old = {"definition": {**MODEL, "monitoring": {"min_records": 7}}, "run_id": run}
        aws.put(f"runs/{run}/config.json", json.dumps(old))
        for name in ("data-quality/statistics", "model-quality/statistics", "attribution/analysis", "bias/analysis"):
            aws.put(f"runs/{run}/baselines/{name}.json", "{}")
        aws.put(f"runs/{run}/serving/model.tar.gz", "")
        body = {"EndpointConfigName": f"{STACK}-{run}", "LastModifiedTime": since.timestamp()}
        answers("sagemaker", "DescribeEndpoint", (200, body))

    return serve


@pytest.fixture
def resolve(aws, lambda_context):
    app = load_function("resolve_window")

    def call(name="one", **given):
        event = {"Input": given, "ExecutionArn": f"{ARN}:{name}", "StartTime": NOW.isoformat()}
        return app.handler(event, lambda_context)

    return call


@pytest.fixture
def running(answers):
    """Let executions of the monitor have this status."""

    def status(text):
        answers("stepfunctions", "DescribeExecution", (200, {"status": text, "startDate": 0, "executionArn": ARN}))

    return status


@pytest.fixture
def decide(aws, lambda_context):
    app = load_function("decide_retraining")

    def call(verdict="Drift", number=1, policy=None, times_of=None, run=RUN, window_id=None, **more):
        window_id = window_id or f"2026112910000{number}-0a1b"
        prefix = f"monitoring/{window_id}"
        monitoring = {**MODEL["monitoring"], "retraining": {**MODEL["monitoring"]["retraining"], **(policy or {})}}
        aws.put(f"{prefix}/config.json", json.dumps({"definition": {**MODEL, "monitoring": monitoring}}))
        document = {"verdict": verdict, "reasons": ["it drifted"], "labelled_rows": 5, "analyses": {}, **more}
        aws.put(f"{prefix}/verdict.json", json.dumps(document))
        if document["labelled_rows"]:
            aws.put(f"{prefix}/labelled/rows.csv", "price\n1\n")
        return app.handler(
            {
                "WindowId": window_id,
                "RunId": run,
                "Prefix": f"s3://{BUCKET}/{prefix}",
                "Start": f"2026-11-29T0{times_of or number}:00:00Z",
                "End": f"2026-11-29T0{(times_of or number) + 1}:00:00Z",
            },
            lambda_context,
        )

    return call


# ---- Which window


def test_the_first_window_begins_where_the_model_began_to_answer(aws, serving, resolve):
    serving()
    answer = resolve()
    assert answer["Decision"] == "Judge"
    assert (answer["RunId"], answer["Start"]) == (RUN, written(NOW - timedelta(hours=2)))
    assert answer["Prefix"] == f"s3://{BUCKET}/monitoring/{answer['WindowId']}"
    assert answer["WindowId"] == run_id(f"{ARN}:one", NOW)
    assert answer["MaxRuntimeInSeconds"] == 3600
    assert "MaxRuntimeInSeconds" not in answer["Cluster"]


def test_the_job_is_in_the_network_of_the_stack_and_its_disk_under_its_key(aws, serving, resolve, monkeypatch):
    monkeypatch.setenv("VPC_SUBNETS", "subnet-1,subnet-2")
    monkeypatch.setenv("VPC_SECURITY_GROUPS", "sg-1")
    serving()
    answer = resolve()
    vpc = {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}
    closed = {"EnableNetworkIsolation": True, "EnableInterContainerTrafficEncryption": True}
    assert answer["NetworkConfig"] == {**closed, "VpcConfig": vpc}
    assert answer["Cluster"]["VolumeKmsKeyId"] == f"arn:aws:kms:{REGION}:123456789012:key/1"


def test_the_model_is_watched_as_model_yaml_says_today_and_read_as_its_run_did(aws, serving, resolve):
    serving()
    config = aws.get_json(f"monitoring/{resolve()['WindowId']}/config.json")
    assert config["definition"]["monitoring"] == MODEL["monitoring"]
    assert config["run_id"] == RUN


def test_the_job_reads_the_files_of_the_hours_of_the_window_and_labels_that_came_since(aws, serving, resolve):
    serving()
    inside, before, later = NOW - timedelta(hours=1), NOW - timedelta(hours=9), NOW + timedelta(hours=3)
    for time in (inside, before, later):
        aws.put(f"capture/{STACK}/AllTraffic/{time:%Y/%m/%d/%H}/1.jsonl", "{}\n")
    aws.put("capture/other/AllTraffic/2026/11/29/10/1.jsonl", "{}\n")
    aws.put("ground-truth/sold.csv", "inference_id,label\n")
    answer = resolve()
    sources = {one["InputName"]: one["S3Input"] for one in answer["Inputs"]}
    assert set(sources) == {"baselines", "serving", "capture", "ground-truth"}
    assert sources["serving"]["S3Uri"] == f"s3://{BUCKET}/runs/{RUN}/serving/"
    assert sources["baselines"]["S3Uri"] == f"s3://{BUCKET}/runs/{RUN}/baselines/"
    manifest = aws.get_json(sources["capture"]["S3Uri"].removeprefix(f"s3://{BUCKET}/"))
    wanted = f"{STACK}/AllTraffic/{inside:%Y/%m/%d/%H}/1.jsonl"
    assert manifest == [{"prefix": f"s3://{BUCKET}/capture/"}, wanted]
    labels = aws.get_json(sources["ground-truth"]["S3Uri"].removeprefix(f"s3://{BUCKET}/"))
    assert labels == [{"prefix": f"s3://{BUCKET}/ground-truth/"}, "sold.csv"]


@pytest.fixture
def labels(aws, serving, resolve, answers, monkeypatch):
    """Return the files with labels of a window that began two days ago, and how many calls listed ground-truth/."""
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "3")  # of a page
    serving(since=NOW - timedelta(days=60))

    def read(name="one", start=NOW - timedelta(days=2)):
        asked = answers("s3", "ListObjectsV2", None)
        answer = resolve(name, Window={"Start": written(start), "End": written(start + timedelta(hours=1))})
        sources = {one["InputName"]: one["S3Input"]["S3Uri"] for one in answer["Inputs"]}
        listed = aws.get_json(sources["ground-truth"].removeprefix(f"s3://{BUCKET}/"))[1:]
        return set(listed), sum("ground-truth" in request.url for request in asked)

    return read


def collected(time, name="a.jsonl"):
    return f"{time:%Y/%m/%d/%H}/{name}"


def test_labels_of_all_the_time_before_are_not_listed(aws, labels):
    wanted = {collected(NOW - timedelta(hours=hours)) for hours in (0, 47, 72)}
    for name in wanted:
        aws.put(f"ground-truth/{name}", "")
    listed, calls = labels()
    for hours in range(73, 73 + 40):
        aws.put(f"ground-truth/{collected(NOW - timedelta(hours=hours))}", "")
    for year in range(1990, 2010):
        aws.put(f"ground-truth/{year}/01/02/03/a.jsonl", "")
    more, more_calls = labels("two")
    assert listed == more == wanted
    assert more_calls - calls <= 7  # folders of years, three a page; all 60 files would be 20 pages


def test_labels_of_an_old_window_are_found_however_late_they_came(aws, labels):
    """Model Monitor's layout has the hour in which a label was collected; other folders are looked through."""
    start = NOW - timedelta(days=50)
    late = [collected(NOW, "late.jsonl"), collected(start + timedelta(days=3)), collected(start, "of-its-hour.csv")]
    elsewhere = ["sold.csv", "dealer-7/2026/01/01/00/a.jsonl", "20261129.csv", "0000.csv"]
    for name in [*late, *elsewhere, collected(start - timedelta(days=2), "before.jsonl")]:
        aws.put(f"ground-truth/{name}", "")
    assert labels(start=start)[0] == {*late, *elsewhere}


def test_labels_outside_of_the_layout_that_were_put_before_the_window_are_left_out(aws, labels):
    aws.put("ground-truth/sold.csv", "")
    aws.put(f"ground-truth/{collected(NOW)}", "")
    aws.put("ground-truth/folder/", "")
    assert labels()[0] == {"sold.csv", collected(NOW)}
    app = load_function("resolve_window")
    future = app.Period(RUN, NOW + timedelta(days=3), NOW + timedelta(days=4))
    assert list(app._labels(future)) == []


def test_the_job_reads_what_the_endpoint_was_asked_where_model_yaml_wants_it(
    aws, serving, resolve, monkeypatch, tmp_path
):
    serving()
    assert resolve("one")["Probe"] is False
    monkeypatch.setattr("perennial_aws.shipped.FOLDER", tmp_path)
    (tmp_path / "models/used-cars").mkdir(parents=True)
    probing = "monitoring: {probing: {enabled: true, rows: 200}}\n"
    model = (ROOT / "models/used-cars/model.yaml").read_text() + probing
    (tmp_path / "models/used-cars/model.yaml").write_text(model)
    answer = resolve("two", Window={"Start": written(NOW - timedelta(hours=1)), "End": written(NOW)})
    assert answer["Probe"] is True
    source = next(one["S3Input"] for one in answer["Inputs"] if one["InputName"] == "probe")
    assert source["S3Uri"] == f"{answer['Prefix']}/probe.json"
    config = aws.get_json(f"monitoring/{answer['WindowId']}/config.json")
    assert config["definition"]["monitoring"]["probing"] == {"enabled": True, "rows": 200}


def test_the_job_reads_what_earlier_windows_were_judged(aws, serving, resolve, decide):
    serving()
    metric = {"name": "rmse", "value": 480.5, "interval": [470.0, 490.0], "limit": 500.0, "worse": False}
    decide("Healthy", analyses={"model_quality": {"metrics": [metric]}})
    answer = resolve(Window={"Start": written(NOW - timedelta(minutes=30)), "End": written(NOW - timedelta(minutes=5))})
    source = next(one["S3Input"] for one in answer["Inputs"] if one["InputName"] == "history")
    assert source["LocalPath"] == "/opt/ml/processing/input/history"
    (earlier,) = aws.get_json(source["S3Uri"].removeprefix(f"s3://{BUCKET}/"))
    assert (earlier["run"], earlier["metric"], earlier["value"], earlier["limit"]) == (RUN, "rmse", 480.5, 500.0)


def test_what_has_no_object_is_no_input_which_would_fail_the_job(aws, serving, resolve):
    serving()
    aws.client("s3").delete_object(Bucket=BUCKET, Key=f"runs/{RUN}/serving/model.tar.gz")
    names = [one["InputName"] for one in resolve()["Inputs"]]
    assert names == ["baselines"]


def test_the_job_runs_in_the_image_in_which_the_run_trained_its_model(aws, serving, resolve):
    from perennial_aws import runs

    serving()
    assert resolve("one")["ImageUri"].endswith("/sagemaker-xgboost:3.2-0")
    runs.put({"run_id": RUN, "images": {"preprocessor": "sklearn:1", "algorithm": "xgboost:before"}})
    assert resolve("two")["ImageUri"] == "xgboost:before"


def test_the_next_window_begins_where_the_last_one_ended(aws, serving, resolve, running):
    from perennial_aws import windows

    serving()
    running("SUCCEEDED")
    end = written(NOW - timedelta(minutes=30))
    entry = {"id": "1", "run": RUN, "start": written(NOW - timedelta(hours=2)), "end": end, "verdict": "Healthy"}
    windows.remember("1", lambda history, others: entry)
    assert resolve("two")["Start"] == end


def test_records_of_a_failed_window_are_judged_once_more_with_the_next(aws, serving, resolve, running, decide):
    from perennial_aws import windows

    serving()
    running("SUCCEEDED")
    start, middle = written(NOW - timedelta(hours=2)), written(NOW - timedelta(hours=1))
    windows.remember("1", lambda *_: {"id": "1", "run": RUN, "start": start, "end": middle, "verdict": "Failed"})
    assert resolve("two")["Start"] == start


def test_a_window_is_of_one_model(aws, serving, resolve, running):
    serving()
    resolve(Trigger={"Type": "EndpointInService"})
    serving(NEXT_RUN, NOW - timedelta(minutes=5))
    answer = resolve("two")
    assert (answer["RunId"], answer["Start"]) == (NEXT_RUN, written(NOW - timedelta(minutes=5)))
    assert "answers since" in answer["Cut"]
    assert [(one["Run"], one["End"]) for one in answer["Skipped"]] == [(RUN, answer["Start"])]
    asked = {"Start": written(NOW - timedelta(minutes=90)), "End": written(NOW - timedelta(minutes=60))}
    assert resolve("three", Window=asked)["RunId"] == RUN


def test_an_endpoint_in_service_arms_the_monitor_once_and_judges_nothing(aws, serving, resolve):
    serving()
    answers = [resolve(name, Trigger={"Type": "EndpointInService", "Id": name}) for name in ("one", "two")]
    assert [one["Decision"] for one in answers] == ["Armed", "Armed"]
    assert len(aws.item("monitoring")["served"]["L"]) == 1
    assert aws.keys("monitoring/") == []


def test_without_a_model_of_the_stack_there_is_nothing_to_judge(aws, answers, resolve):
    answers("sagemaker", "DescribeEndpoint", refusal("ValidationException", "Could not find endpoint"))
    assert resolve()["Decision"] == "NoModel"


@pytest.mark.parametrize("asked", [{}, {"Window": {"Start": written(NOW - timedelta(hours=1)), "End": written(NOW)}}])
def test_an_endpoint_of_somebody_elses_configuration_is_no_model_of_the_stack(aws, answers, serving, resolve, asked):
    """Though one of the stack's own served before: its baseline says nothing of what another model is asked."""
    serving()
    assert resolve(Trigger={"Type": "EndpointInService", "Id": "one"})["Decision"] == "Armed"
    body = {"EndpointConfigName": "by-hand", "LastModifiedTime": NOW.timestamp()}
    answers("sagemaker", "DescribeEndpoint", (200, body))
    answer = resolve("two", **asked)
    assert (answer["Decision"], answer["Reason"]) == (
        "NoModel", f"endpoint {STACK} serves a configuration that is not this stack's",
    )  # fmt: skip


def test_nothing_is_judged_twice_while_nothing_can_have_come(aws, serving, resolve, monkeypatch):
    serving()
    monkeypatch.setenv("CAPTURE_DELAY_SECONDS", "86400")
    assert resolve()["Decision"] == "NoWindow"


@matrix("Monitoring", "the endpoint has slept since the last window", ends="no window")
def test_a_time_that_the_endpoint_has_slept_through_is_no_window_and_is_judged_with_the_next(
    aws, serving, resolve, monkeypatch
):
    serving()
    other_day = (NOW + timedelta(days=3)).strftime("%a").upper()
    monkeypatch.setenv("HOURS", f"00:00-00:00 UTC {other_day} clock")
    answer = resolve()
    assert (answer["Decision"], "has slept" in answer["Reason"]) == ("NoWindow", True)
    asked = {"Start": written(NOW - timedelta(minutes=30)), "End": written(NOW)}
    assert resolve("two", Window=asked)["Decision"] == "Judge", "whoever asks for a window gets it"
    monkeypatch.setenv("HOURS", f"00:00-00:00 UTC {NOW.strftime('%a').upper()} clock")
    assert resolve("three")["Decision"] == "Judge"


def test_two_monitors_do_not_judge_the_same_records(aws, serving, resolve, running):
    serving()
    first = resolve("one")
    running("RUNNING")
    second = resolve("two")
    assert second["Decision"] == "Duplicate"
    assert first["WindowId"] in second["Reason"]
    running("FAILED")
    assert resolve("three")["Decision"] == "Judge"


def test_the_same_execution_gets_the_same_answer(aws, serving, resolve):
    serving()
    first = resolve()
    serving(NEXT_RUN)
    assert resolve() == first


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"Window": {"Start": "2026-11-29T10:00:00Z"}}, "Window.End"),
        ({"Windows": {}}, "Windows"),
        ({"Trigger": {"Type": "Drift"}}, "Trigger.Type"),
    ],
)
def test_an_input_that_is_none_is_refused_by_name(aws, serving, resolve, given, said):
    serving()
    with pytest.raises(Exception, match=said):
        resolve(**given)


# ---- What follows


def test_drift_with_rows_to_learn_from_starts_a_run_and_names_its_file(aws, decide):
    answer = decide()
    assert (answer["Verdict"], answer["Retrain"]) == ("Drift", True)
    rows = {
        "CopySource": f"{BUCKET}/monitoring/20261129100001-0a1b/labelled/rows.csv",
        "Key": "raw/labelled/20261129010000-20261129020000.csv",
        "Metadata": {"judged-window": "20261129100001-0a1b"},
    }
    assert answer["Labelled"] == [rows]


def test_rows_of_windows_that_started_no_run_are_learned_with_the_next(aws, decide):
    two = {"breaches": 2}
    assert not decide(number=1, policy=two)["Retrain"]
    second = decide(number=2, policy=two)
    assert "10 new labelled rows" in second["Reason"]
    keys = [one["Key"] for one in second["Labelled"]]
    assert keys == [f"raw/labelled/202611290{number}0000-202611290{number + 1}0000.csv" for number in (1, 2)]


@pytest.mark.parametrize("verdict", ["Healthy", "BadData", "NotEnoughData", "Failed", "Drift"])
def test_a_window_that_is_judged_again_and_gives_no_rows_loses_its_file(aws, decide, verdict):
    key = decide()["Labelled"][0]["Key"]
    aws.put(key, "price\n1\n")
    for _ in ("once", "a retry"):
        again = decide(verdict, window_id="20261129120000-0a1b", labelled_rows=0)
        assert (again["Verdict"], again["Labelled"]) == (verdict, [])
        assert aws.keys(key) == []


def test_a_window_that_is_judged_again_replaces_its_file_also_where_no_run_starts(aws, decide):
    key = decide()["Labelled"][0]["Key"]
    aws.put(key, "price\n1\n")
    decide(number=2, verdict="Healthy", labelled_rows=0)
    again = decide(window_id="20261129120000-0a1b")
    assert not again["Retrain"]
    (rows,) = again["Labelled"]
    assert (rows["CopySource"], rows["Key"]) == (f"{BUCKET}/monitoring/20261129120000-0a1b/labelled/rows.csv", key)


def test_people_are_told_what_became_of_the_file_of_a_window_that_is_healthy_now(aws, decide, tell):
    aws.put(decide()["Labelled"][0]["Key"], "price\n1\n")
    window_id = "20261129120000-0a1b"
    decide("Healthy", window_id=window_id, labelled_rows=0)
    told, _, mails = tell({**answer_of(), "WindowId": window_id, "Prefix": f"s3://{BUCKET}/monitoring/{window_id}"})
    assert told["Verdict"] == "Healthy"
    assert f"s3://{BUCKET}/raw/labelled/20261129010000-20261129020000.csv" in parse_qs(mails[0].body)["Message"][0]


def test_a_window_that_was_not_judged_before_takes_nothing_away(aws, decide):
    other = "raw/labelled/20261129030000-20261129040000.csv"
    aws.put(other, "price\n1\n")
    assert decide("Healthy", labelled_rows=0)["Labelled"] == []
    assert aws.keys("raw/") == [other]


def test_rows_that_were_erased_meanwhile_are_no_new_data_and_are_not_looked_for(aws, decide):
    two = {"breaches": 2, "min_labelled_rows": 6}
    decide(number=1, policy=two)
    aws.client("s3").delete_object(Bucket=BUCKET, Key="monitoring/20261129100001-0a1b/labelled/rows.csv")
    too_few = decide(number=2, policy=two)
    assert not too_few["Retrain"]
    assert too_few["Reason"].startswith("5 new labelled rows; expected at least 6")
    third = decide(number=3, policy=two)
    assert third["Retrain"]
    keys = [one["Key"] for one in third["Labelled"]]
    assert keys == [f"raw/labelled/202611290{number}0000-202611290{number + 1}0000.csv" for number in (2, 3)]


def test_nothing_is_written_into_a_bucket_that_is_not_the_stacks(aws, decide, their_bucket):
    answer = decide()
    assert (answer["Retrain"], answer["Labelled"]) == (False, [])
    assert answer["Reason"].startswith("0 new labelled rows; expected at least 1")
    rows = f"s3://{BUCKET}/monitoring/20261129100001-0a1b/labelled/rows.csv"
    assert f"nothing is written into s3://{their_bucket}, where the data are: put {rows} there" in answer["Reason"]
    anyway = decide(number=2, policy={"min_labelled_rows": 0})
    assert (anyway["Retrain"], anyway["Labelled"]) == (True, [])
    assert anyway["Reason"] == "drift starts a training run"


def test_a_decision_is_made_once(aws, decide):
    first = decide()
    assert decide() == first
    assert len(aws.item("monitoring")["windows"]["L"]) == 1


def test_a_second_window_with_drift_waits_for_the_rest_after_the_first(aws, decide):
    assert decide(number=1)["Retrain"]
    second = decide(number=2)
    assert not second["Retrain"]
    assert "not before" in second["Reason"]


def test_of_two_windows_that_end_at_the_same_time_the_second_rests_after_the_first(aws, decide, monkeypatch):
    from perennial_aws import runs

    replace, first = runs.replace, []

    def another_first(changed, revision):
        if not first:
            first.append(None)
            first[0] = decide(number=1)
        return replace(changed, revision)

    monkeypatch.setattr(runs, "replace", another_first)
    second = decide(number=2)
    assert (first[0]["Retrain"], second["Retrain"]) == (True, False)
    assert "not before" in second["Reason"]
    history = aws.item("monitoring")["windows"]["L"]
    assert ["retrained_at" in one["M"] for one in history] == [True, False]


def test_what_is_healthy_starts_nothing(aws, decide):
    assert decide("Healthy") == {"Verdict": "Healthy", "Retrain": False, "Reason": "no drift", "Labelled": []}


@pytest.mark.parametrize("verdict", ["BadData", "NotEnoughData", "Failed"])
def test_what_is_no_drift_and_not_healthy_starts_nothing_and_says_why(aws, decide, verdict):
    answer = decide(verdict, reasons=["mileage: kilometres", "price: more"])
    assert not answer["Retrain"]
    assert answer["Reason"] == f"only drift retrains; this is {verdict}: mileage: kilometres"


def test_a_window_of_a_model_that_was_replaced_starts_nothing(aws, decide):
    from perennial_aws import windows

    windows.note_served(RUN, NOW - timedelta(hours=2))
    windows.note_served(NEXT_RUN, NOW)
    answer = decide()
    assert not answer["Retrain"]
    assert f"the model of run {RUN} no longer serves" in answer["Reason"]


def test_the_policy_is_that_of_the_model(aws, decide):
    answer = decide(policy={"action": "notify"})
    assert not answer["Retrain"]
    assert "notify" in answer["Reason"]


# ---- Who is told


@pytest.fixture
def tell(aws, lambda_context, answers):
    """Let the execution of a window have ended, and return what the function says and what it sent."""
    app = load_function("notify_window")
    published = answers("events", "PutEvents", (200, {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}))
    mails = answers("sns", "Publish", None)

    def call(answer=None, status="SUCCEEDED", name="one", waits=False, **execution):
        from perennial_aws import runs

        if answer:
            runs.remember(f"{ARN}:{name}", answer)
        body = {"executionArn": f"{ARN}:{name}", "status": status, "startDate": NOW.timestamp(), **execution}
        answers("stepfunctions", "DescribeExecution", (200, body))
        answers("stepfunctions", "GetExecutionHistory", (200, {"events": asked_again("Judge window") if waits else []}))
        detail = {"executionArn": f"{ARN}:{name}", "status": status, "stopDate": 1}
        return app.handler({"detail": detail}, lambda_context), published, mails

    return call


def answer_of(number: int = 1) -> dict[str, Any]:
    window_id = f"2026112910000{number}-0a1b"
    return {
        "Decision": "Judge", "WindowId": window_id, "Prefix": f"s3://{BUCKET}/monitoring/{window_id}", "RunId": RUN,
        "Start": f"2026-11-29T0{number}:00:00Z", "End": f"2026-11-29T0{number + 1}:00:00Z", "Cut": "", "Reason": "",
    }  # fmt: skip


def detail_of(request: Any) -> dict[str, Any]:
    (entry,) = json.loads(request.body)["Entries"]
    assert (entry["Source"], entry["DetailType"]) == ("perennial", "Perennial Window Judged")
    detail: dict[str, Any] = json.loads(entry["Detail"])
    return detail


def test_drift_is_told_by_one_event_and_one_mail_with_the_run_that_it_started(aws, decide, tell):
    decide(records=1200, ground_truth={"matched": 300})
    answer, events, mails = tell(answer_of())
    assert answer["Verdict"] == "Drift"
    assert answer["MessageId"]
    detail = detail_of(events[0])
    assert (detail["verdict"], detail["records"], detail["run"]) == ("Drift", 1200, RUN)
    assert detail["training"].endswith(f":{STACK}-train-model:drift-20261129100001-0a1b")
    assert len(mails) == 1


WAITED = (
    "Waited        in state {0!r}, tried again 2 times, after SageMaker.ResourceLimitExceededException",
    "Waited        in state {0!r}, its job was made again once: SageMaker had no machine or lost it",
)


def test_what_a_window_has_waited_for_is_told(aws, decide, tell):
    decide()
    _, _, (mail,) = tell(answer_of(), waits=True)
    lines = parse_qs(mail.body)["Message"][0].splitlines()
    assert [line for line in lines if line.startswith("Waited")] == [line.format("Judge window") for line in WAITED]


def test_the_event_has_the_details_that_the_page_on_monitoring_lists(aws, decide, tell):
    decide()
    _, events, _ = tell(answer_of())
    page = (ROOT / "docs/monitoring.md").read_text()
    table = page.partition("**The event's `detail`**")[2].partition("\n\n**")[0]
    fields = [
        name
        for line in table.splitlines()
        if line.startswith("| `")
        for name in re.findall("`(.+?)`", line.split("|")[1])
    ]
    assert sorted(fields) == sorted(detail_of(events[0]))


def test_an_event_that_would_be_too_large_has_fewer_reasons_and_no_columns(aws, decide, tell):
    column = {"name": "c" * 100, "before": "b", "after": "a", "distance": None}
    quality = {"verdict": "Drift", "reason": "", "findings": [], "columns": [column] * 3_000}
    decide(reasons=[f"reason {number}" for number in range(500)], analyses={"data_quality": quality})
    _, events, mails = tell(answer_of())
    detail = detail_of(events[0])
    assert (detail["columns"], detail["reasons"]) == ([], [f"reason {number}" for number in range(20)])
    assert (len(events[0].body) < 256 * 1024, len(mails)) == (True, 1)


def test_what_is_known_of_windows_is_read_once(aws, decide, tell, monkeypatch):
    from perennial_aws import runs

    decide()
    read, item = [], runs.item
    monkeypatch.setattr(runs, "item", lambda name: (read.append(name), item(name))[1])
    tell(answer_of())
    assert read.count("monitoring") == 2  # and once to note that people were told


def test_news_of_data_may_go_to_another_topic_and_a_failure_to_who_operates(aws, decide, tell, monkeypatch):
    arn = aws.client("sns").create_topic(Name="data-owners")["TopicArn"]
    monkeypatch.setenv("DATA_TOPIC_ARN", arn)
    decide()
    _, _, mails = tell(answer_of())
    tell(answer_of(2), status="FAILED", name="two", error="E", cause="no permission")
    topics = [parse_qs(one.body)["TopicArn"][0].rpartition(":")[2] for one in mails]
    assert topics == ["data-owners", "alerts"]


def test_whoever_wants_retraining_alone_hears_of_the_drift_by_the_runs_own_mail(aws, decide, tell):
    assert decide(policy={"action": "retrain"})["Retrain"]
    answer, events, mails = tell(answer_of())
    assert (answer["MessageId"], len(events), len(mails)) == (None, 1, 0)
    assert not decide(number=2, policy={"action": "retrain"})["Retrain"]
    assert tell(answer_of(2), name="two")[0]["MessageId"]
    _, _, mails = tell(answer_of(), status="FAILED", name="lost", error="E", cause="the run could not be started")
    assert len(mails) == 2


def test_an_end_that_comes_twice_is_told_once(aws, decide, tell):
    decide()
    tell(answer_of())
    _, events, mails = tell(answer_of())
    assert (len(events), len(mails)) == (1, 1)


def test_what_is_healthy_has_an_event_and_no_mail_until_it_is_healthy_again(aws, decide, tell):
    decide("Healthy", number=1)
    answer, events, mails = tell(answer_of(1), name="one")
    assert (answer["MessageId"], len(events), len(mails)) == (None, 1, 0)
    decide("BadData", number=2)
    tell(answer_of(2), name="two")
    decide("Healthy", number=3)
    _, events, mails = tell(answer_of(3), name="three")
    assert (len(events), len(mails)) == (3, 2)


def test_a_window_that_is_healthy_when_it_is_judged_again_or_after_a_failure_is_told(aws, decide, tell):
    decide("Drift", number=1)
    tell(answer_of(1), name="drift")
    tell(answer_of(2), status="FAILED", name="failed", error="E", cause="no permission")
    decide("Healthy", number=2)
    assert tell(answer_of(2), name="mended")[0]["MessageId"]
    decide("NotEnoughData", number=3)
    assert tell(answer_of(3), name="few")[0]["MessageId"]
    again = {**answer_of(4), **{name: answer_of(3)[name] for name in ("Start", "End")}}
    decide("Healthy", number=4, times_of=3)
    assert tell(again, name="again")[0]["MessageId"]
    decide("Healthy", number=5)
    assert tell(answer_of(5), name="still")[0]["MessageId"] is None


def test_a_monitor_that_failed_is_told_as_failed_and_the_next_window_takes_its_records(aws, tell):
    from perennial_aws import windows

    cause = 'State "Judge window" failed: no permission'
    answer, events, mails = tell(answer_of(), status="FAILED", error="SageMaker.AmazonSageMakerException", cause=cause)
    assert answer["Verdict"] == "Failed"
    assert detail_of(events[0])["reasons"] == ["no permission (the monitor failed in state 'Judge window')"]
    (title,) = parse_qs(mails[0].body)["Subject"]
    assert title.startswith("Window not judged: no permission")
    assert len(mails) == 1
    assert windows.judged_until() is None


@pytest.mark.parametrize(
    ("error", "cause", "subject"),
    [
        ("WindowError", json.dumps({"errorMessage": "Window.End: got 2027"}), "WindowError: Window.End: got 2027"),
        ("States.TaskFailed", json.dumps({"ProcessingJobName": "cars-1-monitor-0", "FailureReason": "exit code: 1"}),
         "its job failed: exit code: 1"),
        ("KeyError", None, "KeyError"),
        (None, None, "no cause was given"),
    ],
)  # fmt: skip
def test_the_subject_of_a_window_that_was_not_judged_begins_with_the_cause(aws, tell, error, cause, subject):
    _, _, mails = tell(status="FAILED", error=error, cause=cause)
    (title,) = parse_qs(mails[0].body)["Subject"]
    assert title.startswith(f"Window not judged: {subject} (the monitor failed)")


def test_drift_whose_run_could_not_be_started_is_not_lost(aws, decide, tell):
    assert decide(number=1)["Retrain"]
    answer, events, mails = tell(answer_of(), status="FAILED", error="E", cause='State "Start training" failed: no')
    assert (answer["Verdict"], len(mails)) == ("Drift", 1)
    assert detail_of(events[0])["training"] is None
    second = decide(number=2)
    assert second["Retrain"]
    assert [one["CopySource"].split("/")[2] for one in second["Labelled"]] == [
        f"2026112910000{number}-0a1b" for number in (1, 2)
    ]


def test_a_monitor_that_was_stopped_before_it_knew_its_window_is_told_too(aws, tell):
    answer, events, _ = tell(status="ABORTED")
    assert answer["Verdict"] == "Failed"
    assert "stopped" in detail_of(events[0])["reasons"][0]


def test_an_execution_that_judged_nothing_is_not_told(aws, tell):
    answer, events, mails = tell({"Decision": "Armed", "WindowId": "1", "Reason": "watched"})
    assert answer == {"WindowId": "1", "Verdict": "Armed", "MessageId": None}
    assert (events, mails) == ([], [])


def test_an_event_that_is_refused_is_tried_again_by_lambda(aws, decide, tell, answers):
    decide()
    answers("events", "PutEvents", (200, {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure"}]}))
    with pytest.raises(RuntimeError, match="InternalFailure"):
        tell(answer_of())


def measured_by(capsys):
    """Return what was published as metrics since the last call, by name and by the feature or metric it is about."""
    return measured_in(capsys.readouterr().out)


def measured_in(lines):
    published = [json.loads(line) for line in lines.splitlines() if "CloudWatchMetrics" in line]
    return {
        (one["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Name"], one.get("Feature") or one.get("Metric")): one
        for one in published
    }


WORSE = {"name": "rmse", "value": 4100.0, "interval": [3900.0, 4300.0], "limit": 2200.0, "worse": True}


def test_a_window_of_the_past_moves_neither_the_alarm_of_today_nor_its_pictures(aws, decide, tell, capsys):
    from perennial_aws import windows

    windows.note_served(RUN, NOW)
    for number in (2, 1):
        decide(number=number, records=1200, analyses={"model_quality": {"metrics": [WORSE]}})
    capsys.readouterr()
    tell(answer_of(1), name="past")
    assert set(measured_by(capsys)) == {("WindowsJudged", None)}
    tell(answer_of(2), name="newest")
    assert ("ModelWorse", None) in measured_by(capsys)


def test_the_newest_window_of_a_model_that_was_replaced_does_not_move_the_alarm(aws, decide, tell, capsys):
    from perennial_aws import windows

    windows.note_served(RUN, NOW - timedelta(hours=2))
    windows.note_served(NEXT_RUN, NOW)
    decide(records=1200, analyses={"model_quality": {"metrics": [WORSE]}})
    capsys.readouterr()
    tell(answer_of())
    measured = measured_by(capsys)
    assert ("ModelMetric", "rmse") in measured
    assert ("ModelWorse", None) not in measured


def test_metrics_are_by_feature_and_the_limit_is_that_of_the_model(aws, decide, tell, capsys):
    from perennial_aws import windows

    distance = {"largest": 0.3, "psi": 0.2, "chance": 0.001, "robust": 0.2}
    columns = [{"name": "mileage", "distance": distance}, {"name": "note", "distance": None}]
    metric = WORSE
    own = {**metric, "name": "gain", "value": -3.0, "is_own": True}
    measured = [metric, {**metric, "name": "mae", "is_own": False}, own]
    probed = {"rows": 312, "run": NEXT_RUN, "data": {"files": 3, "listed_at": "2026-11-21T10:00:00Z"}}
    analyses = {"data_quality": {"columns": columns}, "model_quality": {"metrics": measured, "probed": probed}}
    windows.note_served(RUN, NOW)
    decide(records=1200, analyses=analyses)
    capsys.readouterr()
    _, events, _ = tell(answer_of())
    assert detail_of(events[0])["probed"] == probed
    lines = capsys.readouterr().out
    assert {one for one in dashboard.series() if not one[0].startswith(("Api", "Runs"))} <= dashboard.published(lines)
    values = measured_in(lines)
    assert values["FeatureDrift", "mileage"]["FeatureDrift"] == [0.3]
    assert ("FeatureDrift", "note") not in values
    assert values["ModelMetric", "rmse"]["ModelMetric"] == [4100.0]
    assert values["ModelMetricLimit", "rmse"]["ModelMetricLimit"] == [2200.0]
    assert values["ModelMetric", "gain"]["ModelMetric"] == [-3.0]
    assert values["ModelMetricLimit", "gain"]["ModelMetricLimit"] == [2200.0]
    assert ("ModelMetric", "mae") not in values
    assert values["ModelWorse", None]["ModelWorse"] == [1]
    assert values["Retrainings", None]["Retrainings"] == [1]
    assert values["WindowRecords", None]["WindowRecords"] == [1200]
    assert values["ProbedRows", None]["ProbedRows"] == [312]


def test_the_first_mail_after_a_change_of_the_model_has_both_limits_and_what_trains(aws, decide, tell):
    decide("Drift", number=1, run=NEXT_RUN, analyses={"model_quality": {"metrics": [{**WORSE, "limit": 1381.0}]}})
    decide("Drift", number=2, policy={"cooldown_hours": 0}, analyses={"model_quality": {"metrics": [WORSE]}})
    _, _, mails = tell(answer_of(2))
    (text,) = parse_qs(mails[0].body)["Message"]
    assert f"2,200 now, 1,381 with the model before (run {NEXT_RUN})" in text
    assert "Rows of the world before train and judge too, all that there are" in text


def test_other_monitors_that_write_at_the_same_time_are_not_lost(aws, monkeypatch):
    from perennial_aws import runs, windows

    item, before = runs.item, []

    def another_first(item_id):
        known = item(item_id)
        if item_id == "monitoring" and not before:
            before.append(True)
            windows.note_served(RUN, NOW)
        return known

    monkeypatch.setattr(runs, "item", another_first)
    entry = {"id": "1", "run": RUN, "start": written(NOW), "end": written(NOW), "verdict": "Healthy"}
    windows.remember("1", lambda history, others: entry)
    assert len(windows.served()) == len(windows.history()) == 1


def test_what_dynamodb_refuses_otherwise_is_raised(aws, answers):
    from perennial_aws import windows

    answers("dynamodb", "PutItem", refusal("AccessDeniedException"))
    with pytest.raises(ClientError, match="AccessDenied"):
        windows.note_served(RUN, NOW)
