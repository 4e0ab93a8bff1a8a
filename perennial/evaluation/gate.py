"""The gate: may a candidate replace the model in service?

Three questions, all of which must be answered yes:

threshold    Does the candidate's metric on all test rows reach an absolute value?
comparison   Is it as good as asked on the test rows that the model in service has not seen? No others compare fairly.
known rows   Of those, on the rows that the model in service was tested on itself: is it no worse there than allowed?
             New rows cannot outvote old ones. Worse means by more than the bound, and by more than chance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from perennial.words import between, number

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

    difference  95 % interval of candidate minus champion, row by row (evaluation.metrics)
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

    reason          what each question came to, the failed ones first; candidate first, then the model in service
    brief           what the candidate has failed at, in few words; empty when it is accepted
    obstacle        what it has failed at first; chance: it is worse, and by no more than chance
    worse_on_known  it is worse on known rows by more than chance, be that allowed or not
    """

    accepted: bool
    reason: str
    meets_threshold: bool
    beats_champion: bool | None
    keeps_known: bool | None = None
    unfair: str = ""
    obstacle: Obstacle | None = None
    brief: str = ""
    worse_on_known: bool = False


@dataclass(frozen=True)
class _Answer:
    """What one question came to: a sentence; and where it failed, at what, and that in few words."""

    text: str
    obstacle: Obstacle | None = None
    brief: str = ""
    is_doubtful: bool = False

    @property
    def rank(self) -> int:
        """Where it stands in the reason: what failed, what is doubtful, the others."""
        return 0 if self.obstacle else 1 if self.is_doubtful else 2


def judge(gate: Gate, candidate: float | None, comparison: Comparison | None) -> Verdict:
    """Decide about a candidate whose metric on all test rows this is; no comparison: there is no model in service.

    None or NaN is no measurement: a candidate without one is rejected. Where the model in service has none the
    threshold alone decides: it answers, but not with numbers.
    """
    if candidate is None or not math.isfinite(candidate):
        brief = f"{gate.metric} of the candidate could not be measured"
        reason = f"{brief} (it is {number(candidate)})"
        return Verdict(False, reason, False, beats_champion=None, obstacle="unmeasured", brief=brief)
    meets, (beats, keeps, unfair, against) = gate.reaches(candidate, gate.threshold), _against(gate, comparison)
    answers = sorted([_threshold(gate, candidate, comparison, meets), *against], key=lambda answer: answer.rank)
    first = answers[0]
    return Verdict(
        accepted=first.obstacle is None,
        reason="; ".join(answer.text for answer in answers),
        meets_threshold=meets,
        beats_champion=beats,
        keeps_known=keeps,
        unfair=unfair,
        obstacle=first.obstacle,
        brief=first.brief,
        worse_on_known=bool(comparison and not unfair and _is_worse(gate, comparison.known)),
    )


def _threshold(gate: Gate, candidate: float, comparison: Comparison | None, meets: bool) -> _Answer:
    limit = f"the threshold ({_limit(gate, gate.threshold)})"
    rows = f" on all {comparison.rows:,} test rows" if comparison else ""
    if meets:
        return _Answer(f"{gate.metric} {number(candidate)}{rows} meets {limit}")
    return _Answer(
        f"{gate.metric} {number(candidate)}{rows} misses {limit}",
        "threshold",
        f"{gate.metric} {number(candidate)} misses {limit}",
    )


_Against = tuple[bool | None, bool | None, str, list[_Answer]]


def _against(gate: Gate, comparison: Comparison | None) -> _Against:
    """(whether it beats the model in service, whether it keeps what that knew, why nothing was compared, answers)."""
    if comparison is None:
        return None, None, "", [_Answer("there is no model in service to compare with")]
    unfair = _unfair(gate, comparison)
    if unfair:
        alone = gate.without_comparison == "threshold"
        decides = "the threshold alone decides" if alone else "so it stays in service"
        brief = "no fair comparison with the model in service"
        text = f"{brief} is possible: {unfair}; {decides} (gate.without_comparison)"
        return None, None, unfair, [_Answer(text) if alone else _Answer(text, "unfair", brief)]
    unseen, known = comparison.unseen, comparison.known
    if unseen.candidate is None or unseen.champion is None or not unseen.is_measured:
        value = number(unseen.champion if unseen.champion is not None else math.nan)
        return None, None, "", [_Answer(f"the model in service could not be measured (its {gate.metric} is {value})")]
    beats, keeps = gate.reaches(unseen.candidate, gate.to_beat(unseen.champion)), _keeps(gate, known)
    told = [_keeps_known(gate, known, keeps)] if keeps is False or _is_worse(gate, known) else []
    return beats, keeps, "", [*told, _beats(gate, comparison, beats)]


def _beats(gate: Gate, comparison: Comparison, beats: bool) -> _Answer:
    unseen = comparison.unseen
    all_rows = unseen.rows == comparison.rows
    rows = f"all {unseen.rows:,} test rows" if all_rows else f"the {unseen.rows:,} test rows that it has not seen"
    asked = _limit(gate, gate.to_beat(unseen.champion or 0.0))
    text = _versus(gate, unseen, rows)
    if gate.minimum_improvement:
        wanted = "asked" if gate.minimum_improvement > 0 else "allowed"
        text += f", where {asked} is {wanted} (gate.minimum_improvement)"
    if beats:
        return _Answer(text)
    brief = _both(gate, unseen, "worse within chance" if unseen.is_chance else "worse")
    if gate.minimum_improvement > 0:
        brief = f"{gate.metric} {number(unseen.candidate)} misses what is asked ({asked})"
    return _Answer(text, "chance" if unseen.is_chance else "champion", brief)


def _keeps_known(gate: Gate, known: Compared, keeps: bool | None) -> _Answer:
    text = _versus(gate, known, f"the {known.rows:,} test rows that it was tested on")
    if gate.maximum_regression is not None:
        allowed = _limit(gate, gate.worst_allowed(known.champion or 0.0))
        text += f", where {allowed} is allowed (gate.maximum_regression)"
    if keeps is not False:
        return _Answer(text, is_doubtful=True)
    return _Answer(text, "known", _both(gate, known, "worse on known rows"))


def _both(gate: Gate, compared: Compared, what: str) -> str:
    return f"{what} ({gate.metric} {number(compared.candidate)}, in service {number(compared.champion)})"


def _versus(gate: Gate, compared: Compared, rows: str) -> str:
    """Both models on some rows: the candidate, then the model in service."""
    chance = {True: ", within chance", False: ", by more than chance", None: ""}[compared.is_chance]
    chance += f" ({between(compared.difference)})" if chance else ""
    ours, theirs = f"{gate.metric} {number(compared.candidate)}", f"the {number(compared.champion)} of the model"
    return f"{ours} is {_how(gate, compared)} {theirs} in service on {rows}{chance}"


def _how(gate: Gate, compared: Compared) -> str:
    ours, theirs = compared.candidate or 0.0, compared.champion or 0.0
    if ours == theirs:
        return "as good as"
    return "better than" if gate.reaches(ours, theirs) else "worse than"


def _is_worse(gate: Gate, known: Compared) -> bool:
    """Whether the candidate is worse on enough known rows, and by more than chance."""
    enough = known.rows >= gate.minimum_unseen_rows and known.is_measured
    return enough and known.is_chance is False and _how(gate, known) == "worse than"


def _limit(gate: Gate, value: float) -> str:
    return f"{'at most' if gate.direction == 'minimize' else 'at least'} {number(value)}"


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


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
