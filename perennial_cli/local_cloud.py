"""What only the local cloud has, besides AWS's services: mails and faults. It takes the account's own keys alone."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from perennial_cli.console import CommandError

FAULTS, MAILS = "/_localcloud/faults", "/_localcloud/mails"
TIMEOUT_SECONDS = 30
# It is on this machine, whatever proxies the environment names.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def call(method: str, path: str, document: Any = None) -> dict[str, Any]:
    """Return what the local cloud answers to a signed request. Raises CommandError: it refuses."""
    url, session = str(boto3.client("sts").meta.endpoint_url).rstrip("/"), boto3.DEFAULT_SESSION
    credentials: Any = session.get_credentials() if session else None  # the client has made it
    body = b"" if document is None else json.dumps(document).encode()
    signed = AWSRequest(method, f"{url}{path}", data=body)
    SigV4Auth(credentials, "localcloud", "local").add_auth(signed)
    request = urllib.request.Request(str(signed.url), body or None, dict(signed.headers), method=method)  # noqa: S310
    try:
        with _opener.open(request, timeout=TIMEOUT_SECONDS) as reply:
            return dict(json.load(reply))
    except urllib.error.HTTPError as error:
        with error:
            raise CommandError(str(json.load(error).get("message", error))) from error
