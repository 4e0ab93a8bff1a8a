"""The Linear Learner image: an algorithm, and nothing else.

Sources: the metric definitions are those that a real job described; `rmse`, `r2`, `mae` and `roc_auc_score` come from
the tuning page of the Developer Guide (2023).
"""

from __future__ import annotations

from localcloud.sagemaker.algorithms.stand_in import PROGRAMS, SERVING_PROGRAMS, MetricDefinition, StandIn


def _quality(name: str, pattern: str) -> MetricDefinition:
    return {"Name": name, "Regex": rf"#quality_metric: host=\S+, {pattern}=(\S+)"}


def _metrics() -> list[MetricDefinition]:
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
        definitions += [
            _quality(f"{part}:{score}", f"{part} {score} <score>")
            for score in ("macro_precision", "macro_recall", "dcg", "multiclass_accuracy")
        ]
        definitions.append(_quality(f"{part}:macro_f_beta", rf"{part} macro_f_\S+ <score>"))
        definitions.append(
            _quality(f"{part}:multiclass_top_k_accuracy", rf"{part} multiclass_top_k_accuracy_\S+ <score>")
        )
    return definitions


LINEAR_LEARNER = StandIn(
    repository="linear-learner",
    serves=SERVING_PROGRAMS / "linear_learner_serve.py",
    trains=PROGRAMS / "linear_learner_train.py",
    metrics=tuple(_metrics()),
    # Developer Guide, "Tune a linear learner model".
    tunable=frozenset(("wd", "l1", "learning_rate", "mini_batch_size", "use_bias", "positive_example_weight_mult")),
)
