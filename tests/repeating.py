"""Clients that do the same again and again while something else happens."""

from __future__ import annotations

import threading
from typing import Self


class Repeating:
    """Threads, each of which asks until the context is left."""

    def __init__(self, clients: int, pause_seconds: float = 0.0) -> None:
        self._pause, self._stop = pause_seconds, threading.Event()
        self._clients = [threading.Thread(target=self._ask_on) for _ in range(clients)]

    def ask(self) -> None:
        """Make one request, and note what came of it."""
        raise NotImplementedError

    def _ask_on(self) -> None:
        while not self._stop.wait(self._pause):
            self.ask()

    def __enter__(self) -> Self:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for client in self._clients:
            client.join()
