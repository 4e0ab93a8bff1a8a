"""How long the lines of a test set must be, so that a request still fits into the next container once it is encoded.

A batch transform sends raw lines, as many as fit into MaxPayloadInMB (1 in train_model, the least there is). The
preprocessor makes wider rows of them: a text column of 100 categories alone makes 200 bytes of 10. XGBoost's container
refuses bodies above 6 MB (sagemaker-xgboost-container, serve.py, MAX_CONTENT_LENGTH); Linear Learner's limit is not
documented. Each line is therefore at least the WIDENING-th part of what it becomes, if need be by blanks:

    candidate         its rows are encoded, and measured
    model in service  an encoded row is at most its line and what encoding adds to every row, and that is at most the
                      widest row of its own run. Lines of a WIDENING-th of it grow by WIDENING + 1 at most
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WIDENING = 5
LARGEST_LINE = 1_000_000  # bytes: MaxPayloadInMB 1
_WIDEST_NUMBER = 20  # characters with its comma, where a run has not reported its widest row


def shortest_line(widest_row: int) -> int:
    """Return the bytes that lines need for a model whose widest encoded row has so many."""
    return -(-widest_row // WIDENING)


def widest_row(report: Mapping[str, Any]) -> int:
    """Return the bytes of the widest encoded row of a run, from its report.json; of older ones, by its features."""
    known = report.get("widest_row")
    if known is not None:
        return int(known)
    return sum(2 if "=" in name else _WIDEST_NUMBER for name in report.get("features", ()))
