"""Describe the rows a model was trained on, so that later rows can be compared with them.

Runs as    processing job, state "Baseline data drift"
Reads      --config         config.json: `definition` (columns, target, quality)
           --baseline-data  folder of CSV parts with one header: the target, then the features, raw values; an empty
                            field is a missing value, a boolean is 1 or 0 (or true or false)
Writes     --output         statistics.json and constraints.json in Model Monitor's formats
Fails      with exit code 1 and the reason in --message when the rows are not as said above

A column's type is the definition's: float is Fractional, integer and boolean are Integral, string and timestamp are
String. A column that the definition does not name has the narrowest type that all its values have.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from perennial.data.column_statistics import NumericColumn, StatisticsError, StringColumn, constraints, statistics
from perennial.data.in_order import in_order
from perennial.data.series_rows import monitored
from processing import job_script

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


def main(argv: list[str] | None = None) -> int:
    """Run the job; return its exit code."""
    about = "Describe the rows a model was trained on."
    arguments = job_script.paths(argv, about, baseline_data="baseline")
    try:
        definition = json.loads(arguments.config.read_text())["definition"]
        definition = monitored(definition) if definition.get("series") else definition
        columns = describe(definition, arguments.baseline_data)
        documents = {"statistics": statistics(columns), "constraints": constraints(columns)}
    except StatisticsError as error:
        return job_script.refuse(f"The baseline of the data cannot be computed: {error}", arguments.message)
    job_script.write_documents(documents, arguments.output)
    print(f"described {len(columns)} columns of {documents['statistics']['dataset']['item_count']} rows")
    return 0


def describe(definition: dict[str, Any], folder: Path) -> list[NumericColumn | StringColumn]:
    """Return the columns of all parts, in the order of the header. Raises StatisticsError: the parts are not sound."""
    parts = sorted(path for path in folder.rglob("*.csv") if path.is_file())
    header = common_header(parts, folder)
    check_header(header, definition)
    types = {name: definition["columns"].get(name, {}).get("type") for name in header}
    inferred = {name: INFERRED_TYPES[kind] if kind else infer_type(parts, name) for name, kind in types.items()}
    columns = [new_column(name, inferred[name], definition) for name in header]
    arrow_types = {name: arrow_type(types[name], inferred[name]) for name in header}
    rows = batches(parts, arrow_types)
    while some := list(islice(rows, BATCHES_AT_ONCE)):
        for _ in in_order(partial(add_all, some), enumerate(columns)):
            pass
    return columns


def common_header(parts: list[Path], folder: Path) -> list[str]:
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


def infer_type(parts: list[Path], name: str) -> str:
    """Return the narrowest type that all values of a column have; Unknown if it has none."""
    candidates, has_values = dict(PATTERNS), False
    for batch in batches(parts, {name: pa.string()}):
        values = batch.column(0).drop_null()
        has_values = has_values or len(values) > 0
        for kind, pattern in list(candidates.items()):
            if not pc.all(pc.match_substring_regex(values, pattern), min_count=0).as_py():
                del candidates[kind]
    return next(iter(candidates), "String") if has_values else "Unknown"


def arrow_type(kind: str | None, inferred: str) -> pa.DataType:
    """Return how to read a column."""
    if kind == "boolean":
        return pa.bool_()
    return pa.float64() if inferred in PATTERNS else pa.string()


def batches(parts: list[Path], types: dict[str, pa.DataType]) -> Iterator[pa.RecordBatch]:
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


if __name__ == "__main__":
    job_script.leave_out_pandas()
    sys.exit(main())
