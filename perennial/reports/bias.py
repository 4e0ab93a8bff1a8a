"""The parts of a page about bias: Clarify's metrics of the rows that train, and of the answers to the test rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.etree.ElementTree import Element

from perennial.reports.page import Content, element, section, table, text
from perennial.words import number

MAX_NAME = 60
STAGES = {
    "pre_training_bias_metrics": "Bias in the training rows",
    "post_training_bias_metrics": "Bias in the answers to test rows",
}


def sections(analysis: Mapping[str, Any]) -> list[Element | None]:
    """Return a part for each stage of an analysis.json that has facets."""
    return [_stage(title, analysis[name]) for name, title in STAGES.items() if analysis.get(name, {}).get("facets")]


def _stage(title: str, stage: Mapping[str, Any]) -> Element:
    """Return a table with a row for each metric, and a column for each facet."""
    facets = [(column, facet) for column, listed in stage["facets"].items() for facet in listed]
    headings, counts = [], []
    for column, facet in facets:
        members, others = facet["records"]["facet"], facet["records"]["others"]
        headings.append(text(f"{column} {facet['value_or_threshold']}", MAX_NAME))
        counts.append(f"{members:,} of {members + others:,}")
    rows: list[list[Content]] = []
    for measured in zip(*(facet["metrics"] for _, facet in facets), strict=True):
        rows.append([text(measured[0]["description"]), *map(_value, measured)])
    about = (
        f"A facet's members beside all others; positive is {text(stage['label'], MAX_NAME)} "
        f"{text(stage['label_value_or_threshold'], MAX_NAME)}. 0 is no bias, of DI 1."
    )
    return section(title, table(["metric", *headings], [["members", *counts], *rows], about))


def _value(measured: Mapping[str, Any]) -> Content:
    if measured["value"] is not None:
        return number(measured["value"], 4)
    return element("span", text(f"none: {measured['error']}"), class_="muted")
