"""Checking models as a deployment does, and trying their own code.

features.py is tried on a small table that is made from the definition: values
from ranges and categories, nulls where they are allowed; all rows at once, each alone, and none, because serving calls
it with requests of any size. Texts without categories are invented, and features.py may expect others (dates in a form
of its own): an exception that changes with them is a note, and the next ones are tried. One that is the same for all of
them is a mistake. The functions of metrics.py are asked for all that a window of WINDOW records asks them for, and
what fails only at the ends of the target's range is a note;
capture.py reads the events of capture.jsonl beside it, or without one an event that is made from the definition.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa

from perennial.evaluation.custom_metrics import SECONDS, CustomMetricError, OwnMetrics
from perennial.evaluation.metrics import Metric
from perennial.evaluation.problem_types.measures import Floats
from perennial.features.encoding import Hook, load_hook, prepared
from perennial.features.values import ARROW_TYPES
from perennial.hooks import HookError
from perennial.model import definition
from perennial.model import folder as code
from perennial.model.complaints import ConfigurationError
from perennial.model.definition import ColumnDefinition, Definition
from perennial.model.problem_types import classes_of
from perennial.monitoring.adapter import Adapter
from perennial.monitoring.capture import Event, Tally, fault
from perennial.monitoring.window import Window
from processing.own_code import MEASURING

ROWS, WINDOW = 8, 1_000
SAMPLE, START = "capture.jsonl", datetime(2026, 1, 1)  # noqa: DTZ001 - UTC
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
MADE_UP = (
    "with some values that were made up, at the ends of the target's range; a window with such is not measured by it"
)
WHATEVER = (
    "the same for every text that was tried. If features.py refuses texts on purpose: declare the column's categories "
    "in model.yaml, and only those are tried; or name the text in the exception"
)


@dataclass(frozen=True)
class Checked:
    """What a look at a model has come to.

    tried    its own code that was tried, and on what
    notes    what is sound and may not be what it seems
    problem  what is wrong; empty where it is sound
    """

    model: str
    columns: int = 0
    tried: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str = ""

    @property
    def is_sound(self) -> bool:
        return not self.problem


def are_sound(folders: Sequence[Path], file: TextIO | None = None) -> bool:
    """Print of each model that it is sound, with notes, or what is wrong with it; return whether all are sound."""
    sound = []
    for folder in folders:
        one = checked(folder)
        show(one, file)
        sound.append(one.is_sound)
    return all(sound)


def show(one: Checked, file: TextIO | None = None) -> None:
    """Print what a look at a model has come to."""
    for note in one.notes:
        print(note, file=file)
    if one.problem:
        print(one.problem, file=sys.stderr)
    else:
        print(", ".join([f"{one.model}: ok", f"{one.columns} columns", *one.tried]), file=file)


def checked(folder: Path) -> Checked:
    """Look at a model, and try its own code."""
    try:
        code.check_name(folder.resolve().name)
        defined = definition.load(folder / "model.yaml")
    except (ConfigurationError, OSError) as error:
        return Checked(folder.name, problem=str(error))
    notes = [f"{folder}/model.yaml: note, {where}: {text}" for where, text in definition.notes(defined)]
    tried: list[str] = []
    problem = ""
    try:
        code.check(folder, defined)
        if hook := load_hook(folder / code.FEATURES):
            if exception := try_features(hook, defined):
                reason = "it comes of a text that was invented; a file or a request with such a text would fail alike"
                notes.append(f"{folder}: note, {exception} ({reason})")
            tried.append(f"features.py tried on {ROWS} rows")
        if defined.metrics:
            if wrong := try_metrics(folder / code.METRICS, defined):
                notes.append(f"{folder}: note, {wrong} ({MADE_UP})")
            tried.append(f"metrics.py on {WINDOW:,} rows")
        if adapter := Adapter.load(folder / code.CAPTURE):
            tried.append(f"capture.py on {try_capture(adapter, folder / SAMPLE, defined):,} rows")
    except ConfigurationError as error:
        problem = str(error)
    except (HookError, CustomMetricError) as error:
        problem = f"{folder}/{error}"
    return Checked(folder.name, len(defined.columns), tuple(tried), tuple(notes), problem)


def try_metrics(path: Path, defined: Definition) -> str:
    """Ask each metric of the model itself what a window asks it; return what goes wrong with some values alone.

    Raises CustomMetricError: something goes wrong with all values that were tried.
    """
    wrong = ""
    with OwnMetrics(MEASURING, path, defined.problem, defined.metrics, SECONDS) as own:
        for metric in own.by_name.values():
            try:
                _ask(metric, *_answered(defined))
            except CustomMetricError as error:
                _ask(metric, *_answered(defined, near_the_middle=True))
                wrong = wrong or str(error)
    return wrong


def _ask(metric: Metric, labels: Floats, scores: Floats) -> None:
    metric.compute(labels, scores)
    metric.resampled(labels, scores)


def _answered(defined: Definition, *, near_the_middle: bool = False) -> tuple[Floats, Floats]:
    """Return labels of WINDOW records with their scores: the ends of the target's range among them, or none of them."""
    classes = len(classes_of(defined.as_json()))
    known = np.arange(classes) if classes else np.array(_known(defined.columns[defined.target]), np.float64)
    if near_the_middle and not classes:
        known = known[1] + abs(known[1]) * np.array([-0.01, 0.0, 0.01])
    labels, others = (np.resize(values, WINDOW).astype(np.float64) for values in (known, np.roll(known, 1)))
    if classes:
        return labels, 0.9 * (labels[:, None] == known) + 0.1 * (others[:, None] == known)
    return labels, 0.9 * labels + 0.1 * others


def try_capture(adapter: Adapter, sample_file: Path, defined: Definition) -> int:
    """Read captured events as a monitor does; return how many rows they hold. Raises HookError."""
    lines = sample_file.read_text(encoding="utf-8").splitlines() if sample_file.is_file() else [_invented(defined)]
    counted = Tally()
    window = Window(defined.as_json(), counted)
    for number, line in enumerate(filter(str.strip, lines), 1):
        name = f"{SAMPLE}, line {number}" if sample_file.is_file() else "an event as the endpoint has it"
        try:
            captured = json.loads(line)["captureData"]
            event = Event(str(number), START, *adapter.payloads(captured), file=SAMPLE, line=number)
        except (ValueError, LookupError, TypeError) as error:
            more = "" if sample_file.is_file() else f"; put an event that it reads into {SAMPLE}, one a line"
            why = error.__cause__ if isinstance(error.__cause__, HookError) else fault(error)
            raise HookError(f"capture.py cannot read {name}: {why}{more}") from error
        window.add([event])
    _require_rows(window, counted, defined)
    return window.records


def _require_rows(window: Window, counted: Tally, defined: Definition) -> None:
    """Raise HookError when what was read is not what the model reads."""
    described = window.described([])
    fields = [f"{count} fields in a row, of {described.fields_expected}" for count in described.fields]
    wrong = [*counted.examples, *fields]
    wrong += [f"{name!r} is no column" for name in described.unknown]
    wrong += [f"{column}: expected {expected}" for (column, _), (_, expected) in described.broken.items()]
    if not window.records:
        wrong.append("no row")
    if wrong:
        columns = ", ".join(defined.features)
        raise HookError(f"capture.py made rows that the model does not read: {'; '.join(wrong)} (columns: {columns})")


def _invented(defined: Definition) -> str:
    """Return an event as data capture writes it: a record as JSON, and its answer."""
    row = sample(defined).slice(1, 1).to_pylist()[0]
    classes = len(classes_of(defined.as_json()))
    score = [1.0] + [0.0] * (classes - 1) if classes else _known(defined.columns[defined.target])[0]
    sides = {"endpointInput": row, "endpointOutput": {"score": score}}
    kind = {"observedContentType": "application/json", "encoding": "JSON"}
    return json.dumps({"captureData": {name: {**kind, "data": json.dumps(data)} for name, data in sides.items()}})


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
