"""Other people's clients against the local cloud, as their users use them: `make test-clients`.

Each script runs in its clients' own environment, as a session of a role, as a notebook does, and prints "done" last.
"""

import os
import subprocess
from pathlib import Path

import pytest

from localcloud.settings import PROJECT
from tests.integration.conftest import Cloud, cloud

__all__ = ["cloud"]

SHELL = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
SECONDS = 600


@pytest.mark.parametrize(
    ("environment", "script"),
    [
        ("clients2", "sagemaker_sdk_2.py"),
        ("clients2", "step_functions_sdk.py"),
        ("clients2", "data_tools.py"),
        ("clients3", "sagemaker_sdk_3.py"),
    ],
)
def test_a_client_works_unchanged(cloud: Cloud, tmp_path: Path, environment: str, script: str) -> None:
    python = PROJECT / ".venvs" / environment / "bin" / "python"
    assert python.exists(), "install it: make test-clients"
    program = [str(python), str(Path(__file__).with_name(script))]
    command = [str(PROJECT / ".venvs/dev/bin/python"), str(PROJECT / "localcloud"), "--state", str(cloud.state)]

    ran = subprocess.run(
        [*command, "env", "--role", "test", "--", *program],
        cwd=tmp_path,
        env=SHELL,
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )

    assert (ran.returncode, ran.stdout.splitlines()[-1:]) == (0, ["done"]), (ran.stdout + ran.stderr)[-6000:]
