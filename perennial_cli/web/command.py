"""Looking at everything in a browser: console."""

from __future__ import annotations

from typing import Annotated

import typer

from perennial_cli.account import say_whom
from perennial_cli.commands.options import not_empty
from perennial_cli.console import notice, show
from perennial_cli.web.app import Console
from perennial_cli.web.server import serve

PORT = 4580


def console(
    stack: Annotated[
        str | None,
        typer.Option(
            "--stack", "-s", envvar="PERENNIAL_STACK", callback=not_empty, help="Show this one alone. Default: all."
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0: any that is free.")] = PORT,
    allow_changes: Annotated[
        bool,
        typer.Option("--allow-changes", help="On AWS, too, approve, reject, drop and ask: as far as your role may."),
    ] = False,
) -> None:
    """Open a page on this machine that shows it all: runs, versions, drift, lineage, logs; Ctrl-C ends it.

    The flow of a run is drawn as it works. Files are dropped there, versions approved, the endpoint asked. Of the local
    cloud there are mails and faults as well. Of an AWS account it only reads.

    Whoever opens the address that is printed may see it all: it has a token, which each start makes anew.
    """
    whom = say_whom()
    serve(Console(whom, stack, may_change=whom.is_local or allow_changes), port, _tell)


def _tell(address: str) -> None:
    notice("open this address in a browser; Ctrl-C ends it")
    show(address)
