"""The command and what all its parts have in common: errors in words, exit codes, versions."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from perennial_cli.console import FAILED, USAGE, WrongUseError

EPILOG = (
    "Exit codes: 0 done; 1 failed, or the answer is no (a run failed, a model was rejected, a file cannot be used, "
    "what was named is not in the account or is refused); 2 wrong use (words that mean nothing, or name a file, a "
    "model or a column that is not here); 130 interrupted."
)

_WRONG_USE: Any = typer.BadParameter.__base__  # UsageError, for which Typer has no public name
TYPERS_OWN = (typer.Exit, typer.Abort, _WRONG_USE)


@dataclass(frozen=True)
class Entry:
    """A command whose module is imported when it is called: who wants the list of them does not wait for all.

    place     of its function, or of the group
    summary   the first line of its help
    settings  of its context
    """

    place: str
    summary: str
    settings: dict[str, Any] = field(default_factory=dict)

    def loaded(self, name: str) -> Any:
        """Return the command as Typer makes it of its function."""
        module, _, attribute = self.place.rpartition(".")
        wanted = getattr(importlib.import_module(module), attribute)
        if not isinstance(wanted, typer.Typer):
            function, wanted = wanted, typer.Typer(add_completion=False)
            wanted.command(name, context_settings=self.settings)(function)
        command = typer.main.get_command(wanted)
        command.name, command.short_help = name, self.summary
        return command


PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
COMMANDS = {
    "A model from files": {
        "init": Entry("perennial_cli.commands.proposing.init", "Look at files and write a model's definition."),
        "try": Entry(
            "perennial_cli.commands.trying.try_",
            "Try a definition and its features.py against files, without a deployment.",
        ),
        "analyze": Entry(
            "perennial_cli.commands.analyzing.analyze",
            "Say what files and a quick fit show of bias, and what its answers rest on, without a deployment.",
        ),
        "check": Entry(
            "perennial_cli.commands.checking.check", "Check definitions as a deployment does, and try their own code."
        ),
    },
    "Runs": {
        "drop": Entry(
            "perennial_cli.commands.running.drop",
            "Put a data file where a stack takes its data, and look at the run that it starts.",
        ),
        "ingest": Entry(
            "perennial_cli.commands.ingesting.ingest",
            "Put the rows of a CSV or Parquet file into a feature group of the stack's model, online and offline.",
        ),
        "run": Entry("perennial_cli.commands.running.run", "Start a run on the data that are there."),
        "follow": Entry("perennial_cli.commands.running.follow", "Look at a run until it has ended."),
        "runs": Entry(
            "perennial_cli.commands.running.runs", "List runs with their metrics and what was decided, or export them."
        ),
        "versions": Entry(
            "perennial_cli.commands.running.versions",
            "List the versions of the model in the model registry: each has passed the gate in a run.",
        ),
        "approve": Entry(
            "perennial_cli.commands.approving.approve",
            "Approve a version of the model: it is deployed, at once or by the run that waits.",
        ),
        "reject": Entry(
            "perennial_cli.commands.approving.reject",
            "Reject a version of the model: the run that waits ends; one in service goes.",
        ),
        "rollback": Entry(
            "perennial_cli.commands.approving.rollback",
            "Go back to an earlier version: reject the one in service, so that the newest approved one is deployed.",
        ),
        "promote": Entry(
            "perennial_cli.commands.promoting.promote",
            "Bring an approved version of the model to another environment, which deploys it.",
        ),
        "show": Entry(
            "perennial_cli.commands.running.show_run",
            "Show one run whole: what it was made of, what it measured and decided, how long it took.",
        ),
        "compare": Entry(
            "perennial_cli.commands.running.compare",
            "Say what differs between two runs: metrics, importances, data, gate, configuration and code.",
        ),
        "reproduce": Entry(
            "perennial_cli.commands.running.reproduce",
            "Run the same again from a run's record, and compare the metrics to the last digit.",
        ),
    },
    "What serves": {
        "score": Entry(
            "perennial_cli.commands.scoring.score",
            "Score a file by the newest approved model: drop it, follow, fetch the result.",
        ),
        "batches": Entry(
            "perennial_cli.commands.scoring.batches", "List files that were to be scored in batch, and how that ended."
        ),
        "monitor": Entry(
            "perennial_cli.commands.watching.monitor",
            "Judge requests now: what came since the last window, or between two times.",
        ),
        "windows": Entry(
            "perennial_cli.commands.watching.windows",
            "List windows of requests that the monitor has judged, with verdict and first reason.",
        ),
        "predict": Entry(
            "perennial_cli.commands.serving.predict", "Ask the endpoint about a record, a file or standard input."
        ),
        "openapi": Entry(
            "perennial_cli.commands.serving.openapi",
            "Print the OpenAPI document of a stack's API: what records it takes, and what it answers.",
        ),
        "explain": Entry(
            "perennial_cli.commands.running.explain",
            "Go from the endpoint that serves back to the model, the run, its configuration and its data.",
        ),
    },
    "Stacks": {
        "deploy": Entry(
            "perennial_cli.commands.stacks.deploy",
            "Check a model, build its stack and deploy it, to the local cloud or to AWS.",
        ),
        "smoke": Entry(
            "perennial_cli.commands.stacks.smoke",
            "Try a deployed stack: start a run on the data that are there, and ask its endpoint about an example.",
        ),
        "deployments": Entry(
            "perennial_cli.commands.stacks.list_deployments",
            "List the deployments of a stack: when, who, which commit, what it changed.",
        ),
        "stack-drift": Entry(
            "perennial_cli.commands.stacks.stack_drift",
            "Look whether somebody has changed the stack's resources beside deployments.",
        ),
        "delete": Entry("perennial_cli.commands.stacks.delete", "Delete a stack and everything that its runs made."),
        "console": Entry(
            "perennial_cli.web.command.console",
            "Open a page on this machine that shows it all: runs, versions, drift, lineage, logs; Ctrl-C ends it.",
        ),
        "cost": Entry(
            "perennial_cli.commands.costing.cost",
            "Say what a run and a month will cost; with a run, what that has cost.",
        ),
        "erase": Entry(
            "perennial_cli.commands.rows.erase", "Show where rows of somebody are, and with --yes erase them."
        ),
        "copy-data": Entry(
            "perennial_cli.commands.rows.copy_data",
            "Copy data files to a stack, in the order of their drops: they keep their times.",
        ),
        "notebook": Entry(
            "perennial_cli.commands.notebook.notebook", "Open Jupyter on the project's notebooks.", PASSED_ON
        ),
        "local": Entry(
            "perennial_cli.commands.local.app", "AWS on this machine: up, down, status, env, mail, logs, faults."
        ),
    },
}
_ENTRIES = {name: entry for panel in COMMANDS.values() for name, entry in panel.items()}


class Commands(TyperGroup):
    """Commands whose known errors end in words, with the exit code of a failure."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return what Typer does, with the command itself in the place of its entry."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and _ENTRIES[str(name)].loaded(str(name)), rest

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the words; what no service and no terminal takes is refused."""
        for word in args:
            if "\0" in word or not word.encode(errors="replace").decode() == word:
                raise typer.BadParameter(f"got {word!a}; expected text in UTF-8", ctx)
        return list(super().parse_args(ctx, args))

    def invoke(self, ctx: Any) -> Any:
        try:
            try:
                return super().invoke(ctx)
            finally:
                sys.stdout.flush()
        except BrokenPipeError:  # whoever read the output, `head` for example, has had enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(FAILED) from None
        except TYPERS_OWN:
            raise
        except EOFError as error:  # of a file: Typer would take it for a person who ends the input, and say "Aborted."
            raise RuntimeError("the data of a file end too early") from error
        except Exception as error:
            from perennial_cli.failures import is_put_in_words

            if is_put_in_words(error):
                raise typer.Exit(USAGE if isinstance(error, WrongUseError) else FAILED) from error
            raise


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
    from importlib import metadata  # a tenth of a second

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


def _entry() -> None:
    """Stand for a command until it is called."""


for _panel, _entries in COMMANDS.items():
    for _name, _one in _entries.items():
        app.command(_name, help=_one.summary, rich_help_panel=_panel)(_entry)


@cache
def whole() -> Any:
    """Return the command with all commands in it, for what describes them."""
    group: Any = typer.main.get_command(app)
    group.commands = {name: entry.loaded(name) for name, entry in _ENTRIES.items()}
    return group


def run() -> None:
    """Run the command, as it is installed."""
    app(prog_name="perennial")
