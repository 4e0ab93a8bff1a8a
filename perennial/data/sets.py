"""Writing train, validation, test, labels, baseline and row hashes from a spill file of valid rows and their sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from perennial.data import slices
from perennial.data.contract import Contract, class_numbers
from perennial.data.coverage import Counts, Coverage
from perennial.data.encoder_fit import EncoderFit, TrainingRows
from perennial.data.in_order import cores, in_order
from perennial.data.parts import PartWriter, Placed, write_all
from perennial.data.record_lines import encoded_lengths, record_lines
from perennial.data.report import Report
from perennial.data.row_hasher import RowHasher
from perennial.data.row_numbers import OfRows
from perennial.data.rows import CHAMPION, CHAMPION_TEST, FOLDER, IDENTITY, REST, Hashes
from perennial.data.shares import share_out
from perennial.data.slicer import slice_bits
from perennial.data.split import SETS, TEST, TRAIN, VALIDATION
from perennial.features.encoding import Encoder, prepared, whole_column
from perennial.features.lines import Fields, csv_field, csv_lines
from perennial.features.record_checks import KnownTexts
from perennial.features.target_encoding import folds_of
from perennial.features.values import STRING, to_texts

T = TypeVar("T")

# (set, rows) of the wanted sets, of all columns or of some for each set; or what some work makes of them.
RowsOf = Callable[..., Iterator[Any]]
BatchOfSets = tuple[Callable[[], pa.RecordBatch], npt.NDArray[Any]]

BATCH_BYTES = 1 << 20
FEATURES_AT_ONCE = 8_000_000  # on all cores; bounds the memory of encoding where there are many categories
HASHES = ("seen", "test", "target", "champion", "rest", "seen-rest", slices.FOLDER)


@dataclass(frozen=True)
class _Place:
    """Where a batch is: in which file, from which byte on, and how many rows it has."""

    path: Path
    start: int
    rows: int

    def read(self) -> pa.RecordBatch:
        """Return the batch."""
        with pa.OSFile(str(self.path)) as file:
            file.seek(self.start)
            with pa.ipc.open_stream(file) as reader:
                return reader.read_next_batch()


class Spill:
    """Valid rows on the disk, in batches that any thread writes and reads: each thread in a file that is free.

    Texts keep the dictionary of their batch. Rows of small files are put together: each batch is read thrice.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers, self._free = count(), SimpleQueue[tuple[Path, pa.OSFile]]()
        self._places: list[_Place] = []
        self._waiting: list[pa.Table] = []
        self._waiting_bytes = 0

    def keep(self, rows: pa.Table) -> _Place | pa.Table:
        """Write some rows, or leave that to `append` where they are few. Any thread may."""
        return self._written(rows) if rows.nbytes >= BATCH_BYTES else rows

    def append(self, batch: _Place | pa.Table) -> None:
        """Take in the next rows."""
        if isinstance(batch, _Place):
            self._write_out()
            self._places.append(batch)
        elif batch.num_rows:
            self._waiting.append(batch)
            self._waiting_bytes += batch.nbytes
            if self._waiting_bytes >= BATCH_BYTES:
                self._write_out()

    def finish(self) -> None:
        """Write what waits, when all rows are there."""
        self._write_out()
        while not self._free.empty():
            self._free.get()[1].close()

    def batches(self, sets: OfRows) -> Iterator[BatchOfSets]:
        """Yield what reads each batch, and the sets of its rows."""
        start = 0
        for place in self._places:
            yield place.read, sets[start : start + place.rows]
            start += place.rows

    def _write_out(self) -> None:
        if self._waiting:
            self._places.append(self._written(in_one_piece(self._waiting)))
            self._waiting, self._waiting_bytes = [], 0

    def _written(self, rows: pa.Table) -> _Place:
        try:
            path, file = self._free.get_nowait()
        except Empty:
            path = self.folder / f"rows-{next(self._numbers)}.arrow"
            file = pa.OSFile(str(path), "wb")
        place = _Place(path, file.tell(), rows.num_rows)
        with pa.ipc.new_stream(file, rows.schema) as writer:
            writer.write_table(rows)
        self._free.put((path, file))
        return place


def in_one_piece(tables: Sequence[pa.Table]) -> pa.Table:
    """Return tables as one, whose texts have one dictionary."""
    return tables[0] if len(tables) == 1 else pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def rows_of_sets(
    spill: Spill,
    sets: OfRows,
    wanted: Sequence[int],
    columns: Mapping[int, Sequence[str]] | None = None,
    work: Callable[[int, pa.Table], T] | None = None,
) -> Iterator[Any]:
    """Yield (set, rows) for each batch of the spill and each wanted set that has rows in it, as `dealt`."""
    yield from dealt(spill.batches(sets), wanted, columns, work)


def dealt(
    batches: Iterable[BatchOfSets],
    wanted: Sequence[int],
    columns: Mapping[int, Sequence[str]] | None = None,
    work: Callable[[int, pa.Table], T] | None = None,
) -> Iterator[Any]:
    """Yield (set, rows) for each wanted set that has rows in a batch, or what some work makes of them, on any core.

    batches  what reads each, and the sets of its rows
    columns  those of each set, where not all are wanted
    """

    def chosen(item: BatchOfSets) -> list[Any]:
        read, set_of_row = item
        batch = read()
        rows = {number: np.flatnonzero(set_of_row == number) for number in wanted}
        some = {number: batch.select(columns[number]) if columns else batch for number in wanted}
        pieces = [
            (number, pa.Table.from_batches([some[number].take(pa.array(places))]))
            for number, places in rows.items()
            if len(places)
        ]
        return [work(*piece) for piece in pieces] if work else pieces

    for pieces in in_order(chosen, batches):
        yield from pieces


@dataclass(frozen=True)
class _Piece:
    """Some rows of a set, and what is encoded of them."""

    number: int
    rows: pa.Table
    encodable: pa.Table


@dataclass(frozen=True)
class _Lesson:
    """What some rows of a set add to a report, and of training rows to the texts that are known and to the fit."""

    report: Report
    known: KnownTexts | None = None
    learned: EncoderFit | pa.Table | None = None


@dataclass(frozen=True)
class _Rendered:
    """What is written of some rows, by its folder, and the bytes of the widest encoded one."""

    rows: int
    lines: Mapping[str, memoryview]
    hashes: Mapping[str, Hashes]
    widest: int = 0


class SetWriter:
    """Writes the sets of one run below a folder, in parts of at most `rows_per_part` rows.

    rows         yields (set, rows) of the wanted sets, given them and perhaps columns; the same ones each time
    with_header  what trains begins with the names of its columns: for scripts; built-in algorithms refuse it
    hosts        machines that train, each on a share of the training rows
    named        what the names of parts begin with
    """

    def __init__(
        self,
        contract: Contract,
        rows: RowsOf,
        folder: Path,
        rows_per_part: int,
        *,
        with_header: bool = False,
        hosts: int = 1,
        named: str = "part-",
    ) -> None:
        self._with_header, self._hosts = with_header, hosts
        self._contract, self._target = contract, contract.target.name
        self._features, self._baseline = [column.name for column in contract.features], contract.baseline
        self._rows = rows
        self._folder, self._rows_per_part, self._named = folder, rows_per_part, named

    def show(self, fit: EncoderFit, known: KnownTexts, report: Report) -> None:
        """Count the sets and show the training rows to the fit."""
        columns = {TRAIN: [*self._baseline], VALIDATION: [self._target], TEST: [self._target]}
        for some in self._rows([*columns], columns, partial(self._teach, fit, known, report)):
            report.merge_sets(some.report)
            if some.known:
                known.merge(some.known)
            if isinstance(some.learned, pa.Table):
                fit.update(some.learned)
            elif some.learned:
                fit.merge(some.learned)

    def _teach(self, fit: EncoderFit, known: KnownTexts, report: Report, number: int, rows: pa.Table) -> _Lesson:
        """Count some rows, and fit those that train by themselves, unless one thread has to."""
        counts = report.of_sets()
        counts.add_to_set(SETS[number], self._numbers(rows))
        if number != TRAIN:
            return _Lesson(counts)
        features = rows.select(self._features)
        return _Lesson(counts, known.of_rows(rows), features if fit.hook else fit.of_rows(features))

    def again(self, task: Callable[[Iterable[TrainingRows]], T]) -> list[T]:
        """Show a task what a fit wants to know of the training rows, in batches."""
        return [task(self._training_rows())]

    def _training_rows(self) -> Iterator[TrainingRows]:
        for _, rows in self._rows((TRAIN,)):
            target = pc.cast(self._numbers(rows), pa.float64(), safe=False).to_numpy()
            yield rows.select(self._features), target, rows[IDENTITY].to_numpy()

    def write(self, encoder: Encoder, coverage: Coverage, shortest: int) -> int:
        """Write all sets; return the bytes of the widest encoded row of the test set.

        Train and validation have the label first, and training rows are encoded out of fold. Records of the test set
        have at least `shortest` bytes. `coverage` is shown what is encoded of all sets.
        """
        learned = csv_field(pa.array([self._target, *encoder.feature_names])).to_pylist()
        header = f"{','.join(learned)}\n".encode() if self._with_header else b""
        writers = {
            "baseline": self._parts("baseline", ".csv", f"{','.join(self._baseline)}\n".encode()),
            **{SETS[number]: self._parts(SETS[number], ".csv", header) for number in (TRAIN, VALIDATION)},
            **{name: self._parts(name, ".jsonl") for name in (SETS[TEST], CHAMPION_TEST)},
            "labels": self._parts("labels", ".csv"),
        }
        hashes = {name: self._parts(f"{FOLDER}/{name}", ".u64") for name in HASHES}
        widest = 0

        def placed() -> Iterator[list[Placed]]:
            nonlocal widest
            for done in in_order(partial(self._rendered, encoder, shortest), self._pieces(encoder, coverage, shortest)):
                widest = max(widest, done.widest)
                lines = [writers[name].place(done.rows, some) for name, some in done.lines.items()]
                for name, some in done.hashes.items():
                    lines += _placed_hashes(hashes[name], some)
                yield lines

        for _ in in_order(write_all, placed()):
            pass
        if self._hosts > 1:
            share_out(self._folder / SETS[TRAIN], self._hosts)
        return widest

    def _pieces(self, encoder: Encoder, coverage: Coverage, shortest: int) -> Iterator[_Piece]:
        """Yield the rows of all sets in pieces that a part has room for. One thread makes a model's own features."""
        written = dict.fromkeys((TRAIN, VALIDATION, TEST), 0)
        covered = None if encoder.hook else partial(self._covered, encoder)
        for number, rows, *counts in self._rows([*written], None, covered):
            encodable = prepared(rows.select(self._features), encoder.hook)
            if counts:
                coverage.add(*counts)
            else:
                coverage.update(SETS[number], encodable)
            width = len(encoder.feature_names) + (shortest if number == TEST else 0)
            at_once, start = max(1, FEATURES_AT_ONCE // width // cores()), 0
            while start < rows.num_rows:
                count = min(at_once, self._rows_per_part - written[number] % self._rows_per_part)
                yield _Piece(number, rows.slice(start, count), encodable.slice(start, count))
                written[number] += min(count, rows.num_rows - start)
                start += count

    def _covered(self, encoder: Encoder, number: int, rows: pa.Table) -> tuple[int, pa.Table, Counts]:
        """Return some rows of a set, and what is unseen of them."""
        coverage = Coverage(encoder)
        coverage.update(SETS[number], rows)
        return number, rows, coverage.counts

    def _rendered(self, encoder: Encoder, shortest: int, piece: _Piece) -> _Rendered:
        """Return what is written of some rows. Numbers become texts once, for all that holds them."""
        number, rows = piece.number, piece.rows
        columns = {name: whole_column(rows, name) for name in self._baseline}
        texts = {
            name: csv_field(values)
            for name, values in columns.items()
            if number == TRAIN or not pa.types.is_dictionary(values.type)
        }
        folds = folds_of(rows[IDENTITY].to_numpy()) if number == TRAIN else None
        fields = encoder.fields(piece.encodable, folds, {} if encoder.hook else texts)
        if number == TEST:
            lengths = encoded_lengths(fields)
            lines = {
                SETS[TEST]: record_lines(rows.select(self._features), lengths, shortest, texts),
                "labels": csv_lines([self._judged(rows, texts)]),
            }
            if CHAMPION in rows.column_names:
                lines[CHAMPION_TEST] = record_lines(_of_champion(rows), None, shortest)
            return _Rendered(rows.num_rows, lines, self._hashes(number, rows), int(lengths.max(initial=0)))
        lines = {SETS[number]: csv_lines([self._label(rows, texts), *fields])}
        if number == TRAIN:
            lines["baseline"] = csv_lines([texts[name] for name in self._baseline])
        return _Rendered(rows.num_rows, lines, self._hashes(number, rows))

    def _label(self, rows: pa.Table, texts: Mapping[str, Fields]) -> Fields:
        learned = self._learned(rows)
        is_itself = learned.type == rows[self._target].type and not self._contract.target.logarithm
        return texts[self._target] if is_itself and learned.type != STRING else to_texts(learned)

    def _judged(self, rows: pa.Table, texts: Mapping[str, Fields]) -> Fields:
        """Return the target of each row, or the number of its class."""
        return csv_field(self._numbers(rows)) if self._contract.classes else texts[self._target]

    def _hashes(self, number: int, rows: pa.Table) -> dict[str, Hashes]:
        """Return what tells rows, by the folder that it belongs in."""
        known, rest = ("test", "rest") if number == TEST else ("seen", "seen-rest")
        hashes = {known: rows[IDENTITY].to_numpy()}
        if REST in rows.column_names:
            hashes[rest] = rows[REST].to_numpy()
        if number == TEST:
            hashes["target"] = RowHasher([self._target]).hashes(rows)
            if self._contract.slices:
                hashes[slices.FOLDER] = slice_bits(rows, self._contract.slices)
            if CHAMPION in rows.column_names:
                hashes[CHAMPION.removeprefix("#")] = rows[CHAMPION].to_numpy()
        return hashes

    def _numbers(self, rows: pa.Table) -> pa.Array:
        """Return the target of each row, or the number of its class."""
        return class_numbers(rows[self._target].combine_chunks(), self._contract.classes)

    def _learned(self, rows: pa.Table) -> pa.Array:
        """Return what the algorithm learns of each row: its target, or the logarithm of it."""
        target = self._numbers(rows)
        return pc.ln(pc.cast(target, pa.float64(), safe=False)) if self._contract.target.logarithm else target

    def _parts(self, name: str, suffix: str, header: bytes = b"") -> PartWriter:
        return PartWriter(self._folder / name, suffix, self._rows_per_part, header, named=self._named)


def _placed_hashes(writer: PartWriter, hashes: Hashes) -> Iterator[Placed]:
    """Yield hashes, each in the part where there is room for it."""
    start = 0
    while start < len(hashes):
        some = np.ascontiguousarray(hashes[start : start + writer.room], "<u8")
        yield writer.place(len(some), some.data.cast("B"))
        start += len(some)


def _of_champion(rows: pa.Table) -> pa.Table:
    """Return the features as the model in service reads them, under the names that it knows."""
    prefix = f"{CHAMPION}."
    own = [name for name in rows.column_names if name.startswith(prefix)]
    return rows.select(own).rename_columns([name.removeprefix(prefix) for name in own])
