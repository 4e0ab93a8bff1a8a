"""Matching the names in a file or a request with the columns of a definition.

A name is taken as it is written, and where that finds nothing, without regard to case, blanks, hyphens and underscores.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from types import MappingProxyType

from perennial.features.column import Column
from perennial.words import quoted, spelling

_INDEX = re.compile(r"Unnamed: \d+((\.\d+)+|_level_\d+)?|__index_level_\d+__")


def is_index(name: str) -> bool:
    """Return whether a name is that of a numbering, which programs write beside the data (R, pandas)."""
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
    matched = _match(header, [column for column in columns if not column.optional])
    for column in columns:
        if column.optional:
            alone = _match(header, [column])
            matched.positions |= alone.positions if not alone.collisions else {}
    return matched


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
            result.collisions.append(f"column {quoted(header[position])} may be {' or '.join(names)}")
    return result


def _first_names(column: Column) -> Sequence[str]:
    """Its sources; its own name is looked for where none of them is found."""
    return column.sources or column.names_in_files


def _at(names: Iterable[str], where: Mapping[str, Sequence[int]]) -> list[int]:
    return [position for name in dict.fromkeys(names) for position in where.get(name, [])]


def _too_many(column: Column, names: Sequence[str]) -> str:
    if len(set(names)) == 1:
        return f"column {quoted(names[0])} stands more than once"
    return f"columns {' and '.join(quoted(name) for name in names[:5])} are all column '{column.name}'"


@dataclass
class Named:
    """What the names of a record mean.

    fields   the name of each feature that is there
    unknown  names that mean no column, or not one alone, and are not passed over
    twice    (a name, another one, the feature that both are)
    """

    fields: dict[str, str] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    twice: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class Header:
    """The names in the first line of a request, and which of them each feature has that is there."""

    names: Sequence[str]
    fields: Mapping[str, str]

    def place(self, feature: str) -> int | None:
        """Return the position of a feature; None: it is not there."""
        return self.names.index(self.fields[feature]) if feature in self.fields else None


class RequestNames:
    """The names that callers may use: those that files may, so that a row of a file is a record.

    passed_over  the columns of a definition that are no features, each with its sources
    ignore       whether names of no column are passed over as well
    """

    def __init__(
        self,
        features: Iterable[Column],
        passed_over: Mapping[str, Sequence[str]] = MappingProxyType({}),
        *,
        ignore: bool = False,
    ) -> None:
        sources = {column.name: column.sources for column in features}
        self._features, self._ignore = frozenset(sources), ignore
        # A name as it is written, and in other spellings: columns, each with a rank. Of several names of a column in
        # one record that of the lowest rank counts: its sources, then their other spellings, then the same of its own.
        self._exact: dict[str, tuple[str, int]] = {}
        self._loose: dict[str, dict[str, int]] = {}
        for column, names in {**passed_over, **sources}.items():
            for rank, name in (*((0, source) for source in names), (2, column)):
                self._exact[name] = (column, rank)
                self._loose.setdefault(spelling(name), {}).setdefault(column, rank + 1)

    def column(self, name: str) -> str | None:
        """Return the column that a name means; None: no column, or not one alone."""
        meant = self._meaning(name)
        return meant[0] if meant else None

    def has_number(self) -> bool:
        """Return whether a number may be one of the names."""
        return any(spelling(name)[:1].isdigit() for name in self._exact)

    def of(self, names: Iterable[str]) -> Named:
        """Return what the names of a record mean."""
        result = Named()
        places: dict[str, list[tuple[int, str]]] = {}
        for name in names:
            meant = self._meaning(name)
            if meant:
                places.setdefault(meant[0], []).append((meant[1], name))
            elif not is_index(name) and not (self._ignore and spelling(name) not in self._loose):
                result.unknown.append(name)
        for column in (column for column in places if column in self._features):
            (rank, best), *others = sorted(places[column], key=itemgetter(0))
            result.fields[column] = best
            if others and (others[0][0] == rank or not self._ignore):
                result.twice.append((best, others[0][1], column))
        return result

    def _meaning(self, name: str) -> tuple[str, int] | None:
        if name in self._exact or is_index(name):
            return self._exact.get(name)
        columns = self._loose.get(spelling(name), {})
        return next(iter(columns.items())) if len(columns) == 1 else None
