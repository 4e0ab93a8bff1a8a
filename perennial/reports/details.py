"""Tables of what an analysis says of itself, whatever its shape: reports know none of its keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree.ElementTree import Element

from perennial.reports.page import pairs, table, text
from perennial.words import number

MAX_CELL = 120  # characters
MAX_COLUMNS = 14
DEEPEST = 3


def tables(details: Mapping[str, Any], title: str = "", depth: int = 0) -> Iterator[Element]:
    """Yield what is plain as one table, without what is empty, then each list and each group of entries as its own."""
    cells = {name: cell(value) for name, value in details.items() if not _is_nested(value)}
    plain = [(words(name), content) for name, content in cells.items() if content]
    if plain:
        yield pairs(plain, title)
    for name, value in details.items():
        if not value or not _is_nested(value):
            continue
        heading = f"{title}: {words(name)}" if title else words(name)
        entries = _entries(value)
        if entries:
            yield _entry_table(entries, heading)
        elif isinstance(value, Mapping) and depth < DEEPEST:
            yield from tables(value, heading, depth + 1)
        else:
            yield pairs([("", cell(value))], heading)


def words(name: object) -> str:
    """Return a key as words."""
    return text(name, MAX_CELL).replace("_", " ").replace(".", ", ")


def cell(value: Any) -> str:
    """Return a value for a cell."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, int | float):
        return number(value)
    if isinstance(value, list | tuple):
        return text(", ".join(cell(one) for one in value[:20]), MAX_CELL)
    return text(value, MAX_CELL)


def _is_nested(value: Any) -> bool:
    return isinstance(value, Mapping) or (
        isinstance(value, list) and any(isinstance(one, Mapping | list) for one in value)
    )


def _entries(value: Any) -> list[dict[str, Any]]:
    """Return the rows of what is a table: a list of groups, or groups by name. Nothing where it is none."""
    if isinstance(value, list) and all(isinstance(one, Mapping) for one in value):
        return [dict(_flat(one)) for one in value]
    if isinstance(value, Mapping) and len(value) > 1 and all(isinstance(one, Mapping) for one in value.values()):
        return [{"": name, **dict(_flat(one))} for name, one in value.items()]
    return []


def _flat(entry: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in entry.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", item) for inner, item in value.items())
        else:
            yield name, value


def _entry_table(entries: list[dict[str, Any]], title: str) -> Element:
    names = list(dict.fromkeys(name for entry in entries for name in entry))[:MAX_COLUMNS]
    return table(
        [words(name) for name in names], [[cell(entry.get(name)) for name in names] for entry in entries], title
    )
