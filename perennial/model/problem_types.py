"""The problem types: what is predicted, and the metrics that say how well.

A new one is an entry of PROBLEM_TYPES, and a file of its name in perennial/evaluation/problem_types/ that computes its
metrics. An algorithm that learns it says so in its own file (perennial.model.algorithms).

Where classes have names, algorithms and metrics know them by their numbers: the positions in `classes_of`, from 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Direction = Literal["minimize", "maximize"]
FEWEST_CLASSES, MOST_CLASSES = 3, 100


@dataclass(frozen=True)
class Score:
    """What a metric's values mean.

    direction     minimize: smaller is better
    low, high     thresholds that could ever be met and could ever fail; None is unbounded
    includes_low  `low` itself is such a threshold
    meaning       what the bounds stand for, in words
    in_unit       it is in the unit of the target
    is_bounded    its best value is 0 where smaller is better, and 1 where larger is
    """

    direction: Direction
    low: float = 0.0
    high: float | None = None
    includes_low: bool = False
    meaning: str = "lower is better, and 0 would be perfect"
    in_unit: bool = False
    is_bounded: bool = True

    def is_sound(self, threshold: float) -> bool:
        """Return whether a threshold could ever be met, and could ever fail."""
        above = threshold >= self.low if self.includes_low else threshold > self.low
        return above and (self.high is None or threshold <= self.high)

    def expected(self) -> str:
        """Return which thresholds are sound, in words."""
        upper = "" if self.high is None else f" up to {self.high:g}"
        return f"a number {'from' if self.includes_low else 'above'} {self.low:g}{upper}: {self.meaning}"


@dataclass(frozen=True)
class ProblemType:
    """One problem type.

    target      what the target column must be, in words for the person who has another
    accepts     (type, min, max of a column) -> whether it can be the target
    metrics     its metrics by name
    is_classes  the target is a class: it has no logarithm, and every set needs rows of two classes at least
    values      what the target must be, where that is a few numbers
    is_named    the definition lists the classes (`classes_of`), each of which needs rows that train and that test
    is_series   rows are points of series, of which the last ones are forecast (model.series)
    """

    name: str
    target: str
    accepts: Callable[[str, float | None, float | None], bool]
    metrics: Mapping[str, Score]
    is_classes: bool = False
    values: tuple[float, ...] = ()
    is_named: bool = False
    is_series: bool = False


# Weighted quantile losses by name, and the quantile of the target that each asks for.
QUANTILE_LOSSES = {"wql_p10": 0.1, "wql_p50": 0.5, "wql_p90": 0.9}
# Those of forecasts: DeepAR's wQuantileLoss[0.1] to wQuantileLoss[0.9].
FORECAST_QUANTILES = tuple(tenth / 10 for tenth in range(1, 10))
FORECAST_LOSSES = {f"wql_p{round(100 * quantile)}": quantile for quantile in FORECAST_QUANTILES}
_ERROR = Score("minimize")
_ERROR_IN_UNIT = Score("minimize", in_unit=True)


def _share(meaning: str = "1 is perfect", *, low: float = 0.0, includes_low: bool = False) -> Score:
    return Score("maximize", low, 1.0, includes_low, f"{meaning}; higher is better")


REGRESSION = ProblemType(
    "regression",
    "the target of a regression is float or integer",
    lambda kind, _low, _high: kind in ("float", "integer"),
    {
        "rmse": _ERROR_IN_UNIT,
        "mae": _ERROR_IN_UNIT,
        "mse": _ERROR,
        "r2": _share("0 is a mean predictor, 1 is perfect", includes_low=True),
        "mape": _ERROR,
        **dict.fromkeys(QUANTILE_LOSSES, _ERROR),
    },
)
BINARY_CLASSIFICATION = ProblemType(
    "binary_classification",
    "the target of a binary classification is boolean, or integer with min: 0 and max: 1",
    lambda kind, low, high: kind == "boolean" or (kind == "integer" and (low, high) == (0, 1)),
    {
        "auc": _share("0.5 is chance, 1 is perfect", low=0.5, includes_low=True),
        "accuracy": _share(),
        "f1": _share(),
        "precision": _share(),
        "recall": _share(),
        "logloss": _ERROR,
    },
    is_classes=True,
    values=(0.0, 1.0),
)
MULTICLASS_CLASSIFICATION = ProblemType(
    "multiclass_classification",
    "the target of a multiclass classification is string with categories, or integer with min and max",
    lambda kind, low, high: kind == "string" or (kind == "integer" and low is not None and high is not None),
    {
        "accuracy": _share(),
        "logloss": _ERROR,
        "weighted_f1": _share(),
        "weighted_f0_5": _share(),
        "weighted_f2": _share(),
        "weighted_precision": _share(),
        "weighted_recall": _share(),
    },
    is_classes=True,
    is_named=True,
)
FORECASTING = ProblemType(
    "forecasting",
    "the target of a forecasting is float or integer",
    lambda kind, _low, _high: kind in ("float", "integer"),
    {"mean_wql": _ERROR, **dict.fromkeys(FORECAST_LOSSES, _ERROR), "rmse": _ERROR_IN_UNIT},
    is_series=True,
)
PROBLEM_TYPES: dict[str, ProblemType] = {
    one.name: one for one in (REGRESSION, BINARY_CLASSIFICATION, MULTICLASS_CLASSIFICATION, FORECASTING)
}


def classes_of(definition: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of a definition's classes in the order of their numbers; none where they have no names.

    Keys: problem, target, columns.
    """
    if not PROBLEM_TYPES[definition["problem"]].is_named:
        return ()
    return named_classes(definition["columns"][definition["target"]])


def named_classes(column: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the classes of a column: its categories, or the whole numbers from its min to its max."""
    if column["type"] == "string":
        return tuple(column.get("categories") or ())
    return tuple(str(value) for value in range(int(column["min"]), int(column["max"]) + 1))


# ---- Metrics of a model's own

# What else Model Monitor's format calls by a name (perennial.evaluation.problem_types.quality).
NAMES_OF_FORMAT = frozenset((
    "confusion_matrix", "receiver_operating_characteristic_curve", "precision_recall_curve",
    "true_positive_rate", "true_negative_rate", "false_positive_rate", "false_negative_rate", "f0_5", "f2",
))  # fmt: skip
_PARTS_OF_NAMES = ("weighted_", "_best_constant_classifier")


def is_taken(name: str) -> bool:
    """Return whether a metric of this name is there already, in any problem type or in Model Monitor's format."""
    known = NAMES_OF_FORMAT.union(*(one.metrics for one in PROBLEM_TYPES.values()))
    return name in known or any(part in name for part in _PARTS_OF_NAMES)


def scores_of(problem: str, own: Mapping[str, Direction]) -> dict[str, Score]:
    """Return the metrics of a problem type by name, and those that the model brings itself (model.yaml, `metrics`)."""
    of_model = {
        name: Score(direction, -math.inf, meaning="any will do", is_bounded=False) for name, direction in own.items()
    }
    return {**PROBLEM_TYPES[problem].metrics, **of_model}
