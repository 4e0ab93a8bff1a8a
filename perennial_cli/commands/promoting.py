"""From one environment to the next: promote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import boto3
import typer

from perennial.registry import approval
from perennial.runs.run_record import ModelVersion
from perennial_cli import account, deployment, promotion, runs, stacks, versions
from perennial_cli.commands.options import RUN_LINE, AsJson, new_file, not_empty, run_of
from perennial_cli.console import FAILED, CommandError, notice, pairs, show_json, write_file
from perennial_cli.stacks import Stack

SERVES = "Serves"
OtherStack = Annotated[
    str | None, typer.Option(callback=not_empty, help="Name of the stack, in place of the section's.")
]


@dataclass(frozen=True)
class Place:
    """An environment: its stack, and who speaks there."""

    stack: Stack
    account: account.Account
    session: boto3.Session


def new_run_file(name: str) -> Path:
    """Return where the run's id goes. Raises BadParameter: it cannot be there, or another file is."""
    path = new_file(name)
    if path.is_file() and not path.read_bytes().startswith(RUN_LINE.encode()) and path.stat().st_size:
        raise typer.BadParameter(f"{path} is there already, and holds no {RUN_LINE}ID; name another file")
    return path


def promote(
    version: Annotated[
        str | None,
        typer.Argument(
            metavar="VERSION",
            callback=run_of,
            help="The number of a version, the id of its run, or @FILE of --write-run. Default: the newest approved.",
        ),
    ] = None,
    source: Annotated[
        str, typer.Option("--from", metavar="SECTION", help="Section of samconfig.toml where the version is approved.")
    ] = "default",
    target: Annotated[
        str, typer.Option("--to", metavar="SECTION", help="Section of the environment that it comes to.")
    ] = "staging",
    from_stack: OtherStack = None,
    to_stack: OtherStack = None,
    from_profile: Annotated[
        str | None,
        typer.Option(
            envvar="PERENNIAL_FROM_PROFILE",
            help="Profile of AWS. Default: the section's, else the usual configuration.",
        ),
    ] = None,
    to_profile: Annotated[
        str | None, typer.Option(help="Profile of AWS. Default: the section's, else the usual configuration.")
    ] = None,
    from_role: Annotated[
        str | None,
        typer.Option(
            metavar="ARN",
            envvar="PERENNIAL_FROM_ROLE",
            help="Role of the account where the version is, which who speaks to the other one takes.",
        ),
    ] = None,
    write_run: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=new_run_file,
            help="Write run=ID there, its run: what the next step of a pipeline takes on.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Bring an approved version of the model to another environment, which deploys it.

    What serves is copied, checked by its SHA-256, and registered there. With Approval=manual its approvers are asked;
    else it is approved, and the run that deploys it is followed. Once it is there, nothing is done twice. Exit code 1:
    it is refused, or does not come into service.
    """
    there = _place(target, to_stack, account.session(to_profile or _profile(target)))
    own = from_profile or _profile(source) or (to_profile or _profile(target) if from_role else None)
    here = _place(source, from_stack, account.session(own, from_role))
    _require_alike(here, there)
    with account.speaking_as(here.session):
        one = promotion.candidate(here.stack, version)
    with account.speaking_as(there.session):
        summary = versions.of_run(there.stack.name, one.run_id)
        if summary:
            registered = versions.as_version(summary)
            promotion.require_same(one, registered, there.stack)
        else:
            registered = _brought(one, here, there)
        status = _status(registered, one, there.stack)
    steps = {
        "from": f"version {one.number} of {here.stack.name}, {here.account}",
        "to": f"version {registered['number']} of {there.stack.name}, {there.account}",
        "run": one.run_id,
        "status": status,
    }
    show_json(steps) if as_json else pairs(steps)
    if status not in (SERVES, approval.PENDING):
        raise typer.Exit(FAILED)
    if write_run:
        write_file(write_run, f"{RUN_LINE}{one.run_id}\n")
    if status == approval.PENDING:
        notice(f"Next: `perennial approve {registered['number']} --stack {there.stack.name}` there")


def _profile(section: str) -> str | None:
    return deployment.environment(section).profile


def _place(section: str, stack: str | None, session: boto3.Session) -> Place:
    """Return an environment by its section. Raises CommandError: there is no such section or stack."""
    with account.speaking_as(session):
        whom = account.say_whom()
        return Place(stacks.chosen(stack or deployment.environment(section).stack), whom, session)


def _require_alike(here: Place, there: Place) -> None:
    """Raise CommandError when a version of the one can be none of the other."""
    names = f"{here.stack.name} and {there.stack.name}"
    if here.stack.bucket == there.stack.bucket:
        raise CommandError(f"{here.stack.name} is where the version is already; expected two stacks: --from and --to")
    if here.stack.model != there.stack.model:
        raise CommandError(
            f"{names} have models of their own, {here.stack.model} and {there.stack.model}; expected one"
        )
    if here.account.region != there.account.region:
        raise CommandError(
            f"{names} are in {here.account.region} and {there.account.region}; expected one region, because a version "
            "names the images of its own"
        )


def _brought(one: promotion.Candidate, here: Place, there: Place) -> ModelVersion:
    """Copy and register the version.

    Raises CommandError: it is not there whole, older than what serves, or was rejected while it was copied.
    """
    promotion.require_newer(one, there.stack)
    sealed = promotion.bring(here.session.client("s3"), one, there.session.client("s3"), there.stack)
    with account.speaking_as(here.session):
        promotion.candidate(here.stack, str(one.number))
    return promotion.register(one, sealed, there.stack)


def _status(version: ModelVersion, one: promotion.Candidate, to: Stack) -> str:
    """Return what has become of a version where it has come to; one that nobody has to approve is deployed first.

    One that is approved is being deployed, or was: that is looked at, whoever has approved it.
    """
    if versions.serving_arn(to.name) == version["arn"]:
        return SERVES
    if version["status"] == approval.PENDING and promotion.waits_for_people(to):
        promotion.ask(one, version, to)
        return approval.PENDING
    if version["status"] == approval.REJECTED:
        notice(promotion.rejected(version, to))
        return approval.REJECTED
    ended = promotion.deploy(version, to, f"promoted from {one.stack.name}, version {one.number}")
    if ended["status"] == "Succeeded":
        return SERVES
    notice(runs.reason(ended))
    return str(ended["status"])
