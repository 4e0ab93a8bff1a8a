"""Local clouds that start without most of their imports: forks of a process that has loaded them (localcloud/forks.py).

That is half of what a start costs, and tests start many. MiniStack is imported by each server as ever: it reads the
environment then; its byte code is read once, and so are AWS's descriptions of services, and the key is made once that
it makes for Cognito. As a script this is that process; imported, it starts servers.
"""

import atexit
import importlib
import importlib.util
import os
import pkgutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from tempfile import mkdtemp
from types import CodeType
from unittest.mock import patch

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

import localcloud
from localcloud import fork_server, forks
from localcloud.engine import operations
from localcloud.service_models import service_model
from localcloud.settings import PROJECT, Settings
from tests import forked

# What MiniStack and the server itself import when they start.
LIBRARIES = (
    *("boto3", "defusedxml.ElementTree", "docker", "graphql", "hypercorn.protocol", "jsonata", "yaml", "uvicorn"),
    *("cryptography.x509", "cryptography.hazmat.primitives.asymmetric.rsa", "uvicorn.lifespan.on"),
    "uvicorn.protocols.http.httptools_impl",
)
ELSEWHERE = {"containers", "algorithms", "__main__", "fork_server"}  # what runs in other processes


def load() -> None:
    names = [module.name for module in pkgutil.walk_packages(localcloud.__path__, "localcloud.")]
    for name in (*LIBRARIES, *(name for name in names if ELSEWHERE.isdisjoint(name.split(".")))):
        importlib.import_module(name)
    keep_code("ministack")
    keep_models()
    keep_key()
    assert "ministack" not in sys.modules


def keep_models() -> None:
    """Read AWS's descriptions of the services, of which each server reads some when it starts or is first asked."""
    services = sorted({*operations.MODELS.values(), "s3", "sagemaker"})
    for service in services:
        service_model(service)
    fork_server.keep_models(services)


def keep_key() -> None:
    """Make the key, and read it, of which each state folder has a copy: to read it takes as long as to make it."""
    rsa.generate_private_key = cache(rsa.generate_private_key)
    serialization.load_pem_private_key = cache(serialization.load_pem_private_key)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    plain = serialization.NoEncryption()
    text = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    serialization.load_pem_private_key(text, password=None)


def keep_code(package: str) -> None:
    """Read the byte code of a package, for this process's forks to import."""
    spec, get_code = importlib.util.find_spec(package), SourceFileLoader.get_code
    assert spec is not None
    files = list(Path(str(spec.origin)).parent.rglob("*.py"))
    codes = {str(file): get_code(SourceFileLoader(package, str(file)), package) for file in files}

    def kept_code(loader: SourceFileLoader, name: str) -> CodeType | None:
        return codes.get(loader.get_filename(name)) or get_code(loader, name)

    SourceFileLoader.get_code = kept_code  # type: ignore[method-assign]


@cache
def _origin() -> forks.ForkServer:
    """One for all tests of a worker; it ends with the worker."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    origin = forks.ForkServer(Path(sys.executable), [], Path(mkdtemp()), environment)
    with patch.object(forks, "SCRIPT", Path(__file__)):
        origin.start()
    atexit.register(origin.close)
    return origin


def start(script: Path, *given: str, log: Path, **more: str) -> "subprocess.Popen[bytes] | forks.ForkedProcess":
    """Start a program of the project that becomes a server, in a session of its own."""
    command, variables = [sys.executable, str(script), *given], {**os.environ, "PYTHONPATH": str(PROJECT), **more}
    with log.open("ab") as out, Path(os.devnull).open() as nothing:
        files = {0: nothing.fileno(), 1: out.fileno(), 2: out.fileno()}
        if forks.POSSIBLE and (started := _origin().fork(command, log.parent, variables, files)):
            return forks.ForkedProcess(*started)
        return subprocess.Popen(
            command, cwd=log.parent, env=variables, stdin=nothing, stdout=out, stderr=out, start_new_session=True
        )


def command(*given: str, env: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    """Run `python localcloud <given>` in the project's folder, with this environment and no other."""
    words = [sys.executable, str(PROJECT / "localcloud" / "__main__.py"), *given]
    return forked.run(_origin(), words, cwd=PROJECT, env={**env, "PYTHONPATH": str(PROJECT)}, timeout_seconds=90)


def spawn(settings: Settings) -> "subprocess.Popen[bytes] | forks.ForkedProcess":
    """In place of `localcloud.process._spawn`."""
    given = ["up", "--foreground", "--port", str(settings.port), "--state", str(settings.state)]
    script = PROJECT / "localcloud" / "__main__.py"
    return start(script, *given, "--region", settings.region, log=settings.state / "server.log")


if __name__ == "__main__":
    ending = fork_server.Ending()
    load()
    if arguments := fork_server.Server(socket.socket(fileno=int(sys.argv[1]))).serve():
        with ending.known():
            fork_server.run(arguments)
