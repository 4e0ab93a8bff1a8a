"""Write docs/command.md from the commands' own help: python -m tools.draw_help [--check]."""

from __future__ import annotations

import html
import re
import sys
from argparse import Action, HelpFormatter
from collections.abc import Iterator
from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from localcloud.__main__ import command_line
from perennial_cli.app import whole
from tools.terminal import run

TARGET = Path(__file__).resolve().parents[1] / "docs" / "command.md"
TITLE = "The command `perennial`"
# What Typer says of a command that is passed on: nothing of what it takes.
_PASSED_ON = re.compile(r"(### `perennial local (\w+)`\n\n[^\n]+\n\n)\*\*Usage\*\*.+?(?=\n###|\Z)", re.DOTALL)


def page() -> str:
    """Return the page."""
    command = whole()
    context = typer.Context(command)
    drawn = html.unescape(get_docs_for_click(obj=command, ctx=context, name="perennial", title=TITLE)).strip() + "\n"
    return _PASSED_ON.sub(lambda section: section[1] + "".join(_local(section[2])), drawn)


def _local(name: str) -> Iterator[str]:
    """Yield what a command of the local cloud takes, as its own parser knows it."""
    parser = command_line()[1][name]
    parser.prog = f"perennial local {name}"
    actions = parser._actions
    formatter = HelpFormatter(parser.prog, width=10_000)
    formatter.add_usage(None, actions, parser._mutually_exclusive_groups, prefix="")
    yield f"**Usage**:\n\n```console\n$ {formatter.format_help().strip()}\n```\n"
    for title, is_option in (("Arguments", False), ("Options", True)):
        if lines := [_line(action) for action in actions if bool(action.option_strings) is is_option]:
            yield f"\n**{title}**:\n\n" + "".join(lines)


def _line(action: Action) -> str:
    value = "" if action.nargs == 0 else f" {action.metavar or action.dest.upper()}"
    names = ", ".join(action.option_strings) + value if action.option_strings else str(action.metavar or action.dest)
    choices = f": {', '.join(action.choices)}" if action.choices else ""
    return f"* `{names}`: {(action.help or '') % {'default': action.default}}{choices}\n"


def main(argv: list[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else argv
    if arguments == ["--check"]:
        if TARGET.is_file() and TARGET.read_text() == page():
            return 0
        print(f"{TARGET.name} is not what the commands say; write it anew: python -m tools.draw_help", file=sys.stderr)
        return 1
    TARGET.write_text(page())
    return 0


if __name__ == "__main__":
    run(main)
