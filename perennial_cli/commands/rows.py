"""What is done with rows that are there already: erase, copy-data."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import boto3
import typer

from perennial_cli import copy_data as copies
from perennial_cli import erase as erasure
from perennial_cli.account import say_whom
from perennial_cli.commands.options import AsJson, Yes
from perennial_cli.console import show, show_json


def _named(name: str) -> str:
    if not name.strip():
        raise typer.BadParameter("got an empty text; expected the name of a stack (make: STACK=name, or MODEL=name)")
    return name


Stack = Annotated[str, typer.Argument(metavar="STACK", callback=_named, help="Name of the stack.")]


def erase(
    stack: Stack,
    rows: Annotated[
        str, typer.Argument(metavar="COLUMN=VALUE", help="Whose rows: a column of the files and its value.")
    ],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Show where rows of somebody are, and with --yes erase them.

    They go from data, captured requests, runs and windows, in all versions; what stays, and until when, is said. Exit
    code 1: some of it is for others to do.
    """
    column, equals, value = rows.partition("=")
    if not (column and equals and value.strip()):
        raise typer.BadParameter(
            f"got {rows!r}; expected COLUMN=VALUE, such as customer_id=17", param_hint="COLUMN=VALUE"
        )
    say_whom()
    if code := erasure.erase(erasure.find_stack(stack), column, value, yes=yes, as_json=as_json):
        raise typer.Exit(code)


def copy_data(
    source: Annotated[str, typer.Argument(metavar="s3://BUCKET/PREFIX/", help="Where the data are.")],
    stack: Stack,
    as_json: AsJson = False,
) -> None:
    """Copy data files to a stack, in the order of their drops: they keep their times."""
    bucket, _, prefix = source.removeprefix("s3://").partition("/")
    if not (source.startswith("s3://") and bucket and prefix.endswith("/")):
        hint = "s3://BUCKET/PREFIX/"
        raise typer.BadParameter(f"got {source!r}; expected {hint}, such as s3://old-bucket/raw/", param_hint=hint)
    say_whom()
    copied = []
    for one in copies.copy(boto3.client("s3"), (bucket, prefix), copies.prefix_of(stack)):
        copied.append(one)
        if not as_json:
            show(str(one))
    if as_json:
        show_json([asdict(one) for one in copied])
