"""What benchmarks print: a table with the floor, us and peers of the same run, and what may not be exceeded.

Each benchmark calls `finish`, which puts to its rows the bounds that `bench.bounds` has of it, prints them, writes them
into docs/benchmark.md if asked, and returns the exit code.

    python -m bench.table FILE

prints as one table what the benchmarks of one `make bench` have left in a file, which BENCH_ROWS names to them.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from operator import itemgetter
from pathlib import Path

from bench.bounds import BOUNDS, PEER, Bound

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmark.md"
HEADER = ("benchmark", "", "floor", "us", "best peer", "bound", "")


@dataclass(frozen=True)
class Row:
    """One measure, in one unit; None is what was not measured, or has no bound.

    `peers` do the same work, by name; `others` are shown beside them, and do another. `most` and `least` bound `us`;
    `finish` puts them there.
    """

    what: str
    us: float
    unit: str
    floor: float | None = None
    peers: Mapping[str, float | None] = field(default_factory=dict)
    others: Mapping[str, float | None] = field(default_factory=dict)
    most: float | None = None
    least: float | None = None

    @property
    def label(self) -> str:
        """What it is called in tables and among bounds."""
        return f"{self.what}, {self.unit}" if self.unit else self.what

    @property
    def missed(self) -> bool:
        """Whether a bound is exceeded."""
        over = self.most is not None and self.us > self.most
        return over or (self.least is not None and self.us < self.least)

    @property
    def best_peer(self) -> tuple[str, float] | None:
        """The best of the peers and its name: the one with the most a second, or the least of all else."""
        measured = [(name, value) for name, value in self.peers.items() if value is not None]
        choose = max if "a second" in self.what else min
        return choose(measured, key=itemgetter(1)) if measured else None

    @property
    def verdict(self) -> tuple[str, str]:
        """The bound in words, and whether it is met."""
        most, least = (value is not None for value in (self.most, self.least))
        bound = f"at most {_number(self.most)}" if most else f"at least {_number(self.least)}" if least else ""
        return bound, ("missed" if self.missed else "met") if bound else ""


def bounded(rows: Sequence[Row], bounds: Mapping[str, Bound]) -> list[Row]:
    """Return the rows with their bounds. Raises ValueError: one is by what was not measured."""
    us = {row.label: row.us for row in rows}

    def one(row: Row) -> Row:
        bound = next((bound for label, bound in bounds.items() if fnmatchcase(row.label, label)), None)
        if bound is None:
            return row
        value = bound.number
        if bound.times:
            best = row.best_peer[1] if row.best_peer else None
            other = {**us, **row.peers, PEER: best}.get(bound.of)
            if other is None:
                raise ValueError(f"{row.label!r} is bound by {bound.of!r}, which was not measured")
            value += bound.times * other
        return replace(row, least=value) if bound.least else replace(row, most=value)

    return [one(row) for row in rows]


def unmeasured(rows: Sequence[Row], bounds: Mapping[str, Bound]) -> list[str]:
    """Return the bounds that no row has."""
    return [label for label in bounds if not any(fnmatchcase(row.label, label) for row in rows)]


def kind(name: str) -> str:
    """Return the name of a table without its number of rows."""
    return re.sub(r" [\d,]+ rows$", "", name)


def finish(name: str, text: str, rows: Sequence[Row], write: bool, floor: str = "") -> int:
    """Print text and table, put both between the page's marks of `name` if `write`, and return the exit code.

    That is 1 when a bound is missed, or has no row. `floor` says what the floor does.
    """
    bounds = BOUNDS[kind(name)]
    rows = bounded(rows, bounds)
    text = f"{text.rstrip()} Measured on {os.cpu_count()} cores."
    content = f"{text}\n\n{markdown(rows, floor)}"
    print(f"\n{content}")
    if path := os.environ.get("BENCH_ROWS"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps([name, *_named(row, floor)]) + "\n" for row in rows)
    if write:
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(replaced(page, name, content), encoding="utf-8")
    absent = unmeasured(rows, bounds)
    for label in absent:
        print(f"missed: {label!r} has a bound and was not measured")
    return int(bool(absent) or any(row.missed for row in rows))


def markdown(rows: Sequence[Row], floor: str = "") -> str:
    """Return the table, which a terminal shows straight as well; it has no column for what no row has."""
    names = [*dict.fromkeys(name for row in rows for name in row.peers)]
    names += [*dict.fromkeys(name for row in rows for name in row.others)]
    floors = any(row.floor is not None for row in rows)
    lines = [("", *([f"floor: {floor}" if floor else "floor"] * floors), "us", *names, "bound", "")]
    for row in rows:
        values = {**row.peers, **row.others}
        cells = [*([row.floor] * floors), row.us, *(values.get(name) for name in names)]
        lines.append((row.label, *map(_number, cells), *row.verdict))
    return _aligned(lines)


def _named(row: Row, floor: str) -> list[str]:
    """Return the cells of a row among those of other tables: floor and best peer with their names."""
    name, peer = row.best_peer or ("", None)
    named = (f"{_number(value)} {name}".strip() for name, value in ((floor, row.floor), (name, peer)))
    of_floor, of_peer = (
        cell if value is not None else "" for cell, value in zip(named, (row.floor, peer), strict=True)
    )
    return [row.label, of_floor, _number(row.us), of_peer, *row.verdict]


def together(path: Path) -> str:
    """Return as one table the rows that benchmarks have left in a file, each after the name of its benchmark."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return _aligned([HEADER, *rows])


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    padded = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    return "\n".join([padded[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *padded[1:]])


def replaced(page: str, name: str, content: str) -> str:
    """Return the page with other content between `<!-- bench: name -->` and `<!-- end -->`. Raises ValueError."""
    mark, end = f"<!-- bench: {name} -->\n", "<!-- end -->"
    before, begun, rest = page.partition(mark)
    _, ended, after = rest.partition(end)
    if not (begun and ended):
        raise ValueError(
            f"{PAGE.name} has no place for {name!r}; expected {mark.strip()} and {end} on lines of their own"
        )
    return f"{before}{mark}\n{content}\n\n{end}{after}"


def _number(value: float | None) -> str:
    """Three digits that count."""
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    print(f"\n{together(Path(sys.argv[1]))}")
