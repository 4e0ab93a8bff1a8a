"""How long people wait for the command, before it does anything and with `perennial try`.

    python -m bench.bench_command [--rounds 9] [--write]

Each command is a program of its own, as a shell starts it. Medians of its processor time: it works in one thread, so
that nobody waits less. The floor is a program that imports the libraries that the command needs, and does nothing.
Exits with 1 when a list of commands, or a try of ten thousand rows, takes longer than its bound.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.table import Row, finish
from tools import synthetic

ROOT = Path(__file__).resolve().parents[1]
ROWS, MORE_ROWS = 10_000, 100_000
COMPLETION = {"_PERENNIAL_COMPLETE": "complete_bash", "COMP_WORDS": "perennial re", "COMP_CWORD": "1"}
MOST_FOR_A_LIST, MOST_FOR_A_TRY = 0.4, 1.5
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
        # Each with its floor and its bound; in turn, because the machine has others to serve.
        lines: dict[str, tuple[Program, Program | None, float | None]] = {
            "the list of commands": (_command("--help"), _imports(LIST), MOST_FOR_A_LIST),
            "a completion": ((["-m", "perennial_cli"], COMPLETION), _imports(LIST), MOST_FOR_A_LIST),
            "`perennial try --help`": (_command("try", "--help"), None, None),
            f"`perennial try`, {ROWS:,} rows": (few, _imports(FIT), MOST_FOR_A_TRY),
            f"`perennial try`, {MORE_ROWS:,} rows": (many, _imports(FIT), None),
        }
        took: dict[tuple[str, bool], list[float]] = {}
        for _ in range(arguments.rounds):
            for what, (program, floor, _) in lines.items():
                took.setdefault((what, True), []).append(_seconds(program))
                took.setdefault((what, False), []).append(_seconds(floor) if floor else 0.0)
    median = {key: statistics.median(values) for key, values in took.items()}
    rows = [
        Row(what, median[what, True], "s", median[what, False] if floor else None, most=most)
        for what, (_, floor, most) in lines.items()
    ]
    text = (
        f"Processor time of commands, medians of {arguments.rounds} rounds. Floor: the imports of the libraries that "
        "it needs."
    )
    return finish("command", text, rows, arguments.write)


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


def _seconds(program: Program) -> float:
    """Return the processor seconds of a program that prints to nobody."""
    words, variables = program
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    with Path(os.devnull).open("r+") as nobody:
        actions = [(os.POSIX_SPAWN_DUP2, nobody.fileno(), number) for number in (0, 1, 2)]
        pid = os.posix_spawn(sys.executable, [sys.executable, *words], environment, file_actions=actions)
        _, status, used = os.wait4(pid, 0)
    if status:
        raise RuntimeError(f"{words} ended with {os.waitstatus_to_exitcode(status)}")
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
