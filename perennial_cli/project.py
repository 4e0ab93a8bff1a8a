"""The folder of the project, which holds the template, the models and the environments of the laptop."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from perennial_cli.console import CommandError, WrongUseError, notice

MARKS = ("template.yaml", "statemachines", "localcloud")
HOME = "PERENNIAL_HOME"


def folder() -> Path | None:
    """Return the project's folder: PERENNIAL_HOME, or the nearest one around the working folder."""
    if home := os.environ.get(HOME):
        return Path(home).resolve()
    here = Path.cwd()
    return next((one for one in (here, *here.parents) if all((one / mark).exists() for mark in MARKS)), None)


def required() -> Path:
    """Return the project's folder. Raises CommandError: there is none."""
    project = folder()
    if project is None:
        raise CommandError(
            f"this needs the folder of the project, and {Path.cwd()} is not in one; go there (cd), or name it: "
            f"export {HOME}=/path/to/perennial"
        )
    return project


def models() -> Path:
    """Return the folder of the models: the project's, or one of the working folder."""
    return (folder() or Path.cwd()) / "models"


def all_models() -> list[Path]:
    """Return the folders of all models, those without a definition among them."""
    return sorted(path for path in models().iterdir() if path.is_dir() and path.name[0] not in "._")


def model_folder(name: str) -> Path:
    """Return a model's folder, by its name or path. Raises WrongUseError, which names those that exist."""
    path = Path(name)
    if (path / "model.yaml").is_file():
        return path
    path = models() / name
    if (path / "model.yaml").is_file():
        return path
    known = sorted(one.parent.name for one in models().glob("*/model.yaml"))
    raise WrongUseError(
        f"there is no {path / 'model.yaml'}. Models are: {', '.join(known) or 'none'}; `perennial init FILE` makes one"
    )


def program(*parts: str) -> Path:
    """Return a program of the project's environments, which are installed first if they are not there."""
    project = required()
    path = project.joinpath(".venvs", *parts)
    if not path.exists():
        target = f".venvs/{parts[0]}/.installed" if parts[0] == "notebooks" else "install"
        notice("installing the project's environments into .venvs/ (once; some minutes)")
        ended = subprocess.run(["make", target], cwd=project, check=False)
        if ended.returncode or not path.exists():
            raise CommandError(f"`make {target}` in {project} failed, so that there is no {path}; its output is above")
    return path
