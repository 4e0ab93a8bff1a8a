"""Errors that callers see, in AWS's codes."""

from __future__ import annotations


def one_line(text: str, limit: int = 200) -> str:
    """Return the beginning of a text of a file or a request, with escapes for what cannot be printed."""
    some = text if len(text) <= limit else text[: limit - 3] + "..."
    if some.isprintable():
        return some
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in some)


def few_lines(text: str, limit: int = 10_000) -> str:
    """Return the same of a text of several lines."""
    return "\n".join(one_line(line, limit) for line in text[:limit].split("\n"))


class AwsError(Exception):
    """A request that is refused.

    `code` is the name that boto3 shows, `status` the HTTP status; `fields` are further members of the
    error's body (`ModelError` carries `OriginalStatusCode`, `OriginalMessage`, `LogStreamArn`).
    """

    def __init__(self, code: str, message: str, status: int = 400, **fields: object) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.fields = fields


def invalid(message: str) -> AwsError:
    """Return a ValidationException with AWS's text, or ours where AWS's is not known."""
    return AwsError("ValidationException", message)


def unsupported(what: str, instead: str = "") -> AwsError:
    """Refuse what AWS can do and the local cloud cannot; never pretend."""
    hint = f" {instead}" if instead else ""
    return AwsError("ValidationException", f"{what} is not supported by the local SageMaker.{hint}")


class JobFailedError(Exception):
    """Ends a job as Failed; the text is its FailureReason, prefix included (`ClientError: ...`)."""


class JobStoppedError(Exception):
    """Ends a job as Stopped, on request or because its time was up."""
