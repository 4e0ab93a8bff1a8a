"""Where the files of a run are read and its valid rows are kept: on one machine, or on several (processing.spark).

What is learned of rows is learned by tasks, each of which begins anew and goes through some of them; what tasks have
learned of rows that follow each other is merged, and says the same as if one had gone through all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from perennial.data.contract import Contract
from perennial.data.coverage import Coverage
from perennial.data.encoder_fit import EncoderFit, TrainingRows
from perennial.data.quarantine import Quarantine
from perennial.data.report import Report
from perennial.data.row_numbers import OfRows
from perennial.data.rows import CONTENT, WHOLE
from perennial.data.sets import SetWriter, Spill, rows_of_sets
from perennial.features.encoding import Encoder
from perennial.features.record_checks import KnownTexts

T = TypeVar("T")
# Each with what people call it; None is one of a feature group without a record that is a row.
Files = Sequence[tuple[str, Path | None]]
RowsOfSets = Iterator[tuple[int, pa.Table]]


@dataclass
class About:
    """What a file says beside its rows: notes for a person, which columns it has, and times later than any can be."""

    notes: list[str] = field(default_factory=list)
    present: set[str] = field(default_factory=set)
    late: list[tuple[int, str]] = field(default_factory=list)


# Reads a file, given its position and its name: yields what some work learns of its valid rows, a batch each, and adds
# the others to the quarantine.
ReadRows = Callable[[int, str, Path, Quarantine, About, Callable[[pa.Table], T]], Iterator[T]]


class Reader(Protocol):
    """Reads any file by itself, as ingest.FileReader."""

    columns: Sequence[str]

    def read(
        self, number: int, name: str, path: Path, quarantine: Quarantine, about: About, keep: Callable[[pa.Table], T]
    ) -> Iterator[T]: ...

    def merge(self, other: Any) -> None: ...


class SetsWriter(Protocol):
    """Writes the sets of a run, as sets.SetWriter."""

    def show(self, fit: EncoderFit, known: KnownTexts, report: Report) -> None: ...

    def again(self, task: Callable[[Iterable[TrainingRows]], T]) -> Iterable[T]: ...

    def write(self, encoder: Encoder, coverage: Coverage, shortest: int) -> int: ...


class Machines(Protocol):
    """What reads the files and keeps their valid rows: one machine, or several.

    reading  yields a function that reads a file as FileReader.read does, and has its rows kept
    each     has a task go through the rows of some sets: through all of them, or in their order on each of several
             machines through its own; yields what the tasks return
    writer   writes the sets
    """

    def reading(self, reader: Reader, files: Files) -> AbstractContextManager[ReadRows[Any]]: ...

    def each(self, sets: OfRows, wanted: Sequence[int], task: Callable[[RowsOfSets], T]) -> Iterable[T]: ...

    def writer(
        self, contract: Contract, sets: OfRows, folder: Path, rows_per_part: int, *, with_header: bool, hosts: int
    ) -> SetsWriter: ...


class OneMachine:
    """Reads the files one after the other; their valid rows are in a spill below a folder."""

    def __init__(self, folder: Path) -> None:
        self.spill = Spill(folder)

    @contextmanager
    def reading(self, reader: Reader, files: Files) -> Iterator[ReadRows[Any]]:
        yield partial(self._read, reader)
        self.spill.finish()

    def _read(
        self,
        reader: Reader,
        number: int,
        name: str,
        path: Path,
        quarantine: Quarantine,
        about: About,
        learn: Callable[[pa.Table], T],
    ) -> Iterator[T]:
        def keep(valid: pa.Table) -> tuple[Any, T]:
            spilled = valid.drop_columns([name for name in (CONTENT, WHOLE) if name in valid.column_names])
            return self.spill.keep(spilled), learn(valid)

        for place, learned in reader.read(number, name, path, quarantine, about, keep):
            self.spill.append(place)
            yield learned

    def each(self, sets: OfRows, wanted: Sequence[int], task: Callable[[RowsOfSets], T]) -> list[T]:
        return [task(rows_of_sets(self.spill, sets, wanted))]

    def writer(
        self, contract: Contract, sets: OfRows, folder: Path, rows_per_part: int, *, with_header: bool, hosts: int
    ) -> SetWriter:
        rows = partial(rows_of_sets, self.spill, sets)
        return SetWriter(contract, rows, folder, rows_per_part, with_header=with_header, hosts=hosts)
