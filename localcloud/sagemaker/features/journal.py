"""Documents in a file, one a line: added at its end, read whole when the local cloud has started."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from localcloud import disk
from localcloud.sagemaker.platform.store import Document


class Journal:
    """One file, which one thread at a time changes. What a crash has torn is as if it had never been.

    Each document begins a line, so that the next one is none of a torn one's.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def add(self, document: Document) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        disk.append(self._path, b"\n" + json.dumps(document).encode())

    def read(self) -> Iterator[Document]:
        if not self._path.exists():
            return
        with self._path.open("rb") as lines:
            for line in lines:
                try:
                    yield json.loads(line)
                except ValueError:
                    continue

    def replace(self, documents: Iterable[Document]) -> None:
        """Have these documents alone, in one step. Raises OSError: there is no room, and nothing has changed."""
        disk.write_whole(self._path, b"".join(b"\n" + json.dumps(document).encode() for document in documents))

    def delete(self) -> None:
        self._path.unlink(missing_ok=True)
