"""One column of a definition, as reading and serving need it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from perennial.features.grammar import EXPECTED
from perennial.features.parsing import PLAIN, Parsing


@dataclass(frozen=True)
class Column:
    """One column of the definition; `minimum` and `maximum` are allowed values themselves.

    sources   its names in files; its own name where none of them is there; in any spelling (features.column_names)
    own_name  its name in its definition, where that is another
    optional  it belongs to another contract than the file is judged by: it may be absent from the file, and may share
              a column of the file with others
    period    what its values have to be, in words, where they are the times of series
    logarithm it is the target of a model that learns its logarithm, so that it must be above 0
    """

    name: str
    type: str
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[str, ...] | None = None
    nullable: bool = False
    feature: bool = True
    sources: tuple[str, ...] = ()
    parsing: Parsing = PLAIN
    optional: bool = False
    logarithm: bool = False
    own_name: str = ""
    period: str = ""

    @classmethod
    def from_definition(
        cls, name: str, column: Mapping[str, Any], *, required: bool, feature: bool, logarithm: bool = False
    ) -> Column:
        categories, source = column.get("categories"), column.get("source")
        return cls(
            name=name,
            type=column["type"],
            minimum=column.get("min"),
            maximum=column.get("max"),
            categories=tuple(categories) if categories else None,
            nullable=bool(column.get("nullable")) and not required,
            feature=feature,
            sources=(source,) if isinstance(source, str) else tuple(source or ()),
            parsing=Parsing.from_json(column.get("parse")),
            logarithm=logarithm,
        )

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Column:
        """Return the column that `as_json` wrote."""
        return cls(
            name=document["name"],
            type=document["type"],
            nullable=document["nullable"],
            sources=tuple(document.get("sources", ())),
            parsing=Parsing.from_json(document.get("parse")),
        )

    def as_json(self) -> dict[str, Any]:
        """Return the column as serving needs it."""
        return {
            "name": self.name,
            "type": self.type,
            "nullable": self.nullable,
            "sources": list(self.sources),
            "parse": self.parsing.as_json(),
        }

    @property
    def is_open_text(self) -> bool:
        """Whether it is a text column of any categories."""
        return self.type == "string" and self.categories is None

    @property
    def names_in_files(self) -> tuple[str, ...]:
        return (*self.sources, self.own_name or self.name)

    @property
    def expected(self) -> str:
        """What a value of the column has to be."""
        return self.parsing.expected(self.type) or EXPECTED[self.type]
