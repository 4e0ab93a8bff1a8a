"""A model's own script on a sample: trained and asked as its training job does it, in the environment of the images.

Only the project's folder has that environment (`.venvs/image`, which `make install` makes): scikit-learn, pandas, NumPy
and XGBoost in the versions of AWS's images, which are not those of the command.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from perennial.evaluation.problem_types.measures import Floats
from perennial.model.algorithms.hyperparameter import as_text
from perennial.model.algorithms.ranges import is_range
from perennial.model.definition import Definition
from perennial_cli import project

LAST_LINES = 3
CHANNELS = ("train", "validation")


class ScriptFailedError(Exception):
    """The script fails as its training job would; the text says where."""


class NotTriedError(Exception):
    """There is no way to try it here; the text says why."""


@dataclass(frozen=True)
class Answers:
    """What the rows that it has learned from have as their target, those that validate, and its scores of those."""

    learned: Floats
    labels: Floats
    scores: Floats


def answers(definition: Definition, model: str, prepared: Path, models: Path, most: int) -> Answers:
    """Return what train.py makes of at most so many prepared rows. Raises ScriptFailedError, NotTriedError."""
    home = project.folder()
    python = home / ".venvs/image/bin/python" if home else None
    if home is None or python is None or not python.exists():
        where = f"is not installed in {home} (make install)" if home else "is in the project's folder, and this is none"
        raise NotTriedError(f"train.py is not run: the environment that stands in for its image {where}")
    with tempfile.TemporaryDirectory(prefix="perennial-script-") as folder:
        root, scores = Path(folder), Path(folder) / "scores.json"
        learned, labels = (_sample(prepared / name, root / "input/data" / name, most) for name in CHANNELS)
        _configure(root, definition, model)
        command = [str(python), "-m", "processing.train_script", "--root", str(root)]
        options = ["--models", str(models.resolve()), "--scores", str(scores)]
        variables = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(root), "LANG": "C.UTF-8"}
        ended = subprocess.run(
            [*command, *options],
            cwd=home,
            env={**variables, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if ended.returncode:
            raise ScriptFailedError(_reason(root, ended))
        if not scores.exists():
            raise NotTriedError(
                "train.py runs; its serve.py cannot be asked here (it imports what only AWS's images have)"
            )
        return Answers(learned, labels, np.array(json.loads(scores.read_text(encoding="utf-8")), np.float64))


def _reason(root: Path, ended: subprocess.CompletedProcess[bytes]) -> str:
    """Return what the job would say, or the last words of one that was killed."""
    failure = root / "output/failure"
    if failure.is_file():
        return failure.read_text(encoding="utf-8")
    last = "\n".join(ended.stdout.decode(errors="replace").strip().splitlines()[-LAST_LINES:])
    return f"train.py ended with exit code {ended.returncode}: {last}"


def _configure(root: Path, definition: Definition, model: str) -> None:
    """Write what a training job finds below /opt/ml; of a range its first value is taken."""
    own = definition.hyperparameters.get(definition.algorithm, {})
    documents: dict[str, Any] = {
        "input/data/config/config.json": {"model": model, "definition": definition.as_json()},
        "input/config/hyperparameters.json": {name: as_text(_one(value)) for name, value in own.items()},
        "input/config/resourceconfig.json": {"hosts": ["algo-1"], "current_host": "algo-1"},
        "input/config/inputdataconfig.json": {name: {} for name in (*CHANNELS, "config")},
    }
    for name, document in documents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(json.dumps(document), encoding="utf-8")
    for name in ("model", "output/data"):
        (root / name).mkdir(parents=True)


def _one(value: Any) -> Any:
    if not is_range(value):
        return value
    return value["min"] if isinstance(value, Mapping) else value[0]


def _sample(folder: Path, to: Path, most: int) -> Floats:
    """Write at most so many rows of a set into one part, the same ones each time; return their target."""
    rows = _rows(folder)
    header, content = next(rows), list(rows)
    if len(content) > most:
        chosen = np.random.default_rng(0).choice(len(content), most, replace=False)
        content = [content[position] for position in chosen]
    to.mkdir(parents=True)
    with (to / "part-00000.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([header, *content])
    return np.array([row[0] for row in content], np.float64)


def _rows(folder: Path) -> Iterator[list[str]]:
    """Yield the header and the rows of all parts of a set."""
    for number, path in enumerate(sorted(folder.glob("*.csv"))):
        with path.open(encoding="utf-8", newline="") as file:
            lines = csv.reader(file)
            header = next(lines)
            yield from chain([] if number else [header], lines)
