"""The paths of a job, and what an earlier service left behind."""

import os
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, cast

import pytest

from localcloud import faults
from localcloud.sagemaker.algorithms import STAND_INS
from localcloud.sagemaker.errors import AwsError, JobStoppedError
from localcloud.sagemaker.jobs.process import kill_orphan
from localcloud.sagemaker.jobs.run import JobRun
from localcloud.sagemaker.platform import images
from localcloud.sagemaker.platform.images import known, repository, resolved


@pytest.fixture
def job(tmp_path: Path) -> JobRun:
    nothing = cast(Any, None)
    return JobRun("j", "arn:j", {}, tmp_path, nothing, nothing, nothing)


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        ("/opt/ml", "{root}"),
        ("/opt/ml/processing/input", "{root}/processing/input"),
        ("--path=/opt/ml/model:/opt/ml/code", "--path={root}/model:{root}/code"),
        ("open('/opt/ml/x')", "open('{root}/x')"),
        ("/opt/mlflow", "/opt/mlflow"),
        ("s3://bucket/opt/ml/x", "s3://bucket/opt/ml/x"),
        ("/srv/opt/ml", "/srv/opt/ml"),
    ],
)
def test_only_opt_ml_itself_is_another_folder_here(job: JobRun, given: str, becomes: str) -> None:
    assert job.local(given) == becomes.format(root=job.root)


def test_texts_are_shown_with_the_paths_of_aws(job: JobRun) -> None:
    assert job.as_on_aws(job.local("no file in /opt/ml/input/data")) == "no file in /opt/ml/input/data"


def test_a_stop_that_comes_first_is_not_forgotten(job: JobRun) -> None:
    calls: list[str] = []
    job.request_stop()
    job.on_stop(lambda: calls.append("stop"), lambda: calls.append("kill"))
    assert calls == ["stop"]
    job.kill()
    assert calls == ["stop", "kill"]


def test_a_job_that_is_delayed_goes_on_when_the_fault_is_cleared(job: JobRun) -> None:
    job.fault = faults.injected.add(faults.Fault("job:j", "delay", seconds=60))
    thread = threading.Thread(target=job.hold)
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    faults.injected.clear(job.fault.id)
    thread.join(5)
    assert not thread.is_alive()


def test_a_job_that_is_delayed_can_be_stopped(job: JobRun) -> None:
    job.fault = faults.injected.add(faults.Fault("job:j", "delay", seconds=60))
    job.request_stop()
    with pytest.raises(JobStoppedError):
        job.hold()
    faults.injected.clear(job.fault.id)


def test_a_program_that_a_killed_service_left_is_killed_and_a_stranger_is_not(tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path)}
    sleep = [sys.executable, "-c", "import time; time.sleep(60)"]
    with subprocess.Popen(sleep, env=environment, start_new_session=True) as left:
        time.sleep(0.05)
        kill_orphan(left.pid, "/some/other/folder")
        assert left.poll() is None
        kill_orphan(left.pid, str(tmp_path))
        assert left.wait(5) == -9


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:3.2-0", "sagemaker-xgboost"),
        ("a.b/team/linear-learner", "linear-learner"),
        ("a.b:5000/x/sagemaker-scikit-learn@sha256:abc", "sagemaker-scikit-learn"),
    ],
)
def test_images_are_known_by_their_repository(uri: str, name: str) -> None:
    assert repository(uri) == name


@pytest.mark.parametrize("digest", ["sha256:abc", f"sha256:{'A' * 64}", f"md5:{'0' * 32}", ""])
def test_an_image_with_a_malformed_digest_is_refused(digest: str) -> None:
    with pytest.raises(AwsError, match="has no digest behind its @"):
        known(f"1.example/linear-learner@{digest}", STAND_INS, "serving")


def test_an_image_by_tag_resolves_to_the_digest_of_what_stands_in_for_it(tmp_path: Path) -> None:
    def image(folder: str, *packages: str) -> Path:
        for package in packages:
            (tmp_path / folder / f"lib/python3.12/site-packages/{package}.dist-info").mkdir(parents=True)
        return tmp_path / folder / "bin/python"

    tag, short = "1.example/linear-learner:1", "1.example/linear-learner"
    here, same = image("here", "numpy-2.1", "pyarrow-20.0"), image("there", "pyarrow-20.0", "numpy-2.1")
    found = resolved(tag, here)
    assert re.fullmatch(r"1\.example/linear-learner@sha256:[0-9a-f]{64}", found)
    assert resolved(tag, same) == resolved(short, here) == resolved(found, same) == found
    others = {
        resolved(tag, image("newer", "numpy-2.2", "pyarrow-20.0")),
        resolved("1.example/sagemaker-xgboost:1", here),
    }
    assert len({text.partition("@")[2] for text in (found, *others)}) == 3


def test_the_digest_of_an_image_changes_with_the_programs_that_stand_in_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {path.name for folder in images._PROGRAMS for path in folder.glob("*_train.py")} == {
        "deepar_train.py", "linear_learner_train.py", "xgboost_train.py",
    }  # fmt: skip
    assert {path.name for folder in images._PROGRAMS for path in folder.glob("*_serve.py")} == {
        "deepar_serve.py", "linear_learner_serve.py", "own_serve.py", "sklearn_serve.py", "xgboost_serve.py",
    }  # fmt: skip
    monkeypatch.setattr(images, "_PROGRAMS", [tmp_path / "algorithms"])
    (tmp_path / "algorithms").mkdir()
    digests = set()
    for number, content in enumerate(("one", "other", "one")):
        (tmp_path / "algorithms" / "train.py").write_text(content)
        digests.add(resolved("1.example/linear-learner:1", tmp_path / f"{number}/bin/python"))
    assert len(digests) == 2


def test_an_image_by_digest_resolves_to_itself(tmp_path: Path) -> None:
    pinned = f"1.example/linear-learner@sha256:{'7' * 64}"
    assert known(pinned, STAND_INS, "serving") == "linear-learner"
    assert resolved(pinned, tmp_path / "bin/python") == pinned
