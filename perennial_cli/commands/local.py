"""The local cloud, which says itself what its commands take: local up, down, status, env, mail, logs, faults."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand

from perennial_cli import project

CALLED = "LOCALCLOUD_CALLED"  # as localcloud reads it
COMMANDS = {
    "up": "Start the local cloud in the background, if it is not up.",
    "down": "Stop it; what it holds stays.",
    "status": "Say whether it is up (exit code 0) or down (1), and what it runs.",
    "env": 'Print what points this shell at it: eval "$(perennial local env)"; or run a command so: env -- COMMAND.',
    "mail": "List the mails that were sent, or show one: mail --latest.",
    "logs": "List the log groups, or show one: logs GROUP --follow.",
    "faults": "Make something fail on purpose, list what will, or clear it.",
}

# What the local cloud shows on its own port below /_console: localcloud/engine/mounted_page.py.
CONSOLE = {"LOCALCLOUD_CONSOLE": "perennial_cli.web.mounted:console"}


class PassedOn(TyperCommand):
    """A command whose words go on as they are: Click would take out the `--` before a command that is run."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        ctx.args = args
        return args


app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="AWS on this machine: up, down, status, env, mail, logs, faults."
)


def _passed_on(name: str) -> Callable[[typer.Context], None]:
    def command(context: typer.Context) -> None:
        python = project.program("dev", "bin", "python")
        if name == "up":
            project.program("image", "bin", "python")  # the jobs' own
        sys.stdout.flush()
        arguments = [str(python), "-m", "localcloud", name, *context.args]
        variables = {**CONSOLE, **os.environ, CALLED: "perennial local"}
        ended = subprocess.run(arguments, cwd=project.required(), env=variables, check=False)
        raise typer.Exit(ended.returncode)

    return command


for _name, _help in COMMANDS.items():
    app.command(_name, cls=PassedOn, help=_help, short_help=_help)(_passed_on(_name))
