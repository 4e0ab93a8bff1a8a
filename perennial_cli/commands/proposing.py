"""A definition from files: init."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from perennial.model.definition import MAX_COLUMNS
from perennial.model.folder import FEATURES
from perennial.words import number, quoted
from perennial_cli import project
from perennial_cli.commands.options import AsJson, Yes, new_model
from perennial_cli.console import (
    CommandError,
    WrongUseError,
    is_terminal,
    notice,
    pairs,
    show,
    show_json,
    warn,
    working,
)
from perennial_cli.proposal import document, names, series, target
from perennial_cli.proposal.document import LEAST_ROWS
from perennial_cli.proposal.splits import FORECASTING
from perennial_cli.proposal.target import NameGuess, TargetError
from perennial_cli.proposal.texts import Texts, read_texts
from perennial_cli.quick_fit import beside, import_lean, rounded

LEAST_COLUMNS = 2
LEAST_PERIODS = 6  # columns whose names are months or days
_MONTH = r"(0?[1-9]|1[0-2])"
_NAMED = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[-_. ]?(\d\d)?\d\d|[^\W\d_]{3,9}[-_. ]+(19|20)\d\d"
_PERIOD = re.compile(
    rf"{_NAMED}|(19|20)\d\d[-/. ]?{_MONTH}([-/.]\d\d?)?|(\d\d?[-/.])?{_MONTH}[-/. ](19|20)\d\d", re.IGNORECASE
)
Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE",
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
        str | None,
        typer.Option("--name", "-n", callback=new_model, help="Name of the model. Default: that of the first file."),
    ] = None,
    forecast: Annotated[
        bool,
        typer.Option(
            "--forecast", help="Rows are points of series: say what comes next of each, by a column of times."
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a model.yaml that is there.")] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Look at files and write a model's definition.

    Writes the model.yaml of a folder in models/: types, ranges, categories, how texts are read, the target, the split,
    and a threshold from quick fits against the mean predictor. Each guess is there with its evidence, and what is not
    understood is said. Rows in the order of a time are split by it, those of one customer or machine are in one set,
    and an id that is another one in every row is their key. Exit code 1: a run could not use the files as it is
    written; what is wrong stands first in it, for a person to put right.
    """
    model = name or names.model_name(files[0].name)
    path = project.models() / model / "model.yaml"
    if path.exists() and not force:
        raise CommandError(f"{path} is there already; choose another --name, or replace it with --force")
    with working("looking at the files"):
        if not (path.parent / FEATURES).exists():
            import_lean()
        texts = read_texts(files)
        _require_table(texts, forecast=forecast)
        columns = document.columns_of(texts)
    chosen = (
        NameGuess(target_column, "named by --target")
        if target_column
        else target.guess_name(columns, files[0].name.partition(".")[0])
    )
    if not target_column and not yes and not as_json and is_terminal():
        if chosen.doubt:
            notice(f"the target is {chosen.evidence}, and {chosen.doubt}")
        answer = typer.prompt("Which column is to be predicted?", default=chosen.name, err=True)
        chosen = NameGuess(answer, "named when asked")
    try:
        predicted = target.as_target(chosen.name, columns, chosen.evidence, chosen.doubt)
    except target.NoColumnError as error:
        raise WrongUseError(str(error)) from error
    proposal = document.Proposal.of(model, texts, columns, predicted)
    if forecast:
        _forecast(proposal, path, as_json=as_json)
        return
    _require_feature(proposal)
    with working("measuring") as step:
        proposal, measured = document.measured(proposal, project.models(), step)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document.text(proposal, measured), encoding="utf-8")
    _show_proposal(proposal, measured, path, as_json=as_json)
    if proposal.unusable:
        raise CommandError(f"a run could not use the files as {path} is now: {proposal.unusable}")


def _forecast(proposal: document.Proposal, path: Path, *, as_json: bool) -> None:
    """Write the definition of series. Raises CommandError: the rows are none, or a run could not use them."""
    try:
        rows_as = series.guessed(proposal.columns, proposal.target, proposal.texts.columns)
        with working("measuring"):
            text, naive = document.forecast(proposal, rows_as, project.models())
    except (TargetError, document.UnusableError) as error:
        raise CommandError(str(error)) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    target_name = proposal.target.column.name
    if as_json:
        show_json(
            {"model": proposal.model, "path": path, "target": target_name, "series": rows_as.fields(), "naive": naive}
        )
        return
    show(f"Wrote {path}")
    pairs(
        {
            "target": f"{target_name}, {proposal.target.evidence}",
            "problem": f"forecasting, {rows_as.prediction_length} periods ({rows_as.frequency}) ahead",
            "series": f"{rows_as.key.name}, by {rows_as.time.name}",
            "last season again": "none" if naive is None else f"mean_wql {rounded(naive)}",
        }
    )
    if proposal.target.doubt:
        warn(f"look at target: {proposal.target.doubt}")
    notice(f"Next: read it, then `perennial deploy {proposal.model}`")


def _require_table(texts: Texts, *, forecast: bool) -> None:
    """Raise CommandError if there is nothing to learn from, whatever stands in the columns.

    forecast  whether rows are to be points of series
    """
    where = ", ".join(path.name for path in texts.files)
    if {"start", "target"} <= texts.columns.keys():
        raise CommandError(
            f"{where}: these are series as DeepAR reads them, for which no definition is proposed; write one as "
            "models/employment/model.yaml is (docs/add-a-model.md, forecasting), and try it: perennial try --file"
        )
    if len(periods := [name for name in texts.columns if _PERIOD.fullmatch(name.strip())]) >= LEAST_PERIODS:
        others = [name for name in texts.columns if name not in periods]
        these = f"columns {quoted(periods[0])} to {quoted(periods[-1])}: their names are times, as of series with a"
        if forecast:
            raise CommandError(
                f"{where}: {these} column for each period; expected a row for each. Make one of each value (pandas: "
                f'table.melt({others}, var_name="period", value_name="value").to_csv("long.csv", index=False)), and '
                "start again with that file"
            )
        warn(f"look at {these} column for each period. A row for each is what is learned from by {FORECASTING}")
    if len(texts.columns) < LEAST_COLUMNS:
        names = " and ".join(map(quoted, texts.columns)) or "none with a name"
        raise CommandError(
            f"{where}: expected a column to predict and at least one to predict it from; it has {names}. Is another "
            "mark than , ; | or a tab between the fields?"
        )
    if len(texts.columns) > MAX_COLUMNS:
        raise CommandError(
            f"{where}: expected at most {MAX_COLUMNS} columns, as a definition has; there are {len(texts.columns):,}. "
            "Propose one from a copy with those that matter; with `other_columns: ignore` in it, runs pass over the "
            "others of whole files"
        )
    if texts.rows < LEAST_ROWS:
        raise CommandError(
            f"{where}: expected at least {LEAST_ROWS} rows below the names of columns; it has {texts.rows}"
        )


def _require_feature(proposal: document.Proposal) -> None:
    """Raise CommandError if nothing is left to predict from."""
    target, times = proposal.target.column.name, [one for one in proposal.columns if one.type == "timestamp"]
    if not any(guess.is_feature and guess.name != target for guess in proposal.all_columns):
        others = ", ".join(guess.name for guess in proposal.columns if guess.name != target)
        by_time = f". What comes next of {target} by {times[0].name} is {FORECASTING}" if times else ""
        raise CommandError(f"no column is left to predict {target} from: {others} can be no feature{by_time}")


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
                "doubts": proposal.doubts, "usable": not proposal.unusable,
            }
        )  # fmt: skip
        return
    show(f"Wrote {path}")
    pairs(
        {
            "target": f"{proposal.target.column.name}, {proposal.target.evidence}",
            "problem": proposal.target.problem.replace("_", " "),
            "features": f"{len(features)} of {len(proposal.columns)} columns, {proposal.texts.rows:,} rows",
            "quick fits": beside(proposal.target.metric, measured.model, measured.constant)
            if measured.fits
            else "none",
            "split": " ".join(filter(None, (proposal.split.method, proposal.split.column))),
            "threshold": number(measured.threshold),
        }
    )
    for doubt in replace(proposal, unusable="").doubts:  # that is the error
        warn(f"look at {doubt}")
    if measured.is_perfect:
        warn("quick fits are nearly perfect: look for a column that is known only after what is predicted")
    if measured.is_unsure:
        warn(document.UNSURE)
    if measured.is_weak:
        warn("the columns say little of the target: a quick fit is hardly better than always the same answer")
    deploys = f"`perennial deploy {proposal.model}`"
    if project.folder() is None:
        deploys = f"move {path.parent} into models/ of the project's folder, where {deploys} works"
    notice(
        f"Next: read it, then {deploys}; what a run makes of a file says `perennial try {proposal.model} --file FILE`"
    )
