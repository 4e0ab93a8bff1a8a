"""The rows of a file that is scored: which the model may be asked about, and why not the others."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from perennial.data.contract import Checked, Contract, check
from perennial.data.csv_files import Batch
from perennial.data.file_form import FileForm
from perennial.data.files import FIRST_BYTES, GZIP, read
from perennial.data.text_files import PARQUET
from perennial.words import printable

Kind = Literal["csv", "jsonl", "parquet"]
# What is joined to a row; the probabilities only where the model tells classes apart.
PREDICTION, PROBABILITIES, INFERENCE_ID, PROBLEM = "prediction", "probabilities", "inference_id", "problem"
MAX_PROBLEM = 500  # characters of why a row was refused


@dataclass(frozen=True)
class FileKind:
    """How a file is written, which is how its result is."""

    kind: Kind
    gzip: bool


@dataclass(frozen=True)
class FileRows:
    """Some rows of a file, in its order: typed, and as the file has them.

    numbers  their row numbers in the file, ascending
    """

    checked: Checked
    numbers: npt.NDArray[np.int64]
    batch: Batch

    def problems(self) -> dict[int, str]:
        """Return why rows are refused, by their position here."""
        problems: dict[int, list[str]] = {}
        for violation in self.checked.violations:
            values = self.batch.table.column(violation.column.name).take(pa.array(violation.rows))
            if pa.types.is_struct(values.type):
                values = values.field("text")
            for position, value in zip(violation.rows.tolist(), values.to_pylist(), strict=True):
                problems.setdefault(position, []).append(violation.reason(value))
        return {position: printable("; ".join(reasons), MAX_PROBLEM) for position, reasons in problems.items()}


def contract_of(definition: Mapping[str, Any]) -> Contract:
    """Return what the model expects of a row: its features. Whatever else a file has is passed through."""
    contract = Contract.from_definition(definition)
    form: FileForm = replace(contract.form, other_columns="ignore", whole=True)
    return replace(
        contract, columns=contract.features, split_column=None, key=(), window_column=None, slices=(), form=form
    )


def kind_of(path: Path) -> FileKind:
    """Return how a file is written, by its first bytes, as perennial.data.files reads it. Raises what gzip raises."""
    with path.open("rb") as file:
        start = file.read(FIRST_BYTES)
    if start.startswith(PARQUET):
        return FileKind("parquet", gzip=False)
    is_gzip = start.startswith(GZIP)
    if is_gzip:
        with gzip.open(path) as unpacked:
            start = unpacked.read(FIRST_BYTES)
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    return FileKind("jsonl" if text.startswith(b"{") else "csv", is_gzip)


def rows_of(path: Path, contract: Contract, name: str, notes: list[str]) -> Iterator[FileRows]:
    """Yield the rows of a file; notes are what a person should know of it.

    Raises FileError, which begins with `name`.
    """
    for batch in read(path, contract.columns, name, contract.form, notes):
        checked = check(contract, batch.table)
        positions = np.arange(batch.table.num_rows)
        yield FileRows(checked, batch.row_numbers(positions), batch)


def names_of_ours(taken: Sequence[str], *, has_classes: bool) -> dict[str, str]:
    """Return what our members are called beside those of the file: another name where the file has one of its own."""
    own, names = set(taken), {}
    for name in (PREDICTION, *([PROBABILITIES] if has_classes else []), INFERENCE_ID, PROBLEM):
        names[name] = name
        while names[name] in own:
            names[name] = f"perennial_{names[name]}"
    return names
