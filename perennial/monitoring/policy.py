"""What follows from a verdict: retrain, and if not, why not.

Only drift retrains. What was decided before is the history: one entry for each judged window, oldest first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from perennial.monitoring.findings import DRIFT, FAILED
from perennial.monitoring.period import read

MAX_WINDOWS = 200  # that are remembered
# What becomes of the labelled rows that a window had among the data when it is judged again.
REPLACED, TAKEN_AWAY = "replaced", "taken away"


@dataclass(frozen=True)
class Decision:
    """Whether drift starts a training run, and the reason in words for the mail."""

    retrain: bool
    reason: str


def decide(
    window: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    policy: Mapping[str, Any],
    now: datetime,
    no_rows: str | None = None,
    serving: str | None = None,
    others: Sequence[Mapping[str, Any]] = (),
) -> Decision | None:
    """Return what the policy says of a window that is the newest in the history; None where there is nothing to decide.

    window   its id, run, verdict, end (UTC), labelled_rows; of a file that was checked its `file`
    history  all windows that were judged, this one too: end, verdict, retrained_at (or none), oldest first
    policy   monitoring.retraining of model.yaml
    no_rows  why the window has no labelled rows, and what would help
    serving  the run whose model answers now, where it is known
    others   what else may have started runs: files that were checked, of windows, and the other way round
    """
    if window["verdict"] != DRIFT:
        return None
    if policy["action"] == "notify":
        return Decision(False, "the policy only tells (monitoring.retraining.action: notify)")
    if history and window["end"] < history[-1]["end"]:
        return Decision(False, "a later window has been judged already, and that one decides")
    if serving and window["run"] != serving:
        return Decision(False, f"the model of run {window['run']} no longer serves: windows of run {serving} decide")
    started = next((one.get("retrained_at") for one in history if one["id"] == window["id"]), None)
    if started:
        return Decision(False, f"this window has started a run already, at {started}")
    return (
        _in_row(history, policy)
        or _rested([*history, *others], policy, now)
        or _rows(window, unlearned(history, window["id"]), policy, no_rows)
    )


def _in_row(history: Sequence[Mapping[str, Any]], policy: Mapping[str, Any]) -> Decision | None:
    """Count breaches of the newest window's model since the last window without one, or the last retraining.

    NotEnoughData neither adds nor ends.
    """
    breaches = 0
    for one in reversed(history):
        of_another = one["run"] != history[-1]["run"]
        if of_another or one.get("retrained_at") or one["verdict"] not in (DRIFT, "NotEnoughData"):
            break
        breaches += one["verdict"] == DRIFT
    if breaches >= policy["breaches"]:
        return None
    return Decision(
        False, f"{breaches} of {policy['breaches']} windows with drift in a row (monitoring.retraining.breaches)"
    )


def _rested(history: Sequence[Mapping[str, Any]], policy: Mapping[str, Any], now: datetime) -> Decision | None:
    times = sorted(read(one["retrained_at"]) for one in history if one.get("retrained_at"))
    today = [time for time in times if time > now - timedelta(days=1)]
    if len(today) >= policy["runs_a_day"]:
        text = f"drift has started {len(today)} runs within a day (monitoring.retraining.runs_a_day)"
        return Decision(False, text)
    rested = timedelta(hours=policy["cooldown_hours"])
    if times and now - times[-1] < rested:
        until = f"{times[-1] + rested:%Y-%m-%d %H:%M} UTC"
        return Decision(False, f"drift has started a run at {times[-1]:%H:%M} UTC; the next one not before {until}")
    return None


def _rows(
    window: Mapping[str, Any], windows: Sequence[Mapping[str, Any]], policy: Mapping[str, Any], no_rows: str | None
) -> Decision:
    """Ask for labelled rows, which only windows have: of a file a run sees whether there is anything to learn from."""
    if window.get("file"):
        return Decision(True, "drift starts a training run on the data that are there")
    rows, least = sum(int(one["labelled_rows"]) for one in windows), int(policy["min_labelled_rows"])
    if rows >= least:
        added = f" with {rows:,} new labelled rows" if rows else ""
        return Decision(True, f"drift starts a training run{added}")
    why = no_rows or "send labels below ground-truth/, or drop new data"
    return Decision(
        False,
        f"{rows:,} new labelled rows; expected at least {least:,} (monitoring.retraining.min_labelled_rows): training "
        f"on the same data would change nothing; {why}",
    )


def unlearned(history: Sequence[Mapping[str, Any]], window_id: str) -> list[Mapping[str, Any]]:
    """Return the windows whose labelled rows no retraining has had: this one, and those since the last one that did."""
    upto = next((number for number, one in enumerate(history) if one["id"] == window_id), -1)
    last = max((number for number, one in enumerate(history[:upto]) if one.get("retrained_at")), default=-1)
    return [one for one in history[last + 1 : upto + 1] if one.get("labelled_rows")]


def without_retraining(history: Sequence[Mapping[str, Any]], window_id: str) -> list[dict[str, Any]]:
    """Return the history as if this window had started no run: it could not be started."""
    decision = {"retrain": False, "reason": "the training run could not be started"}
    return [
        {**{name: value for name, value in one.items() if name not in ("retrained_at", "quiet")}, "decision": decision}
        if one["id"] == window_id
        else dict(one)
        for one in history
    ]


def remembered(history: Sequence[Mapping[str, Any]], entry: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the history with a window in it, by its end; judged again, it takes the place of what it was."""
    same = _which(entry)
    before = next((one for one in history if _which(one) == same), {})
    others = [dict(one) for one in history if _which(one) != same]
    kept_start = {"retrained_at": before["retrained_at"]} if before.get("retrained_at") else {}
    return sorted([*others, {**kept_start, **entry}], key=lambda one: str(one["end"]))[-MAX_WINDOWS:]


def _which(one: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what two judgements of the same have in common; a file is judged once."""
    return one["run"], one["start"], one["end"], one["id"] if one.get("file") else None


def limit_before(history: Sequence[Mapping[str, Any]], window_id: str) -> dict[str, Any] | None:
    """Return {run, limit} of the model before a window's, where its limit was another; None where there is none."""
    place = next((number for number, one in enumerate(history) if one["id"] == window_id), 0)
    now = (history[place].get("metric") if history else None) or {}
    for one in reversed(history[:place]):
        metric = one.get("metric") or {}
        if one["run"] != history[place]["run"] and metric.get("name") == now.get("name") and metric:
            return {"run": one["run"], "limit": metric["limit"]} if metric["limit"] != now["limit"] else None
    return None


def what_trains(definition: Mapping[str, Any]) -> str:
    """Return which rows a run learns from beside those of the drifted window, and what limits them; nothing if few."""
    window = (definition.get("training") or {}).get("window") or {}
    days, files = window.get("days"), window.get("newest_files")
    if files == 1:
        return ""
    which = (
        f"those of the newest {files:,} files" if files else f"those of {days:,} days" if days else "all that there are"
    )
    return (
        f"Rows of the world before train and judge too, {which}. If they no longer hold, let fewer: training.window of "
        "model.yaml (newest_files, or days and the column that dates rows)."
    )


def judged_until(history: Sequence[Mapping[str, Any]]) -> str | None:
    """Return until when records were judged: the next window begins there.

    One that Failed is judged once more, with the next; what has failed twice from the same start is left, so that a
    window does not grow without end.
    """
    failed = [one["start"] for one in history if one["verdict"] == FAILED]
    ends = [
        one["start"] if failed.count(one["start"]) == 1 and one["verdict"] == FAILED else one["end"] for one in history
    ]
    return max(ends, default=None)


def course(history: Sequence[Mapping[str, Any]], end: str) -> list[dict[str, Any]]:
    """Return the windows that ended before, as the report shows the course of the metric."""
    measured = [(one, one.get("metric") or {}) for one in history if one["end"] < end]
    return [
        {
            **{name: one[name] for name in ("end", "run", "verdict")},
            "metric": metric.get("name"),
            "value": metric.get("value"),
            "limit": metric.get("limit"),
        }
        for one, metric in measured
    ]
