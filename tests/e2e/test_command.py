"""From a person's own file to answers, by the command alone: init, try, deploy, drop, predict, reproduce, cost."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.command import perennial
from tools import demo_data

pytestmark = pytest.mark.xdist_group("e2e-models")
ROOT = Path(__file__).resolve().parents[2]
LESIONS = 830
DEPLOYED = (
    "template.yaml", "samconfig.toml", "functions", "perennial", "perennial_aws", "processing", "requirements",
    "statemachines",
)  # fmt: skip


@pytest.fixture(scope="module")
def project(cloud_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the project, as far as a deployment needs it, with no models yet."""
    clone = tmp_path_factory.mktemp("clone")
    for name in DEPLOYED:
        path = ROOT / name
        copy: Any = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, clone / name)
    (clone / ".venvs").symlink_to(ROOT / ".venvs")
    (clone / "models").mkdir()
    return clone


def test_a_persons_own_file_becomes_a_model_that_serves(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real data as somebody's spreadsheet may write them: semicolons, a mark, a unit, another language."""
    rows = [row.split(",") for row in demo_data.mammography().decode().splitlines()[1:]]
    theirs = [
        f"{number};{bi_rads};{age} years;{';'.join(findings)};{'ja' if malignant == '1' else 'nein'}"
        for number, (bi_rads, age, *findings, malignant) in enumerate(rows)
    ]
    file = project / "Tumour findings.csv"
    names = ";".join(["", "BI-RADS", "Age", "Shape", "Margin", "Density", "Malignant"])
    file.write_bytes("\r\n".join([names, *theirs, ""]).encode("utf-8-sig"))
    monkeypatch.setenv("PERENNIAL_HOME", str(project))
    stack = ("--stack", "tumour-findings")

    proposed = json.loads(perennial("init", file, "--json").stdout)
    assert (proposed["model"], proposed["target"], proposed["rows"]) == ("tumour-findings", "malignant", LESIONS)
    assert 0.6 < proposed["threshold"] < min(proposed["quick_fits"])
    tried = json.loads(perennial("try", "tumour-findings", "--file", file, "--json").stdout)
    assert (tried["report"]["rows"]["used"], tried["problems"]) == (LESIONS, [])

    deployed = perennial("deploy", "tumour-findings", *stack)
    assert deployed.exit_code == 0, deployed.stderr
    assert f"the local cloud at {os.environ['AWS_ENDPOINT_URL']}" in deployed.stderr
    dropped = perennial("drop", file, *stack, "--json")
    assert dropped.exit_code == 0, dropped.stderr
    record = json.loads(dropped.stdout)
    assert (record["status"], record["rows"]["used"]) == ("Succeeded", LESIONS)

    asked = {"bi_rads": 5, "age": 75, "shape": 4, "margin": 5, "density": 3}
    (answer,) = json.loads(perennial("predict", json.dumps(asked), *stack, "--json").stdout)
    assert answer["score"] > 0.5
    answers = perennial("predict", file, *stack)
    assert (answers.exit_code, len(answers.stdout.splitlines())) == (0, LESIONS + 1)
    assert perennial("reproduce", "latest", *stack).exit_code == 0
    jobs = json.loads(perennial("cost", record["run_id"], *stack, "--json").stdout)["jobs"]
    assert {job["kind"] for job in jobs} == {"Processing", "Training", "Transform"}
