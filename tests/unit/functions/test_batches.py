"""The functions of the flow that scores files: which file and model, what follows, where it goes, who is told."""

import json
from datetime import UTC, datetime
from urllib.parse import parse_qs

import pytest

from perennial.model import definition
from perennial.model.complaints import ConfigurationError
from perennial.runs.batch_file import SOURCE, source_as_metadata
from perennial.runs.naming import run_id
from tests.unit.conftest import BUCKET, REGION, ROOT, STACK, asked_again, load_function, refusal

ARN = f"arn:aws:states:{REGION}:123456789012:execution:{STACK}-score-batch"
NOW = datetime(2026, 11, 29, 10, tzinfo=UTC)
RUN, NEXT_RUN = "20261120100000-0a1b", "20261121100000-0a1b"
MODEL = definition.load(ROOT / "models" / "used-cars" / "model.yaml").as_json()
KEY = "batch/incoming/cars.csv"
GROUP = f"arn:aws:sagemaker:{REGION}:123456789012:model-package/{STACK}"


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("DATA_CAPTURE_PERCENTAGE", "80")
    monkeypatch.setenv("DATA_TOPIC_ARN", f"arn:aws:sns:{REGION}:123456789012:data-owners")
    monkeypatch.setenv("SCORE_BATCH_ARN", f"arn:aws:states:{REGION}:123456789012:stateMachine:{STACK}-score-batch")


@pytest.fixture
def registry(aws, answers):
    """Let the registry have versions, {number: (status, run)}, and all their models be there."""

    def versions(known):
        listed = [
            {
                "ModelPackageArn": f"{GROUP}/{number}", "ModelPackageVersion": number, "ModelApprovalStatus": status,
                "ModelPackageDescription": f"run {run}", "CreationTime": 0, "ModelPackageStatus": "Completed",
            }
            for number, (status, run) in known.items()
        ]  # fmt: skip

        def list_them(request):
            wanted = json.loads(request.body).get("ModelApprovalStatus")
            some = [one for one in listed if wanted in (None, one["ModelApprovalStatus"])]
            return 200, {"ModelPackageSummaryList": some}

        def describe(request):
            name = json.loads(request.body)["ModelPackageName"]
            return 200, next(one for one in listed if one["ModelPackageArn"] == name)

        answers("sagemaker", "ListModelPackages", list_them)
        answers("sagemaker", "DescribeModelPackage", describe)
        for _, run in known.values():
            made(aws, run)

    return versions


def made(aws, run):
    """What a run has left."""
    aws.create_model(f"{STACK}-{run}")
    aws.put(f"runs/{run}/config.json", json.dumps({"run_id": run, "model": "used-cars", "definition": MODEL}))
    aws.put(f"runs/{run}/report/report.json", json.dumps({"widest_row": 300}))
    artefacts = {}
    for name in ("preprocessor", "model"):
        key = f"runs/{run}/serving/{name}.tar.gz"
        sealed = {"uri": f"s3://{BUCKET}/{key}", "version_id": aws.put(key, "1")}
        artefacts[name] = {"written": sealed, "sealed": sealed, "sha256": "0", "size_bytes": 1}
    from perennial_aws import runs

    runs.update(run, artifacts=artefacts)


@pytest.fixture
def resolve(aws, lambda_context):
    app = load_function("resolve_batch")

    def call(name="one", **given):
        event = {"Input": given, "ExecutionArn": f"{ARN}:{name}", "StartTime": NOW.isoformat()}
        return app.handler(event, lambda_context)

    return call


def drop(version, key=KEY):
    return {"Trigger": {"Type": "BatchDrop", "Id": "1", "Object": {"key": key, "version-id": version, "size": 3}}}


@pytest.fixture
def running(answers):
    """Let the executions that score files have this status."""

    def status(text):
        answers("stepfunctions", "DescribeExecution", (200, {"status": text, "startDate": 0, "executionArn": ARN}))

    return status


# ---- Which file, which model


def test_the_version_that_the_event_names_is_scored_by_the_newest_approved_model(aws, registry, resolve):
    registry({1: ("Approved", RUN), 2: ("Approved", NEXT_RUN), 3: ("PendingManualApproval", "x"), 4: ("Rejected", "y")})
    version = aws.put(KEY, "first")
    aws.put(KEY, "second, while the first waits")
    answer = resolve(**drop(version))
    assert (answer["Decision"], answer["RunId"], answer["Version"]) == ("Score", NEXT_RUN, 2)
    assert answer["ModelName"] == f"{STACK}-{NEXT_RUN}"
    assert answer["BatchId"] == run_id(f"{ARN}:one", NOW)
    assert aws.get(f"batch/work/{answer['BatchId']}/input/data") == "first"
    config = aws.get_json(f"batch/runs/{answer['BatchId']}/config.json")
    assert config["run_id"] == NEXT_RUN
    assert config["batch"] == {
        "id": answer["BatchId"], "key": "cars.csv", "source": None, "widest_row": 300, "version": 2, "captured": 0,
    }  # fmt: skip


def test_a_copy_of_a_file_that_lies_elsewhere_says_so_until_the_mail(aws, registry, resolve, tell):
    registry({1: ("Approved", RUN)})
    uri = "s3://the-lake/daily/Škoda 100%.csv?versionId=v1"
    metadata = {SOURCE: source_as_metadata(uri)}
    put = aws.client("s3").put_object(Bucket=BUCKET, Key=KEY, Body=b"1", Metadata=metadata)
    answer = resolve(**drop(put["VersionId"]))
    assert answer["Source"] == aws.get_json(f"batch/runs/{answer['BatchId']}/config.json")["batch"]["source"] == uri
    _, (mail,) = tell(answer, status="FAILED", error="InputBroken", cause="…")
    assert f"Copied from   {uri}" in mail["Message"].splitlines()
    assert aws.get_json(f"batch/runs/{answer['BatchId']}/batch.json")["source"] == uri
    with pytest.raises(ValueError, match="is too long to be kept with a copy of it: 1,805 bytes of 1,800"):
        source_as_metadata(f"s3://b/{'x' * 1798}")


def test_one_machine_checks_a_file_however_many_preprocess(aws, registry, resolve):
    aws.override('{"Instances": {"Preprocess": {"InstanceCount": 2}}}')
    registry({1: ("Approved", RUN)})
    assert resolve(**drop(aws.put(KEY, "1")))["Cluster"]["InstanceCount"] == 1


def test_as_many_machines_score_a_file_as_the_stack_says(aws, registry, resolve):
    aws.override('{"Instances": {"Predict": {"InstanceCount": 2}}}')
    registry({1: ("Approved", RUN)})
    assert resolve(**drop(aws.put(KEY, "1")))["Predict"]["InstanceCount"] == 2


def test_jobs_of_a_file_are_in_the_network_of_the_stack_and_their_disks_under_its_key(
    aws, registry, resolve, monkeypatch
):
    monkeypatch.setenv("VPC_SUBNETS", "subnet-1,subnet-2")
    monkeypatch.setenv("VPC_SECURITY_GROUPS", "sg-1")
    registry({1: ("Approved", RUN)})
    answer = resolve(**drop(aws.put(KEY, "1")))
    vpc = {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}
    closed = {"EnableNetworkIsolation": True, "EnableInterContainerTrafficEncryption": True}
    assert answer["NetworkConfig"] == {**closed, "VpcConfig": vpc}
    keys = [answer[machine]["VolumeKmsKeyId"] for machine in ("Cluster", "Predict")]
    assert keys == [f"arn:aws:kms:{REGION}:123456789012:key/1"] * 2


def test_a_newly_approved_version_scores_the_next_file(aws, registry, resolve):
    registry({1: ("Approved", RUN)})
    assert resolve(name="one", **drop(aws.put(KEY, "1")))["Version"] == 1
    registry({2: ("Approved", NEXT_RUN), 1: ("Approved", f"{RUN[:-1]}c")})
    assert resolve(name="two", **drop(aws.put(KEY, "2")))["Version"] == 2


def test_rows_are_captured_where_the_model_that_scores_serves(aws, registry, resolve):
    from perennial_aws import windows

    registry({1: ("Approved", RUN)})
    windows.note_served(RUN, NOW)
    answer = resolve(**drop(aws.put(KEY, "1")))
    assert aws.get_json(f"batch/runs/{answer['BatchId']}/config.json")["batch"]["captured"] == 80


def test_without_an_approved_version_nothing_is_scored_and_the_text_says_what_to_do(aws, registry, resolve):
    from perennial_aws import windows

    registry({1: ("PendingManualApproval", RUN), 2: ("Rejected", NEXT_RUN)})
    windows.note_served(f"{RUN[:-1]}d", NOW)
    with pytest.raises(Exception, match=r"no version of the model is approved.*perennial approve") as raised:
        resolve(**drop(aws.put(KEY, "1")))
    assert type(raised.value).__name__ == "NoApprovedVersionError"


def test_without_any_version_what_serves_scores(aws, registry, resolve):
    from perennial_aws import windows

    registry({})
    made(aws, RUN)
    windows.note_served(RUN, NOW)
    answer = resolve(**drop(aws.put(KEY, "1")))
    assert (answer["RunId"], answer["Version"]) == (RUN, None)


def test_a_version_that_somebody_has_registered_by_hand_does_not_score(aws, registry, resolve, answers):
    registry({1: ("Approved", RUN)})
    answers("sagemaker", "DescribeModelPackage", (200, {"ModelPackageDescription": "mine"}))
    with pytest.raises(Exception, match="version 1, the newest approved one, was made by no run"):
        resolve(**drop(aws.put(KEY, "1")))


def test_a_model_that_is_gone_or_whose_files_have_changed_does_not_score(aws, registry, resolve):
    registry({1: ("Approved", RUN), 2: ("Approved", NEXT_RUN)})
    aws.client("sagemaker").delete_model(ModelName=f"{STACK}-{NEXT_RUN}")
    with pytest.raises(Exception, match=r'deploying it makes it again: perennial run --input .*"ModelVersion": 2'):
        resolve(name="one", **drop(aws.put(KEY, "1")))
    aws.create_model(f"{STACK}-{NEXT_RUN}")
    aws.put(f"runs/{NEXT_RUN}/serving/model.tar.gz", "changed")
    with pytest.raises(Exception, match="is not the one that was recorded"):
        resolve(name="two", **drop(aws.put(KEY, "2")))


def test_the_same_execution_gets_the_same_answer(aws, registry, resolve):
    registry({1: ("Approved", RUN)})
    version = aws.put(KEY, "1")
    assert resolve(**drop(version)) == resolve(**drop(version))


@pytest.mark.parametrize(
    ("status", "reason"),
    [("RUNNING", "scores this version of the file now"), ("SUCCEEDED", "has worked on this version of the file"),
     ("FAILED", "has worked on this version of the file")],
)  # fmt: skip
def test_an_event_that_comes_again_scores_nothing(aws, registry, resolve, running, status, reason):
    registry({1: ("Approved", RUN)})
    version = aws.put(KEY, "1")
    first = resolve(name="one", **drop(version))
    running(status)
    again = resolve(name="two", **drop(version))
    assert again["Decision"] == "Duplicate"
    assert again["Reason"] == f"batch {first['BatchId']} {reason}"


def test_a_person_may_have_a_file_scored_again_that_failed_but_not_one_that_was_scored(aws, registry, resolve, running):
    registry({1: ("Approved", RUN)})
    version = aws.put(KEY, "1")
    resolve(name="one", **drop(version))
    running("SUCCEEDED")
    assert resolve(name="two", File={"Key": KEY})["Decision"] == "Duplicate"
    running("FAILED")
    assert resolve(name="three", File={"Key": KEY})["Decision"] == "Score"


def test_what_is_no_file_or_is_gone_is_not_scored(aws, registry, resolve):
    registry({1: ("Approved", RUN)})
    folder = aws.put("batch/incoming/eu/", "")
    assert resolve(name="one", **drop(folder, "batch/incoming/eu/"))["Reason"] == "batch/incoming/eu/ is a folder"
    version = aws.put(KEY, "1")
    aws.client("s3").delete_object(Bucket=BUCKET, Key=KEY, VersionId=version)
    assert resolve(name="two", **drop(version))["Decision"] == "NoFile"
    assert resolve(name="three", File={"Key": KEY})["Decision"] == "NoFile"


def test_a_key_elsewhere_is_refused(resolve):
    with pytest.raises(
        ConfigurationError,
        match=r"File\.Key: got 'raw/cars\.csv'; expected .* below batch/incoming/\. `perennial score",
    ):
        resolve(File={"Key": "raw/cars.csv"})
    with pytest.raises(ConfigurationError, match=r"Trigger\.Object\.key"):
        resolve(Trigger={"Type": "BatchDrop"})


# ---- All that wait


@pytest.fixture
def started(answers):
    return answers("stepfunctions", "StartExecution", (200, {"executionArn": f"{ARN}:x", "startDate": 0}))


def test_the_clock_starts_an_execution_for_each_file_that_waits(aws, registry, resolve, started):
    registry({1: ("Approved", RUN)})
    versions = {key: aws.put(key, "1") for key in (KEY, "batch/incoming/eu/more cars.csv")}
    aws.put("batch/incoming/eu/", "")
    answer = resolve(Trigger={"Type": "Schedule", "Id": "7"})
    assert (answer["Decision"], answer["Reason"]) == ("Started", "of 2 files that wait 2 are scored now")
    bodies = [json.loads(one.body) for one in started]
    assert {
        json.loads(one["input"])["File"]["Key"]: json.loads(one["input"])["File"]["VersionId"] for one in bodies
    } == (versions)
    assert json.loads(bodies[0]["input"])["Trigger"] == {"Type": "Schedule", "Id": "7"}
    assert [one["name"] for one in bodies] == [f"scan-{answer['BatchId']}-{number}" for number in (0, 1)]


def test_an_execution_that_has_begun_already_is_the_same(aws, registry, resolve, answers):
    registry({1: ("Approved", RUN)})
    aws.put(KEY, "1")
    answers("stepfunctions", "StartExecution", refusal("ExecutionAlreadyExists"))
    assert resolve()["Decision"] == "Started"


@pytest.mark.parametrize(
    ("status", "told", "run", "is_scored"),
    [
        ("RUNNING", None, RUN, False),
        ("SUCCEEDED", "Scored", RUN, False),
        ("FAILED", "Drift", RUN, False),
        ("FAILED", "BadData", RUN, False),
        ("FAILED", "Drift", NEXT_RUN, True),
        ("FAILED", "Failed", RUN, True),
        ("FAILED", None, RUN, True),
    ],
)
def test_what_waits_is_scored_where_it_may_come_to_another_end(
    aws, registry, resolve, running, started, status, told, run, is_scored
):
    registry({1: ("Approved", RUN)})
    first = resolve(**drop(aws.put(KEY, "1")))
    running(status)
    if told:
        aws.put(f"batch/runs/{first['BatchId']}/batch.json", json.dumps({"status": told, "run": run}))
    resolve(name="scan")
    assert len(started) == int(is_scored)


def test_nothing_waits_or_no_model_may_score_is_no_failure_of_the_clock(aws, registry, resolve):
    registry({1: ("PendingManualApproval", RUN)})
    assert resolve(name="one")["Decision"] == "NoFile"
    aws.put(KEY, "1")
    answer = resolve(name="two")
    assert answer["Decision"] == "NoModel"
    assert "no version of the model is approved" in answer["Reason"]


# ---- What follows from the verdict


@pytest.fixture
def decide(aws, lambda_context):
    app = load_function("decide_retraining")

    def call(verdict="Drift", number=1, **policy):
        prefix = f"batch/runs/2026112910000{number}-0a1b"
        monitoring = {**MODEL["monitoring"], "retraining": {**MODEL["monitoring"]["retraining"], **policy}}
        aws.put(f"{prefix}/config.json", json.dumps({"definition": {**MODEL, "monitoring": monitoring}}))
        aws.put(f"{prefix}/verdict.json", json.dumps({"verdict": verdict, "reasons": ["it drifted"], "analyses": {}}))
        time = f"2026-11-29T0{number}:00:00Z"
        return app.handler(
            {
                "WindowId": prefix.rpartition("/")[2], "RunId": RUN, "Prefix": f"s3://{BUCKET}/{prefix}",
                "Start": time, "End": time, "File": KEY,
            },
            lambda_context,
        )  # fmt: skip

    return call


def test_drift_of_a_file_starts_training_without_labelled_rows_by_the_policy_of_windows(aws, decide):
    assert decide(breaches=2)["Reason"].startswith("1 of 2 windows with drift in a row")
    assert decide(number=2, breaches=2) == {
        "Verdict": "Drift", "Retrain": True, "Labelled": [],
        "Reason": "drift starts a training run on the data that are there",
    }  # fmt: skip
    assert "the next one not before" in decide(number=3)["Reason"]
    assert not decide(number=4, action="notify")["Retrain"]


@pytest.mark.parametrize("verdict", ["Healthy", "BadData", "NotEnoughData", "Failed"])
def test_only_drift_of_a_file_retrains(aws, decide, verdict):
    assert not decide(verdict)["Retrain"]


def test_files_do_not_move_the_windows_of_the_monitor(aws, decide):
    from perennial_aws import windows

    decide()
    assert (windows.judged_until(), windows.history()) == (None, [])
    assert [one["file"] for one in windows.batches()] == [KEY]


def test_a_run_that_a_window_has_started_rests_files_too_and_the_other_way_round(aws, decide):
    from perennial_aws import windows

    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    entry = {"id": "w", "run": RUN, "start": "a", "end": now, "verdict": "Drift", "retrained_at": now}
    windows.remember("w", lambda history, others: entry)
    assert "the next one not before" in decide()["Reason"]


# ---- What is whole


@pytest.fixture
def finish(aws, lambda_context):
    app = load_function("finish_batch")
    batch, work = "20261129100000-0a1b", "batch/work/20261129100000-0a1b"

    def call(key=KEY, **page):
        version = aws.put(key, "original")
        aws.put(f"{work}/input/data", "original")
        aws.put(f"{work}/result/result", "predictions")
        report = {"rows": 3, "scored": 2, "captured_at": "2026-11-29T10:59:59+00:00"}
        report["page"] = page or {"file": "report.html"}
        aws.put(f"{work}/result/report.html", "<!doctype html>")
        aws.put(f"{work}/result/report.json", json.dumps(report))
        aws.put(f"{work}/result/capture/part-00000.jsonl", "{}")
        event = {"BatchId": batch, "Work": f"s3://{BUCKET}/{work}", "Key": key, "VersionId": version}
        return event, lambda: app.handler(event, lambda_context)

    return call


def test_predictions_and_original_are_put_where_people_look_and_the_file_leaves(aws, finish):
    _, work = finish("batch/incoming/eu/cars of today.csv")
    answer = work()
    scored = "batch/scored/20261129100000-0a1b/eu/cars of today.csv"
    assert answer == {
        "Scored": f"s3://{BUCKET}/{scored}", "Report": f"s3://{BUCKET}/{scored}.report.json",
        "Page": f"s3://{BUCKET}/{scored}.report.html",
        "Done": f"s3://{BUCKET}/batch/done/20261129100000-0a1b/eu/cars of today.csv", "Rows": 3, "Predictions": 2,
    }  # fmt: skip
    assert (aws.get(scored), aws.get(f"{scored}.report.html")) == ("predictions", "<!doctype html>")
    assert aws.get("batch/done/20261129100000-0a1b/eu/cars of today.csv") == "original"
    assert aws.keys("batch/incoming/") == []
    assert aws.keys("capture/") == [f"capture/{STACK}/batch/2026/11/29/10/20261129100000-0a1b-part-00000.jsonl"]
    assert work() == answer


def test_a_page_that_could_not_be_drawn_is_left_out(aws, finish):
    _, work = finish(problem="ValueError: x")
    assert work()["Page"] is None
    assert [key for key in aws.keys("batch/scored/") if key.endswith(".html")] == []


def test_a_file_that_was_dropped_under_the_same_name_meanwhile_stays(aws, finish):
    _, work = finish()
    aws.put(KEY, "newer")
    work()
    assert aws.get(KEY) == "newer"
    versions = aws.client("s3").list_object_versions(Bucket=BUCKET, Prefix=KEY)
    assert (len(versions["Versions"]), versions.get("DeleteMarkers")) == (1, None)


def test_without_whole_predictions_the_file_stays(aws, finish):
    _, work = finish()
    aws.client("s3").delete_object(Bucket=BUCKET, Key="batch/work/20261129100000-0a1b/result/result")
    with pytest.raises(Exception, match=r"404|NoSuchKey|Not Found"):
        work()
    assert aws.get(KEY) == "original"


# ---- Who is told


@pytest.fixture
def tell(aws, lambda_context, answers):
    app = load_function("notify_batch")
    for topic in ("data-owners",):
        aws.client("sns").create_topic(Name=topic)
    mails = answers("sns", "Publish", None)

    def call(answer=None, status="SUCCEEDED", name="one", given=None, waits=False, **end):
        from perennial_aws import runs

        if answer:
            runs.remember(f"{ARN}:{name}", answer)
        described = {"executionArn": f"{ARN}:{name}", "startDate": 1795000000, "stopDate": 1795000060,
                     "status": status, "input": json.dumps(given or drop("v1")), **end}  # fmt: skip
        answers("stepfunctions", "DescribeExecution", (200, described))
        answers("stepfunctions", "GetExecutionHistory", (200, {"events": asked_again("Score") if waits else []}))
        detail = {"executionArn": f"{ARN}:{name}", "status": status, "stopDate": 1795000060000}
        return app.handler({"detail": detail}, lambda_context), [
            {key: values[0] for key, values in parse_qs(one.body).items()} for one in mails
        ]

    return call


BATCH = "20261129100000-0a1b"
ANSWER = {"Decision": "Score", "BatchId": BATCH, "Key": KEY, "VersionId": "v1", "RunId": RUN, "Version": 3}


def judged(aws, verdict, *reasons, **more):
    document = {"verdict": verdict, "reasons": reasons, "rows": 1000, "refused": 2, "refusals": {"mileage: minimum": 2}}
    aws.put(f"batch/runs/{BATCH}/verdict.json", json.dumps({**document, **more}))


def test_a_scored_file_is_told_with_its_numbers_and_addresses(aws, tell):
    judged(aws, "Healthy")
    aws.put(f"batch/scored/{BATCH}/cars.csv.report.json", json.dumps({
        "scored": 998, "captured": 10, "predictions": {"min": 1, "mean": 2.5, "max": 9},
    }))  # fmt: skip
    scored = f"s3://{BUCKET}/batch/scored/{BATCH}/cars.csv"
    output = {
        "Scored": scored, "Report": f"{scored}.report.json", "Page": f"{scored}.report.html",
        "Done": f"s3://{BUCKET}/batch/done/{BATCH}/cars.csv",
    }  # fmt: skip
    answer, (mail,) = tell(ANSWER, output=json.dumps(output), waits=True)
    assert (answer["BatchId"], answer["Status"]) == (BATCH, "Scored")
    assert mail["Subject"].startswith("File scored: 998 of the 1,000 rows of cars.csv have a prediction")
    assert mail["TopicArn"].endswith(":data-owners")
    for line in (
        f"Model         of run {RUN}, version 3", "Rows          1,000, 2 of them refused (mileage: minimum 2)",
        "Predictions   min 1, mean 2.5, max 9", f"Predictions   {scored}", f"Original      {output['Done']}",
        "Waited        in state 'Score', tried again 2 times, after SageMaker.ResourceLimitExceededException",
        "Waited        in state 'Score', its job was made again once: SageMaker had no machine or lost it",
        f"Report        {scored}.report.html", f"As JSON       {scored}.report.json",
    ):  # fmt: skip
        assert line in mail["Message"].splitlines()
    record = aws.get_json(f"batch/runs/{BATCH}/batch.json")
    assert (record["status"], record["run"], record["scored"], record["file"]) == ("Scored", RUN, 998, KEY)


def test_drift_is_told_with_its_columns_and_what_the_policy_said(aws, decide, tell):
    decide()
    answer = {**ANSWER, "BatchId": "20261129100001-0a1b"}
    reasons = ["mileage: by the Kolmogorov-Smirnov distance. Baseline drift distance: 0.4", "price: 0.3"]
    prefix = "batch/runs/20261129100001-0a1b"
    verdict = {"verdict": "Drift", "reasons": reasons, "page": {"file": "report.html"}}
    aws.put(f"{prefix}/verdict.json", json.dumps(verdict))
    told, (mail,) = tell(answer, status="FAILED", error="InputDrifted", cause="…")
    assert told["Status"] == "Drift"
    assert mail["Subject"].startswith("Drift in a file: cars.csv: mileage: by the Kolmogorov-Smirnov distance")
    assert "price: 0.3" in mail["Message"]
    assert (
        "Retraining     started: drift starts a training run on the data that are there. Where none of them are new it "
        'ends at once, and a mail of its own says "Not retrained".'
    ) in mail["Message"]
    assert f"Report        s3://{BUCKET}/{prefix}/report.html" in mail["Message"]
    assert mail["TopicArn"].endswith(":data-owners")


def test_a_broken_file_is_told_and_asks_for_another(aws, tell):
    judged(aws, "BadData", "cars.csv: the file is empty: it holds no rows")
    told, (mail,) = tell(ANSWER, status="FAILED", error="InputBroken", cause="…")
    assert told["Status"] == "BadData"
    assert "the file is empty" in mail["Subject"]
    assert "Take the file away, and drop a mended one" in mail["Message"]
    assert "Retraining" not in mail["Message"]


CAUSES = {
    "NoApprovedVersionError": ("no version of the model is approved", "no version of the model is approved"),
    "States.TaskFailed": ('State "Score" failed: {"TransformJobName": "x-1-batch-score-0", "FailureReason": "no room"}',
                          "no room"),
}  # fmt: skip


@pytest.mark.parametrize(("error", "texts"), CAUSES.items(), ids=CAUSES)
def test_a_failure_is_told_to_who_operates_with_its_cause_first(aws, tell, error, texts):
    told, (mail,) = tell(ANSWER, status="FAILED", error=error, cause=texts[0])
    assert told["Status"] == "Failed"
    assert texts[1] in mail["Subject"]
    assert mail["TopicArn"].endswith(":alerts")
    assert f"Cause ({error}" in mail["Message"]
    assert "The file stays where it is" in mail["Message"]


def test_a_failure_before_an_answer_names_the_file_of_the_input(aws, tell):
    told, (mail,) = tell(None, status="FAILED", error="ConfigurationError", cause="no model")
    assert told["BatchId"] == run_id(f"{ARN}:one", datetime.fromtimestamp(1795000000, UTC))
    assert mail["Subject"].startswith("File not scored: cars.csv: no model")
    _, mails = tell(None, status="ABORTED", name="two", given={"Trigger": {"Type": "nothing"}})
    assert "somebody has stopped it" in mails[-1]["Subject"]


def test_an_end_that_comes_twice_is_told_once_and_nothing_to_score_is_not_told(aws, tell):
    assert tell({**ANSWER, "Decision": "Duplicate"}, output="{}")[1] == []
    judged(aws, "BadData", "broken")
    tell(ANSWER, status="FAILED", name="two", error="InputBroken", cause="…")
    assert len(tell(ANSWER, status="FAILED", name="two", error="InputBroken", cause="…")[1]) == 1


def test_names_of_files_do_no_harm_in_a_mail(aws, tell):
    evil = "batch/incoming/https://evil.example/\u202e\r\nBcc: you.csv"
    _, (mail,) = tell({**ANSWER, "Key": evil}, status="FAILED", error="E", cause="c")
    assert "https://evil" not in mail["Message"]
    assert "\u202e" not in mail["Message"]
    assert not any(line.startswith("Bcc") for line in mail["Message"].splitlines())


def test_a_file_is_not_scored_by_a_model_of_series(aws, registry, resolve, monkeypatch):
    registry({1: ("Approved", RUN)})
    monkeypatch.setenv("MODEL_NAME", "employment")
    aws.put(KEY, "1")
    with pytest.raises(Exception, match="files of rows are scored, and the model forecasts series; ask the endpoint"):
        resolve(File={"Key": KEY})
