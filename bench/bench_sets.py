"""What the set that trains would be as Parquet, beside the CSV that it is: bytes, writing it, and XGBoost reading it.

    python -m bench.bench_sets [--rows 1000000] [--rounds 3] [--write]

Preprocessing writes the sets of generated used cars (bench_preprocess). The numbers of train/ are then written in both
forms by one process, and read by XGBoost, in turn, in processes of their own: CSV by its own reader, Parquet as an
array by way of pandas. Nothing is boosted. Preprocessing has the texts of flags and categories by then, and writes CSV
in less. Decision 59 has been made by this.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.bench_preprocess import IMAGE_PYTHON, command, data_file
from bench.processes import CACHE, ROOT, Run, measured
from bench.table import Row, finish

FORMS = ("csv", "parquet")

WRITE = """
import json, os, pathlib, sys, time
import pyarrow as pa, pyarrow.csv as pa_csv, pyarrow.parquet as pq
from perennial.features.lines import csv_field, csv_lines
source, csv, parquet = map(pathlib.Path, sys.argv[1:])
csv.mkdir(); parquet.mkdir()
took = {"csv": 0.0, "parquet": 0.0}
for part in sorted(source.iterdir()):
    with part.open() as file:
        names = [f"f{number}" for number in range(len(file.readline().split(",")))]
    types = dict.fromkeys(names, pa.float64())
    read, convert = pa_csv.ReadOptions(column_names=names), pa_csv.ConvertOptions(column_types=types)
    rows = pa_csv.read_csv(part, read_options=read, convert_options=convert).combine_chunks()
    began = time.process_time()
    (csv / part.name).write_bytes(csv_lines([csv_field(column.chunk(0)) for column in rows.columns]))
    written = time.process_time()
    pq.write_table(rows, parquet / f"{part.stem}.parquet")
    took["csv"] += written - began
    took["parquet"] += time.process_time() - written
    assert (csv / part.name).stat().st_size == part.stat().st_size
print(json.dumps(took))
"""

READ_CSV = """
import sys, xgboost
matrix = xgboost.DMatrix(f"{sys.argv[1]}?format=csv&label_column=0")
assert matrix.num_row() == int(sys.argv[2])
"""

READ_PARQUET = """
import sys, pyarrow.parquet as pq, xgboost
rows = pq.read_table(sys.argv[1]).to_pandas().to_numpy()
matrix = xgboost.DMatrix(rows[:, 1:], label=rows[:, 0])
assert matrix.num_row() == int(sys.argv[2])
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmark.md")
    arguments = parser.parse_args(argv)
    data = data_file(arguments.rows)
    os.environ["OMP_WAIT_POLICY"] = "passive"  # threads that spin take the time of others
    with tempfile.TemporaryDirectory(prefix="bench-", dir=CACHE) as folder:
        measured(command("preprocess", data, Path(folder), arguments.rows))
        sets = Path(folder) / "output"
        trained = json.loads((sets / "report" / "report.json").read_text())["sets"]["train"]
        folders = {form: Path(folder) / form for form in FORMS}
        wrote = written(sets / "train", folders)
        runs: dict[str, list[Run]] = {form: [] for form in FORMS}
        for _ in range(arguments.rounds):
            for form, code in zip(FORMS, (READ_CSV, READ_PARQUET), strict=True):
                runs[form].append(measured([str(IMAGE_PYTHON), "-c", code, str(folders[form]), str(trained)]))
        megabytes = {form: sum(part.stat().st_size for part in folders[form].iterdir()) / 1e6 for form in FORMS}
    return report(arguments.rows, trained, megabytes, wrote, runs, write=arguments.write)


def written(source: Path, folders: dict[str, Path]) -> dict[str, float]:
    """Write a set in both forms; return the processor time of each."""
    arguments = [str(IMAGE_PYTHON), "-c", WRITE, str(source), *(str(folders[form]) for form in FORMS)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(arguments, env=environment, check=True, capture_output=True)
    took: dict[str, float] = json.loads(done.stdout)
    return took


def report(
    rows: int,
    trained: int,
    megabytes: dict[str, float],
    wrote: dict[str, float],
    runs: dict[str, list[Run]],
    *,
    write: bool,
) -> int:
    """Print the table and return the exit code."""

    def row(what: str, unit: str, of: Callable[[str], float]) -> Row:
        return Row(what, of("csv"), unit, peers={"Parquet": of("parquet")})

    def median(of: Callable[[Run], float]) -> Callable[[str], float]:
        return lambda form: statistics.median(of(run) for run in runs[form])

    table = [
        row("files of the training set", "MB", megabytes.__getitem__),
        row("writing them, processor time", "s", wrote.__getitem__),
        row("XGBoost reads them, processor time", "s", median(lambda run: run.processor_seconds)),
        row("XGBoost reads them, memory", "MiB", median(lambda run: run.mebibytes)),
    ]
    text = f"{trained:,} rows train, of {rows:,}. Us: CSV. Beside it the same numbers as Parquet."
    return finish(f"sets {rows:,} rows", text, table, write)


if __name__ == "__main__":
    sys.exit(main())
