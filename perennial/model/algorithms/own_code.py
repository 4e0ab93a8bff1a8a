"""A model's own code: train.py, and serve.py if need be, in an image of AWS's; or an image of one's own.

Sources: Amazon SageMaker Developer Guide, "Use Scikit-learn with SageMaker AI" and "Use XGBoost as a framework".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from perennial.model.algorithms.algorithm import Algorithm
from perennial.model.algorithms.xgboost import IMAGE as XGBOOST_IMAGE
from perennial.model.images import SKLEARN, Image
from perennial.model.problem_types import PROBLEM_TYPES, Direction

PREFIXES = ("train", "validation")
# And not the beginning of what is none, such as 1_000 or 1,000.
_NUMBER = r"([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?nan|[-+]?inf)(?:[^0-9A-Za-z_,]|,[^0-9]|,?$)"


def _objectives(problem_type: str) -> dict[str, Direction]:
    return {f"validation:{name}": score.direction for name, score in PROBLEM_TYPES[problem_type].metrics.items()}


def metric_definitions(problem_type: str) -> list[dict[str, str]]:
    """Return how SageMaker finds metrics in the log of a script: in lines such as `validation:rmse=1250.5`."""
    names = [f"{prefix}:{name}" for prefix in PREFIXES for name in PROBLEM_TYPES[problem_type].metrics]
    return [{"Name": name, "Regex": f"(?:^|[^A-Za-z0-9_:]){name}[=: ]+{_NUMBER}"} for name in names]


def _problems_of_rows() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    return {name: {} for name, problem_type in PROBLEM_TYPES.items() if not problem_type.is_series}


def _own(name: str, image: Image | None) -> Algorithm:
    def derived(*_: Any) -> dict[str, str]:
        return {}

    def training_metrics(_hyperparameters: Mapping[str, str]) -> tuple[str, ...]:
        return ()  # it may print some, and need not

    return Algorithm(
        name, image, {}, {}, {}, _problems_of_rows(), derived, training_metrics, (), _objectives,
        is_own=True, input_modes=("File", "FastFile"),
    )  # fmt: skip


SCIKIT_LEARN_SCRIPT = _own("scikit-learn-script", SKLEARN)
XGBOOST_SCRIPT = _own("xgboost-script", XGBOOST_IMAGE)
OWN_IMAGE = _own("own-image", None)
