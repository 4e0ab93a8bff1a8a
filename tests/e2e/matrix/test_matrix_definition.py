"""What a definition may ask for beside the defaults: stricter, or otherwise, and shown by runs of one stack.

The model is `used-cars` with other keys: it learns the logarithm of the price, refuses files that cannot be read or
have moved, lets the threshold decide where no comparison is fair, refuses unknown categories, and trains on two
machines. A run by hand has a cluster of Apache Spark preprocess its data.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.e2e.conftest import App
from tests.e2e.matrix import situation
from tests.e2e.matrix.registry import matrix
from tests.e2e.matrix.situation import End, assert_told
from tools import demo_data

pytestmark = pytest.mark.xdist_group("e2e-models")

MODEL = "strict-cars"
CHANGES = {
    "target: price": "target: {column: price, transform: log}\nserving: {unknown_category: refuse}",
    "train: {type: ml.m5.large,": "train: {type: ml.m5.large, count: 2,",
    "price: {type: float, unit: USD, min: 0, max": "price: {type: float, unit: USD, min: 1, max",
    "max_categories: 100}": "max_categories: 100, max_drift: 0.9, stray_files: fail}",
    "minimum_improvement: 0.0}": "without_comparison: threshold, minimum_unseen_rows: 100000}",
}
FAULTY_MILEAGE = 999_999
FEATURES = f"""import pyarrow.compute as pc

def transform(table):
    if pc.any(pc.equal(table["mileage"], {FAULTY_MILEAGE})).as_py():
        raise KeyError("yaer")
    return table
"""
CADILLAC = "12000,8,2,true,true,true,Cadillac,convertible"


@pytest.fixture(scope="module")
def app(deploy: Callable[..., App], built: Path, packaged: Path, tmp_path_factory: pytest.TempPathFactory) -> App:
    layer = situation.copied_layer(built, tmp_path_factory.mktemp("strict"))
    models = layer / "python/models"
    text = (models / "used-cars/model.yaml").read_text()
    for before, after in CHANGES.items():
        assert before in text
        text = text.replace(before, after, 1)
    (models / MODEL).mkdir()
    (models / MODEL / "model.yaml").write_text(text)
    (models / MODEL / "features.py").write_text(FEATURES)
    template = situation.with_layer(packaged, layer)
    parameters = {"ModelName": MODEL, "QuietPeriodSeconds": "0", "SparkImage": "images/spark:spark-1a2b"}
    return deploy("perennial-mx-strict", template, **parameters)


@pytest.fixture(scope="module")
def first(app: App) -> End:
    return situation.dropped(app, "raw/cars.csv", demo_data.used_cars())


@matrix("Data", "a target whose logarithm is learned", ends="Succeeded")
def test_a_logarithm_is_learned_and_everything_is_in_the_unit_of_the_target(app: App, first: End) -> None:
    assert (first.run.status, first.run.cause) == ("SUCCEEDED", None)
    assert 1_500 < app.record(first.run)["metrics"]["candidate"]["rmse"] < 3_500
    assert 20_000 < json.loads(app.invoke(CADILLAC))["score"] < 80_000
    containers = app.client("sagemaker").describe_model(ModelName=app.parameters()["model"])["Containers"]
    assert len(containers) == 3


def test_a_category_that_no_training_row_had_is_refused_where_the_definition_says_so(app: App, first: End) -> None:
    with pytest.raises(ClientError, match=r"make.*'Tesla'"):
        app.invoke(CADILLAC.replace("Cadillac", "Tesla"))


def test_several_machines_train_of_which_each_reads_a_share_of_the_rows(app: App, first: End) -> None:
    (listed,) = app.client("sagemaker").list_training_jobs(NameContains=first.run.run_id)["TrainingJobSummaries"]
    job = app.client("sagemaker").describe_training_job(TrainingJobName=listed["TrainingJobName"])
    assert job["ResourceConfig"]["InstanceCount"] == 2
    shared_out = {
        channel["ChannelName"]: channel["DataSource"]["S3DataSource"]["S3DataDistributionType"]
        for channel in job["InputDataConfig"]
    }
    assert shared_out == {"train": "ShardedByS3Key", "validation": "FullyReplicated"}
    files = app.client("s3").list_objects_v2(Bucket=app.bucket, Prefix=f"runs/{first.run.run_id}/train/")["Contents"]
    assert [file["Key"].rpartition("/")[2] for file in files] == ["part-00000.csv", "part-00001.csv"]
    events = app.client("logs").filter_log_events(
        logGroupName="/aws/sagemaker/TrainingJobs", logStreamNamePrefix=f"{listed['TrainingJobName']}/algo-2-"
    )["events"]
    assert any("Distributed node training on 2 hosts." in event["message"] for event in events)


@matrix("Endpoint", "a request is too wide once it is encoded, between its containers", ends="no run, a refusal")
def test_a_request_that_is_too_wide_once_encoded_is_told_how_many_records_fit(app: App, first: End) -> None:
    with pytest.raises(ClientError) as refused:
        app.invoke(",,,,,,,\n" * 300_000)  # short lines, each of which becomes a car of usual values
    assert refused.value.response["OriginalStatusCode"] == 413
    told = re.fullmatch(
        r"the request holds 300,000 records; expected at most ([0-9,]+): each becomes up to [0-9]+ bytes of features, "
        "and the model takes 6,291,456 bytes",
        refused.value.response["OriginalMessage"],
    )
    assert told, refused.value.response
    fitting = int(told[1].replace(",", ""))
    assert app.invoke(",,,,,,,\n" * fitting).count("score") == fitting


def moved() -> bytes:
    """Cars of which all are driven far more than any before."""
    header, *rows = demo_data.new_listings(300, seed=7).decode().splitlines()
    fields = [row.split(",") for row in rows]
    return situation.table(
        [header, *(",".join([price, f"{90_000 + n}", *others]) for n, (price, _, *others) in enumerate(fields))]
    )


def wrong_for_features() -> bytes:
    header, row, *rows = demo_data.new_listings(100, seed=8).decode().splitlines()
    price, _, *others = row.split(",")
    return situation.table([header, ",".join([price, str(FAULTY_MILEAGE), *others]), *rows])


# The file that is dropped and taken away again; what the mail says.
REFUSED = {
    "the new files have moved too far (quality.max_drift)": (
        "raw/moved.csv", moved, ("the new files are not like the data", "mileage by ", "quality.max_drift"),
    ),
    "a file that cannot be read (quality.stray_files: fail)": (
        "raw/readme.csv", lambda: b"Nothing of a table\n", ("raw/readme.csv: ", "a header line is needed"),
    ),
    "features.py raises": (
        "raw/odd.csv", wrong_for_features, ("features.py, line 5: KeyError: 'yaer'", "Correct features.py"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", [pytest.param(name, marks=matrix("Data", name, ends="Failed")) for name in REFUSED])
def test_what_the_definition_refuses_ends_the_run_before_anything_is_trained(app: App, first: End, case: str) -> None:
    key, content, says = REFUSED[case]
    with situation.unchanged(app, dropped=1):
        end = situation.dropped(app, key, content())
    app.client("s3").delete_object(Bucket=app.bucket, Key=key)
    assert (end.run.status, end.run.error) == ("FAILED", "States.TaskFailed")
    assert_told(end, "in state 'Preprocess'", *says)
    assert [job["kind"] for job in app.record(end.run)["jobs"]] == ["Processing"]


@pytest.fixture(scope="module")
def more(app: App, first: End) -> End:
    return situation.dropped(app, "raw/more.csv", demo_data.new_listings(100, seed=9))


@matrix("Data", "no comparison is fair (gate.without_comparison: threshold)", ends="Succeeded")
def test_the_threshold_decides_where_no_comparison_is_fair(app: App, more: End) -> None:
    assert (more.run.status, more.run.cause) == ("SUCCEEDED", None)
    assert_told(more, "no fair comparison with the model in service is possible", "the threshold alone decides")
    assert app.parameters()["run"] == more.run.run_id


def test_a_run_on_a_cluster_ends_as_that_on_one_machine(app: App, more: End) -> None:
    cluster = {"InstanceCount": 2}
    end = situation.end(app, situation.start(app, Instances={"Preprocess": cluster, "Baseline": cluster}))
    assert (end.run.status, end.run.cause) == ("SUCCEEDED", None)
    assert app.parameters()["run"] == end.run.run_id
    jobs = app.client("sagemaker").list_processing_jobs(NameContains=end.run.run_id)["ProcessingJobSummaries"]
    described = [
        app.client("sagemaker").describe_processing_job(ProcessingJobName=job["ProcessingJobName"]) for job in jobs
    ]
    images = [
        job["AppSpecification"]["ImageUri"]
        for job in described
        if job["ProcessingResources"]["ClusterConfig"]["InstanceCount"] == 2
    ]
    assert [image.partition("/")[2] for image in images] == ["images/spark:spark-1a2b"] * 2
    for name in ("validation", "test", "labels", "baseline"):
        assert rows_of(app, end, name) == rows_of(app, more, name)
    # Dealt to two machines that train, of which each gets other rows than from one machine that preprocesses.
    assert sorted(rows_of(app, end, "train")) == sorted(rows_of(app, more, "train"))
    assert json.loads(app.invoke(CADILLAC))["score"] > 20_000
    rmse, alone = (app.record(one.run)["metrics"]["candidate"]["rmse"] for one in (end, more))
    assert rmse == pytest.approx(alone, rel=0.02)


def rows_of(app: App, end: End, name: str) -> list[bytes]:
    """The rows of a set of a run, part after part; each part of the baseline has a header."""
    listed = app.client("s3").list_objects_v2(Bucket=app.bucket, Prefix=f"runs/{end.run.run_id}/{name}/")["Contents"]
    parts = (situation.read(app, item["Key"]).splitlines() for item in listed)
    return [row for part in parts for row in part[name == "baseline" :]]
