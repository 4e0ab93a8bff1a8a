"""Bias and explanations of files and a quick fit, before anything is deployed: analyze."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from perennial.model import definition
from perennial.model.folder import FEATURES
from perennial.runs import comparison
from perennial.words import number
from perennial_cli import project, quick_analysis
from perennial_cli.commands.options import AsJson, Force, ModelName, output_option, require_output
from perennial_cli.console import (
    FAILED,
    CommandError,
    as_text,
    notice,
    show,
    show_json,
    table,
    warn,
    working,
    write_file,
)
from perennial_cli.quick_fit import import_lean

STAGES = {
    "pre_training_bias_metrics": "Bias in the training rows",
    "post_training_bias_metrics": "Bias in the answers of a quick fit to test rows",
}


def analyze(
    model: ModelName,
    files: Annotated[
        list[Path], typer.Option("--file", "-f", exists=True, dir_okay=False, help="A file of data; may be repeated.")
    ],
    output: Annotated[Path | None, output_option("Write Clarify's analysis.json into this file.")] = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Say what files and a quick fit show of bias, and what its answers rest on, without a deployment.

    Of the facets of model.yaml (monitoring.bias), by Clarify's metrics: of the rows that train, and of the answers of a
    quick fit to the test rows. Features by their mean absolute contributions (SHAP values). A run says the same of its
    model. Exit code 1: a run could not use the files.
    """
    if output:
        require_output(output, "JSON", files, force=force)
    folder = project.model_folder(model)
    defined = definition.load(folder / "model.yaml")
    if defined.series:
        raise CommandError(f"{model}: a forecasting has no outcomes of groups, and nobody can say what it rests on")
    with working(f"analyzing {folder.name}"):
        if not (folder / FEATURES).exists():
            import_lean()
        made = quick_analysis.analyzed(defined, folder.resolve().name, files, folder.resolve().parent)
    if made.problems:
        for line in made.problems:
            warn(f"a run would fail: {line}")
        raise typer.Exit(FAILED)
    if output:
        write_file(output, as_text(made.document))
    if as_json:
        show_json(made.document)
    else:
        _show(made.document)


def _show(document: Mapping[str, Any]) -> None:
    for name, title in STAGES.items():
        if document[name]["facets"]:
            show(f"{title}; positive is {document[name]['label']} {document[name]['label_value_or_threshold']}")
            _show_stage(document[name]["facets"])
            show()
    if not document["pre_training_bias_metrics"]["facets"]:
        notice("nothing about bias: model.yaml names no facets (monitoring.bias.facets)")
    if shares := comparison.shares(document):
        ranked = sorted(shares.items(), key=lambda item: (-item[1], item[0]))
        table("feature", "share", rows=[(name, f"{share:.1%}") for name, share in ranked], right=("share",))
    elif "reason" in document:
        notice(f"no fit: {document['reason']}")


def _show_stage(facets: Mapping[str, Any]) -> None:
    listed = [(f"{column} {one['value_or_threshold']}", one) for column, every in facets.items() for one in every]
    names = [name for name, _ in listed]
    rows = [
        (measured[0]["description"], *(number(one["value"], 4) if "error" not in one else "none" for one in measured))
        for measured in zip(*(one["metrics"] for _, one in listed), strict=True)
    ]
    members = [f"{one['records']['facet']:,} of {sum(one['records'].values()):,}" for _, one in listed]
    table("metric", *names, rows=[("members", *members), *rows], right=tuple(names))
    for name, one in listed:
        for measured in one["metrics"]:
            if "error" in measured:
                notice(f"{name}: {measured['name']} has no value: {measured['error']}")
