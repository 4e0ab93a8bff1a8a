"""What data scientists have besides: `perennial notebook`, a notebook without a stack, and runs in a real MLflow."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.ports import free_port
from tests.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venvs/notebooks/bin/python"
SECONDS = 180
MISSING = "install it: make .venvs/notebooks/.installed"


@contextmanager
def started(program: list[str], log: Path, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server as long as the block; it ends as it is asked to."""
    assert PYTHON.exists(), MISSING
    with log.open("wb") as output:
        server = subprocess.Popen(program, cwd=ROOT, stdout=output, stderr=output, env={**os.environ, **environ})
        try:
            yield server
        finally:
            server.terminate()
            server.wait(60)


def status(url: str) -> int | None:
    """The status that an address answers with; None while nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - http, of this test
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def test_jupyter_answers_on_its_port_to_who_has_its_token_and_ends(tmp_path: Path) -> None:
    port, aws = free_port(), {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_DEFAULT_REGION": "us-east-1"}
    options = ["--no-browser", f"--port={port}", "--allow-root", "--IdentityProvider.token=secret"]
    program = [sys.executable, "-m", "perennial_cli", "notebook", *options]
    log = tmp_path / "log"
    with started(program, log, JUPYTER_CONFIG_DIR=str(tmp_path), **aws) as jupyter:
        notebooks = f"http://127.0.0.1:{port}/api/contents/01_explore_the_data.ipynb"
        wait_for(lambda: status(notebooks) or jupyter.poll() is not None, "Jupyter", SECONDS, pause=0.2)
        assert (status(notebooks), status(f"{notebooks}?token=secret")) == (403, 200), log.read_text()
    assert jupyter.returncode == 0, log.read_text()
    assert status(notebooks) is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("01_explore_the_data", "rows that are put aside of the file with slips: 3"),
        ("05_look_for_bias", "the recall of younger patients is 0."),
    ],
)
def test_a_notebook_about_data_runs_whole_without_a_stack(name: str, said: str) -> None:
    assert PYTHON.exists(), MISSING
    program = [str(PYTHON), str(ROOT / "tests/run_notebook.py"), str(ROOT / f"notebooks/{name}.ipynb")]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(program, env=environ, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert ran.returncode == 0, (ran.stdout + ran.stderr)[-6000:]
    assert said in ran.stdout


def exported(folder: Path) -> dict[str, Any]:
    """What an MLflow server with its files in a folder answers after runs were exported twice."""
    assert PYTHON.exists(), MISSING
    program = [str(PYTHON), str(ROOT / "tests/integration/export_to_mlflow.py"), str(folder)]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(program, env=environ, capture_output=True, text=True, check=False, timeout=SECONDS)
    assert ran.returncode == 0, ran.stderr[-6000:]
    return dict(json.loads(ran.stdout))


def stored(run: Path, kind: str) -> dict[str, str]:
    """What the file store of MLflow holds of a run: a file a name; of a metric the lines `time value step`."""
    return {str(path.relative_to(run / kind)): path.read_text() for path in (run / kind).rglob("*") if path.is_file()}


def test_runs_are_in_mlflow_once_however_often_they_are_exported(tmp_path: Path) -> None:
    there = exported(tmp_path)
    first, again = there["ids"]
    assert {name: again[name] for name in first} == first
    assert sorted(there["runs"]) == ["a", "b", "c"]
    assert {name: run["status"] for name, run in there["runs"].items()} == {
        "a": "FINISHED", "b": "FAILED", "c": "FINISHED",
    }  # fmt: skip
    assert there["histories"] == {"a": [2000.0, 1999.0], "b": [5000.0], "c": [2100.0]}
    (run,) = (tmp_path / "store").glob(f"*/{again['a']}")
    assert {name: text.split("\n")[-2].split()[1] for name, text in stored(run, "metrics").items()} == {
        "rmse": "1999.0", "training.validation:rmse": "2.5", "duration_seconds": "8.0",
    }  # fmt: skip
    assert stored(run, "params") == {"algorithm": "xgboost", "hyperparameters.eta": "0.1"}
    assert stored(run, "tags")["perennial.data.files"] == "s3://bucket/raw/a.csv?versionId=v1"
    assert stored(run, "tags")["mlflow.source.git.commit"] == "abc"
    (artefacts,) = (tmp_path / "artefacts").glob(f"*/{again['a']}/artifacts")
    assert (artefacts / "report.html").read_text() == "<html>runs/a/report.html</html>"
    assert json.loads((artefacts / "run.json").read_text())["metrics"]["candidate"] == {"rmse": 1999.0}
