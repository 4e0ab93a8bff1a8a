"""How long people wait for the command, before it does anything and with `perennial try`.

    python -m bench.bench_command [--rounds 9] [--write]

Each command is a program of its own, as a shell starts it. Medians of its processor time: it works in one thread, so
that nobody waits less, and of the most memory that it has. The floor is a program that imports the libraries that the
command needs, and does nothing. Exits with 1 when a bound is missed.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.processes import Run, measured
from bench.table import Row, finish
from tools import synthetic

ROOT = Path(__file__).resolve().parents[1]
ROWS, MORE_ROWS = 10_000, 100_000
COMPLETION = {"_PERENNIAL_COMPLETE": "complete_bash", "COMP_WORDS": "perennial re", "COMP_CWORD": "1"}
LIST = "import typer, typer.rich_utils"
FIT = f"{LIST}, yaml, pydantic; from perennial_cli import quick_fit; quick_fit.import_lean()"

Program = tuple[Sequence[str], Mapping[str, str]]
"""Words for Python, and environment variables beside those that there are."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", action="store_true", help="write the section of docs/benchmark.md")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        few, many = (_try(_cars(Path(folder), rows)) for rows in (ROWS, MORE_ROWS))
        # Each with its floor; in turn, because the machine has others to serve.
        lines: dict[str, tuple[Program, Program]] = {
            "the list of commands": (_command("--help"), _imports(LIST)),
            "a completion": ((["-m", "perennial_cli"], COMPLETION), _imports(LIST)),
            "`perennial try --help`": (_command("try", "--help"), _imports(LIST)),
            f"`perennial try`, {ROWS:,} rows": (few, _imports(FIT)),
            f"`perennial try`, {MORE_ROWS:,} rows": (many, _imports(FIT)),
        }
        runs: dict[str, list[tuple[Run, Run]]] = {what: [] for what in lines}
        for _ in range(arguments.rounds):
            for what, (program, floor) in lines.items():
                runs[what].append((_run(floor), _run(program)))

    def row(what: str, unit: str, of: Callable[[Run], float]) -> Row:
        floor, us = (statistics.median(map(of, some)) for some in zip(*runs[what.split(": ")[0]], strict=True))
        return Row(what, us, unit, floor)

    rows = [row(what, "s", lambda run: run.processor_seconds) for what in lines]
    rows += [row(f"{what}: memory", "MiB", lambda run: run.mebibytes) for what in lines]
    text = f"Processor time of commands, medians of {arguments.rounds} rounds. Floor: the libraries that it imports."
    return finish("command", text, rows, arguments.write, "imports")


def _command(*words: str) -> Program:
    return ["-m", "perennial_cli", *words], {}


def _try(file: Path) -> Program:
    return _command("try", str(ROOT / "models/used-cars"), "--file", str(file))


def _imports(text: str) -> Program:
    return ["-c", text], {}


def _cars(folder: Path, rows: int) -> Path:
    path = folder / f"cars-{rows}.csv"
    with path.open("wb") as file:
        file.writelines(synthetic.batches(rows, seed=42))
    return path


def _run(program: Program) -> Run:
    words, variables = program
    return measured([sys.executable, *words], variables=variables)


if __name__ == "__main__":
    sys.exit(main())
