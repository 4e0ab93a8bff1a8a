"""The queue of jobs: AWS starts as many as the account's quota allows, a laptop a few."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Protocol

logger = logging.getLogger(__name__)


class Queue(Protocol):
    """Where jobs wait for their turn."""

    def submit(self, job: Callable[[], None]) -> None: ...


class JobQueue:
    """Runs at most `workers` jobs at a time, in the order of their creation."""

    def __init__(self, workers: int) -> None:
        self._waiting: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._workers = workers
        for number in range(workers):
            threading.Thread(target=self._work, name=f"sagemaker job {number}", daemon=True).start()

    def submit(self, job: Callable[[], None]) -> None:
        self._waiting.put(job)

    def close(self) -> None:
        """Run what waits, and nothing more."""
        for _ in range(self._workers):
            self._waiting.put(None)

    def _work(self) -> None:
        while job := self._waiting.get():
            try:
                job()
            except Exception:  # the worker must outlive whatever a job does
                logger.exception("a job could not be run")
