"""Which names of a file or a request are which columns of a definition.

A name is taken as it is written, and where that finds nothing, without regard to case, blanks, hyphens and underscores.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from perennial.column import Column
from perennial.values import shown

_INDEX = re.compile(r"Unnamed: \d+(_level_\d+)?|__index_level_\d+__")
_PASSED_OVER = re.compile(r"[\s_-]+")


def spelling(name: str) -> str:
    """Return what two spellings of a name have in common."""
    return _PASSED_OVER.sub("", name.casefold())


def is_index(name: str) -> bool:
    """Whether a name is that of a numbering, which programs write beside the data (R, pandas)."""
    return not name.strip() or _INDEX.fullmatch(name) is not None


@dataclass
class Matched:
    """Where the columns stand: positions in a header by column name, the columns that are absent, and collisions."""

    positions: dict[str, int] = field(default_factory=dict)
    absent: list[Column] = field(default_factory=list)
    collisions: list[str] = field(default_factory=list)


def match(header: Sequence[str], columns: Iterable[Column]) -> Matched:
    """Find each column in a header by the names that it has in files."""
    columns = list(columns)
    found = _match(header, [column for column in columns if not column.optional])
    for column in columns:
        if column.optional:
            alone = _match(header, [column])
            found.positions |= alone.positions if not alone.collisions else {}
    return found


def _match(header: Sequence[str], columns: Sequence[Column]) -> Matched:
    result = Matched()
    where: dict[str, list[int]] = {}
    for position, name in enumerate(header):
        where.setdefault(name, []).append(position)
    exact = {column.name: _at(_first_names(column), where) for column in columns}
    claimed = {position for positions in exact.values() for position in positions}
    loose: dict[str, list[int]] = {}
    for position, name in enumerate(header):
        if position not in claimed and not is_index(name):
            loose.setdefault(spelling(name), []).append(position)
    owners: dict[int, list[str]] = {}
    for column in columns:
        own = column.names_in_files[-1]
        positions = (
            exact[column.name]
            or _at(map(spelling, _first_names(column)), loose)
            or _at([own], where)
            or _at([spelling(own)], loose)
        )
        for position in positions:
            owners.setdefault(position, []).append(column.name)
        if not positions:
            result.absent.append(column)
        elif len(positions) > 1:
            result.collisions.append(_too_many(column, [header[position] for position in positions]))
        else:
            result.positions[column.name] = positions[0]
    for position, names in owners.items():
        if len(names) > 1:
            result.collisions.append(f"column {shown(header[position])} may be {' or '.join(names)}")
    return result


def _first_names(column: Column) -> Sequence[str]:
    """Its sources; its own name is looked for where none of them is found."""
    return column.sources or column.names_in_files


def _at(names: Iterable[str], where: Mapping[str, Sequence[int]]) -> list[int]:
    return [position for name in dict.fromkeys(names) for position in where.get(name, [])]


def _too_many(column: Column, names: Sequence[str]) -> str:
    if len(set(names)) == 1:
        return f"column {shown(names[0])} stands more than once"
    return f"columns {' and '.join(shown(name) for name in names[:5])} are all column '{column.name}'"


class RequestNames:
    """The names that callers may use for a model's features: the columns' own, those in files, and other spellings."""

    def __init__(self, columns: Iterable[Column]) -> None:
        columns = list(columns)
        self._exact = {source: column.name for column in columns for source in column.sources}
        self._exact |= {column.name: column.name for column in columns}
        self._loose: dict[str, set[str]] = {}
        for column in columns:
            for name in (column.name, *column.sources):
                self._loose.setdefault(spelling(name), set()).add(column.name)

    def column(self, name: str) -> str | None:
        """Return the column that a name means; None: no column, or not one alone."""
        if name in self._exact:
            return self._exact[name]
        names = self._loose.get(spelling(name), set())
        return next(iter(names)) if len(names) == 1 else None

    def of(self, names: Iterable[str]) -> Mapping[str, str]:
        """Return the column of each name that means one."""
        return {name: column for name in names if (column := self.column(name)) is not None}
