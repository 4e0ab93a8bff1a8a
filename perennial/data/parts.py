"""Writing a set in parts of bounded size."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO


@dataclass(frozen=True)
class Placed:
    """Bytes of a part, and from which one of it on they stand."""

    path: Path
    start: int
    data: bytes | memoryview

    def write(self) -> None:
        """Write them."""
        rest, start = memoryview(self.data), self.start
        file = os.open(self.path, os.O_WRONLY)
        try:
            while rest:
                written = os.pwrite(file, rest, start)
                rest, start = rest[written:], start + written
        finally:
            os.close(file)


def write_all(some: Iterable[Placed]) -> None:
    """Write what is placed; any thread may."""
    for one in some:
        one.write()


class PartWriter:
    """Writes rows as part-00000.csv, part-00001.csv, ... of at most `rows_per_part` rows each.

    named  what the names begin with, where several writers share a folder

    Rows are written in their order, or placed, so that others write them in any order.
    """

    def __init__(
        self, folder: Path, suffix: str, rows_per_part: int, header: bytes = b"", *, named: str = "part-"
    ) -> None:
        self._folder, self._suffix, self._header, self._named = folder, suffix, header, named
        self._rows_per_part, self._rows, self._part = rows_per_part, 0, -1
        self._file: IO[bytes] | None = None
        self._placing: Path | None = None
        self._end = 0
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def room(self) -> int:
        """Rows that still fit into the part."""
        return self._rows_per_part - self._rows if self._file or self._placing else self._rows_per_part

    def write(self, rows: int, data: bytes | memoryview) -> None:
        """Write rows that fit into the part; the next ones start a new part when it is full."""
        if self._file is None:
            self._file = self._next().open("wb")
            self._file.write(self._header)
        self._file.write(data)
        self._rows += rows
        if self._rows >= self._rows_per_part:
            self.close()

    def place(self, rows: int, data: bytes | memoryview) -> Placed:
        """Return where rows that fit into the part belong; the next ones start a new part when it is full."""
        if self._placing is None:
            self._placing = self._next()
            self._placing.write_bytes(self._header)
            self._end = len(self._header)
        placed = Placed(self._placing, self._end, data)
        self._end += len(data)
        self._rows += rows
        if self._rows >= self._rows_per_part:
            self._placing = None
        return placed

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _next(self) -> Path:
        """Begin a part, and return where it is."""
        self._part += 1
        self._rows = 0
        return self._folder / f"{self._named}{self._part:05d}{self._suffix}"
