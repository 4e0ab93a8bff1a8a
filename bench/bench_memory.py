"""How much memory preprocessing needs of large files of each kind, with as many threads as it ever has.

    python -m bench.bench_memory [--rows 10000000] [--points 5000000] [--write]

The same used cars as in bench_preprocess, as CSV and as Parquet in one row group, in which nearly every row has a text
of its own; half as many rows of columns of one digit, as CSV, which have the most fields in a byte; and daily series
for a forecast, as CSV. EIGHT threads run, whatever cores there are: each has rows in memory.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.bench_preprocess import DEFINITION, IMAGE_PYTHON, data_file, job
from bench.processes import CACHE, EIGHT, Run, measured
from bench.table import Row, finish
from perennial.model import definition

DAYS = 2_000  # of each series
DIGITS = {f"c{number:02d}": {"type": "integer"} for number in range(40)}
DIGITS_AT_ONCE = 100_000  # rows
SERIES = """
problem: forecasting
target: sold
columns:
  shop: {type: string, feature: false}
  day: {type: timestamp, feature: false}
  sold: {type: float, min: 0}
  town: {type: string, categories: [Oslo, Rome]}
  open_hours: {type: integer}
series: {key: shop, time: day, frequency: D, context_length: 28, prediction_length: 14}
algorithm: deepar
gate: {metric: mean_wql, threshold: 0.5}
"""
WITH_EIGHT = f"""
import os, runpy, sys
os.sched_getaffinity = lambda _: range({EIGHT})
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
AS_PARQUET = """
import sys, pyarrow as pa, pyarrow.csv as csv, pyarrow.parquet as parquet
rows = csv.read_csv(sys.argv[1], convert_options=csv.ConvertOptions(column_types={"vin": pa.string()}))
parquet.write_table(rows, sys.argv[2], row_group_size=len(rows))
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print the table. Return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--points", type=int, default=5_000_000)
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmark.md")
    arguments = parser.parse_args(argv)
    csv, rows = data_file(arguments.rows), list[Row]()
    with tempfile.TemporaryDirectory(prefix="memory-", dir=CACHE) as name:
        folder = Path(name)
        (folder / "parquet").mkdir()
        (folder / "series").mkdir()
        (folder / "digits").mkdir()
        measured([str(IMAGE_PYTHON), "-c", AS_PARQUET, str(csv), str(folder / "parquet/cars.parquet")])
        write_series(folder / "series/sold.csv", arguments.points // DAYS)
        write_digits(folder / "digits/digits.csv", arguments.rows // 2)
        series = definition.parse(SERIES, "model.yaml").as_json()
        for what, data, defined in (
            ("CSV", csv.parent, DEFINITION),
            ("digits", folder / "digits", {**DEFINITION, "target": "c00", "columns": DIGITS}),
            ("Parquet", folder / "parquet", DEFINITION),
            ("series", folder / "series", series),
        ):
            run = preprocess(folder, data, defined)
            rows += [
                Row(f"{what}, processor time", run.processor_seconds, "s"),
                Row(f"{what}, memory", run.mebibytes, "MiB"),
            ]
    text = (
        f"{arguments.rows:,} rows of 12 columns, as Parquet in one row group, {arguments.rows // 2:,} of {len(DIGITS)} "
        f"digits, and {arguments.points:,} points of {arguments.points // DAYS:,} series; {EIGHT} threads."
    )
    return finish("memory", text, rows, arguments.write)


def preprocess(folder: Path, data: Path, defined: Mapping[str, Any]) -> Run:
    """Run the job on a folder of files, and return what it needed."""
    run = measured([str(IMAGE_PYTHON), "-c", WITH_EIGHT, *job(data, folder, defined)])
    shutil.rmtree(folder / "output")
    return run


def write_digits(path: Path, count: int) -> None:
    """Write so many rows of DIGITS."""
    drawn = np.random.default_rng(42)
    with path.open("wb") as file:
        file.write(f"{','.join(DIGITS)}\n".encode())
        for _ in range(count // DIGITS_AT_ONCE):
            rows = np.full((DIGITS_AT_ONCE, 2 * len(DIGITS)), ord(","), np.uint8)
            rows[:, 0::2] = drawn.integers(ord("0"), ord("9") + 1, (DIGITS_AT_ONCE, len(DIGITS)))
            rows[:, -1] = ord("\n")
            file.write(rows.tobytes())


def write_series(path: Path, count: int) -> None:
    """Write so many series of DAYS values each, one after the other."""
    drawn, days = np.random.default_rng(42), np.arange(DAYS)
    names = (np.datetime64("2020-01-01") + days).astype(str).tolist()
    with path.open("w", encoding="utf-8") as file:
        file.write("shop,day,sold,town,open_hours\n")
        for shop in range(count):
            sold = np.round(100 + 20 * np.sin(days / 7 * 2 * np.pi) + drawn.normal(0, 5, DAYS), 2).tolist()
            town, hours = ("Oslo", "Rome")[shop % 2], drawn.integers(6, 12, DAYS).tolist()
            rows = zip(names, sold, hours, strict=True)
            file.writelines(f"shop-{shop:05d},{day},{value},{town},{open_hours}\n" for day, value, open_hours in rows)


if __name__ == "__main__":
    sys.exit(main())
