"""How long preprocessing takes and how much memory it needs, against what else one would write.

    python -m bench.bench_preprocess [--rows 1000000] [--rounds 5] [--no-pandas] [--write]

Contenders on the same file of used-car rows (12 columns: 8 features, target, a time, a group and an id), each
in a process of its own, in turn, in the Python that holds what the SageMaker image holds:

parse       the floor: pyarrow reads the file into typed columns and does nothing else
preprocess  us: processing/preprocess.py as a job runs it, with its start-up: contract check, split, fit, encode, write
polars      the peer does the same work without a contract check, on all cores: read_csv, a shuffled split, means,
            0/1 features, write_csv, write_ndjson
pandas      and so do pandas and scikit-learn, as the SDK examples do: read_csv, train_test_split, SimpleImputer,
            OneHotEncoder, to_csv, to_json

What only the main thread of ours does is what more cores do not make faster: its own processor time, start-up included,
says how many times as fast EIGHT cores are as one, by Amdahl's law. It is less than that only where the others wait
for the interpreter or for memory, and more as far as the main thread works while they do.

Bounds: not slower than polars, and memory whatever the number of rows.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.processes import CACHE, EIGHT, ROOT, Run, measured
from bench.table import Row, finish
from tools import synthetic

IMAGE_PYTHON = ROOT / ".venvs" / "image" / "bin" / "python"
PEERS = ROOT / ".venvs" / "bench"
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

POLARS = """
import pathlib, sys, polars as pl
output = pathlib.Path(sys.argv[2]); output.mkdir(parents=True)
numbers, categories = ["mileage", "cylinder", "doors", "cruise", "sound", "leather"], ["make", "body"]
frame = pl.read_csv(sys.argv[1], try_parse_dates=True)
place = pl.int_range(pl.len()).shuffle(seed=42) / pl.len()
dealt = frame.with_columns(set=pl.when(place < 0.2).then(2).when(place < 0.35).then(1).otherwise(0).cast(pl.Int8))
train, validation, test = (dealt.filter(pl.col("set") == number) for number in range(3))
means = train.select(pl.col(numbers).mean()).row(0, named=True)
encoded = [pl.col("price"), *(pl.col(name).cast(pl.Float64).fill_null(means[name]) for name in numbers)]
encoded += [
    (pl.col(name) == value).fill_null(False).cast(pl.Int8).alias(f"{name}={value}")
    for name in categories for value in train[name].unique().drop_nulls().sort()]
for name, rows in (("train", train), ("validation", validation)):
    rows.select(encoded).write_csv(output / f"{name}.csv", include_header=False)
train.select("price", *numbers, *categories).write_csv(output / "baseline.csv")
test.select(*numbers, *categories).write_ndjson(output / "test.jsonl")
test.select("price").write_csv(output / "labels.csv", include_header=False)
assert len(frame) == int(sys.argv[3])
"""

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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the contenders in turn and print what they took."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-pandas", action="store_true", help="at 10 million rows pandas takes minutes and 6 GiB")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmark.md")
    arguments = parser.parse_args(argv)
    names = ["parse", "preprocess", "polars"] + ["pandas"] * (not arguments.no_pandas)
    data = data_file(arguments.rows)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=CACHE) as folder:
        commands = {name: command(name, data, Path(folder), arguments.rows) for name in names}
        runs: dict[str, list[Run]] = {name: [] for name in names}
        for _ in range(arguments.rounds):
            for name in names:
                runs[name].append(measured(commands[name], PEERS if name == "polars" else ROOT))
                shutil.rmtree(Path(folder) / "output", ignore_errors=True)
    return report(arguments.rows, runs, arguments.write)


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
        code = {"parse": PARSE, "polars": POLARS, "pandas": PANDAS}[name]
        return [str(IMAGE_PYTHON), "-c", code, str(data), str(folder / "output"), str(rows)]
    return [str(IMAGE_PYTHON), *job(data.parent, folder, DEFINITION)]


def job(data: Path, folder: Path, definition: Mapping[str, Any]) -> list[str]:
    """Return the script and the arguments of the job that prepares a folder of files; its own are in another folder."""
    config = folder / "config.json"
    config.write_text(json.dumps({"model": "used-cars", "definition": definition}), encoding="utf-8")
    paths = {"config": config, "data": data, "output": folder / "output", "message": folder / "message"}
    script = str(ROOT / "processing" / "preprocess.py")
    return [script, *(f"--{option}={path}" for option, path in paths.items())]


def report(rows: int, runs: Mapping[str, Sequence[Run]], write: bool) -> int:
    """Print the table and return the exit code."""

    def row(what: str, unit: str, of: Callable[[Run], float], choose: Callable[[list[float]], float]) -> Row:
        values = {name: choose([of(run) for run in some]) for name, some in runs.items()}
        floor, us, *peers = values.values()
        return Row(what, us, unit, floor, dict(zip(("polars", "pandas, scikit-learn"), peers, strict=False)))

    def of_ours(what: str, unit: str, of: Callable[[Run], float]) -> Row:
        return Row(what, statistics.median(map(of, runs["preprocess"])), unit)

    table = [
        row("median", "s", lambda run: run.seconds, statistics.median),
        row("fastest", "s", lambda run: run.seconds, min),
        row("processor time", "s", lambda run: run.processor_seconds, statistics.median),
        of_ours("of that the main thread's", "s", lambda run: run.main_seconds),
        of_ours(f"{EIGHT} cores are faster than one", "times", lambda run: run.speedup),
        row("memory", "MiB", lambda run: run.mebibytes, statistics.median),
    ]
    rounds = len(runs["preprocess"])
    text = f"{len(COLUMNS)} columns, medians of {rounds} runs. Floor: the file is only parsed."
    return finish(f"preprocess {rows:,} rows", text, table, write, "pyarrow")


if __name__ == "__main__":
    sys.exit(main())
