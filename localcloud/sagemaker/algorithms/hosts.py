"""The hosts of one training job: which of them have data, and what they have computed together.

Each host is a process of this machine. They meet in a folder (LOCALCLOUD_HOSTS), since there is no network of hosts
here, and speak through XGBoost's own collective after that, as the hosts of the XGBoost container do.

Source: sagemaker-xgboost-container, `distributed.py`: every host says whether it has data, those that have none leave,
and the first of the others is the master, which alone saves the model.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from localcloud.sagemaker.algorithms.training_container import CustomerError, Environment, log

_PAUSE_SECONDS = 0.02
_TRACKER = "tracker.json"

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Hosts:
    """Those that train together. One alone sums and counts what it has itself."""

    count: int = 1
    rank: int = 0
    collective: Any = None

    @property
    def is_master(self) -> bool:
        return self.rank == 0

    def total(self, values: Array) -> Array:
        """Return the sum of every host's array."""
        if self.collective is None:
            return values
        summed: Array = self.collective.allreduce(np.ascontiguousarray(values), self.collective.Op.SUM)
        return summed.reshape(values.shape)

    def count_all(self, number: int) -> int:
        """Return the sum of every host's number."""
        return int(self.total(np.array([number]))[0])

    def all_rows(self, rows: Array) -> Array:
        """Return the rows of every host, those of the first one first."""
        if self.collective is None:
            return rows
        lengths = np.zeros(self.count, dtype=np.int64)
        lengths[self.rank] = len(rows)
        ends = np.cumsum(self.total(lengths))
        whole = np.zeros((int(ends[-1]), *rows.shape[1:]), dtype=rows.dtype)
        whole[ends[self.rank] - len(rows) : ends[self.rank]] = rows
        return self.total(whole)


ALONE = Hosts()


@contextmanager
def together(environment: Environment, xgboost: Callable[[], Any], *, has_data: bool) -> Iterator[Hosts | None]:
    """Yield the hosts that train, once all have said whether they have data; None on a host that has none."""
    own, names = environment.current_host, environment.hosts
    if len(names) == 1:
        yield ALONE
        return
    place = Path(os.environ["LOCALCLOUD_HOSTS"])
    _write(place / f"{own}.json", {"has_data": has_data})
    training = [name for name in names if _read(place / f"{name}.json")["has_data"]]
    if not training:
        raise CustomerError("No data in the channel train of any host")
    if own not in training:
        log(f"Host {own} does not have data. Will broadcast to cluster and will not be used in distributed training.")
        yield None
        return
    if len(training) == 1:
        yield ALONE
        return
    xgb, tracker = xgboost(), None
    if own == training[0]:
        tracker = xgb.tracker.RabitTracker(n_workers=len(training), host_ip="127.0.0.1")
        tracker.start()
        _write(place / _TRACKER, tracker.worker_args())
    with xgb.collective.CommunicatorContext(**_read(place / _TRACKER), dmlc_task_id=f"{training.index(own):05d}"):
        yield Hosts(len(training), xgb.collective.get_rank(), xgb.collective)
    if tracker:
        tracker.wait_for()


def _write(path: Path, document: Any) -> None:
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(document), "utf-8")
    draft.replace(path)


def _read(path: Path) -> Any:
    """Return what another host says, as soon as it has; if it fails, the job ends, and this process with it."""
    while not path.exists():
        time.sleep(_PAUSE_SECONDS)
    return json.loads(path.read_text("utf-8"))
