"""Feature groups of a stack: ingest."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from perennial_cli import feature_groups, notebooks, stacks
from perennial_cli.account import is_local, say_whom
from perennial_cli.commands.options import AsJson, File, StackName
from perennial_cli.console import notice, show, show_json
from perennial_cli.deployed import definition_of

MANY_FILES = 100


def ingest(
    file: File,
    stack: StackName = None,
    group: Annotated[
        str | None, typer.Option(help="A group of model.yaml (feature_store.groups). Default: the first.")
    ] = None,
    role: Annotated[
        str | None,
        typer.Option(
            envvar="PERENNIAL_ROLE",
            help="The role that SageMaker takes to write the records of a new group. Default: the stack's own, which "
            "writes into the stack's own bucket; on the local cloud one is made for another.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Put the rows of a CSV or Parquet file into a feature group of the stack's model, online and offline.

    A group that is not there is made, with a feature for each column of the file. A file without the event time says
    that of now. Its rows are looked at before any is put: each needs its record, and a time in ISO 8601, without a zone
    in UTC. What SageMaker writes offline, minutes later, starts a run as a dropped file does; where runs ingest
    what is dropped (feature_store.ingest), it trains with the next drop.
    """
    say_whom()
    chosen = stacks.chosen(stack)
    writer = role or feature_groups.role_of(chosen) or (notebooks.role() if is_local() else None)
    definition = definition_of(chosen)
    done = feature_groups.ingest(chosen, definition, file, group, writer)
    if as_json:
        show_json(asdict(done))
        return
    show(f"{done.records:,} records of {file} are in the feature group {done.group}{', which is new' * done.created}")
    if definition.feature_store and definition.feature_store.ingest:
        notice("They train with the next drop, once they are written offline")
        return
    if done.hours > MANY_FILES:
        notice(
            f"Their events lie in {done.hours:,} hours, and SageMaker writes a file for each at least, which starts "
            "an execution; how to make one run of them: docs/data-files.md, Many files"
        )
    notice("Next: `perennial runs` lists the run that they start once they are written offline")
