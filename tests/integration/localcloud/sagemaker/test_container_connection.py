"""Connections to containers: what is no whole answer is told by its kind, and what cannot go on is not kept."""

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from localcloud.sagemaker.endpoints.connection import Connection


@contextmanager
def answering(*replies: bytes) -> Iterator[Connection]:
    """A connection to a server that answers each request so, and hangs up after the last one."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                for reply in replies:
                    peer.recv(1 << 16)
                    peer.sendall(reply)

        server = threading.Thread(target=serve)
        server.start()
        connection = Connection(listener.getsockname()[1])
        yield connection
        connection.close()
        server.join()


def test_a_connection_takes_one_request_after_the_other() -> None:
    reply = b"HTTP/1.1 %d OK\r\nX-Name: v\r\nContent-Length: 3\r\n\r\na\r\n"
    with answering(reply % 200, reply % 424) as connection:
        for status in (200, 424):
            got = connection.exchange("POST", "/invocations", b"1,2", {"Accept": "text/csv"}, 10)
            assert got == (status, {"x-name": "v", "content-length": "3"}, b"a\r\n")
            assert connection.may_be_kept


def test_a_connection_that_the_container_closes_is_not_kept() -> None:
    with answering(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n") as connection:
        assert connection.exchange("GET", "/ping", None, {}, 10)[0] == 200
        assert not connection.may_be_kept


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b"", http.client.RemoteDisconnected),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", http.client.IncompleteRead),
        (b"nonsense\r\n\r\n", http.client.BadStatusLine),
    ],
)
def test_what_is_no_whole_answer_is_an_error(reply: bytes, error: type[Exception]) -> None:
    with answering(reply) as connection:
        with pytest.raises(error):
            connection.exchange("POST", "/invocations", b"1", {}, 10)
        assert not connection.may_be_kept


def test_a_header_cannot_bring_others() -> None:
    with answering(b"") as connection:
        with pytest.raises(ValueError, match="Invalid header value"):
            connection.exchange("POST", "/invocations", b"1", {"Accept": "text/csv\r\nx-localcloud-key: a"}, 10)
        connection._socket.sendall(b"x") if connection._socket else None
