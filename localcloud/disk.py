"""A disk that is nearly full, or full: refusing uploads, their error, and files that are whole or not there.

Large uploads are refused before the disk is full, so that there is room to say so and to save the state: an upload or
a copy while less than the reserve is free, or would be. What is small (records, state, mails, logs) still goes through,
until a write finds no room. AWS has no such error; clients do not repeat a 507 (RFC 4918, 11.5).
"""

import errno
import hashlib
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

RESERVE_VARIABLE = "LOCALCLOUD_DISK_RESERVE_MB"
CODE, STATUS = "InsufficientStorage", 507
_DEFAULT_RESERVE_MB = 128
_SMALL_BYTES = 64 * 1024
_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORCE_SECONDS = 0.5

Scope = dict[str, Any]
logger = logging.getLogger(__name__)


def problem(state: Path) -> str:
    """Return what is wrong with the disk of the state folder; empty when there is room."""
    return _problem(state, 0)


def refusal(scope: Scope, state: Path) -> str:
    """Return why a request is refused; empty when it is not."""
    if scope["type"] != "http" or scope["method"] != "PUT":
        return ""
    headers = dict(scope["headers"])
    size = int(headers.get(b"content-length", b"0") or 0)
    if size <= _SMALL_BYTES and b"x-amz-copy-source" not in headers and b"transfer-encoding" not in headers:
        return ""
    return _problem(state, size)


def is_full(error: BaseException) -> bool:
    """Return whether a write found no room."""
    return isinstance(error, OSError) and error.errno in _FULL


def full(folder: Path) -> str:
    """Return what is wrong, where, and what to do."""
    free = shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.exists())).free
    return (
        f"the disk of the local cloud is full: {free >> 20:,} MB are free at {folder}, and {_reserve() >> 20:,} MB of "
        f"them are kept for its state ({RESERVE_VARIABLE}). Free some space, then try again"
    )


def answer(why: str) -> bytes:
    """Return the body of the refusal, as S3 writes errors."""
    text = why.replace("&", "&amp;").replace("<", "&lt;")
    return f"<Error><Code>{CODE}</Code><Message>{text}</Message></Error>".encode()


def write_whole(path: Path, content: bytes, *, keep: bool = False) -> None:
    """Put the content in the file's place in one step; when that fails, what was there stays and nothing is left.

    It outlives the process as soon as this returns, and is forced to the device soon after: that takes milliseconds,
    and a run has a hundred such files. A power cut before that may leave it empty, or zeros of it: `keep` has the
    content that was forced last stay beside it (`forced`).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.draft")
    try:
        draft.write_bytes(content)
        draft.replace(path)
    except OSError:
        draft.unlink(missing_ok=True)
        raise
    _forcing.add(path, keep=keep)


def keep_forced(path: Path) -> None:
    """Have a file that is there forced soon, and kept as `write_whole` keeps one, unless it is already."""
    if path.exists() and not (forced(path).exists() and forced(path).samefile(path)):
        _forcing.add(path, keep=True)


def force() -> None:
    """Force now what is to be forced to the device soon, at the end of a process."""
    _forcing.force()


def forced(path: Path) -> Path:
    """Return where the content of a file is that was forced to the device last; none before the first time."""
    return path.with_name(f"{path.name}.forced")


class _Forcing:
    """Forces files to the device, each once however often it was replaced meanwhile, on a thread of its own.

    In the order in which they were written: what a file names is there before it.
    """

    def __init__(self) -> None:
        self._lock, self._turn = threading.Lock(), threading.Lock()
        self._paths: dict[Path, bool] = {}
        self._waits = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, path: Path, *, keep: bool) -> None:
        with self._lock:
            self._paths.pop(path, None)
            self._paths[path] = keep
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="localcloud-forcing", daemon=True)
                self._thread.start()
        self._waits.set()

    def force(self) -> None:
        """Force what waits; that is done when this returns, whoever has begun it."""
        with self._turn:
            with self._lock:
                paths, self._paths = self._paths, {}
            for path, keep in paths.items():
                try:
                    with path.open("rb") as file:
                        os.fsync(file.fileno())
                        if keep:
                            _keep(path, file.fileno())
                except FileNotFoundError:  # it was deleted since
                    pass
                except OSError:
                    logger.exception("%s may not survive a power cut", path)

    def _run(self) -> None:
        while self._waits.wait():
            time.sleep(_FORCE_SECONDS)
            self._waits.clear()
            self.force()


def _keep(path: Path, file: int) -> None:
    """Keep an open file as the one that was forced last, unless another has taken its place meanwhile."""
    link = path.with_name(f"{path.name}.link")
    link.unlink(missing_ok=True)
    os.link(path, link)
    if link.stat().st_ino == os.fstat(file).st_ino:
        link.replace(forced(path))
    else:
        link.unlink()


_forcing = _Forcing()


def append(path: Path, content: bytes) -> None:
    """Add to a file: all of it, or nothing when there is no room. One thread at a time writes to a path.

    It outlives the process as soon as this returns. It is not forced to the device: a power cut may take the last
    seconds, so whoever reads must bear a last line that is torn.
    """
    file = os.open(str(path), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        before = os.fstat(file).st_size
        written = 0
        try:
            written = os.write(file, content)
        finally:
            if written < len(content):
                os.ftruncate(file, before)
        if written < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(file)


def lines_of(folder: Path, *key: str) -> Path:
    """Return the file of JSON lines, in a folder of them, of what has a key of any characters."""
    return folder / f"{hashlib.sha256('/'.join(key).encode()).hexdigest()[:32]}.jsonl"


def line(document: Any) -> bytes:
    """Return a document as a line of such a file."""
    return json.dumps(document).encode() + b"\n"


def documents(
    path: Path, *, but: bytes | None = None, loads: Callable[[bytes], Any] = json.loads, cut: bool = True
) -> Iterator[Any]:
    """Yield the documents of a file's lines that do not begin with `but`, without what a power cut has left of one.

    `cut` is as in whole_lines.
    """
    for text in whole_lines(path, cut=cut):
        if but is None or not text.startswith(but):
            try:
                document = loads(text)
            except ValueError:
                logger.warning("%s has a line that cannot be read; it is left out", path)
            else:
                yield document


def whole_lines(path: Path, start: int = 0, *, cut: bool = True) -> list[bytes]:
    """Return the lines from a byte on that were written to their ends; none without the file.

    What follows the last one is cut off, for which nobody may write to the file meanwhile, or left as it is.
    """
    try:
        with path.open("rb") as file:
            file.seek(start)
            content = file.read()
    except FileNotFoundError:
        return []
    whole = content.rfind(b"\n") + 1
    if cut and whole < len(content):
        os.truncate(path, start + whole)
    return content[: whole - 1].split(b"\n") if whole else []


def _problem(state: Path, size: int) -> str:
    return "" if shutil.disk_usage(state).free - size >= _reserve() else full(state)


def _reserve() -> int:
    return int(os.environ.get(RESERVE_VARIABLE, _DEFAULT_RESERVE_MB)) << 20
