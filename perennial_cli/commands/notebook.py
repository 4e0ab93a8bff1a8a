"""Notebooks: open Jupyter where the notebooks are, with the project's environment for them."""

from __future__ import annotations

import os
import subprocess
import sys

import typer

from perennial_cli import project
from perennial_cli.console import notice

NAMES_AWS = ("AWS_ENDPOINT_URL", "AWS_PROFILE", "AWS_ACCESS_KEY_ID")


def notebook(context: typer.Context) -> None:
    """Open Jupyter on the project's notebooks.

    What else is given goes to Jupyter: --no-browser, --port 8899, and for root --allow-root.

    They speak to what this shell speaks to. Where it names nothing, the local cloud is started and they speak to that.
    """
    python, home = project.program("notebooks", "bin", "python"), project.required()
    jupyter = [str(python), "-m", "jupyterlab", f"--notebook-dir={home / 'notebooks'}", *context.args]
    if any(name in os.environ for name in NAMES_AWS):
        notice("the notebooks speak to what this shell names")
    else:
        local = [str(project.program("dev", "bin", "python")), str(home / "localcloud")]
        subprocess.run([*local, "up"], check=True)
        jupyter = [*local, "env", "--", *jupyter]
        notice("the notebooks speak to the local cloud")
    sys.stderr.flush()
    os.execve(jupyter[0], jupyter, {**os.environ, "PYTHONPATH": str(home)})  # noqa: S606
