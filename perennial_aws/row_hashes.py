"""The hashes by which a run's rows are told (perennial.data.rows), as the run has left them."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Iterator

import numpy as np

from perennial.data.rows import FOLDER, Hashes
from perennial.evaluation import comparison
from perennial_aws import objects


class OutOfTimeError(Exception):
    """Reading the hashes of a run takes longer than whoever asked has time."""


class SeenRows:
    """The hashes of the rows that a run's model has seen, piece by piece; `rows` counts them.

    until  of the monotonic clock: later pieces raise OutOfTimeError
    """

    def __init__(self, run: str, until: float = math.inf) -> None:
        self._run, self._until, self.rows = run, until, 0

    def __iter__(self) -> Iterator[Hashes]:
        for piece in _in_time(f"{self._run}/{FOLDER}/seen/", self._until):
            self.rows += piece.size
            yield piece


def _in_time(prefix_uri: str, until: float) -> Iterator[Hashes]:
    for piece in objects.read_hashes(prefix_uri):
        if time.monotonic() > until:
            raise OutOfTimeError
        yield piece


def hashes_of(run: str, folder: str) -> Hashes:
    """Return all hashes of one kind: test, target, rest, ..."""
    return np.concatenate([*objects.read_hashes(f"{run}/{FOLDER}/{folder}/"), np.empty(0, np.uint64)])


def twins_of(rests: Hashes, count: int, *runs: str, until: float = math.inf) -> comparison.Mask:
    """Return which test rows `(count,)` say, beside the key, what rows say that a run's model has trained on.

    None without a key. A row that the same key tells as well was seen itself. Raises OutOfTimeError.
    """
    if rests.size != count:
        return np.zeros(count, bool)
    return comparison.among(rests, itertools.chain(*(_in_time(f"{run}/{FOLDER}/seen-rest/", until) for run in runs)))
