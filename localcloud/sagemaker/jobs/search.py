"""Choose the hyperparameters of a tuning job's trials: at random, or by a Bayesian search of what others have reached.

Both are optuna's samplers. It is imported when the first tuning job begins (0.3 s, 20 MiB), not with this module.
Scaling as in the Developer Guide, "Hyperparameter Scaling"; what Auto chooses is not documented: here it is logarithmic
where the ends of a range are two orders of magnitude apart.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from localcloud.sagemaker.errors import invalid
from localcloud.sagemaker.platform.store import Document

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

RANDOM_TRIALS = 4  # before the Bayesian search has something to go by
_MOST_REPEATS = 20  # of what was tried already, before another one is named
_ORDERS_APART = 100
_MOST_WHOLE = 2.0**63
_WHOLE = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_INTEGER, _CONTINUOUS = "IntegerParameterRanges", "ContinuousParameterRanges"
_CATEGORICAL = "CategoricalParameterRanges"


@dataclass(frozen=True)
class Range:
    """What one hyperparameter may be: a number between two ends, or one of some words."""

    name: str
    is_whole: bool = False
    low: float = 0.0
    high: float = 0.0
    scaling: str = "Linear"
    words: tuple[str, ...] = ()

    @property
    def choices(self) -> float:
        """The number of different values."""
        if self.words:
            return len(self.words)
        return self.high - self.low + 1 if self.is_whole or self.low == self.high else math.inf

    def values(self) -> Sequence[Any]:
        """Return all values of a range that has few, in order."""
        if self.words:
            return self.words
        return range(int(self.low), int(self.high) + 1) if self.is_whole else [self.of_text(str(self.low))]

    def distribution(self) -> BaseDistribution:
        """Return the range as optuna knows it: that of 1 - x where the scaling is reversed."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.words:
            return CategoricalDistribution(self.words)
        if self.scaling == "ReverseLogarithmic":
            return FloatDistribution(1 - self.high, 1 - self.low, log=True)
        log = self.scaling == "Logarithmic" or (
            self.scaling == "Auto" and self.low > 0 and self.high / self.low >= _ORDERS_APART
        )
        if self.is_whole:
            return IntDistribution(int(self.low), int(self.high), log=log)
        return FloatDistribution(self.low, self.high, log=log)

    def as_text(self, value: Any) -> str:
        """Return a value of the distribution as SageMaker writes hyperparameters."""
        return str(1 - value if self.scaling == "ReverseLogarithmic" else value)

    def of_text(self, text: str) -> Any:
        """Return the value of the distribution for a hyperparameter. Raises ValueError."""
        if self.words:
            return text
        number = int(text) if self.is_whole else float(text)
        return 1 - number if self.scaling == "ReverseLogarithmic" else number


class Search:
    """The trials of one tuning job by their numbers, which begin with 1. Not for several threads."""

    def __init__(self, ranges: Iterable[Range], *, strategy: str, maximize: bool, seed: int | None) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._ranges = {one.name: one for one in ranges}
        self._distributions = {name: one.distribution() for name, one in self._ranges.items()}
        sampler: optuna.samplers.BaseSampler = optuna.samplers.RandomSampler(seed=seed)
        if strategy == "Bayesian":
            sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS, constant_liar=True)
        self._study = optuna.create_study(sampler=sampler, direction="maximize" if maximize else "minimize")
        self._trials: dict[int, optuna.Trial] = {}
        self._tried: set[tuple[str, ...]] = set()

    def ask(self, number: int) -> dict[str, str]:
        """Return the tuned hyperparameters of the next trial; no other has them as long as something else is left."""
        import optuna

        trial, repeats = self._study.ask(self._distributions), 0
        while (texts := self._texts(trial.params)) in self._tried:
            repeats += 1
            if repeats > _MOST_REPEATS:
                if (another := self._another()) is None:
                    break
                self._study.enqueue_trial(another)
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            trial = self._study.ask(self._distributions)
        self._trials[number] = trial
        self._tried.add(texts)
        return dict(zip(self._ranges, texts, strict=True))

    def _texts(self, params: Mapping[str, Any]) -> tuple[str, ...]:
        return tuple(one.as_text(params[name]) for name, one in self._ranges.items())

    def _another(self) -> dict[str, Any] | None:
        """Return the first combination that was not tried; None where all were, as of fractions next to each other."""
        enough = len(self._tried) + 1  # of a range that has more, one of so many was not tried
        every = itertools.product(*(itertools.islice(one.values(), enough) for one in self._ranges.values()))
        named = (dict(zip(self._ranges, values, strict=True)) for values in every)
        return next((params for params in named if self._texts(params) not in self._tried), None)

    def tell(self, number: int, value: float | None) -> None:
        """Learn what a trial has reached; None: it has failed, or reported nothing."""
        import optuna

        state = optuna.trial.TrialState.FAIL if value is None else optuna.trial.TrialState.COMPLETE
        self._study.tell(self._trials.pop(number), value, state=state)

    def learn(self, hyperparameters: Mapping[str, str], value: float) -> None:
        """Learn from a trial of another tuning job, if it had these hyperparameters within these ranges."""
        import optuna

        try:
            params = {name: one.of_text(hyperparameters[name]) for name, one in self._ranges.items()}
            trial = optuna.create_trial(params=params, distributions=self._distributions, value=value)
        except (KeyError, ValueError):
            return
        self._study.add_trial(trial)


def read(config: Document) -> list[Range]:
    """Return the ranges of a HyperParameterTuningJobConfig. Raises AwsError: one is no range."""
    documents = config.get("ParameterRanges", {})
    ranges = list(_read(documents))
    if documents.get("AutoParameters"):
        raise invalid("AutoParameters are not supported by the local SageMaker. Name their ranges.")
    if not ranges:
        raise invalid("ParameterRanges: at least one hyperparameter must have a range.")
    names = [one.name for one in ranges]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise invalid(f"ParameterRanges: {', '.join(repeated)} stand more than once.")
    _check_combinations(ranges, config["ResourceLimits"]["MaxNumberOfTrainingJobs"])
    return ranges


def _read(documents: Document) -> Iterator[Range]:
    for kind in (_INTEGER, _CONTINUOUS):
        for item in documents.get(kind, []):
            yield _numbers(item, is_whole=kind == _INTEGER)
    for item in documents.get(_CATEGORICAL, []):
        yield Range(item["Name"], words=tuple(dict.fromkeys(item["Values"])))


def _numbers(item: Document, *, is_whole: bool) -> Range:
    name, scaling = item["Name"], item.get("ScalingType", "Auto")
    low, high = (_number(name, item[end], is_whole) for end in ("MinValue", "MaxValue"))
    if low > high:
        raise invalid(f"Parameter range {name}: MinValue {low:g} is larger than MaxValue {high:g}.")
    if scaling == "Logarithmic" and low <= 0:
        raise invalid(f"Parameter range {name}: Logarithmic scaling needs values greater than 0.")
    if scaling == "ReverseLogarithmic" and (is_whole or low < 0 or high >= 1):
        raise invalid(f"Parameter range {name}: ReverseLogarithmic scaling needs continuous values with 0 <= x < 1.0.")
    return Range(name, is_whole, low, high, scaling)


def _number(name: str, text: str, is_whole: bool) -> float:
    number = float(text) if _NUMBER.fullmatch(text) else math.nan
    if is_whole and not (_WHOLE.fullmatch(text) and abs(number) < _MOST_WHOLE):
        raise invalid(f"Parameter range {name}: {text!r} is not an integer of at most 64 bits.")
    if not math.isfinite(number):
        raise invalid(f"Parameter range {name}: {text!r} is not a finite number.")
    return int(text) if is_whole else number


def _check_combinations(ranges: list[Range], jobs: int) -> None:
    """Refuse more trials than there are different ones, in the words of the service."""
    combinations = math.prod(float(one.choices) for one in ranges)
    if combinations < jobs:
        raise invalid(
            "You don't have enough combinations of hyperparameter ranges. The total number of hyperparameter "
            f"combinations for the provided ranges [{combinations}] must be equal or greater than the value of "
            f"MaxNumberOfJobs, [{jobs}]. Provide additional ranges."
        )
