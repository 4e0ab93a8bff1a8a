"""Whether a version may serve: approve, reject, rollback."""

from __future__ import annotations

from typing import Annotated

import typer

from perennial.registry import approval
from perennial_cli import stacks, versions
from perennial_cli.account import say_whom
from perennial_cli.commands.options import AsJson, StackName
from perennial_cli.console import notice, show, show_json

Number = Annotated[int, typer.Argument(metavar="VERSION", min=1, help="The number of a version: perennial versions.")]


def approve(
    version: Number,
    stack: StackName = None,
    reason: Annotated[str | None, typer.Option(help="Why; the registry keeps it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Approve a version of the model: it is deployed, at once or by the run that waits."""
    _answer(version, stack, approval.APPROVED, reason, as_json=as_json)


def reject(
    version: Number,
    reason: Annotated[str, typer.Option(help="Why; the registry keeps it, and the run ends with it.")],
    stack: StackName = None,
    as_json: AsJson = False,
) -> None:
    """Reject a version of the model: the run that waits ends; one in service goes."""
    _answer(version, stack, approval.REJECTED, reason, as_json=as_json)


def rollback(
    version: Annotated[
        int | None,
        typer.Argument(min=1, help="The number of an approved version. Default: the one before that in service."),
    ] = None,
    stack: StackName = None,
    reason: Annotated[str | None, typer.Option(help="Why; the registry keeps it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Go back to an earlier version: reject the one in service, so that the newest approved one is deployed.

    The endpoint is updated by a run of its own, whose mail says when it is done.
    """
    say_whom()
    name = stacks.chosen(stack).name
    rejected, target = versions.roll_back(name, version, reason)
    if as_json:
        show_json({"stack": name, "rejected": rejected, "version": target})
    else:
        show(f"{name} goes back to version {target}; rejected: {', '.join(map(str, rejected))}")
        notice("Next: `perennial follow` looks at the run that deploys it")


def _answer(version: int, stack: str | None, status: str, reason: str | None, *, as_json: bool) -> None:
    say_whom()
    name = stacks.chosen(stack).name
    answered = versions.answered(name, version, status, reason)
    if as_json:
        show_json(answered)
    else:
        show(f"version {version} of {name}: {status}, before {answered['before']}. {answered['outcome']}")
