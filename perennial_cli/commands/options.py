"""Options and arguments that several commands have."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from perennial.model import folder
from perennial.model.complaints import ConfigurationError
from perennial_cli import elsewhere, project
from perennial_cli.console import CommandError
from perennial_cli.elsewhere import Address

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Force = Annotated[bool, typer.Option("--force", help="Replace a result that is there.")]
RUN_LINE = "run="  # before the id, in the file of `perennial promote --write-run`
FORMS = {
    ".csv": "CSV", ".json": "JSON", ".jsonl": "JSON lines", ".ndjson": "JSON lines", ".parquet": "Parquet",
    ".pq": "Parquet", ".gz": "gzip", ".zip": "a zip archive", ".xlsx": "an Excel workbook",
}  # fmt: skip


def model_names() -> list[str]:
    """Return the names of the models that there are."""
    return sorted(path.parent.name for path in project.models().glob("*/model.yaml"))


def not_empty(word: str | None) -> str | None:
    """Return a word as it is. Raises BadParameter: it is empty, as of a variable that is not set."""
    if word is not None and not word.strip():
        raise typer.BadParameter("got an empty text; expected a name (for the default leave the option out)")
    return word


def object_name(key: str | None) -> str | None:
    """Return the name of an object as it is. Raises BadParameter: it is no name of a file in folders."""
    if not_empty(key) is not None and any(part.strip() in ("", ".", "..") for part in str(key).split("/")):
        raise typer.BadParameter(f"got {key!r}; expected a name such as cars.csv or 2026/cars.csv")
    return key


def new_model(name: str | None) -> str | None:
    """Return the name of a new model as it is. Raises BadParameter: no folder of a model is named so."""
    try:
        return name and folder.check_name(name)
    except ConfigurationError as error:
        raise typer.BadParameter(str(error)) from error


def new_file(name: str) -> Path:
    """Return where a file will be written. Raises BadParameter: it cannot be there, before anything is done."""
    path = Path(name)
    if not name.strip():
        raise typer.BadParameter("got an empty text; expected the name of a file")
    if path.is_dir() or name.endswith("/"):
        raise typer.BadParameter(f"{name} is the name of a folder; name a file in it")
    if not path.parent.is_dir():
        what = "is no folder" if path.parent.exists() else "is not there"
        raise typer.BadParameter(f"the folder {path.parent} of {path} {what}; make it first, or name another file")
    return path


def run_of(word: str | None) -> str | None:
    """Return a word, or of @FILE the run that `perennial promote --write-run FILE` has written there."""
    if word is None or not word.startswith("@"):
        return word
    path = Path(word[1:])
    if not path.is_file():
        raise typer.BadParameter(f"there is no file {path}; expected what `perennial promote --write-run` writes")
    text = path.read_text(errors="replace")
    run = text.removeprefix(RUN_LINE).strip()
    if not text.startswith(RUN_LINE) or len(run.split()) != 1:
        raise typer.BadParameter(f"{path} does not say {RUN_LINE}ID alone, as `perennial promote --write-run` does")
    return run


def output_option(text: str) -> Any:
    """Return the option that names a new file for what a command fetches or answers."""
    return typer.Option("--output", "-o", metavar="FILE", parser=new_file, help=text)


def file_or_address(text: str) -> Path | Address:
    """Return a file of this machine, or one or more in S3. Raises BadParameter: it is neither."""
    try:
        if at := elsewhere.address(text):
            return at
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="FILE") from error
    path = Path(text)
    if not text.strip() or not path.exists():
        raise typer.BadParameter(f"there is no file {text!r}; expected one, or {elsewhere.HINT}", param_hint="FILE")
    if path.is_dir():
        raise typer.BadParameter(f"{text} is a folder; expected a file", param_hint="FILE")
    if not os.access(path, os.R_OK):
        raise typer.BadParameter(f"{text} cannot be read: you have no permission to", param_hint="FILE")
    return path


def form_of(path: Path) -> str | None:
    """Return the form of a file that its name says; None: it says none that is known."""
    return FORMS.get(path.suffix.lower())


def require_output(path: Path, form: str | None, sources: Iterable[Path], *, force: bool) -> None:
    """Raise BadParameter or CommandError where a result may not go, before anything is done.

    form     what is written, if that is known
    sources  what the command reads: its user's own, which nothing replaces
    """
    if form and form_of(path) not in (None, form):
        raise typer.BadParameter(f"{path} is named as {form_of(path)} is, and {form} is written", param_hint="--output")
    if path.exists() and any(map(path.samefile, sources)):
        raise CommandError(f"{path} is what is read; choose another --output")
    if path.is_file() and not force:
        raise CommandError(f"{path} is there already; choose another --output, or replace it with --force")


StackName = Annotated[
    str | None,
    typer.Option(
        "--stack",
        "-s",
        envvar="PERENNIAL_STACK",
        callback=not_empty,
        help="Name of the stack. Default: the only one that there is.",
    ),
]
ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="A folder of models/, by its name or path.", autocompletion=model_names)
]
File = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="A file.", exists=True, dir_okay=False, readable=True, show_default=False),
]
