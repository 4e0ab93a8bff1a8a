"""Writing train, validation, test, labels, baseline and row hashes from a spill file of valid rows and their sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from perennial.data import slices
from perennial.data.contract import Contract, class_numbers
from perennial.data.coverage import Coverage
from perennial.data.encoder_fit import EncoderFit, TrainingRows
from perennial.data.parts import PartWriter
from perennial.data.record_lines import lengths, record_lines
from perennial.data.report import Report
from perennial.data.row_hasher import RowHasher
from perennial.data.rows import CHAMPION, CHAMPION_TEST, FOLDER, IDENTITY, REST, Hashes
from perennial.data.slicer import slice_bits
from perennial.data.split import SETS, TEST, TRAIN, VALIDATION, Sets
from perennial.features.encoding import Encoder
from perennial.features.lines import csv_field, csv_lines
from perennial.features.record_checks import KnownTexts
from perennial.features.target_encoding import folds_of
from perennial.features.values import to_text

BATCH_BYTES = 1 << 20
FEATURES_AT_ONCE = 8_000_000  # bounds the memory of encoding where there are many categories


@contextmanager
def spill_writer(path: Path) -> Iterator[Callable[[pa.Table], None]]:
    """Yield a function that appends rows to an Arrow file, those of small files together: each batch is read thrice.

    Texts keep the dictionary of their batch.
    """
    writer: pa.RecordBatchStreamWriter | None = None
    waiting: list[pa.Table] = []
    waiting_bytes = 0

    def write(rows: pa.Table) -> None:
        nonlocal waiting_bytes
        waiting.append(rows)
        waiting_bytes += rows.nbytes
        if waiting_bytes >= BATCH_BYTES:
            write_out()

    def write_out() -> None:
        nonlocal writer, waiting_bytes
        together = waiting[0] if len(waiting) == 1 else pa.concat_tables(waiting).unify_dictionaries().combine_chunks()
        writer = writer or pa.ipc.new_stream(file, together.schema)
        writer.write_table(together)
        waiting.clear()
        waiting_bytes = 0

    with pa.OSFile(str(path), "wb") as file:
        yield write
        if waiting:
            write_out()
        if writer:
            writer.close()


def rows_of_sets(spill: Path, sets: Sets, wanted: Sequence[int]) -> Iterator[tuple[int, pa.Table]]:
    """Yield (set, rows) for each batch of the spill file and each wanted set that has rows in it."""
    start = 0
    with pa.OSFile(str(spill)) as file, pa.ipc.open_stream(file) as reader:
        for batch in reader:
            set_of_row = sets[start : start + batch.num_rows]
            start += batch.num_rows
            for number in wanted:
                rows = batch.filter(pa.array(set_of_row == number))
                if rows.num_rows:
                    yield number, pa.Table.from_batches([rows])


class SetWriter:
    """Writes the sets of one run below a folder, in parts of at most `rows_per_part` rows.

    with_header  what trains begins with the names of its columns: for scripts; built-in algorithms refuse it
    """

    def __init__(
        self,
        contract: Contract,
        spill: Path,
        sets: Sets,
        folder: Path,
        rows_per_part: int,
        *,
        with_header: bool = False,
    ) -> None:
        self._with_header = with_header
        self._contract, self._target = contract, contract.target.name
        self._features, self._baseline = [column.name for column in contract.features], contract.baseline
        self._spill, self._sets = spill, sets
        self._folder, self._rows_per_part = folder, rows_per_part

    def write_raw_sets(self, fit: EncoderFit, known: KnownTexts, report: Report) -> None:
        """Write baseline, labels and hashes; count the sets and show the training rows to the fit."""
        target = self._target
        header = ",".join(self._baseline) + "\n"
        baseline = self._parts("baseline", ".csv", header.encode())
        labels = self._parts("labels", ".csv")
        folders = ("seen", "test", "target", "champion", "rest", "seen-rest", slices.FOLDER)
        hashes = [self._parts(f"{FOLDER}/{name}", ".u64") for name in folders]
        training, tested, targets, by_champion, rest, training_rest, in_slices = hashes
        for number, rows in rows_of_sets(self._spill, self._sets, (TRAIN, VALIDATION, TEST)):
            learned = rows.select([target]).set_column(0, target, self._numbers(rows))
            report.add_to_set(SETS[number], learned[target])
            if number == TRAIN:
                fit.update(rows.select(self._features))
                known.update(rows)
                _write(baseline, rows.select(self._baseline), _csv)
            if number == TEST:
                _write(labels, learned, _csv)
                _write(tested, rows.select([IDENTITY]), _hashes)
                _write(targets, rows.select([target]), self._target_hashes)
                if self._contract.slices:
                    _write(in_slices, rows, self._slice_bits)
                if CHAMPION in rows.column_names:
                    _write(by_champion, rows.select([CHAMPION]), _hashes)
            else:
                _write(training, rows.select([IDENTITY]), _hashes)
            if REST in rows.column_names:
                _write(rest if number == TEST else training_rest, rows.select([REST]), _hashes)
        for writer in (baseline, labels, *hashes):
            writer.close()

    def training_rows(self) -> Iterator[TrainingRows]:
        """Yield what a fit wants to know of the training rows, in batches."""
        for _, rows in rows_of_sets(self._spill, self._sets, (TRAIN,)):
            target = pc.cast(self._numbers(rows), pa.float64()).to_numpy()
            yield rows.select(self._features), target, rows[IDENTITY].to_numpy()

    def write_encoded_sets(self, encoder: Encoder, coverage: Coverage) -> None:
        """Write train and validation, label first; training rows are encoded out of fold.

        `coverage` is shown the features of all sets.
        """
        names = csv_field(pa.array([self._target, *encoder.feature_names])).to_pylist()
        header = f"{','.join(names)}\n".encode() if self._with_header else b""
        writers = {number: self._parts(SETS[number], ".csv", header) for number in (TRAIN, VALIDATION)}

        def encoded(rows: pa.Table, in_training: bool) -> memoryview:
            folds = folds_of(rows[IDENTITY].to_numpy()) if in_training else None
            return csv_lines([to_text(self._learned(rows)), *encoder.fields(rows.select(self._features), folds)])

        for number, rows in rows_of_sets(self._spill, self._sets, (TRAIN, VALIDATION, TEST)):
            coverage.update(SETS[number], rows.select(self._features))
            if number == TEST:
                continue
            render = partial(encoded, in_training=number == TRAIN)
            _write(writers[number], rows, render, max(1, FEATURES_AT_ONCE // len(encoder.feature_names)))
        for writer in writers.values():
            writer.close()

    def write_test_set(self, encoder: Encoder, shortest: int) -> int:
        """Write the raw records, in lines of at least `shortest` bytes; return the bytes of the widest encoded row."""
        test, of_champion, widest = self._parts("test", ".jsonl"), self._parts(CHAMPION_TEST, ".jsonl"), 0

        def records(rows: pa.Table) -> memoryview:
            nonlocal widest
            encoded = lengths(encoder.encode(rows))
            widest = max(widest, int(encoded.max(initial=0)))
            return record_lines(rows, encoded, shortest)

        at_once = max(1, FEATURES_AT_ONCE // (len(encoder.feature_names) + shortest))
        for _, rows in rows_of_sets(self._spill, self._sets, (TEST,)):
            _write(test, rows.select(self._features), records, at_once)
            if CHAMPION in rows.column_names:
                _write(of_champion, _of_champion(rows), partial(record_lines, encoded=None, shortest=shortest), at_once)
        for writer in (test, of_champion):
            writer.close()
        return widest

    def _numbers(self, rows: pa.Table) -> pa.Array:
        """Return the target of each row, or the number of its class."""
        return class_numbers(rows[self._target].combine_chunks(), self._contract.classes)

    def _learned(self, rows: pa.Table) -> pa.Array:
        """Return what the algorithm learns of each row: its target, or the logarithm of it."""
        target = self._numbers(rows)
        return pc.ln(pc.cast(target, pa.float64())) if self._contract.target.logarithm else target

    def _target_hashes(self, rows: pa.Table) -> memoryview:
        return _bytes(RowHasher([self._target]).hashes(rows))

    def _slice_bits(self, rows: pa.Table) -> memoryview:
        return _bytes(slice_bits(rows, self._contract.slices))

    def _parts(self, name: str, suffix: str, header: bytes = b"") -> PartWriter:
        return PartWriter(self._folder / name, suffix, self._rows_per_part, header)


def _write(
    writer: PartWriter, rows: pa.Table, render: Callable[[pa.Table], memoryview], at_once: int = 1 << 20
) -> None:
    """Write rows, each in the part where there is room for it."""
    start = 0
    while start < rows.num_rows:
        part = rows.slice(start, min(writer.room, at_once))
        writer.write(part.num_rows, render(part))
        start += part.num_rows


def _csv(rows: pa.Table) -> memoryview:
    return csv_lines([csv_field(column.combine_chunks()) for column in rows.columns])


def _of_champion(rows: pa.Table) -> pa.Table:
    """Return the features as the model in service reads them, under the names that it knows."""
    prefix = f"{CHAMPION}."
    own = [name for name in rows.column_names if name.startswith(prefix)]
    return rows.select(own).rename_columns([name.removeprefix(prefix) for name in own])


def _hashes(rows: pa.Table) -> memoryview:
    return _bytes(rows.column(0).to_numpy())


def _bytes(hashes: Hashes) -> memoryview:
    return memoryview(hashes.astype("<u8").tobytes())
