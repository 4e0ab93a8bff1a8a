"""The serving container of an image of one's own: its `serve` command runs here, and answers on a port of this machine.

Takes   the command in LOCALCLOUD_SERVE, JSON; images.json names it
Gives   the command SAGEMAKER_BIND_TO_PORT, on which it has to answer GET /ping and POST /invocations, as in a pipeline
        on AWS, and OPT_ML, the folder that stands for /opt/ml
Source  SageMaker Developer Guide, "Custom Inference Code with Hosting Services" and "Run real-time predictions with an
        inference pipeline"
"""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

if not __package__:  # started by its path, as a container starts its entrypoint
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from localcloud.sagemaker.containers.serving_container import Request, Response, main

HOST = "127.0.0.1"
PAUSE_SECONDS = 0.05
SECONDS = 120.0
_PASSED_ON = ("content-type", "accept", "x-amzn-sagemaker-custom-attributes")
_DIE_WITH_PARENT = 1  # prctl(2), PR_SET_PDEATHSIG


class OwnApplication:
    """A program that answers HTTP. One that ends, ends its container."""

    def __init__(self, command: list[str], root: Path) -> None:
        with socket.socket() as free:
            free.bind((HOST, 0))
            self._port = free.getsockname()[1]
        self._is_ending = False
        environment = {**os.environ, "SAGEMAKER_BIND_TO_PORT": str(self._port), "OPT_ML": str(root)}
        self._process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, preexec_fn=_ends_with_us)
        while not self._is_ready():
            time.sleep(PAUSE_SECONDS)
        threading.Thread(target=self._watch, daemon=True).start()

    def execution_parameters(self) -> Response:
        return self._exchange("GET", "/execution-parameters", None, {})

    def invoke(self, request: Request) -> Response:
        headers = {name: value for name, value in request.headers.items() if name in _PASSED_ON}
        return self._exchange("POST", "/invocations", request.body, headers)

    def _is_ready(self) -> bool:
        """Return whether it answers. Raises RuntimeError: it has ended."""
        if (code := self._process.poll()) is not None:
            raise RuntimeError(f"the serve command of images.json ended with exit code {code} before it answered /ping")
        try:
            return self._exchange("GET", "/ping", None, {}).status == 200
        except OSError:
            return False

    def end(self) -> None:
        """End the program, and not this one."""
        self._is_ending = True
        self._process.kill()
        self._process.wait()

    def _watch(self) -> None:
        code = self._process.wait()
        if not self._is_ending:
            print(f"the serve command ended with exit code {code}", flush=True)
            os._exit(1)

    def _exchange(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Response:
        connection = http.client.HTTPConnection(HOST, self._port, timeout=SECONDS)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            content, kind = answer.read(), answer.headers.get("content-type", "application/octet-stream")
            own = {name: value for name, value in answer.getheaders() if name.lower() == _PASSED_ON[-1]}
            return Response(answer.status, content, kind, own)
        finally:
            connection.close()


def _ends_with_us() -> None:
    """Have the kernel end it when this process is killed, where it can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)


def load(root: Path) -> OwnApplication:
    """Start the program of `<root>/model`."""
    command: list[str] = json.loads(os.environ["LOCALCLOUD_SERVE"])
    return OwnApplication(command, root)


if __name__ == "__main__":
    sys.exit(main(load, sys.argv[1:]))
