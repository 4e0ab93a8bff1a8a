"""The XGBoost image.

The log's TAB reaches CloudWatch as the four characters `#011`, and the expressions of the metrics match those. They
take numbers as DescribeTrainingJob shows them on AWS, and NaN and infinity too, so that a run that ends in NaN does
not show an earlier, better value. Source: sagemaker-xgboost-container, `algorithm_mode/metrics.py` (whose group for
the value would take the rest of the line).
"""

from __future__ import annotations

import re

from localcloud.sagemaker.algorithms.stand_in import PROGRAMS, SERVING_PROGRAMS, StandIn
from localcloud.sagemaker.algorithms.xgboost_hyperparameters import METRICS

_NUMBER = r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?|[-+]?nan|[-+]?inf)"

XGBOOST = StandIn(
    repository="sagemaker-xgboost",
    serves=SERVING_PROGRAMS / "xgboost_serve.py",
    trains=PROGRAMS / "xgboost_train.py",
    framework="sagemaker_xgboost_container.training:main",
    metrics=tuple(
        {"Name": f"{part}:{metric}", "Regex": rf".*\[[0-9]+\].*#011{part}-{re.escape(metric)}:{_NUMBER}.*"}
        for part in ("train", "validation")
        for metric in METRICS
    ),
    # sagemaker-xgboost-container, `algorithm_mode/hyperparameter_validation.py`.
    tunable=frozenset(
        [
            "num_round",
            "eta",
            "gamma",
            "max_depth",
            "min_child_weight",
            "max_delta_step",
            "subsample",
            "colsample_bytree",
            "colsample_bylevel",
            "colsample_bynode",
            "lambda",
            "alpha",
        ]
    ),
)
