"""Ending the processes of a server that has ended, however: functions, jobs and models.

A watcher holds the other end of a pipe, and learns of the server's end however that comes. The processes are known by
their TMPDIR, which is inside the state folder and which what they start inherits. The next start looks again, should
the watcher have been ended, too.
"""

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

_watchers: list[subprocess.Popen[bytes]] = []  # keeps their pipes open


def watch(state: Path) -> None:
    """Start the watcher. It ends with this process."""
    command, path = [sys.executable, "-I", __file__, str(state)], {"PATH": os.environ["PATH"]}
    _watchers.append(subprocess.Popen(command, stdin=subprocess.PIPE, env=path, start_new_session=True))


def end(state: Path) -> None:
    """Kill what a server of this state folder has left."""
    mark = re.compile(rf"\s*(\d+) .* TMPDIR={re.escape(str(state))}/(?:tmp|sagemaker/\S*)(?: |$)")
    listed = subprocess.run(["ps", "axeww", "-o", "pid=,command="], capture_output=True, text=True, check=False).stdout
    for match in filter(None, map(mark.match, listed.splitlines())):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(int(match[1]), signal.SIGKILL)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    end(Path(sys.argv[1]))
