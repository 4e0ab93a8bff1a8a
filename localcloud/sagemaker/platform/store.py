"""Documents on disk: one JSON file each, written atomically, cached in memory, safe between threads.

A document that is new is refused while the disk is full. A change of one that is there (a job ends) holds, and its file
follows when there is room.

A document is what the API describes, in its wire form (timestamps are epoch seconds as numbers). Names are
looked up without regard to case, because SageMaker's ARNs are lower case.
"""

from __future__ import annotations

import copy
import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from localcloud import disk, packs

Document = dict[str, Any]
logger = logging.getLogger(__name__)


class Store:
    """`<root>/<kind>/<name>.json`. Every value handed out or taken in is a copy, but for those of `view`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.RLock()
        self._kinds: dict[str, dict[str, Document]] = {}
        self._unsaved: set[tuple[str, str]] = set()

    def get(self, kind: str, name: str) -> Document | None:
        with self._lock:
            return copy.deepcopy(self._load(kind).get(name.lower()))

    def create(self, kind: str, name: str, document: Document) -> bool:
        """Return False, and write nothing, when the name is taken."""
        with self._lock:
            if name.lower() in self._load(kind):
                return False
            self._save(kind, name, document)
            self._load(kind)[name.lower()] = copy.deepcopy(document)
            return True

    def put(self, kind: str, name: str, document: Document) -> None:
        with self._lock:
            self._write(kind, name, document)

    def update(self, kind: str, name: str, change: Callable[[Document], None]) -> Document:
        """Apply `change` to the document in one step; KeyError when there is none. Returns the new document."""
        with self._lock:
            document = copy.deepcopy(self._load(kind)[name.lower()])
            change(document)
            self._write(kind, name, document)
            return document

    def delete(self, kind: str, name: str) -> bool:
        """Return False when there was none."""
        with self._lock:
            if self._load(kind).pop(name.lower(), None) is None:
                return False
            self._path(kind, name).unlink(missing_ok=True)
            return True

    def all(self, kind: str) -> list[Document]:
        """Return every document of the kind, in no particular order."""
        with self._lock:
            return copy.deepcopy(list(self._load(kind).values()))

    def view(self, kind: str) -> list[Document]:
        """Return what `all` does without copying it: to be read only. A change of a document makes a new one."""
        with self._lock:
            return list(self._load(kind).values())

    def _load(self, kind: str) -> dict[str, Document]:
        if kind not in self._kinds:
            documents = {unquote(path.stem): document for path, document in self._read(kind)}
            self._kinds[kind] = {name: document for name, document in documents.items() if document is not None}
        return self._kinds[kind]

    def _write(self, kind: str, name: str, document: Document) -> None:
        self._load(kind)[name.lower()] = copy.deepcopy(document)
        self._unsaved.add((kind, name.lower()))
        self.flush()

    def flush(self) -> None:
        """Write what has changed; what finds no room waits for the next time."""
        with self._lock:
            for kind, name in list(self._unsaved):
                try:
                    if (document := self._load(kind).get(name)) is not None:
                        self._save(kind, name, document)
                except OSError as error:
                    if not disk.is_full(error):
                        raise
                    logger.warning("%s %s is not saved yet: %s", kind, name, disk.full(self._root))
                else:
                    self._unsaved.discard((kind, name))

    def pack(self) -> None:
        """Spare the next start what was written since the last one. For the end, when nothing more is written."""
        with self._lock:
            for kind in self._kinds:
                list(self._read(kind))

    def _read(self, kind: str) -> Iterator[tuple[Path, Document | None]]:
        folder = self._root / kind
        if not folder.is_dir():
            return iter(())
        return packs.read(folder, ".json", _document, folder / ".pack")

    def _save(self, kind: str, name: str, document: Document) -> None:
        disk.write_whole(self._path(kind, name), json.dumps(document).encode())

    def _path(self, kind: str, name: str) -> Path:
        return self._root / kind / f"{quote(name.lower(), safe='')}.json"


def _document(path: Path) -> Document | None:
    """Return the document of a file; None where a power cut has come before the file was forced to the device."""
    try:
        document: Document = json.loads(path.read_bytes())
    except ValueError:
        logger.warning("%s cannot be read; it is left out", path)
        return None
    return document
