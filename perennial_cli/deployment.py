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
CONFIG = "samconfig.toml"
WIDTH = "4000"  # the SAM CLI breaks the reasons of failures into columns
_MODEL_NAME = re.compile(r"(?<!\S)(ParameterKey=)?ModelName[=,]\S+\s*")
_MODEL_VALUE = re.compile(r"(?<!\S)(?:ParameterKey=)?ModelName(?:,ParameterValue)?=[\"']?([\w-]+)")
STANDARD_ERROR = 2
_FAILURE = re.compile(r"_FAILED |^Error")


@dataclass(frozen=True)
class Deployment:
    """What is deployed where.

    section   of samconfig.toml, which has the parameters
    confirms  whether somebody looks at the change set first, in this terminal
    """

    model: str
    stack: str
    section: str
    is_local: bool
    confirms: bool = False


def stack_name(model: str) -> str:
    """Return the name of a model's stack. Raises CommandError: there is no short one."""
    for name in (f"perennial-{model}", model):
        if len(name) <= MAX_STACK_NAME:
            return name
    raise CommandError(
        f"a stack's name has at most {MAX_STACK_NAME} characters, and {model!r} more; name one: --stack NAME"
    )


def of_section(section: str, model: str) -> tuple[str | None, bool]:
    """Return the stack that a section names for a model, and whether it wants change sets to be confirmed."""
    deployed = _section(project.required(), section)
    named = {value for text in _texts(deployed.get("parameter_overrides", "")) for value in _MODEL_VALUE.findall(text)}
    return deployed.get("stack_name") if named in (set(), {model}) else None, bool(deployed.get("confirm_changeset"))


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
    confirm = "--confirm-changeset" if wanted.confirms else "--no-confirm-changeset"
    command = [sam, "deploy", "--config-env", wanted.section, "--stack-name", wanted.stack, confirm]
    command += ["--parameter-overrides", *parameters]
    if wanted.confirms:
        del environment["COLUMNS"]
        if subprocess.run(command, cwd=folder, env=environment, stdout=STANDARD_ERROR, check=False).returncode:
            raise CommandError("sam deploy failed; its output is above")
        return
    try:
        _step("sam deploy", command, folder, environment)
    except CommandError as error:
        if "--parameter-overrides" in str(error):
            raise CommandError(f"{error}\nThe parameters stand in {_place(folder, wanted.section)}") from error
        raise


def _parameters(folder: Path, wanted: Deployment) -> list[str]:
    """Return the parameters of a section, of which a command line replaces all or none, for the model.

    Texts stay as they are: the SAM CLI takes them apart, quotes and all.
    """
    overrides = _section(folder, wanted.section).get("parameter_overrides", "")
    others = [_MODEL_NAME.sub("", text).strip() for text in _texts(overrides)]
    return [f"ModelName={wanted.model}", *filter(None, others)]


def _section(folder: Path, section: str) -> dict[str, Any]:
    """Return what a section says of deployments. Raises CommandError: there is none."""
    try:
        sections: dict[str, Any] = tomllib.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise CommandError(f"{CONFIG} is no TOML: {error}") from error
    try:
        return dict(sections[section]["deploy"]["parameters"])
    except KeyError as error:
        known = ", ".join(
            name for name in sections if "deploy" in (sections[name] if isinstance(sections[name], dict) else {})
        )
        raise CommandError(f"{CONFIG} has no section {section!r} for deployments; there are: {known}") from error


def _texts(overrides: Any) -> list[str]:
    """Return parameters as texts, which may be one, a list of them, or a table of names and values."""
    if isinstance(overrides, list):
        return [text for one in overrides for text in _texts(one)]
    if isinstance(overrides, dict):
        return [f"{name}={_quoted(value)}" for name, value in overrides.items()]
    return [str(overrides)]


def _quoted(value: Any) -> str:
    """Return a value of a table as the SAM CLI reads it: items of a list with commas between them."""
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return '"' + text.replace('"', '\\"') + '"'


def _place(folder: Path, section: str) -> str:
    """Return the file and, where it can be found, the line of a section's parameters."""
    is_inside = False
    for number, line in enumerate((folder / CONFIG).read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("["):
            is_inside = line.startswith(f"[{section}.deploy.parameters")
        if is_inside and line.lstrip().startswith("parameter_overrides"):
            return f"{CONFIG}, line {number}"
    return f"{CONFIG}, section {section}"


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
