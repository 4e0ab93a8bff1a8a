"""What is refused when the disk is nearly full."""

from pathlib import Path
from typing import Any

import pytest

from localcloud.engine import disk


def put(size: int, method: str = "PUT", **headers: str) -> dict[str, Any]:
    given = {"content-length": str(size), **{name.replace("_", "-"): value for name, value in headers.items()}}
    return {
        "type": "http",
        "method": method,
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(disk.RESERVE_VARIABLE, str(1 << 30))


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize(
    "request_", [put(1 << 20), put(0, x_amz_copy_source="b/k"), put(0, transfer_encoding="chunked")]
)
def test_large_uploads_and_copies_are_refused_with_what_to_do(request_: dict[str, Any], tmp_path: Path) -> None:
    why = disk.refusal(request_, tmp_path)
    assert str(tmp_path) in why
    assert "Free some space" in why
    assert disk.problem(tmp_path)


@pytest.mark.usefixtures("full")
@pytest.mark.parametrize("request_", [put(1000), put(1 << 20, "POST"), put(1 << 20, "GET"), {"type": "lifespan"}])
def test_what_is_small_and_what_stores_nothing_goes_through(request_: dict[str, Any], tmp_path: Path) -> None:
    assert disk.refusal(request_, tmp_path) == ""


def test_nothing_is_refused_while_there_is_room(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(disk.RESERVE_VARIABLE, "0")
    assert disk.refusal(put(1 << 20), tmp_path) == ""
    assert disk.problem(tmp_path) == ""


def test_an_upload_that_would_not_leave_the_reserve_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(disk.RESERVE_VARIABLE, "0")
    assert disk.refusal(put(1 << 60), tmp_path)


def test_the_answer_is_an_error_of_s3() -> None:
    assert disk.answer("a & b < c").startswith(b"<Error><Code>InsufficientStorage</Code><Message>a &amp; b &lt; c<")
