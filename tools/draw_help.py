"""Write docs/command.md from the commands' own help: python -m tools.draw_help [--check]."""

from __future__ import annotations

import html
import sys
from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from perennial_cli.app import app
from tools.terminal import run

TARGET = Path(__file__).resolve().parents[1] / "docs" / "command.md"
TITLE = "The command `perennial`"


def page() -> str:
    """Return the page."""
    command = typer.main.get_command(app)
    context = typer.Context(command)
    return html.unescape(get_docs_for_click(obj=command, ctx=context, name="perennial", title=TITLE)).strip() + "\n"


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
