"""Whether a file may be scored: whether its rows are like those that the model has learned from.

What breaks the contract is refused row by row, as long as no more rows do than `quality.max_invalid_share` allows. A
file of fewer rows than `monitoring.min_records` is too small to tell drift by: only the contract decides.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from perennial.batch.rows import FileRows
from perennial.data import column_statistics
from perennial.data.contract import Contract
from perennial.data.header import FileError
from perennial.data.units import numbers_of
from perennial.features.rules import expected_by
from perennial.monitoring import data_quality
from perennial.monitoring.data_quality import DataLimits, WindowRecords
from perennial.monitoring.distances import chance_of_share
from perennial.monitoring.findings import BAD_DATA, NOT_ENOUGH, WindowFinding, verdict_of
from perennial.monitoring.verdict import Analysis
from perennial.monitoring.window import new_column, observe

_NO_ROWS: dict[str, Any] = {"version": column_statistics.FORMAT_VERSION, "features": [], "dataset": {"item_count": 0}}
DATA_QUALITY = "data_quality"


@dataclass
class BatchRows:
    """What the rows of a file add up to: statistics of those that the contract takes, and why not of the others."""

    contract: Contract
    definition: Mapping[str, Any]
    rows: int = 0
    sound: int = 0
    unreadable: int = 0
    first_unreadable: str = ""
    broken: Counter[tuple[str, str]] = field(default_factory=Counter)
    absent: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._columns = [new_column(column, self.definition) for column in self.contract.columns]

    def add(self, some: FileRows) -> pa.Table:
        """Take in rows, and return those that the model may be asked about."""
        sound = some.checked.valid()
        self.rows += len(some.numbers) + len(some.batch.unreadable)
        self.sound += sound.num_rows
        self.unreadable += len(some.batch.unreadable)
        for row in some.batch.unreadable:
            self.first_unreadable = self.first_unreadable or f"row {row.row}: {row.problem}"
        for violation in some.checked.violations:
            self.broken[violation.column.name, violation.rule] += violation.rows.size
        self.absent.update(dict.fromkeys(some.batch.absent, len(some.numbers)))
        for column in self._columns:
            observe(column, sound[column.name].combine_chunks())
        return sound

    @property
    def refused(self) -> int:
        """Rows that the model is not asked about."""
        return self.rows - self.sound

    @property
    def statistics(self) -> dict[str, Any]:
        """The document statistics.json of the sound rows."""
        return column_statistics.statistics(self._columns) if self.sound else _NO_ROWS

    def require_rows(self, name: str) -> None:
        """Raise FileError: the file has no rows, or none that keeps the contract."""
        if not self.rows:
            raise FileError(f"{name}: the file is empty: it holds no rows; expected at least one below a header")
        if not self.sound:
            rules = [f"{column}: {rows:,} rows break the rule {rule}" for (column, rule), rows in self._worst()]
            unreadable = [self.first_unreadable] if self.unreadable else []
            raise FileError(f"{name}: none of its {self.rows:,} rows keeps the data contract", *rules, *unreadable)

    def _worst(self) -> list[tuple[tuple[str, str], int]]:
        return self.broken.most_common(10)

    def refusals(self) -> dict[str, int]:
        """Return how many rows break which rule, for the report."""
        counts = {f"{column}: {rule}": rows for (column, rule), rows in self.broken.most_common()}
        return {**counts, **({"unreadable": self.unreadable} if self.unreadable else {})}

    def judge(self, baseline: Mapping[str, Any], constraints: Mapping[str, Any]) -> Analysis:
        """Return what the file amounts to. Raises MonitorError: the baseline is that of another model."""
        section, quality = self.definition["monitoring"], self.definition["quality"]
        of_data, by_name = section["data_quality"], {column.name: column for column in self.contract.columns}
        limits = DataLimits(
            of_data["distance"], of_data["stability"], of_data["missing"], quality["max_invalid_share"],
            section["false_alarm_rate"], of_data["leave_out"],
            numbers=numbers_of(self.definition, self.broken), target=self.definition["target"],
        )  # fmt: skip
        broken = {key: (rows, expected_by(by_name[key[0]], key[1])) for key, rows in self.broken.items()}
        records = WindowRecords(self.statistics, self.rows, len(by_name), broken, absent=self.absent)
        judged = data_quality.judge(baseline, constraints, records, limits)
        findings = [*judged.findings, *self._unreadable(limits, judged.level)]
        too_few = self.rows < section["min_records"]
        if too_few or not of_data["enabled"]:
            findings = [one for one in findings if one.kind == "bad_data" and one.check != "baseline_drift_check"]
        why = f"{self.rows:,} rows; drift is told of at least {section['min_records']:,} (monitoring.min_records)"
        verdict, reason = verdict_of(findings), why if too_few and of_data["enabled"] else ""
        return Analysis(NOT_ENOUGH if reason and not findings else verdict, reason, findings, judged.as_json())

    def _unreadable(self, limits: DataLimits, level: float) -> list[WindowFinding]:
        share = self.unreadable / self.rows
        if share <= limits.invalid or chance_of_share(self.unreadable, self.rows, limits.invalid) >= level:
            return []
        text = f"{share:.1%} of the rows cannot be read; the first: {self.first_unreadable}"
        return [WindowFinding("bad_data", "data_type_check", "*", text)]


def of_no_table(error: FileError) -> Analysis:
    """Return what a file amounts to that cannot be read, or has no row to score."""
    findings = [WindowFinding("bad_data", "data_type_check", "*", line, "metric_name") for line in error.lines]
    return Analysis(BAD_DATA, "", findings)
