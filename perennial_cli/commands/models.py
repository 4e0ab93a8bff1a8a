"""What is done before anything is deployed: init, try, check."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from perennial.data.broken import problem
from perennial.model import definition
from perennial.model.problem_types import scores_of
from perennial.words import number
from perennial_cli import check_models, project
from perennial_cli.commands.options import AsJson, ModelName, Yes
from perennial_cli.console import FAILED, CommandError, notice, pairs, show, show_json, table, warn, working
from perennial_cli.proposal import document, names, target
from perennial_cli.proposal.texts import read_texts
from perennial_cli.quick_fit import Fit, Trial, tried

MOST_LINES = 5

Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE...",
        exists=True,
        dir_okay=False,
        readable=True,
        help="CSV, JSON lines or Parquet, also packed with gzip; of one table.",
    ),
]


def init(
    files: Files,
    target_column: Annotated[
        str | None,
        typer.Option(
            "--target", "-t", help="The column to predict. Default: asks, or guesses where nobody can answer."
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", "-n", help="Name of the model. Default: that of the first file.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a model.yaml that is there.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Look at files and write a model's definition.

    Writes the model.yaml of a folder in models/: types, ranges, categories, how texts are read, the target, the split,
    and a threshold from quick fits against the mean predictor. Each guess is there with its evidence, and what is not
    understood is said. Rows in the order of a time are split by it, those of one customer or machine are in one set,
    and an id that is another one in every row is their key.
    """
    model = name or names.model_name(files[0].name)
    path = project.models() / model / "model.yaml"
    if path.exists() and not force:
        raise CommandError(f"{path} is there already; choose another --name, or replace it with --force")
    with working("looking at the files") as step:
        texts = read_texts(files)
        columns = document.columns_of(texts)
    guess, why = target.guess_name(columns) if target_column is None else (target_column, "named by --target")
    if target_column is None and not yes and not as_json and sys.stdin.isatty():
        guess, why = typer.prompt("Which column is to be predicted?", default=guess, err=True), "named when asked"
    proposal = document.Proposal.of(model, texts, columns, target.as_target(guess, columns, why))
    with working("measuring") as step:
        proposal, measured = document.measured(proposal, project.models(), step)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document.text(proposal, measured), encoding="utf-8")
    _show_proposal(proposal, measured, path, as_json=as_json)


def _show_proposal(proposal: document.Proposal, measured: document.Measured, path: Path, *, as_json: bool) -> None:
    features = [
        guess.name for guess in proposal.all_columns if guess.is_feature and guess.name != proposal.target.column.name
    ]
    if as_json:
        show_json(
            {
                "model": proposal.model, "path": path, "target": proposal.target.column.name,
                "problem": proposal.target.problem, "metric": proposal.target.metric, "threshold": measured.threshold,
                "quick_fits": [fit.model for fit in measured.fits], "constant": measured.constant,
                "split": proposal.split.fields(0), "features": features, "rows": proposal.texts.rows,
                "doubts": proposal.doubts,
            }
        )  # fmt: skip
        return
    show(f"Wrote {path}")
    pairs(
        {
            "target": f"{proposal.target.column.name}, {proposal.target.evidence}",
            "problem": proposal.target.problem.replace("_", " "),
            "features": f"{len(features)} of {len(proposal.columns)} columns, {proposal.texts.rows:,} rows",
            "quick fits": _beside(proposal.target.metric, measured.model, measured.constant),
            "split": " ".join(filter(None, (proposal.split.method, proposal.split.column))),
            "threshold": number(measured.threshold),
        }
    )
    for doubt in proposal.doubts:
        warn(f"look at {doubt}")
    if measured.is_perfect:
        warn("quick fits are nearly perfect: look for a column that is known only after what is predicted")
    if measured.is_weak:
        warn("the columns say little of the target: a quick fit is hardly better than always the same answer")
    notice(
        f"Next: read it, then `perennial deploy {proposal.model}`; what a run makes of a file says "
        f"`perennial try {proposal.model} --file FILE`"
    )


def _beside(metric: str, model: float, constant: float) -> str:
    return f"{metric} {_metric(model)}; always the same answer: {_metric(constant)}"


def _metric(value: float) -> str:
    return number(float(f"{value:.4g}"), 9)


def try_(
    model: ModelName,
    files: Annotated[
        list[Path] | None,
        typer.Option("--file", "-f", exists=True, dir_okay=False, help="A file to try it on; may be repeated."),
    ] = None,
    fit: Annotated[bool, typer.Option(help="Fit a quick model as well.")] = True,
    as_json: AsJson = False,
) -> None:
    """Try a definition and its features.py against files, without a deployment.

    Says what the contract makes of the rows, which are put aside and why, what is encoded, and how good a quick fit is.
    Without a file the definition alone is checked. Exit code 1: a run could not use the files.
    """
    folder = project.model_folder(model)
    defined = definition.load(folder / "model.yaml")
    if not files:
        check([folder])
        return
    with working(f"trying {folder.name}"):
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


def _asks_for_little(defined: definition.Definition, fit: Fit) -> bool:
    direction = scores_of(defined.problem, defined.metrics)[fit.metric].direction
    sign = 1 if direction == "minimize" else -1
    return not sign * (fit.constant - defined.gate.threshold) > document.LEAST_GAIN * abs(fit.constant)


def _show_trial(trial: Trial) -> None:
    _show_rows(trial.report)
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
        reached = _beside(trial.fit.metric, trial.fit.model, trial.fit.constant)
        show(f"A quick fit reaches {reached} ({trial.fit.rows:,} rows that it has not seen)")


def _show_rows(report: Mapping[str, Any]) -> None:
    rows = report["rows"]
    pairs(
        {
            "rows": f"{rows['read']:,} read, {rows['used']:,} used, {rows['quarantined']:,} put aside",
            "repeated": f"{report['duplicates']['rows']:,} rows repeat others",
            "sets": ", ".join(f"{name} {count:,}" for name, count in report["sets"].items()) or "none",
            "features": f"{len(report['features'])} encoded from the columns of the definition",
        }
    )
    for rule in report["rules"]:
        warn(problem(rule))
    for file in report["files"]:
        for note in file.get("notes", []):
            notice(f"{file['name']}: {note}")
    for stray in report["aside"]:
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


def check(
    models: Annotated[
        list[Path] | None, typer.Argument(metavar="[MODEL]...", help="Names or folders. Default: all of models/.")
    ] = None,
) -> None:
    """Check definitions as a deployment does, and try their features.py on a small table."""
    folders = [project.model_folder(str(one)) if not one.is_dir() else one for one in models or []]
    if not check_models.are_sound(folders or project.all_models()):
        raise typer.Exit(FAILED)
