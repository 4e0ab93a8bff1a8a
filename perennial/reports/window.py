"""The report of a judged window: what `verdict.json` says, in words, tables and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from xml.etree.ElementTree import Element

from perennial.data.column_statistics import Floats
from perennial.reports import banded, columns, details, history, scored
from perennial.reports.banded import Drawn
from perennial.reports.page import Content, element, figure, figures, listed, page, pairs, section, table, text
from perennial.words import between, number, printable

MAX_FIGURES = 24  # of columns that have changed; the table has a small picture of each
MAX_NAME = 60
OUTCOMES = {
    "Healthy": ("good", "Nothing was found: what the endpoint was asked is like what its model has learned."),
    "Drift": ("bad", "Something is not as it was: by more than chance, and by enough to matter."),
    "BadData": ("bad", "The records are broken, and a model would learn nothing good from them."),
    "NotEnoughData": ("open", "There are too few records or labels to say anything."),
    "Failed": ("open", "An analysis could not be made, and nothing was found by the others."),
}  # fmt: skip
ANALYSES = {"data_quality": "Columns", "model_quality": "The model's quality"}


@dataclass(frozen=True)
class JudgedWindow:
    """What is known of a window.

    verdict     the document verdict.json
    config      of the run whose model answered: config.json
    then, now   statistics.json of the baseline and of the window, if they are there
    labels, scores   `(n_rows,)` of the records with a label
    history     earlier windows: {end, run, verdict, metric, value, limit} each
    forecasts   some of those that the window has
    what        the records came in
    """

    verdict: Mapping[str, Any]
    config: Mapping[str, Any]
    then: Mapping[str, Any] | None
    now: Mapping[str, Any] | None
    labels: Floats
    scores: Floats
    history: Sequence[Any] = ()
    forecasts: Sequence[Drawn] = ()
    what: str = "this window"

    @property
    def analyses(self) -> Mapping[str, Any]:
        analyses: Mapping[str, Any] = self.verdict["analyses"]
        return analyses

    @property
    def definition(self) -> Mapping[str, Any]:
        definition: Mapping[str, Any] = self.config["definition"]
        return definition

    def sides(self, column: str) -> tuple[Any, Any]:
        """Return what the statistics say of a column, then and now."""
        then, now = self._features
        return then.get(column), now.get(column)

    @cached_property
    def _features(self) -> list[dict[str, Any]]:
        return [{one["name"]: one for one in (side or {}).get("features", [])} for side in (self.then, self.now)]


def report(window: JudgedWindow) -> bytes:
    """Return the page."""
    verdict = window.verdict
    title = f"{verdict['verdict']}: {text(verdict['endpoint'], MAX_NAME)}, {_times(verdict)}"
    others = [name for name in window.analyses if name not in ANALYSES]
    return page(
        title,
        _head(window, title),
        _collected(verdict),
        changed(window),
        by_column(window),
        _quality(window),
        _forecasts(window),
        *(_other(name, window.analyses[name]) for name in others),
        element("p", "All numbers are in verdict.json beside this file.", class_="muted"),
    )


def _times(verdict: Mapping[str, Any]) -> str:
    times = verdict["window"]
    return f"{text(times['start'], 40)} to {text(times['end'], 40)}"


def _head(window: JudgedWindow, title: str) -> Element:
    verdict = window.verdict
    color, meaning = OUTCOMES.get(verdict["verdict"], ("open", ""))
    about = (
        f"{verdict['records']:,} records. Run of the model: {text(window.config.get('run_id', 'not known'), MAX_NAME)}."
    )
    reasons = listed(verdict["reasons"], 40) if verdict["reasons"] else None
    return element(
        "header", element("h1", title), element("p", about, class_="muted"),
        element("div", element("p", meaning), reasons, class_=f"outcome {color}"),
    )  # fmt: skip


def _collected(verdict: Mapping[str, Any]) -> Element:
    counted, examples = [], []
    for name, title in (("collected", "Requests"), ("ground_truth", "Labels")):
        counts = dict(verdict[name])
        examples += counts.pop("examples", [])
        counted.append(pairs(((details.words(each), details.cell(count)) for each, count in counts.items()), title))
    unread = [element("p", "Examples of what could not be read:", class_="muted"), listed(examples)] if examples else []
    return section("What was collected and left out", element("div", *counted, class_="beside"), *unread)


# ---- Columns


def changed(window: JudgedWindow) -> Element | None:
    """Return a picture of each column that something was found of, the first findings first."""
    findings = window.analyses.get("data_quality", {}).get("findings", [])
    texts_of: dict[str, list[str]] = {}
    for one in findings:
        texts_of.setdefault(one["subject"], []).append(one["text"])
    pictured = {name: texts for name, texts in texts_of.items() if any(window.sides(name))}
    if not pictured:
        return None
    made = [
        figure(text(name, MAX_NAME), columns.picture(*window.sides(name), _axis(window, name)), text(" ".join(texts)))
        for name, texts in list(pictured.items())[:MAX_FIGURES]
    ]
    more = f"{len(pictured) - MAX_FIGURES:,} more are in the table." if len(pictured) > MAX_FIGURES else None
    about = (
        f"Then: the rows that the model was trained on, dashed. Now: {window.what}. The outermost bins hold all beyond."
    )
    return section(
        "What has changed", element("p", about, class_="muted"), figures(made), element("p", more) if more else None
    )


def _axis(window: JudgedWindow, name: str) -> str:
    unit = (window.definition["columns"].get(name) or {}).get("unit")
    return text(f"{printable(name, 30)}, {unit}" if unit else name, 50)


def by_column(window: JudgedWindow) -> Element | None:
    """Return a table of all columns with their distances, those that something was found of first."""
    analysis = window.analyses.get("data_quality")
    if analysis is None:
        return None
    subjects = {one["subject"] for one in analysis["findings"]}
    limits = window.definition["monitoring"]["data_quality"]
    rows = [_column(one, one["name"] in subjects, window) for one in sorted(
        analysis.get("columns", ()), key=lambda one: (one["name"] not in subjects, -_largest(one), one["name"])
    )]  # fmt: skip
    about = (
        f"A column has changed where its distance is above {limits['distance']:g} or its population stability index "
        f"above {limits['stability']:g}, and chance is below {number(analysis.get('level'), 2)}. The distance is "
        "that of Kolmogorov and Smirnov; of texts, the largest difference of a value's share."
    )
    headings = ("column", "then and now", "", "", "distance", "stability", "chance", "missing", "found")
    body = table(headings, rows, about) if rows else None
    return section(ANALYSES["data_quality"], _reason(analysis), body)


def _largest(one: Mapping[str, Any]) -> float:
    return float(one["distance"]["largest"]) if one.get("distance") else -1.0


def _column(one: Mapping[str, Any], is_changed: bool, window: JudgedWindow) -> tuple[Content, ...]:
    distance = one.get("distance")
    numbers = [f"{distance[name]:.3g}" for name in ("largest", "psi", "chance")] if distance else ["", "", ""]
    missing = f"{one['missing_before']:.1%} -> {one['missing_after']:.1%}"
    before, after = (text(one[side], MAX_NAME) for side in ("before", "after"))
    why = text(one["why"], MAX_NAME) if one.get("why") else before
    return (
        element("strong" if is_changed else "span", text(one["name"], MAX_NAME)),
        columns.small(*window.sides(one["name"])), why, after, *numbers, missing, "changed" if is_changed else "",
    )  # fmt: skip


def _reason(analysis: Mapping[str, Any]) -> Element | None:
    return element("p", f"{analysis['verdict']}: {text(analysis['reason'])}") if analysis["reason"] else None


# ---- The model's quality


def _quality(window: JudgedWindow) -> Element | None:
    analysis, gate = window.analyses.get("model_quality"), window.definition["gate"]["metric"]
    if analysis is None:
        return None
    measured = analysis.get("metrics", ())
    unit = _unit(window)
    decisive = next((one for one in measured if one["name"] == gate), None)
    windows = [*window.history, _entry(window, gate, decisive or {})]
    pictures = [history.picture(windows, gate, unit if gate in ("rmse", "mae") else "")]
    pictures += scored.pictures(window.definition, window.labels, window.scores, unit)
    return section(
        ANALYSES["model_quality"], _reason(analysis), _metrics(measured, gate) if measured else None,
        figures([one for one in pictures if one is not None]),
        element("div", element("h3", "Earlier windows"), history.rows(windows, gate)) if window.history else None,
    )  # fmt: skip


def _entry(window: JudgedWindow, metric: str, measured: Mapping[str, Any]) -> dict[str, Any]:
    """Return this window as one of the history."""
    verdict = window.verdict
    return {
        "end": verdict["window"]["end"],
        "run": window.config.get("run_id"),
        "verdict": verdict["verdict"],
        "metric": metric,
        "value": measured.get("value"),
        "limit": measured.get("limit"),
    }


def _metrics(measured: Sequence[Mapping[str, Any]], gate: str) -> Element:
    words = {"GreaterThanThreshold": "at most", "LessThanThreshold": "at least"}
    rows = [
        (
            element("strong" if one["name"] == gate else "span", one["name"]), number(one["value"]),
            between(one["interval"]), f"{words.get(one['operator'], '')} {number(one['limit'])}",
            number(one["lost"]), number(one["lost_at_least"]), "worse" if one["worse"] else one.get("not_worse", ""),
        )
        for one in measured
    ]  # fmt: skip
    headings = ("metric", "value", "95 % interval", "baseline", "lost", "lost at least", "found")
    return table(headings, rows, f"{gate} decides; the others are reported.")


def _unit(window: JudgedWindow) -> str:
    unit = window.definition["columns"][window.definition["target"]].get("unit")
    return f", {text(unit, 20)}" if unit else ""


# ---- Forecasts


def _forecasts(window: JudgedWindow) -> Element | None:
    if not window.forecasts:
        return None
    about = "The band is from the quantile 0.1 to 0.9: four of five values should lie in it. Periods ahead are above 0."
    made = [banded.picture(one, _unit(window)) for one in window.forecasts]
    return section("Forecasts", element("p", about, class_="muted"), figures(made))


# ---- Other analyses


def _other(name: str, analysis: Mapping[str, Any]) -> Element:
    findings = [one["text"] for one in analysis["findings"]]
    own = {key: value for key, value in analysis.items() if key not in ("verdict", "reason", "findings")}
    outcome = None if analysis["reason"] else element("p", analysis["verdict"])
    return section(
        details.words(name).capitalize(), outcome, _reason(analysis), listed(findings) if findings else None,
        *details.tables(own),
    )  # fmt: skip
