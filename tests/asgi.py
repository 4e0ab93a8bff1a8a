"""Asking an ASGI application, without a server."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from perennial_cli.web.guard import TOKEN

PORT, SECRET = 4580, "a-token-of-this-start"
HOST = f"127.0.0.1:{PORT}"
PERSON = {"host": HOST, TOKEN: SECRET}


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    app: Any,
    path: str,
    method: str = "GET",
    body: bytes | dict[str, Any] = b"",
    headers: dict[str, str] | None = None,
    **query: str,
) -> Answer:
    """Ask as the page of a person does, or with other headers."""
    content = json.dumps(body).encode() if isinstance(body, dict) else body
    pairs = [(name.encode(), value.encode()) for name, value in (PERSON if headers is None else headers).items()]
    scope = {
        "type": "http", "http_version": "1.1", "method": method, "path": path, "raw_path": path.encode(),
        "root_path": "", "scheme": "http", "query_string": urlencode(query).encode(), "headers": pairs,
        "client": ("127.0.0.1", 50000), "server": ("127.0.0.1", PORT),
    }  # fmt: skip
    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        messages.append(message)

    asyncio.run(app(scope, receive, send))
    sent = b"".join(message.get("body", b"") for message in messages)
    return Answer(
        messages[0]["status"], {name.decode(): value.decode() for name, value in messages[0]["headers"]}, sent
    )
