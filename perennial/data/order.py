"""Which number is the n-th of many, without having all of them in memory or in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

DIGIT = 16  # bits by which numbers are told at once
FEW = 1 << 20  # numbers that are sorted

Pieces = Callable[[], Iterator[npt.NDArray[Any]]]


class Ordered:
    """Numbers in ascending order, that come in pieces of any order: the same ones whenever they are asked for.

    They are of one type, integers of 64 bits or floating-point numbers, and none is NaN.
    """

    def __init__(self, numbers: Pieces) -> None:
        self._numbers = numbers
        self._count, ends = 0, []
        for piece in numbers():
            self._count += len(piece)
            ends += [piece.min(), piece.max()] if len(piece) else []
        self._ends = (min(ends), max(ends)) if ends else (0, 0)

    def __len__(self) -> int:
        return self._count

    def before(self, end: Any) -> Ordered:
        """Return those that are smaller than a number."""
        return Ordered(partial(_smaller, self._numbers, end))

    def tie(self, number: Any) -> tuple[int, int]:
        """Return where those begin and end that are as large as a number."""
        starts, ends = 0, 0
        for piece in self._numbers():
            starts += int(np.count_nonzero(piece < number))
            ends += int(np.count_nonzero(piece <= number))
        return starts, ends

    def __getitem__(self, place: int) -> Any:
        """Return the number at a place: by its first digits first, until few are left that begin with them."""
        if not 0 <= place < self._count:
            raise IndexError(place)
        low, high = (int(_keys(np.array([end]))[0]) for end in self._ends)
        left = self._count
        while left > FEW and low < high:
            shift = max(0, (high - low).bit_length() - DIGIT)
            counts = np.zeros(1 << DIGIT, np.int64)
            for keys, _ in self._within(low, high):
                counts += np.bincount(
                    ((keys - np.uint64(low)) >> np.uint64(shift)).view(np.int64), minlength=1 << DIGIT
                )
            ends = np.cumsum(counts)
            digit = int(np.searchsorted(ends, place, side="right"))
            left = int(counts[digit])
            place -= int(ends[digit]) - left
            low += digit << shift
            high = min(high, low + (1 << shift) - 1)
        some = [numbers for _, numbers in self._within(low, high)]
        if low == high:
            return next(numbers[0] for numbers in some if len(numbers))
        return np.partition(np.concatenate(some), place)[place]

    def _within(self, low: int, high: int) -> Iterator[tuple[npt.NDArray[np.uint64], npt.NDArray[Any]]]:
        """Yield keys of the numbers whose keys are between two, and the numbers."""
        for piece in self._numbers():
            keys = _keys(piece)
            mask = (keys >= np.uint64(low)) & (keys <= np.uint64(high))
            yield keys[mask], piece[mask]


def _smaller(numbers: Pieces, end: Any) -> Iterator[npt.NDArray[Any]]:
    for piece in numbers():
        yield piece[piece < end]


def _keys(numbers: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    """Return numbers without a sign that are in the same order."""
    sign = np.uint64(1 << 63)
    if numbers.dtype.kind != "f":
        return numbers.astype(np.int64).view(np.uint64) ^ sign
    bits = (numbers.astype(np.float64) + 0.0).view(np.uint64)  # zero has one sign
    return np.where(bits & sign, ~bits, bits | sign)
