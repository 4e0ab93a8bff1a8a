"""The lines of a mail about what a run worked on and what it measured: (name, text)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from perennial.data.moved import in_words
from perennial.data.since import set_by
from perennial.evaluation.gate import TWINS
from perennial.model.problem_types import scores_of
from perennial.runs import costs, naming, no_data, rollout, trials
from perennial.runs.cause import failed_job
from perennial.runs.run_record import Retried, Rows, RunRecord
from perennial.runs.strays import PUT_ASIDE
from perennial.runs.work import NOT_APPROVED, OLDER, TRAINED_ONLY
from perennial.serving import hours
from perennial.words import between, caller, number

NAMES_SHOWN = 3
MOVED_SHOWN = 3
NOTES_SHOWN = 3
KEYS_SHOWN = 10
NO_ROOM = "SageMaker.ResourceLimitExceededException"  # other jobs have the machines of the account's quota
BY_PLATFORM = ("CapacityError", "InternalServerError")  # SageMaker has no machine, or lost the job: it is made again


def lines(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Yield the lines about a closed run record."""
    execution, data = record["execution"], record.get("data")
    yield "Run", record["run_id"]
    yield "Model", f"{record['model']} (stack {record['stack']})"
    yield "Input says", f"{trigger_text(record)}; who started it: CloudTrail, event StartExecution"
    if "ended_at" in execution:
        yield "Ended", f"{execution['ended_at']}, after {_spell(execution['duration_seconds'])}"
    if data:
        ignored = f", {len(data['ignored'])} ignored" if data.get("ignored") else ""
        aside = f", {len(data['aside'])} put aside" if data.get("aside") else ""
        yield "Data", f"{counted(data['file_count'])} under {data['prefix']!r}{ignored}{aside}"
        yield from _left_out(data)
    yield from _older(record)
    yield from _rows(record)
    yield from _numbers(record)
    for tried in trials.line(record):
        yield "Tuned", tried
    if cost := costs.line(record):
        yield "Cost", cost
    if saved := spot(record):
        yield "Spot", saved
    for waited in waits(record):
        yield "Waited", waited
    if version := record.get("version"):
        by = f" by {caller(who)}" if (who := version.get("by")) else ""
        yield "Version", f"{version['number']} in the model registry ({version['arn']}), {version['status']}{by}"
    if taking_over := record.get("rollout"):
        yield "Taking over", rollout.spoken(taking_over)
    if sleeps := _sleeps(record):
        yield "Sleeps", sleeps
    if deployed := record.get("deployed"):
        yield "Endpoint", f"{deployed['endpoint']} serves {deployed['model']}"
    elif champion := record.get("champion"):
        since = (
            "as before"
            if record["status"] in ("Rejected", "Superseded", NOT_APPROVED, TRAINED_ONLY)
            else "when the run began"
        )
        yield "In service", f"{champion['ModelName']} ({since})"


def _sleeps(record: RunRecord) -> str:
    """Return when the endpoint of a stack is not there, and what that saves; nothing where it always is."""
    when = hours.read(record.get("hours") or "")
    if when is None:
        return ""
    machine = ((record.get("configuration") or {}).get("definition") or {}).get("instances", {}).get("endpoint")
    arn = record["execution"].get("arn", "").split(":")
    hourly = costs.listed_price(arn[3], machine["type"], "Hosting") if machine and len(arn) > 3 else None
    if hourly is None:
        return f"outside of {when}"
    return f"outside of {when}; that saves {costs.spoken(costs.asleep(hourly * machine['count'], when))} a month"


def _left_out(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Empty files, and files that earlier runs have put aside; what is no data is in the manifest only."""
    ignored = data.get("ignored", [])
    empty = [item["Key"] for item in ignored if item.get("Reason") == no_data.EMPTY]
    if empty:
        yield "Empty", f"{some(empty)}: 0 bytes, ignored"
    aside = [item["Key"] for item in ignored if str(item.get("Reason")).startswith(PUT_ASIDE)]
    aside += [stray["Key"] for stray in data.get("aside", []) if stray.get("KnownSince")]
    if aside:
        yield "Put aside", f"{some(aside)}: before this run, not trained on"


def _older(record: RunRecord) -> Iterator[tuple[str, str]]:
    """Yield what training.window leaves out: rows before its period, or files."""
    window = record.get("training_window")
    if window and window.get("ends"):
        period = f"{window['days']:,} days back from the newest {window['column']}, {str(window['ends'])[:10]}"
        yield "Left out", f"{window['rows']:,} rows from before (training.window: {period})"
    ignored = (record.get("data") or {}).get("ignored", [])
    reasons = [str(item.get("Reason")) for item in ignored if str(item.get("Reason")).startswith(OLDER)]
    if reasons:
        yield "Left out", f"{counted(len(reasons))} {reasons[0].removeprefix(OLDER + ': ')} (training.window)"


def some(names: Sequence[str]) -> str:
    """Return the first of some names, and how many more there are."""
    more = f" and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else ""
    return f"{', '.join(names[:NAMES_SHOWN])}{more}"


def _rows(record: RunRecord) -> Iterator[tuple[str, str]]:
    rows, drift, new = record.get("rows"), record.get("drift"), record.get("new_files")
    if rows:
        yield "Rows", counted_rows(rows)
    yield from _since(record.get("since") or {}, (record.get("configuration") or {}).get("sources") or {})
    if new and new["files"] and record.get("champion"):
        counts = f"{new['quarantined']:,} quarantined, {new.get('repeated', 0):,} repeat rows of known files"
        if "replaced" in new:
            of_series = (record.get("configuration") or {}).get("definition", {}).get("series")
            key = "of the same series and time" if of_series else "of the same key (split.key)"
            counts += f", {new['replaced']:,} replace one {key}"
        yield "New files", f"{counted(new['files'])}, {new['rows']:,} rows, of which {counts}"
    if drift:
        moved = [in_words(one) for one in drift["moved"]]
        more = [f"{len(moved) - MOVED_SHOWN} more"] if len(moved) > MOVED_SHOWN else []
        columns = "; ".join(moved[:MOVED_SHOWN] + more) or "no column has moved"
        uncounted = drift.get("uncounted")
        but = f" ({some(uncounted)}: too many different texts to be compared)" if uncounted else ""
        new_rows = f"{drift['rows']:,} rows that no known file has"
        yield "Drift", f"{new_rows}, against the data of the model in service: {columns}{but}"
    for note in (new or {}).get("notes", [])[:NOTES_SHOWN]:
        yield "Note", note


def counted_rows(rows: Rows) -> str:
    """Return how many rows there are, and what has become of those that were read."""
    if not rows["read"]:
        return "none could be read"
    read = f"{rows['read']:,} read, {rows['quarantined']:,} quarantined, {rows['repeated']:,} repeat others"
    read += f" ({again:,} of them train again)" if (again := rows.get("trained_again", 0)) else ""
    older, in_no_set = rows.get("older", 0), rows.get("in_no_set", 0)
    read += f", {older:,} too old" if older else ""
    read += f", {in_no_set:,} in no set (no value, none before it, or later than the run)" if in_no_set else ""
    return f"{rows['used'] - rows['repeated'] - older - in_no_set:,} different ones in the sets: {read}"


def _since(since: Mapping[str, Any], sources: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the rows of the model in service that a run has not, and what its definition says otherwise.

    sources  who has set what of this run's definition, where model.yaml has not
    """
    if since.get("rows"):
        parts = [
            ("not among this run's data", *_files_and_rows(since["gone"])),
            ("left out by training.window", *_files_and_rows(since.get("older", {}))),
            ("replaced by other content", *_files_and_rows(since.get("replaced", {}))),
            ("cannot be read now", *unreadable(since)),
        ]
        lost = [f"{what}: {counted(files)}, {rows:,} rows" for what, files, rows in parts if files]
        yield "Rows before", "; ".join([f"{since['rows']:,} used by the model in service", *lost])
    if since.get("definition"):
        paths = since["definition"]
        before = {path: f"{who}, then" for path, who in (since.get("sources") or {}).items()}
        known = {**before, **set_by(sources, paths)}
        whose = {path: known.get(path, "model.yaml") for path in paths}
        groups = [[path for path in paths if whose[path] == who] for who in dict.fromkeys(whose.values())]
        listed = "; ".join(f"{_first(group)} ({whose[group[0]]})" for group in groups)
        yield "Changed since", f"the model in service was trained: {listed}"


def _first(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - KEYS_SHOWN} more" if len(paths) > KEYS_SHOWN else ""
    return f"{', '.join(paths[:KEYS_SHOWN])}{more}"


def _files_and_rows(counted: Mapping[str, int]) -> tuple[int, int]:
    return counted.get("files", 0), counted.get("rows", 0)


def unreadable(since: Mapping[str, Any]) -> tuple[int, int]:
    """Return (files, rows) that the model in service was trained on and that cannot be read now."""
    files = since.get("unreadable", [])
    return len(files) + since.get("unreadable_left_out", 0), sum(file["rows"] for file in files)


def counted(files: int) -> str:
    """Return a number of files in words."""
    return "1 file" if files == 1 else f"{files:,} files"


def _numbers(record: RunRecord) -> Iterator[tuple[str, str]]:
    gate, metrics = record.get("gate"), record.get("metrics") or {}
    if not gate:
        return
    unit, side = unit_of(record), "at most" if gate["direction"] == "minimize" else "at least"
    interval, rows = metrics.get("candidate_interval"), metrics.get("test_rows")
    tested = f" on all {rows:,} test rows" if rows else ""
    known = f" (95 % interval {between(interval)})" if interval else ""
    yield gate["metric"], f"{number(gate.get('candidate'))}{unit}{tested}{known}"
    yield "Threshold", f"{side} {number(gate['threshold'])}{unit}"
    if metrics.get("constant") is not None:
        yield "Best constant", f"{number(metrics['constant'])}{unit}, of always the same answer"
    if metrics.get("naive") is not None:
        yield "Last season", f"{number(metrics['naive'])}{unit}, of its values again (seasonal-naive forecast)"
    if own := _own_metrics(record):
        yield "Own metrics", own
    for name, why in (metrics.get("failed") or {}).items():
        yield "Not measured", f"{name}: {why}"
    if record.get("champion") is None:
        yield "Previous best", "none; this is the first model"
    yield from _comparison(metrics, unit)
    for one in sorted(metrics.get("slices") or [], key=lambda one: not one["failed"]):
        yield f"Slice {one['name']}", one["reason"]


def _own_metrics(record: RunRecord) -> str:
    """Return the metrics that the model brings itself but for the gate's, of the candidate and the model in service."""
    metrics, definition = record.get("metrics") or {}, record["configuration"]["definition"]
    candidate, champion = metrics.get("candidate") or {}, metrics.get("champion") or {}
    return "; ".join(
        f"{name} {number(candidate[name])}"
        + (f" (model in service {number(champion[name])})" if champion.get(name) is not None else "")
        for name in definition.get("metrics", {})
        if name != definition["gate"]["metric"] and candidate.get(name) is not None
    )


def _comparison(metrics: Mapping[str, Any], unit: str) -> Iterator[tuple[str, str]]:
    """Both models on the test rows that compare fairly: the candidate, then the model in service.

    A part that is all of the unseen rows has no line of its own.
    """
    compared = metrics.get("comparison")
    if not compared:
        return
    unseen, known, new = (compared[part] for part in ("unseen", "known", "new"))
    changed, unscored = compared.get("changed") or {"rows": 0, "candidate": None}, compared.get("unscored", 0)
    others = f"{changed['rows']:,} with another target now, " if changed["rows"] else ""
    tested = f"{compared['rows']:,}, of which the model in service has not seen {unseen['rows']:,}"
    left_out = f"; for {unscored:,} more it has no score that can be measured" if unscored else ""
    untold = "".join(f"; {note}" for note in doubtful_rows(compared))
    yield "Test rows", f"{tested} ({known['rows']:,} known, {others}{new['rows']:,} new){left_out}{untold}"
    parts = (("Unseen rows", unseen), ("Known rows", known), ("Changed rows", changed), ("New rows", new))
    for name, part in parts:
        is_told = name != "Unseen rows" and part["rows"] == unseen["rows"]
        if not is_told and part["candidate"] is not None and part["champion"] is not None:
            both = f"{number(part['candidate'])}{unit}, model in service {number(part['champion'])}{unit}"
            yield name, f"{both}{_difference(part['difference'], unit)}"
    if metrics.get("champion_when_accepted") is not None:
        yield (
            "When accepted",
            f"model in service {number(metrics['champion_when_accepted'])}{unit}, on its own test rows",
        )


def doubtful_rows(compared: Mapping[str, Any]) -> list[str]:
    """Return which test rows count as seen for another reason than that they were, and which may be copies."""
    untold, twins = compared.get("untold") or "", compared.get("twins") or 0
    also = f"{twins:,} that it has not seen {TWINS}" if twins and TWINS not in untold else ""
    return [text for text in (untold, also) if text]


def _difference(interval: Sequence[float] | None, unit: str) -> str:
    if not interval:
        return ""
    verdict = "within chance" if interval[0] <= 0 <= interval[1] else "more than chance on these rows"
    return f"; difference {between(interval)}{unit} (95 % interval): {verdict}"


def unit_of(record: RunRecord) -> str:
    """Return the unit of the gate's metric with a blank before it; empty where it has none."""
    definition = record["configuration"]["definition"]
    unit = definition["columns"][definition["target"]].get("unit")
    score = scores_of(definition["problem"], definition.get("metrics", {}))[definition["gate"]["metric"]]
    return f" {unit}" if unit and score.in_unit else ""


def spot(record: RunRecord) -> str:
    """Return what a machine that may be taken away has saved, and whether it was; empty of any other."""
    if not (known := record.get("spot")):
        return ""
    took, billed, times = known["training_seconds"], known["billable_seconds"], known.get("interruptions")
    interrupted = f"; interrupted {counted_times(times)}, and begun anew" if times else ""
    return f"{billed:,} of {took:,} s of training are billed: {1 - billed / max(took, 1):.0%} saved{interrupted}"


def waits(record: RunRecord) -> list[str]:
    """Return what a run has waited for: a quota, or a machine, for want of which a job had failed and was made again.

    The job that the run failed with was not, nor are trials of a tuning job.
    """
    retries, last = record.get("retries") or {}, failed_job((record.get("failure") or {}).get("cause"))
    failed = [job for job in record.get("jobs") or [] if str(job["reason"]).startswith(BY_PLATFORM)]
    own = naming.stem(record["stack"], record["run_id"]) if failed else ""
    again = [job for job in failed if job["name"].startswith(own) and job["name"] != (last.name if last else None)]
    names = [(costs.short_name(job["name"], record["run_id"]), job["reason"]) for job in again]
    return [
        *for_quotas(retries),
        *(f"job {name} was made again: {reason}" for name, reason in names),
    ]


def for_quotas(retries: Mapping[str, Retried]) -> list[str]:
    """Return in which states an execution has waited for a quota, and how often it has asked again."""
    busy = [(state, retried) for state, retried in retries.items() if NO_ROOM in retried["errors"]]
    return [f"in state {state!r}, {tried_again(retried)}" for state, retried in busy]


def tried_again(retried: Retried) -> str:
    """Return how often a state tried again, and after which errors."""
    errors = f", after {' and '.join(retried['errors'])}" if retried["errors"] else ""
    return f"tried again {counted_times(retried['times'])}{errors}"


def counted_times(times: int) -> str:
    return "once" if times == 1 else f"{times:,} times"


def trigger_type(record: RunRecord) -> str:
    """Return the type of the trigger in a run's input."""
    return str(_trigger(record).get("Type", "Manual"))


def trigger_text(record: RunRecord) -> str:
    """Return the trigger of a run, as its input names it: whoever may start a run may write anything there."""
    trigger, kind = _trigger(record), trigger_type(record)
    by = f"by {trigger['By']}" if trigger.get("By") else None
    detail = dropped_key(record) or by or trigger.get("Image") or trigger.get("Id")
    return f"{kind} ({detail})" if detail else kind


def data_bucket(record: RunRecord) -> str:
    """Return the bucket that a run's data were dropped into."""
    return str((record.get("data") or {}).get("bucket", record["bucket"]))


def dropped_key(record: RunRecord) -> str | None:
    """Return the key of the object that a run's input says was dropped; None when it names none."""
    dropped = _trigger(record).get("Object")
    return str(dropped["key"]) if isinstance(dropped, Mapping) and dropped.get("key") else None


def _trigger(record: RunRecord) -> Mapping[str, Any]:
    """Return the trigger in a run's input; empty where it has another form, as in an input that was refused."""
    trigger = (record.get("input") or {}).get("Trigger")
    return trigger if isinstance(trigger, Mapping) else {}


def _spell(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest, "s")]
    return " ".join(f"{value} {unit}" for value, unit in parts if value) or "0 s"
