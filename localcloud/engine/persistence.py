"""State that survives: not only an orderly end (MiniStack saves then) but also a kill or a crash.

A background thread writes what changed every few seconds. A service's file is written only when its content differs,
and replaced in one step. Large bytes (layers, code) go to files named by their hash, once, so that a save stays cheap.
"""

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

from localcloud.disk import write_whole
from localcloud.engine.seams import replace

_BLOB_KEY = "__localcloud_blob__"
_BLOB_BYTES = 64 * 1024
_INTERVAL_SECONDS = 2.0
_PAUSE_FACTOR = 30  # a state that takes long to write is written less often: a thirtieth of the time at most
_ATTEMPTS = 3
_COPYING = frozenset({"cloudformation", "cloudwatch", "cloudwatch_logs", "dynamodb", "stepfunctions"})
"""Services whose get_state only copies what they have, which is much, and takes longer than to write it."""
_NO_COPY = SimpleNamespace(deepcopy=lambda value: value)
log = logging.getLogger("localcloud.persistence")


class Blobs:
    """Large bytes, each in a file named by its hash.

    Objects already written are remembered by identity (and kept alive, so that the identity stays theirs).
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: dict[int, tuple[bytes, str]] = {}

    def put(self, data: bytes) -> str:
        known = self._written.get(id(data))
        if known:
            return known[1]
        digest = hashlib.sha256(data).hexdigest()
        path = self._folder / digest
        if not path.exists():
            write_whole(path, data)
        self._written[id(data)] = (data, digest)
        return digest

    def get(self, digest: str) -> bytes:
        return (self._folder / digest).read_bytes()

    def prune(self, kept: set[str]) -> None:
        """Delete every file that `kept` does not name."""
        for path in self._folder.glob("*"):
            if path.name not in kept:
                path.unlink(missing_ok=True)
        self._written = {key: entry for key, entry in self._written.items() if entry[1] in kept}


class Saver:
    """Writes changed services; `touch` says that something may have changed, `attempt` writes now.

    `problem` says why the newest state is not on the disk; empty when it is. `also` writes what is saved besides.
    """

    def __init__(self, also: Callable[[], None]) -> None:
        self.problem = ""
        self._also = also
        self._dirty = threading.Event()
        self._stopped = threading.Event()
        self._saving = threading.Lock()
        self._digests: dict[str, str] = {}

    def touch(self) -> None:
        self._dirty.set()

    def start(self) -> None:
        threading.Thread(target=self._run, name="localcloud-saver", daemon=True).start()

    def stop(self) -> None:
        """No write begins after this returns; MiniStack's own save at shutdown has the folder to itself."""
        self._stopped.set()
        with self._saving:
            pass

    def _run(self) -> None:
        pause = _INTERVAL_SECONDS
        while not self._stopped.wait(pause):
            if self._dirty.is_set():
                self._dirty.clear()
                began = time.monotonic()
                self.attempt()
                pause = max(_INTERVAL_SECONDS, _PAUSE_FACTOR * (time.monotonic() - began))

    def attempt(self) -> None:
        """Save; what fails is tried again, and said once."""
        try:
            self._save()
            self._also()
        except Exception as error:  # whatever it is, the server goes on
            if not self.problem:
                log.exception("the state was not saved; trying again until it is")
            self.problem = f"the state was not saved: {error}"
            self.touch()
            return
        if self.problem:
            log.info("the state is saved again")
        self.problem = ""

    def _save(self) -> None:
        from ministack import app

        with self._saving:
            if self._stopped.is_set():
                return
            for service, get_state in app._build_persistence_save_dict().items():
                self._save_service(service, _without_copies(get_state) if service in _COPYING else get_state)

    def _save_service(self, service: str, get_state: Any) -> None:
        """Write one service. Another thread may change it meanwhile; then the snapshot is taken again."""
        from ministack.core import persistence

        for attempt in range(_ATTEMPTS):
            try:
                state = get_state()
                if state is None:
                    return
                document = {"__ministack_format__": persistence._state_format_version(service), "payload": state}
                text = json.dumps(document, default=persistence._json_default)
                break
            except RuntimeError:  # "dictionary changed size during iteration"
                if attempt == _ATTEMPTS - 1:
                    self.touch()
                    return
        digest = hashlib.sha256(text.encode()).hexdigest()
        if self._digests.get(service) != digest:
            path = Path(persistence.STATE_DIR) / f"{service}.json"
            write_whole(path, text.encode())
            self._digests[service] = digest


def _without_copies(get_state: FunctionType) -> FunctionType:
    """The same function, but its `copy.deepcopy` gives the thing itself, because it is written at once."""
    return FunctionType(get_state.__code__, {**get_state.__globals__, "copy": _NO_COPY})


def register(folder: Path) -> None:
    """Let MiniStack's state files refer to large bytes instead of holding them."""
    blobs = Blobs(folder)
    replace("core.persistence", "_json_default", lambda original: _make_encoder(original, blobs))
    replace("core.persistence", "_json_object_hook", lambda original: _make_decoder(original, blobs))


def prune_blobs(state_folder: Path, blob_folder: Path) -> None:
    """Delete large bytes that no state file refers to. For the start, before anything is loaded."""
    referenced: set[str] = set()
    for path in state_folder.glob("*.json"):
        text = path.read_text()
        referenced.update(part[:64] for part in text.split(f'"{_BLOB_KEY}": "')[1:])
    Blobs(blob_folder).prune(referenced)


def _make_encoder(original: Any, blobs: Blobs) -> Any:
    def encode(value: Any) -> Any:
        if isinstance(value, bytes) and len(value) >= _BLOB_BYTES:
            return {_BLOB_KEY: blobs.put(value)}
        return original(value)

    return encode


def _make_decoder(original: Any, blobs: Blobs) -> Any:
    def decode(value: dict[str, Any]) -> Any:
        if _BLOB_KEY in value:
            return blobs.get(value[_BLOB_KEY])
        return original(value)

    return decode
