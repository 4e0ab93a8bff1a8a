"""What a serving container answers to what is hardly HTTP: something short, and the next caller is served."""

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from localcloud.settings import PROJECT, image_python

SCRIPT = "def model_fn(folder): pass\ndef transform_fn(model, body, content_type, accept): return body, 'text/csv'\n"
POST = b"POST /invocations HTTP/1.1\r\n"


COLUMN = {"name": "mileage", "type": "float", "nullable": False}
PREPROCESSOR = {"format": 2, "columns": [COLUMN], "encodings": []}


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[socket.socket]:
    with served(tmp_path_factory.mktemp("ml"), SCRIPT) as own:
        yield own


@contextmanager
def served(root: Path, script: str) -> Iterator[socket.socket]:
    """What hands connections to a container with the script, and with the model and the modules that are in `root`."""
    (root / "code").mkdir(exist_ok=True)
    (root / "code" / "script.py").write_text(script)
    own, its = socket.socketpair()
    with its:
        program = PROJECT / "localcloud/sagemaker/containers/sklearn_serve.py"
        container = subprocess.Popen(
            [str(image_python()), str(program), "--root", str(root), "--fd", str(its.fileno())],
            env={**os.environ, "SAGEMAKER_PROGRAM": "script.py"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[its.fileno()],
        )
    with own:
        yield own
    assert container.wait(20) == 0  # its owner has gone


def answer(control: socket.socket, request: bytes) -> bytes:
    """All that comes back until the container closes the connection."""
    own, its = socket.socketpair()
    with its:
        socket.send_fds(control, [b"+"], [its.fileno()])
    replies = bytearray()
    with own, suppress(ConnectionResetError):  # the container has read no more of the request
        own.settimeout(20)
        own.sendall(request)
        own.shutdown(socket.SHUT_WR)
        while received := own.recv(1 << 16):
            replies += received
    return bytes(replies)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /ping\xff\x00 HTTP/1.1\r\n\r\n", b"404"),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET /ping HTTP/1.1\r\nx: " + b"a" * 70_000 + b"\r\n\r\n", b"431"),
        (b"GET /ping HTTP/1.1\r\n" + b"x: y\r\n" * 200 + b"\r\n", b"431"),
        (b"BREW /ping HTTP/1.1\r\n\r\n", b"501"),
        (b"GET /ping\r\n\r\n", b"400"),
        (b"GET /ping HTTP/2.0\r\n\r\n", b"400"),
        (b"GET /ping HTTP/1.1\r\nx\r\n\r\n", b"400"),
        (b"GET /ping HTTP/1.1\r\nx : y\r\n\r\n", b"400"),
        (b"GET /ping HTTP/1.1\r\nx: y\r\n z: a\r\n\r\n", b"400"),
        (b"GET /ping HTTP/1.1\r\nx: y", b"400"),
        (POST + b"\r\nabc", b"411"),
        (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nabc", b"411"),
        (POST + b"Content-Length: 3\r\nContent-Length: 5\r\n\r\nabcde", b"400"),
        (POST + b"Content-Length: -3\r\n\r\nabc", b"400"),
        (POST + "Content-Length: ²\r\n\r\nabc".encode("latin-1"), b"400"),
        (POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nabc", b"400"),
        (POST + b"Content-Length: 99999999999999\r\n\r\nabc", b"413"),
        (POST + b"Content-Length: 10\r\n\r\nabc", b"400"),
    ],
)
def test_what_is_hardly_http_is_refused_with_a_status(
    control: socket.socket, request_bytes: bytes, status: bytes
) -> None:
    assert answer(control, request_bytes).startswith(b"HTTP/1.1 " + status)
    assert answer(control, POST + b"Content-Length: 3\r\n\r\nabc").endswith(b"\r\n\r\nabc")


def test_a_connection_is_kept_unless_the_caller_says_otherwise(control: socket.socket) -> None:
    ping = b"GET /ping HTTP/1.1\r\n%s\r\n"
    assert answer(control, 2 * (ping % b"")).count(b"HTTP/1.1 200") == 2
    assert answer(control, 2 * (ping % b"Connection: close\r\n")).count(b"HTTP/1.1 200") == 1
    assert answer(control, 2 * (ping % b"").replace(b"1.1", b"1.0")).count(b"HTTP/1.1 200") == 1


def test_nothing_after_a_refused_body_is_taken_for_a_request(control: socket.socket) -> None:
    smuggled = answer(control, POST + b"Content-Length: 3\r\nContent-Length: 0\r\n\r\nGET /ping HTTP/1.1\r\n\r\n")
    assert smuggled.count(b"HTTP/1.1") == 1


def test_values_in_one_another_are_refused_at_every_depth(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "perennial").symlink_to(PROJECT / "perennial")
    (tmp_path / "model" / "preprocessor.json").write_text(json.dumps(PREPROCESSOR))
    with served(tmp_path, (PROJECT / "processing" / "inference.py").read_text()) as control:
        for depth in range(900, 1001):
            body = b'{"mileage": ' + b"[" * depth + b"]" * depth + b"}"
            head = POST + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
            assert answer(control, head + body).startswith(b"HTTP/1.1 400"), depth
