"""A page of somebody else's on the port of the local cloud: an ASGI application that LOCALCLOUD_CONSOLE names.

Of it the local cloud knows its name, `<module>:<function>`, and gives that function its port and a token. It is loaded
when it is first asked for. A browser cannot sign, so that it checks its callers itself, behind Host and Origin: whoever
has the token, which is made of the account's own keys, may speak to it.
"""

import asyncio
import hashlib
import hmac
import importlib
import os
from base64 import urlsafe_b64encode
from pathlib import Path

from localcloud import access
from localcloud.engine.asgi import App, Receive, Scope, Send, answer
from localcloud.settings import Settings

PATH, VARIABLE = "/_console", "LOCALCLOUD_CONSOLE"
NONE_HERE = "There is no console on this port: it is there after `perennial local up`; else run `perennial console`.\n"


def token(state: Path) -> str:
    """Return what callers of the page have to know; who has it cannot tell the account's keys by it."""
    digest = hmac.digest(access.keys(state).secret_key.encode(), b"console", hashlib.sha256)
    return urlsafe_b64encode(digest).decode().rstrip("=")


def address(settings: Settings) -> str:
    """Return what a person opens in a browser; empty where there is no page."""
    return f"{settings.endpoint_url}{PATH}/#token={token(settings.state)}" if os.environ.get(VARIABLE) else ""


class MountedPage:
    """The application, below PATH."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._app: App | None = None
        self._loading = asyncio.Lock()

    @staticmethod
    def is_meant(path: str) -> bool:
        return path == PATH or path.startswith(f"{PATH}/")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].removeprefix(PATH)
        if not os.environ.get(VARIABLE):
            await answer(send, 404, {"content-type": "text/plain; charset=utf-8"}, NONE_HERE.encode())
        elif not path:  # addresses in the page begin where it is
            await answer(send, 308, {"location": f"{PATH}/"}, b"")
        else:
            async with self._loading:
                if self._app is None:
                    self._app = await asyncio.to_thread(self._load)
            await self._app({**scope, "path": path, "raw_path": path.encode()}, receive, send)

    def _load(self) -> App:
        module, _, function = os.environ[VARIABLE].partition(":")
        made: App = getattr(importlib.import_module(module), function)(self._settings.port, token(self._settings.state))
        return made
