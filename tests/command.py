"""The command `perennial`, called as a person calls it."""

from typer.testing import CliRunner, Result

from perennial_cli.app import app


def perennial(*words: object, typed: str | None = None) -> Result:
    """Run the command with some words; return what it printed, and its exit code."""
    result = CliRunner().invoke(app, [str(word) for word in words], input=typed)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result
