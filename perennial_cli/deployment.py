"""Building and deploying a stack with the SAM CLI, on the local cloud or on AWS."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perennial.runs.naming import MAX_STACK_NAME
from perennial_cli import project
from perennial_cli.console import CommandError, working

LOG = ".local/deploy.log"
WIDTH = "4000"  # the SAM CLI breaks the reasons of failures into columns
_FAILURE = re.compile(r"_FAILED |^Error")


@dataclass(frozen=True)
class Deployment:
    """What is deployed where.

    section  of samconfig.toml, which has the parameters
    """

    model: str
    stack: str
    section: str
    is_local: bool


def stack_name(model: str) -> str:
    """Return the name of a model's stack. Raises CommandError: there is no short one."""
    for name in (f"perennial-{model}", model):
        if len(name) <= MAX_STACK_NAME:
            return name
    raise CommandError(
        f"a stack's name has at most {MAX_STACK_NAME} characters, and {model!r} more; name one: --stack NAME"
    )


def deploy(wanted: Deployment) -> None:
    """Build and deploy a stack. Raises CommandError with the reasons: it failed."""
    folder, sam = project.required(), str(project.program("sam", "bin", "sam"))
    (folder / LOG).parent.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "COLUMNS": WIDTH,
        "SAM_CLI_TELEMETRY": "0",
        "__SAM_CLI_APP_DIR": str(folder / ".aws-sam/cli"),
    }
    if wanted.is_local:  # layers of this machine's Python; seconds between looks at the stack
        environment |= {"LAYER_PLATFORM": "", "SAM_CLI_POLL_DELAY": "1"}
    _step("sam build", [sam, "build"], folder, environment)
    parameters = _parameters(folder, wanted)
    command = [sam, "deploy", "--config-env", wanted.section, "--stack-name", wanted.stack, "--no-confirm-changeset"]
    _step("sam deploy", [*command, "--parameter-overrides", *parameters], folder, environment)


def _parameters(folder: Path, wanted: Deployment) -> list[str]:
    """Return the parameters of a section, of which a command line replaces all or none, for the model."""
    sections: dict[str, Any] = tomllib.loads((folder / "samconfig.toml").read_text())
    try:
        text = sections[wanted.section]["deploy"]["parameters"].get("parameter_overrides", "")
    except KeyError as error:
        known = ", ".join(
            name for name in sections if "deploy" in (sections[name] if isinstance(sections[name], dict) else {})
        )
        raise CommandError(
            f"samconfig.toml has no section {wanted.section!r} for deployments; there are: {known}"
        ) from error
    others = [one for one in text.split() if not one.startswith("ModelName=")]
    return [f"ModelName={wanted.model}", *others]


def _step(name: str, command: Sequence[str], folder: Path, environment: dict[str, str]) -> None:
    with working(name):
        ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    output = ended.stdout + ended.stderr
    (folder / LOG).write_text(output)
    if ended.returncode:
        raise CommandError(f"{name} failed:\n{_reasons(output)}")


def _reasons(output: str) -> str:
    """Return the lines of a failed deployment that say why; of anything else that failed, all."""
    lines = [re.sub(r" {2,}", "  ", line) for line in output.splitlines() if _FAILURE.search(line)]
    if any("_FAILED " in line for line in lines):
        return "\n".join([*lines, "", f"The whole output: {LOG}"])
    return output
