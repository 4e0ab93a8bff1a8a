"""Fitting the encodings (features.encoding) on training rows.

A first pass takes means of numbers and the values of texts. Only where a text has more than a few values the rows are
read twice more: for a sample, and to sum for each value what the other columns leave of the target
(data.residuals).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from perennial.data import residuals
from perennial.data.text_sums import TextSums
from perennial.features.encoding import (
    CategoryEncoding,
    Encoder,
    Encoding,
    Hook,
    NumberEncoding,
    PlainEncoding,
    kind_of,
    prepared,
    whole_column,
)
from perennial.features.target_encoding import Floats, folds_of
from perennial.features.values import DataError
from perennial.hooks import HookError

MAX_DISTINCT = 100_000  # a text column with more distinct values is no category, and counting it would eat the memory

MOST_WITHOUT_MEANS = 6  # categories

MEAN_DIGITS = 12  # the last ones depend on how rows are cut into batches

# Raw features, the target in its own unit, and the hash of each row.
TrainingRows = tuple[pa.Table, Floats, npt.NDArray[np.uint64]]
T = TypeVar("T")


class Again(Protocol):
    """Shows the training rows to a task once more: all to one, or in their order each of several machines its own.

    Yields what the tasks return.
    """

    def __call__(self, task: Callable[[Iterable[TrainingRows]], T]) -> Iterable[T]: ...


class EncoderFit:
    """Fits an encoder on batches of training rows; memory grows with distinct texts, not with rows.

    has_mean  the target is a number or one of two classes: a mean of it says something
    encodes   else columns are taken as they are (preprocessing: none), and only their names are learned
    """

    def __init__(
        self,
        nullable: frozenset[str],
        max_categories: int,
        hook: Hook | None = None,
        *,
        has_mean: bool = True,
        encodes: bool = True,
    ) -> None:
        self._encodes = encodes
        self._nullable, self._max_categories, self.hook, self._has_mean = nullable, max_categories, hook, has_mean
        self._fits: dict[str, _NumberFit | set[str]] = {}

    def update(self, table: pa.Table) -> None:
        """Take in a batch of raw training rows."""
        table = prepared(table, self.hook)
        if self._fits and table.column_names != list(self._fits):
            raise HookError(f"features.py: transform returned the columns {table.column_names}, then {[*self._fits]}")
        for name in table.column_names:
            self._take_in(name, whole_column(table, name))

    def _take_in(self, name: str, values: pa.Array) -> None:
        is_text = pa.types.is_dictionary(values.type)
        fit = self._fits.setdefault(name, set() if is_text else _NumberFit())
        if not self._encodes:
            return
        _require_kind(name, isinstance(fit, set), is_text)
        if isinstance(fit, _NumberFit):
            fit.update(values)
            return
        fit.update(values.dictionary.take(pc.unique(values.indices).drop_null()).to_pylist())
        _require_category(name, fit)

    def of_rows(self, table: pa.Table) -> EncoderFit:
        """Return what some raw training rows teach by themselves."""
        fit = EncoderFit(
            self._nullable, self._max_categories, self.hook, has_mean=self._has_mean, encodes=self._encodes
        )
        fit.update(table)
        return fit

    def merge(self, other: EncoderFit) -> None:
        """Take in what another has learned of the rows after these."""
        if self._fits and other._fits and [*self._fits] != [*other._fits]:
            raise HookError(f"features.py: transform returned the columns {[*self._fits]}, then {[*other._fits]}")
        for name, theirs in other._fits.items():
            ours = self._fits.setdefault(name, theirs)
            if ours is theirs or not self._encodes:
                continue
            _require_kind(name, isinstance(ours, set), isinstance(theirs, set))
            if isinstance(ours, _NumberFit) and isinstance(theirs, _NumberFit):
                ours.add(theirs.count, theirs.mean)
            elif isinstance(ours, set) and isinstance(theirs, set):
                ours |= theirs
                _require_category(name, ours)

    def finish(self, again: Again) -> Encoder:
        """Return the encoder; `again` shows the same training rows, and is called where a text becomes means."""
        if not self._encodes:
            return Encoder(tuple(map(PlainEncoding, self._fits)), self.hook)
        sums = self._sums(again)
        encoder = Encoder(tuple(item for name in self._fits for item in self._encodings(name, sums)), self.hook)
        if not encoder.feature_names:
            raise DataError("no feature has a value in any training row; there is nothing to learn from")
        return encoder

    def _sums(self, again: Again) -> dict[str, TextSums]:
        texts = {name: sorted(fit) for name, fit in self._fits.items() if isinstance(fit, set)}
        few = {name: values for name, values in texts.items() if len(values) <= self._max_categories}
        many = [name for name, values in texts.items() if len(values) > min(MOST_WITHOUT_MEANS, self._max_categories)]
        if not self._has_mean:
            self._require_few(texts)
            return {}
        if not many:
            return {}
        sample, lowest = residuals.Sample(), np.inf
        for some, lowest_of_some in again(functools.partial(_sampled, hook=self.hook)):
            sample.merge(some)
            lowest = min(lowest, lowest_of_some)
        # What multiplies a price adds to its logarithm.
        signal: Callable[[Floats], Floats] = np.log if lowest > 0 else np.asarray
        columns, target = sample.rows()
        explained = {name: residuals.fitted(columns, signal(target), name, few) for name in many}
        sums: dict[str, TextSums] = {}
        for summed in again(functools.partial(_summed, hook=self.hook, signal=signal, explained=explained)):
            for name, of_column in summed.items():
                if name in sums:
                    sums[name].merge(of_column)
                else:
                    sums[name] = of_column
        return sums

    def _require_few(self, texts: dict[str, list[str]]) -> None:
        for name, values in texts.items():
            if len(values) > self._max_categories:
                raise DataError(
                    f"column {name!r} has {len(values):,} different texts; expected at most {self._max_categories:,} "
                    "(quality.max_categories), as the classes of the target have no mean that could stand for a text. "
                    "Raise it, set feature: false for the column, or derive a feature from it in features.py"
                )

    def _encodings(self, name: str, sums: dict[str, TextSums]) -> Iterator[Encoding]:
        fit, indicator = self._fits[name], name in self._nullable
        if isinstance(fit, _NumberFit):
            yield NumberEncoding(name, float(f"{fit.mean:.{MEAN_DIGITS}g}"), indicator)
            return
        if few := len(fit) <= self._max_categories:
            yield CategoryEncoding(name, tuple(sorted(fit)), indicator)
        if name in sums:
            yield sums[name].encoding(name, indicator and not few)


def _require_kind(name: str, was_text: bool, is_text: bool) -> None:
    if was_text != is_text:
        raise HookError(
            f"features.py: column {name!r} is of {kind_of(was_text)} for some rows and of {kind_of(is_text)} for others"
        )


def _require_category(name: str, texts: set[str]) -> None:
    if len(texts) > MAX_DISTINCT:
        raise DataError(
            f"column {name!r} has more than {MAX_DISTINCT:,} different texts, which is no category. "
            "Set feature: false for it in model.yaml, or derive a feature from it in features.py"
        )


def _sampled(training: Iterable[TrainingRows], hook: Hook | None) -> tuple[residuals.Sample, float]:
    """Return a sample of training rows, and the lowest target of all of them."""
    sample, lowest = residuals.Sample(), np.inf
    for rows, target, identity in training:
        sample.update(prepared(rows, hook), target, identity)
        lowest = min(lowest, target.min())
    return sample, lowest


def _summed(
    training: Iterable[TrainingRows], hook: Hook | None, signal: Any, explained: Mapping[str, residuals.Explained]
) -> dict[str, TextSums]:
    """Return for each column what the others leave of the target, summed by its texts."""
    sums = {name: TextSums() for name in explained}
    for rows, target, identity in training:
        table = prepared(rows, hook)
        for name, of_column in sums.items():
            unexplained = signal(target) - explained[name].of(table)
            of_column.update(whole_column(table, name), unexplained, folds_of(identity))
    return sums


class _NumberFit:
    def __init__(self) -> None:
        self.count, self.mean = 0, 0.0

    def update(self, values: pa.Array) -> None:
        known = len(values) - values.null_count
        if known:
            is_summed_as_float = pa.types.is_floating(values.type) or pa.types.is_boolean(values.type)
            mean = pc.mean(values if is_summed_as_float else pc.cast(values, pa.float64(), safe=False))
            self.add(known, mean.as_py())

    def add(self, count: int, mean: float) -> None:
        """Take in so many numbers of a mean."""
        if count:
            self.count += count
            self.mean += (mean - self.mean) * (count / self.count)
