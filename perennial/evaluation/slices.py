"""Ask the gate's questions in named slices of the test rows too: an average hides a group that has become worse.

threshold   Does the candidate's metric on the slice's test rows reach the slice's own threshold?
comparison  Is it no worse than allowed on those of them that the model in service has not seen? Worse means by more
            than the bound, and by more than chance. The more slices are compared, the more chance has to be exceeded:
            all together they refuse a candidate that is worse nowhere one time in twenty at most (Bonferroni).

A slice of fewer than gate.minimum_unseen_rows rows, or in which the metric has no value, answers nothing and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from perennial.evaluation.gate import CONFIDENCE, Compared, Gate, Reply, both, bounded_by, versus
from perennial.words import apart

SECTION = "gate.slices"


@dataclass(frozen=True)
class Sliced:
    """What a slice asks, and what candidate and model in service are worth on its test rows.

    candidate  the candidate's metric on all of its rows; None where it has no value
    compared   both on those that the model in service has not seen; None where nothing compares fairly
    """

    name: str
    rows: int
    candidate: float | None
    compared: Compared | None
    threshold: float | None = None
    maximum_regression: float | None = 0.0


@dataclass(frozen=True)
class Judged:
    """A slice and what it answers, a failure first."""

    sliced: Sliced
    answers: tuple[Reply, ...]

    @property
    def failures(self) -> list[Reply]:
        return [answer for answer in self.answers if answer.obstacle]

    def as_json(self) -> dict[str, Any]:
        """Return what a record keeps."""
        reason = "; ".join(answer.text for answer in self.answers)
        return {**asdict(self.sliced), "failed": bool(self.failures), "reason": reason}


def judge(gate: Gate, slices: Sequence[Sliced]) -> list[Judged]:
    """Return what each slice answers."""
    compared = sum(_compares(gate, one) for one in slices)
    confidence = 1 - (1 - CONFIDENCE) / max(compared, 1)
    return [Judged(one, tuple(_answers(gate, one, confidence))) for one in slices]


def _answers(gate: Gate, one: Sliced, confidence: float) -> list[Reply]:
    needed = f"{gate.minimum_unseen_rows:,} are needed (gate.minimum_unseen_rows)"
    if one.rows < gate.minimum_unseen_rows:
        return [Reply(f"slice {one.name} is not judged: it has {one.rows:,} test rows, and {needed}")]
    if one.candidate is None:
        return [Reply(f"slice {one.name} is not judged: {gate.metric} has no value for its {one.rows:,} test rows")]
    answers = [_threshold(gate, one, one.threshold)] if one.threshold is not None else []
    if _compares(gate, one):
        answers.append(_comparison(gate, one, confidence))
    elif one.compared and one.maximum_regression is not None:
        rows = f"the model in service has not seen {one.compared.rows:,} of its {one.rows:,} test rows"
        answers.append(Reply(f"slice {one.name} is not compared: {rows}, and {needed}"))
    if not answers:
        value, _ = apart(one.candidate, None)
        answers = [Reply(f"{gate.metric} {value} on its {one.rows:,} test rows; there is nothing to compare with")]
    return sorted(answers, key=lambda answer: answer.obstacle is None)


def _threshold(gate: Gate, one: Sliced, threshold: float) -> Reply:
    value, bound = apart(one.candidate, threshold)
    limit = f"{bounded_by(gate, bound)} ({SECTION}.{one.name}.threshold)"
    text = f"{gate.metric} {value} on the {one.rows:,} test rows of slice {one.name}"
    if gate.reaches(one.candidate or 0.0, threshold):
        return Reply(f"{text} meets {limit}")
    return Reply(f"{text} misses {limit}", "slice", f"slice {one.name}: {gate.metric} {value} misses {bound}")


def _compares(gate: Gate, one: Sliced) -> bool:
    compared = one.compared
    return bool(
        compared and one.maximum_regression is not None and compared.is_measured
        and min(one.rows, compared.rows) >= gate.minimum_unseen_rows
    )  # fmt: skip


def _comparison(gate: Gate, one: Sliced, confidence: float) -> Reply:
    compared = one.compared or Compared()
    compared = replace(compared, difference=compared.with_confidence(confidence))
    worst = replace(gate, maximum_regression=one.maximum_regression).worst_allowed(compared.champion or 0.0)
    text = versus(gate, compared, f"the {compared.rows:,} test rows of slice {one.name} that it has not seen")
    if gate.reaches(compared.candidate or 0.0, worst):
        return Reply(text)
    _, bound = apart(compared.candidate, worst)
    where = f"{bounded_by(gate, bound)} is allowed ({SECTION}.{one.name}.maximum_regression)"
    if compared.is_chance is not False:
        return Reply(f"{text}, where {where} or chance")
    return Reply(f"{text}, where {where}", "slice", both(gate, compared, f"worse in slice {one.name}"))
