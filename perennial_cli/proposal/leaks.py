"""Features that say the target: columns of numbers that put the rows in nearly the order of the target.

Such a column is mostly another form of the target (a price without tax), or known only after it (a sum that holds it).
Nobody can tell by the numbers, so it stays a feature, and people are asked.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from perennial.features.parsing import NUMBERS
from perennial_cli.proposal.columns import ColumnGuess
from perennial_cli.proposal.splits import ranks
from perennial_cli.proposal.texts import Texts

NEARLY_THE_SAME = 0.98  # rank correlation (Spearman's), of either sign
LEAST_ROWS, LEAST_VALUES = 50, 20  # of fewer, two columns are alike by chance or because both have few values


def doubted(texts: Texts, columns: Iterable[ColumnGuess], target: ColumnGuess) -> tuple[ColumnGuess, ...]:
    """Return the columns, with a doubt where one says a target that is a number."""
    if target.type not in NUMBERS or target.reading is None or len(target.words) < LEAST_VALUES:
        return tuple(columns)
    actual = _values(target, texts)
    return tuple(_doubted(guess, texts, actual, target) for guess in columns)


def _doubted(guess: ColumnGuess, texts: Texts, actual: npt.NDArray[np.float64], target: ColumnGuess) -> ColumnGuess:
    if guess.name == target.name or not guess.is_feature or guess.type not in NUMBERS or guess.reading is None:
        return guess
    values = _values(guess, texts)
    known = ~(np.isnan(values) | np.isnan(actual))
    if known.sum() < LEAST_ROWS or len(np.unique(values[known])) < LEAST_VALUES:
        return guess
    with np.errstate(invalid="ignore"):  # a column that is the same in all of these rows
        alike = abs(float(np.corrcoef(ranks(values[known]), ranks(actual[known]))[0, 1]))
    if not alike >= NEARLY_THE_SAME:
        return guess
    return guess.with_doubt(
        f"puts the rows in nearly the order of {target.name} (rank correlation {alike:.3f}): where it is known only "
        f"with {target.name}, write feature: false, nullable: true"
    )


def _values(guess: ColumnGuess, texts: Texts) -> npt.NDArray[np.float64]:
    """Return the number of each row `(n_rows,)`; NaN where there is none."""
    if guess.reading is None:
        return np.full(texts.rows, np.nan)
    stripped = pc.utf8_trim_whitespace(texts.columns[guess.header])
    numbers = pc.cast(guess.reading.values, pa.float64(), safe=False)
    rows = numbers.take(pc.index_in(stripped, value_set=guess.words.texts))
    return np.asarray(pc.fill_null(rows, np.nan).to_numpy(zero_copy_only=False), np.float64)
