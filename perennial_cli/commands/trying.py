"""A definition against files, before anything is deployed: try."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from perennial.data.broken import counted, problem
from perennial.model import definition
from perennial.model.folder import FEATURES
from perennial.model.problem_types import scores_of
from perennial.words import number
from perennial_cli import project
from perennial_cli.commands.options import AsJson, ModelName
from perennial_cli.console import FAILED, notice, pairs, show, show_json, table, warn, working
from perennial_cli.quick_fit import LEAST_GAIN, Fit, Trial, beside, import_lean, tried

MOST_LINES = 5


def try_(
    model: ModelName,
    files: Annotated[
        list[Path] | None,
        typer.Option("--file", "-f", exists=True, dir_okay=False, help="A file to try it on; may be repeated."),
    ] = None,
    fit: Annotated[bool, typer.Option(help="Fit a quick model as well, or run train.py.")] = True,
    as_json: AsJson = False,
) -> None:
    """Try a definition and its features.py against files, without a deployment.

    Says what the contract makes of the rows, which are put aside and why, what is encoded, and how good a quick fit is.
    A model's own train.py is run instead, on at most 10,000 rows.
    Without a file the definition alone is checked. Exit code 1: a run could not use the files.
    """
    folder = project.model_folder(model)
    if not files:
        _try_alone(folder, as_json=as_json)
        return
    defined = definition.load(folder / "model.yaml")
    with working(f"trying {folder.name}"):
        if not (folder / FEATURES).exists():
            import_lean()
        trial = tried(defined, folder.resolve().name, files, folder.resolve().parent, with_fit=fit)
    if as_json:
        show_json(asdict(trial))
    else:
        _show_trial(trial)
        if trial.fit and _asks_for_little(defined, trial.fit):
            warn(
                f"gate.threshold, {number(defined.gate.threshold)}, is hardly better than what always the same answer "
                "reaches on these rows, or worse: the gate would let nearly any model through"
            )
    if trial.problems:
        raise typer.Exit(FAILED)


def _try_alone(folder: Path, *, as_json: bool) -> None:
    from perennial_cli import check_models  # with what monitors windows
    from perennial_cli.commands.checking import document

    looked = check_models.checked(folder)
    if as_json:
        show_json(document(looked))
    else:
        check_models.show(looked)
    if not looked.is_sound:
        raise typer.Exit(FAILED)


def _asks_for_little(defined: definition.Definition, fit: Fit) -> bool:
    direction = scores_of(defined.problem, defined.metrics)[fit.metric].direction
    sign = 1 if direction == "minimize" else -1
    return not sign * (fit.constant - defined.gate.threshold) > LEAST_GAIN * abs(fit.constant)


def _show_trial(trial: Trial) -> None:
    _show_rows(trial)
    if trial.report["texts"]:
        show()
        rows = map(_text_row, trial.report["texts"].items())
        table("text column", "values", "how", "unknown in the test set", rows=rows, right=("values",))
    if trial.quarantine:
        _show_quarantine(trial)
    for note in trial.report["notes"]:
        notice(note)
    for line in trial.problems:
        warn(f"a run would fail: {line}")
    if trial.fit:
        show()
        reached = beside(trial.fit.metric, trial.fit.model, trial.fit.constant)
        show(f"{trial.fit.by} reaches {reached} ({trial.fit.rows:,} rows that it has not seen)")
    elif trial.unfitted:
        notice(f"no fit: {trial.unfitted}")


def _show_rows(trial: Trial) -> None:
    """Show what became of the rows, without what the problems say, which come later."""
    report, rows, problems = trial.report, trial.report["rows"], " ".join(trial.problems)
    used = "none" if trial.problems else f"{rows['used']:,}"
    lines = {"rows": f"{rows['read']:,} read, {used} used, {rows['quarantined']:,} put aside"} if rows["read"] else {}
    if not trial.problems:
        sets = report["sets"] | ({"none": rows["in_no_set"]} if "in_no_set" in rows else {})
        lines |= {
            "repeated": f"{counted(report['duplicates']['rows'])} repeat others",
            "sets": ", ".join(f"{name} {count:,}" for name, count in sets.items()),
            "features": f"{len(report['features'])} made of the columns of the definition",
        }
    pairs(lines)
    for rule in report["rules"]:
        if (text := problem(rule)) not in problems:
            warn(text)
    if late := report["late"]:
        latest = f"{late['column']}, the latest {late['latest']}"
        warn(f"{counted(late['rows'])} dated after now ({latest}): look at their times")
    for file in report["files"]:
        for note in file.get("notes", []):
            notice(f"{file['name']}: {note}")
    for stray in report["aside"]:
        if stray["reason"].partition("; ")[0] not in problems:
            warn(f"{stray['name']} is put aside: {stray['reason']}")


def _show_quarantine(trial: Trial) -> None:
    show()
    lines = ((line["file"], f"{line['row']:,}", "; ".join(line["reasons"])) for line in trial.quarantine[:MOST_LINES])
    table("file", "row", "why it is put aside", rows=lines, right=("row",))
    if len(trial.quarantine) > MOST_LINES:
        notice(f"and {len(trial.quarantine) - MOST_LINES:,} more (--json lists them)")


def _text_row(item: tuple[str, Any]) -> tuple[str, ...]:
    name, text = item
    how = "a 0/1 feature each" if text["encoding"] == "category" else "means of the target"
    return name, f"{text['values']:,}", how, f"{text['unseen_share'].get('test', 0):.1%} of the rows"
