"""From a person's own file to answers: a project of one's own, the command, and the very steps of the pipelines."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests import sam_cli
from tests.command import perennial
from tools import demo_data

pytestmark = pytest.mark.xdist_group("e2e-models")
ROOT = Path(__file__).resolve().parents[2]
LESIONS = 830
STACK = "tumour-findings"
WORKFLOWS = ROOT / ".github" / "workflows"


@pytest.fixture(scope="module")
def project(cloud_state: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of one's own, made by `sam init` from an archive of this repository, with no models yet."""
    folder = tmp_path_factory.mktemp("own")
    passed_over = [line.strip("/") for line in (ROOT / ".gitignore").read_text().split()]
    shutil.copytree(ROOT, folder / "perennial", ignore=shutil.ignore_patterns(".git", *passed_over))
    shutil.make_archive(str(folder / "perennial"), "zip", folder, "perennial")
    words = ("init", "--no-interactive", "--location", "perennial.zip", "--name", "own")
    made = sam_cli.sam(*words, cwd=folder, env=dict(os.environ), timeout_seconds=60)
    assert made.returncode == 0, made.stderr
    own = folder / "own"
    (own / ".venvs").symlink_to(ROOT / ".venvs")
    shutil.rmtree(own / "models")
    (own / "models").mkdir()
    samconfig = (own / "samconfig.toml").read_text().replace('"perennial-used-cars"', f'"{STACK}"')
    (own / "samconfig.toml").write_text(samconfig.replace("ModelName=used-cars", f"ModelName={STACK}"))
    return own


def steps(workflow: str) -> list[str]:
    """Return what the jobs of a workflow run."""
    jobs = yaml.safe_load((WORKFLOWS / f"{workflow}.yml").read_text())["jobs"].values()
    return [step["run"] for job in jobs for step in job["steps"] if "run" in step]


def deliver(project: Path, step: str) -> str:
    """Run a step of a pipeline in the environment `local`; return what it prints."""
    command = [*step.split(), "ENV=local", "--assume-old=install"]  # the environments are those of this repository
    ended = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


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
    stack = ("--stack", STACK)

    proposed = json.loads(perennial("init", file, "--json").stdout)
    assert (proposed["model"], proposed["target"], proposed["rows"]) == ("tumour-findings", "malignant", LESIONS)
    assert 0.6 < proposed["threshold"] < min(proposed["quick_fits"])
    tried = json.loads(perennial("try", "tumour-findings", "--file", file, "--json").stdout)
    assert (tried["report"]["rows"]["used"], tried["problems"]) == (LESIONS, [])

    deploy, smoke = steps("deploy")
    assert " added" in deliver(project, deploy)
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

    assert '"score": ' in deliver(project, smoke)
    (look,) = steps("watch")
    assert f"{STACK} is as it was deployed" in deliver(project, look)
    (record,) = json.loads(perennial("deployments", *stack, "--json").stdout)
    assert (record["environment"], record["commit"], record["parameters"]["ModelName"]) == ("local", None, STACK)
    assert {change["action"] for change in record["changes"]} == {"Add"}
