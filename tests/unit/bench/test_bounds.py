"""What docs/benchmark.md promises is what bench/bounds.py holds `make bench` to: none is loosened without the other."""

import re

import pytest

from bench import table
from bench.bounds import BOUNDS
from bench.table import Row

SECTIONS = dict(re.findall(r"<!-- bench: (.+?) -->(.*?)<!-- end -->", table.PAGE.read_text(), re.DOTALL))
UNPUBLISHED = {"window of many"}
OTHERS = {"us", "polars, describe", "next run"}  # columns of tables that are no peers


def rows_of(section: str) -> tuple[list[Row], dict[str, list[str]]]:
    """The rows of a table as they were measured, and the words of the bounds that it shows, by label."""
    lines = [line.strip("|").split("|") for line in re.findall(r"^\| .*$", section, re.MULTILINE)]
    head, *cells = [[cell.strip() for cell in line] for line in lines]
    rows, bounds = [], {}
    for line in cells:
        values = {name: float(cell.replace(",", "")) for name, cell in zip(head[1:-2], line[1:-2], strict=True) if cell}
        peers = {name: value for name, value in values.items() if name not in OTHERS and "floor" not in name}
        rows.append(Row(line[0], values["us"], "", peers=peers))
        bounds[line[0]] = line[-2].split()
    return rows, bounds


@pytest.mark.parametrize("name", SECTIONS)
def test_the_page_shows_each_bound_that_a_benchmark_is_held_to(name: str) -> None:
    rows, shown = rows_of(SECTIONS[name])
    bounds = BOUNDS[table.kind(name)]
    for row in table.bounded(rows, bounds):
        value = row.most if row.most is not None else row.least
        words = [] if value is None else ["at", "most" if row.most is not None else "least"]
        assert shown[row.label][:2] == words, row.label
        if value is not None:  # the page has three digits of it, and of what it is reckoned by
            assert float(shown[row.label][2].replace(",", "")) == pytest.approx(value, rel=0.011), row.label
    assert table.unmeasured(rows, bounds) == []


@pytest.mark.parametrize("name", sorted(SECTIONS.keys() - {"drift"}))
def test_memory_is_bounded_in_each_table(name: str) -> None:
    assert any("memory" in label and label.endswith(", MiB") for label in BOUNDS[table.kind(name)])


def test_each_benchmark_that_has_bounds_has_a_table() -> None:
    assert set(map(table.kind, SECTIONS)) == BOUNDS.keys() - UNPUBLISHED
