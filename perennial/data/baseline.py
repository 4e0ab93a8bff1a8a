"""Describing the rows that a model was trained on, from CSV parts with one header.

An empty field is a missing value, a boolean is 1 or 0 (or true or false). A column's type is the definition's: float is
Fractional, integer and boolean are Integral, string and timestamp are String. A column that the definition does not
name has the narrowest type that all its values have.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from perennial.data.column_statistics import NumericColumn, StatisticsError, StringColumn
from perennial.data.in_order import in_order

Columns = list[NumericColumn | StringColumn]
# Has some work done on files: on all of them, or in their order on some after the other. Yields the results.
Each = Callable[[Callable[[Sequence[Path]], Any], Sequence[Path]], Iterable[Any]]

INFERRED_TYPES = {
    "float": "Fractional",
    "integer": "Integral",
    "boolean": "Integral",
    "string": "String",
    "timestamp": "String",
}
PATTERNS = {"Integral": r"^[+-]?\d+$", "Fractional": r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"}
BLOCK_BYTES = 1 << 20
BATCHES_AT_ONCE = 16


def on_this_machine(work: Callable[[Sequence[Path]], Any], parts: Sequence[Path]) -> list[Any]:
    """Return what the work on all parts returns."""
    return [work(parts)]


def describe(definition: dict[str, Any], folder: Path, each: Each = on_this_machine) -> Columns:
    """Return the columns of all parts, in the order of the header. Raises StatisticsError: the parts are not sound."""
    parts = sorted(path for path in folder.rglob("*.csv") if path.is_file())
    header = common_header(parts, folder)
    check_header(header, definition)
    types = {name: definition["columns"].get(name, {}).get("type") for name in header}
    unnamed = [name for name, kind in types.items() if not kind]
    inferred = {name: INFERRED_TYPES[kind] for name, kind in types.items() if kind} | infer_types(unnamed, parts, each)
    columns = [new_column(name, inferred[name], definition) for name in header]
    arrow_types = {name: arrow_type(types[name], inferred[name]) for name in header}
    first, *others = each(partial(with_rows, columns, arrow_types), parts)
    for other in others:
        for column, more in zip(first, other, strict=True):
            column.merge(more)
    return list(first)


def with_rows(columns: Columns, types: Mapping[str, pa.DataType], parts: Sequence[Path]) -> Columns:
    """Return the columns when they have seen the rows of parts."""
    rows = batches(parts, types)
    while some := list(islice(rows, BATCHES_AT_ONCE)):
        for _ in in_order(partial(add_all, some), enumerate(columns)):
            pass
    return columns


def common_header(parts: Sequence[Path], folder: Path) -> list[str]:
    """Return the column names of the parts."""
    if not parts:
        raise StatisticsError(f"there is no CSV file below {folder}; expected at least one part with a header")
    first, *others = [(path, header_of(path)) for path in parts]
    for path, header in others:
        if header != first[1]:
            raise StatisticsError(f"{path.name} has the columns {header}, but {first[0].name} has {first[1]}")
    return first[1]


def header_of(path: Path) -> list[str]:
    """Return the column names in the first line."""
    with path.open(newline="", encoding="utf-8") as file:
        header = next(csv.reader(file), [])
    if not header or len(set(header)) < len(header):
        raise StatisticsError(f"{path.name} starts with {header}; expected a header of different column names")
    return header


def check_header(header: list[str], definition: dict[str, Any]) -> None:
    """Raise StatisticsError when the target or a feature has no column."""
    target = definition["target"]
    needed = [target, *(name for name, column in definition["columns"].items() if column.get("feature", True))]
    missing = [name for name in dict.fromkeys(needed) if name not in header]
    if missing:
        raise StatisticsError(f"the columns {missing} of the definition are not in the data, which has {header}")


def infer_types(names: Sequence[str], parts: Sequence[Path], each: Each) -> dict[str, str]:
    """Return the narrowest type that all values of each column have; Unknown if it has none."""
    if not names:
        return {}
    kinds: dict[str, set[str]] = {}
    for of_some in each(partial(possible_types, names), parts):
        for name, possible in of_some.items():
            kinds[name] = kinds.get(name, possible) & possible
    return {
        name: next((kind for kind in PATTERNS if kind in kinds[name]), "String") if name in kinds else "Unknown"
        for name in names
    }


def possible_types(names: Sequence[str], parts: Sequence[Path]) -> dict[str, set[str]]:
    """Return which types all values of columns have, where they have any."""
    kinds: dict[str, set[str]] = {}
    for batch in batches(parts, dict.fromkeys(names, pa.string())):
        for name, column in zip(names, batch.columns, strict=True):
            if len(values := column.drop_null()):
                possible = kinds.setdefault(name, set(PATTERNS))
                possible -= {kind for kind in possible if not _all_match(values, PATTERNS[kind])}
    return kinds


def _all_match(values: pa.Array, pattern: str) -> bool:
    return bool(pc.all(pc.match_substring_regex(values, pattern)).as_py())


def arrow_type(kind: str | None, inferred: str) -> pa.DataType:
    """Return how to read a column."""
    if kind == "boolean":
        return pa.bool_()
    return pa.float64() if inferred in PATTERNS else pa.string()


def batches(parts: Sequence[Path], types: Mapping[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
    """Yield the rows of all parts, only the columns of `types` and in their order."""
    reading = pa_csv.ReadOptions(block_size=BLOCK_BYTES)
    parsing = pa_csv.ParseOptions(newlines_in_values=True)
    converting = pa_csv.ConvertOptions(
        column_types=types,
        include_columns=list(types),
        null_values=[""],
        true_values=["1", "true"],
        false_values=["0", "false"],
        strings_can_be_null=True,
    )
    for path in parts:
        try:
            with pa_csv.open_csv(path, reading, parsing, converting) as reader:
                yield from reader
        except pa.ArrowInvalid as error:
            raise StatisticsError(f"{path.name}: {error}") from error


def new_column(name: str, inferred_type: str, definition: dict[str, Any]) -> NumericColumn | StringColumn:
    """Return an empty column of the type."""
    if inferred_type in PATTERNS:
        return NumericColumn(name, integral=inferred_type == "Integral")
    categories = definition["columns"].get(name, {}).get("categories")
    return StringColumn(name, domain=categories, max_categories=definition["quality"]["max_categories"])


def add_all(batches: list[pa.RecordBatch], place: tuple[int, NumericColumn | StringColumn]) -> None:
    """Give a column its values of some batches: no column knows of another, so that each core takes one."""
    position, column = place
    for batch in batches:
        add(column, batch.column(position))


def add(column: NumericColumn | StringColumn, values: pa.Array) -> None:
    """Give a batch to a column."""
    if isinstance(column, NumericColumn):
        column.add(np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False)))
        return
    counts = pc.value_counts(values)
    column.add(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))
