"""Building and deploying a stack with the SAM CLI, on the local cloud or on AWS."""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perennial.runs import naming
from perennial_cli import parameters, project, templates
from perennial_cli.console import CommandError, working
from perennial_cli.parameters import Setting

TEMPLATE = "template.yaml"
LOG = ".local/deploy.log"
LOCK = ".local/deploy.lock"
CONFIG = "samconfig.toml"
SIZES = "sizes.toml"
MODEL, BOUNDARY = "ModelName", "PermissionsBoundaryArn"
COMMAND_LINE = "the command line"
# What a section may set, which the SAM CLI passes over where it does not know it.
OPTIONS = frozenset(
    {
        "beta_features", "capabilities", "config_env", "config_file", "confirm_changeset", "debug", "disable_rollback",
        "express", "fail_on_empty_changeset", "force_upload", "guided", "image_repositories", "image_repository",
        "kms_key_id", "language_extensions", "max_wait_duration", "metadata", "no_execute_changeset", "no_progressbar",
        "notification_arns", "on_failure", "output", "parameter_overrides", "profile", "region", "resolve_image_repos",
        "resolve_s3", "role_arn", "s3_bucket", "s3_prefix", "save_params", "signing_profiles", "stack_name", "tags",
        "template", "template_file", "use_json",
    }
)  # fmt: skip
BUILD = ".aws-sam/build"
LAYER = "SharedLayer"
WIDTH = "4000"  # the SAM CLI breaks the reasons of failures into columns
_CHANGE_SET = re.compile(r"arn:[a-z-]+:cloudformation:[a-z0-9-]+:[0-9]{12}:changeSet/\S+")
_FAILURE = re.compile(r"_FAILED |^Error")


@dataclass(frozen=True)
class Environment:
    """A section of samconfig.toml: where and with which parameters a stack is deployed.

    stack       its name; None where the section has none
    confirms    whether somebody looks at change sets before they are executed
    profile     of AWS; None where the section leaves it to the usual configuration
    region      the same
    options     all that it sets of `sam deploy`
    """

    section: str
    stack: str | None
    parameters: tuple[Setting, ...]
    confirms: bool
    profile: str | None = None
    region: str | None = None
    options: frozenset[str] = frozenset()

    @property
    def place(self) -> str:
        """Where it stands, for people."""
        return f"{CONFIG}, section {self.section}"

    @property
    def model(self) -> str | None:
        """The model that the parameters name."""
        return next((one.value for one in self.parameters if one.name == MODEL), None)


@dataclass(frozen=True)
class Deployment:
    """What is deployed where.

    confirms  whether somebody looks at the change set first, in this terminal
    size      a section of sizes.toml, whose parameters count where the environment has none of that name
    boundary  the ARN of a policy that bounds the roles of the stack; it counts before the environment's
    """

    model: str
    stack: str
    environment: Environment
    is_local: bool
    confirms: bool = False
    size: str | None = None
    boundary: str | None = None

    @property
    def parameters(self) -> list[Setting]:
        """All that the template is given. Raises CommandError: there is no such size."""
        own = self.environment.parameters
        chosen = {BOUNDARY: self.boundary} if self.boundary else {}
        if self.environment.model != self.model:
            chosen[MODEL] = self.model
        added = [Setting(name, value, COMMAND_LINE) for name, value in chosen.items()]
        counts = [*added, *(one for one in own if one.name not in chosen)]
        names = {one.name for one in counts}
        return [*counts, *(one for one in of_size(self.size) if one.name not in names)]


def stack_name(model: str) -> str:
    """Return the name of a model's stack. Raises CommandError: there is no short one."""
    for name in (f"perennial-{model}", model):
        if len(name) <= naming.MAX_STACK_NAME:
            return name
    raise CommandError(
        f"a stack's name has at most {naming.MAX_STACK_NAME} characters, and {model!r} more; name one: --stack NAME"
    )


def deploy(wanted: Deployment) -> str | None:
    """Build and deploy a stack, and return the ARN of the change set; None: nothing was to change.

    Raises:
        CommandError: it failed, with the reasons
    """
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
    with _alone(folder):
        return _deploy(wanted, folder, sam, variables)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep a second deployment out: both would build in one place, for another cloud perhaps. Raises CommandError."""
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CommandError(f"another deployment builds in {folder / BUILD}; wait until it has ended") from error
        yield


def _deploy(wanted: Deployment, folder: Path, sam: str, variables: dict[str, str]) -> str | None:
    _step("sam build", [sam, "build"], folder, variables)
    template = str(packed(folder / BUILD))
    confirm = "--confirm-changeset" if wanted.confirms else "--no-confirm-changeset"
    command = [sam, "deploy", "--template-file", template, "--config-file", str(folder / CONFIG)]
    command += ["--config-env", wanted.environment.section, "--stack-name", wanted.stack, confirm]
    if "s3_prefix" not in wanted.environment.options:  # in a bucket of all stacks: a deployer may write below its own
        command += ["--s3-prefix", wanted.stack]
    command += ["--parameter-overrides", *map(parameters.quoted, wanted.parameters)]
    output = _talk(command, folder, variables) if wanted.confirms else _step("sam deploy", command, folder, variables)
    created = _CHANGE_SET.search(output)
    return created[0] if created else None


def packed(build: Path) -> Path:
    """Pack the layer of a build, and return the build's template in JSON, which names the file.

    The SAM CLI would do both, in four fifths of a deployment's time: it reads the YAML of a build three times without
    libyaml, and makes the layer as small as it can.
    """
    document = templates.load(build / "template.yaml")
    layer = document["Resources"][LAYER]["Properties"]
    layer["ContentUri"] = pack(build / layer["ContentUri"], build / f"{LAYER}.zip").name
    template = build / "packed.json"
    template.write_text(json.dumps(document))
    return template


def pack(layer: Path, file: Path, compression: int = zipfile.ZIP_DEFLATED) -> Path:
    """Make one file of a layer's folder, and return it.

    The same files make the same bytes, whatever the umask, so that CloudFormation keeps a layer in which nothing has
    changed. Everybody may read them, as functions run as a user of their own. Links are followed, as by the SAM CLI.
    Raises CommandError: something is no file, or a link leads nowhere or around in a circle.
    """
    with zipfile.ZipFile(file, "w") as archive:
        for path in sorted(_files(layer)):
            entry = zipfile.ZipInfo(str(path.relative_to(layer)))
            entry.external_attr = (stat.S_IFREG | (0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)) << 16
            archive.writestr(entry, path.read_bytes(), compression, compresslevel=1)
    return file


def _files(folder: Path, around: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield the files of a folder and of those in it. `around` are the folders that it is in."""
    around = (*around, folder.resolve())
    for path in folder.iterdir():
        if path.is_file():
            yield path
        elif path.is_dir() and path.resolve() not in around:
            yield from _files(path, around)
        else:
            where = f", a link to {path.readlink()}" if path.is_symlink() else ""
            raise CommandError(f"{path} is no file{where}; expected files, folders and links to them in a layer")


# ---- Sections, and whether the template takes them


def check(wanted: Deployment, region: str) -> None:
    """Raise CommandError, with all that is wrong, where a stack cannot be deployed with what it is given."""
    template, environment = templates.load(project.required() / TEMPLATE), wanted.environment
    of_parameters = parameters.problems(template, wanted.parameters, environment.place, {"AWS::Region": region})
    if wrong := [*_unknown_options(environment), *of_parameters]:
        raise CommandError("\n".join(wrong))


def problems() -> list[str]:
    """Return what is wrong with the sections of samconfig.toml and sizes.toml; empty if nothing is.

    A section is looked at as if its stack were not there yet, whose parameters would keep what it does not set.
    """
    template, wrong = templates.load(project.required() / TEMPLATE), list[str]()
    for name in _for_deployments(_sections(CONFIG)):
        try:
            wrong += _problems_of(environment(name), template)
        except CommandError as error:
            wrong.append(str(error))
    for size in _sections(SIZES):
        wrong += parameters.problems_of_values(template, of_size(size))
    return wrong


def _problems_of(one: Environment, template: Mapping[str, Any]) -> Iterator[str]:
    yield from _unknown_options(one)
    yield from parameters.problems(
        template, one.parameters, one.place, {"AWS::Region": one.region} if one.region else {}
    )
    if one.model and not (project.models() / one.model / "model.yaml").is_file():
        alike = parameters.nearest(one.model, (path.name for path in project.all_models()))
        yield f"{one.place}: {MODEL} is {one.model!r}; expected a folder of models/{alike}"
    if one.stack is not None:
        try:
            naming.check_stack_name(one.stack)
        except naming.StackNameError as error:
            yield f"{one.place}: {error}"


def _unknown_options(one: Environment) -> Iterator[str]:
    for option in sorted(one.options - OPTIONS):
        yield f"{one.place}: sam deploy has no option {option}{parameters.nearest(option, OPTIONS)}"


def of_size(size: str | None) -> list[Setting]:
    """Return the parameters of a size. Raises CommandError: there is no such size."""
    if size is None:
        return []
    sizes = _sections(SIZES)
    if not isinstance(sizes.get(size), dict):
        raise CommandError(
            f"{SIZES} has no size {size!r}; there are: {', '.join(sizes)}{parameters.nearest(size, sizes)}"
        )
    return list(parameters.read(sizes[size], f"{SIZES}, section {size}", project.required()))


def environment(section: str) -> Environment:
    """Return a section of samconfig.toml. Raises CommandError: it has none of that name, or it cannot be read."""
    sections = _sections(CONFIG)
    names = _for_deployments(sections)
    if section not in names:
        alike = parameters.nearest(section, names)
        raise CommandError(f"{CONFIG} has no section {section!r} for deployments; there are: {', '.join(names)}{alike}")
    options = sections[section]["deploy"].get("parameters")
    if not isinstance(options, dict):
        raise CommandError(f"{CONFIG} has a table [{section}.deploy] without [{section}.deploy.parameters]")
    options = _of_all_commands(sections[section]) | options
    place = f"{CONFIG}, section {section}"
    settings = tuple(parameters.read(options.get("parameter_overrides"), place, project.required()))
    return Environment(
        section,
        options.get("stack_name"),
        settings,
        bool(options.get("confirm_changeset")),
        options.get("profile"),
        options.get("region"),
        frozenset(options),
    )


def _of_all_commands(section: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a section sets for each command of the SAM CLI, of what a deployment knows.

    SAM CLI, `SamConfig.get_all`: a command's own parameters count before these, among which may be other commands'.
    """
    common = section.get("global")
    options = common.get("parameters") if isinstance(common, dict) else None
    return {name: value for name, value in options.items() if name in OPTIONS} if isinstance(options, dict) else {}


def _for_deployments(sections: Mapping[str, Any]) -> list[str]:
    return [name for name, body in sections.items() if isinstance(body, dict) and isinstance(body.get("deploy"), dict)]


def _sections(name: str) -> dict[str, Any]:
    """Return a file of sections, none where there is no such file. Raises CommandError: it is no TOML."""
    path = project.required() / name
    try:
        return tomllib.loads(path.read_text(encoding="utf-8") if path.is_file() else "")
    except ValueError as error:
        raise CommandError(f"{name} is no TOML: {error}") from error


# ---- The SAM CLI


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
