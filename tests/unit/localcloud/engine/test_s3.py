"""What is remembered of an object and its uploads, so that a write that finds no room can be undone."""

from localcloud.engine.s3 import _copied


def test_what_is_remembered_of_an_upload_has_its_parts_and_no_copies_of_them() -> None:
    """Each part would else cost as much as all before it."""
    part = {"body": b"1", "etag": "a"}
    parts = {1: part}
    upload = {"key": "k", "parts": parts}
    remembered = _copied(upload)
    parts[2] = {"body": b"2", "etag": "b"}
    assert (remembered, remembered["parts"][1] is part) == ({"key": "k", "parts": {1: part}}, True)
