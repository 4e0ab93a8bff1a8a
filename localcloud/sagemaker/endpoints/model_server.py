"""Run the serving containers of a model and speak to them: processes, sockets, restarts.

A container is a program of `containers/` that has one end of a pair of sockets; over it it is handed an end of another
pair for each connection. Requests wait there until the model is loaded, so that readiness is known the moment it is
reached, without polling. When this process dies, even by SIGKILL, the first pair ends, and its containers end too.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import math
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import IO, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from localcloud.sagemaker.endpoints.connection import Connection, LateError
from localcloud.sagemaker.endpoints.stand_ins import stand_in
from localcloud.sagemaker.errors import JobFailedError
from localcloud.sagemaker.platform.aws import Aws, s3_uri
from localcloud.sagemaker.platform.files import extract_tar
from localcloud.sagemaker.platform.image_python import ImagePython, Process
from localcloud.sagemaker.platform.store import Document

Log = Callable[[str], None]

_SUBMIT_DIRECTORY = "SAGEMAKER_SUBMIT_DIRECTORY"
_OPT_ML = re.compile(r"(?<![A-Za-z0-9._-])/opt/ml(?![A-Za-z0-9._-])")
CUSTOM_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
_ATTRIBUTES = CUSTOM_ATTRIBUTES.lower()
_LAST_LINES = 12
_TAIL_CHARACTERS = 600
_LINE_BYTES = 64 * 1024
STOP_GRACE_SECONDS = 30.0
INVOCATION_TIMEOUT_SECONDS = 60.0
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.5, 30.0
_BROKEN = (OSError, http.client.HTTPException)


class ContainerStartError(JobFailedError):
    """A container that never became ready; `container` is its name, `detail` the reason with its last lines."""

    def __init__(self, container: str, detail: str) -> None:
        super().__init__(f"AlgorithmError: The {container} container did not pass the ping health check. {detail}")
        self.container = container
        self.detail = detail


class InvocationTimeoutError(Exception):
    """No answer in time; `container` is the name of the one that was waited for."""

    def __init__(self, container: str) -> None:
        super().__init__(
            f"Your invocation timed out while waiting for a response from container {container}. Review the latency "
            "metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
        )
        self.container = container


class Reply(NamedTuple):
    """What a container answered; header names are lower case."""

    status: int
    headers: Mapping[str, str] = MappingProxyType({})
    body: bytes = b""
    container: str = "primary"
    """The container that gave the answer: the last one, or the first that did not succeed."""

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "application/octet-stream")

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status < 300


class Container:
    """One running container. `request` may be called on any event loop, by any number of tasks.

    One that dies is started again, after pauses that double; until it is ready, requests are answered with 503.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        directory: Path,
        environment: dict[str, str],
        log: Log,
        image: ImagePython,
        as_logged: Callable[[str], str] = str,
    ) -> None:
        self.name, self._image = name, image
        self._command, self._directory, self._environment = command, directory, environment
        self._log, self._as_logged = log, as_logged
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._process: Process | None = None
        self._control: socket.socket
        self._ready = False
        self._connections: dict[asyncio.AbstractEventLoop, Connection] = {}
        self._connecting: dict[asyncio.AbstractEventLoop, asyncio.Task[Connection]] = {}
        self._last_lines: deque[str] = deque(maxlen=_LAST_LINES)

    def start(self, timeout: float) -> None:
        """Start and wait until `/ping` answers 200. Raises ContainerStartError."""
        process = self._spawn()
        if process is None:
            raise ContainerStartError(self.name, "It was stopped before it started.")
        try:
            self._wait_until_ready(process, timeout)
        except ContainerStartError:
            self.stop(0)
            raise
        threading.Thread(target=self._supervise, args=(process,), name=f"supervise {self.name}", daemon=True).start()

    async def request(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str], until: float = math.inf
    ) -> Reply:
        """Make one exchange. Raises LateError: it is not over at a time of the loop."""
        if not self._ready:
            return Reply(503, {}, b"The container is not running.", self.name)
        earlier = self._connections.get(asyncio.get_running_loop())
        if earlier is not None and earlier.is_open:
            try:
                return Reply(*await earlier.exchange(method, path, body, headers, until), self.name)
            except _BROKEN:  # it may be a dead container's
                pass
        try:
            connection = await self._connected_by(until)
            return Reply(*await connection.exchange(method, path, body, headers, until), self.name)
        except _BROKEN as error:
            return Reply(
                503, {}, f"The container ended during the request ({type(error).__name__}).".encode(), self.name
            )

    def disconnect(self) -> None:
        """Close the connection of the loop that runs now."""
        if connection := self._connections.pop(asyncio.get_running_loop(), None):
            connection.close()

    def stop(self, grace_seconds: float = STOP_GRACE_SECONDS) -> None:
        """SIGTERM, and SIGKILL to the group when it has not ended after the grace time."""
        self._stopping.set()
        with self._lock:
            process, self._ready = self._process, False
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(grace_seconds)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        self._control.close()

    def _spawn(self) -> Process | None:
        """Start a new process with a new socket; None once the container is to stop."""
        with self._lock:
            if self._stopping.is_set():
                return None
            self._control, its = socket.socketpair()
            with its:
                self._process = self._image.start(
                    [*self._command, "--fd", str(its.fileno())],
                    self._directory,
                    self._environment,
                    pass_fds=[its.fileno()],
                )
        threading.Thread(target=self._read, args=(self._process.stdout,), name=f"log {self.name}", daemon=True).start()
        return self._process

    def _wait_until_ready(self, process: Process, timeout: float) -> None:
        """Send the one ping, which waits until the model is loaded, or is reset when the process ends."""
        try:
            reply = asyncio.run(self._ping(timeout))
        except TimeoutError:
            raise ContainerStartError(self.name, f"No answer within {timeout:g} seconds. {self._tail()}") from None
        except _BROKEN as error:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(2)
            time.sleep(0.05)  # the reader thread gets the last lines
            raise ContainerStartError(self.name, f"It ended with exit code {process.poll()}. {self._tail()}") from error
        if reply.status != 200:
            raise ContainerStartError(self.name, f"/ping answered {reply.status}. {self._tail()}")
        self._ready = True

    async def _ping(self, timeout: float) -> Reply:
        async with asyncio.timeout(timeout):
            try:
                connection = await self._connected()
                return Reply(*await connection.exchange("GET", "/ping", b"", {}), self.name)
            finally:
                self.disconnect()

    def _supervise(self, process: Process) -> None:
        """Start the container again whenever it ends by itself."""
        pause = _FIRST_PAUSE_SECONDS
        current: Process | None = process
        while current is not None:
            began = time.monotonic()
            code = current.wait()
            self._ready = False
            self._control.close()
            if self._stopping.is_set():
                return
            if time.monotonic() - began > _LONGEST_PAUSE_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            self._log(f"The {self.name} container ended with exit code {code}; starting it again.")
            self._stopping.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            current = self._spawn()
            if current is not None:
                with contextlib.suppress(ContainerStartError):
                    self._wait_until_ready(current, INVOCATION_TIMEOUT_SECONDS)

    async def _connected_by(self, until: float) -> Connection:
        """Return what `_connected` does. Raises LateError, OSError."""
        try:
            async with asyncio.timeout_at(None if until == math.inf else until):
                return await self._connected()
        except TimeoutError:
            raise LateError from None

    async def _connected(self) -> Connection:
        """Return the connection of this loop, a new one for all who wait if there is none. Raises OSError."""
        loop = asyncio.get_running_loop()
        if (earlier := self._connections.get(loop)) and earlier.is_open:
            return earlier
        if loop not in self._connecting:
            self._connecting[loop] = loop.create_task(Connection.to(self._control))
            self._connecting[loop].add_done_callback(lambda _: self._connecting.pop(loop))
        connection = self._connections[loop] = await asyncio.shield(self._connecting[loop])
        return connection

    def _read(self, pipe: IO[bytes] | None) -> None:
        if pipe is None:
            return
        with pipe:
            while line := pipe.readline(_LINE_BYTES):
                text = self._as_logged(line.decode("utf-8", "replace").rstrip("\r\n"))
                self._last_lines.append(text)
                self._log(text)

    def _tail(self) -> str:
        """Return the last lines of output; of long ones the end, because that is where Python says what went wrong."""
        text = " | ".join(line.strip() for line in self._last_lines if line.strip(" ^"))
        return f"Its last lines: {text[-_TAIL_CHARACTERS:] or '(none)'}"


class ModelServer:
    """The running containers of one model; a request passes through them in order.

    `containers` are ContainerDefinitions (1 to 15), `aws` acts under the model's role, `log` takes lines of output;
    `log_of(container name)` gives one log for each container instead. Everything is kept below `workdir`. `isolated`
    is the model's EnableNetworkIsolation.
    """

    def __init__(
        self,
        containers: list[Document],
        workdir: Path,
        aws: Aws,
        log: Log,
        image: ImagePython,
        *,
        log_of: Callable[[str], Log] | None = None,
        environment: Mapping[str, str] | None = None,
        isolated: bool = False,
    ) -> None:
        self._aws = aws
        self._isolated = isolated
        self._image = image
        self._platform = dict(environment or {})
        self._stopped = threading.Event()
        self._definitions = containers
        self._directories = [workdir / name for name in container_names(containers)]
        self._containers = [
            self._container(definition, directory, log_of(directory.name) if log_of else log)
            for definition, directory in zip(containers, self._directories, strict=True)
        ]

    def start(self, timeout: float = 240.0) -> None:
        """Fetch the models and start all containers at once. Raises JobFailedError with the first reason."""
        with ThreadPoolExecutor(len(self._containers), thread_name_prefix="start container") as pool:
            futures = [pool.submit(self._start, number, timeout) for number in range(len(self._containers))]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            failed = next((error for future in done if (error := future.exception())), None)
            if failed is not None:
                self.stop(0)
        if failed is not None:
            self.stop(0)
            raise failed

    async def invoke(
        self,
        body: bytes,
        content_type: str,
        accept: str | None,
        headers: Mapping[str, str],
        timeout: float = INVOCATION_TIMEOUT_SECONDS,
    ) -> Reply:
        """Return the last container's answer, or the first that is not 2xx; all on one loop.

        Raises InvocationTimeoutError.

        Custom attributes that a container sets go with its answer: to the next container in place of the caller's, and
        in the end to the caller. What AWS does with those of a container that is not the last is not documented.
        """
        wanted = {"Accept": accept} if accept else {}
        reply, serving = Reply(500), self._containers[0].name
        attributes: dict[str, str] = {}
        until = asyncio.get_running_loop().time() + timeout
        try:
            for container in self._containers:
                serving = container.name
                kind = {"Content-Type": content_type} if content_type else {}
                sent = {**headers, **attributes, **wanted, **kind}
                reply = await container.request("POST", "/invocations", body, sent, until)
                if not reply.succeeded:
                    return reply
                body, content_type = reply.body, reply.content_type
                if returned := reply.headers.get(_ATTRIBUTES):
                    attributes = {CUSTOM_ATTRIBUTES: returned}
        except LateError:
            raise InvocationTimeoutError(serving) from None
        own = {name.lower(): value for name, value in attributes.items()}
        return reply._replace(headers={**reply.headers, **own}) if own else reply

    def ask(
        self,
        body: bytes,
        content_type: str,
        accept: str | None,
        headers: Mapping[str, str],
        timeout: float = INVOCATION_TIMEOUT_SECONDS,
    ) -> Reply:
        """Answer as `invoke` does, at once, to a thread that has no event loop, over connections of its own."""

        async def reply() -> Reply:
            try:
                return await self.invoke(body, content_type, accept, headers, timeout)
            finally:
                for container in self._containers:
                    container.disconnect()

        return asyncio.run(reply())

    def stop(self, grace_seconds: float = STOP_GRACE_SECONDS) -> None:
        """End all containers at once and remove what they had on disk."""
        self._stopped.set()
        with ThreadPoolExecutor(len(self._containers), thread_name_prefix="stop container") as pool:
            list(pool.map(lambda container: container.stop(grace_seconds), self._containers))
        for directory in self._directories:
            shutil.rmtree(directory, ignore_errors=True)

    def _start(self, number: int, timeout: float) -> None:
        directory, container = self._directories[number], self._containers[number]
        for folder in ("ml/model", "tmp", "home"):
            (directory / folder).mkdir(parents=True, exist_ok=True)
        definition = self._definitions[number]
        self._fetch(container.name, definition["ModelDataUrl"], directory / "ml" / "model")
        if source := _submitted(definition):
            if self._isolated:
                raise JobFailedError(
                    f"ClientError: the model is isolated from the network, so its container cannot fetch {source}. "
                    "Put the source below code/ of model.tar.gz."
                )
            self._fetch(container.name, source, directory / "ml" / "code")
        if not self._stopped.is_set():
            container.start(timeout)

    def _fetch(self, name: str, url: str, folder: Path) -> None:
        archive = folder.with_suffix(".tar.gz")
        try:
            self._aws.download(s3_uri(url), archive)
        except (ClientError, BotoCoreError) as error:
            raise JobFailedError(
                f'ClientError: Failed to download model data for container "{name}" from URL: "{url}". Please ensure '
                "that there is an object located at the URL and that the role passed to CreateModel has permissions "
                f"to download the object. ({error})"
            ) from error
        extract_tar(archive, folder)
        archive.unlink()

    def _container(self, definition: Document, directory: Path, log: Log) -> Container:
        root = directory / "ml"
        image = stand_in(definition["Image"], self._image.root, "serving")
        own = {
            name: _OPT_ML.sub(lambda _: str(root), value) for name, value in definition.get("Environment", {}).items()
        }
        if _submitted(definition):
            own[_SUBMIT_DIRECTORY] = str(root / "code")
        if image.own:
            serve = [_OPT_ML.sub(lambda _: str(root), part) for part in image.command("serve", self._image.path)]
            own["LOCALCLOUD_SERVE"] = json.dumps(serve)
        environment = {
            **self._image.environment(directory),
            **self._aws.environment(isolated=self._isolated),
            **self._platform,
            **own,
        }
        command = [str(self._image.path), str(image.serves), "--root", str(root)]
        as_logged = partial(_as_logged, root=root)
        return Container(directory.name, command, directory, environment, log, self._image, as_logged)


def _submitted(definition: Document) -> str:
    """Return the S3 URI of a container's script, if it is not in the model's archive."""
    place: str = definition.get("Environment", {}).get(_SUBMIT_DIRECTORY, "")
    return place if place.startswith("s3://") else ""


def _as_logged(line: str, root: Path) -> str:
    """Return a line of output as CloudWatch has it on AWS."""
    return line.replace(str(root), "/opt/ml").replace("\t", "#011")


def container_names(containers: list[Document]) -> list[str]:
    """Return the names of a model's containers: ContainerHostname, else `primary`, or of several `container-1`..."""
    if len(containers) == 1:
        return [containers[0].get("ContainerHostname") or "primary"]
    return [item.get("ContainerHostname") or f"container-{number}" for number, item in enumerate(containers, 1)]
