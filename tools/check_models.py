"""Check every models/<name>/ as a deployment does, and try its features.py: `python -m tools.check_models [folder]`.

features.py is tried on a small table that is made from the definition: values from ranges and categories, nulls where
they are allowed; all rows at once, each alone, and none, because serving calls it with requests of any size.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa

from perennial import definition
from perennial.definition import Column, Definition
from perennial.encoding import Hook, HookError, load_hook, prepared
from perennial.problems import ConfigurationError
from perennial.values import ARROW_TYPES

MODELS = Path(__file__).resolve().parents[1] / "models"
ROWS = 8


def main(argv: list[str] | None = None) -> int:
    """Print what is wrong with every model, and what is not quite what it seems; return how many are wrong."""
    (folder,) = [Path(given) for given in (sys.argv[1:] if argv is None else argv)] or [MODELS]
    files = sorted(folder.glob("*/model.yaml"))
    if not files:
        print(f"{folder} holds no <name>/model.yaml", file=sys.stderr)
        return 1
    return sum(_is_wrong(path) for path in files)


def _is_wrong(path: Path) -> bool:
    try:
        defined = definition.load(path)
    except (ConfigurationError, OSError) as error:
        print(error, file=sys.stderr)
        return True
    for where, text in definition.notes(defined):
        print(f"{path}: note, {where}: {text}")
    try:
        hook = load_hook(path.with_name("features.py"))
        if hook:
            try_features(hook, defined)
    except HookError as error:
        print(f"{path.parent}/{error}", file=sys.stderr)
        return True
    return False


def try_features(hook: Hook, defined: Definition) -> None:
    """Call a model's `transform` with a few rows that its definition allows. Raises HookError."""
    table = sample(defined)
    whole = prepared(table, hook)
    for row in range(ROWS):
        alone, expected = prepared(table.slice(row, 1), hook), whole.slice(row, 1)
        if alone.column_names != expected.column_names or alone.to_pylist() != expected.to_pylist():
            raise HookError(
                f"features.py: transform makes {alone.to_pylist()} of the row {table.slice(row, 1).to_pylist()} alone, "
                f"and {expected.to_pylist()} of the same row among others; a row must not depend on other rows"
            )
    none = prepared(table.slice(0, 0), hook)
    if none.column_names != whole.column_names:
        raise HookError(f"features.py: transform makes {none.column_names} of no rows; else {whole.column_names}")


def sample(defined: Definition) -> pa.Table:
    """Return ROWS rows of raw features, as `transform` gets them from files."""
    columns = {name: defined.columns[name] for name in defined.features}
    return pa.table({name: _values(column) for name, column in columns.items()})


def _values(column: Column) -> pa.Array:
    known = _known(column)
    values = [known[row % len(known)] for row in range(ROWS)]
    if column.nullable:
        values[0], values[-1] = None, None
    return pa.array(values, ARROW_TYPES[column.type])


def _known(column: Column) -> list[Any]:
    """Values that the column may have: the ends of its range among them."""
    if column.type == "string":
        return list(column.categories or ("a", "Zoë", "b c"))
    if column.type == "boolean":
        return [True, False]
    low = column.min if column.min is not None else min(0, column.max or 0) - 5
    high = column.max if column.max is not None else max(0, low) + 1000
    middle = low + (high - low) / 3
    return [int(value) for value in (low, middle, high)] if column.type == "integer" else [low, middle, high]


if __name__ == "__main__":
    sys.exit(main())
