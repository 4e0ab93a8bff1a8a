"""The function "Notify run": every end is told once, recorded whole, and nothing is mailed when there was no work."""

import json
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from botocore.exceptions import ClientError

from perennial.model import definition
from perennial.model.feature_store import FeatureStore
from perennial.runs import rollout
from perennial.runs.naming import run_id
from perennial.runs.run_input import TriggerType
from tests import dashboard
from tests.pages import Page
from tests.unit.conftest import BUCKET, EXECUTION_ARN, REGION, ROOT, STACK, load_function, refusal, xml_refusal

STARTED = datetime(2026, 11, 20, 9, 34, 40, tzinfo=UTC)
ENDED = STARTED + timedelta(seconds=83)
RUN = run_id(EXECUTION_ARN, STARTED)
NAME = f"{STACK}-{RUN}"

# As AWS names a role's session: the sample of DescribePipelineExecution, the same shape (UserContext).
ADA = {"IamIdentity": {"Arn": "arn:aws:sts::123456789012:assumed-role/approver/ada", "PrincipalId": "AROA1:ada"}}


@pytest.fixture
def app(aws):
    return load_function("notify_run")


@pytest.fixture
def mails(aws):
    """What the topic delivered: (subject, body), by a queue that subscribes."""
    queue = aws.client("sqs").create_queue(QueueName="mails")["QueueUrl"]
    arn = f"arn:aws:sqs:{REGION}:123456789012:mails"
    topic = f"arn:aws:sns:{REGION}:123456789012:alerts"
    aws.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)

    def read():
        received = aws.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        bodies = [json.loads(message["Body"]) for message in received]
        return [(body["Subject"], body["Message"]) for body in bodies]

    return read


@pytest.fixture
def ended(answers):
    """Let the execution have ended this way."""

    def end(status="SUCCEEDED", error=None, cause=None, execution_input="{}", states=("Train", "Clean up")):
        body = {
            "executionArn": EXECUTION_ARN,
            "stateMachineArn": f"arn:aws:states:{REGION}:123456789012:stateMachine:{STACK}-train-model",
            "status": status,
            "startDate": STARTED.timestamp(),
            "stopDate": ENDED.timestamp(),
            "input": execution_input,
            **({"error": error} if error else {}),
            **({"cause": cause} if cause else {}),
        }
        answers("stepfunctions", "DescribeExecution", (200, body))
        answers("stepfunctions", "GetExecutionHistory", (200, {"events": list(_events(states, status))}))
        for kind in ("Processing", "Transform"):
            answers("sagemaker", f"List{kind}Jobs", (200, {f"{kind}JobSummaries": []}))
        job = {
            "TrainingJobName": f"{NAME}-train-0",
            "TrainingJobArn": "arn",
            "TrainingJobStatus": "Completed",
            "CreationTime": STARTED.timestamp(),
            "TrainingEndTime": ENDED.timestamp(),
        }
        of_another_stack = {**job, "TrainingJobName": f"my-{NAME}-train-0"}
        answers("sagemaker", "ListTrainingJobs", (200, {"TrainingJobSummaries": [of_another_stack, job]}))
        detail = {"executionArn": EXECUTION_ARN, "status": status, "stopDate": int(ENDED.timestamp() * 1000)}
        return {"detail-type": "Step Functions Execution Status Change", "source": "aws.states", "detail": detail}

    return end


def _events(states, status):
    for number, name in enumerate(states):
        at = STARTED.timestamp() + 10 * number
        yield _event(at, "TaskStateEntered", "stateEnteredEventDetails", name)
        if status == "SUCCEEDED" or number < len(states) - 1:
            yield _event(at + 7.5, "TaskStateExited", "stateExitedEventDetails", name)


def _event(at, kind, details, name):
    return {"timestamp": at, "type": kind, "id": 1, details: {"name": name}}


@pytest.fixture
def worked(aws, lambda_context, answers):
    """Let the run have claimed its work, as the first function leaves it, and have been judged."""
    from perennial_aws import runs

    version = aws.put("raw/cars.csv", "price\n1\n")
    event = {
        "Input": {"Trigger": {"Type": "DataDrop", "Object": {"key": "raw/cars.csv", "version-id": version}}},
        "ExecutionArn": EXECUTION_ARN,
        "ExecutionName": "one",
        "StartTime": STARTED.isoformat(),
    }
    load_function("resolve_configuration").handler(event, lambda_context)
    gate = {
        "metric": "rmse",
        "direction": "minimize",
        "threshold": 3500.0,
        "minimum_improvement": 0.0,
        "candidate": 2345.6,
        "champion": None,
        "accepted": True,
        "reason": "rmse 2,345.6 meets the threshold (at most 3,500)",
    }
    runs.update(RUN, gate=gate, metrics={"candidate_interval": [2000.0, 2700.0], "test_rows": 160})
    return version


@pytest.fixture
def notify(app, lambda_context):
    return lambda event: app.handler(event, lambda_context)


def test_what_preprocessing_found_is_recorded_and_told(aws, worked, ended, notify, mails):
    report = {
        "rows": {"read": 807, "used": 804, "quarantined": 3, "written_to_quarantine": 3},
        "sets": {"train": 520, "validation": 120, "test": 161},
        "duplicates": {"rows": 3, "left_out": 3},
        "drift": None,
    }
    aws.put(f"runs/{RUN}/report/report.json", json.dumps(report))
    notify(ended())
    assert aws.get_json(f"runs/{RUN}/run.json")["rows"]["repeated"] == 3
    ((_, body),) = mails()
    assert "Rows          801 different ones in the sets: 807 read, 3 quarantined, 3 repeat others" in body


REPORT = {"rows": {"read": 1, "used": 1, "quarantined": 0}, "sets": {}, "duplicates": {"rows": 0}, "drift": None}


def test_all_problems_of_the_data_come_from_the_report(aws, worked, ended, notify, mails):
    problems = [
        "81 of 804 rows break the data contract",
        *(f"c{n} breaks the rule 'type' in 81 rows" for n in range(40)),
    ]
    aws.put(f"runs/{RUN}/report/report.json", json.dumps({**REPORT, "problems": problems}))
    said = json.dumps({"ProcessingJobName": "p", "ExitMessage": "\n".join(problems)[:1024]})
    notify(ended("FAILED", "States.TaskFailed", f'State "Preprocess" failed: {said}', states=("Preprocess",)))
    ((subject, body),) = mails()
    assert subject.startswith("Run failed: in state 'Preprocess': 81 of 804 rows")
    assert "\n  c18 breaks the rule 'type' in 81 rows\n" in body
    assert f"  ... and 21 more; all of them: s3://{BUCKET}/runs/{RUN}/report/problems.txt\n" in body
    assert aws.get_json(f"runs/{RUN}/run.json")["failure"]["problems"] == problems


# ---- Files that are put aside


@pytest.fixture
def resolve(aws, lambda_context):
    """Let an execution begin, by the clock: (decision, keys that are ignored, with their reasons)."""
    app = load_function("resolve_configuration")

    def call(arn, **given):
        event = {"Input": given or {"Trigger": {"Type": "Schedule"}}, "ExecutionArn": arn, "ExecutionName": "x"}
        told = app.handler({**event, "StartTime": STARTED.isoformat()}, lambda_context)
        return told["Decision"], aws.get_json(f"runs/{told['RunId']}/manifest.json") if "Model" in told else None

    return call


@pytest.fixture
def put_aside(aws, ended, notify, resolve):
    """Let a run have trained on one file, and have put another aside."""
    aws.put("raw/a.csv", "price\n1\n")
    aws.put("raw/read me.txt", "hello")
    resolve(EXECUTION_ARN)
    aside = [{"position": 1, "name": "raw/read me.txt", "reason": "no column name stands in the first line"}]
    aws.put(f"runs/{RUN}/report/report.json", json.dumps({**REPORT, "aside": aside}))
    return notify(ended())


def test_a_file_that_is_put_aside_is_told_once_and_known_to_later_runs(aws, mails, put_aside, resolve):
    ((_, body),) = mails()
    assert "1 file is put aside" in body
    assert "raw/read me.txt: no column name stands in the first line" in body
    assert f"aws s3 rm 's3://{BUCKET}/raw/read me.txt'" in body
    aws.put("raw/b.csv", "price\n2\n")
    decision, manifest = resolve(f"{EXECUTION_ARN}-2")
    assert decision == "Train"
    assert [file["Key"] for file in manifest["Files"]] == ["raw/a.csv", "raw/b.csv"]
    (ignored,) = manifest["Ignored"]
    assert ignored["Reason"] == f"put aside by run {RUN}: no column name stands in the first line"


def test_what_was_trained_on_without_the_stray_is_not_trained_on_again(put_aside, resolve):
    assert resolve(f"{EXECUTION_ARN}-2") == ("AlreadyTrained", None)


def test_records_that_are_written_of_what_was_ingested_are_no_news_after_a_stray_either(
    aws, ended, notify, resolve, monkeypatch
):
    known = definition.load(ROOT / "models/used-cars/model.yaml")
    store = FeatureStore(groups={"sales": {"record": "sale", "event_time": "sold"}}, ingest=True)
    monkeypatch.setattr(definition, "load", lambda _: known.model_copy(update={"feature_store": store}))
    folder = f"raw/1/sagemaker/{REGION}/offline-store/{STACK}_sales-1764000000/data/year=2026"
    aws.put("raw/a.csv", "price\n1\n")
    aws.put("raw/read me.txt", "hello")
    aws.put(f"{folder}/before.parquet", "records")
    resolve(EXECUTION_ARN)
    aside = [{"position": 1, "name": "raw/read me.txt", "reason": "no table"}]
    aws.put(f"runs/{RUN}/report/report.json", json.dumps({**REPORT, "aside": aside}))
    notify(ended())
    aws.put(f"{folder}/after.parquet", "more records")
    assert resolve(f"{EXECUTION_ARN}-2") == ("AlreadyTrained", None)


def test_a_file_that_replaces_a_stray_is_data_again(aws, put_aside, resolve):
    aws.put("raw/read me.txt", "price\n3\n")
    decision, manifest = resolve(f"{EXECUTION_ARN}-2")
    assert decision == "Train"
    assert [file["Key"] for file in manifest["Files"]] == ["raw/a.csv", "raw/read me.txt"]


def test_a_stray_is_tried_again_by_other_code(put_aside, resolve, monkeypatch):
    monkeypatch.setenv("CODE_URI", f"s3://{BUCKET}/code/fedcba9876543210")
    decision, manifest = resolve(f"{EXECUTION_ARN}-2")
    assert (decision, len(manifest["Files"])) == ("Train", 2)


def test_a_run_that_could_not_deploy_is_told_and_closed_as_that(aws, ended, notify, mails, resolve):
    aws.put("raw/mine/a.csv", "price\n1\n")
    resolve(EXECUTION_ARN, Overrides={"DataPrefix": "raw/mine/"})
    assert notify(ended())["Status"] == "TrainedOnly"
    record = aws.get_json(f"runs/{RUN}/run.json")
    assert (record["status"], record["deployed"]) == ("TrainedOnly", None)
    assert record["withheld"].startswith("its input decides data_prefix")
    assert record["input"]["Overrides"] == {"DataPrefix": "raw/mine/"}
    ((subject, _),) = mails()
    assert subject.startswith("Trained only: its input decides data_prefix")


def test_strays_of_runs_that_end_at_the_same_time_are_all_known(aws, monkeypatch):
    from perennial_aws import runs

    stray = {"Key": "raw/a", "VersionId": "v", "Reason": "no table"}
    get = runs.item

    def other_run_first(item_id):
        monkeypatch.setattr(runs, "item", get)
        held = get(item_id)
        runs.remember_strays([{**stray, "Key": "raw/b"}], "reader", "run-2")
        return held

    monkeypatch.setattr(runs, "item", other_run_first)
    runs.remember_strays([stray], "reader", "run-1")
    assert {known["run_id"] for known in runs.strays()} == {"run-1", "run-2"}


def test_a_success_is_told_with_the_numbers(aws, worked, ended, notify, mails):
    result = notify(ended())
    [(subject, body)] = mails()
    assert result["RunId"] == RUN
    assert result["Status"] == "Succeeded"
    assert subject.startswith("Model in service: rmse 2,345.6")
    assert subject.endswith(f" [{STACK}]")
    first = body.splitlines()[0]
    assert first == "Model in service: rmse 2,345.6 meets the threshold (at most 3,500)"
    for expected in (
        RUN,
        "2,345.6 USD on all 160 test rows (95 % interval 2,000 to 2,700)",
        "at most 3,500 USD",
        "1 min 23 s",
        EXECUTION_ARN,
    ):
        assert expected in body


def test_the_record_of_a_success_goes_from_data_to_endpoint(aws, worked, ended, notify):
    notify(ended())
    record = aws.get_json(f"runs/{RUN}/run.json")
    assert record["status"] == "Succeeded"
    assert record["data"]["files"][0]["VersionId"] == worked
    assert record["deployed"] == {"endpoint": STACK, "endpoint_config": NAME, "model": NAME}
    assert record["baselines"]["data_quality"] == f"s3://{BUCKET}/runs/{RUN}/baselines/data-quality"
    assert record["durations_seconds"] == {"Train": 7.5, "Clean up": 7.5}
    assert record["execution"]["duration_seconds"] == 83
    assert [job["name"] for job in record["jobs"]] == [f"{NAME}-train-0"]
    assert record["code"]["hash"] == "0123456789abcdef"
    assert record["input"]["Trigger"]["Type"] == "DataDrop"
    assert record["metrics"]["test_rows"] == 160


FOLDER = (
    "train/part-00000.csv", "test/part-00000.jsonl", "rows/v1/seen/part-00000.u64", "model/job/output/model.tar.gz",
    "serving/model.tar.gz", "verification/records.jsonl", "config.json",
)  # fmt: skip


@pytest.fixture
def left(aws, worked):
    """What the run has left, whose model is sealed; called, the objects that expire by now."""
    from perennial_aws import runs

    for name in FOLDER:
        aws.put(f"runs/{RUN}/{name}", "1")
    aws.put("runs/20261120093440-ffff/train/part-00000.csv", "of another run")
    runs.update(RUN, artifacts={"model": {"written": {}, "sealed": {}}, "preprocessor": {"written": {}}})
    s3 = aws.client("s3")

    def tagged():
        keys = {item["Key"] for item in s3.list_objects_v2(Bucket=BUCKET, Prefix="runs/")["Contents"]}
        tags = {key: s3.get_object_tagging(Bucket=BUCKET, Key=key)["TagSet"] for key in keys}
        assert {str(value) for value in tags.values()} <= {"[]", str([{"Key": "expires", "Value": "RunSetsDays"}])}
        return {key.removeprefix(f"runs/{RUN}/") for key, value in tags.items() if value}

    return tagged


SETS = {"train/part-00000.csv", "test/part-00000.jsonl", "model/job/output/model.tar.gz"}


def test_what_the_run_made_on_its_way_expires_once_it_has_ended_and_what_serves_stays(ended, notify, left):
    assert left() == set()
    notify(ended())
    assert left() == SETS


def test_hashes_expire_too_of_a_run_whose_model_can_never_serve(ended, notify, left):
    notify(ended("FAILED", "ModelAccuracyTooLow", "too low", states=("Model accuracy too low",)))
    assert left() == {*SETS, "rows/v1/seen/part-00000.u64"}


def test_hashes_stay_of_a_run_whose_version_may_be_approved_yet(ended, notify, left, answers):
    registered(answers, "PendingManualApproval")
    notify(ended("FAILED", "ApprovalTimedOut", "nobody", states=("Wait for approval",)))
    assert left() == SETS


def test_nothing_expires_of_a_run_whose_endpoint_can_be_verified_by_its_sets_alone(aws, ended, notify, left):
    """One that was under way when the stack was updated."""
    aws.client("s3").delete_object(Bucket=BUCKET, Key=f"runs/{RUN}/verification/records.jsonl")
    notify(ended())
    assert left() == set()


def test_where_s3_refuses_a_tag_it_is_tried_again_and_the_mail_goes_out_once(ended, notify, left, answers, mails):
    event = ended()
    denied = "<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
    answers("s3", "PutObjectTagging", (403, denied), None)
    with pytest.raises(ClientError, match="PutObjectTagging"):
        notify(event)
    notify(event)
    assert (left(), len(mails())) == (SETS, 1)


def test_the_record_says_until_when_the_sets_are_there_and_so_does_the_mail_of_rows_put_aside(
    aws, worked, ended, notify, mails
):
    rule = {"column": "price", "rule": "missing", "rows": 3, "examples": [], "expected": ""}
    report = {**REPORT, "new_files": {"files": 1, "rows": 9, "quarantined": 3, "rules": [rule]}}
    aws.put(f"runs/{RUN}/report/report.json", json.dumps(report))
    notify(ended())
    assert aws.get_json(f"runs/{RUN}/run.json")["sets_until"] == "2026-12-20"
    assert f"/runs/{RUN}/quarantine/ (kept until 2026-12-20, at least)\n" in mails()[0][1]


def test_the_version_in_the_registry_is_recorded_and_told(aws, worked, ended, notify, mails, answers):
    arn = f"arn:aws:sagemaker:{REGION}:123456789012:model-package/{STACK}/"
    versions = [
        {"ModelPackageArn": f"{arn}{number}", "ModelPackageVersion": number, "ModelApprovalStatus": "Approved",
         "ModelPackageDescription": text}
        for number, text in ((6, "by hand"), (7, f"run {RUN}"), (8, "run 20261120093441-0000"))
    ]  # fmt: skip
    listed = answers("sagemaker", "ListModelPackages", (200, {"ModelPackageSummaryList": versions}))
    answers("sagemaker", "DescribeModelPackage", (200, {**versions[1], "LastModifiedTime": 1, "LastModifiedBy": ADA}))
    notify(ended())
    version = {"arn": f"{arn}7", "number": 7, "status": "Approved", "by": ADA["IamIdentity"]["Arn"]}
    assert aws.get_json(f"runs/{RUN}/run.json")["version"] == version
    line = f"\nVersion       7 in the model registry ({arn}7), Approved by assumed-role/approver/ada\n"
    assert line in mails()[0][1].replace("\n  ", " ").replace("              ", " ")
    asked = json.loads(listed[0].body)
    assert (asked["ModelPackageGroupName"], asked["CreationTimeAfter"]) == (STACK, STARTED.timestamp())


@pytest.mark.parametrize(
    ("described", "by", "ends"),
    [
        ({"LastModifiedTime": 1}, "unknown", "Approved by unknown"),
        ({"LastModifiedTime": 1, "LastModifiedBy": {"UserProfileName": "ada"}}, "ada", "Approved by ada"),
        ({}, None, "Approved"),
    ],
)
def test_who_has_answered_is_told_as_far_as_aws_says(aws, worked, ended, notify, mails, answers, described, by, ends):
    registered(answers)
    known = {"ModelPackageVersion": 7, "ModelApprovalStatus": "Approved"}
    answers("sagemaker", "DescribeModelPackage", (200, {**known, **described}))
    notify(ended())
    assert aws.get_json(f"runs/{RUN}/run.json")["version"]["by"] == by
    assert f"{ends}\n" in mails()[0][1]


def registered(answers, status="Approved"):
    """A version of the run, and the updates that were asked for."""
    arn = f"arn:aws:sagemaker:{REGION}:123456789012:model-package/{STACK}/7"
    version = {"ModelPackageArn": arn, "ModelPackageVersion": 7, "ModelApprovalStatus": status}
    listed = [{**version, "ModelPackageDescription": f"run {RUN}"}]
    answers("sagemaker", "ListModelPackages", (200, {"ModelPackageSummaryList": listed}))
    answers("sagemaker", "DescribeModelPackage", (200, version))
    return answers("sagemaker", "UpdateModelPackage", (200, {"ModelPackageArn": arn}))


def test_a_version_whose_run_failed_before_it_served_is_rejected_with_the_reason(
    aws, worked, ended, notify, mails, answers
):
    updates = registered(answers)
    notify(ended("FAILED", "DeploymentFailed", "Endpoint e does not serve", states=("Check deployment",)))
    (request,) = (json.loads(update.body) for update in updates)
    assert request["ModelApprovalStatus"] == "Rejected"
    assert request["ApprovalDescription"] == (
        f"run {RUN} ended before it served: in state 'Check deployment': Endpoint e does not serve"
    )
    assert aws.get_json(f"runs/{RUN}/run.json")["version"]["status"] == "Rejected"
    assert ", Rejected\n" in mails()[0][1]


@pytest.mark.parametrize(("seconds", "rejected"), [(-1, 1), (1, 0)], ids=["before its end", "since its end"])
def test_a_version_that_is_approved_since_its_run_was_stopped_stays_approved(
    aws, worked, ended, notify, answers, seconds, rejected
):
    """The end is told some seconds later: an approval of these seconds has started a deployment of its own."""
    updates = registered(answers)
    described = {"ModelPackageVersion": 7, "ModelApprovalStatus": "Approved"}
    answers("sagemaker", "DescribeModelPackage", (200, {**described, "LastModifiedTime": ENDED.timestamp() + seconds}))
    notify(ended("ABORTED", states=("Wait for approval",)))
    assert len(updates) == rejected
    status = "Rejected" if rejected else "Approved"
    assert aws.get_json(f"runs/{RUN}/run.json")["version"]["status"] == status


def test_a_version_that_was_superseded_after_its_approval_is_rejected(aws, worked, ended, notify, answers):
    updates = registered(answers)
    notify(ended("FAILED", "SupersededByNewerData", "newer data serve", states=("Reserve deployment",)))
    (request,) = (json.loads(update.body) for update in updates)
    assert (request["ModelApprovalStatus"], "newer data serve" in request["ApprovalDescription"]) == ("Rejected", True)


@pytest.mark.parametrize(
    ("status", "error", "state", "approval"),
    [
        ("SUCCEEDED", None, "Clean up", "Approved"),
        ("FAILED", "KeyError", "Clean up", "Approved"),
        ("FAILED", "Ssm.SsmException", "Write parameter", "Approved"),
        ("FAILED", "ApprovalTimedOut", "Wait for approval", "PendingManualApproval"),
        ("ABORTED", None, "Wait for approval", "PendingManualApproval"),
    ],
)
def test_a_version_that_serves_or_may_serve_yet_stays_as_it_is(
    aws, worked, ended, notify, answers, status, error, state, approval
):
    updates = registered(answers, approval)
    notify(ended(status, error, "why", states=(state,)))
    assert list(updates) == []
    assert aws.get_json(f"runs/{RUN}/run.json")["version"]["status"] == approval


def test_the_deployment_of_a_version_is_a_run_of_its_own_that_says_whose_model_serves_and_why(
    aws, ended, notify, mails, answers
):
    from perennial_aws import runs

    made = "20261101093440-0a1b"
    registered(answers)
    reason = f"version 7, of run {made}, is the newest approved one; version 8, which served then, was rejected: biased"
    runs.remember(EXECUTION_ARN, {
        "Decision": "Deploy", "Reason": reason, "RunId": made, "DeploymentId": RUN, "Name": f"{STACK}-{made}",
        "Version": {"Number": 7, "InsteadOf": "20261102093440-0a1b"}, "Withheld": None,
    })  # fmt: skip
    baked = rollout.deployment_config("canary", 300, 2, ["errors"])
    runs.update(RUN, rollout={"config": baked, "left_out": []})  # as "Check endpoint" does
    notify(ended(execution_input=json.dumps({"ModelVersion": 7})))
    record = aws.get_json(f"runs/{RUN}/run.json")
    about = {"run_id": made, "reason": reason, "instead_of": "20261102093440-0a1b"}
    assert (record["status"], record["deployment"]) == ("Succeeded", about)
    assert record["deployed"]["model"] == f"{STACK}-{made}"
    assert record["baselines"]["bias"] == f"s3://{BUCKET}/runs/{made}/baselines/bias"
    ((subject, body),) = mails()
    assert subject.startswith(f"Model in service: version 7, of run {made}")
    assert body.startswith(f"Model in service: {reason}\n")
    assert f"Endpoint      {STACK} serves {STACK}-{made}\n" in body
    assert "Taking over   1 instance first, then all, watched for 300 s by errors\n" in body


def serving(run):
    """What "Reserve deployment" notes of what serves."""
    return {"champion": {"RunId": run, "ModelName": f"{STACK}-{run}", "EndpointConfigName": f"{STACK}-{run}"}}


@pytest.mark.parametrize(
    ("before", "rejected"),
    [
        (serving("20261102093440-0a1b"), True),
        ({"champion": None}, True),
        (serving("20261101093440-0a1b"), False),
        ({}, False),
    ],
    ids=["another serves", "nothing serves", "it serves already", "it never had its turn"],
)
def test_a_version_whose_deployment_failed_is_rejected_so_that_it_can_be_approved_and_tried_again(
    aws, ended, notify, mails, answers, before, rejected
):
    """Or the newest approved version would be another than the one that serves, and an approval of it no change."""
    from perennial_aws import runs

    updates = registered(answers)
    runs.remember(EXECUTION_ARN, {
        "Decision": "Deploy", "Reason": "it is the newest approved one", "RunId": "20261101093440-0a1b",
        "DeploymentId": RUN, "Name": f"{STACK}-20261101093440-0a1b", "Version": {"Number": 7}, "Withheld": None,
    })  # fmt: skip
    if before:
        runs.update(RUN, **before)
    cause = "Endpoint e does not serve c: CloudWatch alarm(s) in the state ALARM: [errors]"
    event = ended(
        "FAILED", "DeploymentFailed", cause, states=("Check deployment",), execution_input='{"ModelVersion": 7}'
    )
    notify(event)
    said = [json.loads(update.body) for update in updates]
    assert [one["ModelApprovalStatus"] for one in said] == ["Rejected"] * rejected
    assert all("in the state ALARM: [errors]" in one["ApprovalDescription"] for one in said), said
    assert aws.get_json(f"runs/{RUN}/run.json")["version"]["status"] == ("Rejected" if rejected else "Approved")
    ((_, body),) = mails()
    assert body.startswith("Run failed: in state 'Check deployment'")


@pytest.mark.parametrize(("newest", "rejected"), [(7, True), (8, False)], ids=["newer data serve", "a newer version"])
def test_the_newest_approved_version_that_is_superseded_has_older_data_and_is_rejected(
    ended, notify, answers, newest, rejected
):
    """Or a way back from what serves would lead to it."""
    from perennial_aws import runs

    updates = registered(answers)
    group = f"arn:aws:sagemaker:{REGION}:123456789012:model-package/{STACK}"
    versions = [
        {"ModelPackageArn": f"{group}/{number}", "ModelPackageVersion": number, "ModelApprovalStatus": "Approved"}
        for number in {7, newest}
    ]
    answers("sagemaker", "ListModelPackages", (200, {"ModelPackageSummaryList": versions}))
    runs.remember(EXECUTION_ARN, {
        "Decision": "Deploy", "Reason": "it is the newest approved one", "RunId": "20261101093440-0a1b",
        "DeploymentId": RUN, "Name": f"{STACK}-20261101093440-0a1b", "Version": {"Number": 7}, "Withheld": None,
    })  # fmt: skip
    runs.update(RUN, **serving("20261102093440-0a1b"))
    event = ended("FAILED", "SupersededByNewerData", "newer data serve", states=("Reserve deployment",))
    notify(event)
    assert [json.loads(one.body)["ModelApprovalStatus"] for one in updates] == ["Rejected"] * rejected


def test_a_run_whose_group_is_gone_is_told_without_a_version(aws, worked, ended, notify, mails, answers):
    answers("sagemaker", "ListModelPackages", refusal("ValidationException", "ModelPackageGroup arn does not exist."))
    notify(ended())
    assert aws.get_json(f"runs/{RUN}/run.json")["version"] is None
    assert "Version  " not in mails()[0][1]


def test_the_table_is_closed_too_so_that_claims_know(aws, worked, ended, notify):
    from perennial_aws import runs

    notify(ended("FAILED", "States.TaskFailed", "x"))
    closed = runs.get(RUN)
    assert closed is not None
    assert closed["status"] == "Failed"


@pytest.mark.parametrize(
    ("status", "error", "subject", "recorded"),
    [
        ("FAILED", "ModelAccuracyTooLow", "Candidate rejected", "Rejected"),
        ("FAILED", "States.TaskFailed", "Run failed", "Failed"),
        ("TIMED_OUT", None, "Run timed out", "TimedOut"),
        ("ABORTED", None, "Run aborted", "Aborted"),
    ],
)
def test_every_other_end_is_told_and_deploys_nothing(
    aws, worked, ended, notify, mails, status, error, subject, recorded
):
    notify(ended(status, error, "a cause" if error else None))
    [(given, body)] = mails()
    assert given.startswith(f"{subject}: ")
    assert "What to do" in body
    record = aws.get_json(f"runs/{RUN}/run.json")
    assert (record["status"], record["deployed"], record["baselines"]) == (recorded, None, None)


@pytest.fixture
def spot_run(aws, worked):
    from perennial_aws import runs

    configuration = runs.get(RUN)["configuration"]
    configuration["definition"]["instances"]["train"]["spot"] = True
    runs.update(RUN, configuration=configuration)


TOOK = {"TrainingTimeInSeconds": 500, "BillableTimeInSeconds": 100}


@pytest.mark.parametrize(
    ("described", "saved"),
    [
        ((200, {"TrainingJobName": f"{NAME}-train-0", "EnableManagedSpotTraining": True, **TOOK}), (500, 100, 0)),
        ((200, {"TrainingJobName": f"{NAME}-train-0", "EnableManagedSpotTraining": True}), None),
        ((400, {"__type": "AccessDeniedException", "message": "no"}), None),
    ],
    ids=["it has ended", "it is being stopped", "nobody may ask"],
)
def test_what_a_spot_job_saved_is_recorded_of_a_run_that_ended_before_its_results_were_read(
    aws, spot_run, ended, notify, mails, answers, described, saved
):
    event = ended("FAILED", "States.TaskFailed", "a cause", states=("Train",))
    asked = answers("sagemaker", "DescribeTrainingJob", described)
    notify(event)
    [(_, body)] = mails()
    assert json.loads(asked[0].body) == {"TrainingJobName": f"{NAME}-train-0"}
    known = aws.get_json(f"runs/{RUN}/run.json").get("spot")
    numbers = known and (known["training_seconds"], known["billable_seconds"], known["interruptions"])
    assert (numbers, "100 of 500 s of training are billed: 80% saved" in body) == (saved, saved is not None)


def test_of_a_machine_that_is_not_taken_away_nobody_asks_what_it_saved(worked, ended, notify, answers):
    event = ended("FAILED", "States.TaskFailed", "a cause", states=("Train",))
    asked = answers("sagemaker", "DescribeTrainingJob", (200, {}))
    notify(event)
    assert asked == []


def test_a_failure_names_the_state_and_the_jobs_own_words(aws, worked, ended, notify, mails):
    description = {
        "ProcessingJobName": "x",
        "ProcessingJobStatus": "Failed",
        "ExitMessage": "price: 12 rows out of range",
    }
    cause = f'State "Preprocess" failed: {json.dumps(description)}'
    notify(ended("FAILED", "States.TaskFailed", cause, states=("Preprocess",)))
    [(subject, body)] = mails()
    assert body.splitlines()[0] == "Run failed: in state 'Preprocess': price: 12 rows out of range"
    assert "drop them again" in body
    assert "12 rows out of range" in subject


def test_a_search_that_has_failed_is_told_with_the_reason_of_a_trial(aws, worked, ended, notify, mails, answers):
    """Amazon SageMaker API Reference: of a tuning job FailureReason counts trials, of each summary it is its own."""
    job, reason = "p-20261120093440-0001-t0", "AlgorithmError: tree_method gpu_hist needs a GPU, exit code: 1"
    description = {
        "HyperParameterTuningJobName": job,
        "HyperParameterTuningJobStatus": "Failed",
        "FailureReason": "No training job succeeded after 2 attempts. Please take a look at the training job failures.",
    }
    trial = {
        "TrainingJobName": f"{job}-001-0f0444b1",
        "TrainingJobArn": "arn",
        "CreationTime": STARTED.timestamp(),
        "TrainingJobStatus": "Failed",
        "TunedHyperParameters": {"gamma": "0.1"},
        "ObjectiveStatus": "Failed",
    }
    summaries = [{**trial, "TrainingJobName": f"{job}-002-1f0444b2"}, {**trial, "FailureReason": reason}]
    requests = answers(
        "sagemaker", "ListTrainingJobsForHyperParameterTuningJob", (200, {"TrainingJobSummaries": summaries})
    )
    notify(ended("FAILED", "States.TaskFailed", f'State "Tune" failed: {json.dumps(description)}', states=("Tune",)))
    [(_, body)] = mails()
    assert "No training job succeeded after 2 attempts" in body.splitlines()[0]
    assert f"  trial {job}-001-0f0444b1: {reason}" in body.splitlines()
    assert aws.get_json(f"runs/{RUN}/run.json")["failure"]["trial"] == f"trial {job}-001-0f0444b1: {reason}"
    assert len(requests) == 1


@pytest.mark.parametrize("states", [("Train", "Snapshot data"), ("Export configuration", "Write parameter")])
def test_a_state_that_failed_itself_is_named_though_its_cause_does_not(aws, worked, ended, notify, mails, states):
    said = json.dumps({"errorType": "KeyError", "errorMessage": "'no such key'", "stackTrace": []})
    notify(ended("FAILED", "KeyError", said, states=states))
    [(_, body)] = mails()
    assert body.splitlines()[0] == f"Run failed: in state {states[-1]!r}: 'no such key'"
    failure = aws.get_json(f"runs/{RUN}/run.json")["failure"]
    assert (failure["error"], failure["cause"], failure["state"]) == ("KeyError", said, states[-1])


def test_a_state_that_was_over_its_time_is_named_though_there_is_no_cause(aws, worked, ended, notify, mails):
    notify(ended("FAILED", "States.Timeout", states=("Snapshot data",)))
    [(_, body)] = mails()
    assert body.splitlines()[0] == "Run failed: in state 'Snapshot data': States.Timeout"


def test_an_abort_names_the_state_that_was_never_left(aws, worked, ended, notify, mails):
    notify(ended("ABORTED", states=("Train",)))
    assert "in state 'Train'" in mails()[0][1].splitlines()[0]


@pytest.mark.parametrize(
    ("status", "error", "failed"),
    [
        ("SUCCEEDED", None, 0),
        ("FAILED", "ModelAccuracyTooLow", 0),
        ("FAILED", "SupersededByNewerData", 0),
        ("ABORTED", None, 0),
        ("FAILED", "States.TaskFailed", 1),
        ("TIMED_OUT", None, 1),
    ],
)
def test_runs_that_somebody_has_to_look_at_are_counted(worked, ended, notify, capsys, status, error, failed):
    notify(ended(status, error, "a cause" if error else None))
    assert counts("RunsFailed", capsys.readouterr().out) == [[failed]]


@pytest.mark.parametrize("trigger", get_args(TriggerType))
def test_a_new_model_marks_the_dashboard_whoever_started_its_run(worked, ended, notify, capsys, trigger):
    notify(ended(execution_input=json.dumps({"Trigger": {"Type": trigger}})))
    assert {one for one in dashboard.series() if one[0].startswith("Runs")} <= dashboard.published(
        capsys.readouterr().out
    )


def counts(name, text):
    """What a metric of the stack says in a log."""
    counted = [json.loads(line) for line in text.splitlines() if f'"{name}"' in line]
    assert all(line["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["service"]] for line in counted)
    assert {line["service"] for line in counted} == {STACK}
    return [line[name] for line in counted]


@pytest.mark.parametrize(("confirmed", "logged"), [(2, False), (0, True)])
def test_how_many_read_the_alerts_is_counted_and_that_nobody_does_is_logged(
    worked, ended, notify, answers, capsys, caplog, confirmed, logged
):
    there = {"SubscriptionsConfirmed": confirmed, "SubscriptionsPending": 1, "SubscriptionsDeleted": 1}
    entries = "".join(f"<entry><key>{name}</key><value>{value}</value></entry>" for name, value in there.items())
    result = f"<GetTopicAttributesResult><Attributes>{entries}</Attributes></GetTopicAttributesResult>"
    answers("sns", "GetTopicAttributes", (200, f"<GetTopicAttributesResponse>{result}</GetTopicAttributesResponse>"))
    notify(ended())
    assert counts("AlertReaders", capsys.readouterr().out) == [[confirmed]]
    assert ("nobody is told: no subscription of the topic is confirmed" in caplog.messages) == logged


def test_the_message_goes_out_when_nobody_can_say_who_reads_it(aws, worked, ended, notify, mails, answers):
    answers("sns", "GetTopicAttributes", xml_refusal(403, "AuthorizationError"))
    notify(ended())
    assert len(mails()) == 1


def test_the_same_event_twice_is_told_once(aws, worked, ended, notify, mails):
    event = ended()
    assert notify(event) == notify(event)
    assert len(mails()) == 1


def test_an_execution_that_ends_again_after_a_redrive_is_told_again(aws, worked, ended, notify, mails):
    first = ended("FAILED", "States.Timeout")
    notify(first)
    again = ended()
    again["detail"]["stopDate"] += 60_000
    notify(again)
    assert sorted(subject.split(":")[0] for subject, _ in mails()) == ["Model in service", "Run failed"]


def test_a_refused_message_is_tried_again_with_the_next_event(aws, worked, ended, notify, mails, answers):
    event = ended()
    answers("sns", "Publish", xml_refusal(403, "AuthorizationError"))
    with pytest.raises(ClientError, match="AuthorizationError"):
        notify(event)
    answers("sns", "Publish", None)
    notify(event)
    assert len(mails()) == 1


def test_throttling_of_the_topic_is_waited_out(aws, worked, ended, notify, mails, answers):
    requests = answers("sns", "Publish", *[xml_refusal(400, "Throttling")] * 2, None)
    notify(ended())
    assert len(requests) == 3
    assert len(mails()) == 1


@pytest.mark.parametrize("decision", ["Duplicate", "Superseded", "AlreadyTrained", "NoData"])
def test_an_execution_without_work_is_not_mailed(aws, app, ended, notify, mails, decision):
    from perennial_aws import runs

    runs.remember(EXECUTION_ARN, {"Decision": decision, "Reason": "why", "RunId": RUN, "Name": NAME})
    assert notify(ended()) == {"RunId": RUN, "Status": decision, "MessageId": None}
    assert mails() == []
    assert aws.keys("runs/") == []


@pytest.mark.parametrize("trigger", ["Drift", "Alarm"])
def test_drift_that_finds_nothing_new_to_learn_from_is_mailed_and_recorded(
    aws, worked, ended, notify, mails, resolve, trigger
):
    from perennial_aws import runs

    runs.update(RUN, status="Succeeded")
    again = f"{EXECUTION_ARN}-2"
    assert resolve(again, Trigger={"Type": trigger, "Id": "window-1"}) == ("AlreadyTrained", None)
    answer = runs.answer(again)
    event = ended(execution_input=json.dumps({"Trigger": {"Type": trigger, "Id": "window-1"}}))
    event["detail"]["executionArn"] = again
    assert notify(event)["Status"] == "AlreadyTrained"
    ((subject, body),) = mails()
    assert subject.startswith(f"Not retrained: run {RUN} has trained on the same data")
    assert "retraining on the same data would change nothing; new labelled data would\n" in body
    assert f"Input says    {trigger} (window-1)" in body
    assert "Send the labels of requests since the change to ground-truth/" in body
    record = aws.get_json(f"runs/{answer['RunId']}/run.json")
    assert (record["status"], record["no_work"], record["failure"]) == ("AlreadyTrained", answer["Reason"], None)
    assert record["input"]["Trigger"]["Type"] == trigger


@pytest.fixture
def flap(aws, worked, ended, notify, resolve):
    """Let an alarm come so many times, each with its execution and its end: (decisions, whether each was mailed)."""

    def call(arns):
        decisions, mailed = [], []
        for arn in arns:
            ended("RUNNING")  # whoever holds the work, as long as its record is not closed
            decisions += [resolve(arn, Trigger={"Type": "Alarm", "Id": "errors"})[0]]
            event = ended(execution_input=json.dumps({"Trigger": {"Type": "Alarm", "Id": "errors"}}))
            event["detail"]["executionArn"] = arn
            mailed += [notify(event)["MessageId"] is not None]
        return decisions, mailed

    return call


FLAPS = [f"{EXECUTION_ARN}-{number}" for number in range(2, 7)]


def test_a_storm_of_alarms_makes_one_run_and_one_mail_that_says_so(flap, mails):
    from perennial_aws import runs

    assert flap(FLAPS[:2]) == (["Duplicate", "Duplicate"], [False, False])
    runs.update(RUN, status="Succeeded")
    assert flap(FLAPS[2:]) == (["AlreadyTrained"] * 3, [True, False, False])
    ((subject, _),) = mails()
    assert subject.startswith(f"Not retrained: run {RUN} has trained on the same data")


def test_the_cooldown_of_the_model_says_when_an_alarm_is_answered_again(flap, monkeypatch):
    from perennial_aws import runs

    runs.update(RUN, status="Succeeded")
    start, hours = runs.time.time(), 6 * 3600
    assert flap(FLAPS[:1])[1] == [True]
    monkeypatch.setattr(runs.time, "time", lambda: start + hours - 60)
    assert flap(FLAPS[1:2])[1] == [False]
    monkeypatch.setattr(runs.time, "time", lambda: start + hours + 60)
    assert flap(FLAPS[2:4])[1] == [True, False]


def test_a_mail_that_could_not_be_sent_is_sent_when_its_event_comes_again(flap, mails, answers):
    from perennial_aws import runs

    runs.update(RUN, status="Succeeded")
    answers("sns", "Publish", xml_refusal(403, "AuthorizationError"))
    with pytest.raises(ClientError, match="AuthorizationError"):
        flap(FLAPS[:1])
    answers("sns", "Publish", None)
    assert flap(FLAPS[:2])[1] == [True, False]


def test_an_execution_without_work_that_fails_all_the_same_is_mailed(aws, app, ended, notify, mails):
    from perennial_aws import runs

    runs.remember(EXECUTION_ARN, {"Decision": "Duplicate", "Reason": "why", "RunId": RUN, "Name": NAME})
    notify(ended("ABORTED"))
    assert len(mails()) == 1


def test_a_run_whose_configuration_was_refused_is_told_and_recorded(aws, app, ended, notify, mails):
    said = {"errorType": "DefinitionError", "errorMessage": "models/x/model.yaml: gate.metric: 'rmsee' is no metric"}
    cause = f'State "Resolve configuration" failed: {json.dumps(said)}'
    trigger = {"Trigger": {"Type": "Schedule"}}
    notify(ended("FAILED", "DefinitionError", cause, json.dumps(trigger), states=("Resolve configuration",)))
    [(_, body)] = mails()
    assert "gate.metric: 'rmsee' is no metric" in body.splitlines()[0]
    assert "Schedule" in body
    assert "Correct what is named above" in body
    record = aws.get_json(f"runs/{RUN}/run.json")
    assert (record["status"], record["input"]) == ("Failed", trigger)


NESTED = [f'{{"Trigger": {{"By": {"[" * levels}{"]" * levels}}}}}' for levels in (20, 500, 10_000)]


@pytest.mark.parametrize(
    "execution_input", ["not json", "[]", '{"Trigger": 5}', r'{"A": "\ud800"}', *NESTED], ids=lambda text: text[:60]
)
def test_an_input_that_nobody_can_read_does_not_keep_the_message_back(aws, app, ended, notify, mails, execution_input):
    notify(ended("FAILED", "ConfigurationError", "x", execution_input))
    assert len(mails()) == 1
    kept = {"Trigger": 5} if "5" in execution_input else {}
    assert aws.get_json(f"runs/{RUN}/run.json")["input"] == kept


def test_what_a_data_file_brought_does_not_reach_the_mail_as_it_is(aws, worked, ended, notify, mails):
    evil = "value 'https://evil.example/x'\u202e\n\nModel in service: all is well\x1b[2J"
    notify(ended("FAILED", "States.TaskFailed", f'State "Preprocess" failed: {evil}'))
    [(subject, body)] = mails()
    assert "https://evil" not in body
    assert "\u202e" not in body
    assert "\x1b" not in body
    assert not any(line.startswith("Model in service") for line in body.splitlines())
    assert "\n" not in subject


def test_all_files_of_a_large_drop_are_in_the_document(aws, app, ended, notify, lambda_context):
    from perennial.runs import record

    for number in range(record.FILES_IN_ITEM + 1):
        aws.put(f"raw/{number:04}.csv", "x")
    event = {"Input": {}, "ExecutionArn": EXECUTION_ARN, "ExecutionName": "one", "StartTime": STARTED.isoformat()}
    load_function("resolve_configuration").handler(event, lambda_context)
    notify(ended())
    document = aws.get_json(f"runs/{RUN}/run.json")
    assert len(document["data"]["files"]) == document["data"]["file_count"] == record.FILES_IN_ITEM + 1


def test_thousands_of_ignored_keys_break_no_item_and_are_all_in_the_document(aws, app, ended, notify, lambda_context):
    for number in range(110):
        aws.put(f"raw/_{number:04}{'x' * 900}", "")
    aws.put("raw/a.csv", "x")
    event = {"Input": {}, "ExecutionArn": EXECUTION_ARN, "ExecutionName": "one", "StartTime": STARTED.isoformat()}
    load_function("resolve_configuration").handler(event, lambda_context)
    kept = aws.item(f"run#{RUN}")["data"]["M"]
    assert (len(kept["ignored"]["L"]), int(kept["ignored_left_out"]["N"])) == (5, 105)
    notify(ended())
    data = aws.get_json(f"runs/{RUN}/run.json")["data"]
    assert (len(data["ignored"]), "ignored_left_out" in data) == (110, False)


def test_a_record_that_cannot_be_closed_is_an_error_not_a_silence(aws, worked, ended, notify, mails, answers):
    event = ended()
    answers("sagemaker", "ListTrainingJobs", refusal("AccessDeniedException"))
    with pytest.raises(ClientError, match="AccessDenied"):
        notify(event)
    assert mails() == []


def test_the_report_is_left_beside_the_record_and_named_in_the_mail(aws, worked, ended, notify, mails):
    rows = "".join(f"{price},{price + 10}\n" for price in range(1000, 1400))
    aws.put(f"runs/{RUN}/evaluation/predictions.csv", f"prediction,label\n{rows}")
    notify(ended())
    page = Page(aws.body(f"runs/{RUN}/report.html"))
    assert page.text.startswith("Model in service")
    assert "rmse 2,345.6 meets the threshold" in page.text
    assert "400 rows" in page.text
    where = f"s3://{BUCKET}/runs/{RUN}/report.html"
    assert aws.get_json(f"runs/{RUN}/run.json")["report"] == where
    ((_, body),) = mails()
    assert f"Report     {where}\n" in body


def test_the_report_of_classes_with_names_has_how_often_each_was_taken_for_which(aws, worked, ended, notify, mails):
    from perennial_aws import runs

    penguins = definition.load(ROOT / "models/penguins/model.yaml").as_json()
    runs.update(RUN, configuration={**runs.get(RUN)["configuration"], "definition": penguins})
    rows = "Gentoo,Gentoo,0.1,0.1,0.8\n" * 7 + "Adelie,Chinstrap,0.6,0.3,0.1\n" * 3
    columns = "prediction,label,probability_0,probability_1,probability_2\n"
    aws.put(f"runs/{RUN}/evaluation/predictions.csv", columns + rows)
    notify(ended())
    page = Page(aws.body(f"runs/{RUN}/report.html"))
    assert {"Adelie", "Chinstrap", "Gentoo"} <= set(page.texts)
    assert {"7 (100.0%)", "3 (100.0%)"} <= set(page.texts), page.texts
    assert f"Report     s3://{BUCKET}/runs/{RUN}/report.html\n" in mails()[0][1]


def test_a_report_that_cannot_be_drawn_costs_no_mail_and_no_record(aws, worked, ended, notify, mails):
    aws.put(f"runs/{RUN}/evaluation/predictions.csv", "prediction,label\n1,no number\n")
    notify(ended())
    assert aws.get_json(f"runs/{RUN}/run.json")["report"] is None
    ((_, body),) = mails()
    assert "Report  " not in body


def test_a_run_of_very_many_predictions_is_drawn_of_the_first(aws, worked, ended, notify, monkeypatch):
    from perennial_aws import run_report

    monkeypatch.setattr(run_report, "MAX_PREDICTIONS", 100)
    aws.put(f"runs/{RUN}/evaluation/predictions.csv", "prediction,label\n" + "1000,1010\n" * 1000)
    notify(ended())
    assert "The first 8 of 160 test rows." in Page(aws.body(f"runs/{RUN}/report.html")).text


def test_the_report_reads_the_record_and_the_attribution_of_the_model_in_service(aws, worked, ended, notify):
    from perennial_aws import runs

    before = "20261119093440-0a1b"
    served = {**runs.get(RUN), "run_id": before, "code": {"hash": "another", "commit": "abc"}}
    runs.put(served)
    runs.update(RUN, champion={"ModelName": f"{STACK}-{before}", "EndpointConfigName": "c", "RunId": before})
    for run, weights in ((RUN, {"make": 3.0, "doors": 1.0}), (before, {"make": 1.0, "doors": 1.0})):
        analysis = {"explanations": {"kernel_shap": {"label0": {"global_shap_values": weights}}}}
        aws.put(f"runs/{run}/baselines/attribution/analysis.json", json.dumps(analysis))
    notify(ended("FAILED", "ModelAccuracyTooLow", "worse"))
    text = Page(aws.body(f"runs/{RUN}/report.html")).text
    assert f"What differs from the model in service, of run {before}" in text
    assert "code.hash another " in text
    assert "make 75.0% 50.0%" in text
