"""Checking that the image has what a requirements.txt asks for: `<image python> requirements.py <path>`.

The containers install it before they run a script; here nothing is installed, and what is missing is named.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

if not __package__:  # started by its path, as a container starts its entrypoint
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from localcloud.sagemaker.errors import one_line


class MissingRequirementError(RuntimeError):
    """A package that is asked for is not there, or not in that version."""


def check_requirements(path: Path) -> None:
    """Raise MissingRequirementError for the first line that the image does not fulfil; without a file for none."""
    if not path.is_file():
        return
    lines = (line.split("#")[0].strip() for line in path.read_text("utf-8").splitlines())
    for line in filter(None, lines):
        name, _, wanted = line.partition("==")
        try:
            installed_version = version(name.strip())
        except PackageNotFoundError:
            installed_version = ""
        if line.startswith("-") or not installed_version or (wanted and wanted.strip() != installed_version):
            raise MissingRequirementError(
                f"{path.name} asks for {one_line(line)}, which the local image does not have; nothing is installed."
            )


if __name__ == "__main__":
    try:
        check_requirements(Path(sys.argv[1]))
    except MissingRequirementError as error:
        failure = Path(sys.argv[2])
        failure.write_text(f"ClientError: {error}", "utf-8")
        sys.exit(str(error))
