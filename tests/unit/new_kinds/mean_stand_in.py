"""An algorithm on the laptop, for tests: what would be localcloud/sagemaker/algorithms/mean.py."""

from __future__ import annotations

from localcloud.sagemaker.algorithms.stand_in import PROGRAMS, SERVING_PROGRAMS, StandIn

MEAN_STAND_IN = StandIn(
    repository="mean-learner",
    serves=SERVING_PROGRAMS / "mean_serve.py",
    trains=PROGRAMS / "mean_train.py",
    metrics=({"Name": "validation:error", "Regex": r"#error=(\S+)"},),
)
