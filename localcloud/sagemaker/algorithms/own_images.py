"""Images of one's own: commands of this machine stand in for them, as `<state>/images.json` says.

    {"images/trees": {"train": ["python", "/home/me/trees.py", "train"], "serve": ["/home/me/env/bin/serve-trees"]}}

A name is that of a repository, or `<repository>@sha256:<digest>` for one image of it, which goes before the other. The
file is read whenever an image is named. `python` is the interpreter that stands in for AWS's images; any other command
is one of this machine, such as the Python of an environment of its own. In a command /opt/ml stands for the folder of
the job or the container, which the program also finds in the variable OPT_ML.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from localcloud.sagemaker.algorithms.stand_in import SERVING_PROGRAMS, StandIn
from localcloud.sagemaker.errors import invalid

FILE = "images.json"
_URI = re.compile(r"[^/]+/(?P<repository>[^@:]+)(:[^@]+)?(@(?P<digest>sha256:[0-9a-f]{64}))?")
_COMMANDS = ("train", "serve")
EXAMPLE = '{"<repository>": {"train": ["python", "/path/program.py", "train"], "serve": [...]}}'


def own_image(image_uri: str, state: Path) -> StandIn | None:
    """Return what stands in for an image of one's own; None for one that images.json does not name.

    Raises ServiceError: images.json is not as it should be.
    """
    uri, path = _URI.fullmatch(image_uri), state / FILE
    if not uri or not path.is_file():
        return None
    known = _read(path)
    for name in (f"{uri['repository']}@{uri['digest']}", uri["repository"]):
        if name in known:
            commands = known[name]
            serves = SERVING_PROGRAMS / "own_serve.py"
            return StandIn(uri["repository"], serves, own={one: tuple(commands[one]) for one in _COMMANDS})
    return None


def _read(path: Path) -> dict[str, dict[str, list[str]]]:
    try:
        known: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise invalid(f"{path} cannot be read as JSON ({error}); expected {EXAMPLE}.") from error
    entries = known.items() if isinstance(known, dict) else [("", known)]
    for name, commands in entries:
        if not (isinstance(commands, dict) and all(_is_command(commands.get(one)) for one in _COMMANDS)):
            raise invalid(f"{path}: {name!r} is {json.dumps(commands)[:200]}; expected {EXAMPLE}.")
    return dict(known)


def _is_command(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, str) for part in value)
