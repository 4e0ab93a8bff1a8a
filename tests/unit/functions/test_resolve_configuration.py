"""The function "Resolve configuration": what a run works on, claimed once, and why there may be nothing to do."""

import io
import json
import re
import shutil
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import botocore.session
import pytest
from botocore.exceptions import ClientError

from perennial.model import definition
from perennial.model.complaints import ConfigurationError
from perennial.model.feature_store import FeatureStore
from perennial.runs.configuration import RUN
from perennial.runs.naming import run_id
from perennial_aws import runs, shipped
from tests.e2e.matrix.registry import matrix
from tests.unit.conftest import BUCKET, ENVIRONMENT, EXECUTION_ARN, REGION, STACK, load_function, refusal

MODELS = Path(__file__).parents[3] / "models"
START = "2026-11-20T09:34:40.123Z"
OTHER_ARN = EXECUTION_ARN.replace(":one", ":two")


@pytest.fixture
def app(aws):
    return load_function("resolve_configuration")


@pytest.fixture
def resolve(app, lambda_context):
    def call(arn=EXECUTION_ARN, **given):
        event = {"Input": given, "ExecutionArn": arn, "ExecutionName": arn.rsplit(":", 1)[-1], "StartTime": START}
        return app.handler(event, lambda_context)

    return call


def run_of(arn):
    return run_id(arn, datetime.fromisoformat(START))


def drop(key, version=None, **more):
    given = {"key": key, **({"version-id": version} if version else {}), **more}
    return {"Type": "DataDrop", "Bucket": BUCKET, "Object": given}


def execution_ended(status, error=None):
    body = {
        "executionArn": EXECUTION_ARN,
        "stateMachineArn": f"arn:aws:states:{REGION}:123456789012:stateMachine:{STACK}-train-model",
        "status": status,
        "startDate": 1,
        **({"error": error} if error else {}),
    }
    return 200, body


def test_the_first_drop_is_trained_with_all_that_the_run_needs(aws, resolve):
    version = aws.put("raw/cars.csv", "price\n1\n")
    run = resolve(Trigger=drop("raw/cars.csv", version))
    assert run["Decision"] == "Train"
    assert run["RunId"] == run_of(EXECUTION_ARN)
    assert run["Name"] == f"{STACK}-{run['RunId']}"
    assert run["Prefix"] == f"s3://{BUCKET}/runs/{run['RunId']}"
    assert run["CodeUri"] == f"s3://{BUCKET}/code/0123456789abcdef"
    assert (run["Problem"], run["TargetTransform"]) == ("regression", "none")
    assert run["Algorithm"]["Image"].endswith("sagemaker-xgboost:3.2-0")
    assert run["Algorithm"]["ExplainImage"] == run["Algorithm"]["Image"]
    assert all(isinstance(value, str) for value in run["Algorithm"]["HyperParameters"].values())
    assert run["Gate"] == {
        "Metric": "rmse", "Direction": "minimize", "Threshold": 3500.0, "MinimumImprovement": 0.0,
        "MaximumRegression": 0.25, "MinimumUnseenRows": 30, "WithoutComparison": "reject", "Confidence": None,
    }  # fmt: skip
    key = f"arn:aws:kms:{REGION}:123456789012:key/1"
    assert run["Instances"]["Endpoint"] == {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1, "KmsKeyId": key}
    assert run["Instances"]["Train"]["VolumeKmsKeyId"] == key
    assert run["Champion"] is None
    assert (run["Lineage"]["run"], run["Lineage"]["algorithm"]) == (run["RunId"], "xgboost")
    assert run["Lineage"]["hyperparameter:num_round"] == run["Algorithm"]["HyperParameters"]["num_round"]
    assert run["Vpc"] == {}


def test_the_manifest_names_the_exact_versions_and_what_was_ignored(aws, resolve):
    aws.put("raw/a.csv", "old")
    newest = aws.put("raw/a.csv", "new!")
    other = aws.put("raw/b c+d%é.csv", "b")
    aws.put("raw/folder/", "")
    aws.put("raw/empty.csv", "")
    aws.put("elsewhere/c.csv", "c")
    run = resolve()
    manifest = aws.get_json(f"runs/{run['RunId']}/manifest.json")
    assert {(file["Key"], file["VersionId"], file["Size"]) for file in manifest["Files"]} == {
        ("raw/a.csv", newest, 4),
        ("raw/b c+d%é.csv", other, 1),
    }
    assert {item["Key"] for item in manifest["Ignored"]} == {"raw/folder/", "raw/empty.csv"}


def test_a_deleted_file_is_not_part_of_the_data(aws, resolve):
    aws.put("raw/a.csv", "a")
    aws.put("raw/gone.csv", "x")
    aws.client("s3").delete_object(Bucket=BUCKET, Key="raw/gone.csv")
    run = resolve()
    assert [file["Key"] for file in aws.get_json(f"runs/{run['RunId']}/manifest.json")["Files"]] == ["raw/a.csv"]


def test_listings_of_many_pages_are_read_whole(aws, app, resolve, monkeypatch):
    for number in range(5):
        aws.put(f"raw/{number}.csv", str(number))
    client = aws.client("s3")
    real = client.get_paginator("list_object_versions")
    monkeypatch.setattr(
        client,
        "get_paginator",
        lambda name: type(
            "Small", (), {"paginate": lambda self, **given: real.paginate(**given, PaginationConfig={"PageSize": 2})}
        )(),
    )
    run = resolve()
    assert len(aws.get_json(f"runs/{run['RunId']}/manifest.json")["Files"]) == 5


def test_the_configuration_that_jobs_read_has_every_default_filled_in(aws, resolve):
    aws.put("raw/a.csv", "a")
    run = resolve(Overrides={"GateThreshold": 3000, "HyperParameters": {"eta": 0.2}})
    config = aws.get_json(f"runs/{run['RunId']}/config.json")
    assert config["model"] == "used-cars"
    assert config["run_id"] == run["RunId"]
    assert config["definition"]["columns"]["make"]["nullable"] is False
    assert config["definition"]["gate"]["threshold"] == 3000
    assert config["algorithm"]["hyperparameters"]["eta"] == "0.2"
    assert config["training_metrics"] == ["validation:rmse"]
    assert config["sources"]["gate.threshold"] == "the run's input, Overrides"


def test_stack_parameters_lie_between_the_definition_and_the_run(aws, resolve):
    aws.put("raw/a.csv", "a")
    aws.override('{"Algorithm": "linear-learner", "GateThreshold": "4000", "HyperParameters": {}}')
    run = resolve(Overrides={"GateThreshold": 3000})
    assert run["Algorithm"]["Name"] == "linear-learner"
    assert run["Algorithm"]["Image"].endswith("linear-learner:1")
    assert "/sagemaker-scikit-learn:" in run["Algorithm"]["ExplainImage"]
    assert run["Gate"]["Threshold"] == 3000


@pytest.fixture
def with_script(monkeypatch, tmp_path):
    """Let the folder of the stack's model have a script."""
    folder = tmp_path / "models" / "used-cars"
    shutil.copytree(shipped.FOLDER / "models" / "used-cars", folder)
    (folder / "train.py").write_text("1")
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)


def test_overrides_of_the_stack_that_somebody_has_deleted_are_named_with_what_to_do(aws, resolve):
    aws.put("raw/a.csv", "a")
    aws.client("ssm").delete_parameter(Name=f"/{STACK}_overrides")
    with pytest.raises(ConfigurationError, match=f"/{STACK}_overrides is not in Parameter Store, .* put it back"):
        resolve()


def test_a_script_algorithm_is_refused_where_the_folder_of_the_model_has_no_script(aws, resolve):
    aws.put("raw/a.csv", "a")
    with pytest.raises(
        ConfigurationError, match=r"used-cars/train.py: there is no such file, and the algorithm xgboost-s"
    ):
        resolve(Overrides={"Algorithm": "xgboost-script"})


def test_a_run_of_a_script_says_where_its_code_is_and_how_it_serves(aws, resolve, with_script):
    aws.put("raw/a.csv", "a")
    aws.override('{"Algorithm": "xgboost-script", "HyperParameters": "{\\"rate\\": 0.5}"}')
    run = resolve()
    algorithm, code = run["Algorithm"], f"s3://{BUCKET}/code/0123456789abcdef/"
    assert algorithm["Image"].endswith("sagemaker-xgboost:3.2-0")
    assert "/sagemaker-scikit-learn:" in algorithm["ExplainImage"]
    assert algorithm["HyperParameters"] == {"rate": "0.5"}
    start = ["python3", "/opt/ml/input/data/code/unpack.py", "train_script", "--root", "/opt/ml"]
    assert algorithm["Program"]["ContainerEntrypoint"] == start
    sources = {one["ChannelName"]: one["DataSource"]["S3DataSource"]["S3Uri"] for one in algorithm["Channels"]}
    assert sources == {"code": code, "config": f"{run['Prefix']}/config.json"}
    assert algorithm["Serving"]["Environment"]["SAGEMAKER_PROGRAM"] == "serve_script.py"
    config = json.loads(aws.get(f"runs/{run['RunId']}/config.json"))
    assert config["algorithm"] == {
        "name": "xgboost-script",
        "hyperparameters": {"rate": "0.5"},
        "is_own": True,
    }


@pytest.mark.parametrize("step", ["Preprocess", "Baseline"])
def test_several_machines_are_a_cluster_only_where_the_stack_has_an_image_for_them(aws, resolve, monkeypatch, step):
    aws.put("raw/a.csv", "a")
    several = {"Instances": {step: {"InstanceCount": 2}}}
    refused = rf"instances\.{step.lower()}\.count: got 2 where .* SparkImage is empty"
    with pytest.raises(ConfigurationError, match=refused):
        resolve(Overrides=several)
    monkeypatch.setenv("SPARK_IMAGE", "images/spark:spark-1a2b")
    assert resolve(Overrides=several)["Instances"][step]["InstanceCount"] == 2


def test_sets_are_read_from_s3_where_a_run_says_so(aws, resolve, with_script):
    aws.put("raw/a.csv", "a")
    aws.override('{"Algorithm": "xgboost-script", "HyperParameters": "{}"}')
    modes = [
        {one["InputMode"] for one in resolve(EXECUTION_ARN + mode, Overrides=overrides)["Algorithm"]["Sets"]}
        for mode, overrides in (("a", {}), ("b", {"Instances": {"Train": {"InputMode": "FastFile"}}}))
    ]
    assert modes == [{"File"}, {"FastFile"}]


def test_code_of_ones_own_goes_on_from_checkpoints_where_its_machine_may_be_taken_away(aws, resolve, with_script):
    aws.put("raw/a.csv", "a")
    aws.override('{"Algorithm": "xgboost-script", "HyperParameters": {}}')
    spot = {"Instances": {"Train": {"EnableManagedSpotTraining": True}}}
    run = resolve(Overrides=spot)
    place = {"S3Uri": f"{run['Prefix']}/checkpoints", "LocalPath": "/opt/ml/checkpoints"}
    assert run["Spot"]["CheckpointConfig"] == place
    for others in ({}, {**spot, "Algorithm": "xgboost"}, {**spot, "HyperParameters": ETA}):
        assert "CheckpointConfig" not in resolve(EXECUTION_ARN + str(len(others)), Overrides=others)["Spot"]


def test_the_record_has_a_hash_of_the_scripts_in_the_folder_of_the_model(aws, resolve, monkeypatch, tmp_path):
    folder = tmp_path / "models" / "used-cars"
    shutil.copytree(shipped.FOLDER / "models" / "used-cars", folder)
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    aws.put("raw/a.csv", "a")
    hashes = [shipped.scripts()]
    for text in ("1", "2", "1"):
        (folder / "train.py").write_text(text)
        hashes.append(shipped.scripts())
    assert hashes[0] is None
    assert hashes[1] == hashes[3] != hashes[2]
    assert runs.get(resolve()["RunId"])["code"]["scripts"] == hashes[3]


OWN = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/images/trees"
OLDER, NEWER = (f"sha256:{digit * 64}" for digit in "12")


@pytest.fixture
def pushed(aws, answers, monkeypatch):
    """A stack of an image of its own, of which two were pushed; the requests for them are returned."""
    aws.put("raw/a.csv", "a")
    monkeypatch.setenv("OWN_IMAGE", OWN)
    aws.override('{"Algorithm": "own-image"}')
    images = [{"imageDigest": NEWER, "imagePushedAt": 2.0}, {"imageDigest": OLDER, "imagePushedAt": 1.0}]
    return answers("ecr", "DescribeImages", (200, {"imageDetails": images}))


def test_the_newest_image_trains_and_serves(resolve, pushed):
    run = resolve()
    assert run["Algorithm"]["Image"] == f"{OWN}@{NEWER}"
    assert "/sagemaker-scikit-learn:" in run["Algorithm"]["ExplainImage"]
    assert set(run["Algorithm"]["Program"]) == {"MetricDefinitions"}
    assert [one["ChannelName"] for one in run["Algorithm"]["Channels"]] == ["config"]
    assert run["Algorithm"]["Serving"] == {}
    assert json.loads(pushed[0].body) == {"repositoryName": "images/trees", "filter": {"tagStatus": "TAGGED"}}
    assert runs.get(run["RunId"])["images"]["algorithm"] == f"{OWN}@{NEWER}"


@matrix("Configuration", "an image is pinned, and another is pushed", ends="the pinned one trains")
def test_a_pinned_image_wins_over_the_newest(aws, resolve, pushed, answers):
    aws.override(f'{{"Algorithm": "own-image", "ImageDigest": "{OLDER}"}}')
    asked = answers("ecr", "DescribeImages", (200, {"imageDetails": [{"imageDigest": OLDER, "imagePushedAt": 1.0}]}))
    run = resolve(Trigger={"Type": "Image", "Image": NEWER})
    assert run["Algorithm"]["Image"] == f"{OWN}@{OLDER}"
    assert json.loads(asked[0].body)["imageIds"] == [{"imageDigest": OLDER}]


@matrix("Events", "the push of an image is told twice", ends="no second run")
@pytest.mark.parametrize(("status", "decision"), [("RUNNING", "Duplicate"), ("SUCCEEDED", "AlreadyTrained")])
def test_a_push_starts_one_run_however_often_it_is_told(resolve, pushed, answers, status, decision):
    assert resolve(Trigger={"Type": "Image", "Image": NEWER})["Decision"] == "Train"
    answers("stepfunctions", "DescribeExecution", execution_ended(status))
    assert resolve(OTHER_ARN, Trigger={"Type": "Image", "Image": NEWER})["Decision"] == decision


@matrix("Events", "an image is pushed, and another after it", ends="the newest trains")
def test_a_push_that_another_has_followed_starts_no_run(resolve, pushed):
    late = resolve(Trigger={"Type": "Image", "Image": OLDER})
    assert (late["Decision"], late["Reason"]) == (
        "Superseded",
        f"the image {OLDER} was pushed, and the newest is {NEWER}, with which the run of its own push trains",
    )


@matrix("Events", "an image is pushed after another, and deleted before its run", ends="the other trains")
def test_a_push_whose_image_is_gone_trains_with_the_newest_whose_own_push_may_have_given_way(resolve, pushed, answers):
    left = {"imageDetails": [{"imageDigest": OLDER, "imagePushedAt": 1.0}]}
    answers("ecr", "DescribeImages", (200, left), (400, {"__type": "ImageNotFoundException", "message": "no"}))
    run = resolve(Trigger={"Type": "Image", "Image": NEWER})
    assert (run["Decision"], run["Algorithm"]["Image"]) == ("Train", f"{OWN}@{OLDER}")


def test_what_is_about_an_image_is_never_the_newest_image(resolve, pushed, answers):
    kinds = [
        {"imageTags": [f"sha256-{'1' * 64}.sig"], "artifactMediaType": "application/vnd.oci.image.config.v1+json"},
        {"imageTags": [f"sha256-{'1' * 64}"], "imageManifestMediaType": "application/vnd.oci.image.index.v1+json"},
        {"imageTags": ["sbom"], "artifactMediaType": "application/spdx+json"},
    ]
    later = [{"imageDigest": NEWER, "imagePushedAt": 9.0, **kind} for kind in kinds]
    docker = "application/vnd.docker.container.image.v1+json"
    image = {"imageDigest": OLDER, "imagePushedAt": 1.0, "imageTags": ["v1"], "artifactMediaType": docker}
    answers("ecr", "DescribeImages", (200, {"imageDetails": [*later, image]}))
    assert resolve()["Algorithm"]["Image"] == f"{OWN}@{OLDER}"


def test_a_push_changes_nothing_for_another_algorithm(aws, resolve, pushed):
    aws.override("{}")
    run = resolve(Trigger={"Type": "Image", "Image": NEWER})
    assert (run["Decision"], run["Reason"]) == (
        "Superseded",
        f"the image {NEWER} was pushed, and xgboost does not run in it",
    )


@pytest.mark.parametrize(
    ("code", "pinned", "why"),
    [
        ("RepositoryNotFoundException", "", "there is no repository images/trees in this account and region"),
        ("ImageNotFoundException", OLDER, f"the repository images/trees has no image {OLDER}, to which image_digest"),
    ],
    ids=["repository", "image"],
)
@matrix("Configuration", "the image or its repository is not there", ends="Failed")
def test_an_image_that_is_not_there_is_told(aws, resolve, pushed, answers, code, pinned, why):
    aws.override(f'{{"Algorithm": "own-image", "ImageDigest": "{pinned}"}}')
    answers("ecr", "DescribeImages", (400, {"__type": code, "message": "no"}))
    with pytest.raises(ConfigurationError, match=why):
        resolve()


def test_without_a_repository_or_an_image_in_it_a_run_says_what_is_missing(resolve, pushed, answers, monkeypatch):
    answers("ecr", "DescribeImages", (200, {"imageDetails": []}))
    with pytest.raises(ConfigurationError, match="the repository images/trees has no tagged image"):
        resolve()
    monkeypatch.setenv("OWN_IMAGE", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/")
    with pytest.raises(ConfigurationError, match="parameter OwnImageRepository is empty; expected the name of a repo"):
        resolve()


def test_another_data_prefix_may_be_asked_for(aws, resolve):
    aws.put("raw/a.csv", "a")
    aws.put("history/b.csv", "b")
    run = resolve(Overrides={"DataPrefix": "history/"})
    assert [file["Key"] for file in aws.get_json(f"runs/{run['RunId']}/manifest.json")["Files"]] == ["history/b.csv"]


def test_no_data_is_said_and_claims_nothing(aws, resolve):
    aws.put("raw/folder/", "")
    answer = resolve()
    assert answer["Decision"] == "NoData"
    assert "raw/" in answer["Reason"]
    assert aws.keys("runs/") == []


def test_an_empty_file_that_was_dropped_is_an_error_that_names_it(aws, app, resolve):
    version = aws.put("raw/empty.csv", "")
    with pytest.raises(app.EmptyFileError, match=r"'raw/empty\.csv' is empty: it has 0 bytes"):
        resolve(Trigger=drop("raw/empty.csv", version))


def test_of_many_empty_files_that_come_together_one_is_an_error_and_counts_the_others(aws, app, resolve):
    versions = [(f"raw/{number}.csv", aws.put(f"raw/{number}.csv", "")) for number in range(3)]
    decisions = [resolve(f"{EXECUTION_ARN}-{key}", Trigger=drop(key, version)) for key, version in versions[:2]]
    assert [(answer["Decision"], "'raw/2.csv'" in answer["Reason"]) for answer in decisions] == [("NoData", True)] * 2
    with pytest.raises(app.EmptyFileError, match=r"'raw/2\.csv' is empty \(like 2 more that came with it\)"):
        resolve(Trigger=drop(*versions[2]))


def test_a_write_of_spark_is_one_run_of_its_files_and_of_nothing_else(aws, resolve):
    written = {
        key: aws.put(f"raw/cars/{key}", body)
        for key, body in {
            "_temporary/0/part-00000.csv": "price\n1\n", "part-00000.csv": "price\n1\n", "part-00001.csv": "",
            "part-00002.csv": "price\n2\n", "_SUCCESS": "",
        }.items()
    }  # fmt: skip
    answers = {
        key: resolve(f"{EXECUTION_ARN}-{key}", Trigger=drop(f"raw/cars/{key}", version))
        for key, version in reversed(written.items())
    }
    worked = answers.pop("part-00002.csv")
    manifest = aws.get_json(f"runs/{worked['RunId']}/manifest.json")
    assert [file["Key"] for file in manifest["Files"]] == ["raw/cars/part-00000.csv", "raw/cars/part-00002.csv"]
    assert {item["Key"]: item["Reason"] for item in manifest["Ignored"]} == {
        "raw/cars/_SUCCESS": "hidden: '_SUCCESS' begins with '_'",
        "raw/cars/_temporary/0/part-00000.csv": "hidden: '_temporary' begins with '_'",
        "raw/cars/part-00001.csv": "an empty object",
    }
    assert {key: answer["Decision"] for key, answer in answers.items()} == {
        "_temporary/0/part-00000.csv": "NoData", "part-00000.csv": "Superseded", "part-00001.csv": "NoData",
        "_SUCCESS": "NoData",
    }  # fmt: skip
    assert answers["_SUCCESS"]["Reason"] == "'raw/cars/_SUCCESS' is no data: hidden: '_SUCCESS' begins with '_'"


def test_what_is_no_data_is_left_alone_even_where_a_run_could_not_begin(aws, resolve):
    aws.override('{"HyperParameters": {eta: 1}}')
    assert resolve(Trigger=drop("raw/_SUCCESS"))["Decision"] == "NoData"


def test_an_empty_file_that_was_replaced_is_left_to_its_replacement(aws, resolve):
    version = aws.put("raw/a.csv", "")
    aws.put("raw/a.csv", "a")
    assert resolve(Trigger=drop("raw/a.csv", version))["Decision"] == "Superseded"


def test_a_folder_that_a_console_made_is_nothing_to_do(aws, resolve):
    aws.put("raw/a.csv", "a")
    answer = resolve(Trigger=drop("raw/folder/", aws.put("raw/folder/", "")))
    assert (answer["Decision"], aws.keys("runs/")) == ("NoData", [])


def test_the_same_bytes_put_again_are_trained_once_whatever_their_etag(aws, resolve, answers):
    aws.put("raw/a.csv", "a")
    first = resolve(Trigger={"Type": "Schedule"})
    manifest = aws.get_json(f"runs/{first['RunId']}/manifest.json")
    assert manifest["Files"][0]["Checksum"].split(":")[0] in ("CRC32", "CRC64NVME")
    answers("stepfunctions", "DescribeExecution", execution_ended("SUCCEEDED"))
    aws.put("raw/a.csv", "a")
    assert resolve(OTHER_ARN, Trigger={"Type": "Schedule"})["Decision"] == "AlreadyTrained"


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"Overrides": {"GateThreshold": -1}}, "GateThreshold"),
        ({"Overrides": {"GateMinimumImprovement": 0.1}}, "gate.minimum_improvement"),
        ({"Overrides": {"HyperParameters": {"etaa": 1}}}, "did you mean 'eta'"),
        ({"Trigger": {"Type": "Weather"}}, "Trigger.Type"),
        ({"Overides": {}}, "did you mean 'Overrides'"),
    ],
)
def test_a_wrong_input_is_refused_naming_the_field(aws, resolve, given, named):
    aws.put("raw/a.csv", "a")
    with pytest.raises(ConfigurationError, match=named):
        resolve(**given)
    assert aws.keys("runs/") == []


def test_wrong_json_in_a_stack_parameter_is_named(aws, resolve):
    aws.override('{"HyperParameters": {eta: 1}}')
    with pytest.raises(ConfigurationError, match="HyperParameters must be a JSON object"):
        resolve()


def test_a_file_that_replaces_another_has_its_place(aws, resolve):
    """Of the rows of a key the last one counts: `make erase` writes old files anew."""
    for key, dropped_at in (("raw/b.csv", None), ("raw/c.csv", "2026-11-19T00:00:00+00:00"), ("raw/a.csv", None)):
        metadata = {"dropped-at": dropped_at} if dropped_at else {}
        aws.client("s3").put_object(Bucket=BUCKET, Key=key, Body=key.encode(), Metadata=metadata)
    run = resolve()
    files = json.loads(aws.get(f"runs/{run['RunId']}/manifest.json"))["Files"]
    assert next(file["Key"] for file in files) == "raw/c.csv"
    assert files[0]["LastModified"] == "2026-11-19T00:00:00Z"


# ---- Objects that S3 does not hand out


def test_archived_objects_are_named_all_at_once_before_anything_is_claimed(aws, app, resolve):
    aws.put("raw/a.csv", "a")
    for key, storage in (("raw/b.csv", "GLACIER"), ("raw/c.csv", "DEEP_ARCHIVE"), ("raw/d.csv", "GLACIER_IR")):
        aws.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"b", StorageClass=storage)
    aws.client("s3").put_object(Bucket=BUCKET, Key="raw/e.csv", Body=b"b", StorageClass="GLACIER")
    aws.client("s3").restore_object(Bucket=BUCKET, Key="raw/e.csv", RestoreRequest={"Days": 1})
    with pytest.raises(app.versions.DataVersionRefusedError) as refused:
        resolve()
    b, c = str(refused.value).splitlines()
    assert b.startswith("'raw/b.csv' (version ")
    assert "is archived (GLACIER) and cannot be read before it is restored" in b
    assert c.startswith("'raw/c.csv' (version ")
    assert c.endswith(f"or take it away: aws s3 rm s3://{BUCKET}/raw/c.csv")
    assert aws.keys("runs/") == []


@matrix("Data", "more than ten archived objects", ends="Failed")
def test_of_many_objects_that_are_refused_some_are_named_and_a_file_has_all(aws, app, resolve):
    for number in range(12):
        aws.client("s3").put_object(Bucket=BUCKET, Key=f"raw/{number:02}.csv", Body=b"a", StorageClass="GLACIER")
    with pytest.raises(app.versions.DataVersionRefusedError) as refused:
        resolve()
    (at,) = aws.keys("runs/")
    first, *some = str(refused.value).splitlines()
    assert first.startswith("S3 does not hand out 12 objects; ")
    assert f"s3://{BUCKET}/{at};" in first
    lines = aws.get(at).splitlines()
    assert lines[:10] == some
    assert [line.split(" ")[0] for line in lines] == [f"'raw/{number:02}.csv'" for number in range(12)]
    assert all(f"take it away: aws s3 rm s3://{BUCKET}/raw/" in line for line in lines)


def test_an_object_whose_checksum_is_under_a_key_of_somebody_else_is_named_with_the_key(aws, app, resolve, answers):
    encrypted = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "arn:aws:kms:x:1:key/k"}
    aws.client("s3").put_object(Bucket=BUCKET, Key="raw/a.csv", Body=b"a", **encrypted)
    answers("s3", "HeadObject", (403, {}), None)
    with pytest.raises(
        app.versions.DataVersionRefusedError, match="KMS key arn:aws:kms:x:1:key/k, which this function"
    ):
        resolve()


def test_an_s3_that_has_no_time_is_asked_again_later(aws, app, resolve, answers):
    aws.put("raw/a.csv", "a")
    answers("s3", "HeadObject", (503, {}))
    with pytest.raises(app.versions.DataVersionUnavailableError, match=r"S3 did not give 'raw/a\.csv'"):
        resolve()


def test_an_object_that_stays_unreadable_while_others_are_read_is_named_with_what_to_do(aws, app, resolve, answers):
    for name in "abc":
        aws.put(f"raw/{name}.csv", name)
    answers("s3", "HeadObject", lambda request: (503, {}) if "/raw/b.csv" in request.url else None)
    with pytest.raises(app.versions.DataVersionUnavailableError) as unread:
        resolve()
    first, last = str(unread.value).splitlines()
    assert re.fullmatch(
        r"S3 did not give 'raw/b\.csv' \(version .+\), asked up to 8 times: .*\(503\).* HeadObject operation.*: "
        r"Service Unavailable\. To take it away, if it alone stays unreadable: aws s3 rm s3://.*/raw/b\.csv",
        first,
    ), first
    assert last == "Meanwhile S3 gave 2 other objects."


# ---- Claims


def test_the_same_execution_gets_the_same_answer_again(aws, resolve):
    aws.put("raw/a.csv", "a")
    first = resolve()
    aws.put("raw/b.csv", "b")
    assert resolve() == first
    assert len(aws.get_json(f"runs/{first['RunId']}/manifest.json")["Files"]) == 1


def test_a_call_that_broke_off_after_its_claim_goes_on_with_it(aws, app, resolve, monkeypatch):
    version = aws.put("raw/a.csv", "a")
    trigger = drop("raw/a.csv", version)
    write = app.objects.write_json
    monkeypatch.setattr(app.objects, "write_json", lambda *_: (_ for _ in ()).throw(TimeoutError("no network")))
    with pytest.raises(TimeoutError):
        resolve(Trigger=trigger)
    monkeypatch.setattr(app.objects, "write_json", write)
    assert resolve(Trigger=trigger)["Decision"] == "Train"


def test_the_same_event_twice_works_once(aws, resolve, answers):
    version = aws.put("raw/a.csv", "a")
    first = resolve(Trigger=drop("raw/a.csv", version))
    answers("stepfunctions", "DescribeExecution", execution_ended("RUNNING"))
    second = resolve(OTHER_ARN, Trigger=drop("raw/a.csv", version))
    assert second["Decision"] == "Duplicate"
    assert first["RunId"] in second["Reason"]
    assert resolve(OTHER_ARN, Trigger=drop("raw/a.csv", version)) == second


@pytest.mark.parametrize(
    ("status", "error", "decision"),
    [
        ("SUCCEEDED", None, "AlreadyTrained"),
        ("FAILED", "ModelAccuracyTooLow", "AlreadyTrained"),
        ("FAILED", "States.TaskFailed", "Train"),
        ("TIMED_OUT", None, "Train"),
        ("ABORTED", None, "Train"),
    ],
)
def test_an_event_for_data_that_a_run_had_depends_on_how_that_run_ended(aws, resolve, answers, status, error, decision):
    version = aws.put("raw/a.csv", "a")
    resolve(Trigger=drop("raw/a.csv", version))
    answers("stepfunctions", "DescribeExecution", execution_ended(status, error))
    assert resolve(OTHER_ARN, Trigger=drop("raw/a.csv", version))["Decision"] == decision


# ---- training.window


@pytest.fixture
def newest_two(monkeypatch):
    """The model's definition with a window of two files."""
    known = definition.load(MODELS / "used-cars" / "model.yaml")
    window = definition.Training(window=definition.TrainingWindow(newest_files=2))
    monkeypatch.setattr(definition, "load", lambda _: known.model_copy(update={"training": window}))


def drop_in(aws, year, name):
    dropped_at = {"dropped-at": f"{year}-01-01T00:00:00+00:00"}
    aws.client("s3").put_object(Bucket=BUCKET, Key=f"raw/{name}.csv", Body=name.encode(), Metadata=dropped_at)


def test_the_newest_files_train_and_the_others_are_ignored_with_the_reason(aws, resolve, newest_two):
    for year, name in enumerate("cba", 2020):
        drop_in(aws, year, name)
    manifest = aws.get_json(f"runs/{resolve()['RunId']}/manifest.json")
    assert [file["Key"] for file in manifest["Files"]] == ["raw/b.csv", "raw/a.csv"]
    assert [(item["Key"], item["Reason"]) for item in manifest["Ignored"]] == [
        ("raw/c.csv", "left out by training.window: older than the newest 2 files")
    ]


# ---- Rows that become records of a feature group

RECORDS = (
    "raw/123456789012/sagemaker/eu-west-1/offline-store/{}-1764000000/data/year=2026/month=11/day=30/hour=10/{}.parquet"
)


@pytest.fixture
def ingesting(monkeypatch):
    """The model's definition with a feature group that runs put rows into."""
    known = definition.load(MODELS / "used-cars" / "model.yaml")
    store = FeatureStore(groups={"sales": {"record": "sale", "event_time": "sold"}}, ingest=True)
    monkeypatch.setattr(definition, "load", lambda _: known.model_copy(update={"feature_store": store}))


def to_ingest(aws, run):
    """The copies that a run's job reads, as SageMaker reads a list."""
    folder, *names = aws.get_json(f"runs/{run['RunId']}/ingest.manifest")
    assert folder == {"prefix": f"s3://{BUCKET}/copies/"}
    return names


def test_rows_of_each_version_of_a_dropped_file_are_ingested_once(aws, resolve, ingesting):
    labelled = "raw/labelled/20261129100000-20261129110000.csv"
    for key in ("raw/a.csv", "raw/b.csv", labelled, RECORDS.format(f"{STACK}_sales", "one")):
        aws.put(key, key)
    first = resolve()
    assert first["Ingest"] == {"Group": f"{STACK}_sales", "Record": "sale", "EventTime": "sold"}
    a, b = sorted(to_ingest(aws, first), key=lambda name: name.rpartition("-")[2])
    assert (a.rpartition("-")[2], b.rpartition("-")[2]) == ("a.csv", "b.csv")
    aws.put(f"ingested/{STACK}_sales/{a}", "")
    assert to_ingest(aws, resolve(OTHER_ARN)) == [b]
    aws.put(f"ingested/{STACK}_sales/{b}", "")
    assert resolve(f"{OTHER_ARN}-3")["Ingest"] is None
    aws.put("raw/a.csv", "other rows")
    (again,) = to_ingest(aws, resolve(f"{OTHER_ARN}-4"))
    assert again.endswith("-a.csv")
    assert again != a


def test_only_drops_of_the_stack_are_ingested(aws, resolve, ingesting):
    aws.put("raw/a.csv", "a")
    aws.put("elsewhere/a.csv", "a")
    first = resolve()
    assert resolve(f"{OTHER_ARN}-2", Replay=first["RunId"])["Ingest"] is None
    assert resolve(f"{OTHER_ARN}-3", Overrides={"DataPrefix": "elsewhere/"})["Ingest"] is None


def test_what_runs_have_ingested_starts_none_and_is_no_reason_to_train(aws, resolve, ingesting, answers):
    """A drop works although SageMaker has written records since, whose event starts nothing."""
    version = aws.put("raw/0.csv", "a")  # its name, too, comes before theirs
    key = RECORDS.format(f"{STACK}_sales", "one")
    aws.put(key, "records of it")
    run = resolve(Trigger=drop("raw/0.csv", version, size=1))
    assert run["Decision"] == "Train"
    assert len(aws.get_json(f"runs/{run['RunId']}/manifest.json")["Files"]) == 2
    answers("stepfunctions", "DescribeExecution", execution_ended("SUCCEEDED"))
    later = RECORDS.format(f"{STACK}_sales", "two")
    written = aws.put(later, "more of it")
    answer = resolve(OTHER_ARN, Trigger=drop(later, written))
    assert (answer["Decision"], "records of the feature group that runs put" in answer["Reason"]) == (
        "Superseded",
        True,
    )
    assert resolve(f"{OTHER_ARN}-3", Trigger={"Type": "Schedule"})["Decision"] == "AlreadyTrained"


def test_records_that_others_put_start_a_run_where_runs_put_none(aws, resolve, monkeypatch):
    known = definition.load(MODELS / "used-cars" / "model.yaml")
    store = FeatureStore(groups={"sales": {"record": "sale", "event_time": "sold"}})
    monkeypatch.setattr(definition, "load", lambda _: known.model_copy(update={"feature_store": store}))
    key = RECORDS.format(f"{STACK}_sales", "one")
    run = resolve(Trigger=drop(key, aws.put(key, "records")))
    assert (run["Decision"], run["Ingest"]) == ("Train", None)


# ---- Drift and alarms


@pytest.mark.parametrize("trigger", ["Drift", "Alarm"])
def test_drift_on_known_data_trains_nothing_and_says_what_would_help(aws, resolve, answers, trigger):
    aws.put("raw/a.csv", "a")
    resolve(Trigger={"Type": "Schedule"})
    answers("stepfunctions", "DescribeExecution", execution_ended("SUCCEEDED"))
    answer = resolve(OTHER_ARN, Trigger={"Type": trigger, "Id": "window-1"})
    assert answer["Decision"] == "AlreadyTrained"
    assert answer["Reason"].endswith("retraining on the same data would change nothing; new labelled data would")


@pytest.mark.parametrize("trigger", ["Drift", "Alarm"])
def test_drift_with_new_data_trains_and_is_recorded_as_what_it_was(aws, resolve, trigger):
    from perennial_aws import runs

    aws.put("raw/a.csv", "a")
    resolve(Trigger={"Type": "Schedule"})
    aws.put("raw/labelled/window-1.csv", "b")
    run = resolve(OTHER_ARN, Trigger={"Type": trigger, "Id": "window-1", "Time": START})
    assert run["Decision"] == "Train"
    assert aws.get_json(f"runs/{run['RunId']}/config.json")["trigger"] == trigger
    assert runs.get(run["RunId"])["input"]["Trigger"] == {"Type": trigger, "Id": "window-1", "Time": START}


def test_drift_while_a_run_trains_starts_at_most_one_run_after_it_and_is_not_lost(aws, resolve, answers):
    drift = {"Type": "Drift"}
    aws.put("raw/a.csv", "a")
    training = resolve(Trigger=drop("raw/a.csv"))
    answers("stepfunctions", "DescribeExecution", execution_ended("RUNNING"))
    same = [resolve(f"{EXECUTION_ARN}-{n}", Trigger=drift) for n in (1, 2)]
    assert [one["Decision"] for one in same] == ["Duplicate"] * 2
    assert all(training["RunId"] in one["Reason"] for one in same)
    aws.put("raw/labelled/window-1.csv", "b")
    newer = [resolve(f"{EXECUTION_ARN}-{n}", Trigger=drift) for n in (3, 4)]
    assert [one["Decision"] for one in newer] == ["Train", "Duplicate"]
    files = aws.get_json(f"runs/{newer[0]['RunId']}/manifest.json")["Files"]
    assert [file["Key"] for file in files] == ["raw/a.csv", "raw/labelled/window-1.csv"]
    assert resolve(OTHER_ARN, Trigger=drop("raw/labelled/window-1.csv"))["Decision"] == "Duplicate"


def test_drift_trains_data_whose_run_has_failed(aws, resolve, answers):
    aws.put("raw/a.csv", "a")
    resolve(Trigger=drop("raw/a.csv"))
    answers("stepfunctions", "DescribeExecution", execution_ended("FAILED", "States.TaskFailed"))
    assert resolve(OTHER_ARN, Trigger={"Type": "Drift"})["Decision"] == "Train"


def test_the_record_of_a_closed_run_is_believed_without_asking_step_functions(aws, resolve, answers):
    from perennial_aws import runs

    aws.put("raw/a.csv", "a")
    runs.update(resolve(Trigger=drop("raw/a.csv"))["RunId"], status="Succeeded")
    requests = answers("stepfunctions", "DescribeExecution", refusal("AccessDeniedException"))
    assert resolve(OTHER_ARN, Trigger=drop("raw/a.csv"))["Decision"] == "AlreadyTrained"
    assert requests == []


def test_work_of_an_execution_that_nobody_remembers_is_taken_over(aws, resolve, answers):
    aws.put("raw/a.csv", "a")
    resolve(Trigger=drop("raw/a.csv"))
    answers("stepfunctions", "DescribeExecution", refusal("ExecutionDoesNotExist"))
    second = resolve(OTHER_ARN, Trigger=drop("raw/a.csv"))
    assert second["Decision"] == "Train"
    assert second["RunId"] == run_of(OTHER_ARN)


def test_an_error_of_step_functions_is_not_read_as_a_lost_run(aws, resolve, answers):
    aws.put("raw/a.csv", "a")
    resolve(Trigger=drop("raw/a.csv"))
    answers("stepfunctions", "DescribeExecution", refusal("AccessDeniedException"))
    with pytest.raises(ClientError, match="AccessDenied"):
        resolve(OTHER_ARN, Trigger=drop("raw/a.csv"))


def test_a_person_may_train_again_on_the_same_data(aws, resolve):
    aws.put("raw/a.csv", "a")
    resolve(Trigger=drop("raw/a.csv"))
    assert resolve(OTHER_ARN)["Decision"] == "Train"


def test_another_configuration_is_other_work(aws, resolve):
    aws.put("raw/a.csv", "a")
    resolve(Trigger=drop("raw/a.csv"))
    schedule = {"Type": "Schedule"}
    assert resolve(OTHER_ARN, Trigger=schedule, Overrides={"GateThreshold": 3000})["Decision"] == "Train"


@pytest.mark.parametrize(
    ("variable", "image"),
    [
        ("XGBOOST_IMAGE", "sagemaker-xgboost:3.3-0"),
        ("XGBOOST_IMAGE", f"sagemaker-xgboost@sha256:{'1' * 64}"),
        ("SKLEARN_IMAGE", f"sagemaker-scikit-learn@sha256:{'1' * 64}"),
    ],
)
def test_another_tag_or_digest_of_an_image_is_other_work(aws, resolve, monkeypatch, variable, image):
    aws.put("raw/a.csv", "a")
    resolve(Trigger=drop("raw/a.csv"))
    monkeypatch.setenv(variable, f"1.dkr.ecr.eu-west-1.amazonaws.com/{image}")
    assert resolve(OTHER_ARN, Trigger={"Type": "Schedule"})["Decision"] == "Train"


def test_a_replay_takes_the_versions_of_the_run_that_it_names(aws, resolve):
    aws.put("raw/a.csv", "a")
    aws.put("raw/b.csv", "b")
    first = resolve()
    aws.put("raw/a.csv", "changed")
    aws.put("raw/c.csv", "c")
    again = resolve(OTHER_ARN, Replay=first["RunId"])
    manifests = [aws.get_json(f"runs/{run['RunId']}/manifest.json")["Files"] for run in (first, again)]
    assert manifests[0] == manifests[1]
    assert len(manifests[1]) == 2


def test_the_data_may_be_dropped_into_another_bucket_that_keeps_no_versions(aws, resolve, their_bucket):
    aws.put("raw/own.csv", "not asked for")
    etag = aws.client("s3").put_object(Bucket=their_bucket, Key="raw/a.csv", Body=b"a")["ETag"]
    run = resolve(Trigger={"Type": "DataDrop", "Object": {"key": "raw/a.csv", "etag": etag.strip('"')}})
    manifest = aws.get_json(f"runs/{run['RunId']}/manifest.json")
    assert manifest["Bucket"] == their_bucket
    assert [(file["Key"], file["VersionId"]) for file in manifest["Files"]] == [("raw/a.csv", "null")]
    assert aws.get_json(f"runs/{run['RunId']}/config.json")["data"]["bucket"] == their_bucket
    aws.client("s3").delete_object(Bucket=their_bucket, Key="raw/a.csv")
    assert resolve(OTHER_ARN)["Reason"] == f"there are no data under s3://{their_bucket}/raw/ (0 objects ignored)"


def test_of_another_bucket_that_keeps_versions_the_version_is_recorded(aws, resolve, their_bucket):
    s3 = aws.client("s3")
    s3.put_bucket_versioning(Bucket=their_bucket, VersioningConfiguration={"Status": "Enabled"})
    version = s3.put_object(Bucket=their_bucket, Key="raw/a.csv", Body=b"a")["VersionId"]
    run = resolve()
    manifest = aws.get_json(f"runs/{run['RunId']}/manifest.json")
    assert [(file["Key"], file["VersionId"]) for file in manifest["Files"]] == [("raw/a.csv", version)]


def test_a_replay_of_data_in_another_bucket_than_the_stacks_is_refused(aws, resolve, their_bucket, monkeypatch):
    aws.client("s3").put_object(Bucket=their_bucket, Key="raw/a.csv", Body=b"a")
    first = resolve()["RunId"]
    monkeypatch.setenv("DATA_BUCKET", BUCKET)
    said = f"Replay: the data of run {first} are in s3://{their_bucket}; expected a run on data in s3://{BUCKET}"
    with pytest.raises(ConfigurationError, match=said):
        resolve(OTHER_ARN, Replay=first)


@pytest.mark.parametrize(
    "manifest", ["", "[]", "{}", '{"Files": [{"Key": "raw/a.csv"}]}', '{"Files": 5}', "[" * 10_000, '{"a":' * 10_000],
    ids=lambda text: text[:20],
)  # fmt: skip
def test_a_replay_of_a_run_whose_manifest_is_damaged_is_refused(aws, resolve, manifest):
    aws.put("raw/a.csv", "a")
    key = f"runs/{resolve()['RunId']}/manifest.json"
    aws.put(key, manifest)
    with pytest.raises(ConfigurationError, match=f"Replay: s3://{BUCKET}/{key} is no manifest of a run"):
        resolve(OTHER_ARN, Replay=key.split("/")[1])


def test_a_run_of_the_stacks_own_data_may_deploy(aws, resolve):
    aws.put("raw/a.csv", "a")
    assert resolve(Overrides={"HyperParameters": {"eta": 0.2}})["Withheld"] is None


@pytest.mark.parametrize("kind", ["DataDrop", "Manual", "Schedule", "Drift", "Alarm"])
def test_other_data_do_not_deploy_whatever_the_input_says_started_the_run(aws, resolve, kind):
    version = aws.put("raw/mine/a.csv", "a")
    given = drop("raw/mine/a.csv", version) if kind == "DataDrop" else {"Type": kind}
    run = resolve(Trigger=given, Overrides={"DataPrefix": "raw/mine/"})
    assert run["Withheld"].startswith("its input decides data_prefix, which deployable_overrides in the model.yaml of")
    assert aws.get_json(f"runs/{run['RunId']}/config.json")["withheld"] == ["data_prefix"]


def test_a_replay_of_other_data_is_no_way_around(aws, resolve, monkeypatch):
    aws.put("raw/mine/a.csv", "a")
    other = resolve(Overrides={"DataPrefix": "raw/mine/"})
    assert "decides data_prefix, replay" in resolve(OTHER_ARN, Replay=other["RunId"])["Withheld"]


def test_a_replay_of_a_run_without_a_record_is_taken_for_other_data(aws, resolve):
    aws.put("raw/a.csv", "a")
    first = resolve()
    aws.client("dynamodb").delete_item(TableName="runs", Key={"id": {"S": f"run#{first['RunId']}"}})
    assert "decides data_prefix, replay" in resolve(OTHER_ARN, Replay=first["RunId"])["Withheld"]


def test_a_run_that_deploys_nothing_is_other_work_so_that_its_claim_stops_no_drop_of_the_same_data(aws, resolve):
    from perennial_aws import runs

    aws.put("raw/a.csv", "a")
    first = resolve()
    again = resolve(OTHER_ARN, Replay=first["RunId"])
    work, same = (runs.get(run["RunId"]) for run in (first, again))
    assert work["data"]["fingerprint"] == same["data"]["fingerprint"]
    assert work["work_key"] != same["work_key"]


def test_a_replay_of_an_unknown_run_is_refused(aws, resolve):
    with pytest.raises(ConfigurationError, match="Replay: got '20200101000000-abcd', which has no manifest"):
        resolve(Replay="20200101000000-abcd")
    with pytest.raises(ConfigurationError, match="Replay"):
        resolve(Replay="../../elsewhere")


def test_other_code_is_other_work(aws, resolve, monkeypatch):
    aws.put("raw/a.csv", "a")
    resolve(Trigger=drop("raw/a.csv"))
    monkeypatch.setenv("CODE_URI", f"s3://{BUCKET}/code/fedcba9876543210")
    assert resolve(OTHER_ARN, Trigger={"Type": "Schedule"})["Decision"] == "Train"


def test_a_claim_that_always_changes_hands_is_given_up_with_an_error(aws, app, resolve, monkeypatch):
    aws.put("raw/a.csv", "a")
    monkeypatch.setattr(app.runs, "claim", lambda *_: False)
    with pytest.raises(app.ClaimContestedError):
        resolve()


def test_of_two_who_claim_at_once_one_gets_it(aws, app, resolve, monkeypatch, answers):
    aws.put("raw/a.csv", "a")
    answers("stepfunctions", "DescribeExecution", execution_ended("RUNNING"))
    real = app.runs.claim

    def slower(work_key, run, arn, previous):
        monkeypatch.setattr(app.runs, "claim", real)
        real(work_key, "20261120093440-ffff", OTHER_ARN, previous)
        return real(work_key, run, arn, previous)

    monkeypatch.setattr(app.runs, "claim", slower)
    assert resolve(Trigger=drop("raw/a.csv"))["Decision"] == "Duplicate"


# ---- Bursts


@pytest.mark.parametrize("more", [{}, {"size": 1}], ids=["of any size", "as S3 tells of it"])
def test_of_many_files_only_the_newest_event_works(aws, resolve, more):
    versions = {f"raw/{number:02}.csv": aws.put(f"raw/{number:02}.csv", str(number)) for number in range(5)}
    decisions = {}
    for number, (key, version) in enumerate(versions.items()):
        arn = f"{EXECUTION_ARN}-{number}"
        decisions[key] = resolve(arn, Trigger=drop(key, version, **more))["Decision"]
    assert decisions.pop("raw/04.csv") == "Train"
    assert set(decisions.values()) == {"Superseded"}


def test_a_drop_that_a_newer_one_follows_by_name_lists_no_other_files(aws, resolve, answers):
    """Or a burst would cost the square of its number: each of its files starts an execution."""
    first = aws.put("raw/01.csv", "1")
    aws.put("raw/02.csv", "2")
    listed = answers("s3", "ListObjectVersions", None)
    assert resolve(Trigger=drop("raw/01.csv", first, size=1))["Decision"] == "Superseded"
    asked = [parse_qs(urlsplit(request.url).query) for request in listed]
    assert [(one["prefix"], one.get("key-marker")) for one in asked] == [
        (["raw/01.csv"], None), (["raw/"], ["raw/01.csv"]),
    ]  # fmt: skip


def test_a_superseded_drop_leaves_no_trace_in_the_bucket(aws, resolve):
    old = aws.put("raw/a.csv", "a")
    aws.put("raw/a.csv", "aa")
    answer = resolve(Trigger=drop("raw/a.csv", old))
    assert answer["Decision"] == "Superseded"
    assert aws.keys("runs/") == []


@pytest.mark.parametrize("other", [True, False], ids=["among others", "alone"])
def test_a_dropped_file_that_is_there_and_not_listed_is_an_error_that_names_it(aws, app, resolve, other):
    if other:
        aws.put("raw/a.csv", "a")
    version = aws.put("raw/b\rb.csv", "b")  # what imitates AWS here lists it with a line feed
    with pytest.raises(app.FileNotListedError, match=rf"'raw/b\\rb\.csv' \(version {version}\) is in the bucket, but"):
        resolve(Trigger=drop("raw/b\rb.csv", version))
    assert aws.keys("runs/") == []


@pytest.mark.parametrize("for_good", [True, False], ids=["for good", "with a marker"])
def test_a_deleted_drop_does_not_leave_the_work_to_older_files_whose_runs_left_it_to_the_drop(aws, resolve, for_good):
    older, gone = aws.put("raw/a.csv", "a"), aws.put("raw/b.csv", "b")
    assert resolve(f"{EXECUTION_ARN}-a", Trigger=drop("raw/a.csv", older))["Decision"] == "Superseded"
    aws.client("s3").delete_object(Bucket=BUCKET, Key="raw/b.csv", **({"VersionId": gone} if for_good else {}))
    run = resolve(f"{EXECUTION_ARN}-b", Trigger=drop("raw/b.csv", gone))
    assert run["Decision"] == "Train"
    assert [file["Key"] for file in aws.get_json(f"runs/{run['RunId']}/manifest.json")["Files"]] == ["raw/a.csv"]


@pytest.mark.parametrize("for_good", [True, False], ids=["for good", "still listed"])
def test_an_overwritten_drop_is_trained_on_once(aws, resolve, answers, for_good):
    answers("stepfunctions", "DescribeExecution", execution_ended("RUNNING"))
    old, new = aws.put("raw/a.csv", "a"), aws.put("raw/a.csv", "aa")
    if for_good:
        aws.client("s3").delete_object(Bucket=BUCKET, Key="raw/a.csv", VersionId=old)
    assert resolve(f"{EXECUTION_ARN}-new", Trigger=drop("raw/a.csv", new))["Decision"] == "Train"
    answer = resolve(f"{EXECUTION_ARN}-old", Trigger=drop("raw/a.csv", old))
    assert answer["Decision"] == ("Duplicate" if for_good else "Superseded")


def test_a_deleted_drop_whose_version_nobody_knows_is_no_error(aws, resolve):
    aws.put("raw/a.csv", "a")
    assert resolve(Trigger=drop("raw/gone.csv"))["Decision"] == "Train"


# ---- The model in service


def test_the_champion_is_the_model_that_parameter_store_names(aws, resolve):
    aws.put("raw/a.csv", "a")
    name = aws.serve("20261101000000-aaaa")
    assert resolve()["Champion"] == {
        "ModelName": name,
        "EndpointConfigName": name,
        "RunId": "20261101000000-aaaa",
    }


@pytest.fixture
def last(aws, answers, resolve):
    """The run that was the last to deploy; it has put a file aside."""
    for key in ("raw/a.csv", "raw/b.csv", "raw/readme.txt"):
        aws.put(key, key)
    run = resolve(OTHER_ARN)["RunId"]
    aws.put(f"runs/{run}/report/report.json", json.dumps({"aside": [{"position": 2}]}))
    item = {"id": {"S": "deployment"}, "run_id": {"S": run}, "execution_arn": {"S": OTHER_ARN}}
    aws.client("dynamodb").put_item(TableName="runs", Item=item)
    answers("stepfunctions", "DescribeExecution", execution_ended("SUCCEEDED"))
    return run


def gone_back_from(run):
    from perennial_aws import runs

    return runs.get(run["RunId"])["gone_back_from"]


@pytest.mark.parametrize(
    ("key", "body", "is_told"),
    [
        ("raw/more.csv", "c", True),
        ("raw/readme.txt", "", True),
        ("raw/b.csv", "corrected", False),
        ("raw/b.csv", "", False),  # taken away
    ],
)
def test_a_run_on_the_data_of_a_model_that_was_gone_back_from_knows_that(aws, resolve, last, key, body, is_told):
    aws.serve("20261101000000-aaaa")
    aws.put(key, body)
    assert gone_back_from(resolve()) == (last if is_told else None)


@pytest.mark.parametrize("is_rejected", [True, False], ids=["rejected", "approved late"])
def test_a_run_on_the_data_of_a_version_that_was_rejected_in_service_knows_that(aws, resolve, last, is_rejected):
    deployment = {"run_id": "20261101000000-aaaa", "reason": "why", "instead_of": last if is_rejected else None}
    runs.put({"run_id": "20261121000000-bbbb", "status": "Succeeded", "deployment": deployment})
    runs.take_turn("20261121000000-bbbb", OTHER_ARN, last)
    aws.serve("20261101000000-aaaa")
    aws.put("raw/more.csv", "c\n1\n")
    assert gone_back_from(resolve()) == (last if is_rejected else None)


def test_a_model_that_serves_was_not_gone_back_from(aws, resolve, last):
    aws.serve(last)
    assert gone_back_from(resolve()) is None


def test_of_a_run_whose_manifest_is_gone_nothing_is_said(aws, resolve, last):
    aws.put(f"runs/{last}/manifest.json", "{}")
    aws.serve("20261101000000-aaaa")
    assert gone_back_from(resolve()) is None


def test_where_nothing_serves_nobody_has_gone_back(resolve, last):
    assert gone_back_from(resolve()) is None


def test_a_run_that_was_the_last_to_deploy_and_failed_was_not_gone_back_from(aws, resolve, last, answers):
    answers("stepfunctions", "DescribeExecution", execution_ended("FAILED", "EndpointVerificationError"))
    aws.serve("20261101000000-aaaa")
    assert gone_back_from(resolve()) is None


def test_parameters_without_their_model_are_no_champion(aws, resolve):
    aws.put("raw/a.csv", "a")
    name = aws.serve("20261101000000-aaaa")
    aws.client("sagemaker").delete_model(ModelName=name)
    assert resolve()["Champion"] is None


def test_some_of_the_parameters_are_no_champion(aws, resolve):
    aws.put("raw/a.csv", "a")
    aws.serve("20261101000000-aaaa")
    aws.client("ssm").delete_parameter(Name=f"/{STACK}/run")
    assert resolve()["Champion"] is None


def test_an_error_of_sagemaker_is_not_read_as_no_champion(aws, resolve, answers):
    aws.put("raw/a.csv", "a")
    aws.serve("20261101000000-aaaa")
    answers("sagemaker", "DescribeModel", refusal("AccessDeniedException"))
    with pytest.raises(ClientError, match="AccessDenied"):
        resolve()


# ---- Records and networks


def test_the_record_holds_what_the_run_is_made_of(aws, resolve):
    from perennial_aws import runs

    version = aws.put("raw/a.csv", "a")
    run = resolve(Trigger={**drop("raw/a.csv", version), "Id": "event-1"})
    record = runs.get(run["RunId"])
    assert record is not None
    assert record["status"] == "Running"
    assert record["data"]["files"][0]["VersionId"] == version
    assert len(record["data"]["fingerprint"]) == 64
    assert record["code"]["hash"] == "0123456789abcdef"
    assert record["input"]["Trigger"]["Id"] == "event-1"
    assert record["execution"] == {"arn": EXECUTION_ARN, "started_at": "2026-11-20T09:34:40.123Z"}
    assert record["configuration"]["definition"]["target"] == "price"
    assert record["images"]["algorithm"].endswith("sagemaker-xgboost:3.2-0")
    assert record["images"]["preprocessor"].endswith("sagemaker-scikit-learn:1.9-0-cpu-py3")


def test_the_commit_comes_from_the_layer(aws, resolve, monkeypatch, tmp_path):
    from perennial_aws import runs, shipped

    aws.put("raw/a.csv", "a")
    (tmp_path / "commit.txt").write_text("abc123-dirty\n")
    (tmp_path / "models").symlink_to(shipped.FOLDER / "models")
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    record = runs.get(resolve()["RunId"])
    assert record is not None
    assert record["code"]["commit"] == "abc123-dirty"


def test_a_vpc_reaches_jobs_and_models(aws, resolve, monkeypatch):
    aws.put("raw/a.csv", "a")
    monkeypatch.setenv("VPC_SUBNETS", "subnet-1,subnet-2")
    monkeypatch.setenv("VPC_SECURITY_GROUPS", "sg-1")
    run = resolve()
    vpc = {"Subnets": ["subnet-1", "subnet-2"], "SecurityGroupIds": ["sg-1"]}
    assert run["Vpc"] == {"VpcConfig": vpc}
    closed = {"EnableNetworkIsolation": True, "EnableInterContainerTrafficEncryption": True}
    assert run["NetworkConfig"] == {**closed, "VpcConfig": vpc}


def test_the_answer_is_plain_json(aws, resolve):
    aws.put("raw/a.csv", "a")
    run = resolve()
    assert json.loads(json.dumps(run)) == run


# ---- The model in service, for preprocessing


def served(aws, definition, files=(), **more):
    """A model in service whose run was trained on these files of a manifest by this definition."""
    run = "20261101000000-aaaa"
    aws.serve(run)
    aws.put(f"runs/{run}/manifest.json", json.dumps({"Files": list(files)}))
    aws.put(f"runs/{run}/config.json", json.dumps({"definition": definition, "sources": {"tuning.jobs": RUN}}))
    for key, text in more.items():
        aws.put(f"runs/{run}/baselines/data-quality/{key}.json", text)


def own_definition():
    return definition.load(MODELS / "used-cars/model.yaml").as_json()


def test_a_first_run_leaves_word_that_there_is_no_model_in_service(aws, resolve):
    aws.put("raw/a.csv", "a")
    run = resolve()
    assert aws.get_json(f"runs/{run['RunId']}/champion/champion.json") == {}
    assert run["ChampionTest"] == f"{run['Prefix']}/test/"


def test_preprocessing_is_told_of_the_model_in_service_and_which_files_are_new(aws, resolve):
    aws.put("raw/a.csv", "a")
    before = aws.get_json(f"runs/{resolve(OTHER_ARN)['RunId']}/manifest.json")["Files"]
    aws.put("raw/b.csv", "b")
    served(aws, own_definition(), before, statistics='{"features": []}')
    aws.put("runs/20261101000000-aaaa/report/report.json", '{"widest_row": 801}')
    run = resolve()
    about = aws.get_json(f"runs/{run['RunId']}/champion/champion.json")
    keys = [file["Key"] for file in aws.get_json(f"runs/{run['RunId']}/manifest.json")["Files"]]
    assert [keys[position] for position in about["new_files"]] == ["raw/b.csv"]
    assert about["run_id"] == "20261101000000-aaaa"
    assert about["definition"] == own_definition()
    assert about["sources"] == {"tuning.jobs": RUN}
    assert about["widest_row"] == 801
    assert aws.get_json(f"runs/{run['RunId']}/champion/statistics.json") == {"features": []}
    assert run["ChampionTest"] == f"{run['Prefix']}/test/"


@pytest.mark.parametrize("erased", [True, False])
def test_a_file_without_some_rows_has_nothing_new_for_the_model_in_service(aws, resolve, erased):
    """`make erase` replaces it, and says when it was dropped first; whoever overwrites a file does not."""
    aws.put("raw/a.csv", "a,b")
    before = aws.get_json(f"runs/{resolve(OTHER_ARN)['RunId']}/manifest.json")["Files"]
    before[0]["LastModified"] = "2026-11-01T10:00:00Z"  # a while ago
    served(aws, own_definition(), before)
    metadata = {"dropped-at": before[0]["LastModified"]} if erased else {}
    aws.client("s3").put_object(Bucket=BUCKET, Key="raw/a.csv", Body=b"a", Metadata=metadata)
    about = aws.get_json(f"runs/{resolve()['RunId']}/champion/champion.json")
    assert about["new_files"] == ([] if erased else [0])


def test_a_model_in_service_that_reads_records_otherwise_gets_a_test_set_of_its_own(aws, resolve):
    aws.put("raw/a.csv", "a")
    other = own_definition()
    other["columns"]["mileage"]["type"] = "integer"
    served(aws, other)
    run = resolve()
    assert run["ChampionTest"] == f"{run['Prefix']}/rows/champion-test/"
    assert aws.keys(f"runs/{run['RunId']}/champion/") == [f"runs/{run['RunId']}/champion/champion.json"]


def test_a_model_in_service_whose_run_left_nothing_is_no_failure(aws, resolve):
    aws.put("raw/a.csv", "a")
    aws.serve("20261101000000-aaaa")
    run = resolve()
    about = aws.get_json(f"runs/{run['RunId']}/champion/champion.json")
    assert (about["definition"], about["new_files"]) == (None, [0])


def test_preprocessing_is_told_what_became_of_the_files_that_the_model_in_service_was_trained_on(aws, resolve):
    for name in "abcde":
        aws.put(f"raw/{name}.csv", name)
    before = aws.get_json(f"runs/{resolve(OTHER_ARN)['RunId']}/manifest.json")["Files"]
    before[4]["LastModified"] = "2026-11-01T10:00:00Z"  # a while before it is overwritten
    served(aws, own_definition(), before)
    files = [{"name": f"raw/{name}.csv", "rows": 10, "quarantined": 1} for name in "abce"]
    report = {"files": files, "aside": [{"position": 3, "name": "raw/d.csv", "reason": "no table"}]}
    aws.put("runs/20261101000000-aaaa/report/report.json", json.dumps(report))
    aws.client("s3").delete_object(Bucket=BUCKET, Key="raw/a.csv")
    aws.put("raw/b.csv", "")
    aws.put("raw/e.csv", "other rows")
    run = resolve()
    about = aws.get_json(f"runs/{run['RunId']}/champion/champion.json")
    assert about["trained"] == {
        "rows": 36,
        "there": {"0": 9, "2": 9},
        "replaced": [2],
        "unreadable": [{"name": "raw/b.csv", "rows": 9, "reason": "an empty object"}],
        "gone": {"files": 1, "rows": 9},
        "older": {"files": 0, "rows": 0},
    }
    assert about["new_files"] == [1, 2]  # it has put it aside, so it was not trained on it


def test_files_of_the_model_in_service_that_the_window_has_passed_are_not_taken_for_unreadable(
    aws, resolve, newest_two
):
    for year, name in enumerate("ab", 2020):
        drop_in(aws, year, name)
    served(aws, own_definition(), aws.get_json(f"runs/{resolve(OTHER_ARN)['RunId']}/manifest.json")["Files"])
    drop_in(aws, 2022, "c")
    files = [{"name": f"raw/{name}.csv", "rows": 10, "quarantined": 1} for name in "ab"]
    aws.put("runs/20261101000000-aaaa/report/report.json", json.dumps({"files": files}))
    trained = aws.get_json(f"runs/{resolve()['RunId']}/champion/champion.json")["trained"]
    assert (trained["older"], trained["unreadable"]) == ({"files": 1, "rows": 9}, [])
    assert (trained["gone"]["files"], trained["there"]) == (0, {"0": 9})


@pytest.mark.parametrize(("level", "told"), [("DEBUG", True), ("INFO", False)])
def test_the_log_has_the_merged_configuration_where_the_log_level_is_debug(aws, app, resolve, monkeypatch, level, told):
    aws.put("raw/a.csv", "a")
    stream = io.StringIO()
    monkeypatch.setattr(app.logger.registered_handler, "stream", stream)
    before = app.logger.log_level
    app.logger.setLevel(level)
    try:
        resolve()
    finally:
        app.logger.setLevel(before)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert "decided" in [line["message"] for line in lines]
    assert any(line.get("configuration", {}).get("data_prefix") == "raw/" for line in lines) == told


def test_the_drop_of_a_windows_labelled_records_leaves_the_run_to_the_monitor_which_starts_it(aws, resolve):
    key = "raw/labelled/20261129100000-20261129110000.csv"
    metadata = {"judged-window": "20261129100000-0a1b"}
    put = aws.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"price\n1\n", Metadata=metadata)
    assert resolve(Trigger=drop(key, put["VersionId"]))["Decision"] == "Superseded"
    started = resolve(f"{EXECUTION_ARN}-2", Trigger={"Type": "Drift", "Id": "20261129100000-0a1b"})
    assert started["Decision"] == "Train"


@pytest.mark.parametrize(
    "metadata", [{}, {"judged-window": "20261129100000-0a1b", "dropped-at": "2026-11-29T11:00:00+00:00"}]
)
def test_labelled_rows_that_a_person_or_an_erasure_has_put_there_start_a_run_as_any_drop(aws, resolve, metadata):
    key = "raw/labelled/20261129100000-20261129110000.csv"
    put = aws.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"price\n1\n", Metadata=metadata)
    assert resolve(Trigger=drop(key, put["VersionId"]))["Decision"] == "Train"


# ---- Tuning

ETA = {"eta": {"min": 0.05, "max": 0.3}}


def test_a_run_with_ranges_gets_a_tuning_job_and_one_without_none(aws, resolve):
    aws.put("raw/a.csv", "a")
    run = resolve(Overrides={"HyperParameters": ETA, "Tuning": {"Jobs": 4}})
    assert run["Tuning"]["Name"] == f"0a1b2c3d-{run['RunId']}-t"
    assert run["Tuning"]["Config"]["ResourceLimits"]["MaxNumberOfTrainingJobs"] == 4
    assert run["Tuning"]["WarmStart"] == {}
    assert "eta" not in run["Algorithm"]["HyperParameters"]
    assert resolve(OTHER_ARN)["Tuning"] is None


def test_trials_of_a_script_are_started_by_script_mode_because_their_definition_has_no_entry_point(
    aws, resolve, with_script
):
    aws.put("raw/a.csv", "a")
    run = resolve(Overrides={"Algorithm": "xgboost-script", "HyperParameters": {**ETA, "rounds": 5}})
    known = botocore.session.get_session().get_service_model("sagemaker")
    assert set(run["Algorithm"]["Program"]) <= set(known.shape_for("HyperParameterAlgorithmSpecification").members)
    definition = run["Tuning"]["Definition"]
    assert set(definition) <= set(known.shape_for("HyperParameterTrainingJobDefinition").members)
    started = {"sagemaker_program": "unpack.py", "sagemaker_submit_directory": "/opt/ml/input/data/code"}
    assert definition["StaticHyperParameters"] == {"rounds": "5", **started}
    assert run["Algorithm"]["HyperParameters"] == {"rounds": "5"}


@pytest.fixture
def searched_before(aws, resolve, answers):
    """Let a tuning job have made the model in service; the status is that of the answer to its description."""
    first = "20261101000000-aaaa"

    def made(status, body):
        aws.put("raw/a.csv", "a")
        aws.serve(first)
        runs.put({"run_id": first, "tuning": {"job": "0a1b2c3d-r-t0"}})
        answers("sagemaker", "DescribeHyperParameterTuningJob", (status, body))
        run = resolve(Overrides={"HyperParameters": ETA, "Tuning": {"WarmStart": True}})
        return run["Tuning"]["WarmStart"], runs.get(run["RunId"])["warm_start"]

    return made


def test_a_search_begins_with_what_that_of_the_model_in_service_has_tried(searched_before, app):
    again = shipped.configured({"HyperParameters": ETA}, None)
    parent = {
        "HyperParameterTuningJobStatus": "Completed",
        "HyperParameterTuningJobConfig": again.tuning_job(),
        "TrainingJobDefinition": {
            "StaticHyperParameters": {
                **again.hyperparameters,
                "sagemaker_program": "unpack.py",
            }  # where a script trains
        },
    }
    warm_start, recorded = searched_before(200, parent)
    assert warm_start == {
        "WarmStartConfig": {
            "ParentHyperParameterTuningJobs": [{"HyperParameterTuningJobName": "0a1b2c3d-r-t0"}],
            "WarmStartType": "TransferLearning",
        }
    }
    assert recorded == {"parent": "0a1b2c3d-r-t0", "reason": None}


def test_a_search_whose_parent_is_gone_begins_from_nothing(searched_before):
    gone = {"__type": "ResourceNotFound", "message": "Amazon SageMaker can't find a tuning job with the name x"}
    assert searched_before(400, gone) == ({}, {"parent": None, "reason": "not with 0a1b2c3d-r-t0: it is gone"})


@pytest.mark.parametrize(
    ("serving", "wanted", "reason"),
    [
        (None, {"WarmStart": True}, "no model is in service"),
        (
            "20261101000000-aaaa",
            {"WarmStart": True},
            "run 20261101000000-aaaa, which made the model in service, has no",
        ),
        ("20261101000000-aaaa", {"Jobs": 4}, None),
    ],
)
def test_a_search_records_why_it_begins_from_nothing_where_it_should_not(aws, resolve, serving, wanted, reason):
    aws.put("raw/a.csv", "a")
    if serving:
        aws.serve(serving)
    run = resolve(Overrides={"HyperParameters": ETA, "Tuning": wanted})
    assert run["Tuning"]["WarmStart"] == {}
    recorded = runs.get(run["RunId"])["warm_start"]
    assert (recorded or {"reason": ""})["reason"].startswith(reason or "")
    assert (recorded is None) == (reason is None)


# ---- A version that is only deployed

GROUP = f"arn:aws:sagemaker:{REGION}:123456789012:model-package/{STACK}"


@pytest.fixture
def version(aws, resolve, answers):
    """A run has registered version 2, and what it needs is there; the registry says this of its versions."""
    from perennial_aws import runs

    aws.put("raw/cars.csv", "price\n1\n")
    run = resolve(Trigger=drop("raw/cars.csv"))
    sealed = {}
    for name in ("preprocessor", "model"):
        key = f"runs/{run['RunId']}/serving/{name}.tar.gz"
        sealed[name] = {"sealed": {"uri": f"s3://{BUCKET}/{key}", "version_id": aws.put(key, name)}, "sha256": "0"}
    gate = {"metric": "rmse", "candidate": 2000.5, "champion": None, "accepted": True}
    runs.update(run["RunId"], artifacts=sealed, gate=gate)

    images = ENVIRONMENT["SKLEARN_IMAGE"], ENVIRONMENT["XGBOOST_IMAGE"]
    containers = [
        {"Image": image, "ModelDataUrl": one["sealed"]["uri"], "Environment": {"A": "1"}}
        for image, one in zip(images, sealed.values(), strict=True)
    ]

    recorded = [containers[0], {**containers[1], "Environment": {"A": "1", "B": "2"}}]
    runs.update(run["RunId"], containers=recorded)
    containers = recorded

    def says(newest=2, of_run=run["RunId"], order=(0, 1), maker=None, **other):
        listed = [
            {"ModelPackageArn": f"{GROUP}/{number}", "ModelPackageVersion": number, "ModelApprovalStatus": "Approved"}
            for number in (2, newest)
        ]
        answers("sagemaker", "ListModelPackages", (200, {"ModelPackageSummaryList": listed}))
        described = {"ModelPackageArn": f"{GROUP}/2", "ModelPackageDescription": f"run {of_run}"}
        now = [containers[0], {**containers[1], **other}]
        described["InferenceSpecification"] = {"Containers": [now[position] for position in order]}
        rejected = {"ModelPackageVersion": 3, "ModelApprovalStatus": "Rejected", "ApprovalDescription": "biased"}
        rejected["ModelPackageDescription"] = "run 20261102093440-0a1b"
        if maker:
            described["CreatedBy"] = {"IamIdentity": {"Arn": f"arn:aws:sts::{maker}:assumed-role/pipeline/s"}}

        def describe(request):
            return 200, rejected if json.loads(request.body)["ModelPackageName"].endswith("/3") else described

        answers("sagemaker", "DescribeModelPackage", describe)
        return run

    says()
    return says


def test_what_another_account_has_registered_is_not_deployed_whoever_approves_it(resolve, version):
    version(maker="222222222222")
    with pytest.raises(Exception, match="account 222222222222 has registered version 2, and what other accounts regis"):
        resolve(OTHER_ARN, ModelVersion=2)
    version(maker="123456789012")
    assert resolve(f"{OTHER_ARN}-2", ModelVersion=2)["Decision"] == "Deploy"


def test_a_version_is_deployed_with_what_its_run_knew(aws, resolve, version):
    made = version()
    aws.client("ssm").put_parameter(Name=f"/{STACK}/model-package", Value=f"{GROUP}/3", Type="String")
    run = resolve(OTHER_ARN, ModelVersion=2)
    assert (run["Decision"], run["RunId"], run["DeploymentId"]) == ("Deploy", made["RunId"], run_of(OTHER_ARN))
    same = ("Name", "Prefix", "Instances", "Vpc", "Model")
    assert {name: run[name] for name in same} == {name: made[name] for name in same}
    assert run["Version"]["InsteadOf"] == "20261102093440-0a1b"
    preprocessor, model = run["Version"]["Containers"]
    assert preprocessor["ModelDataUrl"] == f"{made['Prefix']}/serving/preprocessor.tar.gz"
    assert (model["Image"], model["Environment"]) == (ENVIRONMENT["XGBOOST_IMAGE"], {"A": "1", "B": "2"})
    assert run["Version"]["Result"]["Candidate"] == 2000.5
    assert run["Reason"] == (
        f"version 2, of run {made['RunId']}, is the newest approved one; version 3, which served then, was rejected: "
        "biased"
    )


def test_a_version_is_deployed_in_the_network_and_with_the_key_of_now(resolve, version, monkeypatch):
    made, key = version(), ENVIRONMENT["KMS_KEY_ARN"].replace("key/1", "key/2")
    for name, value in {"VPC_SUBNETS": "subnet-1", "VPC_SECURITY_GROUPS": "sg-1", "KMS_KEY_ARN": key}.items():
        monkeypatch.setenv(name, value)
    run = resolve(OTHER_ARN, ModelVersion=2)
    assert run["Vpc"] == {"VpcConfig": {"Subnets": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}} != made["Vpc"]
    assert run["Instances"]["Endpoint"] == {**made["Instances"]["Endpoint"], "KmsKeyId": key}


def test_a_version_of_another_environment_is_deployed_as_this_stack_says(aws, resolve, version):
    from perennial_aws import runs

    made = version()
    step = {"version": f"{GROUP}-dev/7", "stack": f"{STACK}-dev", "by": "arn:aws:iam::1:role/ada", "at": "2026-11-20"}
    theirs = {"arn": "arn:of-another-account", "started_at": "2026-11-20T09:34:40.000Z"}
    runs.update(made["RunId"], promotions=[step], execution=theirs, stack=f"{STACK}-dev")
    aws.override('{"Instances": {"Endpoint": {"InstanceType": "ml.m5.xlarge"}}}')
    run = resolve(OTHER_ARN, ModelVersion=2)
    assert (run["Decision"], run["RunId"], run["DeploymentId"]) == ("Deploy", made["RunId"], run_of(OTHER_ARN))
    assert (run["Name"], run["Prefix"]) == (f"{STACK}-{made['RunId']}", f"s3://{BUCKET}/runs/{made['RunId']}")
    assert run["Instances"]["Endpoint"]["InstanceType"] == "ml.m5.xlarge"
    assert run["Reason"] == (
        f"version 2, of run {made['RunId']}, is the newest approved one; it was {GROUP}-dev/7, which "
        "arn:aws:iam::1:role/ada has promoted"
    )


def test_what_a_run_was_answered_is_kept_as_long_as_it_may_be_deployed(aws, resolve, version):
    assert "expires_at" not in aws.item(f"execution#{EXECUTION_ARN}")
    resolve(OTHER_ARN, ModelVersion=2)
    assert "expires_at" in aws.item(f"execution#{OTHER_ARN}")


def test_a_version_that_is_not_the_newest_approved_one_is_not_deployed_whoever_asks(resolve, version):
    version(newest=4)
    run = resolve(OTHER_ARN, ModelVersion=2)
    assert (run["Decision"], run["Reason"]) == (
        "Superseded", "only the newest approved version is deployed, not version 2; it is version 4",
    )  # fmt: skip


@matrix("People", "the version in service is rejected, and no other is approved", ends="Failed")
def test_a_stack_without_an_approved_version_says_so_and_what_was_rejected(aws, resolve, version, answers):
    aws.client("ssm").put_parameter(Name=f"/{STACK}/model-package", Value=f"{GROUP}/3", Type="String")
    known = {"ModelPackageArn": f"{GROUP}/3", "ModelPackageVersion": 3, "ModelApprovalStatus": "Rejected"}
    rejected = {**known, "ApprovalDescription": "biased"}
    answers("sagemaker", "ListModelPackages", *((200, {"ModelPackageSummaryList": some}) for some in ([known], [])))
    answers("sagemaker", "DescribeModelPackage", (200, rejected))
    with pytest.raises(Exception, match="no version is approved; version 3, which served then, was rejected: biased"):
        resolve(OTHER_ARN, ModelVersion=3)


def test_a_version_that_is_not_there_is_no_input(resolve, version):
    with pytest.raises(ConfigurationError, match="ModelVersion: got 9, which the model registry does not have"):
        resolve(OTHER_ARN, ModelVersion=9)


@matrix("People", "a version is approved whose artefacts are gone", ends="Failed")
def test_a_version_whose_artefact_was_deleted_names_it(aws, resolve, version):
    run = version()
    aws.client("s3").delete_object(Bucket=BUCKET, Key=f"runs/{run['RunId']}/serving/model.tar.gz")
    with pytest.raises(Exception, match=f"the model of run {run['RunId']} .*and it was deleted"):
        resolve(OTHER_ARN, ModelVersion=2)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({"gate": {"metric": "rmse", "accepted": False, "reason": "rmse 9 is too high"}}, r"\(rmse 9 is too high\)"),
        ({"gate": None}, "it was not measured"),
        ({"withheld": "its input decides data_prefix"}, "its model is withheld: its input decides data_prefix"),
    ],
    ids=["refused", "not measured", "withheld"],
)
def test_a_version_of_a_model_that_its_gate_let_not_pass_serves_nowhere_whoever_approves_it(
    resolve, version, record, why
):
    from perennial_aws import runs

    runs.update(version()["RunId"], **record)
    with pytest.raises(Exception, match=f"version 2 is of run .*, and .*{why}"):
        resolve(OTHER_ARN, ModelVersion=2)


@matrix("People", "whoever may approve changes a version's containers", ends="Failed")
@pytest.mark.parametrize(
    "other",
    [
        {"ModelDataUrl": f"s3://{BUCKET}/raw/model.tar.gz"},
        {"Image": "theirs"},
        {"Environment": {"A": "1", "B": "other"}},
        {"Environment": {"A": "1"}},
        {"Environment": {}},
        {"order": (1, 0)},
        {"order": (0,)},
        {"order": (0, 1, 1)},
    ],
    ids=["file", "image", "a value", "a variable", "no environment", "order", "fewer", "more"],
)
def test_a_version_with_other_containers_than_its_run_has_recorded_is_not_deployable(resolve, version, other):
    version(**other)
    with pytest.raises(Exception, match=r"version 2 has .* for container \d; run .* has recorded .* has changed the"):
        resolve(OTHER_ARN, ModelVersion=2)


def test_an_environment_that_the_registry_leaves_out_is_an_empty_one(resolve, version):
    from perennial_aws import runs

    made = version()
    recorded = runs.get(made["RunId"])["containers"]
    runs.update(made["RunId"], containers=[recorded[0], {**recorded[1], "Environment": {}}])
    version(Environment=None)
    assert resolve(OTHER_ARN, ModelVersion=2)["Decision"] == "Deploy"


@pytest.mark.parametrize("other", [{"ModelDataUrl": f"s3://{BUCKET}/raw/model.tar.gz"}, {"Image": "theirs"}])
def test_of_a_run_that_has_recorded_no_containers_files_and_images_are_compared(resolve, version, other):
    from perennial_aws import runs

    made = version(**other)
    runs.update(made["RunId"], containers=None)
    with pytest.raises(Exception, match=f"version 2 names {next(iter(other.values()))}; run .* has recorded "):
        resolve(OTHER_ARN, ModelVersion=2)


@pytest.mark.parametrize(("run", "whose"), [("20261120093440-ffff", "run 20261120093440-ffff"), ("by hand", "no run")])
def test_a_version_of_which_no_run_is_known_is_not_deployable(resolve, version, run, whose):
    version(of_run=run)
    with pytest.raises(Exception, match=f"version 2 was made by {whose}"):
        resolve(OTHER_ARN, ModelVersion=2)
