"""Serving the console on this machine's loopback."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable

import uvicorn

from perennial_cli.console import CommandError
from perennial_cli.web.app import Console, application

HOST = "127.0.0.1"


def serve(console: Console, port: int, tell: Callable[[str], None]) -> None:
    """Serve until Ctrl-C. Raises CommandError: the port is taken.

    port  0: any that is free
    tell  takes the address, which has the token of this start
    """
    token = secrets.token_urlsafe(24)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            raise CommandError(f"port {port} is taken ({error.strerror}); name another: --port PORT") from error
        listener.listen()
        port = int(listener.getsockname()[1])
        config = uvicorn.Config(
            application(console, port, token),
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,  # who asks is who has connected, whatever the request says
            ws="none",
            lifespan="off",
            timeout_graceful_shutdown=2,
        )
        tell(f"http://{HOST}:{port}/#token={token}")
        uvicorn.Server(config).run([listener])
