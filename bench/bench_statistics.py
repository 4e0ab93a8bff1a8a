"""How long, and how much memory, the data-quality baseline takes: a million used-car rows of 12 columns.

    .venvs/image/bin/python bench/bench_statistics.py [rows]

Prints one line: rows, seconds and rows a second of the pass over the CSV file, and the peak memory of the process.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from processing import analyze_data_quality

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
ROWS_AT_ONCE = 100_000


def rows(count: int, random: np.random.Generator) -> pa.Table:
    """Return used-car rows; about one body in ten is missing."""
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


def write(path: Path, count: int) -> None:
    """Write the rows as the preprocessing job does: a header, nothing for a missing value."""
    random = np.random.default_rng(1)
    options = pa_csv.WriteOptions(quoting_style="needed")
    with pa_csv.CSVWriter(path, rows(1, random).schema, write_options=options) as writer:
        for start in range(0, count, ROWS_AT_ONCE):
            writer.write_table(rows(min(ROWS_AT_ONCE, count - start), random))


def main(count: int = 1_000_000) -> None:
    """Write the rows, describe them, print the line."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "data").mkdir()
        write(root / "data" / "part-00000.csv", count)
        definition = {
            "problem": "regression",
            "target": "price",
            "columns": COLUMNS,
            "quality": {"max_categories": 100},
        }
        (root / "config.json").write_text(json.dumps({"definition": definition}))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        started = time.perf_counter()
        arguments = ["--config", f"{root}/config.json", "--baseline-data", f"{root}/data", "--output", f"{root}/out"]
        failed = analyze_data_quality.main([*arguments, "--message", f"{root}/message"])
        seconds = time.perf_counter() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    if failed:
        sys.exit("the baseline job failed")
    print(
        f"statistics: {count} rows x 12 columns in {seconds:.2f} s, {count / seconds:.0f} rows/s, "
        f"peak {peak} MiB ({before} MiB before)"
    )


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
