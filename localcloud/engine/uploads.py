"""Uploads in parts, where MiniStack takes what S3 refuses, and keeps what S3 forgets.

* A part that is copied goes into the upload of its own bucket and key, under a number from 1 to 10,000.
* An upload ends with one part at least, each named once, in the order of their numbers and with its ETag; all but the
  last have 5 MB.
* An upload that nobody has ended is aborted when a rule of its bucket's lifecycle says so, or else after a week: S3
  would keep it, and here its parts are in memory.

Source: Amazon S3 API Reference, UploadPartCopy, CompleteMultipartUpload, "Error responses"; User Guide, "Configuring a
bucket lifecycle configuration to delete incomplete multipart uploads".
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import islice, pairwise
from typing import Any
from xml.etree.ElementTree import ParseError

from defusedxml.ElementTree import fromstring

from localcloud.engine.permissions.actions import tag
from localcloud.engine.seams import Seams

s3 = Seams(
    "services.s3",
    _bucket_lifecycle="8dfb2e4b",
    _completed_multipart_uploads="7eb1bd88",
    _error="7dee2faa",
    _multipart_uploads="31750c2d",
    _qp="9568d6e5",
)

Answer = tuple[int, dict[str, str], bytes]
_MOST_PARTS = 10_000
_SMALLEST_PART_BYTES = 5 << 20
_DAYS = 7
_MOST_ENDED = 1_000  # answers that are kept for a client that repeats the end of its upload
_NUMBER = f"Part number must be an integer between 1 and {_MOST_PARTS}, inclusive"
_NO_UPLOAD = "The specified multipart upload does not exist."
_MALFORMED = "The XML you provided was not well-formed or did not validate against our published schema"
_ORDER = "The list of parts was not in ascending order. Parts must be ordered by part number."
_TOO_SMALL = "Your proposed upload is smaller than the minimum allowed size"


def refusal(
    method: str, bucket: str, key: str, headers: Mapping[str, str], body: bytes, query: Mapping[str, Any]
) -> Answer | None:
    """Return S3's answer to a request about an upload that it refuses; None where MiniStack may answer."""
    upload = s3._multipart_uploads.get(s3._qp(query, "uploadId"))
    if upload is None:
        return None
    if method == "PUT" and "x-amz-copy-source" in headers:
        return _refused_copy(upload, bucket, key, s3._qp(query, "partNumber"))
    if method == "POST" and (upload["bucket"], upload["key"]) == (bucket, key):
        return _refused_end(upload, body)
    return None


def abort_abandoned(now: datetime) -> None:
    """Forget uploads that nobody has ended, and the answers to all but the newest that were."""
    uploads: dict[tuple[str, str], Any] = s3._multipart_uploads._data
    for place, upload in list(uploads.items()):
        if now - datetime.fromisoformat(upload["created"]) >= timedelta(days=_days(place[0], upload)):
            uploads.pop(place, None)
    ended: dict[tuple[str, str], Any] = s3._completed_multipart_uploads._data
    for place in list(islice(ended, max(0, len(ended) - _MOST_ENDED))):
        ended.pop(place, None)


def _days(account: str, upload: Mapping[str, Any]) -> int:
    """Return how long an upload may take, as the first rule of its bucket that is for it says."""
    rules = s3._bucket_lifecycle.get_scoped(account, None, upload["bucket"])
    for rule in rules if isinstance(rules, list) else ():
        abort, part = rule.get("AbortIncompleteMultipartUpload"), rule.get("Filter") or {}
        prefix = rule.get("Prefix") or part.get("Prefix") or (part.get("And") or {}).get("Prefix") or ""
        if abort and rule.get("Status") == "Enabled" and upload["key"].startswith(prefix):
            return int(abort["DaysAfterInitiation"])
    return _DAYS


def _refused_copy(upload: Mapping[str, Any], bucket: str, key: str, number: str) -> Answer | None:
    if not (re.fullmatch(r"[0-9]{1,5}", number) and 1 <= int(number) <= _MOST_PARTS):
        return _answer("InvalidArgument", _NUMBER)
    if (upload["bucket"], upload["key"]) != (bucket, key):
        return _answer("NoSuchUpload", _NO_UPLOAD, 404)
    return None


def _refused_end(upload: Mapping[str, Any], body: bytes) -> Answer | None:
    try:
        parts = [_part(element) for element in fromstring(body) if tag(element) == "Part"]
    except (ParseError, ValueError, KeyError):
        return _answer("MalformedXML", _MALFORMED)
    if not 1 <= len(parts) <= _MOST_PARTS:
        return _answer("MalformedXML", _MALFORMED)
    if any(number >= following for number, following in pairwise(parts)):
        return _answer("InvalidPartOrder", _ORDER)
    sizes = [upload["parts"][number]["size"] for number in parts if number in upload["parts"]]
    if len(sizes) == len(parts) and any(size < _SMALLEST_PART_BYTES for size in sizes[:-1]):
        return _answer("EntityTooSmall", _TOO_SMALL)
    return None


def _part(element: Any) -> int:
    """Return the number of a part. Raises ValueError, KeyError: it has none, or no ETag."""
    texts = {tag(child): child.text or "" for child in element}
    if not texts["ETag"]:
        raise ValueError("ETag")
    return int(texts["PartNumber"])


def _answer(code: str, text: str, status: int = 400) -> Answer:
    answer: Answer = s3._error(code, text, status)
    return answer
