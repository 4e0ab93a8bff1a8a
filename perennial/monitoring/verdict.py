"""What a window amounts to: one verdict from those of its analyses, and the document that says why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from perennial.monitoring.findings import BAD_DATA, DRIFT, FAILED, HEALTHY, NOT_ENOUGH, WindowFinding

FORMAT = 1
# The first that an analysis has is the window's. Drift and bad data are known whatever else could not be looked at.
_ORDER = (BAD_DATA, DRIFT, FAILED, HEALTHY, NOT_ENOUGH)


@dataclass(frozen=True)
class Analysis:
    """What one analysis says. `reason` is why it has failed, or what there is not enough of."""

    verdict: str
    reason: str = ""
    findings: Sequence[WindowFinding] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        findings = [
            {"kind": one.kind, "check": one.check, "subject": one.subject, "text": one.text} for one in self.findings
        ]
        return {"verdict": self.verdict, "reason": self.reason, "findings": findings, **self.details}


def verdict(analyses: Mapping[str, Analysis]) -> str:
    """Return the window's verdict; without an analysis nothing is known."""
    verdicts = {one.verdict for one in analyses.values()}
    return next((one for one in _ORDER if one in verdicts), NOT_ENOUGH)


def reasons(analyses: Mapping[str, Analysis]) -> list[str]:
    """Return why, one line each: what decides first, of drift the gate's metric, then what could not be done."""
    findings = [one for analysis in analyses.values() for one in analysis.findings]
    findings.sort(key=lambda one: one.subject_key != "metric_name")
    decisive = [one for kind in ("bad_data", "drift") for one in findings if one.kind == kind]
    lines = [f"{one.subject}: {one.text}" if one.subject_key == "feature_name" else one.text for one in decisive]
    return lines + [f"{name}: {one.reason}" for name, one in analyses.items() if one.reason]


def document(analyses: Mapping[str, Analysis], about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document verdict.json; `about` names the window and what was collected."""
    return {
        "format": FORMAT,
        "verdict": verdict(analyses),
        "reasons": reasons(analyses),
        **about,
        "analyses": {name: one.as_json() for name, one in analyses.items()},
    }
