"""The message that a run leaves when it ends: the reason first, then the numbers, the cause, what to do, and links.

Nothing that a data file may have brought is passed on as it is; see `perennial.cause.safe`.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perennial import no_data
from perennial.broken import problem
from perennial.cause import explained, failed_job, failed_state, safe
from perennial.gate import between, shown
from perennial.job_end import JobEnd
from perennial.strays import PUT_ASIDE, removal

MAX_SUBJECT = 99  # Amazon SNS API Reference, Publish: "must be less than 100 characters long", ASCII
MAX_CAUSE_LINES = 20
MAX_LINE = 300
MAX_CAUSE_LINE = 380  # longer ones go on in the next line
MAX_PROBLEM = 4000
NAMES_SHOWN = 3
ASIDE_SHOWN = 5
NEWS = 60  # characters that tell one reason from another
MAX_REMOVAL = 380
MAX_STATE = 90  # a state's name has at most 80 characters (Amazon States Language)
MOVED_SHOWN = 3
NOTES_SHOWN = 3
RULES_SHOWN = 3
_UNIT_METRICS = ("rmse", "mae")

HEADLINES = {
    "Succeeded": "Model in service",
    "Rejected": "Candidate rejected",
    "Superseded": "Candidate superseded",
    "Failed": "Run failed",
    "TimedOut": "Run timed out",
    "Aborted": "Run aborted",
}

# What to do, by error name; and by the state that failed when the name says nothing.
_ADVICE = {
    "ModelAccuracyTooLow": "Look at the data that came last and at report/ in the run's folder. If the numbers are "
    "right, lower the bar in model.yaml (gate) or improve the model; then start a run.",
    "SupersededByNewerData": "Nothing: the newer model serves. To have this run's data judged again, start a run.",
    "DeploymentBusy": "Look at the run that is named above: while it deploys, no other run does. Stop it if it is "
    "stuck, then start a run.",
    "EmptyFileError": "Upload the file again. The other data are as they were, and the next run trains on them.",
    "FileNotListedError": "Upload the file under another name, without control characters, and delete this one. The "
    "other data are as they were, and the next run trains on them.",
    "ConfigurationError": "Correct what is named above (model.yaml, a stack parameter or the run's input) and start "
    "again.",
    "DataVersionRefusedError": "Do what is said above for each object; the other data are as they were. Where it says "
    "only that S3 refuses, a role lacks the permission that is named (where it says only 403: the one for that "
    "operation), or a policy of the bucket or the key forbids it. Then start a run.",
    "DataVersionUnavailableError": "Start a run. If it comes again, see the health of Amazon S3 in the region.",
    "DataVersionMissingError": "A file was deleted for good while the run began. Drop it again, or start a run "
    "without it.",
    "MetricMissingError": "The training job did not report what was asked for. See its log, and eval_metric in "
    "model.yaml.",
    "PredictionsError": "The batch predictions do not fit the test rows. See the log of the predict job.",
    "BaselinesMissing": "See the log of the job that is named above, in CloudWatch Logs, "
    "/aws/sagemaker/ProcessingJobs: it ended without an error, and without these files. The model in service is as it "
    "was; when the cause is mended, start a run.",
    "EndpointVerificationError": "The endpoint answered, but not as tested; what serves now is said above. Compare its "
    "log with the predict job's, then start a run. The names in Parameter Store are still those of the previous model.",
    "DeploymentFailed": "See the endpoint's log and events. If an update was rolled back, the previous model serves.",
    "Sandbox.Timedout": "The function was over its time. Start a run; if it comes again, see the function's log.",
    "Lambda.TooManyRequests": "The account's functions were at their limit for minutes. Start a run; if it comes "
    "again, ask for a higher limit of concurrent executions.",
    "ExecutionTimedOut": "Look in the execution for the state that took long, and at its job.",
    "ResourceLimitExceeded": "The account's quota was used up all the time. Ask for a higher one, or take other "
    "instances (model.yaml, instances).",
    "ExecutionAborted": "Before the endpoint is updated nothing of the model in service changes. Start a run when you "
    "are ready; the data are still there.",
}
# Of a rejected candidate, by what it has failed at (perennial.gate.Obstacle).
_ADVICE_BY_OBSTACLE = {
    "chance": "Nothing, if the model in service is good enough: the test rows do not tell the two apart. More data, or "
    "a better model, will. To have such candidates serve (for corrected data, say), allow them to be a little worse: "
    "gate.minimum_improvement: -0.02 in model.yaml.",
    "known": "Look at the files that came last (New rows above, report/ in the run's folder): the model has become "
    "worse on the rows that were there before. If the new files are wrong, take them away; if the world has changed "
    "so, raise gate.maximum_regression in model.yaml. Then start a run.",
}
_ADVICE_UNFAIR = "Drop more data, of which a part tests, or let the threshold decide: "
_BY_DEFINITION = "set gate.without_comparison: threshold in model.yaml, deploy, and start a run."
_BY_RUN = (
    'once, with a run that is started with {"Overrides": {"GateWithoutComparison": "threshold"}}; or always, '
    "gate.without_comparison in model.yaml."
)
_ADVICE_BY_STATE = {
    "Preprocess": "Correct the data that are named above and drop them again, under the same names, or take them away "
    "(aws s3 rm). Rows that were put aside, with reasons, are under quarantine/ in the run's folder.",
    "Train": "See the training job's log in CloudWatch Logs, /aws/sagemaker/TrainingJobs, and start a run.",
}
_ADVICE_EXPORTING = (
    "The endpoint serves the new model, which is verified, but not all of its names are in Parameter Store. When the "
    "cause is mended, start a run: it writes them all."
)
# What a run has already changed when it ends here is more important than how it ended.
_ADVICE_FIRST_BY_STATE = {
    "Export configuration": _ADVICE_EXPORTING,
    "Write parameter": _ADVICE_EXPORTING,
    "Clean up": "Nothing is wrong with what serves. The next run deletes what this one has left; see the function's "
    "log if it comes again.",
}
# From here on the endpoint may serve the new model, which readers of Parameter Store do not know yet.
_DEPLOYING = (
    "Create endpoint",
    "Update endpoint",
    "Wait for deployment",
    "Check deployment",
    "Is the new model in service?",
    "Verify endpoint",
    "Check what serves",
    "Is there a model to go back to?",
    "Restore previous model",
    "Wait for restoration",
    "Check restoration",
    "Is the restoration over?",
)
_ADVICE_WHILE_DEPLOYING = (
    "The endpoint was being updated: it may serve the new model, while the names in Parameter Store are those of the "
    "previous one. Start a run, which verifies and exports what it deploys, or update the endpoint to the "
    "configuration that Parameter Store names."
)
# An AWS service says so in the cause, whoever has called it. A HEAD request has no body for more than its status.
_REFUSED = re.compile(
    r"AccessDenied|is not authorized to perform|\(403\) when calling|Could not assume role|cannot be assumed by"
)
_ADVICE_REFUSED = (
    "A role lacks the permission that is named above (where it says only 403: the one for that operation), or the "
    "service's trust. Give it back (template.yaml has what the application needs; look for what was changed besides "
    "it, such as a boundary or an organisation's policy), and start a run."
)
_FEATURES = re.compile(r"features\.py[,:]")
_ADVICE_FEATURES = (
    "Correct features.py in the model's folder (make check tries it on a small table), deploy, and start a run. The "
    "traceback is in the job's log; the data are as they were."
)
_THROTTLED = "Error Code: ThrottlingException;"
_ADVICE_THROTTLED = (
    "AWS refused this for minutes because the account asked too often. Start a run; if it comes again, see what else "
    "calls this API."
)
_ADVICE_BY_STATUS = {
    "Rejected": "ModelAccuracyTooLow",
    "Superseded": "SupersededByNewerData",
    "TimedOut": "ExecutionTimedOut",
    "Aborted": "ExecutionAborted",
}
_ADVICE_DEFAULT = (
    "Open the execution: the failed state is marked there, with its input and a link to its log. When the cause is "
    "mended, start a run; the data are still there."
)


@dataclass(frozen=True)
class Message:
    """A mail: `subject` in ASCII, shorter than 100 characters; `body` is plain text whose first line says it all."""

    subject: str
    body: str


def compose(record: Mapping[str, Any], *, region: str, partition: str = "aws") -> Message:
    """Return the message about a closed run record."""
    first = first_line(record)
    about_data = (_facts(record), _quarantined(record), _aside(record))
    blocks = [first, *about_data, _cause(record), _advice(record), _links(record, region, partition)]
    return Message(_subject(record, _news(record) or first), "\n\n".join(block for block in blocks if block) + "\n")


def first_line(record: Mapping[str, Any]) -> str:
    """What happened and why, in one line."""
    headline = HEADLINES.get(record["status"], record["status"])
    return safe(f"{headline}: {_reason(record)}", MAX_LINE)


def _news(record: Mapping[str, Any]) -> str:
    """What a subject says of a model that has come into service: its metric, and that of the one before."""
    gate = record.get("gate")
    if record["status"] != "Succeeded" or not gate:
        return ""
    before = "" if gate.get("champion") is None else f", before {shown(gate['champion'])}"
    return f"{HEADLINES['Succeeded']}: {gate['metric']} {shown(gate['candidate'])}{_unit(record)}{before}"


def _reason(record: Mapping[str, Any]) -> str:
    status, failure = record["status"], record.get("failure") or {}
    if status in ("Succeeded", "Rejected"):
        recorded = (record.get("gate") or {}).get("reason")
        return str(recorded or explained(failure.get("cause")) or "no reason was recorded")
    if status == "Superseded":
        return explained(failure.get("cause"))
    where = f"in state {failure['state']!r}" if failure.get("state") else "before its first state"
    if status == "Aborted":
        return f"a person or a deployment stopped it {where}"
    if status == "TimedOut":
        return f"it was over its time {where}"
    said = next(iter(_problems(failure)), None)
    return f"{where}: {said or failure.get('error') or 'no cause was given'}"


def _problems(failure: Mapping[str, Any]) -> list[str]:
    """What went wrong, one problem a line; the first says the most."""
    return [str(line) for line in failure.get("problems") or explained(failure.get("cause")).splitlines()]


def _subject(record: Mapping[str, Any], first: str) -> str:
    """The news first, the stack last: a list of mails shows the beginning."""
    stack = f" [{record['stack']}]"
    text, room = unicodedata.normalize("NFKD", first).encode("ascii", "ignore").decode(), MAX_SUBJECT - len(stack)
    return (text if len(text) <= room else text[: room - 3].rstrip() + "...") + stack


def _facts(record: Mapping[str, Any]) -> str:
    return "\n".join(f"{name:<14}{safe(value, MAX_LINE)}" for name, value in _fact_lines(record))


def _fact_lines(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    execution, data = record["execution"], record.get("data")
    yield "Run", record["run_id"]
    yield "Model", f"{record['model']} (stack {record['stack']})"
    yield "Started by", _trigger(record.get("trigger") or {})
    yield "Ended", f"{execution['ended_at']}, after {_spell(execution['duration_seconds'])}"
    if data:
        ignored = f", {len(data['ignored'])} ignored" if data.get("ignored") else ""
        files = "1 file" if data["file_count"] == 1 else f"{data['file_count']} files"
        aside = f", {len(data['aside'])} put aside" if data.get("aside") else ""
        yield "Data", f"{files} under {data['prefix']!r}{ignored}{aside}"
        yield from _left_out(data)
    yield from _rows(record)
    yield from _numbers(record)
    if record.get("deployed"):
        yield "Endpoint", f"{record['deployed']['endpoint']} serves {record['deployed']['model']}"
    elif record.get("champion"):
        since = "as before" if record["status"] in ("Rejected", "Superseded") else "when the run began"
        yield "In service", f"{record['champion']['ModelName']} ({since})"


def _left_out(data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What came without its bytes, and what earlier runs have put aside; what is no data is in the manifest only."""
    ignored = data.get("ignored", [])
    empty = [item["Key"] for item in ignored if item.get("Reason") == no_data.EMPTY]
    if empty:
        yield "Empty", f"{_some(empty)}: 0 bytes, ignored"
    aside = [item["Key"] for item in ignored if str(item.get("Reason")).startswith(PUT_ASIDE)]
    aside += [stray["Key"] for stray in data.get("aside", []) if stray.get("KnownSince")]
    if aside:
        yield "Put aside", f"{_some(aside)}: before this run, not trained on"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN:,} more" if len(names) > NAMES_SHOWN else ""
    return f"{', '.join(names[:NAMES_SHOWN])}{more}"


def _rows(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    rows, drift, new = record.get("rows"), record.get("drift"), record.get("new_files")
    if rows:
        yield "Rows", f"{rows['used']:,} used, {rows['quarantined']:,} quarantined, {rows['repeated']:,} repeat others"
    if new and new["files"] and record.get("champion"):
        files = "1 file" if new["files"] == 1 else f"{new['files']:,} files"
        counts = f"{new['quarantined']:,} quarantined, {new.get('repeated', 0):,} repeat rows of known files"
        yield "New files", f"{files}, {new['rows']:,} rows, of which {counts}"
    if drift:
        moved = [
            f"{one['column']} by {one['distance']:.2f} ({one['before']} -> {one['after']})" for one in drift["moved"]
        ]
        more = [f"{len(moved) - MOVED_SHOWN} more"] if len(moved) > MOVED_SHOWN else []
        columns = "; ".join(moved[:MOVED_SHOWN] + more) or "no column has moved"
        uncounted = drift.get("uncounted")
        but = f" ({_some(uncounted)}: too many different texts to be compared)" if uncounted else ""
        yield "Drift", f"against the data of the model in service: {columns}{but}"
    for note in (new or {}).get("notes", [])[:NOTES_SHOWN]:
        yield "Note", note


def _numbers(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    gate = record.get("gate")
    if not gate:
        return
    unit, side = _unit(record), "at most" if gate["direction"] == "minimize" else "at least"
    metrics = record.get("metrics") or {}
    yield gate["metric"], _measured(gate.get("candidate"), metrics.get("candidate_interval"), unit)
    yield "Threshold", f"{side} {shown(gate['threshold'])}{unit}"
    if gate.get("champion") is not None:
        yield "Previous best", _measured(gate["champion"], metrics.get("champion_interval"), unit)
    elif record.get("champion") is None:
        yield "Previous best", "none; this is the first model"
    yield from _comparison(metrics, unit)


def _comparison(metrics: Mapping[str, Any], unit: str) -> Iterator[tuple[str, str]]:
    """Both models on the test rows that compare fairly; a candidate that is worse has a positive error difference."""
    compared = metrics.get("comparison")
    if not compared:
        return
    unseen, known, new = (compared[part] for part in ("unseen", "known", "new"))
    tested = f"{compared['rows']:,}, of which the model in service has not seen {unseen['rows']:,}"
    yield "Test rows", f"{tested} ({known['rows']:,} known, {new['rows']:,} new)"
    if unseen["difference"]:
        low, high = unseen["difference"]
        verdict = "chance" if low <= 0 <= high else "more than chance"
        yield "Difference", f"{between((low, high))}{unit} (95 % interval, candidate less previous best): {verdict}"
    for name, part in (("On known rows", known), ("On new rows", new)):
        if part["candidate"] is not None and part["champion"] is not None:
            yield name, f"{shown(part['candidate'])}{unit}, previous best {shown(part['champion'])}{unit}"
    if metrics.get("champion_when_accepted") is not None:
        yield "When accepted", f"previous best {shown(metrics['champion_when_accepted'])}{unit}, on its own test rows"


def _measured(value: float | None, interval: list[float] | None, unit: str) -> str:
    between = f" (95 % interval {shown(interval[0])} to {shown(interval[1])})" if interval else ""
    return f"{shown(value)}{unit}{between}"


def _unit(record: Mapping[str, Any]) -> str:
    definition = record["configuration"]["definition"]
    unit = definition["columns"][definition["target"]].get("unit")
    return f" {unit}" if unit and definition["gate"]["metric"] in _UNIT_METRICS else ""


def _trigger(trigger: Mapping[str, Any]) -> str:
    kind = trigger.get("Type", "Manual")
    detail = (trigger.get("Object") or {}).get("key") or trigger.get("By") or trigger.get("Id")
    return f"{kind} ({detail})" if detail else str(kind)


def _spell(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes, "min"), (rest, "s")]
    return " ".join(f"{value} {unit}" for value, unit in parts if value) or "0 s"


def _quarantined(record: Mapping[str, Any]) -> str:
    """The rows of new files that break the contract, by rule; a failure for their number has said all that."""
    rules, failure = (record.get("new_files") or {}).get("rules", []), record.get("failure") or {}
    if not rules or failure.get("problems"):
        return ""
    where = f"s3://{record['bucket']}/runs/{record['run_id']}/quarantine/"
    of = "Rows of new files" if record.get("champion") else "Rows"
    lines = [f"{of} that break the data contract, not trained on; with their reasons: {where}"]
    lines += [f"  {safe(problem(rule, examples=1), MAX_LINE)}" for rule in rules[:RULES_SHOWN]]
    more = len(rules) - RULES_SHOWN
    return "\n".join([*lines, *([f"  ... and {more:,} more rules (report/report.json)"] if more > 0 else [])])


def _aside(record: Mapping[str, Any]) -> str:
    """The files that this run was the first to put aside; later ones only name them."""
    aside = (record.get("data") or {}).get("aside", [])
    new = [stray for stray in aside if not stray.get("KnownSince")]
    if not new:
        return ""
    count = "1 file is" if len(new) == 1 else f"{len(new):,} files are"
    lines = [f"{count} put aside: not readable as this table, not trained on, and left alone until replaced"]
    for stray in new[:ASIDE_SHOWN]:
        is_told = any(stray["Reason"][:NEWS] in line for line in _problems(record.get("failure") or {}))
        said = "" if is_told else f": {safe(stray['Reason'], MAX_LINE)}"
        lines.append(f"  {safe(stray['Key'], MAX_LINE)}{said}")
        lines.append(f"    to take it away: {safe(removal(record['bucket'], stray['Key']), MAX_REMOVAL)}")
    where = f"s3://{record['bucket']}/runs/{record['run_id']}/run.json (data, aside)"
    more = len(new) - ASIDE_SHOWN
    return "\n".join([*lines, *([f"  ... and {more:,} more; all of them: {where}"] if more > 0 else [])])


def _cause(record: Mapping[str, Any]) -> str:
    failure = record.get("failure") or {}
    if record["status"] not in ("Failed", "TimedOut", "Aborted") or not (failure.get("cause") or failure.get("error")):
        return ""
    lines = _problems(failure) or ["(none was given)"]
    state = f", state {safe(repr(failure['state']), MAX_STATE)}" if failure.get("state") else ""
    some, left_out = _fitting(lines)
    more = [f"  ... and {left_out:,} more; all of them: {_all_problems(record)}"] if left_out else []
    return "\n".join([f"Cause ({safe(failure.get('error') or 'unknown error', 80)}{state})", *some, *more])


def _fitting(problems: list[str]) -> tuple[list[str], int]:
    """(the lines of the first problems, how many problems are left out): one problem a line, a long one on several."""
    lines: list[str] = []
    for number, text in enumerate(problems):
        parts = textwrap.wrap(safe(text, MAX_PROBLEM), MAX_CAUSE_LINE, break_on_hyphens=False) or [""]
        if lines and len(lines) + len(parts) > MAX_CAUSE_LINES:
            return lines, len(problems) - number
        lines += [f"  {parts[0]}", *(f"    {part}" for part in parts[1:])]
    return lines, 0


def _all_problems(record: Mapping[str, Any]) -> str:
    at = (record.get("failure") or {}).get("problems_at")
    return str(at or f"s3://{record['bucket']}/runs/{record['run_id']}/run.json (failure, cause)")


def _advice(record: Mapping[str, Any]) -> str:
    if record["status"] == "Succeeded":
        return ""
    failure = record.get("failure") or {}
    error, state, cause = (str(failure.get(name) or "") for name in ("error", "state", "cause"))
    obstacle = str((record.get("gate") or {}).get("obstacle")) if record["status"] == "Rejected" else ""
    if obstacle == "unfair":
        overridable = record["configuration"]["definition"].get("overridable", ())
        text = _ADVICE_UNFAIR + (_BY_RUN if "gate.without_comparison" in overridable else _BY_DEFINITION)
    else:
        text = _ADVICE_BY_OBSTACLE.get(obstacle) or advice(record["status"], error, state, cause)
    return f"What to do\n  {text}"


def advice(status: str, error: str, state: str, cause: str = "") -> str:
    """Return what a person can do about a run that ended in a status, by an error, in a state, for a cause."""
    if state in _ADVICE_FIRST_BY_STATE:
        return _ADVICE_FIRST_BY_STATE[state]
    if (state in _DEPLOYING and _was_cut_short(status, cause)) or _may_have_been_asked(state, cause):
        return _ADVICE_WHILE_DEPLOYING
    if status == "Failed" and _REFUSED.search(cause) and error != "DataVersionRefusedError":
        return _ADVICE_REFUSED
    job = failed_job(cause)
    if job and _FEATURES.match(job.own_words):
        return _ADVICE_FEATURES
    if job and status == "Failed" and not (job.own_words and state in _ADVICE_BY_STATE):
        return _job_advice(job)
    name = error.removeprefix("SageMaker.").removesuffix("Exception")
    name = "ConfigurationError" if name in ("DefinitionError", "StackNameError") else name
    name = _ADVICE_BY_STATUS.get(status, name)
    by_text = _ADVICE_THROTTLED if _THROTTLED in cause else None
    by_job = job or name == "States.TaskFailed"  # any other error of the state is not about the data
    return _ADVICE.get(name) or by_text or (_ADVICE_BY_STATE.get(state) if by_job else None) or _ADVICE_DEFAULT


def _was_cut_short(status: str, cause: str) -> bool:
    """Say whether the run ended outside its own error path, which names the state and takes back what it can."""
    return status in ("Aborted", "TimedOut") or failed_state(cause) is None


def _may_have_been_asked(state: str, cause: str) -> bool:
    """Say whether an update may be under way although the run failed: it was not followed, or its answer was lost."""
    again = "already existing" in cause or "in-progress" in cause
    return state == "Check deployment" or (state in ("Create endpoint", "Update endpoint") and again)


def _job_advice(job: JobEnd) -> str:
    if job.limit_seconds is not None:
        return (
            "Give the job more time (model.yaml, instances, max_runtime_seconds) or a larger instance, and start a run."
        )
    if job.status == "Stopped":
        return "Somebody stopped the job. The data are still there: start a run when you are ready."
    if job.was_killed:
        return (
            "The job was killed, mostly because its memory ran out: take a larger instance (model.yaml, instances) and "
            f"start a run. Its log: {job.log}"
        )
    return f"See the job's log in CloudWatch Logs, {job.log}. When the cause is mended, start a run."


def _links(record: Mapping[str, Any], region: str, partition: str) -> str:
    arn = record["execution"]["arn"]
    return "\n".join(
        [
            f"Execution  {console_link(arn, region, partition)}",
            f"Record     s3://{record['bucket']}/runs/{record['run_id']}/run.json",
        ]
    )


def console_link(execution_arn: str, region: str, partition: str = "aws") -> str:
    """Return the address of an execution in the AWS console."""
    domains = {"aws-cn": "console.amazonaws.cn", "aws-us-gov": "console.amazonaws-us-gov.com"}
    domain = domains.get(partition, f"{region}.console.aws.amazon.com")
    return f"https://{domain}/states/home?region={region}#/v2/executions/details/{execution_arn}"
