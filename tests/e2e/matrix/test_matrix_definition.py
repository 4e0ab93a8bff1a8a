"""What a definition may ask for beside the defaults: stricter, or otherwise, and shown by runs of one stack.

The model is `used-cars` with other keys: it learns the logarithm of the price, refuses files that cannot be read or
have moved, lets the threshold decide where no comparison is fair, refuses unknown categories, and trains on two
machines. In a run by hand a cluster of Apache Spark prepares the data, and makes of them what one machine makes.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from processing import preprocess
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
def layer(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    layer = situation.copied_layer(built, tmp_path_factory.mktemp("strict"))
    models = layer / "python/models"
    text = (models / "used-cars/model.yaml").read_text()
    for before, after in CHANGES.items():
        assert before in text
        text = text.replace(before, after, 1)
    (models / MODEL).mkdir()
    (models / MODEL / "model.yaml").write_text(text)
    (models / MODEL / "features.py").write_text(FEATURES)
    return layer


@pytest.fixture(scope="module")
def app(deploy: Callable[..., App], packaged: Path, layer: Path) -> App:
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
def on_a_cluster(app: App, first: End) -> End:
    """A run of more cars by hand, whose data a cluster prepares; the drop starts none."""
    cluster, events, drops = {"InstanceCount": 2}, app.client("events"), f"{app.stack}-data-drop"
    events.disable_rule(Name=drops)
    situation.put(app, "raw/more.csv", demo_data.new_listings(100, seed=9))
    end = situation.end(app, situation.start(app, Instances={"Preprocess": cluster, "Baseline": cluster}))
    events.enable_rule(Name=drops)
    return end


@matrix("Data", "no comparison is fair (gate.without_comparison: threshold)", ends="Succeeded")
def test_the_threshold_decides_where_no_comparison_is_fair(app: App, on_a_cluster: End) -> None:
    assert (on_a_cluster.run.status, on_a_cluster.run.cause) == ("SUCCEEDED", None)
    assert_told(on_a_cluster, "no fair comparison with the model in service", "the threshold alone decides")
    assert app.parameters()["run"] == on_a_cluster.run.run_id


def test_a_cluster_makes_the_sets_of_one_machine(app: App, on_a_cluster: End, layer: Path, tmp_path: Path) -> None:
    run = on_a_cluster.run.run_id
    jobs = app.client("sagemaker").list_processing_jobs(NameContains=run)["ProcessingJobSummaries"]
    described = [
        app.client("sagemaker").describe_processing_job(ProcessingJobName=job["ProcessingJobName"]) for job in jobs
    ]
    machines = [
        (job["AppSpecification"]["ImageUri"].partition("/")[2], job["ProcessingResources"]["ClusterConfig"])
        for job in described
    ]
    assert [one["InstanceCount"] for image, one in machines if image == "images/spark:spark-1a2b"] == [2, 2]
    alone = on_one_machine(app, run, layer, tmp_path)
    for name in ("validation", "test", "labels", "baseline"):
        of_cluster = rows_of(name, [body for _, body in below(app, f"runs/{run}/{name}/")])
        assert of_cluster == rows_of(name, alone[name]), name
    # Dealt to two machines that train, of which each gets other rows than from one machine.
    of_cluster = rows_of("train", [body for _, body in below(app, f"runs/{run}/train/")])
    assert sorted(of_cluster) == sorted(rows_of("train", alone["train"]))


def on_one_machine(app: App, run: str, layer: Path, folder: Path) -> dict[str, list[bytes]]:
    """The parts of each set that the script makes of a run's inputs here, without Spark."""
    (folder / "data").mkdir()
    first, *names = json.loads(situation.read(app, f"runs/{run}/input.manifest"))
    copies = first["prefix"].removeprefix(f"s3://{app.bucket}/")
    for name in names:
        (folder / "data" / name).write_bytes(situation.read(app, copies + name))
    (folder / "champion").mkdir()
    for name, body in below(app, f"runs/{run}/champion/"):
        (folder / "champion" / name.rpartition("/")[2]).write_bytes(body)
    config = json.loads(situation.read(app, f"runs/{run}/config.json"))
    champion = preprocess.ChampionData.read(folder / "champion")
    preprocess.run(config, folder / "data", folder / "output", champion, layer / "python/models")
    return {
        part.name: [file.read_bytes() for file in sorted(part.iterdir())] for part in (folder / "output").iterdir()
        if part.name in ("train", "validation", "test", "labels", "baseline")
    }  # fmt: skip


def below(app: App, prefix: str) -> list[tuple[str, bytes]]:
    """Each object below a prefix."""
    listed = app.client("s3").list_objects_v2(Bucket=app.bucket, Prefix=prefix)["Contents"]
    return [(item["Key"], situation.read(app, item["Key"])) for item in listed]


def rows_of(name: str, parts: list[bytes]) -> list[bytes]:
    """The rows of a set, part after part; each part of the baseline has a header."""
    return [row for part in parts for row in part.splitlines()[name == "baseline" :]]
