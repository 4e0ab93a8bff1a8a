"""A bound on the memory of what a test calls, so that input which makes it grow beyond measure fails the test."""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MEGABYTES = 200  # the first use of XGBoost takes 90, all else that hostile input does less than 5
_PROCESS = Path("/proc/self")
_UNIT = 1 if sys.platform == "darwin" else 1024


@contextmanager
def bounded(megabytes: int = MEGABYTES) -> Iterator[None]:
    """Raise AssertionError when more than these megabytes become resident meanwhile.

    On Linux more than three times as much is not given at all, so that no test eats the machine up: a MemoryError. The
    code may take that for an end that it has declared; the peak says what it was. Elsewhere what the process took at
    its largest before is not told from what is taken now.
    """
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    before = _begin(limits[1], 3 * megabytes)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, limits)
    taken = (_peak() - before) >> 20
    assert taken <= megabytes, f"{taken:,} MB of memory were taken; at most {megabytes} may be"


def _begin(hard_limit: int, refused_megabytes: int) -> int:
    """Set the limit, forget the peak so far, and return the peak in bytes."""
    if _PROCESS.exists():
        pages = int((_PROCESS / "statm").read_text().split()[5])
        most = pages * resource.getpagesize() + (refused_megabytes << 20)
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard_limit))
        (_PROCESS / "clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _UNIT
