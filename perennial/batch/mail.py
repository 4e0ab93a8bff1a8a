"""The mail about a file that was to be scored: what it says.

Nothing that a file may have brought is passed on as it is; see `runs.cause.safe`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perennial.runs.batch_file import INCOMING
from perennial.runs.cause import explained, safe
from perennial.runs.message import MAX_LINE, Message, console_link, subject
from perennial.words import number

SCORED, DRIFT, BAD_DATA, FAILED = "Scored", "Drift", "BadData", "Failed"
MAX_REASONS, MAX_ADDRESS = 20, 1200
HEADLINES = {SCORED: "File scored", DRIFT: "Drift in a file", BAD_DATA: "Broken file", FAILED: "File not scored"}
ADVICE = {
    DRIFT: (
        "Nothing was scored. If the world is like this now, drop labelled data of it, which trains a model that knows "
        "it: then the schedule of files (BatchSchedule) or `perennial score --waiting` scores the file. If the file is "
        "wrong, drop another."
    ),
    BAD_DATA: "Nothing was scored. Take the file away, and drop a mended one.",
    FAILED: (
        "Mend what is named above. The file stays where it is: the schedule of files (BatchSchedule) tries again, and "
        "so does `perennial score --waiting`."
    ),
}
WITHOUT_NEW_DATA = 'Where none of them are new it ends at once, and a mail of its own says "Not retrained".'


def compose(batch: Mapping[str, Any], *, region: str, partition: str = "aws") -> Message:
    """Return the mail about a batch, as notify_batch has closed it."""
    reasons = [safe(reason, MAX_LINE) for reason in batch["reasons"]]
    first = f"{HEADLINES[batch['status']]}: {_first(batch, reasons)}"
    blocks = [
        first,
        _facts(batch),
        _reasons(batch["status"], reasons),
        _cause(batch["failure"]),
        _retraining(batch["decision"]),
        f"What to do\n  {ADVICE[batch['status']]}" if batch["status"] in ADVICE else "",
        _links(batch, region, partition),
    ]
    return Message(subject(first, batch["stack"]), "\n\n".join(block for block in blocks if block) + "\n")


def _first(batch: Mapping[str, Any], reasons: Sequence[str]) -> str:
    name = safe(_relative(batch["file"]), 120)
    if batch["status"] == SCORED:
        return f"{batch['scored']:,} of the {batch['rows']:,} rows of {name} have a prediction"
    return f"{name}: {reasons[0] if reasons else 'no reason was given'}"


def _relative(key: str | None) -> str:
    return (key or "a file").removeprefix(INCOMING)


def _facts(batch: Mapping[str, Any]) -> str:
    lines = [("File", batch["file"]), ("Copied from", batch.get("source")), ("Batch", batch["id"])]
    if batch["run"]:
        version = f", version {batch['version']}" if batch["version"] else ""
        lines += [("Model", f"of run {batch['run']}{version}")]
    if batch["rows"] is not None:
        lines += [("Rows", f"{batch['rows']:,}, {batch['refused']:,} of them refused{_of(batch['refusals'])}")]
    if summary := batch["predictions"]:
        words = ", ".join(f"{name} {number(value)}" for name, value in summary.items())
        lines += [("Predictions", words)]
    lines += [("Waited", one) for one in batch["waited"]]
    return "\n".join(f"{name:<14}{safe(value, MAX_LINE)}" for name, value in lines if value)


def _of(refusals: Mapping[str, int]) -> str:
    return f" ({', '.join(f'{rule} {rows:,}' for rule, rows in refusals.items())})" if refusals else ""


def _reasons(status: str, reasons: Sequence[str]) -> str:
    some = reasons if status == SCORED else reasons[1:]
    if not some:
        return ""
    title = "To know" if status == SCORED else "What else was found"
    more = len(some) - MAX_REASONS
    lines = [title, *(f"  {reason}" for reason in some[:MAX_REASONS])]
    return "\n".join([*lines, *([f"  ... and {more:,} more; all of them: verdict.json"] if more > 0 else [])])


def _cause(failure: Mapping[str, Any] | None) -> str:
    if not failure:
        return ""
    state = f", state {failure['state']!r}" if failure["state"] else ""
    cause = safe(explained(failure["cause"]) or "none was given", MAX_LINE * 4)
    return f"Cause ({safe(failure['error'] or 'unknown error', 80)}{safe(state, 90)})\n  {cause}"


def _retraining(decision: Mapping[str, Any] | None) -> str:
    if not decision:
        return ""
    reason = safe(decision["reason"], MAX_LINE * 2)
    if not decision["retrain"]:
        return f"Retraining     not started: {reason}"
    return f"Retraining     started: {reason}. {WITHOUT_NEW_DATA}"


def _links(batch: Mapping[str, Any], region: str, partition: str) -> str:
    lines = [
        ("Predictions", batch["result"]),
        ("Report", batch["page"]),
        ("As JSON", batch["report"]),
        ("Original", batch["original"]),
        ("Verdict", batch["verdict"]),
        ("Execution", console_link(batch["execution"], region, partition)),
    ]
    return "\n".join(
        f"{name:<14}{value if name == 'Execution' else safe(value, MAX_ADDRESS)}" for name, value in lines if value
    )
