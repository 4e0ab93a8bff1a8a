"""Checking models as a deployment does, and trying their own code.

features.py is tried on a small table that is made from the definition: values
from ranges and categories, nulls where they are allowed; all rows at once, each alone, and none, because serving calls
it with requests of any size. Texts without categories are invented, and features.py may expect others (dates in a form
of its own): an exception that changes with them is a note, and the next ones are tried. One that is the same for all of
them is a mistake. The functions of metrics.py are asked for all that a window of WINDOW records asks them for.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from perennial.evaluation.custom_metrics import SECONDS, CustomMetricError, OwnMetrics
from perennial.features.encoding import Hook, load_hook, prepared
from perennial.features.values import ARROW_TYPES
from perennial.hooks import HookError
from perennial.model import definition
from perennial.model import folder as code
from perennial.model.complaints import ConfigurationError
from perennial.model.definition import ColumnDefinition, Definition
from processing.own_code import MEASURING

ROWS, WINDOW = 8, 1_000
INVENTED: tuple[tuple[str | None, ...], ...] = (
    ("a", "Zoë", "b c"),
    ("2024-05-01", "2023-12-31", "2025-01-15"),
    ("2024-05-01 10:00:00", "2023-12-31 23:59:59", "2025-01-15 00:00:00"),
    ("2024-05-01T10:00:00", "2023-12-31T23:59:59", "2025-01-15T00:00:00"),
    ("01.05.2024", "31.12.2023", "15.01.2025"),
    ("01/05/2024", "12/12/2023", "11/01/2025"),
    ("1", "20", "3.5"),
    (None,),
)
TYPOS = (NameError, AttributeError, ImportError)  # which no text causes
WHATEVER = (
    "the same for every text that was tried. If features.py refuses texts on purpose: declare the column's categories "
    "in model.yaml, and only those are tried; or name the text in the exception"
)


def are_sound(folders: Sequence[Path]) -> bool:
    """Print of each model that it is sound, with notes, or what is wrong with it; return whether all are sound."""
    sound = [_is_sound(folder) for folder in folders]
    return all(sound)


def _is_sound(folder: Path) -> bool:
    try:
        defined = definition.load(folder / "model.yaml")
    except (ConfigurationError, OSError) as error:
        print(error, file=sys.stderr)
        return False
    for where, text in definition.notes(defined):
        print(f"{folder}/model.yaml: note, {where}: {text}")
    tried = ""
    try:
        code.check(folder, defined)
        if hook := load_hook(folder / code.FEATURES):
            if exception := try_features(hook, defined):
                reason = "it comes of a text that was invented; a file or a request with such a text would fail alike"
                print(f"{folder}: note, {exception} ({reason})")
            tried = f", features.py tried on {ROWS} rows"
        if defined.metrics:
            try_metrics(folder / code.METRICS, defined)
            tried += f", metrics.py on {WINDOW:,} rows"
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return False
    except (HookError, CustomMetricError) as error:
        print(f"{folder}/{error}", file=sys.stderr)
        return False
    print(f"{folder.name}: ok, {len(defined.columns)} columns{tried}")
    return True


def try_metrics(path: Path, defined: Definition) -> None:
    """Ask each metric of the model itself what a window asks it. Raises CustomMetricError."""
    column = defined.columns[defined.target]
    known = np.array(_known(column), np.float64)
    labels, scores = np.resize(known, WINDOW), np.resize(np.roll(known, 1), WINDOW) * 0.1
    scores += 0.9 * labels
    with OwnMetrics(MEASURING, path, defined.problem, defined.metrics, SECONDS) as own:
        for metric in own.by_name.values():
            metric.compute(labels, scores)
            metric.resampled(labels, scores)


def try_features(hook: Hook, defined: Definition) -> HookError | None:
    """Call a model's `transform` with a few rows that its definition allows.

    Returns the first exception that comes of invented texts. Raises HookError.
    """
    excused: list[HookError] = []
    for texts in INVENTED if any(_is_open_text(defined.columns[name]) for name in defined.features) else INVENTED[:1]:
        table = sample(defined, texts)
        try:
            whole = prepared(table, hook)
        except HookError as error:
            if error.__cause__ is None:  # what it made of the texts is wrong
                raise
            excused.append(error)
            continue
        _try_parts(hook, table, whole)
        break
    else:
        if len({str(error) for error in excused}) == 1:
            if isinstance(excused[0].__cause__, TYPOS):
                raise excused[0]
            raise HookError(f"{excused[0]} ({WHATEVER})") from excused[0].__cause__
    return excused[0] if excused else None


def _try_parts(hook: Hook, table: pa.Table, whole: pa.Table) -> None:
    """Call `transform` with each row alone and with none. Raises HookError when it makes other features of them."""
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


def sample(defined: Definition, texts: Sequence[str | None] = INVENTED[0]) -> pa.Table:
    """Return ROWS rows of raw features, as `transform` gets them from files; `texts` where any text will do."""
    columns = {name: defined.columns[name] for name in defined.features}
    return pa.table({name: _values(column, texts) for name, column in columns.items()})


def _is_open_text(column: ColumnDefinition) -> bool:
    return column.type == "string" and column.categories is None


def _values(column: ColumnDefinition, texts: Sequence[str | None]) -> pa.Array:
    known = list(texts) if _is_open_text(column) else _known(column)
    values = [known[row % len(known)] for row in range(ROWS)]
    if column.nullable:
        values[0], values[-1] = None, None
    return pa.array(values, ARROW_TYPES[column.type])


def _known(column: ColumnDefinition) -> list[Any]:
    """Values that the column may have: the ends of its range among them."""
    if column.categories:
        return list(column.categories)
    if column.type == "boolean":
        return [True, False]
    low = column.min if column.min is not None else min(0, column.max or 0) - 5
    high = column.max if column.max is not None else max(0, low) + 1000
    middle = low + (high - low) / 3
    return [int(value) for value in (low, middle, high)] if column.type == "integer" else [low, middle, high]
