"""The end of the programs in tools/."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn


def run(main: Callable[..., int], *arguments: list[str]) -> NoReturn:
    """Exit with the code that a program's main returns; with 0 where its reader has closed the pipe.

    As `head` does: there is no message then, and no traceback.
    """
    try:
        try:
            code = main(*arguments)
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)
