"""Which rows a metric is measured on again, to say how sure it is: the same rows have the same draws, every time.

Blocks are neighbours: an hour of one bad caller is not many independent errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]

RESAMPLES = 2000
MAX_BLOCKS = 500
ROWS_OF_ALL_DRAWS, FEWEST_DRAWS = 200_000, 400
LEFT_OUT = 200  # blocks, one of which is left out each time
SAMPLES, SAMPLE_SHARE = 5, 0.8


@lru_cache(maxsize=2)
def draws(blocks: int) -> npt.NDArray[np.float64]:
    """Return how often each block is in each draw of the bootstrap, `(RESAMPLES, blocks)`."""
    chosen = np.random.default_rng(0).integers(0, blocks, size=(RESAMPLES, blocks))
    chosen += np.arange(RESAMPLES)[:, None] * blocks
    times = np.bincount(chosen.ravel(), minlength=RESAMPLES * blocks).reshape(RESAMPLES, blocks)
    return times.astype(np.float64)


def starts(rows: int, most: int = MAX_BLOCKS) -> Rows:
    """Return where each block of neighbours begins: as many rows as blocks, where they are few."""
    return np.linspace(0, rows, min(most, rows), endpoint=False).astype(np.int64)


def samples(rows: int, seed: int = 0) -> Iterator[Rows]:
    """Yield SAMPLES samples of SAMPLE_SHARE of the rows, without putting back."""
    random = np.random.default_rng(seed)
    return (random.permutation(rows)[: int(rows * SAMPLE_SHARE)] for _ in range(SAMPLES))


def _whole(rows: int) -> Iterator[Rows]:
    yield np.arange(rows)


def _without_blocks(rows: int) -> Iterator[Rows]:
    begins, every = starts(rows, LEFT_OUT), np.arange(rows)
    for begin, end in zip(begins, [*begins[1:], rows], strict=True):
        yield np.concatenate([every[:begin], every[end:]])


def _drawn(rows: int) -> Iterator[Rows]:
    """Of very many rows there are fewer draws: each of them measures as many."""
    begins, most = starts(rows), max(FEWEST_DRAWS, RESAMPLES * ROWS_OF_ALL_DRAWS // rows)
    sizes = np.diff([*begins, rows])
    for times in draws(begins.size)[:most]:
        yield np.repeat(np.arange(rows), np.repeat(times.astype(np.int64), sizes))


# By what it is for: the rows, the jackknife, the bootstrap, and the standard deviation in Model Monitor's format.
ROW_SETS: Mapping[str, Callable[[int], Iterator[Rows]]] = {
    "whole": _whole,
    "without_blocks": _without_blocks,
    "drawn": _drawn,
    "samples": samples,
}
