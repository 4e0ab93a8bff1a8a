"""Whether a version may serve: what the registry says, and what a run ends with that was not approved."""

from __future__ import annotations

APPROVED, REJECTED, PENDING = "Approved", "Rejected", "PendingManualApproval"
VERSION_REJECTED = "VersionRejected"  # an error of runs.work.JUDGEMENTS
NO_REASON = "no reason was given"


def rejected(description: str | None) -> str:
    """Return why a version was rejected, as a cause that people read: its ApprovalDescription."""
    return f"somebody has rejected it: {description or NO_REASON}"
