"""The other algorithm and the other model folder: the same stack template, other parameters and nothing else."""

import gzip
import io
import json
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import boto3
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from botocore.exceptions import ClientError

from localcloud import access
from tests import delivered
from tests.command import exit_code, perennial
from tests.e2e.conftest import ROOT, App, Run, given_to
from tests.unit.test_other_accounts import whole
from tests.waiting import wait_for
from tools import cfn, demo_data

pytestmark = pytest.mark.xdist_group("e2e-models")
THEIRS, DATA_ACCOUNT = "bucket-of-somebody", "444444444444"
DIGEST = f"sha256:{'0123456789abcdef' * 4}"
KEY_DOCUMENT = Path(__file__).parents[2] / "docs" / "kms-key.md"


def company_key(stack: str) -> str:
    """The ARN of a key that allows what docs/kms-key.md tells to paste, and administrators to administer it."""
    (pasted, *_) = re.findall(r"```json\n(.*?)```", KEY_DOCUMENT.read_text(), re.DOTALL)
    mine = App.client("sts").get_caller_identity()["Account"]
    for example, here in (("used-cars-prod", stack), ("123456789012", mine), ("eu-west-1", "us-east-1")):
        pasted = pasted.replace(example, here)
    administrators = {
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{mine}:root"},
        "Action": ["kms:DescribeKey", "kms:DisableKey", "kms:EnableKey", "kms:GetKeyPolicy", "kms:PutKeyPolicy"],
        "Resource": "*",
    }
    policy = {"Version": "2012-10-17", "Statement": [administrators, *json.loads(pasted)]}
    return str(App.client("kms").create_key(Policy=json.dumps(policy))["KeyMetadata"]["Arn"])


@pytest.fixture(scope="module")
def key_of_company() -> str:
    return company_key("perennial-linear")


@pytest.fixture(scope="module")
def linear(deploy: Callable[..., App], key_of_company: str) -> App:
    """A stack that makes neither a bucket for its data nor a key: both are another account's, and were there before.

    The bucket has no versions, and a key of its own. Both have what delivery/data.yaml says that they need.
    """
    s3, kms, on = of_data("s3"), of_data("kms"), {"EventBridgeConfiguration": {}}
    s3.create_bucket(Bucket=THEIRS)
    s3.put_bucket_notification_configuration(Bucket=THEIRS, NotificationConfiguration=on)
    key = kms.create_key()["KeyMetadata"]["Arn"]
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}}
    s3.put_bucket_encryption(Bucket=THEIRS, ServerSideEncryptionConfiguration={"Rules": [rule]})
    account = App.client("sts").get_caller_identity()["Account"]
    lets = {"DataPrefix": "listings/", "ReaderAccount": account, "ReaderStack": "perennial-linear"}
    s3.put_bucket_policy(Bucket=THEIRS, Policy=statements_of("BucketPolicy", "PolicyDocument", lets))
    its_own = json.loads(kms.get_key_policy(KeyId=key, PolicyName="default")["Policy"])["Statement"]
    kms.put_key_policy(KeyId=key, PolicyName="default", Policy=statements_of("Key", "KeyPolicy", lets, *its_own))
    send_events(BucketName=THEIRS, BucketIsThere="yes", **lets)
    data = {"DataBucket": THEIRS, "DataBucketKeyArn": key, "DataBucketAccount": DATA_ACCOUNT, "DataPrefix": "listings/"}
    model = {"ModelName": "used-cars", "Algorithm": "linear-learner", "LinearLearnerTag": DIGEST}
    return deploy("perennial-linear", **model, **data, KmsKeyArn=key_of_company)


def of_data(service: str) -> Any:
    """A client of the account of the data."""
    body = json.dumps({"Account": DATA_ACCOUNT}).encode()
    session = access.call(os.environ, "POST", "/_localcloud/guests", body)
    return boto3.client(
        service,  # type: ignore[call-overload]
        aws_access_key_id=session["AccessKeyId"],
        aws_secret_access_key=session["SecretAccessKey"],
        aws_session_token=session["SessionToken"],
    )


def statements_of(resource: str, name: str, parameters: Mapping[str, str], *others: Any) -> str:
    """The policy of a resource of delivery/data.yaml: the statements for the stack that reads, and others."""
    pseudo = {"AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::URLSuffix": "amazonaws.com"}
    given = {**pseudo, **parameters, "Bucket.Arn": f"arn:aws:s3:::{THEIRS}"}

    document = cfn.load(ROOT / "delivery/data.yaml")["Resources"][resource]["Properties"][name]
    stacks = [whole(one, given) for one in document["Statement"] if one["Sid"].startswith("Stack")]
    return json.dumps({"Version": document["Version"], "Statement": [*others, *stacks]})


def send_events(**parameters: str) -> None:
    """Deploy delivery/data.yaml, as the account of the data does."""
    delivered.deploy(of_data("cloudformation"), "linear-data", "data", **parameters)


@pytest.fixture(scope="module")
def linear_run(linear: App) -> Run:
    of_data("s3").put_object(Bucket=THEIRS, Key="elsewhere/cars.csv", Body=b"no data")
    of_data("s3").put_object(Bucket=THEIRS, Key="listings/cars.csv", Body=demo_data.used_cars())
    return linear.wait(lambda given: given["Trigger"].get("Bucket") == THEIRS)


def test_linear_learner_passes_by_switching_one_key(linear: App, linear_run: Run) -> None:
    assert (linear_run.status, linear_run.error, linear_run.cause) == ("SUCCEEDED", None, None)
    record = linear.record(linear_run)
    assert record["configuration"]["algorithm"]["name"] == "linear-learner"
    serving = linear.client("sagemaker").describe_model(ModelName=linear.parameters()["model"])
    assert "linear-learner" in serving["Containers"][1]["Image"]


def test_the_record_has_the_images_that_serve_as_named_and_by_digest(linear: App, linear_run: Run) -> None:
    record = linear.record(linear_run)
    preprocessor, algorithm = record["serving_images"]
    assert record["images"] == {"preprocessor": preprocessor["specified"], "algorithm": algorithm["specified"]}
    assert re.fullmatch(r".*/sagemaker-scikit-learn@sha256:[0-9a-f]{64}", preprocessor["resolved"])
    assert algorithm["specified"] == algorithm["resolved"]
    assert algorithm["resolved"].endswith(f"/linear-learner@{DIGEST}")


def test_a_bucket_that_exists_is_read_and_never_written(linear: App, linear_run: Run) -> None:
    assert linear.outputs["DataBucketName"] == THEIRS
    record = linear.record(linear_run)
    assert (record["bucket"], record["data"]["bucket"], record["data"]["prefix"]) == (
        linear.bucket,
        THEIRS,
        "listings/",
    )
    assert [(file["Key"], file["VersionId"]) for file in record["data"]["files"]] == [("listings/cars.csv", "null")]
    listed = of_data("s3").list_objects_v2(Bucket=THEIRS)["Contents"]
    assert {item["Key"] for item in listed} == {"elsewhere/cars.csv", "listings/cars.csv"}
    with pytest.raises(ClientError, match="no resource-based policy allows the s3:PutObject action"):
        linear.client("s3").put_object(Bucket=THEIRS, Key="listings/ours.csv", Body=b"1")


def test_a_drop_of_another_account_starts_one_run_over_its_bus(linear: App, linear_run: Run) -> None:
    known = linear.client("stepfunctions").list_executions(stateMachineArn=linear.outputs["StateMachineArn"])
    (execution,) = known["executions"]
    trigger = json.loads(given_to(execution["executionArn"]))["Trigger"]
    assert (trigger["Bucket"], trigger["Object"]["key"]) == (THEIRS, "listings/cars.csv")


def test_a_key_that_exists_encrypts_everything_and_the_stack_makes_none(
    linear: App, linear_run: Run, key_of_company: str
) -> None:
    s3, sagemaker = linear.client("s3"), linear.client("sagemaker")
    resources = linear.client("cloudformation").describe_stack_resources(StackName=linear.stack)["StackResources"]
    named = {item["LogicalResourceId"]: item["PhysicalResourceId"] for item in resources}
    assert not {"Key", "KeyAlias"} & set(named)
    listed = s3.list_objects_v2(Bucket=linear.bucket)["Contents"]
    heads = (s3.head_object(Bucket=linear.bucket, Key=item["Key"]) for item in listed)
    configuration = sagemaker.describe_endpoint_config(EndpointConfigName=linear_run.output["Model"])
    functions = linear.client("lambda").list_functions()["Functions"]
    groups = linear.client("logs").describe_log_groups(logGroupNamePrefix=f"/aws/lambda/{linear.stack}-")["logGroups"]
    described = linear.client("dynamodb").describe_table(TableName=named["RunTable"])["Table"]
    topic = linear.client("sns").get_topic_attributes(TopicArn=linear.outputs["TopicArn"])["Attributes"]
    machine = linear.client("stepfunctions").describe_state_machine(stateMachineArn=linear.outputs["StateMachineArn"])
    job = sagemaker.describe_training_job(TrainingJobName=f"{linear_run.output['Model']}-train-0")
    assert {
        *(head["SSEKMSKeyId"] for head in heads),
        *(function["KMSKeyArn"] for function in functions if function["FunctionName"].startswith(linear.stack)),
        *(group["kmsKeyId"] for group in groups),
        configuration["KmsKeyId"],
        configuration["DataCaptureConfig"]["KmsKeyId"],
        described["SSEDescription"]["KMSMasterKeyArn"],
        topic["KmsMasterKeyId"],
        machine["encryptionConfiguration"]["kmsKeyId"],
        job["OutputDataConfig"]["KmsKeyId"],
        job["ResourceConfig"]["VolumeKmsKeyId"],
    } == {key_of_company}


def test_linear_learner_answers_in_dollars(linear: App, linear_run: Run) -> None:
    car = "12000,8,2,true,true,true,Cadillac,convertible"
    answer = json.loads(linear.invoke(car))["score"]
    assert 20_000 < answer < 80_000


@pytest.fixture(scope="module")
def lesions(deploy: Callable[..., App]) -> App:
    return deploy("perennial-mammography", ModelName="mammography")


@pytest.fixture(scope="module")
def lesions_run(lesions: App) -> Run:
    """The same rows as a gzipped CSV and a Parquet file: one run takes both."""
    header, *rows = demo_data.mammography().decode().splitlines()
    first = "\n".join([header, *rows[:400]])
    rest = pa_csv.read_csv(io.BytesIO("\n".join([header, *rows[400:]]).encode()))
    parquet = io.BytesIO()
    pq.write_table(rest, parquet)
    lesions.client("s3").put_object(Bucket=lesions.bucket, Key="raw/1.csv.gz", Body=gzip.compress(first.encode()))
    return lesions.drop("raw/2.parquet", parquet.getvalue())


def test_classification_gated_on_auc_needs_only_its_folder(lesions: App, lesions_run: Run) -> None:
    assert (lesions_run.status, lesions_run.error, lesions_run.cause) == ("SUCCEEDED", None, None)
    record = lesions.record(lesions_run)
    assert record["gate"]["metric"] == "auc"
    assert record["metrics"]["candidate"]["auc"] >= record["gate"]["threshold"] > 0.5


def test_bias_and_explanations_are_analysed_and_on_the_runs_page(lesions: App, lesions_run: Run) -> None:
    (analysis,) = bodies(lesions, f"runs/{lesions_run.run_id}/baselines/analysis/analysis.json")
    (page,) = wait_for(lambda: bodies(lesions, f"runs/{lesions_run.run_id}/report.html"), "the report", 60)
    document = json.loads(analysis)
    (data,), (model,) = (document[f"{when}_training_bias_metrics"]["facets"]["age"] for when in ("pre", "post"))
    assert sum(data["records"].values()) > 400 > sum(model["records"].values())
    assert not [one for one in [*data["metrics"], *model["metrics"]] if one["value"] is None]
    assert set(document["explanations"]["kernel_shap"]["label0"]["global_shap_values"]) == {
        "bi_rads", "age", "shape", "margin", "density",
    }  # fmt: skip
    assert "Bias in the answers to test rows" in page.decode()


def test_gzipped_csv_and_parquet_are_read_as_one_data_set(lesions: App, lesions_run: Run) -> None:
    key = f"runs/{lesions_run.run_id}/report/report.json"
    report = json.loads(lesions.client("s3").get_object(Bucket=lesions.bucket, Key=key)["Body"].read())
    assert report["rows"] == {"read": 830, "used": 829, "quarantined": 1, "written_to_quarantine": 1}


def test_linear_learner_classifies_too(lesions: App, lesions_run: Run) -> None:
    run = lesions.start(Algorithm="linear-learner", GateThreshold=0.6)
    record = lesions.record(run)
    assert record["metrics"]["candidate"]["auc"] > 0.75
    assert (run.status, run.error) in (("SUCCEEDED", None), ("FAILED", "ModelAccuracyTooLow"))


def test_probability_of_a_round_smooth_mass_is_below_that_of_a_spiculated_one(lesions: App, lesions_run: Run) -> None:
    harmless = json.loads(lesions.invoke("4,30,1,1,3"))["score"]
    suspicious = json.loads(lesions.invoke("5,75,4,5,3"))["score"]
    assert 0 <= harmless < suspicious <= 1


def test_replay_trains_on_the_recorded_versions_and_gets_the_same_metric(lesions: App, lesions_run: Run) -> None:
    lesions.client("s3").put_object(Bucket=lesions.bucket, Key="raw/1.csv.gz", Body=b"not what it was")
    given = {"Trigger": {"Type": "Manual", "By": "test"}, "Replay": lesions_run.run_id}
    lesions.client("stepfunctions").start_execution(
        stateMachineArn=lesions.outputs["StateMachineArn"], input=json.dumps(given)
    )
    run = lesions.wait(lambda found: found.get("Replay") == lesions_run.run_id)
    before, after = lesions.record(lesions_run), lesions.record(run)
    assert after["metrics"]["candidate"] == before["metrics"]["candidate"]
    assert after["data"]["files"] == before["data"]["files"]
    assert (run.status, after["status"], after["deployed"]) == ("SUCCEEDED", "TrainedOnly", None)
    assert run.output["Withheld"].startswith("its input decides replay")


def test_somebodys_rows_are_erased_from_data_captures_and_runs_and_the_model_serves_on(
    lesions: App, lesions_run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    states, machine = lesions.client("stepfunctions"), lesions.outputs["StateMachineArn"]
    running = {"stateMachineArn": machine, "statusFilter": "RUNNING"}
    wait_for(lambda: not states.list_executions(**running)["executions"], "the end of the run on the other 1.csv.gz")
    ages = [line.split(",")[1] for line in demo_data.mammography().decode().splitlines()[1:]]
    age = next(age for age in ages[:400] if age not in ages[400:])  # of the first file, which was replaced meanwhile
    lesions.invoke(f"4,{age},1,1,3")
    asked = f'"4,{age},1,1,3"'
    wait_for(lambda: any(asked.encode() in body for body in bodies(lesions, "capture/")), "the captured request", 20)
    command = [lesions.stack, f"age={age}"]
    assert exit_code("erase", *command) == 0
    assert f"-1.csv.gz: would be erased: {ages[:400].count(age)} of 400 rows" in capsys.readouterr().out
    assert exit_code("erase", *command, "--yes") == 0
    assert f"the model of run {lesions_run.run_id}" in capsys.readouterr().out
    assert not any(asked.encode() in body for body in bodies(lesions, "capture/"))
    files = [path for path in (lesions.state / "s3").rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if asked.encode() in path.read_bytes()]
    (copy,) = [body for body in bodies(lesions, "copies/") if body.startswith(b"\x1f\x8b")]
    left = [line.split(",")[1] for line in gzip.decompress(copy).decode().splitlines()[1:]]
    assert left == [one for one in ages[:400] if one != age]
    assert not bodies(lesions, f"runs/{lesions_run.run_id}/train/")
    assert bodies(lesions, "raw/1.csv.gz") == [b"not what it was"]
    assert exit_code("erase", *command) == 0
    assert "\n  none\n" in capsys.readouterr().out
    assert 0 <= json.loads(lesions.invoke("5,75,4,5,3"))["score"] <= 1


HOUSE = "Somerset,Two_Story_1946_and_Newer,OneFam,Average,,9000,2005,2005,2000,1000,8,2,1,2,Fin,Excellent,Y"
TREES = "images/trees"


@pytest.fixture(scope="module")
def houses(deploy: Callable[..., App], cloud_state: Path) -> App:
    """A stack of an image of its own, which is a program of this machine; nothing is pushed yet."""
    program = str(Path(__file__).parents[2] / "images" / "trees" / "program.py")
    commands = {one: ["python", program, one] for one in ("train", "serve")}
    (cloud_state / "images.json").write_text(json.dumps({TREES: commands}))
    App.client("ecr").create_repository(repositoryName=TREES)
    own = {"ModelName": "ames-houses", "Algorithm": "own-image", "OwnImageRepository": TREES}
    return deploy("perennial-houses", QuietPeriodSeconds="0", **own)


def push(app: App, content: str, tag: str) -> str:
    """Push an image, of which only the manifest counts here; return its digest."""
    pushed = app.client("ecr").put_image(repositoryName=TREES, imageManifest=content, imageTag=tag)
    return str(pushed["image"]["imageId"]["imageDigest"])


@pytest.fixture(scope="module")
def pushed_run(houses: App) -> Run:
    """Data come before there is an image; the push then starts the run."""
    run = houses.drop("raw/houses.csv", demo_data.ames_houses())
    assert (run.status, run.error) == ("FAILED", "ConfigurationError")
    assert f"the repository {TREES} has no tagged image" in houses.mails(run)[0].body
    digest = push(houses, "{}", "one")
    return houses.wait(lambda given: given["Trigger"].get("Image") == digest)


def test_an_image_that_is_pushed_trains_and_serves_once(houses: App, pushed_run: Run) -> None:
    assert (pushed_run.status, pushed_run.error, pushed_run.cause) == ("SUCCEEDED", None, None)
    record = houses.record(pushed_run)
    _, algorithm = record["serving_images"]
    digest = record["input"]["Trigger"]["Image"]
    assert algorithm["specified"] == algorithm["resolved"] == record["images"]["algorithm"]
    assert algorithm["resolved"].endswith(f".amazonaws.com/{TREES}@{digest}")
    assert 100_000 < json.loads(houses.invoke(HOUSE))["score"] < 500_000

    assert push(houses, "{}", "another name of it") == digest
    again = houses.wait(
        lambda given: (
            given["Trigger"].get("Image") == digest and given["Trigger"]["Id"] != record["input"]["Trigger"]["Id"]
        )
    )
    assert (again.status, again.output["Decision"]) == ("SUCCEEDED", "AlreadyTrained")


def test_a_script_of_the_folder_trains_and_serves_in_an_image_of_aws(houses: App, pushed_run: Run) -> None:
    run = houses.start(Algorithm="scikit-learn-script")
    assert (run.status, run.error, run.cause) == ("SUCCEEDED", None, None)
    record = houses.record(run)
    assert record["configuration"]["algorithm"]["name"] == "scikit-learn-script"
    assert record["metrics"]["candidate"]["rmse"] <= record["gate"]["threshold"]
    assert record["metrics"]["training"]["validation:rmse"] < 60_000
    assert all("/sagemaker-scikit-learn:" in record["images"][name] for name in ("preprocessor", "algorithm"))
    assert len(record["code"]["scripts"]) == 16

    (body,) = bodies(houses, f"runs/{run.run_id}/baselines/attribution/analysis.json")
    assert json.loads(body)["reason"].startswith("contributions of scikit-learn-script are not known")
    price = json.loads(houses.invoke(HOUSE))["score"]
    assert 150_000 < price < 400_000
    assert json.loads(houses.invoke(HOUSE, accept="application/json")) == {"predictions": [{"score": price}]}
    assert float(houses.invoke(HOUSE, accept="text/csv")) == price
    where_nobody_was = json.loads(houses.invoke(HOUSE.replace("Somerset", "Atlantis", 1)))["score"]
    assert 100_000 < where_nobody_was < 500_000


def test_a_script_is_tuned_by_what_it_prints_and_serves_in_the_xgboost_image(houses: App, pushed_run: Run) -> None:
    ranges = {"max_iter": {"min": 200, "max": 210}, "learning_rate": {"min": 0.1, "max": 0.105}}  # all are better
    run = houses.start(Algorithm="xgboost-script", HyperParameters=ranges, Tuning={"Jobs": 2})
    assert (run.status, run.error, run.cause) == ("SUCCEEDED", None, None)
    record = houses.record(run)
    assert all("/sagemaker-xgboost:" in one["specified"] for one in record["serving_images"][1:])
    sagemaker = houses.client("sagemaker")
    listed = sagemaker.list_training_jobs_for_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=record["tuning"]["job"]
    )
    trials = {
        one["TrainingJobName"]: one["FinalHyperParameterTuningJobObjectiveMetric"]
        for one in listed["TrainingJobSummaries"]
    }
    assert len(trials) == 2
    assert {one["MetricName"] for one in trials.values()} == {"validation:rmse"}
    assert record["tuning"]["best"] == min(trials, key=lambda name: trials[name]["Value"])
    assert 150_000 < json.loads(houses.invoke(HOUSE))["score"] < 400_000


@pytest.fixture(scope="module")
def jobs(deploy: Callable[..., App]) -> App:
    quick = {"QuietPeriodSeconds": "0", "PollSeconds": "0", "CaptureDelaySeconds": "0"}
    return deploy("perennial-employment", ModelName="employment", **quick)


def series_until(months_ago: int) -> list[dict[str, Any]]:
    """The series of employment as they were some months before the last one."""
    lines = [json.loads(line) for line in demo_data.employment(sectors=True).splitlines()]
    return [one | {"target": one["target"][: len(one["target"]) - months_ago]} for one in lines]


def as_lines(series: list[dict[str, Any]]) -> bytes:
    return "".join(f"{json.dumps(one)}\n" for one in series).encode()


def test_series_are_forecast_with_a_band_and_judged_when_the_truth_has_come(
    jobs: App, capsys: pytest.CaptureFixture[str]
) -> None:
    known, now = series_until(12), series_until(0)
    run = jobs.drop("raw/employment.json.gz", gzip.compress(as_lines(known)))
    assert (run.status, run.error, run.cause) == ("SUCCEEDED", None, None)
    record = jobs.record(run)
    measured = record["metrics"]["candidate"]["mean_wql"]
    assert measured < record["metrics"]["naive"] < record["gate"]["threshold"]
    assert {"test:RMSE", "test:mean_wQuantileLoss"} <= set(record["metrics"]["training"])
    (mail,) = jobs.mails(run)
    assert "seasonal-naive" in mail.body

    total = next(one for one in known if one["item_id"] == "PAYNSA")
    assert exit_code("predict", json.dumps(total), "--stack", jobs.stack) == 0
    assert re.search(r"2018-10-01 +1[45]\d,\d{3} +1[45]\d,", capsys.readouterr().out)

    labels = ["inference_id,label"]
    for first in range(0, len(known), 37):
        some, later = known[first : first + 37], now[first : first + 37]
        asked = {"instances": [{key: one[key] for key in ("start", "target", "cat")} for one in some]}
        jobs.client("sagemaker-runtime").invoke_endpoint(
            EndpointName=jobs.endpoint, ContentType="application/json", InferenceId=f"q{first}", Body=json.dumps(asked)
        )
        for place, (one, full) in enumerate(zip(some, later, strict=True)):
            truth = enumerate(full["target"][len(one["target"]) :], start=1)
            labels += [f"q{first}/{place}/{step},{value}" for step, value in truth]
    put = jobs.client("s3").put_object
    put(Bucket=jobs.bucket, Key="ground-truth/2019.csv", Body="\n".join(labels).encode())
    time.sleep(1.1)  # a window ends with a whole second
    started = jobs.client("stepfunctions").start_execution(
        stateMachineArn=jobs.outputs["MonitorStateMachineArn"], input="{}"
    )
    judged = wait_for(lambda: Run.ended(started["executionArn"]), "the verdict", pause=0.1)
    (verdict,) = (json.loads(body) for body in bodies(jobs, f"monitoring/{judged.output['WindowId']}/verdict.json"))
    quality = verdict["analyses"]["model_quality"]
    assert (verdict["verdict"], verdict["reasons"], verdict["ground_truth"]["matched"]) == (
        "Healthy",
        [],
        len(labels) - 1,
    )
    assert next(one["value"] for one in quality["metrics"] if one["name"] == "mean_wql") < 0.01
    (page,) = bodies(jobs, f"monitoring/{judged.output['WindowId']}/report.html")
    assert page.decode().count("values that are known lie in the band") == 12

    again = jobs.drop("raw/employment.json.gz", gzip.compress(as_lines(series_until(6))))
    assert (again.status, again.error, again.cause) == ("SUCCEEDED", None, None)
    compared = jobs.record(again)["metrics"]
    assert {*compared["champion"]} >= {"mean_wql", "wql_p10", "wql_p90", "rmse"}
    assert 0 < compared["candidate"]["mean_wql"] <= compared["champion"]["mean_wql"] < compared["naive"]


def bodies(app: App, prefix: str) -> list[bytes]:
    """What each version of each object under a prefix holds."""
    s3 = app.client("s3")
    listed = s3.list_object_versions(Bucket=app.bucket, Prefix=prefix).get("Versions", [])
    read = (s3.get_object(Bucket=app.bucket, Key=item["Key"], VersionId=item["VersionId"]) for item in listed)
    return [bytes(one["Body"].read()) for one in read]


def test_deletion_leaves_nothing_that_costs_and_everything_that_holds_data(lesions: App, lesions_run: Run) -> None:
    deleted = perennial("delete", lesions.stack, "--yes")
    assert deleted.exit_code == 0
    assert f"kept: bucket {lesions.bucket}" in deleted.stdout
    sagemaker = lesions.client("sagemaker")
    for listing, key in (("list_endpoints", "Endpoints"), ("list_models", "Models")):
        assert getattr(sagemaker, listing)(NameContains=lesions.stack)[key] == []
    assert sagemaker.list_endpoint_configs(NameContains=lesions.stack)["EndpointConfigs"] == []
    assert sagemaker.list_model_package_groups(NameContains=lesions.stack)["ModelPackageGroupSummaryList"] == []
    assert lesions.parameters() == {}
    assert lesions.client("s3").list_objects_v2(Bucket=lesions.bucket, Prefix="raw/")["KeyCount"] == 2
    again = perennial("delete", lesions.stack, "--yes")
    assert again.exit_code == 1
    assert f"there is no stack {lesions.stack}" in again.stderr
