"""The command `perennial`, called as a person calls it."""

import sys

from typer.testing import CliRunner, Result

from perennial_cli.app import app


def exit_code(*words: object) -> int:
    """Run the command and print what it prints, but for the line that says whom it speaks to; return its exit code."""
    result = perennial(*words)
    print(result.stdout, end="")
    print(result.stderr.partition("\n")[2], end="", file=sys.stderr)
    return result.exit_code


def perennial(*words: object, typed: str | bytes | None = None) -> Result:
    """Run the command with some words; return what it printed, and its exit code."""
    result = CliRunner().invoke(app, [str(word) for word in words], input=typed)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def says(result: Result, text: str) -> bool:
    """Return whether a text is in what the command printed as errors, wherever a frame has broken its lines."""
    return "".join(text.split()) in "".join(result.stderr.replace("│", " ").split())
