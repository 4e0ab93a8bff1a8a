"""Check every models/<name>/model.yaml as a deployment does: `python -m tools.check_models [folder]`."""

from __future__ import annotations

import sys
from pathlib import Path

from perennial import definition
from perennial.problems import ConfigurationError

MODELS = Path(__file__).resolve().parents[1] / "models"


def main(argv: list[str] | None = None) -> int:
    """Print file, field and what is allowed for every definition that is wrong; return how many there are."""
    (folder,) = [Path(given) for given in (sys.argv[1:] if argv is None else argv)] or [MODELS]
    files = sorted(folder.glob("*/model.yaml"))
    if not files:
        print(f"{folder} holds no <name>/model.yaml", file=sys.stderr)
        return 1
    return sum(_is_wrong(path) for path in files)


def _is_wrong(path: Path) -> bool:
    try:
        definition.load(path)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return True
    return False


if __name__ == "__main__":
    sys.exit(main())
