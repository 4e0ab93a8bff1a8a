"""What an analysis has found, and Model Monitor's file of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["drift", "bad_data", "note"]
HEALTHY, DRIFT, BAD_DATA, NOT_ENOUGH, FAILED = "Healthy", "Drift", "BadData", "NotEnoughData", "Failed"


class MonitorError(ValueError):
    """An analysis cannot be made: a baseline is missing or is that of another model. The text says what to do."""


class NewerThanRunError(MonitorError):
    """The run whose model answers is older than what is to be analysed. The text says what to do."""


@dataclass(frozen=True)
class WindowFinding:
    """One thing that is not as it was, larger than chance and large enough to matter.

    kind     drift: the world may have changed; bad_data: the data are broken, and nothing can be learned from them;
             note: it decides nothing
    check    `constraint_check_type` of constraint_violations.json
    subject  the column, or the metric
    text     what was expected and what is there, for people
    """

    kind: Kind
    check: str
    subject: str
    text: str
    subject_key: str = "feature_name"


def violations(findings: Iterable[WindowFinding]) -> dict[str, Any]:
    """Return the document constraint_violations.json (SageMaker Developer Guide, "Schema for Violations")."""
    return {
        "violations": [
            {one.subject_key: one.subject, "constraint_check_type": one.check, "description": one.text}
            for one in findings
        ]
    }


def verdict_of(findings: Iterable[WindowFinding]) -> str:
    """Return what findings amount to: bad data before drift, because nobody should learn from them."""
    kinds = {one.kind for one in findings}
    return BAD_DATA if "bad_data" in kinds else DRIFT if "drift" in kinds else HEALTHY
