"""The bound on memory: what takes memory beyond measure fails under it, also when the code catches the error."""

import contextlib
import resource
import sys
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from tests.memory import MEGABYTES, bounded

BITES = f"MB of memory were taken; at most {MEGABYTES} may be"
LITTLE = 50  # megabytes that are taken sooner


def grow() -> None:
    """Take a gigabyte, bit by bit."""
    taken: list[bytes] = []
    while len(taken) < 1000:
        taken.append(b"x" * (1 << 20))


def grow_and_hide_it() -> None:
    with contextlib.suppress(MemoryError):
        grow()


def test_what_takes_too_much_bit_by_bit_fails() -> None:
    with pytest.raises((AssertionError, MemoryError)), bounded(LITTLE):
        grow()


def test_what_takes_too_much_and_hides_it_fails() -> None:
    with pytest.raises(AssertionError, match=f"at most {LITTLE} may be"), bounded(LITTLE):
        grow_and_hide_it()


@pytest.mark.skipif(sys.platform != "linux", reason="no limit that holds")
@pytest.mark.parametrize(
    "take", [bytearray, lambda size: np.ones(size, np.int8), pa.allocate_buffer], ids=["python", "numpy", "arrow"]
)
def test_what_asks_for_far_too_much_at_once_gets_none(take: Callable[[int], object]) -> None:
    with pytest.raises(MemoryError), bounded():
        take(2 << 30)


def test_a_little_passes_and_the_limit_is_taken_back() -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    for _ in range(20):
        with bounded():
            bytearray(20 << 20)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
