"""The page of the commands is made of their own help."""

import re

from perennial_cli.app import whole
from tools import draw_help


def test_the_page_is_what_the_commands_say() -> None:
    assert draw_help.main(["--check"]) == 0


def test_every_command_has_its_section() -> None:
    sections = re.findall(r"^## `perennial ([\w-]+)`$", draw_help.page(), re.MULTILINE)
    assert sections == list(whole().commands)


def test_no_summary_is_cut_and_no_name_has_brackets_twice() -> None:
    assert not re.search(r"^\* `.+\.\.\.$|\[\[|\{\{|\.\.\.\}", draw_help.page(), re.MULTILINE)


def test_what_a_command_of_the_local_cloud_takes_is_there() -> None:
    section = draw_help.page().partition("### `perennial local mail`")[2].partition("###")[0]
    assert "$ perennial local mail [-h] [--state STATE]" in section
    assert "* `number`: show this mail\n" in section
    assert "* `--latest`: show the newest mail" in section


def test_every_command_says_what_it_is_for() -> None:
    said = dict(re.findall(r"^#+ `perennial ([\w -]+)`\n\n(.+)$", draw_help.page(), re.MULTILINE))
    assert [name for name, text in said.items() if not text.endswith((".", ":", "`")) and len(text) < 20] == []
