"""The gate: may a candidate replace the model in service?

Three questions, all of which must be answered yes:

threshold    Does the candidate's metric on all test rows reach an absolute value?
comparison   Is it as good as asked on the test rows that the model in service has not seen? No others compare fairly.
known rows   Of those, on the rows that the model in service was tested on itself: is it no worse there than allowed?
             New rows cannot outvote old ones. Worse means by more than the bound, and by more than chance.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

PERFECT = 1.0  # the best value of every metric that is maximized
Interval = tuple[float, float]
Obstacle = Literal["unmeasured", "threshold", "unfair", "champion", "chance", "known"]


@dataclass(frozen=True)
class Gate:
    """What a candidate must reach.

    metric               its name, for the reason only
    direction            minimize: smaller is better
    threshold            absolute, in the metric's unit; reaching it exactly is enough
    minimum_improvement  relative to the model in service: 0.05 asks for a metric 5 % better; 0 for one no worse; -0.02
                         allows one 2 % worse. Of a metric that ends at 1 never more than half of what is left to it
    maximum_regression   how much worse the metric may be on known rows: a share of the error of the model in service,
                         which of a metric that ends at 1 is the distance to 1; None allows all
    minimum_unseen_rows  with fewer of them nothing is compared
    without_comparison   what decides when nothing can be compared: reject the candidate, or the threshold alone
    """

    metric: str
    direction: Literal["minimize", "maximize"]
    threshold: float
    minimum_improvement: float = 0.0
    maximum_regression: float | None = None
    minimum_unseen_rows: int = 1
    without_comparison: Literal["reject", "threshold"] = "reject"

    def reaches(self, value: float, limit: float) -> bool:
        """Whether the value is at the limit or on its good side."""
        return value <= limit if self.direction == "minimize" else value >= limit

    def to_beat(self, champion: float) -> float:
        """The value that a candidate must reach against a model in service with this one."""
        step = self.minimum_improvement * abs(champion)
        if self.direction == "minimize":
            return champion - step
        return champion + min(step, max(0.0, (PERFECT - champion) / 2))

    def worst_allowed(self, champion: float) -> float:
        """The value that a candidate must reach on known rows against a model in service with this one there."""
        if self.maximum_regression is None:
            return math.inf if self.direction == "minimize" else -math.inf
        if self.direction == "minimize":
            return champion + self.maximum_regression * abs(champion)
        return champion - self.maximum_regression * max(0.0, PERFECT - champion)


@dataclass(frozen=True)
class Compared:
    """Both models on some test rows; None where the metric has no value for these rows.

    difference  95 % interval of candidate minus champion, row by row (perennial.metrics)
    """

    rows: int = 0
    candidate: float | None = None
    champion: float | None = None
    difference: Interval | None = None

    @property
    def is_measured(self) -> bool:
        return _is_finite(self.candidate) and _is_finite(self.champion)

    @property
    def is_chance(self) -> bool | None:
        """Whether the test rows do not tell the two models apart; None when nobody knows."""
        return None if self.difference is None else self.difference[0] <= 0 <= self.difference[1]


@dataclass(frozen=True)
class Comparison:
    """What candidate and model in service are worth on the same test rows.

    rows    all test rows
    unseen  those that the model in service has neither trained nor validated on
    known   of those, the ones that its own run tested it on
    new     of those, the others
    unfair  why the two cannot be compared at all; empty when they can
    """

    rows: int
    unseen: Compared
    known: Compared = Compared()
    new: Compared = Compared()
    unfair: str = ""


@dataclass(frozen=True)
class Verdict:
    """The decision, and why. `beats_champion` and `keeps_known` are None where nothing was compared.

    obstacle  what a rejected candidate has failed at first; chance: it is worse, and by no more than chance
    """

    accepted: bool
    reason: str
    meets_threshold: bool
    beats_champion: bool | None
    keeps_known: bool | None = None
    unfair: str = ""
    obstacle: Obstacle | None = None


def judge(gate: Gate, candidate: float | None, comparison: Comparison | None) -> Verdict:
    """Decide about a candidate whose metric on all test rows this is; no comparison: there is no model in service.

    None or NaN is no measurement: a candidate without one is rejected. Where the model in service has none the
    threshold alone decides: it answers, but not with numbers.
    """
    if candidate is None or not math.isfinite(candidate):
        reason = f"{gate.metric} of the candidate could not be measured (it is {shown(candidate)})"
        return Verdict(False, reason, meets_threshold=False, beats_champion=None, obstacle="unmeasured")
    meets = gate.reaches(candidate, gate.threshold)
    side, verb = "at most" if gate.direction == "minimize" else "at least", "meets" if meets else "misses"
    first = f"{gate.metric} {shown(candidate)} {verb} the threshold ({side} {shown(gate.threshold)})"
    good, second, beats, keeps, unfair = _against(gate, comparison)
    joined = f"{first} and {second}" if meets == good else f"{first}, but {second}"
    obstacle = None if meets and good else "threshold" if not meets else _obstacle(comparison, beats, unfair)
    return Verdict(meets and good, joined, meets, beats, keeps, unfair, obstacle)


def _obstacle(comparison: Comparison | None, beats: bool | None, unfair: str) -> Obstacle:
    if unfair:
        return "unfair"
    if beats is False:
        return "chance" if comparison and comparison.unseen.is_chance else "champion"
    return "known"


_Against = tuple[bool, str, bool | None, bool | None, str]


def _against(gate: Gate, comparison: Comparison | None) -> _Against:
    """(whether the model in service is no obstacle, why, beats it, keeps what it knew, why nothing was compared)."""
    if comparison is None:
        return True, "there is no model in service to compare with", None, None, ""
    unfair = _unfair(gate, comparison)
    if unfair:
        alone = gate.without_comparison == "threshold"
        decides = "the threshold alone decides" if alone else "so it stays in service"
        text = f"no fair comparison with the model in service is possible: {unfair}; {decides}"
        return alone, f"{text} (gate.without_comparison)", None, None, unfair
    unseen = comparison.unseen
    if unseen.candidate is None or unseen.champion is None or not unseen.is_measured:
        value = shown(unseen.champion if unseen.champion is not None else math.nan)
        return True, f"the model in service could not be measured (its {gate.metric} is {value})", None, None, ""
    beats = gate.reaches(unseen.candidate, gate.to_beat(unseen.champion))
    keeps = _keeps(gate, comparison.known)
    text = _compared(gate, comparison, beats)
    if keeps is False:
        text += f"{' and' if not beats else ', but'} {_regression(gate, comparison.known)}"
    return beats and keeps is not False, text, beats, keeps, ""


def _unfair(gate: Gate, comparison: Comparison) -> str:
    """Why the two models cannot be compared; empty when they can."""
    if comparison.unfair:
        return comparison.unfair
    rows, unseen = comparison.rows, comparison.unseen
    if unseen.rows < gate.minimum_unseen_rows:
        return (
            f"it has not seen {unseen.rows:,} of the {rows:,} test rows, and {gate.minimum_unseen_rows:,} are needed "
            "(gate.minimum_unseen_rows)"
        )
    if not _is_finite(unseen.candidate):
        return f"{gate.metric} has no value for the {unseen.rows:,} of {rows:,} test rows that it has not seen"
    return ""


def _keeps(gate: Gate, known: Compared) -> bool | None:
    """Whether the candidate is no worse than allowed on known rows; None when there are too few, or no bound."""
    if gate.maximum_regression is None or known.rows < gate.minimum_unseen_rows:
        return None
    if known.candidate is None or known.champion is None or not known.is_measured:
        return None
    return gate.reaches(known.candidate, gate.worst_allowed(known.champion)) or known.is_chance is not False


def _compared(gate: Gate, comparison: Comparison, beats: bool) -> str:
    unseen = comparison.unseen
    champion = shown(unseen.champion)
    if unseen.rows < comparison.rows:
        some = f"on the {unseen.rows:,} of {comparison.rows:,} test rows that it has not seen"
        champion = f"{champion} against {shown(unseen.candidate)} {some}"
    chance = f"; the difference is within chance ({between(unseen.difference)})" if unseen.is_chance else ""
    if gate.minimum_improvement > 0:
        verb = "improves" if beats else "does not improve"
        asked = f"{gate.minimum_improvement * 100:.4g} %"
        return f"{verb} on the model in service ({champion}) by the {asked} asked{chance}"
    allowed = f" by more than the {-gate.minimum_improvement * 100:.4g} % allowed" if gate.minimum_improvement else ""
    return f"is {'no worse' if beats else 'worse'} than the model in service ({champion}){allowed}{chance}"


def _regression(gate: Gate, known: Compared) -> str:
    return (
        f"is worse on the {known.rows:,} test rows that the model in service was tested on ({shown(known.candidate)} "
        f"against {shown(known.champion)}; allowed is {shown(gate.worst_allowed(known.champion or 0.0))}, "
        "gate.maximum_regression)"
    )


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def between(interval: Sequence[float] | None) -> str:
    """Return an interval as people read it."""
    return f"{shown(interval[0])} to {shown(interval[1])}" if interval else "not known"


def shown(value: float | None) -> str:
    """Return a metric as people read it: six significant digits, thousands separated."""
    if value is None:
        return "missing"
    return f"{value:,.6g}" if math.isfinite(value) else str(value)
