"""Join a file that was scored with its predictions: one for each row, in order, written as the file was.

Called by  score_batch, state "Join predictions", in the scikit-learn image.
Reads      --config       config.json as the check of the file had it
           --input        the file, the only one
           --predictions  part-*.jsonl.out, what the transform job has answered to the records of the check
           --verdict, --statistics, --baseline  folders: verdict.json and statistics.json of the check, and the
                          statistics.json of the run
Writes     below --output
    result        the rows of the file with `prediction` (of classes the most probable one, and `probabilities`),
                  `inference_id` and `problem`: a row that the contract refuses, or that cannot be read, has no
                  prediction, and its problem is the reason
    report.json   what it is of, what was counted, names of our columns, and the form of the file
    report.html   the same for people, with the distances of the columns; report.json says why there is none
    capture/      part-*.jsonl: the scored rows as data capture writes requests, where `batch.captured` is above 0
Exits      0; or 1 when there is not one prediction for each record: --message says so. A bug raises.

Memory does not grow with the number of rows.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from perennial.batch.captured import CapturedRows
from perennial.batch.result import Joiner, Predictions, writer
from perennial.batch.rows import FileKind, FileRows, contract_of, kind_of, names_of_ours, rows_of
from perennial.data.files import find_files
from perennial.evaluation.predictions import PredictionsError
from processing import batch_page, job_script


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job and return its exit code."""
    about = (__doc__ or "").split("\n", 1)[0]
    folders = {name: name for name in ("input", "predictions", "verdict", "statistics", "baseline")}
    arguments = job_script.paths(argv, about, **folders)
    config = json.loads(arguments.config.read_text(encoding="utf-8"))
    try:
        report = _join(config, arguments)
    except PredictionsError as error:
        return job_script.refuse(f"The predictions do not fit the file: {error}", arguments.message)
    documents = {name: getattr(arguments, name) for name in ("verdict", "statistics", "baseline")}
    page = batch_page.draw(config, report, arguments.output, **documents)
    job_script.write_documents({"report": {**report, "page": page}}, arguments.output, indent=2)
    print(f"{report['rows']:,} rows, {report['scored']:,} with a prediction", flush=True)
    return 0


def _join(config: Mapping[str, Any], arguments: Any) -> dict[str, Any]:
    batch, contract, now = config["batch"], contract_of(config["definition"]), datetime.now(UTC)
    (path,) = find_files(arguments.input)
    kind, notes = kind_of(path), list[str]()
    read = rows_of(path, contract, batch["key"], notes)
    first = next(read)
    fields = _fields(kind, path, first)
    taken = _names_in_lines(path, contract, batch["key"]) if kind.kind == "jsonl" else fields.names
    names = names_of_ours(taken, has_classes=bool(contract.classes))
    arguments.output.mkdir(parents=True, exist_ok=True)
    with (
        writer(arguments.output / "result", kind, fields, names) as written,
        CapturedRows(arguments.output / "capture", batch["captured"], now) as captured,
    ):
        joiner = Joiner(written, Predictions(arguments.predictions), batch["id"], contract.classes)
        for some in itertools.chain([first], read):
            joiner.add(some, captured.add if batch["captured"] else None)
        joiner.finish()
    return {
        "batch": batch["id"],
        "file": batch["key"],
        "run": config.get("run_id"),
        "version": batch["version"],
        "rows": joiner.rows,
        "scored": joiner.scored,
        "refused": joiner.rows - joiner.scored,
        "first_refused": joiner.first_refused,
        "captured": captured.rows,
        "captured_at": now.isoformat(timespec="seconds"),
        "columns": names,
        "format": kind.kind,
        "gzip": kind.gzip,
        "predictions": joiner.summary(),
        "distribution": joiner.distribution(),
    }


def _fields(kind: FileKind, path: Path, first: FileRows) -> pa.Schema:
    """Return the fields of the file's rows, with the types of a Parquet file."""
    if kind.kind == "parquet":
        import pyarrow.parquet as pq  # of this kind alone

        return pq.read_schema(path).remove_metadata()
    whole = first.batch.whole
    return whole.schema if whole is not None else pa.schema([])


def _names_in_lines(path: Path, contract: Any, name: str) -> list[str]:
    """Return those of our names that stand somewhere in JSON lines as names may: they are taken."""
    candidates = {f'"{ours}"'.encode(): ours for ours in names_of_ours((), has_classes=True)}
    taken = set[str]()
    for some in rows_of(path, contract, name, []):
        for line in some.batch.whole.column("line").to_pylist() if some.batch.whole is not None else ():
            taken |= {ours for text, ours in candidates.items() if text in line}
    return sorted(taken)


if __name__ == "__main__":
    job_script.leave_out_pandas()
    sys.exit(main())
