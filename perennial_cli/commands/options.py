"""Options and arguments that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perennial_cli import project

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def model_names() -> list[str]:
    """Return the names of the models that there are."""
    return sorted(path.parent.name for path in project.models().glob("*/model.yaml"))


StackName = Annotated[
    str | None,
    typer.Option(
        "--stack", "-s", envvar="PERENNIAL_STACK", help="Name of the stack. Default: the only one that there is."
    ),
]
ModelName = Annotated[
    str, typer.Argument(metavar="MODEL", help="A folder of models/, by its name or path.", autocompletion=model_names)
]
File = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="A file.", exists=True, dir_okay=False, readable=True, show_default=False),
]
