"""What all tests share."""

import atexit
import contextlib
import gc
import getpass
import itertools
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from _pytest import unraisableexception

from tests import about_states

LONGEST_ID = 40  # characters of one parameter
GZIP = b"\x1f\x8b"
MEMORY = Path("/dev/shm")  # noqa: S108  pytest makes a folder of its own in it, which nobody else may open
ROOM_BYTES = 18 * 2**30  # the folders of all tests take 6 of it, and the tests themselves 10
_numbers = itertools.count()
TEMPORARY = "PYTEST_DEBUG_TEMPROOT"  # where pytest makes the folders of tests
# Threads of XGBoost, scikit-learn and NumPy wait for each other at full speed; on a machine as busy as the tests
# make it, that is most of what a fit takes.
os.environ |= {"OMP_WAIT_POLICY": "passive", "OPENBLAS_NUM_THREADS": "1"}
# Some machines say so, and then each worker compiles every test anew, and each program all that it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
if "PYTEST_XDIST_WORKER" in os.environ:  # it has said all; to take apart what it has loaded takes seconds
    atexit.register(os._exit, 0)  # before anything else is, so that it comes last
os.environ["LOCALCLOUD_OWNER"] = str(os.getpid())  # a local cloud that a test starts ends with the tests' own process


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--state", help="run only the tests that are about this state of a state machine")


def pytest_configure(config: pytest.Config) -> None:
    if config.option.state is not None:
        config.option.state = about_states.state(config.option.state)
    if TEMPORARY not in os.environ and "PYTEST_XDIST_WORKER" not in os.environ:
        _give_back_what_killed_runs_left()
        if _has_room():
            os.environ[TEMPORARY] = str(MEMORY)
    gc.disable()  # what is collected stays
    vars(unraisableexception)["gc_collect_harder"] = _collect_until_nothing_is_found


def _collect_until_nothing_is_found(most: int) -> None:
    """Look for garbage, and again among what its ends have left: a time without a find has no other after it.

    At its end pytest looks through all that a worker has, five times whatever it finds, while the cores wait.
    """
    while most and gc.collect():
        most -= 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Deal tests in their order by files, where they are of no group: what a file needs is made by one worker.

    Dealt one by one, each took the longer to deal the more there were before it.
    """
    from xdist.scheduler import LoadGroupScheduling

    class ByFile(LoadGroupScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return super()._split_scope(nodeid).partition("::")[0]

    if config.getvalue("dist") != "loadgroup":
        return None
    config.option.loadscopereorder = False  # it would put first what has most tests, not what takes longest
    return ByFile(config, log)


def pytest_collection_finish() -> None:
    """Look for garbage among what the tests make, and less often: it took a quarter of the unit tests' time."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    gc.enable()


def _give_back_what_killed_runs_left() -> None:
    """Remove the folders in memory of runs that could not: pytest itself keeps them for three days."""
    for lock in MEMORY.glob(f"pytest-of-{getpass.getuser()}/pytest-*/.lock"):
        with contextlib.suppress(OSError, ValueError):
            if not Path("/proc", str(int(lock.read_text()))).exists():
                shutil.rmtree(lock.parent, ignore_errors=True)


def _has_room() -> bool:
    """Whether memory has room for the folders of all tests: a local cloud waits for its disk before many an answer."""
    try:
        disk, lines = os.statvfs(MEMORY), Path("/proc/meminfo").read_text().splitlines()
    except OSError:  # no Linux
        return False
    available_bytes = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    return not disk.f_flag & os.ST_NOEXEC and min(disk.f_bavail * disk.f_frsize, available_bytes) >= ROOM_BYTES


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Give the memory back, unless somebody wants to see why a test has failed."""
    if "PYTEST_XDIST_WORKER" not in os.environ and exitstatus == 0 and os.environ.get(TEMPORARY) == str(MEMORY):
        shutil.rmtree(session.config._tmp_path_factory.getbasetemp(), ignore_errors=True)  # type: ignore[attr-defined]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.state is not None:
        chosen = [item for item in items if config.option.state in about_states.states_of(item)]
        config.hook.pytest_deselected(items=list(set(items) - set(chosen)))
        items[:] = chosen


def pytest_make_parametrize_id(val: Any) -> str | None:
    """Name a test after the beginning of a long text or number; pytest numbers those that are then alike."""
    if isinstance(val, int) and val.bit_length() > LONGEST_ID:
        return f"{hex(val)[:LONGEST_ID]}..."
    if isinstance(val, bytes) and val.startswith(GZIP):  # says when it was made, which is another time in each worker
        val = val[:4] + bytes(4) + val[8:]
    elif not isinstance(val, str | bytes) or len(val) <= LONGEST_ID:
        return None
    text = val[:LONGEST_ID].decode("latin-1") if isinstance(val, bytes) else val[:LONGEST_ID]
    return text.encode("unicode_escape").decode()[:LONGEST_ID] + "..."


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the test's own, as pytest's, which looks at all that are there to find a number for each."""
    name = re.sub(r"\W", "_", request.node.name)[:26]
    path = tmp_path_factory.getbasetemp() / f"{name}{next(_numbers):04}"
    path.mkdir(mode=0o700)
    return path


@pytest.fixture
def all_ids(request: pytest.FixtureRequest) -> list[str]:
    """The ids of the tests that were collected."""
    return [item.nodeid for item in request.session.items]
