"""Asking about series in the page: what it begins with, and forecasts with the drawing of their band."""

from __future__ import annotations

import json
import math
from typing import Any
from xml.etree.ElementTree import Element

from perennial.data.periods import periods_of
from perennial.data.series_files import ITEM_ID
from perennial.model.definition import Definition
from perennial.model.series import category_columns, dynamic_columns, season_of
from perennial.monitoring.series_window import SEASONS_DRAWN
from perennial.monitoring.series_window import Forecast as Drawn
from perennial.reports import banded
from perennial.serving.openapi import value
from perennial_cli import forecasts
from perennial_cli.console import CommandError
from perennial_cli.forecasts import Forecast
from perennial_cli.predictions import on_one_line
from perennial_cli.stacks import Stack

MOST_SERIES = 20  # each is a request, a drawing and a table
MOST_VALUES = 24  # of the series to begin with
BEGIN = "2024-01-01 00:00:00"  # of a month, a day, an hour


def form(definition: Definition) -> dict[str, Any]:
    """Return what a line has to hold, and a series of made-up values that the model takes."""
    document = definition.as_json()
    section, columns = document["series"], document["columns"]
    categories, dynamic = category_columns(document), dynamic_columns(document)
    count = min(section["context_length"], MOST_VALUES)
    series: dict[str, Any] = {
        ITEM_ID: "an example" if columns[section["key"]]["type"] == "string" else 1,
        "start": BEGIN,
        "target": _rising(columns[document["target"]], count),
    }
    if categories:
        series["cat"] = [names[0] for names in categories.values()]
    if dynamic:
        series["dynamic_feat"] = [[value(columns[name])] * (count + section["prediction_length"]) for name in dynamic]
    return {
        "example": json.dumps(series, ensure_ascii=False),
        "begin": periods_of(document).expected,
        "ahead": section["prediction_length"],
        "categories": categories,
        "dynamic": dynamic,
        "most": MOST_SERIES,
    }


def _rising(column: dict[str, Any], count: int) -> list[Any]:
    """Return values that a column allows: whole numbers from its minimum on, or all the same where it has a maximum."""
    if column.get("max") is not None:
        return [value(column)] * count
    return [math.ceil(column.get("min") or 0) + place for place in range(1, count + 1)]


def answered(stack: Stack, definition: Definition, text: str) -> dict[str, Any]:
    """Ask about the series of a text, and return their forecasts, each with its drawing, and what cannot be asked.

    Raises CommandError: it holds none, or too many.
    """
    series = list(forecasts.of_lines(on_one_line(text).encode(errors="replace"), definition))
    if not 0 < len(series) <= MOST_SERIES:
        many = f"; ask about more by `perennial predict FILE --stack {stack.name}`" if series else ""
        raise CommandError(f"the text holds {len(series)} series; expected 1 to {MOST_SERIES}{many}")
    sound = [one for one in series if not one.problems]
    return {
        "problems": [
            f"line {one.number} is not asked about: {'; '.join(one.problems)}" for one in series if one.problems
        ],
        "forecasts": [as_json(one, definition) for one in forecasts.ask(stack, definition, sound)],
    }


def as_json(one: Forecast, definition: Definition) -> dict[str, Any]:
    """Return a forecast for the page, with its drawing."""
    unit, section = definition.columns[definition.target].unit, definition.as_json()["series"]
    before = one.question.before[-SEASONS_DRAWN * season_of(section) :]
    unknown = one.values[:, 0] * math.nan  # what comes true
    drawn = Drawn(one.question.name, before, one.values, unknown)
    return {**one.as_json(), "drawing": tree(banded.drawing(drawn, f", {unit}" if unit else ""))}


def tree(element: Element) -> list[Any]:
    """Return an element as the page builds it again: its tag, its attributes, and the elements and texts in it."""
    inner = [part for child in element for part in (tree(child), child.tail) if part]
    return [element.tag, dict(element.attrib), *([element.text] if element.text else []), *inner]
