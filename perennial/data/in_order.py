"""Work on many items with all cores, whose results come in the order of the items.

Threads do it, because Arrow and NumPy let go of the interpreter while they compute. What is done at once, and how fast,
changes no result: work on one item may not depend on another.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import lru_cache, partial
from itertools import chain, islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


# Each core has blocks in memory, and has the interpreter, which one thread has at a time, for a tenth of its time: with
# more of them a job would need more memory, and hardly end earlier.
MOST_CORES = 8

_most: list[int] = []


def use_at_most(count: int) -> None:
    """Have this process use at most so many cores, where others share the machine with it."""
    _most[:] = [count]


def cores() -> int:
    """Return how many cores this process uses."""
    try:
        there = len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux can say
        there = os.cpu_count() or 1
    return min([there, MOST_CORES, *_most])


def in_order(work: Callable[[Item], Result], items: Iterable[Item]) -> Generator[Result]:
    """Yield the results of work for the items, in their order; this thread takes the items, some of them ahead.

    Memory holds the items and results of two more than there are cores. What work raises is raised in the place of its
    result, and what the items raise after the results of those before. Items may be results of other work: a thread for
    each core does all of it.
    """
    errors: list[Exception] = []
    rest = until_error(items, errors)
    first = list(islice(rest, 2))
    if len(first) < 2 or cores() == 1 or _THREAD.works:  # nothing to do meanwhile, or nobody who could do it
        yield from map(work, chain(first, rest))
    else:
        yield from _ahead(work, chain(first, rest))
    if errors:
        raise errors[0]


def until_error(items: Iterable[Item], errors: list[Exception]) -> Iterator[Item]:
    """Yield items until they raise; the error is then in the list."""
    try:
        yield from items
    except Exception as error:
        errors.append(error)


def _ahead(work: Callable[[Item], Result], items: Iterator[Item]) -> Iterator[Result]:
    waiting: deque[Future[Result]] = deque()
    pool = _pool(cores(), os.getpid())
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) == cores() + 2:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        wait([one for one in waiting if not one.cancel()])


class _Thread(threading.local):
    """Whether a thread is one of those that work, each of which would wait for the others in vain."""

    works = False


_THREAD = _Thread()


@lru_cache(maxsize=1)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Return the threads of a process: were there some for each kind of work, they would wait for the interpreter.

    A process that is forked has none of them, and makes its own.
    """
    return ThreadPoolExecutor(threads, initializer=partial(setattr, _THREAD, "works", True))
