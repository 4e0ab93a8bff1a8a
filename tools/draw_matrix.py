"""Write docs/failure-matrix.md from the tests: what has been made to go wrong, and how many cases prove it.

    python -m tools.draw_matrix [--check]

The cases are those that pytest collects with the mark `matrix` (tests/e2e/matrix/registry.py); nothing runs.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tools.terminal import run

ROOT = Path(__file__).resolve().parents[1]
REGISTRY = "from tests.e2e.matrix.registry import"  # what a file of unit tests with cases imports
TARGET = ROOT / "docs" / "failure-matrix.md"
HEAD = """# What may go wrong, and what then happens

Each line is done to a deployed stack on the local cloud by the end-to-end tests, which assert four things: how the run
ends; that the model in service, its names in Parameter Store and the data are as they were; that exactly one mail says
what failed, where, and what to do (none where no run began or there was no work); and that a later healthy drop works.

A run that ends while it deploys may leave something else: no endpoint, a failed one, another configuration than the
names say, names of two runs. The tests say which, and nobody puts it right: the next thing that happens there is a
healthy drop, which has to put its model into service and to write all names.

[Faults on purpose](faults.md) shows how to do the same to a stack of your own. Where the test is one of `tests/unit`,
only the part that decides was asked, not a stack. Of the API a line says which status its caller gets.

This file is written by `python -m tools.draw_matrix` from the tests.
"""


@dataclass(frozen=True)
class Case:
    """One collected test: a line of the matrix, what goes wrong, how the run ends, and the test's file."""

    line: str
    what: str
    ends: str
    file: str


class _Collector:
    """A pytest plugin that keeps the cases."""

    def __init__(self) -> None:
        self.cases: list[Case] = []

    def pytest_collection_finish(self, session: Any) -> None:
        for item in session.items:
            for mark in item.iter_markers("matrix"):
                line, what, ends = (*mark.args, "", "")[:3]
                self.cases.append(Case(line, what, ends, item.path.relative_to(ROOT).as_posix()))


def collect() -> list[Case]:
    """Return the cases of all tests. Raises RuntimeError when pytest cannot collect them."""
    collector, output = _Collector(), io.StringIO()
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # xdist and others have nothing to do here
    of_parts = [path for path in sorted((ROOT / "tests" / "unit").rglob("test_*.py")) if REGISTRY in path.read_text()]
    folders = map(str, [ROOT / "tests" / "e2e", *of_parts])
    arguments = ["--collect-only", "-q", "-p", "no:cacheprovider", "-p", "xdist", *folders]
    with contextlib.redirect_stdout(output):
        code = pytest.main(arguments, plugins=[collector])
    if code != 0:
        raise RuntimeError(f"pytest could not collect the tests:\n{output.getvalue()[-4000:]}")
    return collector.cases


def page(cases: Iterable[Case], lines: Sequence[str]) -> str:
    """Return the whole file."""
    counted = Counter(cases)
    total = sum(counted.values())
    parts = [HEAD, f"{total} cases.\n"]
    for line in lines:
        own = {case: number for case, number in counted.items() if case.line == line}
        if own:
            parts.append(f"## {line} ({sum(own.values())})\n")
            parts.append(_table(own))
    return "\n".join(parts)


def _table(cases: dict[Case, int]) -> str:
    rows = ["| what goes wrong | the run ends | cases | test |", "|---|---|---|---|"]
    for case, number in cases.items():
        file = Path(case.file).name
        rows.append(f"| {_cell(case.what)} | {_cell(case.ends)} | {number} | [{file}](../{case.file}) |")
    return "\n".join(rows) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main(argv: Sequence[str] | None = None) -> int:
    """Write the file, or with --check say whether it is what the tests say."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="only compare; exit code 1 when the file is stale")
    arguments = parser.parse_args(argv)
    from tests.e2e.matrix.registry import LINES

    text = page(collect(), LINES)
    if not arguments.check:
        TARGET.write_text(text, encoding="utf-8")
        print(TARGET.relative_to(ROOT))
        return 0
    if TARGET.is_file() and TARGET.read_text(encoding="utf-8") == text:
        return 0
    print(f"{TARGET.relative_to(ROOT)} is not what the tests say; run python -m tools.draw_matrix", file=sys.stderr)
    return 1


if __name__ == "__main__":
    run(main)
