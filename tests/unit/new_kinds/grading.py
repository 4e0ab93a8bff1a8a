"""A problem type for tests: what would be perennial/evaluation/problem_types/grading.py.

Labels and scores are grades, counted from 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from perennial.evaluation.problem_types.measures import TOO_LARGE, Floats, Measures, mean, require
from perennial.evaluation.problem_types.quality import of_classes


def _hits(labels: Floats, scores: Floats) -> Floats:
    return np.column_stack([np.ones_like(labels), labels == scores])


def _check(labels: Floats, scores: Floats) -> None:
    require("labels", labels, _measurable(labels), "grades, counted from 0")
    require("scores", scores, _measurable(scores), "grades, counted from 0")


def _measurable(scores: Floats) -> npt.NDArray[np.bool_]:
    return (scores >= 0) & (scores == np.floor(scores))


def _columns(labels: Floats, scores: Floats, _classes: Sequence[str]) -> dict[str, npt.NDArray[np.int64]]:
    return {"prediction": scores.astype(np.int64), "label": labels.astype(np.int64)}


MEASURES = Measures({"accuracy": (_hits, mean, TOO_LARGE)}, _check, _measurable, _columns, of_classes)
