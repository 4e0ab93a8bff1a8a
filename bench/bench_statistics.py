"""How long, and how much memory, the data-quality baseline takes, beside what else profiles a table.

    python -m bench.bench_statistics [--rows 1000000] [--rounds 3] [--write]

Contenders on the same rows of 12 columns, as preprocessing writes them, each in a process of its own, in turn:

parse      the floor: pyarrow reads the file into typed columns
baseline   us: processing/analyze_data_quality.py as a job runs it
whylogs    the peer: its profile, with a sketch of each column's quantiles, of pieces that pandas reads
polars     describe: mean, spread, extremes and quartiles, which it computes exactly and holds all rows for

Bounds: not slower than whylogs, and memory whatever the number of rows.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from bench.bench_preprocess import IMAGE_PYTHON, PEERS
from bench.processes import CACHE, ROOT, Run, measured
from bench.table import Row, finish

MAKES = [f"make {i}" for i in range(30)]
COLUMNS = {
    "price": {"type": "float"},
    "mileage": {"type": "float"},
    "cylinder": {"type": "integer"},
    "doors": {"type": "integer"},
    "year": {"type": "integer"},
    "litres": {"type": "float"},
    "cruise": {"type": "boolean"},
    "sound": {"type": "boolean"},
    "leather": {"type": "boolean"},
    "make": {"type": "string"},
    "body": {"type": "string", "nullable": True},
    "dealer": {"type": "string"},
}
DEFINITION = {"problem": "regression", "target": "price", "columns": COLUMNS, "quality": {"max_categories": 100}}
ROWS_AT_ONCE = 100_000

PARSE = """
import sys, pyarrow.csv
assert sum(batch.num_rows for batch in pyarrow.csv.open_csv(sys.argv[1])) == int(sys.argv[2])
"""

WHYLOGS = """
import sys, pandas, whylogs
pieces = pandas.read_csv(sys.argv[1], chunksize=100_000)
profile = whylogs.log(pandas=next(pieces)).profile()
for piece in pieces:
    profile.track(piece)
assert profile.view().to_pandas()["counts/n"].max() == int(sys.argv[2])
"""

POLARS = """
import sys, polars
rows = polars.read_csv(sys.argv[1])
rows.describe()
assert len(rows) == int(sys.argv[2])
"""


def write(path: Path, count: int) -> None:
    """Write used cars as the preprocessing job does: a header, nothing for a missing value, as in one body of ten."""
    random = np.random.default_rng(1)

    def rows(count: int) -> pa.Table:
        numbers = {
            "price": random.lognormal(9.8, 0.4, count).round(2),
            "mileage": random.gamma(4, 5_000, count).round(1),
            "cylinder": random.choice([4, 6, 8], count),
            "doors": random.choice([2, 4], count),
            "year": random.integers(1990, 2026, count),
            "litres": random.choice([1.6, 2.2, 3.1, 5.7], count),
            **{name: random.integers(0, 2, count) for name in ("cruise", "sound", "leather")},
        }
        body = pa.array(random.choice(["sedan", "coupe", "wagon"], count), mask=random.random(count) < 0.1)
        dealers = np.char.add("dealer ", random.integers(0, 2_000, count).astype(str))
        return pa.table({**numbers, "make": random.choice(MAKES, count), "body": body, "dealer": dealers})

    options = pa_csv.WriteOptions(quoting_style="needed")
    with pa_csv.CSVWriter(path, rows(1).schema, write_options=options) as writer:
        for start in range(0, count, ROWS_AT_ONCE):
            writer.write_table(rows(min(ROWS_AT_ONCE, count - start)))


def main(argv: Sequence[str] | None = None) -> int:
    """Run the contenders in turn, print what they took, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmark.md")
    arguments = parser.parse_args(argv)
    os.environ["WHYLOGS_NO_ANALYTICS"] = "True"  # it would tell its makers
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=CACHE) as folder:
        commands = prepare(Path(folder), arguments.rows)
        runs: dict[str, list[Run]] = {name: [] for name in commands}
        for _ in range(arguments.rounds):
            for name, command in commands.items():
                runs[name].append(measured(command, PEERS if name in ("whylogs", "polars") else ROOT))
                shutil.rmtree(Path(folder) / "output", ignore_errors=True)
    return report(arguments.rows, runs, write=arguments.write)


def prepare(folder: Path, count: int) -> dict[str, list[str]]:
    """Write the rows, and return how each contender is started."""
    data = folder / "data" / "part-00000.csv"
    data.parent.mkdir()
    write(data, count)
    (folder / "config.json").write_text(json.dumps({"definition": DEFINITION}), encoding="utf-8")
    paths = {"config": "config.json", "baseline-data": "data", "output": "output", "message": "message"}
    script = str(ROOT / "processing" / "analyze_data_quality.py")
    job = [str(IMAGE_PYTHON), script, *(f"--{option}={folder / name}" for option, name in paths.items())]
    others = {"parse": PARSE, "whylogs": WHYLOGS, "polars": POLARS}
    commands = {name: [str(IMAGE_PYTHON), "-c", code, str(data), str(count)] for name, code in others.items()}
    return {"parse": commands["parse"], "baseline": job, **commands}


def report(count: int, runs: dict[str, list[Run]], *, write: bool) -> int:
    """Print the table and return the exit code."""

    def row(what: str, unit: str, of: Callable[[Run], float]) -> Row:
        floor, us, whylogs, polars = (statistics.median(of(run) for run in some) for some in runs.values())
        return Row(what, us, unit, floor, {"whylogs": whylogs}, others={"polars, describe": polars})

    table = [
        row("median", "s", lambda run: run.seconds),
        row("processor time", "s", lambda run: run.processor_seconds),
        row("memory", "MiB", lambda run: run.mebibytes),
    ]
    rounds = len(runs["baseline"])
    text = (
        f"The data-quality baseline, {len(COLUMNS)} columns, medians of {rounds} runs. Floor: the file is only parsed."
    )
    return finish(f"statistics {count:,} rows", text, table, write, "pyarrow")


if __name__ == "__main__":
    sys.exit(main())
