"""How long preprocessing takes and how much memory it needs, against what else one would write.

    python -m bench.bench_preprocess [--rows 1000000] [--rounds 5] [--no-pandas]

Three contenders on the same file of used-car rows (12 columns: 8 features, target, a time, a group and an id), each
in a process of its own, in turn, in the Python that holds what the SageMaker image holds:

parse       pyarrow reads the file into typed columns and does nothing else: the floor
preprocess  processing/preprocess.py as a job runs it: contract check, split, fit, encode and write, with its start-up
pandas      pandas and scikit-learn do the same work without a contract check, as the SDK examples do: read_csv,
            train_test_split, SimpleImputer, OneHotEncoder, to_csv, to_json

Prints medians, and exits with 1 when preprocess is over its limit (SECONDS and MEBIBYTES by number of rows).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools import synthetic

ROOT = Path(__file__).resolve().parents[1]
CACHE = ROOT / ".local" / "bench"
IMAGE_PYTHON = ROOT / ".venvs" / "image" / "bin" / "python"
LIMITS = {1_000_000: (4.0, 512), 10_000_000: (None, 1024)}  # rows: seconds, MiB
COLUMNS: dict[str, dict[str, Any]] = {
    "price": {"type": "float", "min": 0, "max": 500000},
    "mileage": {"type": "float", "min": 0, "max": 1000000},
    "cylinder": {"type": "integer", "min": 2, "max": 16},
    "doors": {"type": "integer", "min": 2, "max": 5},
    "cruise": {"type": "boolean"},
    "sound": {"type": "boolean"},
    "leather": {"type": "boolean"},
    "make": {"type": "string"},
    "body": {"type": "string"},
    "sold_on": {"type": "timestamp", "feature": False},
    "seller": {"type": "string", "feature": False},
    "vin": {"type": "string", "feature": False},
}
DEFINITION = {
    "problem": "regression",
    "target": "price",
    "columns": COLUMNS,
    "split": {"method": "random", "column": None, "seed": 42, "validation": 0.15, "test": 0.2},
    "quality": {"max_invalid_share": 0.01, "min_rows": 100, "max_categories": 100},
}

PARSE = """
import sys, pyarrow as pa, pyarrow.csv
kinds = {"float": pa.float64(), "integer": pa.int64(), "boolean": pa.bool_(), "timestamp": pa.timestamp("us")}
columns = %r
types = {name: kinds.get(column["type"], pa.string()) for name, column in columns.items()}
reader = pa.csv.open_csv(sys.argv[1], convert_options=pa.csv.ConvertOptions(column_types=types))
assert sum(batch.num_rows for batch in reader) == int(sys.argv[3])
""" % {name: {"type": column["type"]} for name, column in COLUMNS.items()}

PANDAS = """
import pathlib, sys, numpy as np, pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import OneHotEncoder
output = pathlib.Path(sys.argv[2]); output.mkdir(parents=True)
numbers, categories = ["mileage", "cylinder", "doors", "cruise", "sound", "leather"], ["make", "body"]
frame = pd.read_csv(sys.argv[1], parse_dates=["sold_on"])
rest, test = train_test_split(frame, test_size=0.2, random_state=42)
train, validation = train_test_split(rest, test_size=0.15 / 0.8, random_state=42)
encoder = ColumnTransformer([("number", SimpleImputer(), numbers),
    ("category", OneHotEncoder(handle_unknown="ignore", sparse_output=False), categories)]).fit(train)
for name, rows in (("train", train), ("validation", validation)):
    encoded = np.hstack([rows[["price"]].to_numpy(), encoder.transform(rows)])
    pd.DataFrame(encoded).to_csv(output / f"{name}.csv", header=False, index=False)
train[["price", *numbers, *categories]].to_csv(output / "baseline.csv", index=False)
test[[*numbers, *categories]].to_json(output / "test.jsonl", orient="records", lines=True)
test["price"].to_csv(output / "labels.csv", header=False, index=False)
assert len(frame) == int(sys.argv[3])
"""


@dataclass(frozen=True)
class Run:
    """One run of a contender."""

    seconds: float
    mebibytes: float


def main(argv: Sequence[str] | None = None) -> int:
    """Run the contenders in turn and print what they took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-pandas", action="store_true", help="at 10 million rows pandas takes minutes and 6 GiB")
    arguments = parser.parse_args(argv)
    names = ["parse", "preprocess"] + ["pandas"] * (not arguments.no_pandas)
    data = data_file(arguments.rows)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=CACHE) as folder:
        commands = {name: command(name, data, Path(folder), arguments.rows) for name in names}
        runs: dict[str, list[Run]] = {name: [] for name in names}
        for _ in range(arguments.rounds):
            for name in names:
                runs[name].append(measured(commands[name]))
                shutil.rmtree(Path(folder) / "output", ignore_errors=True)
    return report(arguments.rows, runs)


def data_file(rows: int) -> Path:
    """Return the rows in a folder as a job finds them; made once, kept for the next time."""
    path = CACHE / str(rows) / "00000-cars.csv"
    if not path.exists():
        print(f"generating {rows:,} rows", flush=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.parent.with_suffix(".unfinished")
        with unfinished.open("wb") as file:
            file.writelines(synthetic.batches(rows, seed=42, wide=True))
        unfinished.rename(path)
    return path


def command(name: str, data: Path, folder: Path, rows: int) -> list[str]:
    """Return how a contender is started."""
    if name != "preprocess":
        code = {"parse": PARSE, "pandas": PANDAS}[name]
        return [str(IMAGE_PYTHON), "-c", code, str(data), str(folder / "output"), str(rows)]
    config = folder / "config.json"
    config.write_text(json.dumps({"model": "used-cars", "definition": DEFINITION}), encoding="utf-8")
    script = str(ROOT / "processing" / "preprocess.py")
    paths = {"config": config, "data": data.parent, "output": folder / "output", "message": folder / "message"}
    return [str(IMAGE_PYTHON), script, *(f"--{option}={path}" for option, path in paths.items())]


def measured(arguments: list[str], code: Path = ROOT) -> Run:
    """Run a process and return its wall time and its own peak memory. Raises CalledProcessError."""
    environment = {**os.environ, "PYTHONPATH": str(code)}
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
    started = time.perf_counter()
    process = os.posix_spawn(arguments[0], arguments, environment, file_actions=quiet)
    _, status, usage = os.wait4(process, 0)
    seconds = time.perf_counter() - started
    if status:
        raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), arguments[:2])
    return Run(seconds, usage.ru_maxrss / (1024 if sys.platform == "linux" else 1024**2))


def report(rows: int, runs: dict[str, list[Run]]) -> int:
    """Print the table and return the exit code."""
    medians = {
        name: Run(statistics.median(run.seconds for run in of), statistics.median(run.mebibytes for run in of))
        for name, of in runs.items()
    }
    ours = medians["preprocess"]
    rounds = len(runs["preprocess"])
    print(f"\n{rows:,} rows of {len(COLUMNS)} columns; medians of {rounds} runs, {os.cpu_count()} cores\n")
    print(f"{'':12}{'seconds':>9}{'fastest':>9}{'MiB':>7}{'time':>8}{'memory':>8}   (times those of preprocess)")
    for name, run in medians.items():
        fastest = min(one.seconds for one in runs[name])
        ratios = f"{run.seconds / ours.seconds:7.2f}x{run.mebibytes / ours.mebibytes:7.2f}x"
        print(f"{name:12}{run.seconds:9.2f}{fastest:9.2f}{run.mebibytes:7.0f}{ratios}")
    seconds, mebibytes = LIMITS.get(rows, (None, None))
    over = [
        f"{what} {value:.2f} is over the limit of {limit}"
        for what, value, limit in (("seconds", ours.seconds, seconds), ("MiB", ours.mebibytes, mebibytes))
        if limit is not None and value > limit
    ]
    if mebibytes:
        limit = f"under {seconds:g} s and {mebibytes} MiB" if seconds else f"under {mebibytes} MiB"
        print(f"\nlimit: {limit}: {'; '.join(over) or 'met'}")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
