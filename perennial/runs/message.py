"""The message that a run leaves when it ends: the reason first, then the numbers, the cause, what to do, and links.

Nothing that a data file may have brought is passed on as it is; see `runs.cause.safe`.
"""

from __future__ import annotations

import re
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from perennial.data.broken import problem
from perennial.runs import advice, asking, facts, news, promoted
from perennial.runs.cause import explained, failed_job, problems, safe
from perennial.runs.run_record import ModelVersion, RunRecord
from perennial.runs.strays import removal
from perennial.runs.work import AWAITS_APPROVAL, NOT_APPROVED, TRAINED_ONLY

MAX_SUBJECT = 99  # Amazon SNS API Reference, Publish: "must be less than 100 characters long", ASCII
MAX_CAUSE_LINES = 20
MAX_FIRST = 600
MAX_LINE = 300
MAX_CAUSE_LINE = 380  # longer ones go on in the next line
MAX_PROBLEM = 4000
ASIDE_SHOWN = 5
MAX_COMMAND = 8000  # a key has at most 1,024 bytes; quoted they are more
NO_COMMAND = "its name cannot be copied from a mail; run.json has it (data, aside)"
MAX_STATE = 90  # a state's name has at most 80 characters (Amazon States Language)
RULES_SHOWN = 12

# Of runs.strays.removal: an address with or without quotes, in the way of shlex.
_COMMAND = re.compile(r"""aws s3 rm ('[^']*'("'"'[^']*')*|\S+)""")

HEADLINES = {
    "Succeeded": "Model in service",
    TRAINED_ONLY: "Trained only",
    "Rejected": "Candidate rejected",
    "Superseded": "Candidate superseded",
    NOT_APPROVED: "Not approved",
    AWAITS_APPROVAL: "Approval needed",
    "Failed": "Run failed",
    "TimedOut": "Run timed out",
    "Aborted": "Run aborted",
    "AlreadyTrained": "Not retrained",
    "NoData": "Not retrained",
}


SERVES_ALREADY = ("Export configuration", "Write parameter", "Clean up")
"""States in which a run can fail whose model is verified and serves."""


@dataclass(frozen=True)
class Message:
    """A mail: `subject` in ASCII, shorter than 100 characters; `body` is plain text whose first line says it all."""

    subject: str
    body: str


def compose(record: RunRecord, *, region: str, partition: str = "aws") -> Message:
    """Return the message about a closed run record."""
    about_data = (_facts(record), _quarantined(record), _aside(record))
    blocks = [head(record), *about_data, _cause(record), _advice(record), _links(record, region, partition)]
    return Message(_subject(record), "\n\n".join(block for block in blocks if block) + "\n")


def ask(record: RunRecord, version: ModelVersion, days: int | None) -> Message:
    """Return the message that asks people whether the version of a run may serve.

    record  of a run that is not closed, with `AwaitsApproval` for its status; or of one of another environment, with
            what serves here as its champion
    days    for which the run waits; None: none does, as it has ended in the other environment
    """
    arn = version["arn"].split(":")
    region, partition = arn[3], arn[1]
    console = f"https://{_console(region, partition)}/sagemaker/home?region={region}"
    ways = asking.ways(version, record["stack"], days, console)
    if record.get("promotions"):
        return _ask_of_promoted(record, ways)
    blocks = [head(record), ways, _facts(record), _quarantined(record), _links(record, region, partition)]
    return Message(_subject(record), "\n\n".join(block for block in blocks if block) + "\n")


def _ask_of_promoted(record: RunRecord, ways: str) -> Message:
    first = f"{headline(record)}: "
    lines = textwrap.wrap(safe(first + promoted.why(record), MAX_FIRST), MAX_LINE, subsequent_indent="  ")
    known = _aligned(promoted.lines(record))
    report = f"Report     {record['report']}" if record.get("report") else ""
    body = "\n\n".join(block for block in ("\n".join(lines), ways, known, report) if block) + "\n"
    return Message(subject(first + promoted.brief(record), record["stack"]), body)


def not_awake(stack: str, why: str, *, has_hours: bool) -> Message:
    """Return the message that an endpoint that sleeps by the hour, or did, is not there when it is to be."""
    first = f"Endpoint not awake: {why}"
    again = "when the hours of the parameter AwakeHours begin the next time, or a run ends in them"
    body = f"""{safe(first, MAX_FIRST)}

Nothing answers requests to the endpoint {stack}. The model is there, and Parameter Store names it as before.

What to do
  Mend what is said above, mostly a quota or a permission, and make the endpoint again:
    aws sagemaker delete-endpoint --endpoint-name {stack}    # if it is there, as Failed
    aws sagemaker create-endpoint --endpoint-name {stack} --endpoint-config-name "$(aws ssm get-parameter \\
      --name /{stack}/endpoint-config --query Parameter.Value --output text)"
  Otherwise it is tried again {again if has_hours else "by the next run that deploys"}.
"""
    return Message(subject(first, stack), body)


def head(record: RunRecord) -> str:
    """Return what happened and why, in one line; then what makes that doubtful."""
    first = ". ".join([*(item.line for item in news.missing(record)), f"{headline(record)}: {why(record)}"])
    first = _COMMAND.sub("the command is below", first)
    lines = textwrap.wrap(safe(first, MAX_FIRST), MAX_LINE, subsequent_indent="  ", break_on_hyphens=False)
    doubts = [*(item.line for item in news.cautions(record)), news.unbound(record), news.nothing_served(record)]
    return "\n".join([*lines, *(safe(line, MAX_LINE) for line in doubts if line)])


def headline(record: RunRecord) -> str:
    """Return how the run ended, in two words."""
    return HEADLINES.get(record["status"], str(record["status"]))


def why(record: RunRecord) -> str:
    """Return why a run ended as it did, in a sentence."""
    status, failure = record["status"], record.get("failure") or {}
    if reason := record.get("no_work"):
        return reason
    if (deployment := record.get("deployment")) and status == "Succeeded":
        return deployment["reason"]
    if status == TRAINED_ONLY:
        return f"{record['withheld']}. It passed the gate: {(record.get('gate') or {}).get('reason')}"
    if status in ("Succeeded", "Rejected", AWAITS_APPROVAL):
        recorded = (record.get("gate") or {}).get("reason")
        return str(recorded or explained(failure.get("cause")) or "no reason was recorded")
    if status in ("Superseded", NOT_APPROVED):
        return explained(failure.get("cause"))
    where = f"in state {failure['state']!r}" if failure.get("state") else "before its first state"
    if status == "Aborted":
        return f"a person or a deployment stopped it {where}"
    if status == "TimedOut":
        return f"it was over its time {where}"
    problem_line = next(iter(problems(failure)), None)
    return f"{where}: {problem_line or failure.get('error') or 'no cause was given'}"


def in_few_words(record: RunRecord) -> str:
    """Return why a run ended as it did where the name of a job would take the room of its reason.

    The state, which is named before, says which job it is.
    """
    words, job = why(record), failed_job((record.get("failure") or {}).get("cause"))
    return words.replace(f"job {job.name} failed: ", "").replace(f"job {job.name} ", "its job ") if job else words


def _subject(record: RunRecord) -> str:
    outcome = f"{headline(record)}: {news.outcome(record) or in_few_words(record)}"
    return subject(". ".join([*(item.brief for item in news.missing(record)), outcome]), record["stack"])


def subject(text: str, stack: str) -> str:
    """Return the news first, the stack last: a list of mails shows the beginning."""
    text, end = unicodedata.normalize("NFKD", safe(text, MAX_LINE)).encode("ascii", "ignore").decode(), f" [{stack}]"
    room = MAX_SUBJECT - len(end)
    return (text if len(text) <= room else text[: room - 3].rstrip() + "...") + end


def _facts(record: RunRecord) -> str:
    return _aligned(facts.lines(record))


def _aligned(lines: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"{name:<14}{safe(value, MAX_LINE)}" for name, value in lines)


def _quarantined(record: RunRecord) -> str:
    """Return the rows of new files that break the contract, by rule; a failure for their number has said all that."""
    rules, failure = (record.get("new_files") or {}).get("rules", []), record.get("failure") or {}
    if not rules or failure.get("problems"):
        return ""
    where = f"s3://{record['bucket']}/runs/{record['run_id']}/quarantine/{_until(record)}"
    of = "Rows of new files" if record.get("champion") else "Rows"
    lines = [f"{of} that break the data contract, not trained on; with their reasons: {where}"]
    lines += [f"  {safe(problem(rule, examples=1), MAX_LINE)}" for rule in rules[:RULES_SHOWN]]
    more = len(rules) - RULES_SHOWN
    at = f"s3://{record['bucket']}/runs/{record['run_id']}/report/report.json (new_files, rules)"
    return "\n".join([*lines, *([f"  ... and {more:,} more rules; all of them: {at}"] if more > 0 else [])])


def _until(record: RunRecord) -> str:
    return f" (kept until {day}, at least)" if (day := record.get("sets_until")) else ""


def _aside(record: RunRecord) -> str:
    """Return the files that this run was the first to put aside; later ones only name them."""
    aside = (record.get("data") or {}).get("aside", [])
    new = [stray for stray in aside if not stray.get("KnownSince")]
    if not new:
        return ""
    count = f"{facts.counted(len(new))} {'is' if len(new) == 1 else 'are'}"
    lines = [f"{count} put aside: not trained on, and left alone until replaced, or model.yaml changes"]
    for stray in new[:ASIDE_SHOWN]:
        lines.append(f"  {safe(stray['Key'], MAX_LINE)}")
        if not news.is_reported(stray["Reason"], record):
            why, *rest = _plain(stray["Reason"]) or [""]
            lines[-1] += f": {why}"
            lines += [f"    {part}" for part in rest]
        command = removal(facts.data_bucket(record), stray["Key"])
        lines.append(f"    to take it away: {command if _can_be_copied(command) else NO_COMMAND}")
    where = f"s3://{record['bucket']}/runs/{record['run_id']}/run.json (data, aside)"
    more = len(new) - ASIDE_SHOWN
    return "\n".join([*lines, *([f"  ... and {more:,} more; all of them: {where}"] if more > 0 else [])])


def _cause(record: RunRecord) -> str:
    failure = record.get("failure") or {}
    if record["status"] not in ("Failed", "TimedOut", "Aborted") or not (failure.get("cause") or failure.get("error")):
        return ""
    lines = problems(failure) or ["(none was given)"]
    state = f", state {safe(repr(failure['state']), MAX_STATE)}" if failure.get("state") else ""
    some, left_out = _fitting(lines)
    more = [f"  ... and {left_out:,} more; all of them: {_all_problems(record)}"] if left_out else []
    return "\n".join([f"Cause ({safe(failure.get('error') or 'unknown error', 80)}{state})", *some, *more])


def _fitting(problems: list[str]) -> tuple[list[str], int]:
    """Return (the lines of the first problems, how many problems are left out).

    One problem is a line, a long one several.
    """
    lines: list[str] = []
    for number, text in enumerate(problems):
        parts = list(_wrapped(text)) or [""]
        if lines and len(lines) + len(parts) > MAX_CAUSE_LINES:
            return lines, len(problems) - number
        lines += [f"  {parts[0]}", *(f"    {part}" for part in parts[1:])]
    return lines, 0


def _wrapped(text: str) -> Iterator[str]:
    """Yield a problem in lines.

    A long line goes on in the next; a command has one of its own, so that it is copied whole.
    """
    rest = 0
    for command in (match for match in _COMMAND.finditer(text[:MAX_PROBLEM]) if _can_be_copied(match[0])):
        yield from _plain(text[rest : command.start()])
        yield command[0]
        rest = command.end()
    yield from _plain(text[rest:])


def _plain(text: str) -> list[str]:
    return textwrap.wrap(safe(text, MAX_PROBLEM), MAX_CAUSE_LINE, break_on_hyphens=False)


def _can_be_copied(command: str) -> bool:
    """Return whether a mail may show it as it is: it would name another object otherwise."""
    return safe(command, MAX_COMMAND) == command


def _all_problems(record: RunRecord) -> str:
    at = (record.get("failure") or {}).get("problems_at")
    return str(at or f"s3://{record['bucket']}/runs/{record['run_id']}/run.json (failure, cause)")


def _advice(record: RunRecord) -> str:
    text = advice.of_run(record)
    return f"What to do\n  {text}" if text else ""


def _links(record: RunRecord, region: str, partition: str) -> str:
    arn = record["execution"]["arn"]
    lines = [f"Report     {record['report']}"] if record.get("report") else []
    if record.get("deployed") and record.get("api"):
        lines.append(f"API        {record['api']}/predictions")
    lines.append(f"Execution  {console_link(arn, region, partition)}")
    if record["status"] != AWAITS_APPROVAL:  # its record is written when it ends
        lines.append(f"Record     s3://{record['bucket']}/runs/{record['run_id']}/run.json")
    return "\n".join(lines)


def console_link(execution_arn: str, region: str, partition: str = "aws") -> str:
    """Return the address of an execution in the AWS console."""
    address = f"https://{_console(region, partition)}/states/home?region={region}"
    return f"{address}#/v2/executions/details/{execution_arn}"


def _console(region: str, partition: str) -> str:
    domains = {"aws-cn": "console.amazonaws.cn", "aws-us-gov": "console.amazonaws-us-gov.com"}
    return domains.get(partition, f"{region}.console.aws.amazon.com")
