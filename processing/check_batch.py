"""Check a file that is to be scored: is it like what the model has learned from, and what is the model asked.

Called by  score_batch, state "Check batch", in the scikit-learn image.
Reads      --config    config.json of the run whose model scores: `definition`; `batch`: `id`, `key` of the file, and
                       the `widest_row` of that run (data.payload)
           --input     the file, the only one: CSV, JSON lines or Parquet, also in gzip
           --baseline  statistics.json and constraints.json of the same run
Writes     --records   part-*.jsonl: the records that the model is asked about, in the order of the file; none unless
                       the file may be scored
           below --output
    verdict.json       Healthy, NotEnoughData (too few rows to tell drift by), Drift, BadData or Failed; why; what was
                       counted; all distances
    statistics.json, constraint_violations.json, as Model Monitor has them
    report.html        the same for people, where nothing is to be scored; verdict.json says why there is none
Exits      0, whatever the verdict; --message then has the verdict and its first reasons. A bug raises.

Memory does not grow with the number of rows.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from perennial.batch.check import DATA_QUALITY, BatchRows, of_no_table
from perennial.batch.rows import contract_of, rows_of
from perennial.data.column_statistics import StatisticsError
from perennial.data.files import find_files
from perennial.data.header import FileError
from perennial.data.parts import PartWriter
from perennial.data.payload import shortest_line
from perennial.data.record_lines import record_lines
from perennial.features.values import DataError
from perennial.monitoring import texts
from perennial.monitoring.findings import FAILED, HEALTHY, NOT_ENOUGH, MonitorError, violations
from perennial.monitoring.verdict import Analysis, document
from processing import batch_page, job_script

ROWS_PER_PART, ROWS_AT_ONCE = 200_000, 8192
SCORED = (HEALTHY, NOT_ENOUGH)  # verdicts of a file that is scored
MAX_NAME = 120  # of a file in messages


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job and return its exit code."""
    about = (__doc__ or "").split("\n", 1)[0]
    folders = {"input": "input", "baseline": "baseline", "records": "../output/records"}
    arguments = job_script.paths(argv, about, **folders)
    config = json.loads(arguments.config.read_text(encoding="utf-8"))
    contract = contract_of(config["definition"])
    rows, notes = BatchRows(contract, config["definition"]), list[str]()
    try:
        _take_in(rows, notes, config, arguments)
        analysis = rows.judge(*_baseline(arguments.baseline, config))
    except FileError as error:
        analysis = of_no_table(error)
    except (DataError, MonitorError, StatisticsError) as error:
        analysis = Analysis(FAILED, str(error))
    described = {
        "file": config["batch"]["key"],
        "rows": rows.rows,
        "refused": rows.refused,
        "refusals": rows.refusals(),
        "notes": notes,
    }
    verdict = document({DATA_QUALITY: analysis}, described)
    if verdict["verdict"] not in SCORED:
        shutil.rmtree(arguments.records)
        arguments.records.mkdir()
    _write(verdict, analysis, rows, arguments)
    if verdict["verdict"] not in SCORED:
        places = {"verdict": arguments.output, "statistics": arguments.output, "baseline": arguments.baseline}
        page = batch_page.draw(config, None, arguments.output, **places)
        job_script.write_documents({"verdict": {**verdict, "page": page}}, arguments.output, indent=2)
    lines = [f"{verdict['verdict']}: {rows.rows:,} rows, {rows.refused:,} of them refused", *verdict["reasons"]]
    print("\n".join(lines), flush=True)
    arguments.message.parent.mkdir(parents=True, exist_ok=True)
    text = "; ".join(lines)
    arguments.message.write_bytes(text.encode()[: job_script.MESSAGE_BYTES].decode(errors="ignore").encode())
    return 0


def _take_in(rows: BatchRows, notes: list[str], config: Mapping[str, Any], arguments: Any) -> None:
    """Read the file once, and write what the model is to be asked. Raises FileError, DataError."""
    (path,) = find_files(arguments.input)
    name = _readable(config["batch"]["key"])
    shortest = shortest_line(config["batch"]["widest_row"])
    writer = PartWriter(arguments.records, ".jsonl", ROWS_PER_PART)
    try:
        for some in rows_of(path, rows.contract, name, notes):
            sound, start = rows.add(some), 0
            while start < sound.num_rows:
                part = sound.slice(start, min(writer.room, ROWS_AT_ONCE))
                writer.write(part.num_rows, record_lines(part, None, shortest))
                start += part.num_rows
    finally:
        writer.close()
    rows.require_rows(name)


def _write(verdict: Mapping[str, Any], analysis: Analysis, rows: BatchRows, arguments: Any) -> None:
    documents: dict[str, Any] = {"verdict": verdict, "constraint_violations": violations(analysis.findings)}
    if rows.sound:
        known = {column.name: column.categories or () for column in rows.contract.columns}
        before = _document(arguments.baseline / "statistics.json") or {}
        documents["statistics"], _ = texts.without_rare(rows.statistics, {"features": []}, before, known)
    job_script.write_documents(documents, arguments.output, indent=2)


def _baseline(folder: Path, config: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return statistics and constraints. Raises MonitorError: the run has left none."""
    documents = tuple(_document(folder / f"{name}.json") for name in ("statistics", "constraints"))
    if None in documents:
        run = config.get("run_id")
        raise MonitorError(f"run {run} has left no baseline of its data (baselines/data-quality); start another run")
    return documents[0], documents[1]


def _document(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def _readable(key: str) -> str:
    text = "".join(char if char.isprintable() else "?" for char in key)
    return text if len(text) <= MAX_NAME else "..." + text[3 - MAX_NAME :]


if __name__ == "__main__":
    job_script.leave_out_pandas()
    sys.exit(main())
