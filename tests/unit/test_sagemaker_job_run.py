"""The paths of a job, and what an earlier service left behind."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, cast

import pytest

from localcloud import faults
from localcloud.sagemaker.errors import JobStoppedError
from localcloud.sagemaker.images import repository
from localcloud.sagemaker.job_run import JobRun
from localcloud.sagemaker.process import kill_orphan


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
    assert job.shown(job.local("no file in /opt/ml/input/data")) == "no file in /opt/ml/input/data"


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
