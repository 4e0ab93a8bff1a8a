"""The report of a training run: what was decided and why, how good its model is, and what it was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree.ElementTree import Element

from perennial.data.column_statistics import Floats
from perennial.reports import bias, columns, details, scored
from perennial.reports.page import Content, element, figure, figures, listed, page, pairs, section, table, text
from perennial.runs import comparison, facts, message, trials
from perennial.runs.run_record import RunRecord
from perennial.words import between, number

MAX_FIGURES = 24  # of columns
MAX_NAME = 60
MAX_FEATURES = 30
MAX_DIFFERENCES, MAX_PATH = 60, 120
RULES = (
    "metric", "direction", "threshold", "minimum_improvement", "maximum_regression", "minimum_unseen_rows",
    "without_comparison", "confidence",
)  # fmt: skip
SETS = ("unseen", "known", "changed", "new")
COLORS = {"Succeeded": "good", "Rejected": "bad", "Failed": "bad", "TimedOut": "bad", "Aborted": "bad"}


@dataclass(frozen=True)
class ReportedRun:
    """What is known of a run that has ended; None is what it has not reached, or what is too large to be read.

    record       the closed record
    contract     report.json of preprocessing
    labels, scores   `(n_rows,)` of the test set, or of its first rows
    statistics   statistics.json of the baseline of its data
    attribution  analysis.json of the baseline of its features' contributions
    analysis     analysis.json of bias in its data and its answers
    champion     the record of the run whose model it was compared with, and the attribution of that
    """

    record: RunRecord
    contract: Mapping[str, Any] | None = None
    labels: Floats | None = None
    scores: Floats | None = None
    statistics: Mapping[str, Any] | None = None
    attribution: Mapping[str, Any] | None = None
    analysis: Mapping[str, Any] | None = None
    champion: RunRecord | None = None
    champion_attribution: Mapping[str, Any] | None = None

    @property
    def definition(self) -> Mapping[str, Any]:
        definition: Mapping[str, Any] = self.record.get("configuration", {}).get("definition", {})
        return definition

    def unit(self, column: str) -> str:
        """Return the unit of a column as it follows a name; nothing without one."""
        unit = (self.definition.get("columns", {}).get(column) or {}).get("unit")
        return f", {text(unit, 20)}" if unit else ""


def report(run: ReportedRun) -> bytes:
    """Return the page."""
    title = f"{message.headline(run.record)}: {run.record['stack']}, run {run.record['run_id']}"
    return page(
        title,
        _head(run, title),
        _gate(run),
        _against(run),
        _quality(run),
        _importances(run),
        *bias.sections(run.analysis or {}),
        _tried(run),
        _contract(run),
        _columns(run),
        _states(run),
        element("p", "All numbers are in run.json beside this file, and in the files that it names.", class_="muted"),
    )


def _head(run: ReportedRun, title: str) -> Element:
    lines = message.head(run.record).splitlines()
    outcome = element("div", *(element("p", text(line)) for line in lines), class_=_outcome(run))
    about = pairs((name, text(value)) for name, value in facts.lines(run.record))
    return element("header", element("h1", title), outcome, about)


def _outcome(run: ReportedRun) -> str:
    return f"outcome {COLORS.get(run.record['status'], 'open')}"


# ---- What was decided


def _gate(run: ReportedRun) -> Element | None:
    measured, judged = run.record.get("metrics"), run.record.get("gate")
    if not measured or not judged:
        return None
    candidate, champion = measured.get("candidate") or {}, measured.get("champion") or {}
    rows: list[list[Content]] = []
    for name in dict.fromkeys([*candidate, *champion]):
        decides = name == judged.get("metric")
        intervals = [measured.get(f"{model}_interval") if decides else None for model in ("candidate", "champion")]
        values = [
            _measured(each.get(name), bounds) for each, bounds in zip((candidate, champion), intervals, strict=True)
        ]
        rows.append([element("strong" if decides else "span", text(name, MAX_NAME)), *values])
    about = f"{measured.get('test_rows', 0):,} test rows; {judged.get('metric')} decides, with its 95 % interval."
    if measured.get("constant") is not None:
        about += f" The best constant answer reaches {number(measured['constant'])}."
    if measured.get("naive") is not None:
        about += f" The seasonal-naive forecast reaches {number(measured['naive'])}."
    reason = element("p", text(judged.get("reason", "")))
    compared: Mapping[str, Any] = measured.get("comparison") or {}
    sets = [{"test rows": name, **compared[name]} for name in SETS if compared.get(name, {}).get("rows")]
    rules = {name: value for name, value in judged.items() if name in RULES and value is not None}
    return section(
        "What the gate compared and decided", reason, table(("metric", "candidate", "in service"), rows, about),
        *details.tables(
            {
                "both models on the same rows": sets,
                "slices": _slices(measured.get("slices") or []),
                "what the gate asks for": rules,
            }
        ),
    )  # fmt: skip


def _against(run: ReportedRun) -> Element | None:
    """Return what else differs from the run of the model in service: its metrics are on the same rows above."""
    if run.champion is None:
        return None
    differences = [
        one
        for one in comparison.differences(run.champion, run.record)
        if one.path.partition(".")[0] not in ("metrics", comparison.SAME_ROWS, "status", "gate")
    ]
    rows: list[list[Content]] = [
        [text(one.path, MAX_PATH), text(comparison.readable(one.first)), text(comparison.readable(one.second))]
        for one in differences[:MAX_DIFFERENCES]
    ]
    more = len(differences) - len(rows)
    about = f"And {more:,} more: perennial compare says them all." if more else ""
    title = f"What differs from the model in service, of run {run.champion['run_id']}"
    if not rows:
        return section(title, element("p", "Nothing in configuration, code, data and rows."))
    return section(title, table(("what", "in service", "this run"), rows, about))


def _slices(slices: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return each slice with both models on the rows that both know nothing of, and what the gate said about it."""
    return [
        {
            "slice": one["name"],
            "test rows": one["rows"],
            "candidate": one["candidate"],
            "rows compared": (one["compared"] or {}).get("rows"),
            "candidate there": (one["compared"] or {}).get("candidate"),
            "in service there": (one["compared"] or {}).get("champion"),
            "failed": one["failed"],
            "why": one["reason"],
        }
        for one in slices
    ]


def _measured(value: Any, bounds: Any) -> str:
    if not isinstance(value, int | float):
        return ""
    return f"{number(value)} ({between(bounds)})" if bounds else number(value)


def _quality(run: ReportedRun) -> Element | None:
    if run.labels is None or run.scores is None or not run.definition:
        return None
    pictures = scored.pictures(run.definition, run.labels, run.scores, run.unit(run.definition["target"]))
    every = (run.record.get("metrics") or {}).get("test_rows", run.labels.size)
    first = f"The first {run.labels.size:,} of {every:,} test rows." if run.labels.size < every else None
    about = element("p", first, class_="muted") if first else None
    return section("The model on its test rows", about, figures(pictures)) if pictures else None


def _importances(run: ReportedRun) -> Element | None:
    shares, before = comparison.shares(run.attribution), comparison.shares(run.champion_attribution)
    if not shares:
        return None
    rows: list[list[Content]] = []
    for name in sorted(shares, key=lambda name: (-shares[name], name))[:MAX_FEATURES]:
        served = [f"{before[name]:.1%}" if name in before else ""] if before else []
        rows.append([text(name, MAX_NAME), f"{shares[name]:.1%}", columns.bar(shares[name], "now"), *served])
    made = table(
        ("feature", "share", "", *(["in service"] if before else [])),
        rows,
        "Mean absolute contributions (SHAP values) to the answers for test rows, of each model for its own.",
    )
    made.set("class", "scroll shares")
    return section("What the answers rest on", made)


def _tried(run: ReportedRun) -> Element | None:
    tuned = run.record.get("tuning")
    if not tuned:
        return None
    names = list(dict.fromkeys(name for one in tuned["trials"] for name in one["hyperparameters"]))
    rows: list[list[Content]] = [
        [
            element("strong" if one["name"] == tuned["best"] else "span", text(one["name"], MAX_NAME)),
            text(one["status"]),
            _measured(one["value"], None),
            *(text(trials.spoken_value(one["hyperparameters"].get(name, "")), 20) for name in names),
        ]
        for one in tuned["trials"]
    ]
    about = "; ".join(trials.line(run.record))
    return section("What was tried", table(("trial", "status", text(tuned["metric"]), *names), rows, about))


# ---- What it was trained on


def _contract(run: ReportedRun) -> Element | None:
    contract = run.contract
    if not contract:
        return None
    counts = {name: contract[name] for name in ("rows", "sets", "duplicates") if contract.get(name)}
    problems = contract.get("problems") or []
    left = ("new_files", "since", "late", "drift", "aside")
    return section(
        "What the data contract found", listed(problems) if problems else None,
        element("div", *details.tables(counts), class_="beside"),
        *details.tables({"rows of each class": contract.get("classes") or None}),
        *details.tables({"rules that rows break": contract.get("rules"), "files": contract.get("files")}),
        *details.tables({name: contract.get(name) for name in left if contract.get(name)}),
    )  # fmt: skip


def _columns(run: ReportedRun) -> Element | None:
    described = (run.statistics or {}).get("features", [])
    if not described:
        return None
    made = [
        figure(
            text(one["name"], MAX_NAME),
            columns.picture(None, one, f"{text(one['name'], 30)}{run.unit(one['name'])}", ("", "training rows")),
        )
        for one in described[:MAX_FIGURES]
    ]
    others = [[text(one["name"], MAX_NAME), columns.small(None, one)] for one in described[MAX_FIGURES:]]
    return section("Columns of the training rows", figures(made), table(("column", ""), others) if others else None)


def _states(run: ReportedRun) -> Element | None:
    seconds = run.record.get("durations_seconds") or {}
    return (
        section("States", pairs((text(name), f"{value:,.1f} s") for name, value in seconds.items()))
        if seconds
        else None
    )
