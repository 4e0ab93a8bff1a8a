"""The gate: may a candidate replace the model in service?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Gate:
    """What a candidate must reach.

    metric               its name, for the reason only
    direction            minimize: smaller is better
    threshold            absolute, in the metric's unit; reaching it exactly is enough
    minimum_improvement  relative to the model in service: 0.05 asks for a metric 5 % better; 0 for one no worse
    """

    metric: str
    direction: Literal["minimize", "maximize"]
    threshold: float
    minimum_improvement: float = 0.0

    def reaches(self, value: float, limit: float) -> bool:
        """Whether the value is at the limit or on its good side."""
        return value <= limit if self.direction == "minimize" else value >= limit

    def to_beat(self, champion: float) -> float:
        """The value that a candidate must reach against a model in service with this one."""
        step = self.minimum_improvement * abs(champion)
        return champion - step if self.direction == "minimize" else champion + step


@dataclass(frozen=True)
class Verdict:
    """The decision, and why. `beats_champion` is None when there is nothing to compare with."""

    accepted: bool
    reason: str
    meets_threshold: bool
    beats_champion: bool | None


def judge(gate: Gate, candidate: float | None, champion: float | None) -> Verdict:
    """Decide about a candidate's metric, against the threshold and the model in service on the same test set.

    None or NaN is no measurement: a candidate without one is rejected; without one of the model in service, only the
    threshold counts.
    """
    if candidate is None or not math.isfinite(candidate):
        reason = f"{gate.metric} of the candidate could not be measured (it is {shown(candidate)})"
        return Verdict(accepted=False, reason=reason, meets_threshold=False, beats_champion=None)
    meets = gate.reaches(candidate, gate.threshold)
    comparable = champion is not None and math.isfinite(champion)
    beats = gate.reaches(candidate, gate.to_beat(champion)) if champion is not None and comparable else None
    accepted = meets and beats is not False
    return Verdict(accepted, _reason(gate, candidate, champion, meets, beats), meets, beats)


def _reason(gate: Gate, candidate: float, champion: float | None, meets: bool, beats: bool | None) -> str:
    side = "at most" if gate.direction == "minimize" else "at least"
    verb = "meets" if meets else "misses"
    first = f"{gate.metric} {shown(candidate)} {verb} the threshold ({side} {shown(gate.threshold)})"
    second = _against(gate, champion, beats)
    return f"{first} and {second}" if meets != (beats is False) else f"{first}, but {second}"


def _against(gate: Gate, champion: float | None, beats: bool | None) -> str:
    if champion is None:
        return "there is no model in service to compare with"
    if beats is None:
        return f"the model in service could not be measured (its {gate.metric} is {shown(champion)})"
    if gate.minimum_improvement:
        verb = "improves" if beats else "does not improve"
        return f"{verb} on the model in service ({shown(champion)}) by the {gate.minimum_improvement * 100:.4g} % asked"
    return f"is {'no worse' if beats else 'worse'} than the model in service ({shown(champion)})"


def shown(value: float | None) -> str:
    """Return a metric as people read it: six significant digits, thousands separated."""
    if value is None:
        return "missing"
    return f"{value:,.6g}" if math.isfinite(value) else str(value)
