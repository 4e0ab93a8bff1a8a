"""Asking an endpoint about series: each is checked by the definition, and answered with a forecast and its band."""

from __future__ import annotations

import codecs
import gzip
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from perennial.data.contract import Contract, check
from perennial.data.files import GZIP, read
from perennial.data.periods import Periods, periods_of
from perennial.data.rows import IDENTITY
from perennial.data.series import AllSeries, Series
from perennial.data.series_files import FIELDS, ITEM_ID, SeriesError, SeriesReader
from perennial.data.series_form import SeriesForm
from perennial.data.split import TRAIN
from perennial.data.text_files import undamaged
from perennial.data.training_window import latest_sound
from perennial.evaluation import forecasts
from perennial.evaluation.predictions import PredictionsError
from perennial.evaluation.problem_types.forecasting import quantile_columns
from perennial.evaluation.problem_types.measures import Floats
from perennial.features.grammar import LARGEST, LARGEST_FLOAT
from perennial.features.json_text import decode
from perennial.model.definition import Definition
from perennial.words import quoted
from perennial_cli.console import CommandError
from perennial_cli.predictions import asking, problems_of
from perennial_cli.stacks import Stack

JSON = "application/json"
COLUMNS = ("mean", *quantile_columns())


@dataclass(frozen=True)
class Question:
    """A series to ask about: its first row, its name and what DeepAR is sent.

    Or why it, or a row of a table, cannot be asked about.

    before  its values `(n_periods,)`, NaN where one is missing
    first   the first period ahead
    """

    number: int
    name: str
    instance: dict[str, Any]
    before: Floats = field(default_factory=lambda: np.empty(0))
    first: int = 0
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Forecast:
    """What is said about a series: when each period ahead begins, and mean and quantiles `(n_periods, 10)`."""

    question: Question
    times: list[str]
    values: Floats

    def as_json(self) -> dict[str, Any]:
        columns = dict(zip(COLUMNS, self.values.T.tolist(), strict=True))
        return {"row": self.question.number, ITEM_ID: self.question.name, "period": self.times, **columns}


def questions(content: bytes, definition: Definition, notes: list[str], name: str) -> list[Question]:
    """Return the series of what a file holds: series in DeepAR's JSON lines, or a table with a row for each period.

    Raises FileError, a DataError: it can be read as neither. `notes` takes what a person should know of it.
    """
    with undamaged(name):
        text = gzip.decompress(content) if content.startswith(GZIP) else content
    text = text.removeprefix(codecs.BOM_UTF8)
    if _begins_with_series(text, definition):
        return [*of_lines(text, definition)]
    with tempfile.TemporaryDirectory(prefix="perennial-predict-") as folder:
        path = Path(folder) / "input"
        path.write_bytes(text)
        return _of_table(path, definition, notes, name)


def _begins_with_series(text: bytes, definition: Definition) -> bool:
    """Return whether the first line is an object with a field of a series, or broken; and not a row."""
    first = text.lstrip().partition(b"\n")[0]
    try:
        fields = {*decode(first.decode())} if first.startswith(b"{") else {*definition.columns}
    except ValueError:
        return True
    return bool(fields & {*FIELDS} - {ITEM_ID, *definition.columns})


def of_lines(text: bytes, definition: Definition) -> Iterator[Question]:
    """Yield the series of JSON lines."""
    contract, form, ahead = _contract(definition)
    periods = Periods.of(form.frequency)
    reader = SeriesReader(contract.columns, form, ahead=ahead)
    for number, line in enumerate(text.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            columns = reader.series(number, line)
            target = _numbers(columns[form.target][:-ahead], "target")
            dynamic = [_numbers(columns[name], name, may_miss=False) for name in form.dynamic]
        except SeriesError as error:
            yield Question(number, "", {}, problems=(str(error),))
            continue
        reader.take(number, columns)
        batch = reader.batch()
        if problems := problems_of(batch, check(contract, batch.table)):
            yield Question(number, "", {}, problems=tuple(dict.fromkeys(chain(*problems.values()))))
            continue
        numbers = [list(names).index(columns[name]) for name, names in form.categories]
        start = int(periods.units(np.array([columns[form.time][0]], "datetime64[us]"))[0])
        instance: dict[str, Any] = {"start": periods.text(start), "target": target}
        instance |= {"cat": numbers} if numbers else {}
        instance |= {"dynamic_feat": dynamic} if dynamic else {}
        first = start + periods.step * len(target)
        yield Question(number, str(columns[form.key]), instance, np.array(target, np.float64), first)


def _numbers(values: list[Any], name: str, *, may_miss: bool = True) -> list[float | None]:
    """Return values as JSON has them, None for a missing one. Raises SeriesError: one is no number, or too large."""
    for value in values:
        if value is None or value != value:
            if not may_miss:
                raise SeriesError(f"{name}: is missing; only the target may miss some")
        elif isinstance(value, bool) or not isinstance(value, int | float):
            raise SeriesError(f"{name}: {quoted(value)} is not a number")
        elif abs(value) > LARGEST_FLOAT:
            raise SeriesError(f"{name}: {quoted(value)} is not {LARGEST['float']}")
    return [None if value != value else value for value in values]


def _of_table(path: Path, definition: Definition, notes: list[str], name: str) -> list[Question]:
    """Return the series of a table, each of the number of its first row, and the rows that break the definition.

    What is asked about begins after the last value of a series. Rows after it say the numbers of the periods ahead.
    """
    contract, form, ahead = _contract(definition)
    listed, tables = list[Question](), list[pa.Table]()
    now = pa.scalar(latest_sound(datetime.now(UTC)), pa.timestamp("us"))
    for batch in read(path, contract.columns, name, replace(contract.form, other_columns="ignore"), notes):
        checked, numbers = check(contract, batch.table), batch.row_numbers(np.arange(batch.table.num_rows))
        problems = problems_of(batch, checked)
        is_late = pc.and_(pc.greater(checked.table[form.time], now), pc.is_valid(checked.table[definition.target]))
        for place in np.flatnonzero(pc.fill_null(is_late, False)).tolist():
            why = f"{form.time}: is after now, so that nobody can know its {definition.target}"
            problems.setdefault(place, []).append(why)
        listed += [Question(int(numbers[place]), "", {}, problems=tuple(why)) for place, why in problems.items()]
        listed += [Question(row.row, "", {}, problems=(row.problem,)) for row in batch.unreadable]
        sound = pa.array(~np.isin(np.arange(len(numbers)), [*problems]))
        tables.append(checked.table.append_column(IDENTITY, pa.array(numbers.astype(np.uint64))).filter(sound))
    if any(rows.num_rows for rows in tables):
        rows = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
        has_values = rows[form.target].null_count < rows.num_rows
        series = list(AllSeries(lambda work: iter([work(TRAIN, rows)]), form)) if has_values else []
        listed += [_question(one, form, ahead, definition.target) for one in series]
        keys = map(str, rows[form.key].to_pylist()[::-1])
        first_rows = dict(zip(keys, rows[IDENTITY].to_pylist()[::-1], strict=True))
        without = first_rows.keys() - {one.key for one in series}
        why = f"has no value of {definition.target}; a forecast needs what came before"
        listed += [Question(first_rows[key], key, {}, problems=(f"series {quoted(key)} {why}",)) for key in without]
    return sorted(listed, key=lambda question: question.number)


def _question(one: Series, form: SeriesForm, ahead: int, target: str) -> Question:
    periods, number = Periods.of(form.frequency), int(one.points.identities.min())
    end = int(np.flatnonzero(~np.isnan(one.values))[-1]) + 1
    if form.dynamic and len(one.dynamic) < end + ahead:
        lacks = f"{', '.join(form.dynamic)} of {periods.text(one.first + periods.step * len(one.dynamic))}"
        expected = f"a row for each of the {ahead} periods after its last {target}, with no {target}"
        why = f"series {quoted(one.key)} has no row that says {lacks}; expected {expected}"
        return Question(number, one.key, {}, problems=(why,))
    values = [None if value != value else value for value in one.values[:end].tolist()]
    instance: dict[str, Any] = {"start": periods.text(one.first), "target": values}
    instance |= {"cat": [*one.categories]} if form.categories else {}
    instance |= {"dynamic_feat": one.dynamic[: end + ahead].T.tolist()} if form.dynamic else {}
    return Question(number, one.key, instance, one.values[:end], one.first + periods.step * end)


def _contract(definition: Definition) -> tuple[Contract, SeriesForm, int]:
    """Return what series have to be, and how many periods ahead are asked about."""
    contract = Contract.from_definition(definition.as_json())
    if contract.form.series is None or definition.series is None:
        raise ValueError("the definition has no series")
    return contract, contract.form.series, definition.series.prediction_length


def ask(stack: Stack, definition: Definition, series: list[Question]) -> Iterator[Forecast]:
    """Yield the forecast of each series. Raises CommandError: the endpoint refuses, sleeps, or is not there yet."""
    client, endpoint = boto3.client("sagemaker-runtime"), stack.outputs["EndpointName"]
    periods = periods_of(definition.as_json())
    for one in series:
        body = json.dumps({"instances": [one.instance], "configuration": forecasts.CONFIGURATION}).encode()
        with asking(client, stack, f"series {one.number}"):
            reply = client.invoke_endpoint(EndpointName=endpoint, ContentType=JSON, Accept=JSON, Body=body)
        try:
            (answer,) = json.loads(reply["Body"].read())["predictions"]
            values = forecasts.forecast(answer, f"the answer of {endpoint}")
        except (ValueError, KeyError, TypeError) as error:
            why = str(error) if isinstance(error, PredictionsError) else "holds no forecast"
            raise CommandError(f"the answer of {endpoint} to series {one.number}: {why}") from error
        yield Forecast(one, [periods.text(one.first + periods.step * step) for step in range(len(values))], values)
