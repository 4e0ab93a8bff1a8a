"""What a definition says about series in files: which columns are what of DeepAR's records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perennial.model.series import category_columns, dynamic_columns


@dataclass(frozen=True)
class SeriesForm:
    """The columns of series by what they are, in the order of the definition.

    categories  the columns of `cat` with their categories, which its numbers count from 0
    dynamic     those of `dynamic_feat`
    """

    key: str
    time: str
    target: str
    frequency: str
    categories: tuple[tuple[str, tuple[str, ...]], ...] = ()
    dynamic: tuple[str, ...] = ()

    @classmethod
    def from_definition(cls, definition: Mapping[str, Any]) -> SeriesForm | None:
        """Return the form of a resolved definition's series; None where it has none."""
        if not (section := definition.get("series")):
            return None
        categories = tuple((name, tuple(names)) for name, names in category_columns(definition).items())
        dynamic = tuple(dynamic_columns(definition))
        return cls(section["key"], section["time"], definition["target"], section["frequency"], categories, dynamic)
