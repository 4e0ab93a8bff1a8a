"""Work on all cores whose results come in order (perennial.data.in_order)."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from perennial.data import in_order as module
from perennial.data.in_order import cores as cores_of_this_process
from perennial.data.in_order import in_order


@pytest.fixture(params=[1, 2, 8], autouse=True)
def cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(module, "cores", lambda: request.param)
    return int(request.param)


def test_results_come_in_the_order_of_the_items_however_long_each_takes() -> None:
    def work(number: int) -> int:
        time.sleep((number * 7 % 5) / 1000)
        return number * number

    assert list(in_order(work, range(40))) == [number * number for number in range(40)]
    assert list(in_order(work, [])) == []


def test_what_the_items_raise_comes_after_the_results_before_it() -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise ValueError("the sixth")

    results = in_order(str, items())
    assert [next(results) for _ in range(5)] == ["0", "1", "2", "3", "4"]
    with pytest.raises(ValueError, match="the sixth"):
        next(results)


def test_what_work_raises_comes_in_the_place_of_its_result() -> None:
    results = in_order(lambda number: 1 // number, [1, 1, 0, 1])
    assert [next(results), next(results)] == [1, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_items_are_taken_by_the_asking_thread_and_few_of_them_ahead(cores: int) -> None:
    takers, taken = set[int](), list[int]()

    def items() -> Iterator[int]:
        for number in range(100):
            takers.add(threading.get_ident())
            taken.append(number)
            yield number

    results = in_order(str, items())
    next(results)
    assert (takers, len(taken) <= max(2, 2 * cores)) == ({threading.get_ident()}, True)
    results.close()  # type: ignore[attr-defined]
    assert len(taken) < 100


def test_two_cores_work_at_once_and_one_item_alone_starts_no_thread(cores: int) -> None:
    workers = set[int]()
    together = threading.Barrier(min(cores, 2))

    def work(number: int) -> None:
        workers.add(threading.get_ident())
        together.wait(10)

    list(in_order(work, range(2)))
    assert (threading.get_ident() in workers, len(workers)) == ((True, 1) if cores == 1 else (False, 2))
    workers.clear()
    together = threading.Barrier(1)
    list(in_order(work, [1]))
    assert workers == {threading.get_ident()}


@pytest.mark.parametrize(("there", "used"), [(1, 1), (8, 8), (96, 8)])
def test_more_cores_than_eight_are_not_used(there: int, used: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has blocks in memory."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(there)), raising=False)
    assert cores_of_this_process() == used


def test_work_on_the_results_of_other_work_has_no_threads_of_its_own(cores: int) -> None:
    workers = set[int]()

    def work(number: int) -> int:
        workers.add(threading.get_ident())
        time.sleep(0.001)
        return number + 1

    assert [*in_order(work, in_order(work, in_order(work, range(20))))] == [*range(3, 23)]
    assert len(workers) <= cores


def test_work_that_shares_out_its_own_does_that_itself() -> None:
    """Its thread would wait for threads that all wait."""
    assert [*in_order(lambda number: [*in_order(str, range(number))], range(20))] == [
        [*map(str, range(number))] for number in range(20)
    ]


def test_a_process_that_was_forked_has_threads_of_its_own() -> None:
    assert [*in_order(str, range(4))] == ["0", "1", "2", "3"]
    child = os.fork()
    if not child:
        os._exit([*in_order(str, range(4))] != ["0", "1", "2", "3"])
    for _ in range(1000):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        time.sleep(0.01)
    else:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the child waits for threads that it does not have")
    assert status == 0
