"""Asking what serves: predict, openapi."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from perennial.model.definition import Definition
from perennial_cli import explanations, predictions, serving_api, stacks
from perennial_cli.account import say_whom
from perennial_cli.commands.options import AsJson, StackName
from perennial_cli.console import FAILED, CommandError, each, show, show_json, table, warn
from perennial_cli.deployed import definition_of
from perennial_cli.predictions import Answer, Record
from perennial_cli.stacks import Stack


def predict(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE|RECORD|-",
            help="A CSV, JSON lines or Parquet file; a record as JSON; or - for standard input.",
        ),
    ],
    stack: StackName = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", dir_okay=False, help="A CSV file for the answers. Default: standard output."),
    ] = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say what each feature contributes to the answer, in its unit.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Ask the endpoint about a record, a file or standard input.

    Records are checked first by the definition that the stack was deployed with; those that break it are named and not
    asked about. Answers of several records are CSV: the row in the file, and the score. Exit code 1: a record broke the
    definition, or the endpoint refused one.

    With --explain each answer is held against that to a typical record (medians, and the most frequent texts, of the
    rows that the model in service was tested with), and the difference is shared out among the features that differ.
    That takes some hundred questions for each record, which the monitor does not count as traffic.
    """
    if explain and output:
        raise typer.BadParameter("explanations are printed; with --json as a document", param_hint="--output")
    say_whom()
    chosen = stacks.chosen(stack)
    definition = definition_of(chosen)
    is_record = source.lstrip().startswith("{")
    if source == "-":
        records = predictions.from_text(_standard_input(), definition)
    elif is_record:
        records = predictions.from_text(source, definition)
    elif Path(source).is_file():
        records = list(predictions.records(Path(source), definition))
    else:
        raise typer.BadParameter(
            f"there is no file {source}; expected one, a record such as '{{\"year\": 2014}}', or -",
            param_hint="FILE|RECORD|-",
        )
    if not records:
        raise CommandError(f"{source} holds no record; expected one at least")
    sound = [record for record in records if not record.problems]
    if explain:
        _explain(chosen, definition, sound, as_json=as_json)
    else:
        _answer(chosen, sound, output, as_json=as_json, is_one=is_record)
    broken = [record for record in records if record.problems]
    for record in broken:
        warn(_complaint(record))
    if broken:
        raise typer.Exit(FAILED)


def _answer(chosen: Stack, sound: list[Record], output: Path | None, *, as_json: bool, is_one: bool) -> None:
    coming = predictions.answers(chosen.outputs["EndpointName"], sound, chosen.hours)
    answers = list(each(coming, len(sound), "asking the endpoint"))
    _print(answers, output, as_json=as_json, is_one=is_one)


def _explain(chosen: Stack, definition: Definition, sound: list[Record], *, as_json: bool) -> None:
    if len(sound) > explanations.MOST_RECORDS:
        raise CommandError(f"{len(sound)} records; expected {explanations.MOST_RECORDS} at most to explain")
    if not sound:
        return
    explainer = explanations.Explainer.of(chosen, definition)
    explained = [
        (record, explainer.explain(record)) for record in each(sound, len(sound), "asking about records between")
    ]
    if as_json:
        rows = ({"row": record.number, **explanations.as_json(explainer, record, one)} for record, one in explained)
        show_json(list(rows))
        return
    for record, one in explained:
        show(f"row {record.number}: {explanations.headline(explainer, definition, one)}")
        names = ("feature", "this record", "typical", "contribution")
        table(*names, rows=explanations.lines(explainer, record, one), right=names[1:])


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
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


def _complaint(record: Record) -> str:
    return f"row {record.number} is not asked about: {'; '.join(record.problems)}"


def _print(answers: list[Answer], output: Path | None, *, as_json: bool, is_one: bool) -> None:
    if as_json:
        show_json([{"row": one.record.number, **one.answer} for one in answers])
    elif is_one and output is None:
        for one in answers:
            show(_value(one.answer))
    elif output is None:
        _write(answers, sys.stdout)
    else:
        with output.open("w", newline="", encoding="utf-8") as file:
            _write(answers, file)


def _write(answers: list[Answer], file: Any) -> None:
    names = list(answers[0].answer) if answers else ["score"]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["row", *names])
    for one in answers:
        writer.writerow([one.record.number, *(_cell(one.answer.get(name)) for name in names)])


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def _value(answer: dict[str, Any]) -> str:
    return str(answer["score"]) if list(answer) == ["score"] else json.dumps(answer)
