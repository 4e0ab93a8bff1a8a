"""What commands print: results on standard output, everything else on standard error.

What draws is imported where something is drawn: completions draw nothing.
"""

from __future__ import annotations

import json
import sys
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from perennial.words import printable

if TYPE_CHECKING:
    from rich.console import Console

FAILED, USAGE, INTERRUPTED = 1, 2, 130
LONGEST_CELL = 100  # of a column of sentences
LONGEST_LINE = 2_000
Item = TypeVar("Item")
UNBROKEN = 1_000_000  # columns
SECONDS_OF_A_STEP, SECONDS_OF_A_LINE = 0.1, 10.0  # that are shown at least, at a terminal and elsewhere


class CommandError(Exception):
    """What was asked cannot be done; the text says why, and what to do."""


class WrongUseError(CommandError):
    """The words mean nothing, or name a model or a column that is not here."""


def _output() -> Console:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def _notices() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def is_terminal() -> bool:
    """Return whether somebody can be asked."""
    return sys.stdin.isatty()


def safe(text: str) -> str:
    """Return a text of others without what a terminal would obey."""
    return "\n".join(printable(line, LONGEST_LINE) for line in text.split("\n"))


def show(text: str = "") -> None:
    """Print a line of the result."""
    _output().print(safe(text), markup=False)


def show_json(document: Any) -> None:
    """Print a result for machines."""
    sys.stdout.write(as_text(document))


def as_text(document: Any) -> str:
    """Return a result for machines as JSON."""
    from perennial.runs.record import json_safe

    return json.dumps(json_safe(document), indent=2, default=str, ensure_ascii=False) + "\n"


def write_file(path: Path, text: str) -> None:
    """Write a result into a file. Raises CommandError, which names it."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror}") from error


def notice(text: str, style: str = "dim") -> None:
    """Print what is no part of the result."""
    _notices().print(safe(text), style=style, markup=False)


def complain(text: str) -> None:
    """Print an error."""
    _notices().print(f"[red]error:[/red] {_escaped(text)}")


def warn(text: str) -> None:
    """Print what a person should look at."""
    _notices().print(f"[yellow]{_escaped(text)}[/yellow]")


def _escaped(text: str) -> str:
    """Return a text of others as what rich prints as it is."""
    from rich.markup import escape

    return escape(safe(text))


def short(text: str) -> str:
    """Return a text of at most LONGEST_CELL characters, cut at the end of a word."""
    return textwrap.shorten(text, LONGEST_CELL, placeholder=" ...")


def table(*names: str, rows: Iterable[Iterable[str]], right: Iterable[str] = (), in_blocks: bool = False) -> None:
    """Print rows under names; columns named in `right` hold numbers.

    Names that are one word, and what stands in a column `run`, are never broken: people copy ids. Where the output is
    no terminal no line is broken. `in_blocks`: where the terminal is too narrow each row is several lines instead.
    """
    from rich.console import Console
    from rich.table import Table

    drawn = Table(box=None, pad_edge=False, header_style="bold")
    cells = [[_escaped(cell) for cell in row] for row in rows]
    for place, name in enumerate(names):
        words = [*name.split(), *(row[place] for row in cells if name == "run")]
        widest = max(map(len, words), default=0)
        drawn.add_column(name, justify="right" if name in right else "left", overflow="fold", min_width=widest)
    for row in cells:
        drawn.add_row(*row)
    console = Console(highlight=False)
    wanted = console.measure(drawn, options=console.options.update(width=UNBROKEN)).maximum
    if in_blocks and console.is_terminal and wanted > console.width:
        _blocks(names, cells)
        return
    if not console.is_terminal:
        console.width = max(console.width, wanted)
    console.print(drawn)
    if not cells:
        notice("none yet")


def _blocks(names: Sequence[str], cells: Iterable[Sequence[str]]) -> None:
    """Print what stands first in each row, and below it the rest, a name and a value a line."""
    width = max(map(len, names[1:])) + 2
    for first, *rest in cells:
        _output().print(f"[bold]{first}[/bold]")
        for name, cell in zip(names[1:], rest, strict=True):
            _output().print(f"  {_escaped(name):<{width}}{cell}")


def pairs(document: Mapping[str, str]) -> None:
    """Print names and values, a line each; further lines of a value begin where it does."""
    width = max(map(len, document), default=0) + 2
    for name, value in document.items():
        text = _escaped(value).replace("\n", f"\n{' ' * width}")
        _output().print(f"[bold]{_escaped(name):<{width}}[/bold]{text}")


@contextmanager
def working(text: str) -> Iterator[Callable[[str], None]]:
    """Show that something takes time; yields what tells the step that is done now.

    Where nobody looks at a terminal, a line now and then says that it goes on.
    """
    console = _notices()
    if not console.is_terminal:
        yield _now_and_then(lambda step: notice(f"{text}: {step}"), SECONDS_OF_A_LINE)
        return
    with console.status(text) as status:
        yield _now_and_then(lambda step: status.update(f"{text}: {step}"), SECONDS_OF_A_STEP)


def _now_and_then(tell: Callable[[str], None], seconds: float) -> Callable[[str], None]:
    """Return what tells a step, if none was told for so long."""
    last = time.monotonic()

    def step(name: str) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= seconds:
            last = now
            tell(name)

    return step


def each(items: Iterable[Item], total: int, text: str) -> Iterator[Item]:
    """Yield items one by one, and show how many are done where a person looks."""
    with working(text) as step:
        for number, item in enumerate(items, 1):
            yield item
            step(f"{number:,} of {total:,}")
