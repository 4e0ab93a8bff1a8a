"""Writing a set in parts of bounded size."""

from __future__ import annotations

from pathlib import Path
from typing import IO


class PartWriter:
    """Writes rows as part-00000.csv, part-00001.csv, ... of at most `rows_per_part` rows each.

    named  what the names begin with, where several writers share a folder
    """

    def __init__(
        self, folder: Path, suffix: str, rows_per_part: int, header: bytes = b"", *, named: str = "part-"
    ) -> None:
        self._folder, self._suffix, self._header, self._named = folder, suffix, header, named
        self._rows_per_part, self._rows, self._part = rows_per_part, 0, -1
        self._file: IO[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def room(self) -> int:
        """Rows that still fit into the part."""
        return self._rows_per_part - self._rows if self._file else self._rows_per_part

    def write(self, rows: int, data: bytes | memoryview) -> None:
        """Write rows that fit into the part; the next ones start a new part when it is full."""
        if self._file is None:
            self._part += 1
            self._rows = 0
            self._file = (self._folder / f"{self._named}{self._part:05d}{self._suffix}").open("wb")
            self._file.write(self._header)
        self._file.write(data)
        self._rows += rows
        if self._rows >= self._rows_per_part:
            self.close()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
