"""Preprocessing on several machines: Apache Spark has every file read and every row written by the same functions.

Called by  preprocess.py, where spark-submit has started it: in SageMaker's Spark processing image, whose entry point
           (smspark-submit) makes a cluster of the job's machines; on a laptop as a cluster of this machine alone.

Every machine has all files, code apart, where the request mounts them, and SageMaker uploads what each leaves below
--output. A file is read by one task. What is kept of its rows are Arrow streams, rows of a table (file, kind, payload)
on the disks of the cluster. The tasks of later passes get the same files of it, in the same order, write parts of their
own (part-<task>-<number>), and return what they have learned; the driver merges that in the order of the files.

The driver deals the rows to the sets as one machine does, from the hashes of all rows, which are on its disk.
"""

from __future__ import annotations

import functools
import os
import pickle
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from perennial.data.broken import Broken
from perennial.data.column_statistics import StatisticsError
from perennial.data.contract import Contract
from perennial.data.coverage import Counts, Coverage
from perennial.data.encoder_fit import EncoderFit, TrainingRows
from perennial.data.machines import About, Files, Reader, ReadRows, RowsOfSets
from perennial.data.quarantine import Quarantine
from perennial.data.report import Report
from perennial.data.row_numbers import OfRows, pieces
from perennial.data.sets import BATCH_BYTES, BatchOfSets, RowsOf, SetWriter, dealt, in_one_piece
from perennial.features.encoding import Encoder
from perennial.features.record_checks import KnownTexts
from perennial.features.values import DataError
from perennial.hooks import HookError
from processing.job_script import CODE

T = TypeVar("T")
Findings = Iterator[tuple[int, str, Any]]

ROWS, FINDINGS, END = "rows", "findings", "end"
PIECES, RESULT = "file long, kind string, payload binary", "payload binary"
AT_ONCE = "16"  # rows of those tables that Spark moves in one piece, of BATCH_BYTES each
TASKS_OF_A_PROCESSOR = 4  # where one takes long, others go on
ROOMS = ("perennial", "processing")  # of the job code
# Of the memory that smspark-submit gives to Java on each machine: rows are in Python's processes, not in Java's, and on
# one machine the driver needs some as well.
SHARES = {"memory": 0.2, "memoryOverhead": 0.4}
FOR_JAVA = ("JAVA_TOOL_OPTIONS",)  # of images/spark
ITS_OWN = (DataError, HookError, StatisticsError, MemoryError, OSError)  # what a person is findings about


def session() -> Any:
    """Return the session of Spark, whose master and memory spark-submit has set."""
    from pyspark import SparkConf
    from pyspark.sql import SparkSession

    settings = {
        "spark.sql.execution.arrow.maxRecordsPerBatch": AT_ONCE,
        "spark.sql.inMemoryColumnarStorage.batchSize": AT_ONCE,
        "spark.sql.adaptive.enabled": "false",
        "spark.driver.maxResultSize": "0",
        "spark.ui.enabled": "false",
        "spark.log.level": "WARN",
        **_memory(SparkConf()),
        **{f"spark.executorEnv.{name}": os.environ[name] for name in FOR_JAVA if name in os.environ},
    }
    return SparkSession.builder.appName("preprocess").config(map=settings).getOrCreate()


def _memory(conf: Any) -> dict[str, str]:
    """Return how executors share their memory with Python, where smspark-submit has given Java nearly all of it."""
    sizes = [conf.get(f"spark.executor.{name}", "").removesuffix("m") for name in SHARES]
    if not all(size.isdigit() for size in sizes):
        return {}
    megabytes = sum(map(int, sizes))
    return {f"spark.executor.{name}": f"{int(megabytes * share)}m" for name, share in SHARES.items()}


def each_share(work: Callable[[Sequence[Path]], T], files: Sequence[Path]) -> Iterator[T]:
    """Have machines do some work on files that each of them has; yield the results in the order of the files."""
    spark = session()
    task = _in_worker(_OfFiles(work, files), _shipped(spark.sparkContext))
    return _answers(_dealt(spark, len(files)).mapInArrow(task, RESULT))


def _dealt(spark: Any, count: int) -> Any:
    """Return the numbers of files, of which each task gets neighbours."""
    tasks = max(1, min(count, TASKS_OF_A_PROCESSOR * spark.sparkContext.defaultParallelism))
    return spark.range(0, count, 1, tasks)


def _answers(returned: Any) -> Iterator[Any]:
    """Yield what tasks have returned. Raises what the first one that failed has raised."""
    for row in returned.collect():
        result = pickle.loads(row.payload)
        if isinstance(result, _Failed):
            raise result.error
        yield result


class SparkMachines:
    """Reads the files on the machines of a cluster; their valid rows stay on its disks until this is closed."""

    def __init__(self, spark: Any, contract: Contract, output: Path) -> None:
        self._spark, self._contract, self._output = spark, contract, output
        self._code = _shipped(spark.sparkContext)
        self._pieces: Any = None
        self._rows, self._starts = 0, dict[int, int]()  # the first row of each file that is used
        self._folder = tempfile.TemporaryDirectory(prefix="sets-")

    def close(self) -> None:
        """Have the cluster forget the rows."""
        if self._pieces is not None:
            self._pieces.unpersist()
        self._folder.cleanup()

    @contextmanager
    def reading(self, reader: Reader, files: Files) -> Iterator[ReadRows[Any]]:
        from pyspark import StorageLevel

        read = _in_worker(_Reading(reader, self._contract, files), self._code)
        self._pieces = _dealt(self._spark, len(files)).mapInArrow(read, PIECES).persist(StorageLevel.DISK_ONLY)
        self._pieces.count()  # by all machines at once; what follows asks for one task after the other
        rows = self._pieces.filter(f"kind != '{ROWS}'").toLocalIterator(prefetchPartitions=True)
        findings = ((row.file, row.kind, pickle.loads(row.payload)) for row in rows)
        yield functools.partial(self._read, findings, reader)

    def _read(
        self,
        findings: Findings,
        reader: Reader,
        number: int,
        name: str,
        path: Path,
        quarantine: Quarantine,
        about: About,
        learn: Callable[[pa.Table], T],
    ) -> Iterator[T]:
        """Yield what is learned of a file's valid rows, which a machine has read. Files before it are skipped."""
        self._starts[number] = self._rows
        for _, kind, what in (one for one in findings if one[0] == number):
            if kind == FINDINGS:
                rows, lines = what
                quarantine.take(name, Broken(), lines)
                self._rows += rows.num_rows
                yield learn(rows)
                continue
            counted, about_file, broken, error = what
            quarantine.take(name, broken, ())
            reader.merge(counted)
            vars(about).update(vars(about_file))
            if error:
                raise error
            return

    def each(self, sets: OfRows, wanted: Sequence[int], task: Callable[[RowsOfSets], T]) -> Iterator[T]:
        return self._run(self._send(sets), functools.partial(_go_through, wanted=wanted, task=task))

    def writer(
        self, contract: Contract, sets: OfRows, folder: Path, rows_per_part: int, *, with_header: bool, hosts: int
    ) -> SparkSetWriter:
        make = functools.partial(SetWriter, contract, rows_per_part=rows_per_part, with_header=with_header, hosts=hosts)
        return SparkSetWriter(functools.partial(self._run, self._send(sets)), make, folder)

    def _run(self, sets: str, work: Callable[[RowsOf], T]) -> Iterator[T]:
        """Have each task do the work on the rows of its files; yield the results in the order of the files."""
        task = _in_worker(_Task(work, self._starts, sets), self._code)
        rows = self._pieces.filter(f"kind = '{ROWS}'").select("file", "payload")
        return _answers(rows.mapInArrow(task, RESULT))

    def _send(self, sets: OfRows) -> str:
        """Have the sets of all rows on every machine, and return the name of the file."""
        folder = Path(self._folder.name)
        path = folder / f"{folder.name}-{len(list(folder.iterdir()))}.u8"  # a name that no file of the session has
        with path.open("wb") as file:
            for _, piece in pieces(sets):
                file.write(piece.astype(np.uint8).data)
        self._spark.sparkContext.addFile(str(path))
        return path.name


class SparkSetWriter:
    """Writes the sets as sets.SetWriter, each task those of its files, in parts of its own."""

    def __init__(self, run: Callable[[Any], Iterator[Any]], make: Callable[..., SetWriter], folder: Path) -> None:
        self._run, self._make, self._folder = run, make, folder

    def show(self, fit: EncoderFit, known: KnownTexts, report: Report) -> None:
        empty = fit, known, report.of_sets()
        for fit_of_task, known_of_task, report_of_task in self._results(_show, *empty):
            fit.merge(fit_of_task)
            known.merge(known_of_task)
            report.merge_sets(report_of_task)

    def again(self, task: Callable[[Iterable[TrainingRows]], T]) -> Iterator[T]:
        return self._results(_again, task)

    def write(self, encoder: Encoder, coverage: Coverage, shortest: int) -> int:
        widest = 0
        for widest_of_task, counts in self._results(_write, encoder, shortest):
            coverage.add(counts)
            widest = max(widest, widest_of_task)
        return widest

    def _results(self, what: Callable[..., T], *arguments: Any) -> Iterator[T]:
        return self._run(
            functools.partial(_written, make=self._make, folder=self._folder, what=what, arguments=arguments)
        )


# ---- What runs on the machines, found by its name in the code that is sent


@dataclass(frozen=True)
class _Failed:
    error: Exception


@dataclass(frozen=True)
class _OfFiles:
    """Does some work on files, given their numbers."""

    work: Callable[[Sequence[Path]], Any]
    files: Sequence[Path]

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        numbers = (number for batch in batches for number in batch.column(0).to_pylist())
        yield _answer(lambda: self.work([self.files[number] for number in numbers]))


def _answer(work: Callable[[], Any]) -> pa.RecordBatch:
    """Return what a task returns: what some work returns, or why it failed."""
    result: Any
    try:
        result = work()
    except ITS_OWN as error:
        result = _Failed(error)
    return pa.RecordBatch.from_arrays([pa.array([pickle.dumps(result)], pa.binary())], ["payload"])


@dataclass(frozen=True)
class _Reading:
    """Reads files, given their numbers."""

    reader: Reader
    contract: Contract
    files: Files

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        numbers = (number for batch in batches for number in batch.column(0).to_pylist())
        for number in (number for number in numbers if self.files[number][1]):
            for kind, payload in self._of_file(number):
                yield pa.RecordBatch.from_arrays(
                    [pa.array([number]), pa.array([kind]), pa.array([payload], pa.binary())],
                    ["file", "kind", "payload"],
                )

    def _of_file(self, number: int) -> Iterator[tuple[str, bytes]]:
        """Yield the valid rows of a file, what the driver has to know of them, and at the end of the file."""
        reader, quarantine, about = pickle.loads(pickle.dumps(self.reader)), Quarantine(self.contract), About()
        waiting: list[pa.Table] = []
        error: Exception | None = None
        try:
            for valid in reader.read(number, *self.files[number], quarantine, about, _as_it_is):
                waiting.append(valid)
                if sum(table.nbytes for table in waiting) >= BATCH_BYTES:
                    yield from _batch(waiting, reader.columns, quarantine)
        except ITS_OWN as failed:
            error = failed
        if waiting:
            yield from _batch(waiting, reader.columns, quarantine)
        yield END, pickle.dumps((reader, about, quarantine.file, error))


def _as_it_is(rows: T) -> T:
    return rows


def _batch(waiting: list[pa.Table], deciding: Sequence[str], quarantine: Quarantine) -> Iterator[tuple[str, bytes]]:
    rows = in_one_piece(waiting)
    waiting.clear()
    with pa.BufferOutputStream() as stream:
        with pa.ipc.new_stream(stream, rows.schema) as writer:
            writer.write_table(rows)
        yield ROWS, stream.getvalue().to_pybytes()
    yield FINDINGS, pickle.dumps((rows.select(deciding), quarantine.lines))
    quarantine.lines = []


@dataclass(frozen=True)
class _Task:
    """Does some work on the rows of some files; `sets` is the file of the sets of all rows."""

    work: Callable[[RowsOf], Any]
    starts: Mapping[int, int]
    sets: str

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        yield _answer(lambda: self.work(functools.partial(self._rows_of, batches)))

    def _rows_of(
        self,
        batches: Iterable[pa.RecordBatch],
        wanted: Sequence[int],
        columns: Mapping[int, Sequence[str]] | None = None,
        work: Callable[[int, pa.Table], T] | None = None,
    ) -> Iterator[Any]:
        from pyspark import SparkFiles

        path, starts = Path(SparkFiles.get(self.sets)), dict(self.starts)
        sets = np.memmap(path, np.uint8, "r") if path.stat().st_size else np.empty(0, np.uint8)

        def with_sets() -> Iterator[BatchOfSets]:
            pairs = (pair for batch in batches for pair in zip(*batch.to_pydict().values(), strict=True))
            for file, payload in pairs:
                if file not in starts:  # a copy of another, which counts once
                    continue
                for rows in pa.ipc.open_stream(payload):
                    yield functools.partial(_as_it_is, rows), sets[starts[file] : starts[file] + rows.num_rows]
                    starts[file] += rows.num_rows

        yield from dealt(with_sets(), wanted, columns, work)


def _go_through(rows_of: RowsOf, wanted: Sequence[int], task: Callable[[RowsOfSets], T]) -> T:
    return task(rows_of(wanted))


def _written(
    rows_of: RowsOf, make: Callable[..., SetWriter], folder: Path, what: Callable[..., T], arguments: Sequence[Any]
) -> T:
    """Write below a folder what a task writes, when it is there whole: Spark has a task that fails done again."""
    task, attempt = _task()
    staged = folder / "rows" / f"staged-{attempt}"  # on the volume of the folder
    try:
        result = what(make(rows_of, staged, named=f"part-{task:05d}-"), *arguments)
        for path in [path for path in staged.rglob("*") if path.is_file()]:
            place = folder / path.relative_to(staged)
            place.parent.mkdir(parents=True, exist_ok=True)
            path.rename(place)
        return result
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _task() -> tuple[int, int]:
    """Return the number of the task that runs, and that of its attempt, which no other has."""
    from pyspark import TaskContext

    context = TaskContext.get()
    return context.partitionId(), context.taskAttemptId()


def _show(
    writer: SetWriter, fit: EncoderFit, known: KnownTexts, report: Report
) -> tuple[EncoderFit, KnownTexts, Report]:
    writer.show(fit, known, report)
    return fit, known, report


def _again(writer: SetWriter, task: Callable[[Iterable[TrainingRows]], T]) -> T:
    (result,) = writer.again(task)
    return result


def _write(writer: SetWriter, encoder: Encoder, shortest: int) -> tuple[int, Counts]:
    coverage = Coverage(encoder)
    widest = writer.write(encoder, coverage, shortest)
    return widest, coverage.counts


# ---- How it gets there


def _in_worker(work: Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]], code: str) -> Any:
    """Return a function that Spark can send: it finds the code first, and then what the work is."""
    pickled = pickle.dumps(work)

    def in_worker(batches: Iterable[Any]) -> Iterator[Any]:
        import pickle
        import sys
        from zipimport import zipimporter

        from pyspark import SparkFiles

        if (folder := SparkFiles.get(code)) not in sys.path:
            sys.path.insert(0, folder)
        for path, finder in list(sys.path_importer_cache.items()):
            if isinstance(finder, zipimporter):  # Spark has each read its archive anew before each task
                del sys.path_importer_cache[path]
        from perennial.data.in_order import use_at_most

        use_at_most(1)  # Spark has a task for each core
        yield from pickle.loads(pickled)(batches)

    return in_worker


_sent_code: dict[str, str] = {}  # by application


def _shipped(context: Any) -> str:
    """Have the code of jobs on every machine, once; return the name of its folder."""
    if context.applicationId not in _sent_code:
        archive = Path(tempfile.mkdtemp(prefix="job-code-")) / "job-code.zip"
        with zipfile.ZipFile(archive, "w") as packed:
            for path in sorted(path for room in ROOMS for path in (CODE / room).rglob("*.py")):
                packed.write(path, path.relative_to(CODE))
        context.addArchive(f"{archive}#job-code")
        _sent_code[context.applicationId] = "job-code"
    return _sent_code[context.applicationId]
