"""Decide whether a candidate may replace the model in service.

Three questions, all of which must be answered yes:

threshold    Does the candidate's metric on all test rows reach an absolute value?
comparison   Is it as good as asked on the test rows that the model in service has not seen? No others compare fairly.
known rows   Of those, on the rows that the model in service was tested on itself: is it no worse there than allowed?
             The new rows of a drop cannot outvote them. Worse means by more than the bound, and by more than chance.

Named slices of the test rows may ask further ones (evaluation.slices). A forecast has to be better than the
seasonal-naive one.

Known is a row only with the target that it was tested with. Where the others are too many, the model in service is
measured by targets which it was not accepted for: if it is worse by them than it was, nothing compares fairly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

from perennial.words import apart, between, number

TWINS = "have the features and the target of rows that one of the two has trained on, under other keys"
PERFECT = 1.0  # the best value of every bounded metric that is maximized
Interval = tuple[float, float]
Obstacle = Literal["unmeasured", "threshold", "unfair", "changed", "champion", "chance", "known", "slice", "naive"]
CONFIDENCE = 0.95  # of the intervals of differences


@dataclass(frozen=True)
class Gate:
    """What a candidate must reach.

    metric               its name, for the words of the reason only
    direction            minimize: smaller is better
    threshold            absolute, in the metric's unit; reaching it exactly is enough
    minimum_improvement  relative to the model in service: 0.05 asks for a metric 5 % better; 0 for one no worse; -0.02
                         allows one 2 % worse. Of a metric that ends at 1 never more than half of what is left to it
    maximum_regression   how much worse the metric may be on known rows: a share of the error of the model in service,
                         which of a metric that ends at 1 is the distance to 1; None allows all
    minimum_unseen_rows  with fewer of them nothing is compared
    without_comparison   what decides when nothing can be compared: reject the candidate, or the threshold alone
    is_bounded           a metric that is maximized ends at 1; of one that does not, shares are those of its own value
    confidence           how sure it must be that a candidate is as good as asked against the model in service, on test
                         rows like these: 0.95 lets chance decide for it one time in twenty; None asks the numbers alone
    """

    metric: str
    direction: Literal["minimize", "maximize"]
    threshold: float
    minimum_improvement: float = 0.0
    maximum_regression: float | None = None
    minimum_unseen_rows: int = 1
    without_comparison: Literal["reject", "threshold"] = "reject"
    is_bounded: bool = True
    confidence: float | None = None

    def reaches(self, value: float, limit: float) -> bool:
        """Return whether the value is at the limit or on its good side."""
        return value <= limit if self.direction == "minimize" else value >= limit

    def to_beat(self, champion: float) -> float:
        """Return the value that a candidate must reach against a model in service with this one."""
        step = self.minimum_improvement * abs(champion)
        if self.direction == "minimize":
            return champion - step
        return champion + (min(step, max(0.0, (PERFECT - champion) / 2)) if self.is_bounded else step)

    def worst_allowed(self, champion: float) -> float:
        """Return the value that a candidate must reach on known rows against a model in service with this one there."""
        if self.maximum_regression is None:
            return math.inf if self.direction == "minimize" else -math.inf
        if self.direction == "minimize":
            return champion + self.maximum_regression * abs(champion)
        reference = max(0.0, PERFECT - champion) if self.is_bounded else abs(champion)
        return champion - self.maximum_regression * reference


@dataclass(frozen=True)
class Compared:
    """Both models on some test rows; None where the metric has no value for these rows.

    difference         95 % interval of candidate minus champion, row by row (evaluation.metrics)
    champion_interval  that of the champion's metric, where it is asked for
    """

    rows: int = 0
    candidate: float | None = None
    champion: float | None = None
    difference: Interval | None = None
    champion_interval: Interval | None = None

    @property
    def is_measured(self) -> bool:
        return _is_finite(self.candidate) and _is_finite(self.champion)

    @property
    def is_chance(self) -> bool | None:
        """Whether the test rows do not tell the two models apart; None when nobody knows."""
        return None if self.difference is None else self.difference[0] <= 0 <= self.difference[1]

    def with_confidence(self, confidence: float) -> Interval | None:
        """Return the interval of the difference that holds so often (two-sided); None where it has none."""
        if self.difference is None:
            return None
        low, high = self.difference
        middle, half = (low + high) / 2, (high - low) / 2 * _deviations(confidence) / _deviations(CONFIDENCE)
        return middle - half, middle + half


@dataclass(frozen=True)
class Comparison:
    """What candidate and model in service are worth on the same test rows.

    rows      all test rows
    unseen    those that the model in service has neither trained nor validated on, and has a score for
    known     of those, the ones that its own run tested it on
    changed   those that it did, and that have another target now
    new       the others
    unscored  how many it has not seen, and no score for that can be measured
    unfair    why the two cannot be compared at all; empty when they can
    untold    how many rows count as seen because they cannot be told, and why; empty when all can
    twins     how many it has not seen say what a row says that one of the two has trained on, under another key
    tested_before  how many rows the model in service was tested on
    """

    rows: int
    unseen: Compared
    known: Compared = Compared()
    changed: Compared = Compared()
    new: Compared = Compared()
    unscored: int = 0
    unfair: str = ""
    untold: str = ""
    twins: int = 0
    tested_before: int = 0


@dataclass(frozen=True)
class Verdict:
    """The decision, and why. `beats_champion` and `keeps_known` are None where nothing was compared.

    reason          the answer to each question, the failed ones first; candidate first, then the model in service
    brief           what the candidate has failed at, in few words; empty when it is accepted
    obstacle        what it has failed at first; chance: it is worse, and by no more than chance
    worse_on_known  it is worse on known rows by more than chance, be that allowed or not
    targets_changed  no comparison is fair because the rows that the model in service was tested on have other targets
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
    targets_changed: bool = False


@dataclass(frozen=True)
class Reply:
    """The answer to one question: a sentence; and where the candidate failed, at what, and that in few words."""

    text: str
    obstacle: Obstacle | None = None
    brief: str = ""


def judge(
    gate: Gate,
    candidate: float | None,
    comparison: Comparison | None,
    when_accepted: float | None = None,
    others: Sequence[Reply] = (),
) -> Verdict:
    """Decide about a candidate whose metric on all test rows this is; no comparison: there is no model in service.

    when_accepted  the metric of the model in service when it was the candidate; None where nobody knows
    others         the answers to further questions: what it fails at in named slices of the test rows
                   (evaluation.slices), and whether a forecast is better than the seasonal-naive one

    None or NaN is no measurement: a candidate without one is rejected. Where the model in service has none for any row
    the threshold alone decides: it answers, but not with numbers.
    """
    if candidate is None or not math.isfinite(candidate):
        brief = f"{gate.metric} of the candidate could not be measured"
        reason = f"{brief} (it is {number(candidate)})"
        return Verdict(False, reason, False, beats_champion=None, obstacle="unmeasured", brief=brief)
    meets = gate.reaches(candidate, gate.threshold)
    beats, keeps, unfair, against = _against(gate, comparison, when_accepted)
    answers = [_threshold(gate, candidate, comparison, meets), *against, *others]
    answers.sort(key=lambda answer: answer.obstacle is None)  # what failed stands first
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
        targets_changed=bool(
            comparison and not _unfair(gate, comparison) and _other_targets(gate, comparison, when_accepted)
        ),
    )


def than_naive(gate: Gate, candidate: float | None, naive: float | None) -> list[Reply]:
    """Return whether a forecast is better than the seasonal-naive one of the same points; nothing without a value."""
    if candidate is None or naive is None or not (math.isfinite(candidate) and math.isfinite(naive)):
        return []
    ours, theirs = apart(candidate, naive)
    against = f"the seasonal-naive forecast's {theirs}"
    if candidate < naive if gate.direction == "minimize" else candidate > naive:
        return [Reply(f"{gate.metric} {ours} is better than {against}")]
    brief = f"{gate.metric} {ours} is not better than {against}"
    return [Reply(f"{brief}, which says that last season comes again", "naive", brief)]


def _threshold(gate: Gate, candidate: float, comparison: Comparison | None, meets: bool) -> Reply:
    value, threshold = apart(candidate, gate.threshold)
    limit = f"the threshold ({bounded_by(gate, threshold)})"
    rows = f" on all {comparison.rows:,} test rows" if comparison else ""
    if meets:
        return Reply(f"{gate.metric} {value}{rows} meets {limit}")
    return Reply(f"{gate.metric} {value}{rows} misses {limit}", "threshold", f"{gate.metric} {value} misses {limit}")


_Against = tuple[bool | None, bool | None, str, list[Reply]]


def _against(gate: Gate, comparison: Comparison | None, when_accepted: float | None) -> _Against:
    """(whether it beats the model in service, whether it keeps what that knew, why nothing was compared, answers)."""
    if comparison is None:
        return None, None, "", [Reply("there is no model in service to compare with")]
    unfair = _unfair(gate, comparison) or _other_targets(gate, comparison, when_accepted)
    if unfair:
        alone = gate.without_comparison == "threshold"
        decides = "the threshold alone decides" if alone else "so it stays in service"
        text = (
            f"no fair comparison with the model in service is possible: {unfair}; {decides} (gate.without_comparison)"
        )
        return None, None, unfair, [Reply(text) if alone else _not_compared(gate, comparison, when_accepted, text)]
    unseen, known = comparison.unseen, comparison.known
    if unseen.candidate is None or unseen.champion is None or not unseen.is_measured:
        value = number(unseen.champion if unseen.champion is not None else math.nan)
        return None, None, "", [Reply(f"the model in service could not be measured (its {gate.metric} is {value})")]
    beats = gate.reaches(unseen.candidate, gate.to_beat(unseen.champion)) and _is_sure(gate, unseen)
    keeps = _keeps(gate, known)
    about_known = [_keeps_known(gate, known, keeps)] if keeps is False or _is_worse(gate, known) else []
    return beats, keeps, "", [*about_known, _beats(gate, comparison, beats), *_left_out(comparison)]


def _not_compared(gate: Gate, comparison: Comparison, when_accepted: float | None, text: str) -> Reply:
    if _unfair(gate, comparison):
        return Reply(text, "unfair", "no fair comparison with the model in service")
    now, before = apart(comparison.changed.champion, when_accepted)
    return Reply(text, "changed", f"targets of tested rows changed ({gate.metric} {now}, was {before})")


def _left_out(comparison: Comparison) -> list[Reply]:
    """Return what the model in service could not score."""
    rows = f"{comparison.unscored:,} of the {comparison.unseen.rows + comparison.unscored:,} test rows"
    text = f"the model in service has no score that can be measured for {rows} that it has not seen: they are left out"
    return [Reply(text)] if comparison.unscored else []


def _beats(gate: Gate, comparison: Comparison, beats: bool) -> Reply:
    unseen = comparison.unseen
    all_rows = unseen.rows == comparison.rows
    rows = f"all {unseen.rows:,} test rows" if all_rows else f"the {unseen.rows:,} test rows that it has not seen"
    text = versus(gate, unseen, rows)
    candidate, limit = apart(unseen.candidate, gate.to_beat(unseen.champion or 0.0))
    bound = bounded_by(gate, limit)
    if gate.minimum_improvement > 0:
        text += f", where {bound} is asked (gate.minimum_improvement)"
    elif gate.minimum_improvement < 0 and _how(gate, unseen) == "worse than":
        text += _allowed(bound, "gate.minimum_improvement", is_within=beats)
    text += _how_sure(gate, unseen, bound)
    if beats:
        return Reply(text)
    if gate.reaches(unseen.candidate or 0.0, gate.to_beat(unseen.champion or 0.0)):
        what = "better only within chance" if _how(gate, unseen) == "better than" else "not sure enough"
        return Reply(text, "chance", both(gate, unseen, what))
    brief = both(gate, unseen, "worse within chance" if unseen.is_chance else "worse")
    if gate.minimum_improvement > 0:
        brief = f"{gate.metric} {candidate} misses what is asked ({bound})"
    return Reply(text, "chance" if unseen.is_chance else "champion", brief)


def _surely(gate: Gate, compared: Compared) -> float | None:
    """Return what the candidate reaches with gate.confidence; None where the difference has no interval."""
    interval = compared.with_confidence(2 * gate.confidence - 1) if gate.confidence else None
    if interval is None:
        return None
    return (compared.champion or 0.0) + interval[1 if gate.direction == "minimize" else 0]


def _is_sure(gate: Gate, compared: Compared) -> bool:
    value = _surely(gate, compared)
    return gate.confidence is None or (value is not None and gate.reaches(value, gate.to_beat(compared.champion or 0)))


def _how_sure(gate: Gate, compared: Compared, bound: str) -> str:
    """Say what the candidate reaches surely, where the gate asks that; nothing where it does not."""
    if gate.confidence is None:
        return ""
    reached = _surely(gate, compared)
    if reached is None:
        return "; how sure that is nobody can say for these rows, and gate.confidence asks it"
    surely, _ = apart(reached, gate.to_beat(compared.champion or 0.0))
    value = f"with {100 * gate.confidence:.10g} % confidence it is {bounded_by(gate, surely)}"
    against = f"{bound} is asked" if _is_sure(gate, compared) else f"and not {bound}, as is asked"
    return f"; {value}, {against} (gate.confidence)"


def _deviations(confidence: float) -> float:
    """Return within how many standard deviations a normal distribution has this share (two-sided)."""
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _keeps_known(gate: Gate, known: Compared, keeps: bool | None) -> Reply:
    text = versus(gate, known, f"the {known.rows:,} test rows that it was tested on")
    if gate.maximum_regression is not None:
        _, limit = apart(known.candidate, gate.worst_allowed(known.champion or 0.0))
        text += _allowed(bounded_by(gate, limit), "gate.maximum_regression", is_within=keeps is not False)
    if keeps is not False:
        return Reply(text)
    return Reply(text, "known", both(gate, known, "worse on known rows"))


def _allowed(limit: str, key: str, *, is_within: bool) -> str:
    return f", which is allowed ({limit}, {key})" if is_within else f", where {limit} is allowed ({key})"


def both(gate: Gate, compared: Compared, what: str) -> str:
    """Return in few words what both models are worth on some rows."""
    candidate, champion = apart(compared.candidate, compared.champion)
    return f"{what} ({gate.metric} {candidate}, in service {champion})"


def versus(gate: Gate, compared: Compared, rows: str) -> str:
    """Return what both models are worth on some rows: the candidate, then the model in service."""
    chance = {True: ", within chance", False: ", by more than chance on these rows", None: ""}[compared.is_chance]
    chance += f" ({between(compared.difference)})" if chance else ""
    ours, theirs = apart(compared.candidate, compared.champion)
    return f"{gate.metric} {ours} is {_how(gate, compared)} the {theirs} of the model in service on {rows}{chance}"


def _how(gate: Gate, compared: Compared) -> str:
    ours, theirs = compared.candidate or 0.0, compared.champion or 0.0
    if ours == theirs:
        return "as good as"
    return "better than" if gate.reaches(ours, theirs) else "worse than"


def _is_worse(gate: Gate, known: Compared) -> bool:
    """Return whether the candidate is worse on enough known rows, and by more than chance."""
    enough = known.rows >= gate.minimum_unseen_rows and known.is_measured
    return enough and known.is_chance is False and _how(gate, known) == "worse than"


def bounded_by(gate: Gate, value: str) -> str:
    """Return a bound of the metric in words."""
    return f"{'at most' if gate.direction == 'minimize' else 'at least'} {value}"


def _unfair(gate: Gate, comparison: Comparison) -> str:
    """Why the two models cannot be compared; empty when they can."""
    if comparison.unfair:
        return comparison.unfair
    rows, unseen, unscored = comparison.rows, comparison.unseen, comparison.unscored
    there, needed = unseen.rows + unscored, f"{gate.minimum_unseen_rows:,} are needed (gate.minimum_unseen_rows)"
    if there < gate.minimum_unseen_rows:
        if comparison.untold:
            return f"it is sure not to have seen {there:,} of the {rows:,} test rows, and {needed}: {comparison.untold}"
        return f"it has not seen {there:,} of the {rows:,} test rows, and {needed}"
    if unscored and not unseen.rows:
        return ""
    if unseen.rows < gate.minimum_unseen_rows:
        return f"it has a score for {unseen.rows:,} of the {there:,} test rows that it has not seen, and {needed}"
    if not _is_finite(unseen.candidate):
        return f"{gate.metric} has no value for the {unseen.rows:,} of {rows:,} test rows that it has not seen"
    return ""


def _other_targets(gate: Gate, comparison: Comparison, when_accepted: float | None) -> str:
    """Return why the model in service is not measured as when it was accepted, but by other targets.

    They are those of the rows that it was tested on. Empty where enough of them say what they said, or where it is as
    good by the others, but for the bound or chance.
    """
    known, changed, needed = comparison.known, comparison.changed, gate.minimum_unseen_rows
    if when_accepted is None or known.rows >= needed or changed.rows < needed:
        return ""
    if changed.champion is None or changed.champion_interval is None:
        return ""
    low, high = changed.champion_interval
    if gate.reaches(changed.champion, gate.worst_allowed(when_accepted)) or low <= when_accepted <= high:
        return ""
    now, before = apart(changed.champion, when_accepted)
    which = f"{changed.rows:,} of the {known.rows + changed.rows:,} test rows that it was tested on"
    return f"{which} have other targets now: its {gate.metric} is {now} there, when accepted {before}"


def _keeps(gate: Gate, known: Compared) -> bool | None:
    """Return whether the candidate is no worse than allowed on known rows; None when there are too few, or no bound."""
    if gate.maximum_regression is None or known.rows < gate.minimum_unseen_rows:
        return None
    if known.candidate is None or known.champion is None or not known.is_measured:
        return None
    return gate.reaches(known.candidate, gate.worst_allowed(known.champion)) or known.is_chance is not False


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
