"""S3: an object that the disk does not take is refused, and what was there before stays; lists tell every key.

MiniStack changes its memory, announces the event and writes the files last; what it could not write it only logs. So
the answer is a success, a version that was replaced may be lost, and the next start misses the object. Here the files
of a request take their places together, the event follows them, and a write that found no room is undone. The event is
in the journal before that, and so is which files those are: the next start puts the rest of them in their places, and
tells the event if the object is there.

The content of each version, which MiniStack keeps in memory until a restart, is on the disk only.

Who asks for SSE-KMS and names no key gets the key that AWS manages (S3 User Guide, "Specifying server-side encryption
with AWS KMS"), which lets its whole account use it; MiniStack refuses. Its ARN has the alias, where AWS shows an id.

What a header cannot say is refused where it would be kept: MiniStack takes metadata out of a presigned address, where a
line break may stand. S3 does not return unprintable metadata of other ways in, but counts them in x-amz-missing-meta,
and encodes what is not ASCII as RFC 2047 says (User Guide, "Metadata", "Working with object metadata").

What an address with Signature Version 2 asks of the headers of an answer is signed; MiniStack knows Version 4 only.

ListObjectVersions encodes keys when it is asked to, as MiniStack's other lists do: XML takes a carriage return for a
line feed and cannot hold most control characters (API reference, ListObjectVersions, EncodingType).
"""

import contextvars
import copy
import inspect
import logging
import re
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, unescape

from uvicorn.protocols.http.httptools_impl import HEADER_RE, HEADER_VALUE_RE

from localcloud import disk
from localcloud.engine import uploads
from localcloud.engine.eventbridge.deliveries import origin
from localcloud.engine.journal import Entry, Journal
from localcloud.engine.persistence import rebound
from localcloud.engine.seams import Seams

responses = Seams("core.responses", get_account_id="270e1115", get_region="5f4ea734")
s3 = Seams(
    "services.s3",
    _atomic_write="487dc3f8",
    _bucket_notifications="f0aa97cc",
    _completed_multipart_uploads="7eb1bd88",
    _dispatch="f0be6d21",
    _ensure_bucket="d2d983a9",
    _error="7dee2faa",
    _fire_s3_event="a5e2222d",
    _fire_s3_event_async="7ff3355f",
    _list_object_versions="9eef5d49",
    _multipart_uploads="31750c2d",
    _next_event_sequencer="a49e9454",
    _object_acl="fbb93995",
    _object_annotations="d98b26fa",
    _object_legal_hold="6f31e2e8",
    _object_retention="0e370f11",
    _object_tags="14ff1c10",
    _object_versions="aed03739",
    _qp="9568d6e5",
    _reject_response_overrides_if_unsigned="698a9497",
    _resolve_sse_write_headers="b721990d",
    _url_encode="065da612",
    _version_file_exists="510c02ed",
    logger="e757af81",
)

Answer = tuple[int, dict[str, str], bytes]
_READS = ("GET", "HEAD", "OPTIONS")
_SIDECAR = ".meta.json"  # MiniStack writes it last, and reads the object's versions from it
_DRAFT = ".new.tmp"  # MiniStack takes no file that ends in .tmp for an object
_KEY_BYTES = 1024  # Amazon S3 API Reference, "Error responses", KeyTooLongError
_KMS_KEY = "x-amz-server-side-encryption-aws-kms-key-id"
_KEYS = re.compile(r"<(Delimiter|Key|KeyMarker|NextKeyMarker|Prefix)>([^<]*)</")
_INVALID = (
    "<Error><Code>InvalidArgument</Code><Message>A header cannot have the value that was given; expected no control "
    "characters</Message><ArgumentName>{}</ArgumentName></Error>"
)
logger = logging.getLogger(__name__)


@dataclass
class _Request:
    """The files that one request has written, and the events that follow when all are in their places."""

    drafts: list[tuple[Path, str]] = field(default_factory=list)
    events: dict[str, dict[str, Any]] = field(default_factory=dict)  # by their names in the journal
    error: OSError | None = None

    def keep(self, journal: Journal) -> None:
        """Move the drafts to their places as one step: after a kill the next start moves the rest (`finish`)."""
        if not self.drafts:
            return
        files = [(str(draft), path) for draft, path in self.drafts]
        (name,) = journal.note({"kind": "files", "files": files})
        if journal.error:
            self.error = journal.error
        while self.drafts and not self.error:
            draft, path = self.drafts[0]
            draft.replace(path)
            del self.drafts[0]
        journal.strike(name)

    def discard(self) -> None:
        for draft, _ in self.drafts:
            draft.unlink(missing_ok=True)


_announcing = ThreadPoolExecutor(16, "announce")  # to start a thread for each event, its request would wait for it
_current: ContextVar[_Request | None] = ContextVar("request", default=None)


class _Noticing(logging.LoggerAdapter[logging.Logger]):
    """The log of MiniStack's S3: the only place where a failed write comes out."""

    def warning(self, msg: object, *args: object, **options: Any) -> None:
        request = _current.get()
        for argument in args:
            if request and isinstance(argument, OSError) and disk.is_full(argument):
                request.error = argument
        super().warning(msg, *args, **options)


def finish(journal: Journal) -> None:
    """Move the drafts that an earlier process has left to their places, before MiniStack is imported and reads them."""
    for name, entry in journal.earlier("files").items():
        for draft, path in entry["files"]:
            if Path(draft).exists():
                Path(draft).replace(path)
        journal.strike(name)


def register(state: Path, journal: Journal) -> None:
    """Replace the seams. MiniStack must be importable (the environment is set)."""
    s3.replace("logger", lambda original: _Noticing(original, {}))
    s3.replace("_atomic_write", lambda original: _make_atomic_write(original, journal))
    s3.replace("_fire_s3_event_async", lambda original: _make_fire_later(original, journal))
    s3.replace("_list_object_versions", _make_list_object_versions)
    s3.replace("_reject_response_overrides_if_unsigned", _make_reject_response_overrides)
    s3.replace("_resolve_sse_write_headers", _make_resolve_sse_write_headers)
    s3.replace("_dispatch", lambda original: _make_dispatch(original, state, journal))


def _make_atomic_write(original: Any, journal: Journal) -> Any:
    def atomic_write(path: str, data: Any, *, text: bool = False) -> None:
        request = _current.get()
        if request is None:
            original(path, data, text=text)
            return
        if request.error:
            raise request.error
        original(path + _DRAFT, data, text=text)
        request.drafts.append((Path(path + _DRAFT), path))
        if path.endswith(_SIDECAR):
            request.keep(journal)

    return atomic_write


def _make_reject_response_overrides(original: Any) -> Any:
    def reject_response_overrides(headers: Any, query_params: Any, bucket_name: str, key: str) -> Any:
        """Take an address with Signature Version 2 for signed as well: `response-*` are part of what it signs.

        Amazon S3 User Guide, "Signing and authenticating REST requests" (Signature Version 2), CanonicalizedResource.
        The guard has checked its signature.
        """
        if s3._qp(query_params, "AWSAccessKeyId", "") and s3._qp(query_params, "Signature", ""):
            return None
        return original(headers, query_params, bucket_name, key)

    return reject_response_overrides


def _make_fire_later(original: Any, journal: Journal) -> Any:
    def fire(bucket_name: str, key: str, event_name: str, *arguments: Any, **options: Any) -> None:
        if bucket_name not in s3._bucket_notifications:
            return
        event = inspect.signature(original).bind(bucket_name, key, event_name, *arguments, **options).arguments
        event["sequencer"] = s3._next_event_sequencer(event_name)
        (name,) = journal.note(
            {
                "kind": "object",
                "scope": (responses.get_account_id(), responses.get_region()),
                "object": event,
            }
        )
        if (request := _current.get()) is None:
            _announce(journal, name, event)
        else:
            request.events[name] = event
            request.error = request.error or journal.error

    return fire


def _announce(journal: Journal, name: str, event: dict[str, Any]) -> None:
    """Send the event of an entry, beside its request; it is done when its deliveries are in the journal."""

    def fire() -> None:
        origin.set(name)
        s3._fire_s3_event(**event)
        journal.strike(name)

    _announcing.submit(contextvars.copy_context().run, fire)


def resume(journal: Journal, name: str, entry: Entry) -> None:
    """Send what an earlier process has not, unless it ended before it had done what the event tells."""
    event = entry["object"]
    kind, there = event["event_name"].removeprefix("s3:"), _is_there(**event)
    if (kind.startswith("ObjectCreated:") and not there) or (kind == "ObjectRemoved:Delete" and there):
        journal.strike(name)
    else:
        _announce(journal, name, event)


def _is_there(bucket_name: str, key: str, etag: str = "", version_id: str | None = None, **_: Any) -> bool:
    if version_id:
        return any(version["version_id"] == version_id for version in s3._object_versions.get((bucket_name, key), []))
    current = (s3._ensure_bucket(bucket_name) or {"objects": {}})["objects"].get(key)
    return current is not None and etag in ("", current["etag"])


def _make_list_object_versions(original: Any) -> Any:
    def encoded(match: re.Match[str]) -> str:
        return f"<{match[1]}>{s3._url_encode(unescape(match[2]))}</"

    def list_object_versions(bucket_name: str, query_params: dict[str, Any]) -> Answer:
        look = rebound(original, **_below(bucket_name, s3._qp(query_params, "prefix", "")))
        status, headers, body = look(bucket_name, query_params)
        if status == 200 and s3._qp(query_params, "encoding-type") == "url":
            head = "<EncodingType>url</EncodingType><IsTruncated>"
            body = _KEYS.sub(encoded, body.decode()).replace("<IsTruncated>", head, 1).encode()
        return status, headers, body

    return list_object_versions


def _below(bucket_name: str, prefix: str) -> dict[str, Any]:
    """Return what MiniStack looks through for a list of versions, without the keys that do not have the prefix.

    It asks of each key of all buckets, one after the other, whose it is: a list of one key took longer with each run.
    """
    bucket, account = s3._ensure_bucket(bucket_name), responses.get_account_id()
    if bucket is not None:
        keys = [key for key in list(bucket["objects"]) if key.startswith(prefix)]
        bucket = {**bucket, "objects": {key: bucket["objects"][key] for key in keys}}
    known = s3._object_versions.to_dict()
    places = [(owner, place) for owner, place in known if place[1].startswith(prefix)]
    mine = {place: known[owner, place] for owner, place in places if (owner, place[0]) == (account, bucket_name)}
    return {"_ensure_bucket": lambda _: bucket, "_object_versions": mine}


def _make_resolve_sse_write_headers(original: Any) -> Any:
    def resolve_sse_write_headers(headers: dict[str, str], bucket_name: str) -> tuple[dict[str, str] | None, Any]:
        request_headers = {**headers}
        if request_headers.get("x-amz-server-side-encryption") == "aws:kms" and not request_headers.get(_KMS_KEY):
            request_headers[_KMS_KEY] = (
                f"arn:aws:kms:{responses.get_region()}:{responses.get_account_id()}:alias/aws/s3"
            )
        resolved: tuple[dict[str, str] | None, Any] = original(request_headers, bucket_name)
        return resolved

    return resolve_sse_write_headers


def _make_dispatch(original: Any, state: Path, journal: Journal) -> Any:
    def dispatch(
        method: str, bucket: str, key: str, headers: dict[str, str], body: bytes, query: dict[str, Any]
    ) -> Answer:
        if unsayable := _unsayable(headers, query):
            return 400, {"Content-Type": "application/xml"}, _INVALID.format(unsayable).encode()
        if (size := len(key.encode("utf-8", "surrogatepass"))) > _KEY_BYTES:
            extra = {"Size": str(size), "MaxSizeAllowed": str(_KEY_BYTES)}
            refused: Answer = s3._error("KeyTooLongError", "Your key is too long", 400, extra=extra)
            return refused
        if unlike_s3 := uploads.refusal(method, bucket, key, headers, body, query):
            return unlike_s3
        if method in _READS:
            status, answered, content = original(method, bucket, key, headers, body, query)
            return status, _sayable(answered), content
        undo = _remembered(bucket, key, query)
        with _request(journal) as request:
            done: Answer = original(method, bucket, key, headers, body, query)
        if request.error is None:
            _forget_contents(bucket, key)
            for name, event in request.events.items():
                _announce(journal, name, event)
            return done
        undo()
        journal.strike(*request.events)
        why = disk.full(state)
        logger.warning("refused %s /%s/%s: %s", method, bucket, key, why)
        return disk.STATUS, {"Content-Type": "application/xml"}, disk.answer(why)

    return dispatch


def _unsayable(headers: dict[str, str], query: dict[str, Any]) -> str:
    """Return the first header, or `response-` parameter, that HTTP cannot carry; empty if there is none."""
    overrides = {name: s3._qp(query, name) for name in query if name.startswith("response-")}
    for name, value in {**headers, **overrides}.items():
        if HEADER_RE.search(name.encode()) or HEADER_VALUE_RE.search(value.encode()):
            return escape(repr(name))
    return ""


def _sayable(headers: dict[str, str]) -> dict[str, str]:
    """Return the headers of an answer as S3 says metadata."""
    answer = {name: value for name, value in headers.items() if not name.lower().startswith("x-amz-meta-")}
    metadata = {name: headers[name] for name in headers.keys() - answer.keys()}
    missing = {name for name, value in metadata.items() if _unsayable({name: value}, {}) or not name.isascii()}
    for name in metadata.keys() - missing:
        value = metadata[name]
        answer[name] = value if value.isascii() else f"=?UTF-8?B?{b64encode(value.encode()).decode()}?="
    return answer | ({"x-amz-missing-meta": str(len(missing))} if missing else {})


@contextmanager
def _request(journal: Journal) -> Iterator[_Request]:
    request = _Request()
    token = _current.set(request)
    try:
        yield request
        if request.error is None:
            request.keep(journal)
    except BaseException:
        journal.strike(*request.events)
        raise
    finally:
        _current.reset(token)
        request.discard()


def _forget_contents(bucket: str, key: str) -> None:
    """Drop the contents of a key's versions from memory; they are read from their files, as after a restart."""
    current = (s3._ensure_bucket(bucket) or {"objects": {}})["objects"].get(key) or {"body": b""}
    for version in s3._object_versions.get((bucket, key), []):
        if version.get("data") is None:
            continue
        is_current = current["body"] is None and (current.get("version_id") or "null") == version["version_id"]
        if is_current or s3._version_file_exists(bucket, key, version["version_id"]):
            version["data"] = None


def _remembered(bucket: str, key: str, query: dict[str, Any]) -> Callable[[], None]:
    """Return a function that sets the memory of a key back: its record, versions and marks, and an upload in parts.

    Requests for many keys and for versions are not set back: a client that repeats them succeeds.
    """
    if not key or "versionId" in query:
        return lambda: None
    objects = (s3._ensure_bucket(bucket) or {"objects": {}})["objects"]
    current = (objects.get(key) or {}).get("version_id")
    marks = (s3._object_tags, s3._object_acl, s3._object_annotations, s3._object_retention, s3._object_legal_hold)
    places = [
        (objects, key),
        (s3._object_versions, (bucket, key)),
        *((uploads, s3._qp(query, "uploadId")) for uploads in (s3._multipart_uploads, s3._completed_multipart_uploads)),
        *((mark, (bucket, key, version)) for mark in marks for version in {None, current}),
    ]
    before = [(store, name, _copied(store.get(name))) for store, name in places]

    def undo() -> None:
        for store, name, value in before:
            if value is None:
                store.pop(name, None)
            else:
                store[name] = value

    return undo


def _copied(value: Any) -> Any:
    """Return a copy that no later request changes.

    Of versions, which may be many, only marks are changed; of the parts of an upload, which they are, that are there.
    """
    if isinstance(value, list):
        return [{**version} for version in value]
    if isinstance(value, dict) and isinstance(value.get("parts"), dict):
        return {**value, "parts": {**value["parts"]}}
    return copy.deepcopy(value)
