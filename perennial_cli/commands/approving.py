"""Whether a version may serve: approve, reject."""

from __future__ import annotations

from typing import Annotated

import typer

from perennial.registry import approval
from perennial_cli import stacks, versions
from perennial_cli.account import say_whom
from perennial_cli.commands.options import AsJson, StackName
from perennial_cli.console import show, show_json

Number = Annotated[int, typer.Argument(metavar="VERSION", min=1, help="The number of a version: perennial versions.")]


def approve(
    version: Number,
    stack: StackName = None,
    reason: Annotated[str | None, typer.Option(help="Why; the registry keeps it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Approve a version of the model in the model registry: the run that waits for it goes on, and deploys it."""
    _answer(version, stack, approval.APPROVED, reason, as_json=as_json)


def reject(
    version: Number,
    reason: Annotated[str, typer.Option(help="Why; the registry keeps it, and the run ends with it.")],
    stack: StackName = None,
    as_json: AsJson = False,
) -> None:
    """Reject a version of the model in the model registry: the run that waits for it ends."""
    _answer(version, stack, approval.REJECTED, reason, as_json=as_json)


def _answer(version: int, stack: str | None, status: str, reason: str | None, *, as_json: bool) -> None:
    say_whom()
    name = stacks.chosen(stack).name
    before = versions.answer(name, version, status, reason)
    if as_json:
        show_json({"stack": name, "version": version, "status": status, "before": before})
    else:
        show(f"version {version} of {name}: {status}, before {before}")
