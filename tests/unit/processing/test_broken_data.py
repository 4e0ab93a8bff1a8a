"""Data that cannot be used, from the file to the mail: what the job says of them, and what people read of that."""

import json
from pathlib import Path

import pytest

from perennial.data.copies import copy_name
from perennial.model import definition
from processing import preprocess
from tests.broken_data import ADVICE, BROKEN, SILENT, TRIED, prefix
from tests.e2e.matrix.registry import matrix
from tests.unit.conftest import ROOT
from tests.unit.perennial.runs.test_message import compose

CASES = [name for name in BROKEN if name not in SILENT]


@pytest.fixture(scope="module")
def used_cars() -> dict[str, object]:
    return definition.load(ROOT / "models/used-cars/model.yaml").as_json()


@pytest.mark.parametrize(
    "case",
    [pytest.param(name, marks=() if name in TRIED else matrix("Data", name, ends="Failed")) for name in CASES],
)
def test_data_that_cannot_be_used_fail_the_job_and_the_mail_says_why(
    tmp_path: Path, used_cars: dict[str, object], case: str
) -> None:
    """The end of the job comes as SageMaker describes it, its report as the job leaves it (functions/notify_run)."""
    files = {prefix(case) + name: content for name, content in BROKEN[case].files.items()}
    listed = [{"Key": key, "VersionId": f"version of {key}", "ETag": "0" * 32} for key in files]
    (tmp_path / "data").mkdir()
    for file, content in zip(listed, files.values(), strict=True):
        (tmp_path / "data" / copy_name(file)).write_bytes(content)
    config = {"model": "used-cars", "definition": used_cars, "data": {"files": listed}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    paths = [f"--{name}={tmp_path / name}" for name in ("data", "output", "message")]
    assert preprocess.main([f"--config={tmp_path / 'config.json'}", *paths]) == 1
    job = {
        "ProcessingJobName": "perennial-used-cars-20261120093440-1a2b-preprocess-0",
        "ProcessingJobStatus": "Failed",
        "ExitMessage": (tmp_path / "message").read_text(),
        "FailureReason": "AlgorithmError: , exit code: 1",
    }
    problems = json.loads((tmp_path / "output/report/report.json").read_text())["problems"]
    failure = {"error": "States.TaskFailed", "cause": json.dumps(job), "state": "Preprocess", "problems": problems}
    failure["problems_at"] = "s3://cars/runs/20261120093440-1a2b/problems.txt"
    data = {"file_count": 1, "prefix": prefix(case), "ignored": []}
    mail = compose(status="Failed", data=data, failure=failure, gate=None, deployed=None)
    missing = [text for text in (prefix(case), *BROKEN[case].says) if text not in mail.body]
    assert missing == [], mail.body
    assert mail.body.startswith("Run failed: in state 'Preprocess'")
    assert ADVICE in mail.body.partition("What to do\n")[2]
    assert len(mail.subject) < 100
