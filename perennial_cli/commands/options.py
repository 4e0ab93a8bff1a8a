"""Options and arguments that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from perennial_cli import project

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def model_names() -> list[str]:
    """Return the names of the models that there are."""
    return sorted(path.parent.name for path in project.models().glob("*/model.yaml"))


def not_empty(word: str | None) -> str | None:
    """Return a word as it is. Raises BadParameter: it is empty, as of a variable that is not set."""
    if word is not None and not word.strip():
        raise typer.BadParameter("got an empty text; expected a name (for the default leave the option out)")
    return word


def new_file(path: Path | None) -> Path | None:
    """Return where a file will be written. Raises BadParameter: its folder is not there, before anything is done."""
    if path is not None and not path.parent.is_dir():
        what = "is no folder" if path.parent.exists() else "is not there"
        raise typer.BadParameter(f"the folder {path.parent} of {path} {what}; make it first, or name another file")
    return path


def output_option(text: str) -> Any:
    """Return the option that names a new file for what a command fetches or answers."""
    return typer.Option("--output", "-o", dir_okay=False, callback=new_file, help=text)


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
