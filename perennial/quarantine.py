"""Rows that break the contract: kept aside with their reasons, counted by rule and by file.

Each line of a quarantine part is `{"file", "row", "reasons": [...], "record": {...}}`; values are shortened, and at
most MAX_WRITTEN rows are written (all are counted, and the dropped files still hold all of them).
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from perennial.contract import Checked, Contract, Violation
from perennial.csvfile import Batch, UnreadableRow
from perennial.parts import PartWriter
from perennial.values import shown

MAX_WRITTEN = 100_000
MAX_EXAMPLES = 3
VALUE_CHARACTERS = 80

Rule = tuple[str, str]  # (column, rule); the column is empty where the rule is about the whole row


class Quarantine:
    """Takes in what the check found, batch by batch."""

    def __init__(self, contract: Contract, folder: Path, rows_per_part: int) -> None:
        self._names = contract.names
        self._writer = PartWriter(folder, ".jsonl", rows_per_part)
        self._rows_of_file: Counter[str] = Counter()
        self._rows_of_rule: Counter[Rule] = Counter()
        self._examples: dict[Rule, list[str]] = {}
        self.written = self.written_of_strays = 0
        self.begin()

    @property
    def rows(self) -> int:
        """How many rows broke the contract."""
        return self._rows_of_file.total()

    def rows_of_file(self, file: str) -> int:
        """How many rows of one file broke the contract."""
        return self._rows_of_file[file]

    def add(self, file: str, batch: Batch, checked: Checked) -> None:
        """Take in the broken rows of a batch."""
        for row in batch.unreadable:
            self._add_unreadable(file, row)
        for violation in checked.violations:
            self._count(file, batch, violation)
        self._add_rows(file, batch, checked)

    def begin(self) -> None:
        """Remember the counts before a file, so that `take_back` can give them back."""
        examples = {rule: [*some] for rule, some in self._examples.items()}
        self._before = (self._rows_of_rule.copy(), examples, self.written)

    def take_back(self, file: str) -> None:
        """Count nothing of a file since `begin`; what is written of it stays where it is."""
        self._rows_of_rule, self._examples, written = self._before
        self._rows_of_file.pop(file, None)
        self.written_of_strays += self.written - written

    def close(self) -> None:
        """Finish the last part."""
        self._writer.close()

    def rules(self) -> list[dict[str, Any]]:
        """The rules that were broken, most often first, with how often and a few examples."""
        return [
            {"column": column, "rule": rule, "rows": rows, "examples": self._examples[column, rule]}
            for (column, rule), rows in sorted(self._rows_of_rule.items(), key=lambda item: (-item[1], item[0]))
        ]

    def problems(self) -> list[str]:
        """What broke how often, with examples: a line for each rule."""
        return [
            f"{rule['column'] or 'row'} breaks the rule '{rule['rule']}' in {rule['rows']:,} "
            f"{'row' if rule['rows'] == 1 else 'rows'} ({'; '.join(rule['examples'])})"
            for rule in self.rules()
        ]

    def _count(self, file: str, batch: Batch, violation: Violation) -> None:
        rule = (violation.column.name, violation.rule)
        self._rows_of_rule[rule] += len(violation.rows)
        examples = self._examples.setdefault(rule, [])
        some = violation.rows[: MAX_EXAMPLES - len(examples)]
        values = _values(batch.table, violation.column.name, some)
        for number, value in zip(batch.row_numbers(some).tolist(), values, strict=True):
            what = "" if violation.rule == "missing" else f": {shown(value)}"
            examples.append(f"{file} row {number}{what}")

    def _add_rows(self, file: str, batch: Batch, checked: Checked) -> None:
        invalid = checked.invalid_rows()
        self._rows_of_file[file] += len(invalid)
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
        self._rows_of_file[file] += 1
        self._rows_of_rule["", row.rule] += 1
        examples = self._examples.setdefault(("", row.rule), [])
        if len(examples) < MAX_EXAMPLES:
            examples.append(f"{file} row {row.row}: {row.problem}")
        if self.written < MAX_WRITTEN:
            reason = f"the row has {row.problem}" if row.rule == "fields" else row.problem
            self._write(file, row.row, [reason], {"text": row.text})

    def _write(self, file: str, row: int, reasons: list[str], record: dict[str, Any]) -> None:
        short = {name: _shortened(value) for name, value in record.items()}
        line = json.dumps({"file": file, "row": row, "reasons": reasons, "record": short}, default=str) + "\n"
        self._writer.write(1, line.encode())
        self.written += 1


def _values(table: pa.RecordBatch, column: str, positions: Any) -> list[Any]:
    values = table.column(column)
    values = (values.field("shown") if pa.types.is_struct(values.type) else values).take(pa.array(positions))
    try:
        as_python: list[Any] = values.to_pylist()
    except (ValueError, OverflowError):  # a time that Python's calendar does not hold
        as_python = pc.cast(values, pa.string()).to_pylist()
    return as_python


def _shortened(value: Any) -> Any:
    if isinstance(value, str) and len(value) > VALUE_CHARACTERS:
        return value[: VALUE_CHARACTERS - 3] + "..."
    return value
