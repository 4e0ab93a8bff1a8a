"""Asking an endpoint about series: each is checked by the definition, and answered with a forecast and its band."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import boto3
import numpy as np

from perennial.data.contract import Contract
from perennial.data.files import GZIP
from perennial.data.periods import periods_of
from perennial.data.series_files import ITEM_ID, SeriesError, SeriesReader
from perennial.data.text_files import undamaged
from perennial.evaluation import forecasts
from perennial.evaluation.predictions import PredictionsError
from perennial.evaluation.problem_types.forecasting import quantile_columns
from perennial.evaluation.problem_types.measures import Floats
from perennial.features.grammar import LARGEST, LARGEST_FLOAT
from perennial.model.definition import Definition
from perennial.words import quoted
from perennial_cli.console import CommandError
from perennial_cli.predictions import asking
from perennial_cli.stacks import Stack

JSON = "application/json"
COLUMNS = ("mean", *quantile_columns())


@dataclass(frozen=True)
class Question:
    """A series to ask about: its line, its name and what DeepAR is sent; or why it is none.

    before  its values `(n_periods,)`, NaN where one is missing
    first   the first period ahead
    """

    number: int
    name: str
    instance: dict[str, Any]
    before: Floats = field(default_factory=lambda: np.empty(0))
    first: int = 0
    problem: str = ""


@dataclass(frozen=True)
class Forecast:
    """What is said about a series: when each period ahead begins, and mean and quantiles `(n_periods, 10)`."""

    question: Question
    times: list[str]
    values: Floats

    def as_json(self) -> dict[str, Any]:
        columns = dict(zip(COLUMNS, self.values.T.tolist(), strict=True))
        return {"row": self.question.number, ITEM_ID: self.question.name, "period": self.times, **columns}


def unpacked(content: bytes, name: str) -> bytes:
    """Return a text, unpacked where it is gzip. Raises FileError: the gzip data are damaged."""
    with undamaged(name):
        return gzip.decompress(content) if content.startswith(GZIP) else content


def series_of(text: bytes, definition: Definition) -> Iterator[Question]:
    """Yield the series of JSON lines."""
    document = definition.as_json()
    contract, periods = Contract.from_definition(document), periods_of(document)
    form = contract.form.series
    if form is None or definition.series is None:
        raise ValueError("the definition has no series")
    reader = SeriesReader(contract.columns, form, ahead=definition.series.prediction_length)
    for number, line in enumerate(text.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            columns = reader.series(number, line)
            numbers = [list(names).index(columns[name]) for name, names in form.categories]
            target = _numbers(columns[form.target], "target")
            dynamic = [_numbers(columns[name], name, may_miss=False) for name in form.dynamic]
        except (SeriesError, ValueError) as error:
            why = str(error) if isinstance(error, SeriesError) else "cat names no category of model.yaml"
            yield Question(number, "", {}, problem=why)
            continue
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
