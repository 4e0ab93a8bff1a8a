"""Work that has begun, in one file: noted before its request is answered, struck out when it is done.

What a process that was killed has left here is done at the next start, so everything in it may happen twice, as on
AWS, where EventBridge and Lambda promise that it happens at least once.
"""

import logging
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from localcloud import disk

Entry = dict[str, Any]
Resume = Callable[[str, Entry], None]
_LARGEST_BYTES = 1 << 18
logger = logging.getLogger(__name__)


class Journal:
    """The file, and its entries that are not done. An entry has the fields `kind` and `scope` (account, region).

    While the disk is full entries are in memory only, and `error` is why; `waits` is called, so that `save` follows.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.waits: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._size = self._needed = 0
        self.error: OSError | None = None
        for change in disk.documents(path):
            self._change(change)
        self._earlier = dict(self._entries)
        if path.exists():
            self._rewrite()

    def note(self, *entries: Entry, instead_of: str = "") -> list[str]:
        """Write down what is to be done, all of it at once; returns the names by which it is struck out.

        What it follows from (`instead_of`) is struck out in the same step, so that it happens once.
        """
        names = [str(uuid.uuid4()) for _ in entries]
        done: dict[str, Entry | None] = {instead_of: None} if instead_of else {}
        self._write({**done, **dict(zip(names, entries, strict=True))})
        return names

    def replace(self, name: str, entry: Entry) -> None:
        """Write an entry down as it is now."""
        self._write({name: entry})

    def strike(self, *names: str) -> None:
        """Strike out entries that are done."""
        self._write(dict.fromkeys(names))

    def earlier(self, kind: str) -> dict[str, Entry]:
        """Take out what an earlier process has left of a kind, by name; it is not resumed then."""
        entries = {name: entry for name, entry in self._earlier.items() if entry["kind"] == kind}
        self._earlier = {name: entry for name, entry in self._earlier.items() if name not in entries}
        return entries

    def save(self) -> None:
        """Write what waits for room. Raises OSError: it waits on."""
        with self._lock:
            if self.error:
                self._rewrite()

    def resume(self, kinds: dict[str, Resume], enter: Callable[..., AbstractContextManager[None]]) -> None:
        """Do what an earlier process has left; one entry that cannot be done does not keep the others from it.

        `enter` makes an entry's scope that of the block.
        """
        for name, entry in self._earlier.items():
            logger.warning("what was not done when the local cloud ended is done now: %s %s", entry["kind"], name)
            try:
                with enter(*entry["scope"]):
                    kinds[entry["kind"]](name, entry)
            except Exception:
                logger.exception("an entry could not be done: %.500s", entry)
                self.strike(name)

    def _write(self, change: Mapping[str, Entry | None]) -> None:
        if not change:
            return
        line = disk.line(change)
        with self._lock:
            self._change(change)
            try:
                if self.error or self._size > max(_LARGEST_BYTES, 3 * self._needed):
                    self._rewrite()
                else:
                    disk.append(self._path, line)
                    self._size += len(line)
            except OSError as error:
                if not self.error:
                    logger.exception("what is to be done is not written down")
                self.error = error
                self.waits()

    def _change(self, change: Mapping[str, Entry | None]) -> None:
        for name, entry in change.items():
            if entry is None:
                self._entries.pop(name, None)
            else:
                self._entries[name] = entry

    def _rewrite(self) -> None:
        content = b"".join(disk.line({name: entry}) for name, entry in self._entries.items())
        disk.write_whole(self._path, content)
        self._size = self._needed = len(content)
        self.error = None
