"""Taking the files of a run in: each row checked, told from all others, dealt to a set, and kept in a spill file."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from perennial import drift
from perennial.column import Column
from perennial.comparison import reads_alike
from perennial.contract import Checked, Contract, check, parsed
from perennial.csvfile import Batch
from perennial.duplicates import DuplicateCounter
from perennial.header import FileError
from perennial.quarantine import Quarantine
from perennial.report import Report
from perennial.row_hasher import RowHasher
from perennial.rows import CHAMPION, CONTENT, IDENTITY, UNKNOWN, combined, identity_columns, specification
from perennial.sets import rows_of_sets, spill_writer
from perennial.split import REPEATED, Sets, splitter
from perennial.tabular import read


@dataclass(frozen=True)
class Champion:
    """What a run has to know of the model in service.

    definition  its model.yaml, resolved; None when there is no model in service
    new_files   positions of the files that it was not trained on
    statistics  the statistics.json of the rows that it was trained on, if its run left one
    widest_row  bytes of its widest encoded row
    """

    definition: Mapping[str, Any] | None = None
    new_files: frozenset[int] = frozenset()
    statistics: Mapping[str, Any] | None = None
    widest_row: int = 0

    def finds_new(self, number: int) -> bool:
        """Whether the model in service was not trained on a file; without one all are new."""
        return self.definition is None or number in self.new_files

    def reads_otherwise_than(self, definition: Mapping[str, Any]) -> bool:
        """Whether it takes records, or tells rows, by other columns than a definition, or by other readings of them."""
        champion = self.definition
        return champion is not None and not (
            reads_alike(definition, champion) and specification(definition) == specification(champion)
        )

    @classmethod
    def read(cls, folder: Path) -> Champion:
        """Read champion.json, which the run leaves before it starts the job, and statistics.json if it is there."""
        about, statistics = (_document(folder / name) for name in ("champion.json", "statistics.json"))
        new_files = frozenset(about.get("new_files", ()))
        return cls(about.get("definition"), new_files, statistics or None, about.get("widest_row", 0))


def _document(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def ingest(
    files: Sequence[tuple[str, Path]],
    contract: Contract,
    definition: Mapping[str, Any],
    champion: Champion,
    spill: Path,
    quarantine: Quarantine,
    report: Report,
) -> Sets:
    """Write the valid rows of the files, each with its name, to the spill file; return the set of each.

    A file that cannot be read is put aside, also when that shows at its end: its rows are in no set. Raises FileError
    where the definition says so (quality.stray_files).
    """
    splitting, duplicates = splitter(definition["split"]), DuplicateCounter()
    telling = _Telling(contract, definition)
    by_champion = _ByChampion(champion.definition) if champion.reads_otherwise_than(definition) else None
    columns = (*contract.columns, *(by_champion.columns if by_champion else ()))
    new: list[slice] = []  # where the rows of new files stand
    rows = 0
    with spill_writer(spill) as write:
        for number, (name, path) in enumerate(files):
            first, is_new, notes = rows, champion.finds_new(number), list[str]()
            try:
                for batch in read(path, columns, name, contract.form, notes):
                    checked = telling.told(check(contract, batch.table))
                    if by_champion:
                        checked = by_champion.told(checked, batch)
                    quarantine.add(name, batch, checked)
                    valid = checked.valid()
                    rows += valid.num_rows
                    splitting.observe(number, valid)
                    duplicates.observe(valid[CONTENT].to_numpy())
                    write(valid)
                if rows == first and quarantine.file.rows:
                    raise no_valid_row(name, quarantine)
            except FileError as error:
                if definition["quality"].get("stray_files") == "fail":
                    raise
                splitting.leave_out(number)
                quarantine.take_back()
                report.put_aside(number, name, error)
                print(f"{name}: put aside, {rows - first} rows had been read", flush=True)
                continue
            new += [slice(first, rows)] if number in champion.new_files else []
            used, broken = rows - first, quarantine.file.rows
            report.add_file(name, path.stat().st_size, used, broken, notes, is_new=is_new)
            quarantine.keep(is_new=is_new)
            print(f"{name}: {used} rows used, {broken} quarantined", flush=True)
    report.add_quarantine(quarantine)
    sets = splitting.finish()
    report.rows_repeated, report.rows_left_out = duplicates.count(sets), int((sets == REPEATED).sum())
    print(f"{report.rows_repeated} rows repeat an earlier row", flush=True)
    report.identity = specification(definition)
    report.champion_identity = specification(champion.definition) if by_champion and champion.definition else ""
    is_of_new_file = np.zeros(rows, np.uint8)
    for place in new:
        is_of_new_file[place] = 1
    if champion.statistics and is_of_new_file.any():
        moving = drift.DropDrift(champion.statistics, contract.baseline)
        for _, found in rows_of_sets(spill, is_of_new_file, (1,)):
            moving.observe(found)
        report.moved = moving.found()
        report.drift = drift.summary(report.moved, int(is_of_new_file.sum(dtype=np.int64)))
    return sets


def no_valid_row(name: str, quarantine: Quarantine) -> FileError:
    """Return the error of a file of which no row keeps the contract: nothing of it can be used."""
    rows = quarantine.file.rows
    which = "its only row does not keep" if rows == 1 else f"none of its {rows:,} rows keeps"
    return FileError(f"{name}: {which} the data contract", *quarantine.file.problems())


class _Telling:
    """Adds the hashes that tell rows apart."""

    def __init__(self, contract: Contract, definition: Mapping[str, Any]) -> None:
        self._target = contract.target.name
        self._identity = RowHasher(identity_columns(definition))
        self._with_target = None if contract.key else RowHasher([self._target])

    def told(self, checked: Checked) -> Checked:
        """Return a batch with the columns IDENTITY and CONTENT."""
        identity = self._identity.hashes(checked.table)
        content = identity
        if self._with_target:
            content = combined(identity, self._with_target.hashes(checked.table))
        table = checked.table.append_column(IDENTITY, pa.array(identity)).append_column(CONTENT, pa.array(content))
        return replace(checked, table=table)


class _ByChampion:
    """Reads the same rows as the model in service does, by its own definition: its features, and what tells its rows.

    A file need not have these columns. Where one is absent that is always there for the model in service its rows
    cannot be told, and have no hash.
    """

    def __init__(self, definition: Mapping[str, Any] | None) -> None:
        self._definition = definition or {}
        contract = Contract.from_definition(self._definition)
        telling = identity_columns(self._definition)
        features = [column.name for column in contract.features]
        wanted = [column for column in contract.columns if column.name in {*telling, *features}]
        self._own = {column.name: as_champions(column) for column in wanted}
        self._features, self._telling, self._hasher = features, telling, RowHasher(telling)

    @property
    def columns(self) -> tuple[Column, ...]:
        """What to read of a file beside the columns of the run's own definition."""
        return tuple(self._own.values())

    def told(self, checked: Checked, batch: Batch) -> Checked:
        """Return a batch with the column CHAMPION and the features as the model in service reads them."""
        values = {name: parsed(column, batch.table.column(column.name)).values for name, column in self._own.items()}
        hashes = self._hasher.hashes(pa.table({name: values[name] for name in self._telling}))
        for name in self._telling:
            if not self._own[name].nullable:
                hashes = np.where(values[name].is_null().to_numpy(zero_copy_only=False), UNKNOWN, hashes)
        table = checked.table.append_column(CHAMPION, pa.array(hashes))
        for name in self._features:
            table = table.append_column(self._own[name].name, values[name])
        return replace(checked, table=table)


def as_champions(column: Column) -> Column:
    """Return a column of the model in service under a name of its own, which is optional in files."""
    return replace(column, name=f"{CHAMPION}.{column.name}", own_name=column.name, optional=True)
