"""Texts of numbers with two decimals at most, such as prices, in a third of the time that any number takes.

What a number is in hundredths has up to ten digits, which are looked up: four, four and two at once.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

MOST = 10**10  # hundredths, that is digits. Of up to 15 no two decimals are the same number
_FOUR = 10_000


class _Digits(NamedTuple):
    """Digits as texts of up to four characters each, filled up with zero bytes, `(n_texts,)`, and how long they are."""

    characters: npt.NDArray[np.uint32]
    lengths: npt.NDArray[np.int32]


def text_of_hundredths(array: pa.DoubleArray) -> pa.StringArray | None:
    """Return numbers as their shortest decimals; None where one is missing, negative, larger or has more decimals."""
    if array.null_count:
        return None
    numbers = array.to_numpy()
    if np.signbit(numbers).any() or not (numbers < MOST / 100).all():
        return None
    rounded = np.rint(numbers * 100)
    if not (rounded / 100 == numbers).all():
        return None
    hundredths = rounded.astype(np.int64)
    whole = hundredths // 100
    high = whole // _FOUR
    places = (high, whole - high * _FOUR + (high > 0) * _FOUR, hundredths - whole * 100)
    characters = np.empty((len(numbers), 3), np.uint32)
    ends = np.zeros(len(numbers) + 1, np.int32)
    for column, (texts, place) in enumerate(zip(_texts(), places, strict=True)):
        characters[:, column] = texts.characters[place]
        ends[1:] += texts.lengths[place]
    np.cumsum(ends, out=ends)
    text = characters.tobytes().translate(None, b"\0")
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(ends), pa.py_buffer(text))


@cache
def _texts() -> tuple[_Digits, _Digits, _Digits]:
    """Return those of the high digits, of the low ones, again with zeros before them, and of the decimals."""
    numbers, tens = np.arange(_FOUR)[:, None], np.array([1000, 100, 10, 1])
    padded = (numbers // tens % 10 + ord("0")).astype(np.uint8)
    high = np.where(numbers >= tens, padded, np.uint8(0))
    low = np.where(numbers >= tens - (tens == 1), padded, np.uint8(0))  # 0 is a digit
    decimals = [f".{number:02d}".rstrip("0.").encode().ljust(4, b"\0") for number in range(100)]
    return _of(high), _of(np.concatenate([low, padded])), _of(np.frombuffer(b"".join(decimals), np.uint8))


def _of(characters: npt.NDArray[np.uint8]) -> _Digits:
    each = characters.reshape(-1, 4)
    return _Digits(each.view(np.uint32).ravel(), np.count_nonzero(each, axis=1).astype(np.int32))
