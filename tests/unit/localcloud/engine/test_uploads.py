"""Uploads that nobody ends are forgotten, as the rules of their buckets say: their parts are in memory."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from localcloud.engine import uploads

HERE = "000000000000"


class Scoped(dict[tuple[str, str], Any]):
    """A store of MiniStack: its entries by account and name."""

    @property
    def _data(self) -> "Scoped":
        return self

    def get_scoped(self, account: str, region: None, name: str) -> Any:
        return self.get((account, name))


def rule(days: int, prefix: str = "", status: str = "Enabled") -> dict[str, Any]:
    return {
        "Status": status,
        "Filter": {"Prefix": prefix},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": days},
    }


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        (None, ["six days"]),
        ([], ["six days"]),
        ([rule(10)], ["six days", "eight days"]),
        ([rule(1)], []),
        ([rule(1, "elsewhere/"), rule(10, "raw/")], ["six days", "eight days"]),
        ([rule(1, status="Disabled")], ["six days"]),
        ("<what cannot be read>", ["six days"]),
    ],
)
def test_an_upload_is_aborted_as_the_lifecycle_of_its_bucket_says_and_else_after_a_week(
    monkeypatch: pytest.MonkeyPatch, rules: Any, left: list[str]
) -> None:
    begun = {"six days": "2026-11-24T10:00:00.000Z", "eight days": "2026-11-22T10:00:00.000Z"}
    known = Scoped(
        {(HERE, name): {"bucket": "b", "key": "raw/x", "created": at, "parts": {}} for name, at in begun.items()}
    )
    ended = Scoped({(HERE, str(number)): {"key": "k"} for number in range(1_002)})
    stores = SimpleNamespace(
        _bucket_lifecycle=Scoped({(HERE, "b"): rules, ("111111111111", "b"): [rule(1)]}),
        _completed_multipart_uploads=ended,
        _multipart_uploads=known,
    )
    monkeypatch.setattr(uploads, "s3", stores)
    uploads.abort_abandoned(datetime(2026, 11, 30, 11, tzinfo=UTC))
    assert [name for _, name in known] == left
    assert [name for _, name in ended] == [str(number) for number in range(2, 1_002)]
