"""`perennial console`: where it listens, what it prints, and whom it lets change something."""

import re
import socket
from typing import Any

import pytest
import uvicorn

from perennial_cli.account import Account
from perennial_cli.web.app import ONLY_READS
from tests.asgi import ask
from tests.command import perennial
from tests.unit.conftest import REGION

LOCAL = Account("000000000000", REGION, "http://127.0.0.1:4566")
ADDRESS = re.compile(r"http://127\.0\.0\.1:(\d+)/#token=([\w-]{32})\n")


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, Any]]:
    """What would be served, each with the address of its socket."""
    calls: list[tuple[Any, Any]] = []

    def run(server: uvicorn.Server, sockets: list[socket.socket]) -> None:
        calls.append((server.config.app, sockets[0].getsockname()))

    monkeypatch.setattr(uvicorn.Server, "run", run)
    return calls


def test_it_listens_on_the_loopback_alone_and_prints_an_address_with_a_new_token(aws, served) -> None:
    printed = [ADDRESS.fullmatch(perennial("console", "--port", "0").stdout) for _ in range(2)]
    assert [name for _, (name, _) in served] == ["127.0.0.1"] * 2
    assert [int(match[1]) for match in printed if match] == [port for _, (_, port) in served]
    first, second = (match[2] for match in printed if match)
    assert first != second


@pytest.mark.parametrize(
    ("whom", "words", "may"), [(None, (), False), (None, ("--allow-changes",), True), (LOCAL, (), True)]
)
def test_of_an_account_it_only_reads_unless_it_is_told_otherwise(aws, served, monkeypatch, whom, words, may) -> None:
    if whom:
        monkeypatch.setattr("perennial_cli.web.command.say_whom", lambda: whom)
    match = ADDRESS.fullmatch(perennial("console", "--port", "0", *words).stdout)
    assert match
    host = f"127.0.0.1:{match[1]}"
    app = served[0][0]
    headers = {"host": host, "x-perennial-token": match[2]}
    answer = ask(app, "/api/versions/1", "POST", {"status": "none"}, headers=headers)
    assert (answer.status, answer.json["message"] == ONLY_READS) == ((400, False) if may else (403, True))


def test_a_port_that_is_taken_is_told_in_words(aws, served) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ended = perennial("console", "--port", port)
    assert (ended.exit_code, served) == (1, [])
    assert f"port {port} is taken" in ended.stderr
    assert "--port PORT" in ended.stderr
