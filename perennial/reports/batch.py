"""The report of a file that was to be scored: its rows against the baseline, and what the model predicts of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from perennial.reports import charts, columns, window
from perennial.reports.page import Content, element, figure, listed, page, pairs, section, table, text
from perennial.reports.window import JudgedWindow
from perennial.words import number

MAX_NAME, MAX_SOURCE = 60, 300
OUTCOMES = {
    "Healthy": ("good", "It is like what the model has learned from."),
    "NotEnoughData": ("open", "It keeps the data contract, and has too few rows to tell drift by."),
    "Drift": ("bad", "Something is not as it was, by more than chance and by enough to matter: nothing was scored."),
    "BadData": ("bad", "It is broken: nothing was scored."),
    "Failed": ("open", "It could not be checked: nothing was scored."),
}  # fmt: skip


@dataclass(frozen=True)
class BatchFile:
    """What is known of a file.

    verdict    the document verdict.json of its check
    config     of the run whose model scores: config.json, with `batch`
    then, now  statistics.json of the baseline and of the file, if they are there
    joined     the document report.json; None where nothing was scored
    """

    verdict: Mapping[str, Any]
    config: Mapping[str, Any]
    then: Mapping[str, Any] | None
    now: Mapping[str, Any] | None
    joined: Mapping[str, Any] | None = None


def report(batch: BatchFile) -> bytes:
    """Return the page."""
    nothing = np.empty(0)
    judged = JudgedWindow(batch.verdict, batch.config, batch.then, batch.now, nothing, nothing, what="this file")
    title = f"{'Scored' if batch.joined else batch.verdict['verdict']}: {text(batch.verdict['file'], MAX_NAME)}"
    return page(
        title,
        _head(batch, title),
        _rows(batch),
        _predictions(batch),
        window.changed(judged),
        window.by_column(judged),
        element("p", "All numbers are in verdict.json of the batch and report.json of the result.", class_="muted"),
    )


def _head(batch: BatchFile, title: str) -> Element:
    about = batch.config["batch"]
    color, meaning = OUTCOMES.get(batch.verdict["verdict"], ("open", ""))
    version = f", version {about['version']}" if about.get("version") else ""
    run = text(batch.config.get("run_id", "not known"), MAX_NAME)
    reasons = [*batch.verdict["reasons"], *batch.verdict["notes"]]
    return element(
        "header", element("h1", title),
        element("p", f"Batch {text(about['id'], MAX_NAME)}. Model of run {run}{version}.", class_="muted"),
        _source(about.get("source")),
        element("div", element("p", meaning), listed(reasons, 40) if reasons else None, class_=f"outcome {color}"),
    )  # fmt: skip


def _source(uri: str | None) -> Element | None:
    return element("p", f"Copied from {text(uri, MAX_SOURCE)}.", class_="muted") if uri else None


def _rows(batch: BatchFile) -> Element:
    counted: list[tuple[str, Content]] = [("rows", f"{batch.verdict['rows']:,}")]
    if batch.joined:
        counted.append(("with a prediction", f"{batch.joined['scored']:,}"))
    counted.append(("refused", f"{batch.verdict['refused']:,}"))
    rules = [(text(rule, MAX_NAME), f"{rows:,}") for rule, rows in batch.verdict["refusals"].items()]
    return section("Rows", pairs(counted), table(("why they are refused", "rows"), rules) if rules else None)


def _predictions(batch: BatchFile) -> Element | None:
    predictions = (batch.joined or {}).get("distribution")
    if not predictions:
        return None
    target = batch.config["definition"]["target"]
    if "classes" in predictions:
        most = max(predictions["rows"]) or 1
        rows = [
            (text(name, MAX_NAME), f"{count:,}", columns.bar(count / most, "now"))
            for name, count in zip(predictions["classes"], predictions["rows"], strict=True)
        ]  # fmt: skip
        return section("Predictions", table(("class", "rows", ""), rows))
    unit = batch.config["definition"]["columns"][target].get("unit")
    axis = text(f"predicted {target}, {unit}" if unit else f"predicted {target}", MAX_NAME)
    picture = charts.chart(
        [charts.Layer("rows", charts.steps(predictions["edges"], predictions["shares"]))], axis, "share of rows"
    )
    words = ", ".join(f"{name} {number(value)}" for name, value in (batch.joined or {})["predictions"].items())
    return section("Predictions", figure("How they are distributed", picture, words))
