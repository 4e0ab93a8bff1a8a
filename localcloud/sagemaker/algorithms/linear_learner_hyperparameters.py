"""The hyperparameters of Linear Learner: names, ranges and defaults.

Source: SageMaker Developer Guide, "Linear learner hyperparameters". Where the guide says `auto`, the value is None
here and `linear_learner_train` decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from localcloud.sagemaker.algorithms.hyperparameters import Hyperparameter, Interval, Range, choice, validate
from localcloud.sagemaker.algorithms.linear_model import BINARY, MULTICLASS, REGRESSOR
from localcloud.sagemaker.algorithms.training_container import CustomerError

REGRESSOR_LOSSES = [
    "squared_loss",
    "absolute_loss",
    "eps_insensitive_squared_loss",
    "eps_insensitive_absolute_loss",
    "quantile_loss",
    "huber_loss",
]
BINARY_LOSSES = ["logistic", "hinge_loss"]
LOSSES = {REGRESSOR: REGRESSOR_LOSSES, BINARY: BINARY_LOSSES, MULTICLASS: ["softmax_loss"]}
SELECTION_CRITERIA = ["accuracy", "f_beta", "precision_at_target_recall", "recall_at_target_precision", "loss_function"]


class _OrAuto:
    """A range that also takes None, which stands for `auto`."""

    def __init__(self, allowed: Range) -> None:
        self._allowed = allowed

    def __contains__(self, value: Any) -> bool:
        return value is None or value in self._allowed

    def __str__(self) -> str:
        return f"auto or {self._allowed}"


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(text)
    return text.lower() == "true"


def _auto(name: str, parse: Callable[[str], Any], allowed: Range) -> Hyperparameter:
    return Hyperparameter(name, lambda text: None if text == "auto" else parse(text), _OrAuto(allowed))


def _weight_multiplier(text: str) -> Any:
    return text if text in ("balanced", "auto") else float(text)


class _PositiveOrWord:
    def __contains__(self, value: Any) -> bool:
        return isinstance(value, str) or value > 0

    def __str__(self) -> str:
        return "balanced, auto or (0, +inf)"


_POSITIVE = Interval(0, low_open=True)
_NOT_NEGATIVE = Interval(0)
_BELOW_ONE = Interval(0, 1, high_open=True)
_BETWEEN = Interval(0, 1, low_open=True, high_open=True)
_FLAG = [True, False]

TABLE = (
    choice("predictor_type", BINARY, REGRESSOR, MULTICLASS, required=True),
    Hyperparameter("num_classes", int, Interval(3, 1_000_000)),
    _auto("feature_dim", int, Interval(1)),
    Hyperparameter("epochs", int, Interval(1)),
    Hyperparameter("mini_batch_size", int, Interval(1)),
    _auto("learning_rate", float, _POSITIVE),
    _auto("wd", float, _NOT_NEGATIVE),
    _auto("l1", float, _NOT_NEGATIVE),
    choice("optimizer", "auto", "sgd", "adam", "rmsprop"),
    _auto("beta_1", float, _BELOW_ONE),
    _auto("beta_2", float, _BELOW_ONE),
    _auto("momentum", float, _BELOW_ONE),
    choice("loss", "auto", *REGRESSOR_LOSSES, *BINARY_LOSSES, "softmax_loss"),
    Hyperparameter("loss_insensitivity", float, _POSITIVE),
    Hyperparameter("huber_delta", float, _NOT_NEGATIVE),
    Hyperparameter("quantile", float, _BETWEEN),
    Hyperparameter("margin", float, _NOT_NEGATIVE),
    _auto("num_models", int, Interval(1)),
    Hyperparameter("normalize_data", _boolean, _FLAG),
    _auto("normalize_label", _boolean, _FLAG),
    _auto("unbias_data", _boolean, _FLAG),
    _auto("unbias_label", _boolean, _FLAG),
    Hyperparameter("use_bias", _boolean, _FLAG),
    _auto("bias_lr_mult", float, _POSITIVE),
    _auto("bias_wd_mult", float, _NOT_NEGATIVE),
    choice("init_method", "uniform", "normal"),
    Hyperparameter("init_scale", float, _POSITIVE),
    Hyperparameter("init_sigma", float, _POSITIVE),
    Hyperparameter("init_bias", float, Interval()),
    Hyperparameter("early_stopping_patience", int, Interval(1)),
    Hyperparameter("early_stopping_tolerance", float, _POSITIVE),
    Hyperparameter("use_lr_scheduler", _boolean, _FLAG),
    _auto("lr_scheduler_step", int, Interval(1)),
    _auto("lr_scheduler_factor", float, _BETWEEN),
    _auto("lr_scheduler_minimum_lr", float, _POSITIVE),
    _auto("num_calibration_samples", int, Interval(1)),
    Hyperparameter("num_point_for_scaler", int, Interval(1)),
    Hyperparameter("accuracy_top_k", int, Interval(1)),
    Hyperparameter("f_beta", float, _POSITIVE),
    Hyperparameter("target_precision", float, Interval(0, 1)),
    Hyperparameter("target_recall", float, Interval(0, 1)),
    Hyperparameter("positive_example_weight_mult", _weight_multiplier, _PositiveOrWord()),
    Hyperparameter("balance_multiclass_weights", _boolean, _FLAG),
    choice("binary_classifier_model_selection_criteria", *SELECTION_CRITERIA),
    Hyperparameter("_tuning_objective_metric", str, None),
)
DEFAULTS: dict[str, Any] = {
    **{parameter.name: None for parameter in TABLE},
    "epochs": 15,
    "mini_batch_size": 1000,
    "optimizer": "auto",
    "loss": "auto",
    "loss_insensitivity": 0.01,
    "huber_delta": 1.0,
    "quantile": 0.5,
    "margin": 1.0,
    "normalize_data": True,
    "use_bias": True,
    "init_method": "uniform",
    "init_scale": 0.07,
    "init_sigma": 0.01,
    "init_bias": 0.0,
    "early_stopping_patience": 3,
    "early_stopping_tolerance": 0.001,
    "use_lr_scheduler": True,
    "num_point_for_scaler": 10_000,
    "accuracy_top_k": 3,
    "f_beta": 1.0,
    "target_precision": 0.8,
    "target_recall": 0.8,
    "positive_example_weight_mult": 1.0,
    "balance_multiclass_weights": False,
    "binary_classifier_model_selection_criteria": "accuracy",
}


def read(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return every hyperparameter with its default filled in; None is `auto`. CustomerError for what is wrong."""
    values = {**DEFAULTS, **validate(TABLE, texts)}
    kind = values["predictor_type"]
    if (values["num_classes"] is None) == (kind == MULTICLASS):
        raise CustomerError(f"num_classes is for predictor_type {MULTICLASS}, which needs it, and for no other.")
    losses = LOSSES[kind]
    if values["loss"] == "auto":
        values["loss"] = losses[0]
    if values["loss"] not in losses:
        raise CustomerError(f"Hyperparameter loss: {values['loss']} does not fit {kind}; expected one of {losses}")
    if kind != REGRESSOR and (values["normalize_label"] or values["unbias_label"]):
        raise CustomerError(f"normalize_label and unbias_label are only for predictor_type {REGRESSOR}.")
    return values
