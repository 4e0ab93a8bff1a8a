"""Asking what serves: predict, openapi."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from perennial.data.broken import counted
from perennial.data.files import GZIP
from perennial.data.series_files import ITEM_ID
from perennial.data.text_files import PARQUET
from perennial.features.json_text import decode
from perennial.model.definition import Definition
from perennial.words import number, printable
from perennial_cli import explanations, forecasts, predictions, serving_api, stacks
from perennial_cli.account import say_whom
from perennial_cli.commands.options import AsJson, Force, StackName, output_option, require_output
from perennial_cli.console import (
    FAILED,
    CommandError,
    as_text,
    each,
    notice,
    show,
    show_json,
    table,
    warn,
    working,
    write_file,
)
from perennial_cli.deployed import definition_of
from perennial_cli.forecasts import Forecast, Question
from perennial_cli.predictions import Record
from perennial_cli.stacks import Stack

LONGEST_NAME, STANDARD_INPUT = 100, "standard input"
MOST_COMPLAINTS = 10  # rows whose problems are said
MIDNIGHT = " 00:00:00"
EXPECTED = "expected a file, a record as one JSON object such as '{\"year\": 2014}', or - for standard input"


def predict(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|RECORD|-",
            help="A CSV, JSON lines or Parquet file; a record as JSON; or - for standard input, in any of these forms.",
        ),
    ],
    stack: StackName = None,
    output: Annotated[
        Path | None, output_option("A file in place of standard output: CSV or, with --json, JSON.")
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say what each feature contributes to the answer, in its unit.")
    ] = False,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Ask the endpoint about a record, a file or standard input.

    Records are checked first by the definition that the stack was deployed with; those that break it are named and not
    asked about. Answers of several records are CSV: the row in the file, and the score; with --json a record that is
    not asked about has its error instead. Exit code 1: a record broke the definition, or the endpoint refused one.

    Of a forecasting model a record is a series, as DeepAR reads it or as rows of a table, and each answer a forecast:
    its mean, its median (p50), and the band that four of five values should lie in, from p10 to p90.

    With --explain each answer is held against that to a typical record (medians, and the most frequent texts, of the
    rows that the model in service was tested with), and the difference is shared out among the features that differ.
    That takes some hundred questions for each record, which the monitor does not count as traffic.
    """
    if explain and output and not as_json:
        raise typer.BadParameter("an explanation is no CSV; write it as JSON: --json", param_hint="--output")
    if output:
        read = [Path(source)] if _is_file(source) else []
        require_output(output, "JSON" if as_json else "CSV", read, force=force)
    say_whom()
    chosen = stacks.chosen(stack)
    definition = definition_of(chosen)
    if definition.series:
        if explain:
            raise typer.BadParameter("a forecast is not explained; leave it out", param_hint="--explain")
        _forecast(chosen, definition, source, output, as_json=as_json)
        return
    notes: list[str] = []
    records = sorted(_read(source, definition, notes), key=lambda record: record.number)
    if not records:
        name = STANDARD_INPUT if source == "-" else source
        raise CommandError(f"{name} holds no record; expected one at least")
    for note in notes:
        notice(note)
    if not (as_json or explain) and (meaning := predictions.meaning(definition)):
        notice(meaning)
    sound, broken = ([one for one in records if bool(one.problems) is is_broken] for is_broken in (False, True))
    if explain:
        text = _explained(chosen, definition, sound, broken, as_json=as_json)
    else:
        text = _answered(chosen, sound, broken, as_json=as_json, is_one=_is_object(source) and output is None)
    if output is None:
        sys.stdout.write(text)
    elif sound or as_json:
        write_file(output, text)
    _complain(broken)
    if output and not (sound or as_json):
        warn(f"no record was asked about, so {output} is not written")
    if broken:
        raise typer.Exit(FAILED)


def _forecast(chosen: Stack, definition: Definition, source: str, output: Path | None, *, as_json: bool) -> None:
    name, notes = STANDARD_INPUT if source == "-" else source, list[str]()
    if source == "-":
        content = _standard_input()
    elif _is_object(source):
        content = predictions.on_one_line(source).encode()
    else:
        content = _file(source).read_bytes()
    written = definition if _is_file(source) else predictions.in_utf8(definition)
    series = forecasts.questions(content, written, notes, name)
    for note in notes:
        notice(note)
    if not series:
        raise CommandError(f"{name} holds no series; expected one at least")
    sound, broken = ([one for one in series if bool(one.problems) is is_broken] for is_broken in (False, True))
    answers = list(each(forecasts.ask(chosen, definition, sound), len(sound), "asking the endpoint"))
    if as_json:
        refused = [{"row": one.number, "error": _problem(one)} for one in broken]
        text = as_text(sorted([*(one.as_json() for one in answers), *refused], key=lambda one: one["row"]))
    else:
        text = _forecasts_as_csv(answers)
    if not as_json and _is_object(source) and output is None:
        for one in answers:
            _show_forecast(one, definition)
    elif output is None:
        sys.stdout.write(text)
    elif sound or as_json:
        write_file(output, text)
    else:
        warn(f"no series was asked about, so {output} is not written")
    _complain(broken)
    if broken:
        raise typer.Exit(FAILED)


def _show_forecast(one: Forecast, definition: Definition) -> None:
    unit = definition.columns[definition.target].unit
    show(f"{one.question.name}: {definition.target}{f', {unit}' if unit else ''}, with the band of four in five values")
    at = [forecasts.COLUMNS.index(name) for name in ("p10", "p50", "p90")]
    days = all(time.endswith(MIDNIGHT) for time in one.times)
    times = [time.removesuffix(MIDNIGHT) if days else time for time in one.times]
    rows = [(time, *(number(values[place]) for place in at)) for time, values in zip(times, one.values, strict=True)]
    names = ("period", "p10", "median", "p90")
    table(*names, rows=rows, right=names[1:])


def _forecasts_as_csv(answers: Sequence[Forecast]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["row", ITEM_ID, "period", *forecasts.COLUMNS])
    for one in answers:
        for time, values in zip(one.times, one.values.tolist(), strict=True):
            writer.writerow([one.question.number, one.question.name, time, *values])
    return file.getvalue()


def _is_object(source: str) -> bool:
    return source.lstrip().startswith("{")


def _is_file(source: str) -> bool:
    return os.path.isfile(source)  # noqa: PTH113 - Path.is_file raises OSError where a text is too long for a name


def _read(source: str, definition: Definition, notes: list[str]) -> Iterator[Record]:
    """Yield the records that an argument stands for, and show how many there are until now."""
    with working("reading the records") as step:
        for number, record in enumerate(_records(source, definition, notes), 1):
            yield record
            step(f"{number:,}")


def _records(source: str, definition: Definition, notes: list[str]) -> Iterable[Record]:
    """Return the records that an argument stands for. Raises BadParameter: it stands for none."""
    if source == "-":
        return predictions.from_bytes(_standard_input(), definition, notes, STANDARD_INPUT)
    if _is_object(source):
        return predictions.from_bytes(predictions.on_one_line(source).encode(), definition, notes, "the record")
    return predictions.records(_file(source), definition, notes)


def _file(source: str) -> Path:
    """Return the file that an argument names. Raises BadParameter: it names none."""
    if not _is_file(source):
        raise typer.BadParameter(f"{_what_is(source)}; {EXPECTED}", param_hint="FILE|RECORD|-")
    return Path(source)


def _what_is(source: str) -> str:
    """Return what an argument is that is neither a record nor a file."""
    if not source.strip():
        return "got an empty text"
    if os.path.isdir(source):  # noqa: PTH112
        return f"{source} is a folder"
    try:
        value = decode(source)
    except ValueError:
        is_list = source.lstrip().startswith("[")
        return "the list is not readable as JSON" if is_list else f"there is no file {printable(source, LONGEST_NAME)}"
    if isinstance(value, list):
        return "got a JSON list; many records are JSON lines, one object a line, of a file or on standard input"
    kind = "null" if value is None else {bool: "true or false", str: "a text"}.get(type(value), "a number")
    return f"there is no file {printable(source, LONGEST_NAME)}, and as JSON it is {kind}"


def _answered(chosen: Stack, sound: Sequence[Record], broken: Sequence[Record], *, as_json: bool, is_one: bool) -> str:
    """Return what the endpoint says to the sound records, as it is printed."""
    coming = predictions.answers(chosen, sound)
    answers = {one.record.number: one.answer for one in each(coming, len(sound), "asking the endpoint")}
    if as_json:
        return _as_json(answers, broken)
    if is_one:
        return "".join(f"{_value(answer)}\n" for answer in answers.values())
    return _as_csv(answers)


def _explained(
    chosen: Stack, definition: Definition, sound: Sequence[Record], broken: Sequence[Record], *, as_json: bool
) -> str:
    """Return what the endpoint says to the sound records and why, as JSON; or show it."""
    if len(sound) > explanations.MOST_RECORDS:
        raise CommandError(f"{len(sound)} records; expected {explanations.MOST_RECORDS} at most to explain")
    if not sound:
        return _as_json({}, broken) if as_json else ""
    explainer = explanations.Explainer.of(chosen, definition)
    explained = [
        (record, explainer.explain(record), explainer.unknown(record))
        for record in each(sound, len(sound), "asking about records between")
    ]
    if as_json:
        answers = {
            record.number: explanations.as_json(explainer, record, one, unknown) for record, one, unknown in explained
        }
        return _as_json(answers, broken)
    for record, one, unknown in explained:
        show(f"row {record.number}: {explanations.headline(explainer, definition, one)}")
        names = ("feature", "this record", "typical", "contribution")
        table(*names, rows=explanations.lines(explainer, record, one, unknown), right=names[1:])
    return ""


def _standard_input() -> bytes:
    """Return what is on standard input. Raises CommandError: it is a text that is no UTF-8."""
    content = sys.stdin.buffer.read()
    if content.startswith((PARQUET, GZIP)):
        return content
    try:
        return predictions.on_one_line(content.decode("utf-8-sig")).encode()
    except UnicodeDecodeError as error:
        raise CommandError(
            "standard input is no UTF-8; name the file instead, which is read as model.yaml says of files"
        ) from error


def openapi(stack: StackName = None) -> None:
    """Print the OpenAPI document of a stack's API: what records it takes, and what it answers.

    The API itself answers it at GET /openapi.json.
    """
    whom = say_whom()
    show_json(serving_api.document(stacks.chosen(stack), whom.endpoint_url))


def _problem(record: Record | Question) -> str:
    return "; ".join(record.problems)


def _complain(broken: Sequence[Record | Question]) -> None:
    """Say of the first records that are not asked about why, and how many more there are."""
    for record in broken[:MOST_COMPLAINTS]:
        warn(f"row {record.number} is not asked about: {_problem(record)}")
    if len(broken) > MOST_COMPLAINTS:
        warn(f"and {counted(len(broken) - MOST_COMPLAINTS, 'more row')}; --json has the reason of each")


def _as_json(answers: Mapping[int, Mapping[str, Any]], broken: Sequence[Record]) -> str:
    """Return answers by row, and why the others are none, in the order of the rows."""
    rows = {row: {"row": row, **answer} for row, answer in answers.items()}
    rows |= {record.number: {"row": record.number, "error": _problem(record)} for record in broken}
    return as_text([rows[row] for row in sorted(rows)])


def _as_csv(answers: Mapping[int, Mapping[str, Any]]) -> str:
    names = list(next(iter(answers.values()), {"score": None}))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["row", *names])
    for row, answer in answers.items():
        writer.writerow([row, *(_cell(answer.get(name)) for name in names)])
    return file.getvalue()


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _value(answer: Mapping[str, Any]) -> str:
    return str(answer["score"]) if list(answer) == ["score"] else json.dumps(answer)
