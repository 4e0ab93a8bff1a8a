"""S3: a copy whose source is a bucket of another account.

MiniStack looks for the source among the buckets of the account that copies. Whether the caller may read it is decided
before (permissions/requests.py). Tags of the source stay there: S3 copies them for whoever may read them, and nothing
here asks for that (API Reference, CopyObject, "x-amz-tagging-directive").
"""

from collections.abc import Callable
from types import FunctionType
from typing import Any
from urllib.parse import unquote

from localcloud.engine.permissions import owners
from localcloud.engine.persistence import rebound
from localcloud.engine.seams import Seams

s3 = Seams(
    "services.s3",
    _buckets="feba7881",
    _copy_object="b1878e6a",
    _object_versions="aed03739",
    _read_body="d448f143",
    _upload_part_copy="6dad09b7",
    _version_body="affd09bf",
)


def register() -> None:
    """Replace the seams. MiniStack must be importable (the environment is set)."""
    s3.replace("_copy_object", _make_copy)
    s3.replace("_upload_part_copy", _make_copy)


def _make_copy(original: FunctionType) -> Callable[..., Any]:
    def copy(*arguments: Any) -> Any:
        headers: dict[str, str] = arguments[-1]
        source = unquote(headers.get("x-amz-copy-source", "").lstrip("/").partition("?")[0])
        owner = owners.of_bucket(source.partition("/")[0])
        return (_reading_from(owner, original) if owner else original)(*arguments)

    return copy


def _reading_from(owner: str, original: FunctionType) -> Callable[..., Any]:
    """Return the same function, which finds what it reads in the other account, and writes into its own."""

    def there(function: Callable[..., Any]) -> Callable[..., Any]:
        def read(*arguments: Any) -> Any:
            with owners.scope(owner):
                return function(*arguments)

        return read

    return rebound(
        original,
        _ensure_bucket=lambda name: s3._buckets.get(name) or s3._buckets.get_scoped(owner, None, name),
        _object_versions=_Versions(owner),
        _read_body=there(s3._read_body),
        _version_body=there(s3._version_body),
    )


class _Versions:
    """What the other account keeps of its objects' versions."""

    def __init__(self, owner: str) -> None:
        self._owner = owner

    def get(self, place: tuple[str, str], default: Any = None) -> Any:
        return s3._object_versions.get_scoped(self._owner, None, place, default)
