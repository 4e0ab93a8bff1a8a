"""The mail about a judged window: what it says.

Nothing that a captured record may have brought is passed on as it is; see `runs.cause.safe`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from perennial.monitoring.findings import BAD_DATA, DRIFT, FAILED, HEALTHY, NOT_ENOUGH
from perennial.monitoring.policy import REPLACED, TAKEN_AWAY
from perennial.runs.cause import explained, safe
from perennial.runs.message import MAX_LINE, Message, console_link, subject
from perennial.words import between, number

MAX_REASONS = 20
MAX_SKIPPED = 10  # parts of a window that other models answered
HEADLINES = {
    DRIFT: "Drift",
    BAD_DATA: "Bad data",
    FAILED: "Window not judged",
    NOT_ENOUGH: "Not enough data to judge",
    HEALTHY: "Healthy again",
}
# What is said of labels besides how many have found their request, by what verdict.json calls it in `ground_truth`.
LABELS = {
    "duplicate": "came again",
    "contradicting": "of these say another thing than the last, which counts",
    "only_unreadable": "requests have only labels that cannot be read, or name no class of the model",
    "unreadable_labels": "of all that were read cannot be",
    "unknown_classes": "of all that were read name no class of the model",
    "unmatched": "of all that were read are of no request of this window",
}
FILES_BEFORE = {
    REPLACED: "the window was judged before: its file among the data has the rows of now",
    TAKEN_AWAY: "the window was judged before: its file was taken away from the data, because it gives no rows now",
}
START_A_RUN = "A model may have learned from what it was before: start a run."
NOT_RETRAINED = (
    "Look at the report. If the world is like this now, drop labelled data of it under the data prefix, which starts a "
    "run itself; until then the model in service answers from what was before. If callers send what they do not mean, "
    "ask them."
)
ADVICE = {
    BAD_DATA: (
        "Ask whoever sends these records, or the labels where these are named, what has changed. Nothing retrains on "
        "them. If a column's values have truly changed and its unit has not: monitoring.data_quality.same_unit."
    ),
    NOT_ENOUGH: (
        "See whether callers still reach the endpoint and are answered (refused requests are not captured: "
        "Invocation4XXErrors, on the dashboard), or judge longer windows. This is told once."
    ),
    FAILED: "Mend what is named above. The records are kept, and the next window takes them once more.",
}


def compose(window: Mapping[str, Any], *, region: str, partition: str = "aws") -> Message:
    """Return the mail about a window, as notify_window has closed it."""
    headline = HEADLINES[window["verdict"]]
    reasons = [safe(reason, MAX_LINE) for reason in window["reasons"]]
    is_healthy = window["verdict"] == HEALTHY  # the reasons are then what else there is to say
    first = f"{headline}: {reasons[0] if reasons and not is_healthy else 'nothing was found'}"
    blocks = [
        first,
        _facts(window),
        _reasons("What could not be judged, or was in another way", reasons) if is_healthy else "",
        _reasons("What was found", reasons) if not is_healthy and len(reasons) > 1 else "",
        _policy(window),
        _file_before(window),
        _skipped(window["skipped"]),
        _advice(window),
        _links(window, region, partition),
    ]
    return Message(subject(first, window["stack"]), "\n\n".join(block for block in blocks if block) + "\n")


def _facts(window: Mapping[str, Any]) -> str:
    lines = [("Window", f"{window['start']} to {window['end']}"), ("Cut", window["cut"])] if window["start"] else []
    lines += [("Model", f"of run {window['run']}")] if window["run"] else []
    if window["records"] is not None:
        lines += [("Records", f"{window['records']:,}, {window['labels']:,} with a label")]
        lines += [("Labels", _labels(window["label_counts"]))]
    if probed := window["probed"]:
        data = f"{probed['data']['files']:,} data files as of {probed['data']['listed_at']}"
        lines += [("Probed", f"{probed['rows']:,} rows of the test set of run {probed['run']}, {data}")]
    lines += [("Metric", _measured(one)) for one in (window["metric"], *window["own_metrics"]) if one]
    lines += [("Waited", one) for one in window["waited"]]
    lines += [("Limit", _limits(window["limit_before"], window["metric"]))] if window["limit_before"] else []
    return "\n".join(f"{name:<14}{safe(value, MAX_LINE)}" for name, value in lines if value)


def _labels(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{counts[name]:,} {what}" for name, what in LABELS.items() if counts[name])


def _limits(before: Mapping[str, Any], metric: Mapping[str, Any]) -> str:
    """Return how the limit changed with the model: one that was accepted on changed data is held to less."""
    models = f"{number(metric['limit'])} now, {number(before['limit'])} with the model before (run {before['run']})"
    return f"{models}: it follows what the model in service was tested with"


def _measured(metric: Mapping[str, Any]) -> str:
    value, limit = number(metric["value"]), number(metric["limit"])
    measured = f"{metric['name']} {value} ({between(metric['interval'])}), limit {limit}"
    return f"{measured}; what is lost is {why}" if (why := metric.get("not_worse")) else measured


def _reasons(title: str, reasons: Sequence[str]) -> str:
    if not reasons:
        return ""
    more = len(reasons) - MAX_REASONS
    lines = [title, *(f"  {reason}" for reason in reasons[:MAX_REASONS])]
    return "\n".join([*lines, *([f"  ... and {more:,} more; all of them: verdict.json"] if more > 0 else [])])


def _policy(window: Mapping[str, Any]) -> str:
    decision, failure = window["decision"], window["failure"]
    if failure:
        state = f", state {failure['state']!r}" if failure["state"] else ""
        cause = safe(explained(failure["cause"]) or "none was given", MAX_LINE * 4)
        return f"Cause ({safe(failure['error'] or 'unknown error', 80)}{safe(state, 90)})\n  {cause}"
    if not decision:
        return ""
    if decision["retrain"]:
        return f"Retraining     started: {safe(decision['reason'], MAX_LINE)}\n               {window['training']}"
    return f"Retraining     not started: {safe(decision['reason'], MAX_LINE * 2)}"


def _skipped(parts: Sequence[Mapping[str, str]]) -> str:
    """Return what other models answered of the window, each with the input that judges it."""
    if not parts:
        return ""
    lines = [f"  {_window_input(one['Start'], one['End'])}   run {one['Run']}" for one in parts[-MAX_SKIPPED:]]
    first = (
        "Not judged     what other models answered, unless a window before has; the monitor's input that judges each"
    )
    return "\n".join([first, *lines])


def _file_before(window: Mapping[str, Any]) -> str:
    """Say what became of the rows that the window had among the data when it was judged before."""
    if not (file := window["file_before"]):
        return ""
    what_to_do = "" if window["training"] else f"\n               {START_A_RUN}"
    return f"Labelled rows  {safe(FILES_BEFORE[file['became']], MAX_LINE)}\n               {file['uri']}{what_to_do}"


def _advice(window: Mapping[str, Any]) -> str:
    text = ADVICE.get(window["verdict"]) or (window["training"] and window["trains"])
    if window["verdict"] == DRIFT and not window["training"]:
        text = NOT_RETRAINED
    if window["verdict"] == FAILED and window["start"]:
        text = (
            f"{text} To judge them yourself, start the monitor with\n  {_window_input(window['start'], window['end'])}"
        )
    return f"What to do\n  {text}" if text else ""


def _window_input(start: str, end: str) -> str:
    """Return the input of an execution that judges this window."""
    return json.dumps({"Window": {"Start": start, "End": end}})


def _links(window: Mapping[str, Any], region: str, partition: str) -> str:
    report = [f"Report     {window['report']}"] if window["report"] else []
    verdict = (
        [f"Verdict    {window['prefix']}/verdict.json"] if window["prefix"] and window["records"] is not None else []
    )
    return "\n".join([*report, *verdict, f"Execution  {console_link(window['execution'], region, partition)}"])
