"""Check the data contract, split, fit and apply the encodings; write what every later step reads.

Called by  train_model, state "Preprocess", in the scikit-learn image.
Reads      --config config.json: "model" and "definition"; --data: the files of the run's snapshot, in the order of
           their names; models/<model>/features.py beside this script's folder, if the model has one.
Writes     below --output, in parts of at most ROWS_PER_PART rows:
    train/, validation/   part-*.csv    label first, then the encoded features; no header
    test/                 part-*.jsonl  raw feature records by name, no target; a missing value is null
    labels/               part-*.csv    the label of the test rows: line n belongs to line n of the same part of test/
    baseline/             part-*.csv    raw training rows with header: target, then the features; booleans are 1 and 0
    preprocessor/         model.tar.gz  the fitted preprocessor with its serving script
    quarantine/           part-*.jsonl  rows that break the contract, with their reasons
    report/               report.json   counts of rows by file, rule and set
Exits      0; or 1 when the data cannot be used: --message then says what, where and what to do. A bug raises.

Rows pass in batches: once from the files to a spill file of valid, typed rows, and twice from there (fit and raw sets,
then the encoded sets). Memory does not grow with their number, but for one byte a row. The same files, definition and
code give the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from perennial.contract import Contract, DataError, check
from perennial.encoding import FORMAT_VERSION, Encoder, EncoderFit, load_hook
from perennial.lines import csv_field, csv_lines, json_lines, json_value
from perennial.parts import PartWriter
from perennial.quarantine import Quarantine
from perennial.split import SETS, TEST, TRAIN, VALIDATION, Sets, splitter
from perennial.tabular import find_files, read
from perennial.values import shown, to_text

ROWS_PER_PART = 200_000
MESSAGE_BYTES = 1024  # what DescribeProcessingJob shows of the message
CODE = Path(__file__).resolve().parents[1]
# What the serving script imports, so what travels with it.
SERVING_MODULES = ("__init__", "contract", "encoding", "lines", "values")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job and return its exit code."""
    arguments = _arguments(argv)
    config = json.loads(arguments.config.read_text(encoding="utf-8"))
    try:
        run(config, arguments.data, arguments.output)
    except DataError as error:
        print(f"error: {error}", file=sys.stderr)
        arguments.message.parent.mkdir(parents=True, exist_ok=True)
        arguments.message.write_bytes(_first_bytes(str(error)))
        return 1
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    root = Path("/opt/ml/processing")
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--config", type=Path, default=root / "input/config/config.json")
    parser.add_argument("--data", type=Path, default=root / "input/data")
    parser.add_argument("--output", type=Path, default=root / "output")
    parser.add_argument("--message", type=Path, default=Path("/opt/ml/output/message"))
    return parser.parse_args(argv)


def _first_bytes(message: str) -> bytes:
    return message.encode()[:MESSAGE_BYTES].decode(errors="ignore").encode()


def run(config: Mapping[str, Any], data: Path, output: Path) -> None:
    """Do the whole job. Raises DataError."""
    definition = config["definition"]
    contract = Contract.from_definition(definition)
    hook = CODE / "models" / config["model"] / "features.py"
    outputs = Outputs.make(output)
    report = Report()
    with tempfile.TemporaryDirectory(prefix="spill-", dir=output.parent) as folder:
        spill = Path(folder) / "rows.arrow"
        quarantine = Quarantine(contract, outputs.quarantine, ROWS_PER_PART)
        try:
            sets = ingest(find_files(data), contract, definition["split"], spill, quarantine, report)
            report.take_quarantine(quarantine)
            judge(report, quarantine, definition["quality"])
            fit = EncoderFit(_nullable(contract), definition["quality"]["max_categories"], load_hook(hook))
            write_raw_sets(contract, spill, sets, outputs, fit, report)
            judge_sets(report, contract)
            encoder = fit.finish()
            report.feature_names = encoder.feature_names
            write_encoded_sets(contract, spill, sets, outputs, encoder)
        finally:
            quarantine.close()
            report.write(outputs.report)
    pack_preprocessor(config["model"], contract, encoder, hook, outputs.preprocessor)
    print(f"{len(encoder.feature_names)} encoded features; rows: {report.rows_by_set}", flush=True)


@dataclass(frozen=True)
class Outputs:
    """The folders below --output; each is one output of the processing job."""

    train: Path
    validation: Path
    test: Path
    labels: Path
    baseline: Path
    preprocessor: Path
    quarantine: Path
    report: Path

    @classmethod
    def make(cls, root: Path) -> Outputs:
        folders = {name: root / name for name in cls.__dataclass_fields__}
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        return cls(**folders)


# What happened


@dataclass
class TargetRange:
    """Extremes of the target in one set."""

    lowest: float | None = None
    highest: float | None = None

    def update(self, target: pa.Array) -> None:
        numbers = pc.cast(target, pa.float64(), safe=False)
        extremes = pc.min_max(numbers)
        known = [self.lowest, self.highest, extremes["min"].as_py(), extremes["max"].as_py()]
        values = [value for value in known if value is not None]
        if values:
            self.lowest, self.highest = min(values), max(values)


@dataclass
class Report:
    """Counts for the run record, and for the checks on the data as a whole."""

    files: list[dict[str, Any]] = field(default_factory=list)
    rules: list[dict[str, Any]] = field(default_factory=list)
    rows_read: int = 0
    rows_used: int = 0
    rows_written_to_quarantine: int = 0
    rows_by_set: dict[str, int] = field(default_factory=dict)
    targets: dict[str, TargetRange] = field(default_factory=dict)
    feature_names: list[str] = field(default_factory=list)

    def add_file(self, path: Path, used: int, quarantined: int) -> None:
        entry: dict[str, Any] = {"name": path.name, "bytes": path.stat().st_size}
        entry |= {"rows": used + quarantined, "quarantined": quarantined}
        if not entry["rows"]:
            entry["note"] = "empty" if not entry["bytes"] else "no rows"
        self.files.append(entry)
        self.rows_read += used + quarantined
        self.rows_used += used
        print(f"{path.name}: {used + quarantined} rows, {quarantined} quarantined", flush=True)

    def take_quarantine(self, quarantine: Quarantine) -> None:
        self.rules, self.rows_written_to_quarantine = quarantine.rules(), quarantine.written

    def add_to_set(self, name: str, target: pa.Array) -> None:
        self.rows_by_set[name] = self.rows_by_set.get(name, 0) + len(target)
        self.targets.setdefault(name, TargetRange()).update(target)

    def write(self, folder: Path) -> None:
        document = {
            "rows": {
                "read": self.rows_read,
                "used": self.rows_used,
                "quarantined": self.rows_read - self.rows_used,
                "written_to_quarantine": self.rows_written_to_quarantine,
            },
            "sets": self.rows_by_set,
            "target": {name: {"min": values.lowest, "max": values.highest} for name, values in self.targets.items()},
            "rules": self.rules,
            "files": self.files,
            "features": self.feature_names,
        }
        (folder / "report.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


# From the files to valid rows


def ingest(
    files: Sequence[Path],
    contract: Contract,
    split: Mapping[str, Any],
    spill: Path,
    quarantine: Quarantine,
    report: Report,
) -> Sets:
    """Check every row, write the valid ones to the spill file, and return the set of each."""
    splitting = splitter(split)
    writer: pa.RecordBatchStreamWriter | None = None
    with pa.OSFile(str(spill), "wb") as sink:
        for number, path in enumerate(files):
            used = 0
            for batch in read(path, contract.columns):
                checked = check(contract, batch.table)
                quarantine.add(path.name, batch, checked)
                valid = checked.valid()
                used += valid.num_rows
                splitting.observe(number, valid)
                writer = writer or pa.ipc.new_stream(sink, valid.schema)
                writer.write_table(valid)
            report.add_file(path, used, quarantine.rows_of_file(path.name))
        if writer:
            writer.close()
    return splitting.finish()


def judge(report: Report, quarantine: Quarantine, quality: Mapping[str, Any]) -> None:
    """Raise DataError when too many rows break the contract, or too few are left."""
    if not report.rows_read:
        names = ", ".join(f"{file['name']} ({file['note']})" for file in report.files[:5]) or "there is no file"
        raise DataError(f"no data: {names}. Upload a CSV or Parquet file with rows")
    share = quarantine.rows / report.rows_read
    if share > quality["max_invalid_share"]:
        raise DataError(
            f"{quarantine.rows:,} of {report.rows_read:,} rows ({share:.2%}) break the data contract; "
            f"allowed are {quality['max_invalid_share']:.2%} (quality.max_invalid_share). {quarantine.summary()}. "
            "All of them are in the quarantine folder of the run"
        )
    if report.rows_used < quality["min_rows"]:
        raise DataError(
            f"{report.rows_used:,} rows can be used; expected at least {quality['min_rows']:,} (quality.min_rows)"
        )


def judge_sets(report: Report, contract: Contract) -> None:
    """Raise DataError when a set is empty or its target says nothing."""
    name = contract.target.name
    for set_name in SETS:
        target = report.targets.get(set_name, TargetRange())
        if target.lowest is None or target.highest is None:
            raise DataError(f"the {set_name} set is empty: too few rows (or groups, or times) for the shares in split")
        if contract.problem == "binary_classification" and not {target.lowest, target.highest} <= {0.0, 1.0}:
            raise DataError(f"{name}: the target of a binary classification is 0 or 1; got {shown(target.highest)}")
        one_class = contract.problem == "binary_classification" and target.lowest == target.highest
        if one_class or (set_name == "train" and target.lowest == target.highest):
            raise DataError(
                f"{name}: the target is {target.lowest:g} in every row of the {set_name} set; "
                "a model cannot learn from a constant. Check how the column is filled"
            )


# From valid rows to the sets


def rows_of_sets(spill: Path, sets: Sets, wanted: Sequence[int]) -> Iterator[tuple[int, pa.Table]]:
    """Yield (set, rows) for each batch of the spill file and each wanted set that has rows in it."""
    start = 0
    with pa.OSFile(str(spill)) as file, pa.ipc.open_stream(file) as reader:
        for batch in reader:
            of_batch = sets[start : start + batch.num_rows]
            start += batch.num_rows
            for number in wanted:
                rows = batch.filter(pa.array(of_batch == number))
                if rows.num_rows:
                    yield number, pa.Table.from_batches([rows])


def write_raw_sets(
    contract: Contract, spill: Path, sets: Sets, outputs: Outputs, fit: EncoderFit, report: Report
) -> None:
    """Write baseline, test and labels, and show the training rows to the fit."""
    target, features = contract.target.name, [column.name for column in contract.features]
    header = ",".join([target, *features]) + "\n"
    baseline = PartWriter(outputs.baseline, ".csv", ROWS_PER_PART, header.encode())
    test = PartWriter(outputs.test, ".jsonl", ROWS_PER_PART)
    labels = PartWriter(outputs.labels, ".csv", ROWS_PER_PART)
    for number, rows in rows_of_sets(spill, sets, (TRAIN, VALIDATION, TEST)):
        report.add_to_set(SETS[number], rows[target])
        if number == TRAIN:
            fit.update(rows.select(features))
            write(baseline, rows.select([target, *features]), csv_rows)
        elif number == TEST:
            write(test, rows.select(features), json_rows)
            write(labels, rows.select([target]), csv_rows)
    for writer in (baseline, test, labels):
        writer.close()


def write_encoded_sets(contract: Contract, spill: Path, sets: Sets, outputs: Outputs, encoder: Encoder) -> None:
    """Write the encoded training and validation sets, label first."""
    target, features = contract.target.name, [column.name for column in contract.features]
    writers = {
        TRAIN: PartWriter(outputs.train, ".csv", ROWS_PER_PART),
        VALIDATION: PartWriter(outputs.validation, ".csv", ROWS_PER_PART),
    }

    def encoded(rows: pa.Table) -> memoryview:
        return csv_lines([to_text(rows[target].combine_chunks()), *encoder.fields(rows.select(features))])

    for number, rows in rows_of_sets(spill, sets, tuple(writers)):
        write(writers[number], rows, encoded)
    for writer in writers.values():
        writer.close()


def write(writer: PartWriter, rows: pa.Table, render: Callable[[pa.Table], memoryview]) -> None:
    """Write rows, each in the part where there is room for it."""
    start = 0
    while start < rows.num_rows:
        part = rows.slice(start, writer.room)
        writer.write(part.num_rows, render(part))
        start += part.num_rows


def csv_rows(rows: pa.Table) -> memoryview:
    return csv_lines([csv_field(column.combine_chunks()) for column in rows.columns])


def json_rows(rows: pa.Table) -> memoryview:
    return json_lines(rows.column_names, [json_value(column.combine_chunks()) for column in rows.columns])


def _nullable(contract: Contract) -> frozenset[str]:
    return frozenset(column.name for column in contract.features if column.nullable)


# The fitted preprocessor


def pack_preprocessor(model: str, contract: Contract, encoder: Encoder, hook: Path, folder: Path) -> None:
    """Write model.tar.gz: what the serving script needs, with no trace of when and where it was packed."""
    document = {
        "format": FORMAT_VERSION,
        "model": model,
        "columns": [column.as_json() for column in contract.features],
        "encodings": encoder.as_json(),
        "feature_names": encoder.feature_names,
    }
    members = {
        "preprocessor.json": (json.dumps(document, indent=2) + "\n").encode(),
        "code/inference.py": (CODE / "processing" / "inference.py").read_bytes(),
        **{f"code/perennial/{name}.py": (CODE / "perennial" / f"{name}.py").read_bytes() for name in SERVING_MODULES},
    }
    if encoder.hook:
        members["code/features.py"] = hook.read_bytes()
    with (
        (folder / "model.tar.gz").open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, content in sorted(members.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))


if __name__ == "__main__":
    sys.exit(main())
