"""The lines of the server's log: printable, and of bounded length, whatever text of others they hold.

Paths, keys, names and messages may be anybody's, and a log is read in a terminal, which obeys control characters.
"""

import logging
from typing import Any

from localcloud.sagemaker.errors import few_lines, one_line

_MESSAGE = 4_000
_TRACEBACK = 100_000


class Lines(logging.Formatter):
    """A record is one line; the lines of its traceback follow."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        record.message = one_line(record.message, _MESSAGE)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return few_lines(super().formatException(ei), _TRACEBACK)


def register() -> None:
    """Write all records so, MiniStack's too. Its application must be imported: that sets up the log."""
    for handler in logging.getLogger().handlers:
        handler.setFormatter(Lines("%(asctime)s %(levelname)s [%(name)s] %(message)s", "%Y-%m-%d %H:%M:%S"))
