"""The hyperparameters of the XGBoost container's algorithm mode.

Source: sagemaker-xgboost-container, `algorithm_mode/hyperparameter_validation.py`; SageMaker Developer Guide,
"XGBoost hyperparameters".
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localcloud.sagemaker.algorithms.hyperparameters import (
    Interval,
    choice,
    comma_list,
    integer,
    literal,
    number,
    validate,
)
from localcloud.sagemaker.algorithms.training_container import CustomerError

MAXIMIZE = [
    "accuracy",
    "auc",
    "aucpr",
    "balanced_accuracy",
    "f1",
    "f1_binary",
    "f1_macro",
    "map",
    "ndcg",
    "precision",
    "precision_macro",
    "precision_micro",
    "r2",
    "recall",
    "recall_macro",
    "recall_micro",
]
MINIMIZE = [
    "aft-nloglik",
    "cox-nloglik",
    "error",
    "gamma-deviance",
    "gamma-nloglik",
    "interval-regression-accuracy",
    "logloss",
    "mae",
    "mape",
    "merror",
    "mlogloss",
    "mphe",
    "mse",
    "poisson-nloglik",
    "rmse",
    "rmsle",
    "tweedie-nloglik",
]
METRICS = MAXIMIZE + MINIMIZE
OBJECTIVES = [
    "aft_loss_distribution",
    "binary:logistic",
    "binary:logitraw",
    "binary:hinge",
    "count:poisson",
    "multi:softmax",
    "multi:softprob",
    "rank:pairwise",
    "rank:ndcg",
    "rank:map",
    "reg:linear",
    "reg:squarederror",
    "reg:logistic",
    "reg:gamma",
    "reg:pseudohubererror",
    "reg:squaredlogerror",
    "reg:tweedie",
    "reg:absoluteerror",
    "survival:aft",
    "survival:cox",
]
TREE_BUILDERS = ["grow_colmaker", "distcol", "grow_histmaker", "grow_local_histmaker", "grow_quantile_histmaker"]
TREE_UPDATERS = [*TREE_BUILDERS, "grow_skmaker", "sync", "refresh", "prune"]
LINEAR_UPDATERS = ["shotgun", "coord_descent"]


class _EvalMetrics:
    """The metric names; `error`, `ndcg` and `map` also with a threshold, as in `error@0.7`."""

    def __contains__(self, metric: Any) -> bool:
        name, at, threshold = str(metric).partition("@")
        if not at:
            return metric in METRICS
        if name.strip() not in ("error", "ndcg", "map"):
            raise CustomerError(
                f"Metric '{metric}' is not supported. Parameter 'eval_metric' with customized threshold should "
                "be one of these options: 'error', 'ndcg', 'map'."
            )
        try:
            float(threshold)
        except ValueError as error:
            raise CustomerError(f"Threshold value 't' in '{name}@t' expects float input.") from error
        return True

    def __str__(self) -> str:
        return str(METRICS)


_POSITIVE = Interval(0, low_open=True)
_NOT_NEGATIVE = Interval(0)
_SHARE = Interval(0, 1)
_PART = Interval(0, 1, low_open=True)
_FLAG = Interval(0, 1)

TABLE = (
    integer("num_round", Interval(1), required=True),
    integer("csv_weights", _FLAG),
    integer("early_stopping_rounds", Interval(1)),
    choice("booster", "gbtree", "gblinear", "dart"),
    integer("verbosity", Interval(0, 3)),
    integer("nthread", Interval(1)),
    number("eta", _SHARE, alias="learning_rate"),
    number("gamma", _NOT_NEGATIVE, alias="min_split_loss"),
    integer("max_depth", _NOT_NEGATIVE),
    number("min_child_weight", _NOT_NEGATIVE),
    number("max_delta_step", _NOT_NEGATIVE),
    number("subsample", _PART),
    number("colsample_bytree", _PART),
    number("colsample_bylevel", _PART),
    number("colsample_bynode", _PART),
    number("lambda", _NOT_NEGATIVE, alias="reg_lambda"),
    number("alpha", _NOT_NEGATIVE, alias="reg_alpha"),
    choice("tree_method", "auto", "exact", "approx", "hist", "gpu_hist"),
    number("sketch_eps", Interval(0, 1, low_open=True, high_open=True)),
    number("scale_pos_weight", _POSITIVE),
    comma_list("updater", [*TREE_UPDATERS, *LINEAR_UPDATERS]),
    choice("dsplit", "row", "col"),
    integer("refresh_leaf", _FLAG),
    choice("process_type", "default", "update"),
    choice("grow_policy", "depthwise", "lossguide"),
    integer("max_leaves", _NOT_NEGATIVE),
    integer("max_bin", _NOT_NEGATIVE),
    choice("predictor", "auto", "cpu_predictor", "gpu_predictor"),
    literal("monotone_constraints", tuple, [-1, 0, 1]),
    literal("interaction_constraints", list, Interval(1)),
    choice("sample_type", "uniform", "weighted"),
    choice("normalize_type", "tree", "forest"),
    number("rate_drop", _SHARE),
    integer("one_drop", _FLAG),
    number("skip_drop", _SHARE),
    number("lambda_bias", _SHARE),
    number("tweedie_variance_power", Interval(1, 2, low_open=True, high_open=True)),
    choice("objective", *OBJECTIVES),
    integer("num_class", Interval(2)),
    number("base_score", _NOT_NEGATIVE),
    integer("_kfold", Interval(2)),
    integer("_num_cv_round", Interval(1)),
    choice("_tuning_objective_metric", *(f"validation:{metric}" for metric in METRICS)),
    comma_list("eval_metric", _EvalMetrics()),
    integer("seed", Interval(-(2**31), 2**31 - 1, low_open=True, high_open=True)),
    integer("num_parallel_tree", Interval(1)),
    choice("save_model_on_termination", "true", "false"),
    choice("aft_loss_distribution", "normal", "logistic", "extreme"),
    number("aft_loss_distribution_scale", _POSITIVE),
    choice("deterministic_histogram", "true", "false"),
    choice("sampling_method", "uniform", "gradient_based"),
    number("prob_buffer_row", Interval(1)),
    choice("use_dask_gpu_training", "true", "false"),
)


def read(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the validated values by name. Raises CustomerError in the container's words."""
    values = validate(TABLE, texts)
    _check_dependencies(values)
    _check_supported(values)
    return values


def _check_dependencies(values: Mapping[str, Any]) -> None:
    objective = values.get("objective", "reg:squarederror")
    if objective.startswith("multi:") and "num_class" not in values:
        raise CustomerError("Require input for parameter 'num_class' for multi-classification")
    if "num_class" in values and "objective" not in values:
        raise CustomerError(
            "Do not need to setup parameter 'num_class' for learning task other than multi-classification."
        )
    metrics = values.get("eval_metric", [])
    if "auc" in metrics and not objective.startswith(("binary:", "rank:")):
        raise CustomerError("Metric 'auc' can only be applied for classification and ranking problems.")
    if "aft-nloglik" in metrics and objective != "survival:aft":
        raise CustomerError("Metric 'aft-nloglik' can only be applied for 'survival:aft' objective.")
    _check_constraints(values)
    _check_updater(values)


def _check_constraints(values: Mapping[str, Any]) -> None:
    tree_method = values.get("tree_method")
    if "monotone_constraints" in values and tree_method not in ("exact", "hist"):
        raise CustomerError(
            "monotone_constraints can be used only when the tree_method parameter is set to either 'exact' or 'hist'."
        )
    if "interaction_constraints" in values and tree_method not in ("exact", "hist", "approx"):
        raise CustomerError(
            "interaction_constraints can be used only when the tree_method parameter is set to "
            "either 'exact', 'hist' or 'approx'."
        )


def _check_updater(values: Mapping[str, Any]) -> None:
    updater = values.get("updater")
    if updater is None:
        return
    if values.get("booster") == "gblinear":
        if len(updater) != 1 or updater[0] not in LINEAR_UPDATERS:
            raise CustomerError("Linear updater should be one of these options: 'shotgun', 'coord_descent'.")
    elif values.get("process_type") == "update":
        if not set(updater) <= {"refresh", "prune"}:
            raise CustomerError("process_type 'update' can only be used with updater 'refresh' and 'prune'")
    elif not set(updater) <= set(TREE_UPDATERS):
        options = ", ".join(f"'{name}'" for name in TREE_UPDATERS)
        raise CustomerError(f"Tree updater should be selected from these options: {options}.")
    elif sum(name in TREE_BUILDERS for name in updater) > 1:
        options = ", ".join(f"'{name}'" for name in TREE_BUILDERS)
        raise CustomerError(f"Only one tree grow plugin can be selected. Choose one from the following: {options}")


def _check_supported(values: Mapping[str, Any]) -> None:
    """Refuse what the AWS container does and this one does not; the text names the parameter."""
    if "_kfold" in values or "_num_cv_round" in values:
        raise CustomerError("Hyperparameter _kfold: cross-validation is not supported by the local XGBoost.")
    if values.get("use_dask_gpu_training") == "true" or values.get("tree_method") == "gpu_hist":
        raise CustomerError("Training on GPUs is not supported by the local XGBoost; use tree_method=hist.")
