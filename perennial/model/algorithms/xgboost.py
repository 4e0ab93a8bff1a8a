"""XGBoost.

Sources: Amazon SageMaker Developer Guide, "XGBoost hyperparameters"; the container's own checks,
aws/sagemaker-xgboost-container, `algorithm_mode/hyperparameter_validation.py`.
"""

from __future__ import annotations

from collections.abc import Mapping

from perennial.model.algorithms.algorithm import Algorithm
from perennial.model.algorithms.hyperparameter import FLAG, POSITIVE, SHARE, Allowed, integer, number, words
from perennial.model.images import FRAMEWORKS, ONE_FOR_BOTH, Image
from perennial.model.problem_types import Direction

_REGRESSION_OBJECTIVES = (
    "reg:squarederror", "reg:absoluteerror", "reg:squaredlogerror", "reg:pseudohubererror", "reg:gamma",
    "reg:tweedie", "count:poisson",
)  # fmt: skip
# The score of a binary model is the probability of class 1: metrics and baselines rely on it.
_BINARY_OBJECTIVES = ("binary:logistic", "reg:logistic")
# That of a multiclass model is the probability of each class.
_MULTICLASS_OBJECTIVES = ("multi:softprob",)

_REGRESSION_EVAL_METRICS = (
    "rmse", "rmsle", "mae", "mape", "mphe", "mse", "r2", "gamma-deviance", "gamma-nloglik", "poisson-nloglik",
    "tweedie-nloglik",
)  # fmt: skip
_BINARY_EVAL_METRICS = (
    "logloss",
    "error",
    "auc",
    "aucpr",
    "accuracy",
    "balanced_accuracy",
    "f1",
    "precision",
    "recall",
)
_MULTICLASS_EVAL_METRICS = (
    "mlogloss", "merror", "accuracy", "balanced_accuracy", "f1", "f1_macro", "precision_macro", "precision_micro",
    "recall_macro", "recall_micro",
)  # fmt: skip

_HYPERPARAMETERS: dict[str, Allowed] = {
    "num_round": integer(1),
    "objective": words(*_REGRESSION_OBJECTIVES, *_BINARY_OBJECTIVES, *_MULTICLASS_OBJECTIVES),
    "eval_metric": Allowed("text", form=r"[a-z0-9_@.-]+(,[a-z0-9_@.-]+)*", example="rmse,mae"),
    "early_stopping_rounds": integer(1),
    "eta": number(0, 1),
    "learning_rate": number(0, 1),
    "gamma": number(0),
    "min_split_loss": number(0),
    "max_depth": integer(0),
    "min_child_weight": number(0),
    "max_delta_step": number(0),
    "subsample": SHARE,
    "colsample_bytree": SHARE,
    "colsample_bylevel": SHARE,
    "colsample_bynode": SHARE,
    "lambda": number(0),
    "reg_lambda": number(0),
    "alpha": number(0),
    "reg_alpha": number(0),
    "lambda_bias": number(0, 1),
    "tree_method": words("auto", "exact", "approx", "hist", "gpu_hist"),
    "booster": words("gbtree", "gblinear", "dart"),
    "base_score": number(0),
    "scale_pos_weight": POSITIVE,
    "max_bin": integer(2),
    "max_leaves": integer(0),
    "grow_policy": words("depthwise", "lossguide"),
    "num_parallel_tree": integer(1),
    "monotone_constraints": Allowed("text", form=r"\((-1|0|1)(, ?(-1|0|1))*\)", example="(1,0,-1)"),
    "interaction_constraints": Allowed("text", form=r"\[\[[\d, ]+\](, ?\[[\d, ]+\])*\]", example="[[0,1],[2,3]]"),
    "tweedie_variance_power": Allowed("number", above=1, below=2),
    "seed": integer(0, 2**31 - 1),
    "nthread": integer(1),
    "verbosity": integer(0, 3),
    "updater": Allowed("text", form=r"[a-z_]+(,[a-z_]+)*", example="grow_quantile_histmaker,prune"),
    "refresh_leaf": words("0", "1"),
    "process_type": words("default"),
    "sampling_method": words("uniform", "gradient_based"),
    "sample_type": words("uniform", "weighted"),
    "normalize_type": words("tree", "forest"),
    "rate_drop": number(0, 1),
    "one_drop": words("0", "1"),
    "skip_drop": number(0, 1),
    "deterministic_histogram": FLAG,
}

_REFUSED = {
    "csv_weights": "the training files carry no weights, so the first feature would be taken for one; leave it out",
    "num_class": "follows from the classes of the target; leave it out",
    "_kfold": "k-fold training saves several models, of which one cannot be judged; leave it out",
    "_num_cv_round": "only for k-fold training; leave it out",
    "_tuning_objective_metric": "set by tuning jobs; use eval_metric",
}
# Chosen by bench/bench_quality.py: enough rounds of small steps, ended by the validation set.
_DEFAULTS = {
    "num_round": "2000",
    "early_stopping_rounds": "50",
    "eta": "0.05",
    "max_depth": "6",
    "min_child_weight": "3",
    "subsample": "0.8",
    "colsample_bytree": "0.8",
}
_OF_PROBLEM = {
    "regression": {"objective": _REGRESSION_OBJECTIVES, "eval_metric": _REGRESSION_EVAL_METRICS},
    "binary_classification": {"objective": _BINARY_OBJECTIVES, "eval_metric": _BINARY_EVAL_METRICS},
    "multiclass_classification": {"objective": _MULTICLASS_OBJECTIVES, "eval_metric": _MULTICLASS_EVAL_METRICS},
}
# What it optimizes, and what it watches on the validation set: as near as it can to the metric of the gate.
_OBJECTIVE = {
    "regression": "reg:squarederror",
    "binary_classification": "binary:logistic",
    "multiclass_classification": "multi:softprob",
}
_WATCHES: dict[str, dict[str, str]] = {
    "regression": {"mae": "mae", "mape": "mape"},
    "binary_classification": {"auc": "auc", "accuracy": "error"},
    "multiclass_classification": {},
}
_WATCHES_ELSE = {
    "regression": "rmse",
    "binary_classification": "logloss",
    "multiclass_classification": "merror,mlogloss",  # the last one ends training: of few rows errors are too coarse
}


def _derived(problem_type: str, metric: str, seed: int, classes: int) -> dict[str, str]:
    watched = _WATCHES[problem_type].get(metric, _WATCHES_ELSE[problem_type])
    derived = {"objective": _OBJECTIVE[problem_type], "eval_metric": watched, "seed": str(seed)}
    return {**derived, "num_class": str(classes)} if classes else derived


def _training_metrics(hyperparameters: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"validation:{name}" for name in hyperparameters["eval_metric"].split(","))


# Developer Guide, "Tune an XGBoost Model". Not max_delta_step, which is a whole number there and any in the container:
# one of them would refuse its range.
_TUNABLE = (
    "alpha", "colsample_bylevel", "colsample_bynode", "colsample_bytree", "eta", "gamma", "lambda", "max_depth",
    "min_child_weight", "num_round", "subsample",
)  # fmt: skip
_MAXIMIZED = {"auc", "aucpr", "r2", "accuracy"}
_MAXIMIZED_KINDS = ("balanced_accuracy", "f1", "precision", "recall")


def _objectives(problem_type: str) -> dict[str, Direction]:
    """Source: the same page, "Evaluation Metrics"."""
    return {
        f"validation:{name}": "maximize" if name in _MAXIMIZED or name.startswith(_MAXIMIZED_KINDS) else "minimize"
        for name in _OF_PROBLEM[problem_type]["eval_metric"]
    }


IMAGE = Image(
    name="XGBoost",
    registry=FRAMEWORKS,
    repository="sagemaker-xgboost",
    tag="3.2-0",
    tags=r"[1-9]\.[0-9]{1,3}-[0-9]{1,3}(-cpu-py3)?",
    expected="a version such as 3.2-0, the long tag such as 3.2-0-cpu-py3",
    description=f"Version of the XGBoost image, or its digest. {ONE_FOR_BOTH}",
)
# Images before 3.2 have a Python that job scripts are too new for (3.0-5: 3.10).
_SCRIPTS_FROM = (3, 2)
XGBOOST = Algorithm(
    "xgboost", IMAGE, _HYPERPARAMETERS, _REFUSED, _DEFAULTS, _OF_PROBLEM, _derived, _training_metrics, _TUNABLE,
    _objectives, _SCRIPTS_FROM,
)  # fmt: skip
