"""Check the data contract, split, fit and apply the encodings; write what every later step reads.

Called by  train_model, state "Preprocess", in the scikit-learn image.
Reads      --config config.json: "model", "definition", "trigger", data.listed_at and data.files, as the run's
           manifest lists them;
           --data: the copies of those files (data.copies); --champion: champion.json, what this run has to know of the
           model in service ({} when there is none), and the statistics.json of its data, if it left one;
           models/<model>/features.py beside this script's folder, if the model has one.
Writes     below --output, in parts of at most ROWS_PER_PART rows:
    train/, validation/   part-*.csv    label first, then the encoded features; with a header only for train.py. The
                                        label of a multiclass classification is the number of its class, from 0
    test/                 part-*.jsonl  raw feature records by name, no target; a missing value is null; with blanks
                                        where a line is short for what it becomes (data.payload)
    labels/               part-*.csv    the label of the test rows: line n belongs to line n of the same part of test/
    baseline/             part-*.csv    raw training rows with header: target, then the features; booleans are 1 and 0
    preprocessor/         model.tar.gz  the fitted preprocessor with its serving script
    rows/v1/              part-*.u64    hashes that tell rows (data.rows): seen/ of those that train and validate,
                                        test/ of line n of the same part of test/, target/ of its target, champion/ as
                                        test/ by the columns of the model in service, where those are others; with
                                        a key rest/ and seen-rest/ of what the rows say beside it; and slices/, not
                                        hashes, but which slices hold line n of the same part of test/ (data.slices)
    rows/champion-test/   part-*.jsonl  test/ as the model in service reads the same rows, where it does so otherwise
    quarantine/           part-*.jsonl  rows that break the contract, with their reasons
    report/               report.json   counts of rows by file, rule and set; the files that are put aside
                          problems.txt  why the job failed, if the data are to blame: a problem a line
Exits      0; or 1 when the data cannot be used: --message then says what, where and what to do. A bug raises.

Of a forecasting rows are points of series (data.series_sets), and these differ:
    train/, validation/   part-*.json   series in DeepAR's JSON lines: before the periods that validate, and up to them
    test/                 part-*.jsonl  the same up to the periods that test: what DeepAR is asked about
    labels/               part-*.csv    `line,step,label,naive` of each value then: the line of the same part of test/,
                                        from 0; how many periods ahead, from 1; the value; the seasonal-naive forecast
    baseline/             part-*.csv    the target's last value, and the series as rows that are monitored
                                        (data.series_rows), as of some times before the periods that test
    preprocessor/         model.tar.gz  series.json: what the numbers in `cat` mean

Rows pass in batches: once from the files to a spill file of valid, typed rows, and twice from there (to fit, and to
write all sets); twice more where a text of many values is fitted. All cores work on batches, whose results are taken in
their order. Memory does not grow with the rows of a table: what is kept of each is on the disk. The same files,
definition and code give the same bytes, on any number of cores.
"""

from __future__ import annotations

import gc
import os

if __name__ == "__main__":
    gc.disable()  # what is imported stays: to look for garbage among it takes a tenth of a start (keep_modules)
    # Before Arrow and NumPy are there. What Arrow takes by itself gives memory back to take it again, and the system
    # makes each page of it zero; huge pages, which NumPy asks for, have to be found first, now and then for 0.2 s a
    # million rows; and numbers that several threads of BLAS add up may depend on how many there are.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "jemalloc")
    os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from processing import job_script

    if not job_script.submitted_to_spark():  # PySpark wants it
        job_script.leave_out_pandas(but_for_hooks=True)

import errno
import io
import json
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from perennial.data import drift
from perennial.data.contract import Contract
from perennial.data.copies import copy_name
from perennial.data.coverage import Coverage
from perennial.data.encoder_fit import EncoderFit
from perennial.data.files import find_files
from perennial.data.ingest import ChampionData, ingest
from perennial.data.machines import Machines, OneMachine
from perennial.data.payload import shortest_line
from perennial.data.quarantine import Quarantine
from perennial.data.report import Report, judge_news, judge_rows, judge_sets, judge_trained
from perennial.data.row_numbers import OfRows
from perennial.features.column import Column
from perennial.features.encoding import FORMAT_VERSION, Encoder, load_hook
from perennial.features.record_checks import KnownTexts, RecordChecks, Rules
from perennial.features.values import DataError
from perennial.hooks import HookError
from perennial.model.series import category_columns, dynamic_columns
from processing import job_script

ROWS_PER_PART = 200_000
MAX_NAME = 120  # of a file in messages
OUTPUTS = ("train", "validation", "test", "labels", "baseline", "rows", "preprocessor", "quarantine", "report")
NO_CHAMPION = ChampionData()
CODE = job_script.CODE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the job and return its exit code."""
    about = (__doc__ or "").split("\n", 1)[0]
    arguments = job_script.paths(argv, about, data="data", champion="champion")
    config = json.loads(arguments.config.read_text(encoding="utf-8"))
    try:
        run(config, arguments.data, arguments.output, ChampionData.read(arguments.champion))
    except (DataError, HookError, MemoryError, OSError) as error:
        reasons = _reasons(error)
        if not reasons:
            raise
        if isinstance(error, HookError):
            traceback.print_exception(error)
        return job_script.refuse(reasons, arguments.message)
    return 0


def _reasons(error: Exception) -> Sequence[str]:
    """Return what a person can do about an error, in lines; nothing when it is a bug."""
    if isinstance(error, DataError):
        return error.lines
    if isinstance(error, HookError):
        return [str(error)]
    if isinstance(error, MemoryError):
        return ["the data do not fit into memory; take a larger instance (instances.preprocess.type of model.yaml)"]
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ["the data do not fit on the volume; take a larger one (instances.preprocess.volume_gb of model.yaml)"]
    return []


def run(
    config: Mapping[str, Any],
    data: Path,
    output: Path,
    champion: ChampionData = NO_CHAMPION,
    models: Path | None = None,
) -> None:
    """Do the whole job. Raises DataError; report and quarantine are written in any case.

    models  where the models' folders are, if not beside this script's folder
    """
    definition, model = config["definition"], config["model"]
    contract, quality = Contract.from_definition(definition), definition["quality"]
    hook = (models or CODE / "models") / model / "features.py"
    algorithm = config.get("algorithm", {})
    is_own = algorithm.get("is_own", False)
    for name in OUTPUTS:
        (output / name).mkdir(parents=True, exist_ok=True)
    is_series = contract.form.series is not None
    report = Report(logarithm=contract.target.logarithm, is_series=is_series, classes=contract.classes)
    quarantine = Quarantine(contract, output / "quarantine", ROWS_PER_PART)
    # Below a LocalPath of the request: only what is mounted there is sure to be on the volume that volume_gb sizes.
    with (
        tempfile.TemporaryDirectory(prefix="spill-", dir=output / "rows") as folder,
        _machines(contract, output, Path(folder)) as machines,
    ):
        try:
            _require_same_kind(definition, champion)
            files = rows_of_groups(named(find_files(data), config), config, contract, Path(folder))
            listed_at, spill = _listed_at(config), Path(folder)
            sets = ingest(files, contract, definition, champion, machines, quarantine, report, listed_at, spill)
            judge_trained(champion.since(definition, report.aside), quality)
            judge_rows(report, quarantine, quality)
            if config.get("trigger") != "Manual":
                judge_news(report, champion.new_files)
            drift.judge(report.moved, quality.get("max_drift"))
            if contract.form.series:
                _write_series(definition, contract, machines, sets, champion, output, report)
                pack_series(model, definition, output / "preprocessor")
                return
            hosts = algorithm.get("hosts", 1)
            writer = machines.writer(contract, sets, output, ROWS_PER_PART, with_header=is_own, hosts=hosts)
            nullable = frozenset(column.name for column in contract.features if column.nullable)
            fit = EncoderFit(
                nullable,
                quality["max_categories"],
                load_hook(hook),
                has_mean=not contract.classes,
                encodes=definition.get("preprocessing") != "none",
            )
            known = KnownTexts(column.name for column in contract.features if column.is_open_text)
            writer.show(fit, known, report)
            judge_sets(report, contract)
            encoder = fit.finish(writer.again)
            report.feature_names = encoder.feature_names
            coverage = Coverage(encoder)
            checks = record_checks(contract, known, encoder, definition.get("serving", {}))
            with ThreadPoolExecutor(1) as beside:
                packing = beside.submit(
                    pack_preprocessor, model, contract, encoder, checks, hook, output / "preprocessor"
                )
                report.widest_row = writer.write(encoder, coverage, shortest_line(champion.widest_row))
                packing.result()
            report.texts = coverage.as_json()
        except (DataError, HookError) as error:
            report.problems = _reasons(error)
            raise
        finally:
            quarantine.close()
            report.since = champion.since(definition, report.aside)
            report.write(output / "report")
    print(f"{len(encoder.feature_names)} encoded features; rows: {report.rows_by_set}", flush=True)


@contextmanager
def _machines(contract: Contract, output: Path, folder: Path) -> Iterator[Machines]:
    """Yield what reads the files: the machines of a cluster, where spark-submit has started this job, or this one."""
    if job_script.submitted_to_spark():
        from processing import spark

        with closing(spark.SparkMachines(spark.session(), contract, output)) as machines:
            yield machines
    else:
        yield OneMachine(folder)


def _require_same_kind(definition: Mapping[str, Any], champion: ChampionData) -> None:
    """Raise DataError where the model in service reads rows and this one series, or the other way round."""
    before = champion.definition
    if before and bool(before.get("series")) != bool(definition.get("series")):
        raise DataError(
            f"the model in service is of problem {before['problem']}, and cannot be asked about what a "
            f"{definition['problem']} is tested by; deploy this model as a stack of its own"
        )


def _write_series(
    definition: Mapping[str, Any],
    contract: Contract,
    machines: Machines,
    sets: OfRows,
    champion: ChampionData,
    output: Path,
    report: Report,
) -> None:
    """Write the sets of a forecasting. Raises DataError."""
    from perennial.data.series_sets import SeriesWriter
    from perennial.evaluation.comparison import other_series

    if not isinstance(machines, OneMachine):
        raise DataError("series are read by one machine; expected instances.preprocess.count: 1")
    before = champion.definition
    other = before if before and before.get("series") and other_series(definition, before) else None
    report.feature_names = [column.name for column in contract.features]
    SeriesWriter(contract, definition, output, ROWS_PER_PART, other).write(machines.spill, sets, report)
    print(f"series of {len(report.feature_names)} features; points: {report.rows_by_set}", flush=True)


def pack_series(model: str, definition: Mapping[str, Any], folder: Path) -> None:
    """Write model.tar.gz: what a caller of DeepAR, which serves alone, has to know of the numbers in `cat`."""
    about = {
        "model": model,
        "series": definition["series"],
        "categories": category_columns(definition),
        "dynamic": dynamic_columns(definition),
    }
    _pack({"series.json": (json.dumps(about, indent=2) + "\n").encode()}, folder)


def _listed_at(config: Mapping[str, Any]) -> datetime | None:
    """When the run listed its data; None where nobody has said so."""
    listed_at = (config.get("data") or {}).get("listed_at")
    return datetime.fromisoformat(listed_at) if listed_at else None


def named(files: Sequence[Path], config: Mapping[str, Any]) -> list[tuple[str, Path]]:
    """Return each file with what people call it, its key in the bucket, in the order of the configuration's data.files.

    Where that lists none, all files have their own names, in this order.
    """
    listed = (config.get("data") or {}).get("files", [])
    if not listed:
        return [(path.name, path) for path in files]
    copies = {path.name: path for path in files}
    return [(_readable(file["Key"]), copies[copy_name(file)]) for file in listed]


def rows_of_groups(
    files: Sequence[tuple[str, Path]], config: Mapping[str, Any], contract: Contract, folder: Path
) -> list[tuple[str, Path | None]]:
    """Return the files; where the definition names feature groups, with the rows that their records are."""
    section = config["definition"].get("feature_store")
    listed = (config.get("data") or {}).get("files", [])
    if not section or not listed:
        return [*files]
    from perennial.data import feature_store

    wanted = {name for column in contract.columns for name in (column.name, *column.sources)}
    return feature_store.rows(files, [file["Key"] for file in listed], section, wanted, folder)


def _readable(key: str) -> str:
    text = "".join(char if char.isprintable() else "?" for char in key)
    return text if len(text) <= MAX_NAME else "..." + text[3 - MAX_NAME :]


def record_checks(contract: Contract, known: KnownTexts, encoder: Encoder, serving: Mapping[str, str]) -> RecordChecks:
    """Return what serving knows of the features, and what `serving` of the definition refuses.

    A text that features.py takes apart, such as a date, is no category: any will do.
    """
    encoded = {encoding.name for encoding in encoder.encodings}

    def texts(column: Column) -> frozenset[str] | None:
        if column.categories is not None:
            return frozenset(column.categories)
        return known.of(column.name) if column.name in encoded else None

    rules = {
        column.name: Rules(column.minimum, column.maximum, texts(column), column.nullable)
        for column in contract.features
    }
    return RecordChecks(rules, frozenset(kind for kind, then in serving.items() if then == "refuse"))


def _serving_modules() -> list[Path]:
    """Return what the serving script imports: the features room, and the modules beside the rooms."""
    domain = CODE / "perennial"
    return [*sorted(domain.glob("*.py")), *sorted((domain / "features").glob("*.py"))]


def pack_preprocessor(
    model: str, contract: Contract, encoder: Encoder, checks: RecordChecks, hook: Path, folder: Path
) -> None:
    """Write model.tar.gz: what the serving script needs, with no trace of when and where it was packed."""
    document = {
        "format": FORMAT_VERSION,
        "model": model,
        "columns": [column.as_json() for column in contract.features],
        "encodings": encoder.as_json(),
        "feature_names": encoder.feature_names,
        "checks": checks.as_json(),
        "passed_over": {
            "columns": {column.name: list(column.sources) for column in contract.columns if not column.feature},
            "unknown": contract.form.other_columns == "ignore",
        },
        "target_transform": _transform(contract),
        "classes": _class_values(contract),
    }
    members = {
        "preprocessor.json": (json.dumps(document, indent=2) + "\n").encode(),
        "code/inference.py": (CODE / "processing" / "inference.py").read_bytes(),
        **{f"code/{path.relative_to(CODE)}": path.read_bytes() for path in _serving_modules()},
    }
    if document["target_transform"] != "none":
        members["code/postprocess.py"] = (CODE / "processing" / "postprocess.py").read_bytes()
    if encoder.hook:
        members["code/features.py"] = hook.read_bytes()
    _pack(members, folder)


def _pack(members: Mapping[str, bytes], folder: Path) -> None:
    import gzip  # these two cost a start 0.005 s, which other cores would wait for
    import tarfile

    with (
        (folder / "model.tar.gz").open("wb") as file,
        gzip.GzipFile("", "wb", 6, file, 0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for name, content in sorted(members.items()):
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o644
            archive.addfile(member, io.BytesIO(content))


def _transform(contract: Contract) -> str:
    """Return how what the algorithm answers is turned back (postprocess.TRANSFORMS)."""
    if contract.classes:
        return "classes"
    return "log" if contract.target.logarithm else "none"


def _class_values(contract: Contract) -> list[str] | list[int]:
    """Return the classes as values of the target."""
    return [int(name) for name in contract.classes] if contract.target.type == "integer" else list(contract.classes)


if __name__ == "__main__":
    job_script.keep_modules()
    job_script.end(main())
