"""What the two jobs of a file that is scored need: processor time and memory.

    python -m bench.bench_batch [--rows 10000000] [--folder FOLDER]

A file of generated used cars, in CSV, is checked against the baseline of other such cars and joined with one prediction
for each record. The transform job between them is SageMaker's, and is not measured.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from perennial.model import definition
from tools import synthetic

ROOT = Path(__file__).resolve().parents[1]
BASELINE_ROWS, SEED = 100_000, 3
PYTHON = ROOT / ".venvs/image/bin/python"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and print a line for each job."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        measure(Path(folder), arguments.rows)
    return 0


def measure(folder: Path, rows: int) -> None:
    """Make the files, and run both jobs on them."""
    known = definition.load(ROOT / "models/used-cars/model.yaml").as_json()
    config = folder / "config.json"
    batch = {"id": "20261129101500-1a2b", "key": "cars.csv", "widest_row": 200, "version": 1, "captured": 0}
    config.write_text(json.dumps({"model": "used-cars", "definition": known, "run_id": "run", "batch": batch}))
    _write(folder / "trained/part-00000.csv", BASELINE_ROWS, SEED + 1)
    _run("analyze_data_quality", f"--config={config}", f"--baseline-data={folder / 'trained'}",
         f"--output={folder / 'baseline'}", f"--message={folder / 'message'}")  # fmt: skip
    _write(folder / "input/data", rows, SEED)
    print(f"{rows:,} rows, {(folder / 'input/data').stat().st_size / 1e6:,.0f} MB of CSV", flush=True)
    paths = [f"--config={config}", f"--input={folder / 'input'}", f"--message={folder / 'message'}"]
    _run("check_batch", *paths, f"--baseline={folder / 'baseline'}", f"--records={folder / 'records'}",
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
    _run("join_predictions", *paths, *folders, f"--output={folder / 'joined'}")
    report = json.loads((folder / "joined/report.json").read_text())
    _require(report["scored"] == rows, f"{report['scored']:,} rows have a prediction; expected {rows:,}")


def _write(path: Path, rows: int, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.writelines(synthetic.batches(rows, seed=seed))


def _run(script: str, *arguments: str) -> None:
    """Run a job, and say what it needed."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    job = subprocess.Popen([str(PYTHON), "-m", f"processing.{script}", *arguments], cwd=ROOT, stdout=sys.stderr)
    _require(job.wait() == 0, f"{script} failed")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        f"{script}: {processor:,.1f} s of processor time, {time.monotonic() - began:,.1f} s, "
        f"at most {after.ru_maxrss / 1024:,.0f} MiB so far",
        flush=True,
    )


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise RuntimeError(otherwise)


if __name__ == "__main__":
    sys.exit(main())
