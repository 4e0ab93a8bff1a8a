"""Rows that break the contract: written with their reasons, and counted by rule and by file.

Each line of a quarantine part is `{"file", "row", "reasons": [...], "record": {...}}`; values are shortened, and at
most MAX_WRITTEN rows are written (all are counted, and the dropped files still hold all of them).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from perennial.data.broken import Broken, counted
from perennial.data.contract import Checked, Contract, Violation
from perennial.data.csv_files import Batch, UnreadableRow
from perennial.data.parts import PartWriter
from perennial.features.rules import expected_by, hint
from perennial.words import quoted

MAX_WRITTEN = 100_000
VALUE_CHARACTERS = 80


class Quarantine:
    """Takes in what the check found, file by file and batch by batch.

    all    the broken rows of the files that count
    new    of those, the ones of new files
    file   those of the file that is being read
    lines  what would be written, where there is no folder; who takes the lines out writes them
    """

    def __init__(self, contract: Contract, folder: Path | None = None, rows_per_part: int = 0) -> None:
        self._names = contract.names
        self._writer = PartWriter(folder, ".jsonl", rows_per_part) if folder else None
        self.lines: list[bytes] = []
        self._written_before = self.written = self.written_of_strays = 0
        self.all, self.new, self.file = Broken(), Broken(), Broken()
        self._name, self._broken_files = "", dict[str, int]()

    @property
    def worst(self) -> str:
        """The file with the most broken rows, of those that count, and how many more have some."""
        name = max(self._broken_files, key=lambda name: self._broken_files[name])
        more = len(self._broken_files) - 1
        return f"{name} and {counted(more, 'file')} more" if more else name

    def add(self, file: str, batch: Batch, checked: Checked) -> None:
        """Take in the broken rows of a batch."""
        self._name = file
        for row in batch.unreadable:
            self._add_unreadable(file, row)
        for violation in checked.violations:
            self._count(file, batch, violation)
        self._add_rows(file, batch, checked)

    def take(self, file: str, broken: Broken, lines: Sequence[bytes]) -> None:
        """Take in what another one has found of the next rows of a file, and the lines that it would write."""
        self._name = file
        self.file.add(broken)
        for line in lines[: MAX_WRITTEN - self.written]:
            self._write_line(line)

    def keep(self, *, is_new: bool) -> None:
        """End a file whose rows count."""
        self.all.add(self.file)
        if self.file.rows:
            self._broken_files[self._name] = self.file.rows
        if is_new:
            self.new.add(self.file)
        self._begin()

    def take_back(self) -> None:
        """End a file that is put aside: none of its rows counts; what is written of it stays where it is."""
        self.written_of_strays += self.written - self._written_before
        self._begin()

    def close(self) -> None:
        """Finish the last part."""
        if self._writer:
            self._writer.close()

    def _begin(self) -> None:
        self.file, self._written_before = Broken(), self.written

    def _count(self, file: str, batch: Batch, violation: Violation) -> None:
        rule = (violation.column.name, violation.rule)
        (first,) = _values(batch.table, violation.column.name, violation.rows[:1])
        expected = expected_by(violation.column, violation.rule, first) + hint(violation.column, violation.rule, first)
        wanted = self.file.count(rule, len(violation.rows), expected)
        some = violation.rows[:wanted]
        values = _values(batch.table, violation.column.name, some)
        for number, value in zip(batch.row_numbers(some).tolist(), values, strict=True):
            what = "" if violation.rule == "missing" else f": {quoted(value)}"
            self.file.show(rule, f"{file} row {number}{what}")

    def _add_rows(self, file: str, batch: Batch, checked: Checked) -> None:
        invalid = checked.invalid_rows()
        self.file.rows += len(invalid)
        positions = invalid[: MAX_WRITTEN - self.written]
        if not len(positions):
            return
        reasons: dict[int, list[str]] = {position: [] for position in positions.tolist()}
        for violation in checked.violations:
            rows = violation.rows[violation.rows <= positions[-1]]
            values = _values(batch.table, violation.column.name, rows)
            for position, value in zip(rows.tolist(), values, strict=True):
                reasons[position].append(violation.reason(value))
        names = self._names
        records = zip(*(_values(batch.table, name, positions) for name in names), strict=True)
        for number, why, record in zip(batch.row_numbers(positions).tolist(), reasons.values(), records, strict=True):
            self._write(file, number, why, dict(zip(names, record, strict=True)))

    def _add_unreadable(self, file: str, row: UnreadableRow) -> None:
        self.file.rows += 1
        if self.file.count(rule := ("", row.rule), 1) > 0:
            self.file.show(rule, f"{file} row {row.row}: {row.problem}")
        if self.written < MAX_WRITTEN:
            reason = f"the row has {row.problem}" if row.rule == "fields" else row.problem
            self._write(file, row.row, [reason], {"text": row.text})

    def _write(self, file: str, row: int, reasons: list[str], record: dict[str, Any]) -> None:
        short = {name: _shortened(value) for name, value in record.items()}
        entry = {"file": file, "row": row, "reasons": reasons, "record": short}
        self._write_line(f"{_readable(json.dumps(entry, default=str, ensure_ascii=False))}\n".encode())

    def _write_line(self, line: bytes) -> None:
        if self._writer:
            self._writer.write(1, line)
        else:
            self.lines.append(line)
        self.written += 1


def _values(table: pa.RecordBatch, column: str, positions: Any) -> list[Any]:
    values = table.column(column)
    values = (values.field("text") if pa.types.is_struct(values.type) else values).take(pa.array(positions))
    try:
        as_python: list[Any] = values.to_pylist()
    except (ValueError, OverflowError):  # a time that Python's calendar does not hold
        as_python = pc.cast(values, pa.string()).to_pylist()
    return as_python


def _readable(line: str) -> str:
    """Return a line of JSON with escapes for what is no print, such as other line ends and marks of direction."""
    return line if line.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)


def _shortened(value: Any) -> Any:
    if isinstance(value, str) and len(value) > VALUE_CHARACTERS:
        return value[: VALUE_CHARACTERS - 3] + "..."
    return value
