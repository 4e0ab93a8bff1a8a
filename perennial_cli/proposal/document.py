"""A proposed model.yaml: every guess with its evidence as a comment, and a threshold from quick fits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import yaml

from perennial.data.broken import problem
from perennial.features.parsing import NUMBERS
from perennial.model import definition
from perennial.model.definition import Definition
from perennial.model.problem_types import PROBLEM_TYPES
from perennial.words import printable, quoted
from perennial_cli.proposal import leaks, splits
from perennial_cli.proposal.columns import ColumnGuess, guessed, known_values, plain, round_number
from perennial_cli.proposal.names import column_names, needs_source
from perennial_cli.proposal.numbers import decimal_mark, in_other_marks
from perennial_cli.proposal.series import Series
from perennial_cli.proposal.series import lines as columns_of_series
from perennial_cli.proposal.splits import SEEDS, SplitGuess
from perennial_cli.proposal.target import TargetGuess, too_rare, without_rare_classes
from perennial_cli.proposal.texts import Texts
from perennial_cli.quick_fit import LEAST_GAIN, Fit, Trial, rounded, tried

WIDTH = 118
TUNING = (
    "# Hyperparameters may be values or ranges; with ranges each run tries several models, and each trial is billed:",
    "# hyperparameters: {xgboost: {eta: {min: 0.03, max: 0.3, scale: logarithmic}, max_depth: {min: 2, max: 8}}}",
    "# tuning: {jobs: 10, parallel_jobs: 2}",
)
WIDE_TARGET = 100  # the largest over the smallest, from which on a logarithm is tried
GAIN_OF_LOGARITHM = 0.01
PERFECT = 0.03  # of the mean predictor's error
ROOM_IN_QUALITY = 1.5
LEAST_ROWS = 10
MOST_UNTARGETED = 0.05  # of the rows without a target, before it is said
MOST_CATEGORIES = 100  # that are a 0/1 feature each
MOST_REFUSED = 0.5  # of the rows; with more the table is another one than was understood
UNSURE = (
    "quick fits differ much from split to split, so that the threshold asks for no more than always the same answer: "
    "set another one when some runs have been measured"
)


@dataclass(frozen=True)
class Proposal:
    """A model.yaml for some files, before its threshold is known.

    logarithm  whether the algorithm learns the logarithm of the target
    refused    share of the rows that a first quick fit has put aside, where that was too many, and what most break
    unusable   why a run could not use the files with it; nothing where it could
    """

    model: str
    texts: Texts
    columns: tuple[ColumnGuess, ...]
    target: TargetGuess
    logarithm: bool = False
    split: SplitGuess = field(default_factory=SplitGuess)
    refused: tuple[float, str] = (0.0, "")
    unusable: str = ""

    @classmethod
    def of(cls, model: str, texts: Texts, columns: Sequence[ColumnGuess], target: TargetGuess) -> Proposal:
        """Return what is proposed for columns of which one is predicted."""
        split = splits.guessed(texts, columns, target.column.name)
        able = leaks.doubted(texts, _encoded(splits.fitted(split, columns), target), target.column)
        return cls(model, texts, able, target, split=split)

    @property
    def broken_share(self) -> float:
        """Share of the rows that would be put aside."""
        broken = sum(guess.broken_rows for guess in self.columns) + self.target.column.broken_rows
        expected = (broken + len(self.texts.broken)) / max(1, self.texts.rows) + self.untargeted_share
        return max(expected, self.refused[0])

    @property
    def allowed_share(self) -> float:
        """Share of the rows that a run may put aside, with room for other files."""
        most = max(0.9, math.ceil(50 + 50 * self.broken_share) / 100)
        return min(max(0.01, math.ceil(self.broken_share * ROOM_IN_QUALITY * 100) / 100), most, 0.99)

    @property
    def untargeted_share(self) -> float:
        """Share of the rows that have no target, and would be put aside."""
        return self.target.column.missing_rows / max(1, self.texts.rows)

    @property
    def doubts(self) -> list[str]:
        """What is not understood, or may be wrong."""
        listed = [f"a run could not use the files as this is now: {self.unusable}"] if self.unusable else []
        listed += self.texts.doubts
        listed += [f"{guess.name}: {doubt}" for guess in self.all_columns for doubt in guess.doubts]
        listed += [f"target: {doubt}" for doubt in (self.target.doubt, self.target.rare) if doubt]
        if self.untargeted_share > MOST_UNTARGETED:
            rows = round(self.untargeted_share * self.texts.rows)
            name = self.target.column.name
            listed.append(f"target: {rows:,} of {self.texts.rows:,} rows have no {name} (they are put aside)")
        listed += [f"split: {doubt}" for doubt in self.split.doubts]
        listed += [f"{self.refused[1]} (the rows are put aside)"] if self.refused[1] else []
        return [*listed, *(f"{problem} (the row is put aside)" for problem in self.texts.broken[:5])]

    @property
    def all_columns(self) -> tuple[ColumnGuess, ...]:
        """The columns in the order of the files, the target as such."""
        target = self.target.column
        return tuple(target if guess.name == target.name else guess for guess in self.columns)


def columns_of(texts: Texts) -> tuple[ColumnGuess, ...]:
    """Return what each column of some files may be; one that is not in every file may be missing."""
    names = column_names(list(texts.columns))
    first = {header: guessed(names[header], header, column) for header, column in texts.columns.items()}
    decimal = _decimal_mark(first.values())
    guesses = []
    for header, column in texts.columns.items():
        guess = guessed(names[header], header, column, decimal) if _is_open(first[header]) else first[header]
        if needs_source(guess.name, header, list(texts.columns)):
            guess = replace(guess, fields={"type": guess.type, "source": header, **guess.fields})
        if without := texts.absent.get(header):
            guess = replace(
                guess,
                fields={**guess.fields, "nullable": True},
                evidence=f"not in {', '.join(without)}; {guess.evidence}",
            )
        guesses.append(guess)
    return tuple(guesses)


def _encoded(columns: Sequence[ColumnGuess], target: TargetGuess) -> tuple[ColumnGuess, ...]:
    """Return the columns without texts as features that no encoding has numbers for: of classes there is no mean."""
    if target.problem != "multiclass_classification":
        return tuple(columns)
    return tuple(_without_mean(guess) if _has_many_texts(guess, target) else guess for guess in columns)


def _has_many_texts(guess: ColumnGuess, target: TargetGuess) -> bool:
    is_text = guess.type == "string" and guess.is_feature and guess.name != target.column.name
    return is_text and len(guess.words) > MOST_CATEGORIES


def _without_mean(guess: ColumnGuess) -> ColumnGuess:
    why = f"{len(guess.words):,} different texts, and classes have no mean that could stand for each"
    return guess.without_feature(why).with_doubt(
        f"is no feature: {why}. With more max_categories (under quality, at most 1,000) each text is a 0/1 feature; "
        "features.py can make others of them"
    )


def _is_open(guess: ColumnGuess) -> bool:
    """Return whether only other columns can tell what a column's marks mean."""
    return guess.type in NUMBERS and guess.reading is not None and in_other_marks(guess.reading) is not None


def _decimal_mark(guesses: Iterable[ColumnGuess]) -> str | None:
    """Return the decimal mark of all columns that leave no doubt about theirs; None: they show none, or several."""
    readings = (guess.reading for guess in guesses if guess.type in NUMBERS and guess.reading)
    marks = {mark for reading in readings if (mark := decimal_mark(reading))}
    return marks.pop() if len(marks) == 1 else None


# ---- The threshold


@dataclass(frozen=True)
class Measured:
    """Quick fits of a proposal on different splits, and the threshold that follows.

    fits        none where a run could not use the files
    is_weak     the fits are hardly better than always answering the same
    is_unsure   they differ so much from split to split that no threshold lets all of them pass and asks for more
    is_perfect  they make hardly a mistake, as where a column says the answer
    """

    fits: tuple[Fit, ...]
    threshold: float
    is_weak: bool
    is_unsure: bool = False
    is_perfect: bool = False
    with_logarithm: float | None = None
    without_logarithm: float | None = None

    @property
    def model(self) -> float:
        return float(np.mean([fit.model for fit in self.fits]))

    @property
    def constant(self) -> float:
        return float(np.mean([fit.constant for fit in self.fits])) if self.fits else self.threshold


def measured(proposal: Proposal, models: Path, step: Callable[[str], None]) -> tuple[Proposal, Measured]:
    """Return a proposal with or without a logarithm, whichever fits better, and its fits.

    Where a run could not use the files it is a proposal all the same, for people to correct, and says so (`unusable`).
    """
    proposal, fits = _usable(proposal, models, step)
    if not fits:
        return proposal, Measured((), _threshold_of_constant(proposal.target), is_weak=False)
    if not _spans_magnitudes(proposal):
        return proposal, _judged(proposal, fits)
    other = replace(proposal, logarithm=True)
    logarithmic = _fits(other, models, step)
    before, after = (float(np.mean([fit.model for fit in some])) for some in (fits, logarithmic))
    chosen, best = (other, logarithmic) if after < before * (1 - GAIN_OF_LOGARITHM) else (proposal, fits)
    return chosen, replace(_judged(chosen, best), with_logarithm=after, without_logarithm=before)


def _usable(proposal: Proposal, models: Path, step: Callable[[str], None]) -> tuple[Proposal, tuple[Fit, ...]]:
    """Return a proposal with what trials show to be wrong in it put right, and its fits; none where more is wrong."""
    while True:
        try:
            return proposal, _fits(proposal, models, step)
        except UnusableError as error:
            better = _put_right(proposal, error)
            if better is None:
                rare = too_rare(proposal.target) if error.lacks_classes else ""
                return replace(proposal, unusable=rare or str(error)), ()
            proposal = better


def _put_right(proposal: Proposal, error: UnusableError) -> Proposal | None:
    """Return a proposal without what a trial has failed by; None where nobody here knows how."""
    if proposal.allowed_share < error.refused_share <= MOST_REFUSED:
        return replace(proposal, refused=(error.refused_share, error.refused))
    if (larger := proposal.split.with_larger_sets()) != proposal.split:
        return replace(proposal, split=larger)
    if proposal.split.method != "random":
        why = f"a split by {proposal.split.column} leaves a set with too few rows"
        return replace(proposal, split=proposal.split.by_chance(why))
    target = without_rare_classes(proposal.target)
    return replace(proposal, target=target) if target else None


def _threshold_of_constant(target: TargetGuess) -> float:
    """Return what always the same answer reaches, of the target's values alone."""
    if target.problem == "binary_classification":
        return 0.5
    if target.problem == "multiclass_classification":
        return math.floor(100 * int(target.column.words.counts[0]) / target.column.words.known) / 100
    values = known_values(target.column.reading) if target.column.reading else np.zeros(0)
    return round_number(float(np.std(values)), up=True) or 1.0 if len(values) else 1.0


class UnusableError(Exception):
    """A run could not use the files with what is proposed; the text says why.

    refused_share  of the rows that break what is proposed of the columns; refused: the rule that most of them break
    lacks_classes  whether a set has no rows of a class, or of all others
    """

    def __init__(
        self, text: str, refused_share: float = 0.0, refused: str = "", *, lacks_classes: bool = False
    ) -> None:
        super().__init__(text)
        self.refused_share, self.refused, self.lacks_classes = refused_share, refused, lacks_classes


def _fits(proposal: Proposal, models: Path, step: Callable[[str], None]) -> tuple[Fit, ...]:
    fits: list[Fit] = []
    for variant in range(len(SEEDS)):
        step(f"a quick fit{' of the logarithm' if proposal.logarithm else ''}, split {variant + 1} of {len(SEEDS)}")
        sound = parsed(proposal, _placeholder(proposal), variant)
        trial = tried(sound, proposal.model, proposal.texts.files, models)
        if trial.fit is None:
            raise _unusable(trial)
        fits.append(trial.fit)
    return tuple(fits)


def _unusable(trial: Trial) -> UnusableError:
    rows, rules = trial.report["rows"], trial.report["rules"]
    share = rows["quarantined"] / max(1, rows["read"])
    broken = problem(rules[0]) if rules else ""
    return UnusableError("\n".join(trial.problems), share, broken, lacks_classes=_lacks_classes(trial.report))


def _lacks_classes(report: Mapping[str, Any]) -> bool:
    extremes = report["target"].values()
    is_constant = any(one["min"] is not None and one["min"] == one["max"] for one in extremes)
    return is_constant or any(not (one.get("train", 1) and one.get("test", 1)) for one in report["classes"])


def _placeholder(proposal: Proposal) -> float:
    return 1.0 if proposal.target.problem == "regression" else 0.5


def _spans_magnitudes(proposal: Proposal) -> bool:
    reading = proposal.target.column.reading
    if proposal.target.problem != "regression" or reading is None:
        return False
    values = np.asarray(reading.values.drop_null().to_numpy(zero_copy_only=False), np.float64)
    return bool(len(values)) and values.min() > 0 and values.max() >= WIDE_TARGET * values.min()


def _judged(proposal: Proposal, fits: tuple[Fit, ...]) -> Measured:
    """Return the threshold a quarter of the way from the fits to the mean predictor.

    Farther, where the fits of single splits are, but never so far that the mean predictor meets it: where fits are
    hardly better than that it lies between the two, and where they are no better only what is passes.
    """
    model, constant = (float(np.mean([getattr(fit, name) for fit in fits])) for name in ("model", "constant"))
    is_error = PROBLEM_TYPES[proposal.target.problem].metrics[fits[0].metric].direction == "minimize"
    sign = 1 if is_error else -1  # of what is worse
    gain = sign * (constant - model)
    is_weak = not gain > LEAST_GAIN * abs(constant)
    errors = [sign * fit.model for fit in fits]
    wanted = sign * max(sign * model + gain / 4, max(errors) + float(np.std(errors)))
    is_beyond = is_weak or sign * wanted > sign * constant
    threshold = round_number(wanted, up=True) if is_error else math.floor(wanted * 100) / 100
    if is_beyond or sign * threshold >= sign * constant:
        threshold = _next_to(constant, model, sign)
    is_perfect = model < PERFECT * constant if is_error else 1 - model < PERFECT * (1 - constant)
    return Measured(fits, threshold, is_weak, is_beyond and not is_weak, is_perfect)


def _next_to(constant: float, model: float, sign: int) -> float:
    """Return a number of three digits that the mean predictor does not reach.

    Of more digits where a better model would not reach it either. `sign` is 1 of errors, -1 of what is to be large.
    """
    magnitude = math.floor(math.log10(abs(constant) or 1.0))
    for digits in range(3, 9):
        step = 10.0 ** (magnitude + 1 - digits)
        places = math.ceil(constant / step) - 1 if sign > 0 else math.floor(constant / step) + 1
        threshold = float(f"{places * step:.9g}")
        if not sign * threshold < sign * model < sign * constant:
            break
    return plain(threshold)


# ---- Series


def forecast(proposal: Proposal, series: Series, models: Path) -> tuple[str, float | None]:
    """Return the model.yaml of series, and what last season again reaches on them. Raises UnusableError."""
    placeholder = "\n".join(_lines_of_series(proposal, series, 1.0, None))
    trial = tried(definition.parse(placeholder, "model.yaml"), proposal.model, proposal.texts.files, models)
    if trial.problems:
        raise UnusableError("\n".join(trial.problems))
    naive = trial.naive if trial.naive else None  # a series that repeats itself to the last digit is no measure
    threshold = round_number(naive, up=False) if naive else 1.0
    return "\n".join(_lines_of_series(proposal, series, threshold, naive)) + "\n", naive


def _lines_of_series(proposal: Proposal, series: Series, threshold: float, naive: float | None) -> Iterator[str]:
    target = proposal.target
    files = ", ".join(printable(path.name, 60) for path in proposal.texts.files)
    yield from _comment(f"Proposed by `perennial init --forecast` from {files} ({proposal.texts.rows:,} rows).")
    yield f"description: {_flow(f'{target.column.header} of each {series.key.header}, from {files}')}"
    yield "problem: forecasting"
    yield f"target: {_flow(target.column.name)}"
    yield from _form(proposal.texts)
    yield ""
    yield from _comment(
        "Columns besides the three are not learned from: what is known ahead of each period may be a feature, "
        "see docs/add-a-model.md, Forecasting."
    )
    yield "columns:"
    for name, fields in columns_of_series(series, proposal.columns, target):
        if "parse" in fields:
            fields["parse"] = _short(cast(dict[str, Any], fields["parse"]))
        yield f"  {_flow(name)}: {_flow(fields)}"
    yield ""
    yield f"series: {_flow(series.fields())}"
    yield f"quality: {_flow({'max_invalid_share': proposal.allowed_share})}"
    yield ""
    yield "algorithm: deepar"
    if naive is not None:
        yield from _comment(f"Last season again reaches {rounded(naive)}, which a candidate has to beat in any case.")
    yield f"gate: {{metric: mean_wql, threshold: {_flow(threshold)}, minimum_improvement: 0.0}}"
    yield ""
    yield "overridable: [hyperparameters, tuning, gate.threshold, instances, data_prefix]"


# ---- The text


def parsed(proposal: Proposal, threshold: float, variant: int = 0) -> Definition:
    """Return the proposal as the definition that a run would read; variants deal the rows otherwise."""
    return definition.parse("\n".join(_lines(proposal, threshold, variant, None)), "model.yaml")


def text(proposal: Proposal, measurements: Measured) -> str:
    """Return the model.yaml."""
    return "\n".join(_lines(proposal, measurements.threshold, 0, measurements)) + "\n"


def _lines(proposal: Proposal, threshold: float, variant: int, measurements: Measured | None) -> Iterator[str]:
    target = proposal.target
    files = ", ".join(printable(path.name, 60) for path in proposal.texts.files)
    yield from _comment(
        f"Proposed by `perennial init` from {files} ({proposal.texts.rows:,} rows). Each guess has its "
        "evidence: read them, and correct what is wrong."
    )
    if doubts := proposal.doubts:
        yield "# Not understood, or to be looked at:"
        yield from (line for doubt in doubts for line in _comment(f"* {doubt}"))
    yield f"description: {_flow(f'{target.column.header} from {files}')}"
    yield f"problem: {target.problem}"
    yield from _comment(f"The target is {target.evidence}.")
    logarithmic = {"column": target.column.name, "transform": "log"}
    yield f"target: {_flow(logarithmic) if proposal.logarithm else _flow(target.column.name)}"
    if measurements and measurements.with_logarithm is not None:
        yield from _comment(
            f"It spans orders of magnitude. Quick fits: {rounded(measurements.with_logarithm)} with its logarithm "
            f"(transform: log), {rounded(measurements.without_logarithm)} without."
        )
    if target.problem == "regression" and "unit" not in target.column.fields:
        yield from _comment(
            f"Give {target.column.name} its unit (unit: USD) below: without one the monitor may take a world that is "
            "dearer, by about as much as pounds are than kilograms, for another unit, which starts no run."
        )
    yield from _form(proposal.texts)
    yield ""
    yield "# The order of the features is that of the CSV records that callers send, without what is no feature."
    yield "columns:"
    for guess in proposal.all_columns:
        yield from _column(guess, is_target=guess.name == target.column.name)
    yield ""
    yield from (line for sentence in proposal.split.evidence for line in _comment(sentence))
    yield f"split: {_flow(proposal.split.fields(variant))}"
    yield from _quality(proposal)
    yield ""
    yield "algorithm: xgboost"
    yield from TUNING
    yield ""
    yield from _gate(proposal, threshold, measurements)
    yield ""
    yield "overridable: [algorithm, hyperparameters, tuning, gate.threshold, instances, data_prefix]"


def _form(texts: Texts) -> Iterator[str]:
    declared = {
        **({"encoding": texts.form.encoding} if texts.form.encoding != "utf-8" else {}),
        **({"delimiter": texts.form.delimiter} if texts.form.delimiter else {}),
    }
    if declared:
        yield f"files: {_flow(declared)}{'  # a guess: see above' if 'encoding' in declared else ''}"
    if texts.index:
        names = ", ".join(quoted(name) for name in texts.index)
        yield f"# Passed over as row numbers: {names}."


def _column(guess: ColumnGuess, *, is_target: bool) -> Iterator[str]:
    fields = dict(guess.fields)
    if "parse" in fields:
        fields["parse"] = _short(fields["parse"])
    if is_target:
        fields.pop("nullable", None)
    line = f"  {_flow(guess.name)}: {_flow(fields)}"
    evidence = printable(guess.evidence, 200)
    if len(line) + len(evidence) + 4 <= WIDTH:
        yield f"{line}  # {evidence}"
    else:
        yield from (f"  {one}" for one in _comment(evidence, WIDTH - 2))
        yield line


def _short(parse: dict[str, Any]) -> dict[str, Any]:
    """Return `parse` as people write it: units that are all the column's own are a list."""
    units = parse.get("units")
    if units and all(factor == 1 for factor in units.values()):
        return {**parse, "units": list(units)}
    return parse


def _quality(proposal: Proposal) -> Iterator[str]:
    rows, share = proposal.texts.rows, proposal.broken_share
    if share:
        without = proposal.untargeted_share
        why = f": {without:.2%} have no {proposal.target.column.name}, the target" if without else ""
        yield from _comment(f"{share:.2%} of these rows break the contract as it is written here{why}.")
    least = max(LEAST_ROWS, min(100, round((1 - share) * rows) // 2))
    limits = {"max_invalid_share": proposal.allowed_share, "min_rows": least, "max_categories": MOST_CATEGORIES}
    yield f"quality: {_flow(limits)}"


def _gate(proposal: Proposal, threshold: float, measurements: Measured | None) -> Iterator[str]:
    if measurements and not measurements.fits:
        yield "# There is no quick fit of these rows (see above): the threshold is what always the same answer reaches."
    elif measurements:
        values = sorted(fit.model for fit in measurements.fits)
        constant = (
            f"always the same answer gives {rounded(measurements.constant)}"
            if proposal.target.problem != "regression"
            else f"always answering the mean gives {rounded(measurements.constant)}"
        )
        unit = proposal.target.column.fields.get("unit", "")
        yield from _comment(
            f"Quick fits on {len(values)} {_kind(proposal.split)} reach {proposal.target.metric} "
            f"{rounded(values[0])} to {rounded(values[-1])}{' ' + unit if unit else ''}; {constant}."
        )
        if measurements.is_weak:
            yield "# That is hardly better: the columns say little of the target, and the threshold asks for little."
        if measurements.is_unsure:
            yield from _comment(f"{UNSURE[0].upper()}{UNSURE[1:]}.")
        if measurements.is_perfect:
            yield "# That is nearly perfect: is a column known only after what is predicted? Then feature: false."
    yield f"gate: {{metric: {proposal.target.metric}, threshold: {_flow(threshold)}, minimum_improvement: 0.0}}"


def _kind(split: SplitGuess) -> str:
    return {"random": "random splits", "time": "splits by time"}.get(split.method, f"splits by {split.column}")


def _flow(value: Any) -> str:
    dumped = yaml.dump(
        value, Dumper=definition.Dumper, default_flow_style=True, sort_keys=False, width=math.inf, allow_unicode=True
    )
    return dumped.removesuffix("\n").removesuffix("\n...").strip()


def _comment(sentence: str, width: int = WIDTH) -> Sequence[str]:
    """Return a sentence as lines of a comment."""
    lines, line = [], "#"
    for word in printable(sentence, 2_000).split(" "):
        if len(line) + 1 + len(word) > width and line != "#":
            lines.append(line)
            line = "# "
        line += f" {word}" if line != "# " else word
    return [*lines, line]
