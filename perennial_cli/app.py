"""The command and what all its parts have in common: errors in words, exit codes, versions."""

from __future__ import annotations

import os
import re
import sys
from importlib import metadata
from typing import Annotated, Any

import typer
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
)
from typer.core import TyperGroup

from perennial.features.values import DataError
from perennial.model.complaints import ConfigurationError
from perennial_cli.commands import approving, costing, local, models, notebook, rows, running, serving, stacks
from perennial_cli.console import FAILED, CommandError, complain
from perennial_cli.proposal.document import UnusableError

KNOWN = (CommandError, ConfigurationError, DataError, UnusableError, ClientError, BotoCoreError, OSError)
NO_ACCOUNT = (
    'For the local cloud: perennial local up, then eval "$(perennial local env)". For AWS: your usual configuration, '
    "such as AWS_PROFILE and AWS_REGION"
)
LOCAL_IS_DOWN = "The local cloud does not answer: perennial local up"
_LOCAL = re.compile(r"https?://(127\.0\.0\.1|localhost)[:/]")
EPILOG = (
    "Exit codes: 0 done; 1 failed, or the answer is no (a run failed, a model was rejected, a file cannot be used); "
    "2 wrong use; 130 interrupted."
)


class Commands(TyperGroup):
    """Commands whose known errors end in words, with the exit code of a failure."""

    def invoke(self, ctx: Any) -> Any:
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except BrokenPipeError:  # whoever read the output, `head` for example, has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(FAILED) from None
        except KNOWN as error:
            complain("\n  ".join(error.lines) if isinstance(error, DataError) else str(error))
            if isinstance(error, NoCredentialsError | NoRegionError):
                complain(NO_ACCOUNT)
            if isinstance(error, EndpointConnectionError) and _LOCAL.match(str(error.kwargs["endpoint_url"])):
                complain(LOCAL_IS_DOWN)
            raise typer.Exit(FAILED) from error


app = typer.Typer(
    name="perennial",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EPILOG,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(version())
        raise typer.Exit


def version() -> str:
    """Return the version that is installed; `source` where the folder itself is run."""
    try:
        return metadata.version("perennial")
    except metadata.PackageNotFoundError:
        return "source"


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """From your own file to a model that serves, and all there is to see of it.

    Commands speak to the local cloud or to AWS, as the usual configuration of AWS says, and say which.
    """


MODELS, RUNS, SERVING, STACKS = "A model from files", "Runs", "What serves", "Stacks"
app.command("init", rich_help_panel=MODELS)(models.init)
app.command("try", rich_help_panel=MODELS)(models.try_)
app.command("check", rich_help_panel=MODELS)(models.check)
app.command("drop", rich_help_panel=RUNS)(running.drop)
app.command("run", rich_help_panel=RUNS)(running.run)
app.command("follow", rich_help_panel=RUNS)(running.follow)
app.command("runs", rich_help_panel=RUNS)(running.runs)
app.command("versions", rich_help_panel=RUNS)(running.versions)
app.command("approve", rich_help_panel=RUNS)(approving.approve)
app.command("reject", rich_help_panel=RUNS)(approving.reject)
app.command("rollback", rich_help_panel=RUNS)(approving.rollback)
app.command("show", rich_help_panel=RUNS)(running.show_run)
app.command("compare", rich_help_panel=RUNS)(running.compare)
app.command("reproduce", rich_help_panel=RUNS)(running.reproduce)
app.command("predict", rich_help_panel=SERVING)(serving.predict)
app.command("openapi", rich_help_panel=SERVING)(serving.openapi)
app.command("explain", rich_help_panel=SERVING)(running.explain)
app.command("deploy", rich_help_panel=STACKS)(stacks.deploy)
app.command("delete", rich_help_panel=STACKS)(stacks.delete)
app.command("cost", rich_help_panel=STACKS)(costing.cost)
app.command("erase", rich_help_panel=STACKS)(rows.erase)
app.command("copy-data", rich_help_panel=STACKS)(rows.copy_data)
app.command("notebook", rich_help_panel=STACKS, context_settings=notebook.PASSED_ON)(notebook.notebook)
app.add_typer(local.app, name="local", rich_help_panel=STACKS)


def run() -> None:
    """Run the command, as it is installed."""
    app(prog_name="perennial")
