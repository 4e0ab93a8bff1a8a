"""Building and deploying a stack with the SAM CLI, on the local cloud or on AWS."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perennial.runs.naming import MAX_STACK_NAME
from perennial_cli import project
from perennial_cli.console import CommandError, working

LOG = ".local/deploy.log"
CONFIG = "samconfig.toml"
SIZES = "sizes.toml"
BUILD = ".aws-sam/build"
LAYER = "SharedLayer"
WIDTH = "4000"  # the SAM CLI breaks the reasons of failures into columns
_MODEL_NAME = re.compile(r"(?<!\S)(?:ParameterKey=)?ModelName(?:,ParameterValue)?=[\"']?([\w-]+)[\"']?\s*")
_NAME = re.compile(r"(?<!\S)(?:ParameterKey=)?(\w+)(?:,ParameterValue)?=")
_CHANGE_SET = re.compile(r"arn:[a-z-]+:cloudformation:[a-z0-9-]+:[0-9]{12}:changeSet/\S+")
_FAILURE = re.compile(r"_FAILED |^Error")


@dataclass(frozen=True)
class Environment:
    """A section of samconfig.toml: where and with which parameters a stack is deployed.

    stack       its name; None where the section has none
    parameters  texts as the SAM CLI takes them, quotes and all
    confirms    whether somebody looks at change sets before they are executed
    profile     of AWS; None where the section leaves it to the usual configuration
    """

    section: str
    stack: str | None
    parameters: tuple[str, ...]
    confirms: bool
    profile: str | None = None

    @property
    def model(self) -> str | None:
        """The model that the parameters name."""
        matches = filter(None, map(_MODEL_NAME.search, self.parameters))
        return next((match[1] for match in matches), None)


@dataclass(frozen=True)
class Deployment:
    """What is deployed where.

    confirms  whether somebody looks at the change set first, in this terminal
    size      a section of sizes.toml, whose parameters count where the environment has none of that name
    """

    model: str
    stack: str
    environment: Environment
    is_local: bool
    confirms: bool = False
    size: str | None = None


def stack_name(model: str) -> str:
    """Return the name of a model's stack. Raises CommandError: there is no short one."""
    for name in (f"perennial-{model}", model):
        if len(name) <= MAX_STACK_NAME:
            return name
    raise CommandError(
        f"a stack's name has at most {MAX_STACK_NAME} characters, and {model!r} more; name one: --stack NAME"
    )


def deploy(wanted: Deployment) -> str | None:
    """Build and deploy a stack, and return the ARN of the change set; None: nothing was to change.

    Raises:
        CommandError: it failed, with the reasons
    """
    of_size = _of_size(wanted.size, wanted.environment) if wanted.size else []
    folder, sam = project.required(), str(project.program("sam", "bin", "sam"))
    (folder / LOG).parent.mkdir(exist_ok=True)
    variables = {
        **os.environ,
        "COLUMNS": WIDTH,
        "SAM_CLI_TELEMETRY": "0",
        "__SAM_CLI_APP_DIR": str(folder / ".aws-sam/cli"),
    }
    if wanted.is_local:  # layers of this machine's Python; seconds between looks at the stack
        variables |= {"LAYER_PLATFORM": "", "SAM_CLI_POLL_DELAY": "1"}
    _step("sam build", [sam, "build"], folder, variables)
    template = str(packed(folder / BUILD))
    others = [_MODEL_NAME.sub("", text).strip() for text in wanted.environment.parameters]
    section = wanted.environment.section
    confirm = "--confirm-changeset" if wanted.confirms else "--no-confirm-changeset"
    command = [sam, "deploy", "--template-file", template, "--config-file", str(folder / CONFIG)]
    command += ["--config-env", section, "--stack-name", wanted.stack, confirm]
    command += ["--parameter-overrides", f"ModelName={wanted.model}", *filter(None, others), *of_size]
    try:
        if wanted.confirms:
            output = _talk(command, folder, variables)
        else:
            output = _step("sam deploy", command, folder, variables)
    except CommandError as error:
        if "--parameter-overrides" in str(error):
            raise CommandError(f"{error}\nThe parameters stand in {_place(folder, section)}") from error
        raise
    created = _CHANGE_SET.search(output)
    return created[0] if created else None


def packed(build: Path) -> Path:
    """Pack the layer of a build, and return the build's template in JSON, which names the file.

    The SAM CLI would do both, in four fifths of a deployment's time: it reads the YAML of a build three times without
    libyaml, and makes the layer as small as it can.
    """
    import yaml

    document = yaml.load((build / "template.yaml").read_text(encoding="utf-8"), yaml.CSafeLoader)
    layer = document["Resources"][LAYER]["Properties"]
    layer["ContentUri"] = pack(build / layer["ContentUri"], build / f"{LAYER}.zip").name
    template = build / "packed.json"
    template.write_text(json.dumps(document))
    return template


def pack(layer: Path, file: Path, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """Make one file of a layer's folder, and return it.

    The same files make the same bytes, so that CloudFormation keeps a layer in which nothing has changed. Everybody may
    read them, as functions run as a user of their own.
    """
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(path for path in layer.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(str(path.relative_to(layer)))
            entry.external_attr = (path.stat().st_mode | 0o444) << 16
            archive.writestr(entry, path.read_bytes(), compression, compresslevel=1)
    return file


def _of_size(size: str, environment: Environment) -> list[str]:
    """Return the parameters of a size that an environment does not set. Raises CommandError: there is no such size."""
    sizes: dict[str, Any] = tomllib.loads((project.required() / SIZES).read_text(encoding="utf-8"))
    if size not in sizes:
        raise CommandError(f"{SIZES} has no size {size!r}; there are: {', '.join(sizes)}")
    own = {name for text in environment.parameters for name in _NAME.findall(text)}
    return _texts({name: value for name, value in sizes[size].items() if name not in own})


def environment(section: str) -> Environment:
    """Return a section of samconfig.toml. Raises CommandError: it has none of that name, or is no TOML."""
    try:
        sections: dict[str, Any] = tomllib.loads((project.required() / CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise CommandError(f"{CONFIG} is no TOML: {error}") from error
    try:
        parameters = sections[section]["deploy"]["parameters"]
    except KeyError as error:
        known = ", ".join(
            name for name in sections if "deploy" in (sections[name] if isinstance(sections[name], dict) else {})
        )
        raise CommandError(f"{CONFIG} has no section {section!r} for deployments; there are: {known}") from error
    return Environment(
        section,
        parameters.get("stack_name"),
        tuple(_texts(parameters.get("parameter_overrides", ""))),
        bool(parameters.get("confirm_changeset")),
        parameters.get("profile"),
    )


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


def _talk(command: Sequence[str], folder: Path, variables: Mapping[str, str]) -> str:
    """Run the SAM CLI with somebody who answers it, and return what it printed. Raises CommandError: it failed."""
    printed = b""
    as_wide = {name: value for name, value in variables.items() if name != "COLUMNS"}  # as the terminal
    with subprocess.Popen(command, cwd=folder, env=as_wide, stdout=subprocess.PIPE) as program:
        output: Any = program.stdout
        while part := os.read(output.fileno(), 4096):  # a question has no end of line
            printed += part
            sys.stderr.buffer.write(part)
            sys.stderr.flush()
    if program.returncode:
        raise CommandError("sam deploy failed; its output is above")
    return printed.decode(errors="replace")


def _step(name: str, command: Sequence[str], folder: Path, environment: dict[str, str]) -> str:
    with working(name):
        ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    output = ended.stdout + ended.stderr
    (folder / LOG).write_text(output)
    if ended.returncode:
        raise CommandError(f"{name} failed:\n{_reasons(output)}")
    return output


def _reasons(output: str) -> str:
    """Return the lines of a failed deployment that say why; of anything else that failed, all."""
    lines = [re.sub(r" {2,}", "  ", line) for line in output.splitlines() if _FAILURE.search(line)]
    if any("_FAILED " in line for line in lines):
        return "\n".join([*lines, "", f"The whole output: {LOG}"])
    return output
