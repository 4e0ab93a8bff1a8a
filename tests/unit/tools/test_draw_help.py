"""The page of the commands is made of their own help."""

import re

from perennial_cli.app import app
from tools import draw_help


def test_the_page_is_what_the_commands_say() -> None:
    assert draw_help.main(["--check"]) == 0


def test_every_command_has_its_section() -> None:
    sections = re.findall(r"^## `perennial ([\w-]+)`$", draw_help.page(), re.MULTILINE)
    assert sections == [*(command.name for command in app.registered_commands), "local"]


def test_every_command_says_what_it_is_for() -> None:
    said = dict(re.findall(r"^#+ `perennial ([\w -]+)`\n\n(.+)$", draw_help.page(), re.MULTILINE))
    assert [name for name, text in said.items() if not text.endswith((".", ":", "`")) and len(text) < 20] == []
