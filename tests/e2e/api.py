"""Calls of a stack's API over HTTP, as clients make them: with a key, with a signature, or with neither."""

from __future__ import annotations

import json
import os
import re
from contextlib import closing
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.e2e.conftest import App

CONNECTION_SECONDS = 60


@dataclass(frozen=True)
class Answer:
    """What the API answers."""

    status: int
    headers: dict[str, str]
    document: Any


@dataclass(frozen=True)
class Api:
    """The API of a stack, asked with these headers, or signed by these credentials."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)
    credentials: Credentials | None = None

    @classmethod
    def of(cls, app: App, credentials: Credentials | None = None, **headers: str) -> Api:
        """The API on this machine: the output names AWS's host, and clients of the local cloud its path."""
        matched = re.fullmatch(r"https://(\w+)\.execute-api\.[^/]+/(\w+)", app.outputs["ApiUrl"])
        assert matched, app.outputs["ApiUrl"]
        url = f"{os.environ['AWS_ENDPOINT_URL']}/_aws/execute-api/{matched[1]}/{matched[2]}"
        return cls(url, {name.replace("_", "-"): value for name, value in headers.items()}, credentials)

    def post(self, body: Any, path: str = "/predictions", **headers: str) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self._send("POST", path, data, {"Content-Type": "application/json", **headers})

    def get(self, path: str = "/openapi.json") -> Answer:
        return self._send("GET", path, b"", {})

    def _send(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Answer:
        request = AWSRequest(method, self.url + path, {**self.headers, **headers}, body)
        if self.credentials:
            SigV4Auth(self.credentials, "execute-api", os.environ["AWS_REGION"]).add_auth(request)
        place = urlsplit(request.url)
        with closing(HTTPConnection(place.netloc, timeout=CONNECTION_SECONDS)) as connection:
            connection.request(method, place.path, body, dict(request.headers.items()))
            reply = connection.getresponse()
            return Answer(reply.status, {k.lower(): v for k, v in reply.getheaders()}, json.loads(reply.read()))
