"""Names of columns and models, made of those that files have."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from perennial.model.folder import LONGEST_NAME
from perennial.words import spelling

LONGEST = 64


def column_names(headers: Sequence[str]) -> dict[str, str]:
    """Return a name of a definition for each header, in their order: lower-case, and no two alike."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for position, header in enumerate(headers, start=1):
        name = base = _snake(header) or f"column_{position}"
        number = 2
        while spelling(name) in taken:
            name, number = f"{base[: LONGEST - 4]}_{number}", number + 1
        taken.add(spelling(name))
        names[header] = name
    return names


def needs_source(name: str, header: str, headers: Sequence[str]) -> bool:
    """Return whether a definition has to say what files call a column."""
    alike = sum(spelling(other) == spelling(header) for other in headers)
    return spelling(name) != spelling(header) or alike > 1


def model_name(stem: str) -> str:
    """Return a name for the folder of a model, from a file's."""
    return _snake(stem.split(".")[0]).replace("_", "-")[:LONGEST_NAME].rstrip("-") or "model"


def _snake(text: str) -> str:
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    parted = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", plain)
    words = re.sub(r"[^a-z0-9]+", "_", parted.lower()).strip("_")
    return words[:LONGEST].rstrip("_") if not words[:1].isdigit() else f"c_{words}"[:LONGEST]
