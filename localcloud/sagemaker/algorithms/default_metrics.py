"""The metric definitions that SageMaker adds to a training job of a built-in algorithm, by image repository.

The log's TAB reaches CloudWatch as the four characters `#011`, and XGBoost's expressions match those. They take
numbers as DescribeTrainingJob shows them on AWS, and NaN and infinity too, so that a run that ends in NaN does not
show an earlier, better value. Sources: sagemaker-xgboost-container, `algorithm_mode/metrics.py` (whose group for the
value would take the rest of the line); the definitions of linear-learner are those that a real job described, and
`rmse`, `r2`, `mae` and `roc_auc_score` come from the tuning page of the Developer Guide (2023).
"""

from __future__ import annotations

import re

from localcloud.sagemaker.algorithms.xgboost_hyperparameters import METRICS

Definition = dict[str, str]

_NUMBER = r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?|[-+]?nan|[-+]?inf)"


def _xgboost() -> list[Definition]:
    return [
        {"Name": f"{part}:{metric}", "Regex": rf".*\[[0-9]+\].*#011{part}-{re.escape(metric)}:{_NUMBER}.*"}
        for part in ("train", "validation")
        for metric in METRICS
    ]


def _quality(name: str, pattern: str) -> Definition:
    return {"Name": name, "Regex": rf"#quality_metric: host=\S+, {pattern}=(\S+)"}


def _linear_learner() -> list[Definition]:
    definitions = [
        {"Name": "train:progress", "Regex": r"#progress_metric: host=\S+, completed (\S+) %"},
        {
            "Name": "train:throughput",
            "Regex": r"#throughput_metric: host=\S+, train throughput=(\S+) records/second",
        },
        _quality("test:objective_loss", r"test \S+_objective <loss>"),
    ]
    for part in ("train", "validation"):
        definitions.append(_quality(f"{part}:objective_loss", rf"epoch=\S+, {part} \S+_objective <loss>"))
        definitions.append(_quality(f"{part}:objective_loss:final", rf"{part} \S+_objective <loss>"))
    for part in ("train", "validation", "test"):
        definitions += [_quality(f"{part}:{loss}", f"{part} {loss} <loss>") for loss in ("mse", "absolute_loss")]
        definitions += [
            _quality(f"{part}:{score}", f"{part} {score} <score>")
            for score in ("binary_classification_accuracy", "precision", "recall")
        ]
        definitions.append(_quality(f"{part}:binary_f_beta", rf"{part} binary_f_\S+ <score>"))
    for part in ("validation", "test"):
        definitions += [_quality(f"{part}:{loss}", f"{part} {loss} <loss>") for loss in ("rmse", "r2", "mae")]
        definitions.append(_quality(f"{part}:roc_auc_score", f"{part} roc_auc_score <score>"))
    return definitions


DEFAULT_METRICS: dict[str, list[Definition]] = {
    "sagemaker-xgboost": _xgboost(),
    "linear-learner": _linear_learner(),
}
