"""One guard before the console: who may ask, and what a page may do.

* The request names 127.0.0.1 or localhost and this port as its Host: the name of a web site may lead here as well (DNS
  rebinding).
* No other web page has sent it: neither an Origin nor Sec-Fetch-Site says so.
* Whoever asks for data knows the token of this start, which is in the address that the command prints, behind the #:
  browsers keep that to themselves, and the page sends it in a header, which no form and no other page can. Loopback is
  no permission: other people of this machine reach it as well.
* What changes something is a POST, and where the console only reads it is refused.

Answers are for this page alone: nothing may frame them, cache them or read them, and the page may load and ask nothing
but what is here, with no script and no style in its HTML.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN = "x-perennial-token"  # noqa: S105 - the name of a header
API = "/api/"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
HTTP = 80
READS = ("GET", "HEAD")
WITHOUT = (
    "the token is missing or another: open the address that `perennial console` or `perennial local status` prints"
)


@dataclass(frozen=True)
class Refusal:
    """Why a request is refused, and with which status."""

    status: int
    why: str


class Guard:
    """The application behind the guard.

    may_change  why nothing may be changed; empty where it may
    """

    def __init__(self, inner: ASGIApp, port: int, token: str, only_reads: str = "") -> None:
        self._inner, self._token, self._only_reads = inner, token, only_reads
        end = "" if port == HTTP else f":{port}"  # of which browsers say nothing
        self._hosts = {f"{name}{end}" for name in ("127.0.0.1", "localhost")}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if refusal := self.refusal(scope):
            answer = JSONResponse({"message": refusal.why}, refusal.status)
            await answer(scope, receive, send_guarded)
        else:
            await self._inner(scope, receive, send_guarded)

    def refusal(self, scope: Scope) -> Refusal | None:
        """Return why the head of a request is refused; None: it is not."""
        headers = Headers(scope=scope)
        host, origin = headers.get("host", "").lower(), headers.get("origin")
        if host not in self._hosts:
            return Refusal(421, f"the request is for the host {host!r}; expected {' or '.join(sorted(self._hosts))}")
        if origin not in (None, f"http://{host}") or headers.get("sec-fetch-site", "none") not in (
            "none",
            "same-origin",
        ):
            return Refusal(403, "the request comes from another web page; the console answers its own page only")
        if not scope["path"].startswith(API):
            return None if scope["method"] in READS else Refusal(405, "a page is only read")
        token = headers.get(TOKEN, "").encode("latin-1", "replace")
        if not hmac.compare_digest(token, self._token.encode()):
            return Refusal(401, WITHOUT)
        if scope["method"] not in READS and self._only_reads:
            return Refusal(403, self._only_reads)
        return None
