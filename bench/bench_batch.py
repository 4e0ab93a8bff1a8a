"""What the two jobs of a file that is scored need, of each kind of file: processor time and memory, which has a bound.

    python -m bench.bench_batch [--rows 10000000] [--folder FOLDER] [--write]

A file of generated used cars is checked against the baseline of other such cars and joined with one prediction for each
record. The transform job between them is SageMaker's, and is not measured.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import leather

from bench.processes import Run, measured
from bench.table import Row, finish
from perennial.model import definition
from tools import synthetic

ROOT = Path(__file__).resolve().parents[1]
BASELINE_ROWS, SEED = 100_000, 3
PYTHON = ROOT / ".venvs/image/bin/python"
KINDS = ("CSV", "CSV in gzip", "Parquet")
AS_PARQUET = "import sys, pyarrow.csv as c, pyarrow.parquet as p; p.write_table(c.read_csv(sys.argv[1]), sys.argv[2])"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print the table. Return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmark.md")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        (folder / "code").mkdir()
        (folder / "code/leather").symlink_to(Path(leather.__file__).parent)  # is published with the jobs' code
        _write(folder / "trained/part-00000.csv", BASELINE_ROWS, SEED + 1)
        _write(folder / "cars.csv", arguments.rows, SEED)
        size = (folder / "cars.csv").stat().st_size / 1e6
        rows = [row for kind in KINDS for row in measure(folder, arguments.rows, kind)]
    text = f"{arguments.rows:,} rows of 9 columns, {size:,.0f} MB as CSV. Each job is a process of its own."
    return finish("batch", text, rows, arguments.write)


def measure(folder: Path, rows: int, kind: str) -> list[Row]:
    """Run both jobs on a file of this kind."""
    known = definition.load(ROOT / "models/used-cars/model.yaml").as_json()
    config = folder / "config.json"
    batch = {"id": "20261129101500-1a2b", "key": "cars", "widest_row": 200, "version": 1, "captured": 0}
    config.write_text(json.dumps({"model": "used-cars", "definition": known, "run_id": "run", "batch": batch}))
    _run(folder, "analyze_data_quality", f"--config={config}", f"--baseline-data={folder / 'trained'}",
         f"--output={folder / 'baseline'}", f"--message={folder / 'message'}")  # fmt: skip
    (folder / "input").mkdir()
    _pack(folder / "cars.csv", folder / "input/data", kind)
    paths = [f"--config={config}", f"--input={folder / 'input'}", f"--message={folder / 'message'}"]
    check = _run(folder, "check_batch", *paths, f"--baseline={folder / 'baseline'}", f"--records={folder / 'records'}",
                 f"--output={folder / 'checked'}")  # fmt: skip
    verdict = json.loads((folder / "checked/verdict.json").read_text())
    _require(verdict["verdict"] == "Healthy", f"the check ended as {verdict['verdict']}: {verdict['reasons']}")
    for part in sorted((folder / "records").iterdir()):
        lines = part.read_bytes().count(b"\n")
        (folder / "predictions").mkdir(exist_ok=True)
        (folder / f"predictions/{part.name}.out").write_bytes(b'{"score": 12345.678}\n' * lines)
        part.unlink()
    read = {"predictions": "predictions", "verdict": "checked", "statistics": "checked", "baseline": "baseline"}
    folders = [f"--{option}={folder / name}" for option, name in read.items()]
    join = _run(folder, "join_predictions", *paths, *folders, f"--output={folder / 'joined'}")
    report = json.loads((folder / "joined/report.json").read_text())
    _require(report["scored"] == rows, f"{report['scored']:,} rows have a prediction; expected {rows:,}")
    for name in ("input", "records", "predictions", "checked", "joined"):
        shutil.rmtree(folder / name)
    return [
        Row(f"{job}, {kind}, {what}", value, unit)
        for job, used in (("check_batch", check), ("join_predictions", join))
        for what, value, unit in (
            ("processor time", used.processor_seconds, "s"),
            ("most memory", used.mebibytes, "MiB"),
        )
    ]


def _pack(csv: Path, path: Path, kind: str) -> None:
    if kind == "CSV":
        path.symlink_to(csv)
    elif kind == "Parquet":
        measured([sys.executable, "-c", AS_PARQUET, str(csv), str(path)])
    else:
        with csv.open("rb") as plain, gzip.open(path, "wb", compresslevel=4) as packed:
            shutil.copyfileobj(plain, packed)


def _write(path: Path, rows: int, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.writelines(synthetic.batches(rows, seed=seed))


def _run(folder: Path, script: str, *arguments: str) -> Run:
    """Run a job, and return what it needed."""
    return measured([str(PYTHON), "-m", f"processing.{script}", *arguments], f"{ROOT}:{folder / 'code'}")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise RuntimeError(otherwise)


if __name__ == "__main__":
    sys.exit(main())
