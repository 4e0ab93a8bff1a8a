"""Definitions, and what stacks are given, as a deployment looks at them: check."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from perennial_cli import check_models, deployment, project
from perennial_cli.check_models import Checked
from perennial_cli.commands.options import AsJson
from perennial_cli.console import FAILED, show_json


def check(
    models: Annotated[
        list[Path] | None, typer.Argument(metavar="MODEL", help="Names or folders. Default: all of models/.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check definitions as a deployment does, and try their own code.

    features.py is tried on a small table, metrics.py on what a window asks of it, capture.py on captured events. With
    all models the sections of samconfig.toml and sizes.toml are checked too: is each parameter one of template.yaml,
    which takes its value? Exit code 1: something is not sound.
    """
    folders = [project.model_folder(str(one)) if not one.is_dir() else one for one in models or []]
    chosen = folders or project.all_models()
    if as_json:
        looked = [check_models.checked(folder) for folder in chosen]
        show_json([document(one) for one in looked])
        sound = all(one.is_sound for one in looked)
    else:
        sound = check_models.are_sound(chosen)
    if not folders:
        sound &= _sections_are_sound(sys.stderr if as_json else None)
    if not sound:
        raise typer.Exit(FAILED)


def _sections_are_sound(file: TextIO | None) -> bool:
    """Print that the sections by which stacks are deployed are sound, or what is wrong with them; return which."""
    place = project.folder()
    if place is None or not (place / deployment.CONFIG).is_file():
        return True
    if problems := deployment.problems():
        print("\n".join(problems), file=sys.stderr)
    else:
        print(f"{deployment.CONFIG}, {deployment.SIZES}: ok", file=file)
    return not problems


def document(one: Checked) -> dict[str, Any]:
    """Return what a look at a model has come to, for machines."""
    return {"sound": one.is_sound, **asdict(one)}
