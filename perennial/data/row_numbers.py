"""Numbers of rows, one or more for each, which memory need not hold: in a file from some size on, in pieces always.

What says something of each row of a run has as many entries as there are rows, and nothing bounds these. So it is
written as rows come, and looked at a piece at a time. An array of NumPy can stand wherever it is only looked at.
"""

from __future__ import annotations

import io
import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import numpy.typing as npt

PIECE = 1 << 18  # rows that are looked at at once
IN_MEMORY = 4 << 20  # bytes of one kind of numbers; more are in a file

Numbers = npt.NDArray[Any]


class OfRows(Protocol):
    """Something of each row, in their order."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice) -> Numbers: ...


class RowNumbers:
    """Numbers of a type, in the order of rows: an unnamed file below a folder, and memory as long as they are few.

    What is read is a copy, and stays as it is. One thread may use them.
    """

    def __init__(self, dtype: npt.DTypeLike, folder: Path | None = None, in_memory: int | None = None) -> None:
        self.dtype = np.dtype(dtype)
        self._folder, self._most = folder, IN_MEMORY if in_memory is None else in_memory
        self._file: IO[bytes] = io.BytesIO()
        self._count = 0

    def __del__(self) -> None:
        self.close()

    def __len__(self) -> int:
        return self._count

    def append(self, numbers: Numbers) -> None:
        """Add those of the next rows."""
        self._write(self._count, numbers)
        self._count += len(numbers)

    def __getitem__(self, rows: slice) -> Numbers:
        """Return those of some rows that follow each other."""
        start, stop, _ = rows.indices(self._count)
        self._file.seek(start * self.dtype.itemsize)
        return np.frombuffer(self._file.read(max(0, stop - start) * self.dtype.itemsize), self.dtype)

    def __setitem__(self, rows: slice, numbers: Any) -> None:
        """Replace those of some rows that follow each other, by others or by one that is the same for all."""
        start, stop, _ = rows.indices(self._count)
        if isinstance(numbers, np.ndarray):
            self._write(start, numbers)
            return
        for first in range(start, stop, PIECE):
            self._write(first, np.full(min(PIECE, stop - first), numbers, self.dtype))

    def cut(self, count: int) -> None:
        """Keep the first ones alone."""
        self._count = count

    def put(self, rows: npt.NDArray[Any], number: int) -> None:
        """Give the rows at some places `(n,)`, which ascend, one number."""
        for start, some in _by_piece(rows):
            numbers = self[start : start + PIECE].copy()
            numbers[some - start] = number
            self._write(start, numbers)

    def close(self) -> None:
        """Give back what the numbers take."""
        self._file.close()

    def _write(self, start: int, numbers: Numbers) -> None:
        self._file.seek(start * self.dtype.itemsize)
        _write_all(self._file, np.ascontiguousarray(numbers, self.dtype).view(np.uint8).data)
        if isinstance(self._file, io.BytesIO) and self._file.tell() > self._most:
            # Without a buffer, which hundreds of files would have each. Open as long as it is used.
            in_memory, self._file = self._file, tempfile.TemporaryFile(buffering=0, dir=self._folder)  # noqa: SIM115
            _write_all(self._file, in_memory.getbuffer())


def _write_all(file: IO[bytes], rest: memoryview) -> None:
    """Write all of some bytes: a file without a buffer takes as many as there is room for. Raises OSError."""
    while len(rest):
        rest = rest[file.write(rest) :]


class Each:
    """What a function makes of numbers of rows, whenever they are looked at; it takes pieces, one of each."""

    def __init__(self, make: Callable[..., Numbers], *numbers: OfRows) -> None:
        self._make, self._numbers = make, numbers

    def __len__(self) -> int:
        return len(self._numbers[0])

    def __getitem__(self, rows: slice) -> Numbers:
        return self._make(*(some[rows] for some in self._numbers))


class Within:
    """Whether rows are in some of the ranges of them, which ascend and have no row in common."""

    def __init__(self, ranges: Sequence[slice], count: int) -> None:
        self._ranges, self._count = ranges, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, rows: slice) -> Numbers:
        start, stop, _ = rows.indices(self._count)
        mask = np.zeros(max(0, stop - start), np.bool_)
        for one in self._ranges[bisect_right(self._ranges, start, key=lambda one: one.stop) :]:
            if one.start >= stop:
                break
            mask[max(0, one.start - start) : one.stop - start] = True
        return mask


class Among:
    """Whether rows are among some, `(n,)`, which ascend."""

    def __init__(self, some: npt.NDArray[np.int64], count: int) -> None:
        self._some, self._count = some, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, rows: slice) -> Numbers:
        start, stop, _ = rows.indices(self._count)
        mask = np.zeros(max(0, stop - start), np.bool_)
        begin, end = np.searchsorted(self._some, [start, stop])
        mask[self._some[begin:end] - start] = True
        return mask


def pieces(numbers: OfRows) -> Iterator[tuple[int, Numbers]]:
    """Yield where each piece begins, and the numbers in it."""
    for start in range(0, len(numbers), PIECE):
        yield start, numbers[start : start + PIECE]


def taken(numbers: OfRows, rows: npt.NDArray[np.int64]) -> Numbers:
    """Return the numbers of the rows at some places `(n,)`, which ascend."""
    some = [numbers[start : start + PIECE][chosen - start] for start, chosen in _by_piece(rows)]
    return np.concatenate(some) if some else numbers[0:0]


def count_true(mask: OfRows) -> int:
    """Return how many rows a mask holds."""
    return sum(int(np.count_nonzero(piece)) for _, piece in pieces(mask))


def _by_piece(rows: npt.NDArray[Any]) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Yield where each piece begins that has some of the rows, and these."""
    begin = 0
    while begin < len(rows):
        start = int(rows[begin]) // PIECE * PIECE
        end = int(np.searchsorted(rows, start + PIECE))
        yield start, rows[begin:end]
        begin = end
