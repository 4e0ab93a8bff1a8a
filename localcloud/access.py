"""The keys of a local cloud, made for its state folder: whoever signs with them may speak to it.

Only the folder's owner can read them (`keys.json`, 0600, in a folder of 0700), and `python -m localcloud env` prints
them. Without the file a start makes new ones. botocore is imported where it is needed: that takes its time.
"""

import json
import os
import secrets
import string
import urllib.request
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

caller: ContextVar[dict[str, Any]] = ContextVar("caller", default={})  # noqa: B039  (never changed)
"""UserContext of whoever asks SageMaker, as its API has it: {"IamIdentity": {"Arn", "PrincipalId"}}; else empty."""

STATUS_PATH = "/_localcloud/status"
_FILE = "keys.json"
_ALPHABET = string.ascii_uppercase + "234567"
# The local cloud is on this machine, whatever proxies the environment names.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Keys:
    """The account's own keys, of its root user: they may do everything."""

    access_key: str
    secret_key: str


def keys(state: Path) -> Keys:
    """Return the keys of a state folder; made, with the folder, when there are none yet."""
    path = private(state) / _FILE
    if not path.exists():
        made = Keys("LOCAL" + "".join(secrets.choice(_ALPHABET) for _ in range(15)), secrets.token_urlsafe(30))
        draft = state / f"{_FILE}.{uuid4().hex}"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(asdict(made), file)
        try:
            path.hardlink_to(draft)
        except FileExistsError:
            pass  # another process was first
        finally:
            draft.unlink()
    return Keys(**json.loads(path.read_text()))


def private(folder: Path) -> Path:
    """Return the folder, made if it is not there, and nobody else's to look into."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    return folder


def call(variables: Mapping[str, str], method: str, path: str, body: bytes = b"", timeout_seconds: float = 30) -> Any:
    """Return the JSON that the local cloud answers to one signed request; `variables` are those of `localcloud env`.

    Raises:
        urllib.error.HTTPError: it has refused.
        OSError: it does not answer.
    """
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    signer = Credentials(
        variables["AWS_ACCESS_KEY_ID"], variables["AWS_SECRET_ACCESS_KEY"], variables.get("AWS_SESSION_TOKEN")
    )
    signed = AWSRequest(method, f"{variables['AWS_ENDPOINT_URL']}{path}", data=body)
    SigV4Auth(signer, "localcloud", "local").add_auth(signed)
    request = urllib.request.Request(str(signed.url), body or None, dict(signed.headers), method=method)  # noqa: S310
    with _opener.open(request, timeout=timeout_seconds) as reply:
        return json.load(reply)


def presigned(keys: Keys, url: str, seconds: int) -> str:
    """Return the address with a signature that makes it a link for whoever has it, for some time."""
    from botocore.auth import SigV4QueryAuth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest("GET", url)
    SigV4QueryAuth(Credentials(keys.access_key, keys.secret_key), "localcloud", "local", seconds).add_auth(request)
    return str(request.url)
