"""What a serving container makes of requests: quick ones by one thread, slow ones side by side, each its own answer."""

import asyncio
import http.client
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from localcloud.sagemaker.containers import frames
from localcloud.sagemaker.containers.serving_container import AT_ONCE, LARGEST_BODY
from localcloud.sagemaker.endpoints.connection import Answer, Connection
from localcloud.settings import PROJECT, image_python
from tests.on_a_loop import on_a_loop

SCRIPT = """
import threading, time
from sagemaker_containers.beta.framework import worker

def model_fn(folder): pass

def transform_fn(model, body, content_type, accept):
    word, _, number = body.partition(" ")
    if word == "sleep":
        time.sleep(float(number))
    if word == "exit":
        raise SystemExit
    if word == "large":
        return "x" * int(number), "text/csv"
    if word == "headers":
        return worker.Response("", headers={"X-Name": number}, mimetype="text/csv")
    return f"{body} {threading.get_ident()}", "text/csv"
"""
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


async def invoke(connection: Connection, text: str) -> str:
    status, _, body = await connection.exchange("POST", "/invocations", text.encode(), {"Content-Type": "text/csv"})
    assert status == 200
    return body.decode()


async def invoke_all(connection: Connection, texts: list[str]) -> tuple[list[str], float]:
    """The answers to what is asked at once, and how long all of them took."""
    began = time.monotonic()
    answers = await asyncio.gather(*(invoke(connection, text) for text in texts))
    return answers, time.monotonic() - began


@on_a_loop
async def test_what_is_quick_is_answered_by_one_thread(control: socket.socket) -> None:
    connection = await Connection.to(control)
    texts = [f"car {number}" for number in range(500)]
    answers, _ = await invoke_all(connection, texts)
    connection.close()
    assert [answer.rpartition(" ")[0] for answer in answers] == texts
    assert len({answer.rpartition(" ")[2] for answer in answers}) == 1


@on_a_loop
async def test_slow_requests_are_answered_side_by_side(control: socket.socket) -> None:
    connection = await Connection.to(control)
    texts = [f"sleep {1 + number / 1000}" for number in range(AT_ONCE)]
    for _ in range(2):
        answers, took = await invoke_all(connection, texts)
        assert [answer.rpartition(" ")[0] for answer in answers] == texts
        assert took < AT_ONCE / 2
    connection.close()


@on_a_loop
async def test_requests_that_are_neither_quick_nor_long_are_answered_side_by_side_too(control: socket.socket) -> None:
    connection = await Connection.to(control)
    await invoke_all(connection, ["sleep 0.01"] * 5)
    answers, _ = await invoke_all(connection, ["sleep 0.01"] * 40)
    connection.close()
    assert len(set(answers)) >= AT_ONCE / 2


@on_a_loop
async def test_more_slow_requests_than_go_at_once_wait_for_none_of_them(control: socket.socket) -> None:
    connection = await Connection.to(control)
    _, took = await invoke_all(connection, ["sleep 2"] * 5 * AT_ONCE)
    connection.close()
    assert took < 6


@on_a_loop
async def test_a_quick_request_does_not_wait_for_one_that_hangs(control: socket.socket) -> None:
    """Whether it came before, with it, or after it."""
    connection = await Connection.to(control)
    slow = asyncio.create_task(invoke(connection, "sleep 60"))
    for _ in range(3):
        await invoke_all(connection, ["a", "b"])
    assert not slow.done()
    slow.cancel()
    connection.close()


@on_a_loop
async def test_after_a_slow_request_and_many_quick_ones_one_thread_answers_again(control: socket.socket) -> None:
    connection = await Connection.to(control)
    await invoke_all(connection, ["sleep 0.1"])
    for _ in range(200):
        await invoke(connection, "a")
    answers, _ = await invoke_all(connection, ["a"] * 50)
    connection.close()
    assert len(set(answers)) == 1


@on_a_loop
async def test_a_request_that_ends_its_thread_is_the_only_one_without_an_answer(control: socket.socket) -> None:
    connection = await Connection.to(control)
    ended, *others = await asyncio.gather(
        *(invoke(connection, text) for text in ("exit", "a", "b")), return_exceptions=True
    )
    connection.close()
    assert isinstance(ended, http.client.RemoteDisconnected)
    assert [str(other)[0] for other in others] == ["a", "b"]


@on_a_loop
async def test_what_is_no_invocation_has_its_status(control: socket.socket) -> None:
    connection = await Connection.to(control)

    async def status(method: str, path: str) -> int:
        return (await connection.exchange(method, path, b"", {}))[0]

    asked = [("GET", "/ping"), ("GET", "/execution-parameters"), ("GET", "/invocations"), ("POST", "/other")]
    statuses = [await status(*one) for one in asked]
    connection.close()
    assert statuses == [200, 404, 404, 404]


@on_a_loop
async def test_bodies_may_be_large_up_to_a_bound(control: socket.socket) -> None:
    connection = await Connection.to(control)
    assert len(await invoke(connection, "large 20000000")) == 20_000_000
    status, _, _ = await connection.exchange("POST", "/invocations", bytes(LARGEST_BODY + 1), {})
    connection.close()
    assert status == 413


@on_a_loop
async def test_a_header_that_would_bring_others_is_a_servers_error(control: socket.socket) -> None:
    connection = await Connection.to(control)
    sent: list[Answer] = [
        await connection.exchange("POST", "/invocations", b"headers " + value, {"Content-Type": "text/csv"})
        for value in (b"a", b"a\nX: b")
    ]
    connection.close()
    assert [(status, headers.get("x-name")) for status, headers, _ in sent] == [(200, "a"), (500, None)]


@on_a_loop
async def test_values_in_one_another_are_refused_at_every_depth(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "perennial").symlink_to(PROJECT / "perennial")
    (tmp_path / "model" / "preprocessor.json").write_text(json.dumps(PREPROCESSOR))
    with served(tmp_path, (PROJECT / "processing" / "inference.py").read_text()) as control:
        connection = await Connection.to(control)
        for depth in range(900, 1001):
            body = b'{"mileage": ' + b"[" * depth + b"]" * depth + b"}"
            kind = {"Content-Type": "application/json"}
            assert (await connection.exchange("POST", "/invocations", body, kind))[0] == 400, depth
        connection.close()


def test_a_container_whose_owner_ends_while_requests_wait_ends_too(tmp_path: Path) -> None:
    with served(tmp_path, SCRIPT) as control:
        own, its = socket.socketpair()
        with own, its:
            socket.send_fds(control, [b"+"], [its.fileno()])
            head = frames.head("POST /invocations", {"Content-Type": "text/csv"})
            own.sendall(b"".join(frames.packed(number, 0, head, b"sleep 30") for number in range(20)))
            time.sleep(0.3)
