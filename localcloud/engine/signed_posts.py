"""Whether a POST to SageMaker that is here as a whole is signed: the quick way to what the guard finds out as well.

Only the usual form is read: Signature Version 4 in a header, one value for each header, no parameters, a path that is
its own canonical form. Who signs what for which service repeats from request to request, and is read once. What has
another form, or is not right, is None or False here, and the guard's whole way says what is wrong.

Source: IAM User Guide, "Create a signed AWS API request".
"""

import calendar
import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from localcloud.engine.seams import Seams

router = Seams("core.router", extract_access_key_id="73d8c373")
sigv4 = Seams("core.sigv4", derive_signing_key="36229515", parse_header_signature="d70000ed")

SERVICE = "sagemaker"
_ALGORITHM = "AWS4-HMAC-SHA256"
_HEX = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"[0-9]{8}T[0-9]{6}Z")
_NAME = re.compile(r"[a-z0-9-]+")
_SECONDS = 300
"""How far the time of a signature may be from now, for all services but those of `sigv4.request_time_failure`."""


class Scheme(NamedTuple):
    """What a signature says besides itself."""

    key: str
    day: str
    region: str
    headers: tuple[str, ...]


class Claim(NamedTuple):
    scheme: Scheme
    signature: str
    content: str
    """The SHA-256 of the body."""


def claim(headers: Mapping[str, str], body: bytes) -> Claim | None:
    """Return what a request says of its signature, if it has the usual form and is of this time."""
    before, _, signature = headers.get("authorization", "").rpartition("Signature=")
    scheme, moment = _scheme(before), headers.get("x-amz-date", "")
    if not scheme or not _HEX.fullmatch(signature) or not _covers(scheme.headers, tuple(headers)):
        return None
    if moment[:8] != scheme.day or abs(time.time() - _seconds(moment)) > _SECONDS:
        return None
    content = hashlib.sha256(body).hexdigest()
    return Claim(scheme, signature, content) if headers.get("x-amz-content-sha256") in (None, content) else None


def is_right(claim: Claim, secret: str, path: str, headers: Mapping[str, str]) -> bool:
    """Return whether a signature is that of the secret; `path` has nothing that would be written otherwise."""
    scheme = claim.scheme
    values = "".join([f"{name}:{' '.join(headers.get(name, '').split())}\n" for name in scheme.headers])
    request = f"POST\n{path}\n\n{values}\n{';'.join(scheme.headers)}\n{claim.content}"
    scope = f"{scheme.day}/{scheme.region}/{SERVICE}/aws4_request"
    digest = hashlib.sha256(request.encode()).hexdigest()
    text = f"{_ALGORITHM}\n{headers['x-amz-date']}\n{scope}\n{digest}"
    made = hmac.digest(_signing_key(secret, scheme.day, scheme.region), text.encode(), "sha256").hex()
    return hmac.compare_digest(made, claim.signature)


@lru_cache(maxsize=1024)
def _scheme(before: str) -> Scheme | None:
    """Return what stands in an Authorization header before its signature, if it is of the usual form."""
    headers = {"authorization": f"{before}Signature=0", "x-amz-date": "19700101T000000Z"}
    parsed = sigv4.parse_header_signature(headers)
    if not before.startswith(f"{_ALGORITHM} ") or isinstance(parsed, tuple) or parsed.signature != "0":
        return None
    names = tuple(parsed.signed_headers.split(";"))
    is_usual = parsed.service == SERVICE and parsed.region_set is None and "host" in names
    is_one_key = router.extract_access_key_id(headers, {}) == parsed.access_key_id
    if not (is_usual and is_one_key and all(map(_NAME.fullmatch, names))):
        return None
    return Scheme(parsed.access_key_id, parsed.date_stamp, parsed.region, names)


@lru_cache(maxsize=1024)
def _covers(signed: tuple[str, ...], names: tuple[str, ...]) -> bool:
    """Return whether every header that may change what is done is signed."""
    return all(name in signed for name in names if name.startswith("x-amz-"))


@lru_cache(maxsize=1024)
def _seconds(moment: str) -> float:
    """Return a time as seconds since 1970; minus infinity for what is none."""
    if not _TIME.fullmatch(moment):
        return float("-inf")
    try:
        return calendar.timegm(time.strptime(moment, "%Y%m%dT%H%M%SZ"))
    except ValueError:
        return float("-inf")


@lru_cache(maxsize=256)
def _signing_key(secret: str, day: str, region: str) -> bytes:
    key: bytes = sigv4.derive_signing_key(secret, day, region, SERVICE)
    return key
