"""Each role writes its own part of a run's folder and of a window's, and reads of it what its jobs are given."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localcloud.engine.permissions.decisions import decide, request, statements
from perennial.runs.keeping import VERIFICATION, expires
from tools import asl, lint_policies

ROOT = Path(__file__).parents[2]
BUCKET = "arn:aws:s3:::stack"
RUN = "runs/20261120093440-1a2b"
WINDOW = "monitoring/20261120093440-1a2b"
FLOW = dict(asl.states(asl.parse((ROOT / "statemachines" / "train_model.asl.json").read_text())))
OF_FUNCTIONS = {
    "ResolveConfigurationRole": [
        "manifest.json",
        "config.json",
        "champion/champion.json",
        "champion/statistics.json",
        "ingest.manifest",
        "problems.txt",
    ],
    "SnapshotDataRole": ["input.manifest"],
    "SealArtifactRole": ["serving/preprocessor.tar.gz", "serving/model.tar.gz"],
    "QueryTrainingResultsRole": ["evaluation/evaluation.json", "evaluation/predictions.csv", VERIFICATION],
    "NotifyRunRole": ["run.json", "report.html"],
    "RequestApprovalRole": ["approval.html", "approval.json"],
}


def in_text(path: str, pattern: str) -> list[str]:
    return re.findall(pattern, (ROOT / path).read_text(), re.MULTILINE)


# Of a window's folder, as the docstrings of who writes it list it.
OF_WINDOW = {
    "ResolveWindowRole": re.split(
        ", | and ", *in_text("functions/resolve_window/app.py", r"monitoring/<window id>/([^;]+);")
    ),
    "ProbeEndpointRole": in_text("functions/probe_endpoint/app.py", r"Writes     monitoring/<window id>/(\S+)"),
    "MonitorRole": in_text("processing/monitor.py", r"^    ([a-z-]+(?:/|\.[a-z]+))  "),
}


def jobs() -> Iterator[tuple[str, dict[str, Any]]]:
    """(role, request) of each job of the flow; a transform job has its model's."""
    yield "TrainRole", FLOW["Preprocess"]["Assign"]["trainingJob"]
    for body in FLOW.values():
        if body.get("Resource", "").endswith("createProcessingJob.sync"):
            yield body["Arguments"]["RoleArn"].removeprefix("${").removesuffix("Arn}"), body["Arguments"]
        elif body.get("Resource", "").endswith("createTransformJob.sync"):
            yield "ModelRole", body["Arguments"]


def places(value: Any, member: str) -> Iterator[str]:
    """What a request names below the run's folder under a member, wherever it stands."""
    if isinstance(value, dict):
        found = re.search(r"\$run\.Prefix & '/([^']+)'", str(value.get(member)))
        yield from [found[1]] if found else []
        for item in value.values():
            yield from places(item, member)
    elif isinstance(value, list):
        for item in value:
            yield from places(item, member)


def written() -> dict[str, list[str]]:
    """Keys below the run's folder by the role that writes them."""
    keys: dict[str, list[str]] = {**OF_FUNCTIONS}
    for role, given in jobs():
        outputs = [given.get(name, {}) for name in ("ProcessingOutputConfig", "OutputDataConfig", "TransformOutput")]
        found = [place for member in ("S3Uri", "S3OutputPath") for place in places(outputs, member)]
        assert found or role == "IngestRole"  # which notes what it has done, for later runs
        keys[role] = [*keys.get(role, []), *(f"{place.rstrip('/')}/part-0" for place in found)]
    return keys


def read() -> Iterator[tuple[str, str]]:
    """(role, key) of what jobs read of the run's folder; what is added is what states pass on by a variable."""
    yield from [("ModelRole", "model/job/output/model.tar.gz"), ("ModelRole", "preprocessor/model.tar.gz")]
    yield from [("ModelRole", key) for key in OF_FUNCTIONS["SealArtifactRole"]]
    yield "ModelRole", "rows/champion-test/part-00000.jsonl"
    for role, given in jobs():
        inputs = [given.get(name, {}) for name in ("ProcessingInputs", "InputDataConfig", "TransformInput")]
        yield from ((role, f"{place}part-0" if place.endswith("/") else place) for place in places(inputs, "S3Uri"))


WRITTEN = written()
KEYS = [
    *((role, f"{RUN}/{key}") for role, keys in WRITTEN.items() for key in keys),
    *((role, f"{WINDOW}/{key}" + "part-0" * key.endswith("/")) for role, keys in OF_WINDOW.items() for key in keys),
]


def policies() -> dict[str, str]:
    """The allowing statements of each role and managed policy, as IAM would have them; conditions are taken as met."""
    found: dict[str, list[Any]] = {}
    for statement in lint_policies.statements((ROOT / "template.yaml").read_text()):
        if statement.identity and statement.body["Effect"] == "Allow":
            body = {"Effect": "Allow", "Action": statement.actions, "Resource": statement.resources}
            found.setdefault(statement.where.partition(",")[0], []).append(body)
    return {name: json.dumps({"Version": "2012-10-17", "Statement": bodies}) for name, bodies in found.items()}


POLICIES = policies()


def who_may(action: str, key: str) -> set[str]:
    """The roles and managed policies that allow an action on an object of the stack's bucket."""
    asked = request("arn:aws:sts::123456789012:assumed-role/any/one", action, f"{BUCKET}/{key}")
    return {name for name, document in POLICIES.items() if decide(asked, [statements(document)], None) is None}


@pytest.mark.parametrize(("role", "key"), KEYS)
def test_what_a_run_or_a_window_leaves_is_written_by_one_role_only(role: str, key: str) -> None:
    assert who_may("s3:PutObject", key) == {role}


@pytest.mark.parametrize(("role", "key"), [(role, key) for role, key in KEYS if key.startswith(RUN)])
def test_what_expires_may_be_marked_by_who_reports_the_end_and_nothing_else_by_anybody(role: str, key: str) -> None:
    goes = expires(key.removeprefix(f"{RUN}/"), sealed=["preprocessor", "model"], has_version=False)
    assert who_may("s3:PutObjectTagging", key) == ({"NotifyRunRole"} if goes else set())


@pytest.mark.parametrize("folder", [RUN, WINDOW])
def test_nobody_writes_what_no_part_of_a_folder_writes(folder: str) -> None:
    for key in ("other.json", "other/model.tar.gz", "other/verdict.json"):
        assert who_may("s3:PutObject", f"{folder}/{key}") == set()


def test_no_folder_in_a_folder_is_taken_for_anothers() -> None:
    """A star matches slashes too: runs/*/model/* would be runs/<run>/quarantine/model/cars.csv as well."""
    names = [(role, *key.split("/", 2)) for role, key in KEYS]
    folders = {(role, f"{root}/{run}/{name.split('/')[0]}") for role, root, run, name in names if "/" in name}
    for role, folder in folders:
        for *_, name in names:
            assert who_may("s3:PutObject", f"{folder}/{name}") == {role}


@pytest.mark.parametrize(("role", "key"), sorted(set(read())))
def test_a_job_may_read_what_it_is_given(role: str, key: str) -> None:
    assert role in who_may("s3:GetObject", f"{RUN}/{key}")


@pytest.mark.parametrize("key", OF_WINDOW["ResolveWindowRole"])
def test_the_job_of_a_window_may_read_what_was_left_for_it(key: str) -> None:
    assert "MonitorRole" in who_may("s3:GetObject", f"{WINDOW}/{key}")


def test_labelled_rows_become_data_by_the_monitoring_flow_only() -> None:
    assert who_may("s3:GetObject", f"{WINDOW}/labelled/rows.csv") == {"MonitorModelRole", "DataScientistPolicy"}
    drop = "raw/labelled/20261129100000-20261129110000.csv"
    assert who_may("s3:PutObject", drop) == {"MonitorModelRole", "DataScientistPolicy"}
    assert who_may("s3:PutObject", "raw/cars.csv") == {"DataScientistPolicy"}


def test_copies_of_the_data_are_made_by_one_role_and_read_by_what_takes_rows() -> None:
    assert who_may("s3:PutObject", "copies/0a1b-cars.csv") == {"SnapshotDataRole"}
    assert who_may("s3:GetObject", "copies/0a1b-cars.csv") == {"IngestRole", "PreprocessRole"}


def test_what_is_ingested_is_noted_by_the_job_and_written_offline_by_the_role_of_the_groups() -> None:
    assert who_may("s3:PutObject", "ingested/cars_sales/0a1b-cars.csv") == {"IngestRole"}
    store, own = f"raw/{lint_policies.ACCOUNT}/sagemaker/{lint_policies.REGION}/offline-store", lint_policies.STACK
    records = "data/year=2026/month=11/day=30/hour=10/20261130T101500Z_0a1b2c3d4e5f6a7b.parquet"
    assert who_may("s3:PutObject", f"{store}/{own}_sales-1764000000/{records}") >= {"OfflineStoreRole"}
    for group in (f"{own}-eu_sales", "sales"):
        assert "OfflineStoreRole" not in who_may("s3:PutObject", f"{store}/{group}-1764000000/{records}")


@pytest.mark.parametrize(
    ("role", "key"),
    [
        ("TrainRole", f"{RUN}/preprocessor/model.tar.gz"),
        ("ModelRole", "copies/0a1b-cars.csv"),
        ("MonitorRole", f"{RUN}/predictions/part-0.out"),
        ("MonitorRole", "raw/cars.csv"),
    ],
)
def test_a_job_may_not_read_the_rest(role: str, key: str) -> None:
    assert role not in who_may("s3:GetObject", key)


def test_checkpoints_are_kept_read_and_taken_away_by_training_jobs_alone() -> None:
    for action in ("s3:PutObject", "s3:DeleteObject"):
        assert who_may(action, f"{RUN}/checkpoints/state.pt") == {"TrainRole"}
    assert "TrainRole" in who_may("s3:GetObject", f"{RUN}/checkpoints/state.pt")


def test_no_job_deletes_what_a_run_left() -> None:
    for action in ("s3:DeleteObject", "s3:DeleteObjectVersion"):
        assert {name for _, key in KEYS for name in who_may(action, key)} & {role for role, _ in jobs()} == set()
