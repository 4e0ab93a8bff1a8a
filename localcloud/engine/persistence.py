"""State that survives: an orderly end, a kill or a crash.

What a request has changed is on the disk before it is answered (`settle`). What grows with time is added to files of
its own (`execution_files.py`, `tables.py`, `log_files.py`); a service's own file has the rest, is written only when
its content differs, and replaced in one step. A background thread writes what else has changed. Large bytes (layers,
code) and the definitions of state machines go to files named by their hash, once, so that a save stays cheap.
"""

import copy
import hashlib
import json
import logging
import math
import os
import re
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import Any

import orjson

from localcloud.disk import forced, keep_forced, write_whole
from localcloud.engine.seams import Seams

ministack_app = Seams(
    "app",
    SERVICE_NAME_ALIASES="96ac349a",
    SERVICE_REGISTRY="52f43b1c",
    _build_persistence_save_dict="494db532",
    load_state="6d1ea010",
    save_all="18f3a296",
)
persistence = Seams(
    "core.persistence",
    STATE_DIR="77654dc6",
    _json_default="8f143eae",
    _json_object_hook="7ea8a5ae",
    _state_format_version="23378b1d",
)
responses = Seams("core.responses", AccountRegionScopedDict="bf2a9ac0", AccountScopedDict="8bf6c1e2")
lambda_svc = Seams("services.lambda_svc", CODE_BLOB_DIR="c7b42c7e", _read_code_blob="881aa449")

_BLOB_KEY, _TEXT_KEY = "__localcloud_blob__", "__localcloud_text__"
_REFERENCE = re.compile(rf'"(?:{_BLOB_KEY}|{_TEXT_KEY})": ?"([0-9a-f]{{64}})"')
_DIGEST = re.compile(r"[0-9a-f]{64}")
_BLOB_BYTES = 64 * 1024
_TEXT_CHARACTERS = 4 * 1024
_TEXTS = {"stepfunctions": ("definition", ("state_machines", "state_machine_versions"))}
"""Service -> what is large in records that change seldom, while others change often; and its stores of such records."""
_INTERVAL_SECONDS = 0.5
# A service that takes long to write is written less often: a sixtieth of the time at most, and less while it is found
# to be as it was.
_PAUSE_FACTOR, _PAUSE_FACTOR_UNCHANGED = 60, 600
_AT_ONCE_SECONDS = 0.001
_ATTEMPTS = 20
_COPYING = frozenset({"cloudformation", "cloudwatch", "eventbridge", "iam", "sns", "sqs", "ssm", "stepfunctions"})
"""Services whose get_state only copies what they have, which takes longer than to write it."""
METRICS = "cloudwatch_metrics"
"""What is saved as if it were a service: the points, of which there are many, are written less often than the rest."""
_NO_COPY = SimpleNamespace(deepcopy=lambda value: value)
_COPY_OF_FUNCTION = SimpleNamespace(deepcopy=lambda value: _with_records_of_its_own(value))
logger = logging.getLogger(__name__)


class _Text:
    """A large text, in whose place the file of a service has the name of another file."""

    def __init__(self, text: str) -> None:
        self.text = text


class Encoded:
    """A value of a state, and what it is as JSON."""

    def __init__(self, value: Any, text: bytes) -> None:
        self.value, self.text = value, text


class Digests:
    """SHA-256 of large bytes, and of large texts in UTF-8, in hexadecimal.

    To work it out anew for each worker and each save takes 20 ms for 23 MB. Objects are remembered
    by identity (and kept alive, so that the identity stays theirs) until nobody else has them.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[bytes | str, str]] = {}

    def of(self, data: bytes | str) -> str:
        if (known := self._known.get(id(data))) is None:
            elsewhere = 2  # references: that of the tuple, and that of the call itself
            others = {key: each for key, each in list(self._known.items()) if sys.getrefcount(each[0]) > elsewhere}
            known = data, hashlib.sha256(_bytes(data)).hexdigest()
            self._known = {**others, id(data): known}
        return known[1]


digests = Digests()
unreadable: list[str] = []
"""What could not be read when the local cloud started, in words for people."""


class Blobs:
    """Large bytes and texts, each in a file named by its hash."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: set[str] = set()

    def put(self, data: bytes | str) -> str:
        digest = digests.of(data)
        if digest not in self._written:
            path = self._folder / digest
            if not path.exists():
                write_whole(path, _bytes(data))
            self._written.add(digest)
        return digest

    def get(self, digest: str) -> bytes:
        """Return the bytes of a hash. Raises ValueError: a power cut has left others."""
        path = self._folder / digest
        data = path.read_bytes()
        if digests.of(data) != digest:
            path.unlink()  # whoever has them writes them again
            raise ValueError(f"{path} is not what its name says")
        return data

    def prune(self, names: set[str]) -> None:
        """Delete every file that `names` does not hold."""
        for path in self._folder.glob("*"):
            if path.name not in names:
                path.unlink(missing_ok=True)
        self._written &= names


class Saver:
    """Writes what services hold.

    `settle` writes some of them now; `touch` says that any may have changed, for the background thread. `problem` says
    why the newest state is not on the disk; empty when it is. `besides` is what a service writes beside its file, by
    its name; under no name, what is saved besides all of them.
    """

    def __init__(self, besides: Mapping[str, Callable[[], None]]) -> None:
        self.problem = ""
        self._besides = besides
        self._dirty = threading.Event()
        self._stopped = threading.Event()
        self._turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._requests: Counter[str] = Counter()
        self._answered: Counter[str] = Counter()
        self._due: dict[str, float] = {}
        self._took: dict[str, float] = {}
        self._digests: dict[str, str] = {}
        self._loaded: dict[str, FunctionType] = {}

    def touch(self) -> None:
        self._dirty.set()

    def start(self) -> None:
        threading.Thread(target=self._run, name="localcloud-saver", daemon=True).start()

    def stop(self) -> None:
        """Save everything for the last time; no write begins after this returns."""
        self.attempt()
        self._stopped.set()
        for turn in list(self._turns.values()):
            with turn:
                pass

    def settle(self, *names: str) -> None:
        """Write the present state of services, named as in signatures, to the disk before their request is answered.

        Where the disk is full it is written later, and `problem` says so.
        """
        for service in _files_of(*names):
            self._try(service)

    def settle_at_once(self, name: str) -> bool:
        """Do what `settle` does, if that took no longer last time than a thread for it, and nobody else is about it.

        For the event loop. Returns whether it is done.
        """
        services = [*_files_of(name)]
        is_quick = all(self._took.get(service, math.inf) <= _AT_ONCE_SECONDS for service in services)
        return is_quick and all(self._try(service, waits=False) for service in services)

    def _try(self, service: str, *, waits: bool = True) -> bool:
        """Settle a service if it is in use; return whether that is done, or has failed, which `problem` says."""
        try:
            if service not in self._loaded:  # all are looked through for that
                self._loaded = _states()
            return service not in self._loaded or self._settle(service, self._loaded[service], waits=waits)
        except Exception as error:  # whatever it is, the server goes on
            self._failed(error)
            return True

    def settle_all(self) -> None:
        """Write the present state of all services but the points of metrics to the disk."""
        self._each(_states(), lambda service: service != METRICS)

    def attempt(self) -> None:
        """Save everything; what fails is tried again, and said once."""
        if self._each(_states(), lambda _: True) and self.problem:
            logger.info("the state is saved again")
            self.problem = ""

    def _run(self) -> None:
        while not self._stopped.wait(_INTERVAL_SECONDS):
            if self._dirty.is_set():
                self._dirty.clear()
                if self.problem:
                    self.attempt()
                else:
                    self._each(_states(), self._is_due)

    def _is_due(self, service: str) -> bool:
        due = time.monotonic() >= self._due.get(service, 0)
        if not due:
            self.touch()  # it is looked at again
        return due

    def _each(self, states: Mapping[str, FunctionType], wanted: Callable[[str], bool]) -> bool:
        """Save the services that are wanted, and return whether all of them are on the disk."""
        try:
            for service in [*filter(wanted, states)]:
                self._settle(service, states[service])
            self._besides.get("", lambda: None)()
        except Exception as error:  # whatever it is, the server goes on
            self._failed(error)
            return False
        return True

    def _failed(self, error: Exception) -> None:
        if not self.problem:
            logger.exception("the state was not saved; trying again until it is")
        self.problem = f"the state was not saved: {error}"
        self.touch()

    def _settle(self, service: str, get_state: FunctionType, *, waits: bool = True) -> bool:
        """Save a service, unless somebody else has begun to after this was called, and is done.

        Returns False where somebody else is about it, if this does not wait for that.
        """
        self._requests[service] += 1
        mine = self._requests[service]
        if not self._turns[service].acquire(blocking=waits):
            return False
        try:
            if self._answered[service] >= mine or self._stopped.is_set():
                return True
            requests, began = self._requests[service], time.monotonic()
            self._besides.get(service, lambda: None)()
            pause = _PAUSE_FACTOR if self._save_service(service, get_state) else _PAUSE_FACTOR_UNCHANGED
            self._answered[service] = requests
            self._took[service] = time.monotonic() - began
            self._due[service] = time.monotonic() + pause * self._took[service]
            return True
        finally:
            self._turns[service].release()

    def _save_service(self, service: str, get_state: FunctionType) -> bool:
        """Write one service, and return whether it had changed.

        Another thread may change it meanwhile; then the snapshot is taken again.
        """
        if service in _COPYING:
            get_state = rebound(get_state)
        elif service == "lambda":
            get_state = rebound(get_state, copy=_COPY_OF_FUNCTION)
        for attempt in range(_ATTEMPTS):
            try:
                state = _with_texts_apart(service, get_state())
                if state is None:
                    return False
                document = {"__ministack_format__": persistence._state_format_version(service), "payload": state}
                content = _encoded(document, persistence._json_default)
                break
            except RuntimeError:  # "dictionary changed size during iteration"
                if attempt == _ATTEMPTS - 1:
                    self.touch()
                    return True
        path = Path(persistence.STATE_DIR) / f"{service}.json"
        digest = hashlib.sha256(content).hexdigest()
        if service not in self._digests and path.exists():
            self._digests[service] = hashlib.sha256(path.read_bytes()).hexdigest()
        if self._digests.get(service) == digest:
            return False
        write_whole(path, content, keep=True)
        self._digests[service] = digest
        return True


def _encoded(document: Any, default: Callable[[Any], Any]) -> bytes:
    """Encode the state of a service as JSON, by orjson in a sixth of the time, or by json what orjson cannot."""

    def as_text(value: Any) -> Any:
        return orjson.Fragment(value.text) if isinstance(value, Encoded) else default(value)

    def as_value(value: Any) -> Any:
        return value.value if isinstance(value, Encoded) else default(value)

    with suppress(orjson.JSONEncodeError):  # a number of more than 64 bits, half of a surrogate pair
        return orjson.dumps(document, as_text, orjson.OPT_NON_STR_KEYS)
    return json.dumps(document, default=as_value).encode()


def _with_texts_apart(service: str, state: Any) -> Any:
    """Return a state in whose records large texts are what is written to files of their own."""
    if state is None or service not in _TEXTS:
        return state
    name, stores = _TEXTS[service]
    return {**state, **{store: _with_text_apart(state[store], name) for store in stores}}


def _with_text_apart(store: Any, name: str) -> Any:
    records = {
        key: {**record, name: _Text(record[name])} if len(record.get(name, "")) >= _TEXT_CHARACTERS else record
        for key, record in store.to_dict().items()
    }
    return type(store).from_dict(records)


def _bytes(data: bytes | str) -> bytes:
    return data.encode(errors="surrogatepass") if isinstance(data, str) else data


def _with_records_of_its_own(value: Any) -> Any:
    """Return a function, in whose record and those of its versions MiniStack puts a name instead of the code."""
    if type(value) is not dict:
        return value
    versions = {number: {**version} for number, version in value.get("versions", {}).items()}
    return {**value, "versions": versions} if versions else {**value}


def _states() -> dict[str, FunctionType]:
    """Return the `get_state` of each service in use, by the name of its file."""
    states: dict[str, FunctionType] = ministack_app._build_persistence_save_dict()
    return states


def _files_of(*names: str) -> Iterator[str]:
    """Yield the names of services' files; with SNS those of SQS, as a topic's message may be in a queue at once."""
    for name in (*names, "sqs") if "sns" in names else names:
        registered = ministack_app.SERVICE_REGISTRY.get(ministack_app.SERVICE_NAME_ALIASES.get(name, name))
        if registered:
            yield registered.get("state_key", registered["module"])
            yield from registered.get("sub_modules", ())


def rebound(function: FunctionType, **names: Any) -> FunctionType:
    """Return the same function with other values for some global names. Its `copy.deepcopy` gives the thing itself."""
    return FunctionType(function.__code__, {**function.__globals__, "copy": _NO_COPY, **names})


def register(folder: Path) -> None:
    """Let MiniStack's state files refer to large bytes instead of holding them; they are the Saver's to write."""
    blobs = Blobs(folder)
    ministack_app.replace("save_all", lambda _: lambda services: None)  # at the end, all of them, changed or not
    ministack_app.replace("load_state", _make_load_state)
    lambda_svc.replace("_read_code_blob", _make_read_code_blob)
    for scoped in (responses.AccountScopedDict, responses.AccountRegionScopedDict):
        scoped.__deepcopy__ = _deepcopy
    persistence.replace("_json_default", lambda original: _make_encoder(original, blobs))
    persistence.replace("_json_object_hook", lambda original: _make_decoder(original, blobs))


def _deepcopy(scoped: Any, memo: dict[int, Any]) -> Any:
    """Return what copy.deepcopy makes of a store, in a tenth of the time if it is empty, as most of them are."""
    return type(scoped).from_dict(copy.deepcopy(scoped._data, memo) if scoped._data else {})


def prune_blobs(state_folder: Path, blob_folder: Path) -> None:
    """Delete large bytes that no state file refers to. For the start, before anything is loaded."""
    referenced: set[str] = set()
    for path in (*state_folder.glob("*.json"), *map(forced, state_folder.glob("*.json"))):
        if path.exists():
            referenced.update(_REFERENCE.findall(path.read_text(errors="replace")))
    Blobs(blob_folder).prune(referenced)


def _make_load_state(original: Any) -> Any:
    def load_state(service: str) -> Any:
        """Return what a service has saved, or what was forced to the device last where nobody can read that.

        The file is put aside: the service writes its own again.
        """
        path = Path(persistence.STATE_DIR) / f"{service}.json"
        if (state := _loaded(original, service)) is not None:
            keep_forced(path)  # the last process may have ended before it was
        if state is not None or not path.exists():
            return state
        aside = path.replace(path.with_name(f"{path.name}.unreadable"))
        with suppress(FileNotFoundError):
            os.link(forced(path), path)
            state = _loaded(original, service)
        has = "nothing of before" if state is None else "what it had seconds earlier"
        unreadable.append(
            f"{path} could not be read, as after a power cut: {service} has {has}. The file is now {aside}"
        )
        logger.error("%s", unreadable[-1])
        return state

    return load_state


def _make_read_code_blob(original: Any) -> Any:
    def read_code_blob(digest: str) -> bytes | None:
        """Return a function's code; None where a power cut has left other bytes: they go, or MiniStack keeps them."""
        code: bytes | None = original(digest)
        if code is None or hashlib.sha256(code).hexdigest() == digest:
            return code
        path = Path(lambda_svc.CODE_BLOB_DIR) / f"{digest}.zip"
        path.unlink()
        unreadable.append(f"{path} was not the code of a function any more, as after a power cut: deploy it once more")
        logger.error("%s", unreadable[-1])
        return None

    return read_code_blob


def _loaded(original: Any, service: str) -> Any:
    """Return what MiniStack reads of a service; None if there is nothing, or nothing to be read."""
    try:
        return original(service)
    except ValueError:  # MiniStack's own answer to what is no JSON is None
        logger.exception("the state of %s cannot be read", service)
        return None


def _make_encoder(original: Any, blobs: Blobs) -> Any:
    def encode(value: Any) -> Any:
        if isinstance(value, bytes) and len(value) >= _BLOB_BYTES:
            return {_BLOB_KEY: blobs.put(value)}
        if isinstance(value, _Text):
            return {_TEXT_KEY: blobs.put(value.text)}
        return original(value)

    return encode


def _make_decoder(original: Any, blobs: Blobs) -> Any:
    def decode(value: dict[str, Any]) -> Any:
        """Return what a reference stands for; what only has its name, such as tags, are somebody's own."""
        if len(value) == 1:
            (name, digest), *_ = value.items()
            if name in (_BLOB_KEY, _TEXT_KEY) and isinstance(digest, str) and _DIGEST.fullmatch(digest):
                data = blobs.get(digest)
                return data if name == _BLOB_KEY else data.decode(errors="surrogatepass")
        return original(value)

    return decode
