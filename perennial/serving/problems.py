"""Refusals in the one form of the API: problem details (RFC 9457), of type about:blank."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = 30  # until somebody may ask again for what is not there yet


class ProblemError(Exception):
    """A request that gets no answer of the model: its status, why, further members and headers.

    is_expected  nothing is wrong: there is no model yet, or the endpoint sleeps
    """

    def __init__(
        self,
        status: HTTPStatus,
        detail: str,
        *,
        members: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        is_expected: bool = False,
    ) -> None:
        super().__init__(detail)
        self.is_expected = is_expected
        self.status = status
        self.headers = dict(headers or {})
        self.document = {"title": status.phrase, "detail": detail, **(members or {})}


def not_there(detail: str, seconds: int = RETRY_SECONDS, *, is_expected: bool = False) -> ProblemError:
    """Return the refusal of what nothing answers yet, or for a while not; after so many seconds one may ask again."""
    headers, text = {"Retry-After": str(seconds)}, f"{detail}; ask again in {seconds} seconds"
    return ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, text, headers=headers, is_expected=is_expected)


def failed(detail: str) -> ProblemError:
    """Return the refusal of a request that is right, and that the model or what is around it has failed on."""
    text = f"{detail}; send it again, and tell who operates the stack if that does not help"
    return ProblemError(HTTPStatus.BAD_GATEWAY, text)
