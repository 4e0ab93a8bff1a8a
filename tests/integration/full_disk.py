"""A local cloud that finds no room for a new file or folder while a file says so. Run as a server process.

The file holds a text; only paths of the state folder in which it occurs are refused. Works on every system, where a
small file system can be mounted on some.
"""

import errno
import os
import sys
from pathlib import Path
from typing import Any

from localcloud.engine.server import run
from localcloud.settings import Settings

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def refuse(state: Path, flag: Path) -> None:
    """From now on, for as long as this process lives."""

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event != "os.mkdir" and not (event == "open" and arguments[2] & WRITES):
            return
        path = os.fsdecode(arguments[0]) if isinstance(arguments[0], str | bytes) else ""
        if path.startswith(str(state)) and flag.exists() and flag.read_text() in path:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    sys.addaudithook(hook)


if __name__ == "__main__":
    folder = Path(sys.argv[2])
    refuse(folder, Path(sys.argv[3]))
    run(Settings(int(sys.argv[1]), folder))
