"""What benchmarks print: a table with the floor, us and a peer of the same run, and what may not be exceeded.

Each benchmark calls `finish`, which prints it, writes it into docs/benchmark.md if asked, and returns the exit code.

    python -m bench.table FILE

prints as one table what the benchmarks of one `make bench` have left in a file, which BENCH_ROWS names to them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmark.md"
HEADER = ("", "floor", "us", "peer", "bound", "")
PEER = HEADER.index("peer")


@dataclass(frozen=True)
class Row:
    """One measure, in one unit; None is what was not measured, or has no bound.

    `most` and `least` bound `us`. The peer is named in the text above the table; `others` are peers with columns of
    their own, whose names are given with the table.
    """

    what: str
    us: float
    unit: str
    floor: float | None = None
    peer: float | None = None
    most: float | None = None
    least: float | None = None
    others: Sequence[float] = ()

    @property
    def missed(self) -> bool:
        """Whether a bound is exceeded."""
        over = self.most is not None and self.us > self.most
        return over or (self.least is not None and self.us < self.least)

    @property
    def cells(self) -> tuple[str, ...]:
        """What the table shows, as the header says."""
        floor, us, *peers = (_number(value) for value in (self.floor, self.us, self.peer, *self.others))
        most, least = (value is not None for value in (self.most, self.least))
        bound = f"at most {_number(self.most)}" if most else f"at least {_number(self.least)}" if least else ""
        verdict = ("missed" if self.missed else "met") if bound else ""
        return f"{self.what}, {self.unit}" if self.unit else self.what, floor, us, *peers, bound, verdict


def finish(name: str, text: str, rows: Sequence[Row], write: bool, others: Sequence[str] = ()) -> int:
    """Print text and table, put both between the page's marks of `name` if `write`, and return the exit code."""
    text = f"{text.rstrip()} Measured on {os.cpu_count()} cores."
    content = f"{text}\n\n{markdown(rows, others)}"
    print(f"\n{content}")
    if path := os.environ.get("BENCH_ROWS"):
        with Path(path).open("a", encoding="utf-8") as file:
            file.writelines(json.dumps([name, *row.cells[: PEER + 1], *row.cells[-2:]]) + "\n" for row in rows)
    if write:
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(replaced(page, name, content), encoding="utf-8")
    return int(any(row.missed for row in rows))


def markdown(rows: Sequence[Row], others: Sequence[str] = ()) -> str:
    """Return the table, which a terminal shows straight as well; `others` are the names of more peers."""
    wanted = len(HEADER) + len(others)
    cells = [(*one[: PEER + 1], *[""] * (wanted - len(one)), *one[PEER + 1 :]) for one in (row.cells for row in rows)]
    return _aligned([(*HEADER[: PEER + 1], *others, *HEADER[PEER + 1 :]), *cells])


def together(path: Path) -> str:
    """Return as one table the rows that benchmarks have left in a file, each after the name of its benchmark."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return _aligned([("benchmark", *HEADER), *rows])


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
