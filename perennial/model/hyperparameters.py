"""The hyperparameters that the built-in algorithms accept: names, kinds and ranges.

Sources: Amazon SageMaker Developer Guide, "XGBoost hyperparameters" and "Linear learner hyperparameters"; the
container's own checks, aws/sagemaker-xgboost-container, `algorithm_mode/hyperparameter_validation.py`.

SageMaker wants every value as a string; `as_text` is how they are written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from perennial.model.complaints import suggestion

MAX_TEXT = 2500  # characters. SageMaker API Reference, CreateTrainingJob, HyperParameters; of which there may be 100
MAX_NUMBER = 100

Algorithm = Literal["xgboost", "linear-learner"]
Value = bool | int | float | str


@dataclass(frozen=True)
class Allowed:
    """What one hyperparameter may be: a number in a range, one of some words, or text of a form.

    low, high              inclusive bounds; None is unbounded
    above, below           exclusive bounds
    """

    kind: Literal["integer", "number", "text", "words"] = "words"
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    words: tuple[str, ...] = ()
    form: str = ""
    example: str = ""

    def problem(self, value: Value) -> str | None:
        """Return why the value is refused, with what is allowed, or None when it is fine."""
        text, longest = as_text(value), MAX_TEXT if self.kind == "text" else MAX_NUMBER
        if len(text) > longest:
            return f"got {len(text):,} characters; expected at most {longest:,}"
        return None if self._accepts(text) else f"got {value!r}; expected {self.expected()}"

    def _accepts(self, text: str) -> bool:
        if text in self.words:
            return True
        if self.kind in ("integer", "number"):
            return self._in_range(text)
        return self.kind == "text" and re.fullmatch(self.form, text) is not None

    def _in_range(self, text: str) -> bool:
        try:
            number = float(text)
        except ValueError:
            return False
        whole = self.kind == "number" or re.fullmatch(r"[+-]?\d+", text) is not None
        return (
            whole
            and math.isfinite(number)
            and (self.low is None or number >= self.low)
            and (self.high is None or number <= self.high)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )

    def expected(self) -> str:
        """Return what is allowed, in words."""
        parts = [", ".join(self.words)] if self.words else []
        if self.kind in ("integer", "number"):
            parts.append(" ".join(["a whole number" if self.kind == "integer" else "a number", *self._bounds()]))
        if self.kind == "text":
            parts.append(f"text such as {self.example}")
        return ("one of " if self.kind == "words" else "") + " or ".join(parts)

    def _bounds(self) -> list[str]:
        words = {"of at least": self.low, "above": self.above, "of at most": self.high, "below": self.below}
        given = [f"{word} {bound:g}" for word, bound in words.items() if bound is not None]
        return [" and ".join(given)] if given else []


def as_text(value: Value) -> str:
    """Return the value as SageMaker takes it: every hyperparameter is a string there."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else str(value).strip()


def problems(algorithm: str, given: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Yield (name, what is wrong and what is allowed) for each hyperparameter that the algorithm would refuse."""
    table = TABLES[algorithm]
    for name, value in given.items():
        if name in REFUSED:
            yield name, REFUSED[name]
        elif name not in table:
            yield name, f"is not a hyperparameter of {algorithm}{suggestion(name, table)}"
        elif not isinstance(value, bool | int | float | str):
            yield name, f"got {value!r}; expected {table[name].expected()}"
        elif (problem := table[name].problem(value)) is not None:
            yield name, problem


def _integer(low: float | None = None, high: float | None = None, words: tuple[str, ...] = ()) -> Allowed:
    return Allowed("integer", low=low, high=high, words=words)


def _number(low: float | None = None, high: float | None = None, words: tuple[str, ...] = ()) -> Allowed:
    return Allowed("number", low=low, high=high, words=words)


def _words(*words: str) -> Allowed:
    return Allowed("words", words=words)


_AUTO = ("auto",)
_FLAG = _words("true", "false")
_SHARE = Allowed("number", above=0, high=1)
_POSITIVE = Allowed("number", above=0)

REGRESSION_OBJECTIVES = (
    "reg:squarederror", "reg:absoluteerror", "reg:squaredlogerror", "reg:pseudohubererror", "reg:gamma",
    "reg:tweedie", "count:poisson",
)  # fmt: skip
# The score of a binary model is the probability of class 1: metrics and baselines rely on it.
BINARY_OBJECTIVES = ("binary:logistic", "reg:logistic")

REGRESSION_EVAL_METRICS = (
    "rmse", "rmsle", "mae", "mape", "mphe", "mse", "r2", "gamma-deviance", "gamma-nloglik", "poisson-nloglik",
    "tweedie-nloglik",
)  # fmt: skip
BINARY_EVAL_METRICS = ("logloss", "error", "auc", "aucpr", "accuracy", "balanced_accuracy", "f1", "precision", "recall")

XGBOOST: dict[str, Allowed] = {
    "num_round": _integer(1),
    "objective": _words(*REGRESSION_OBJECTIVES, *BINARY_OBJECTIVES),
    "eval_metric": Allowed("text", form=r"[a-z0-9_@.-]+(,[a-z0-9_@.-]+)*", example="rmse,mae"),
    "early_stopping_rounds": _integer(1),
    "eta": _number(0, 1),
    "learning_rate": _number(0, 1),
    "gamma": _number(0),
    "min_split_loss": _number(0),
    "max_depth": _integer(0),
    "min_child_weight": _number(0),
    "max_delta_step": _number(0),
    "subsample": _SHARE,
    "colsample_bytree": _SHARE,
    "colsample_bylevel": _SHARE,
    "colsample_bynode": _SHARE,
    "lambda": _number(0),
    "reg_lambda": _number(0),
    "alpha": _number(0),
    "reg_alpha": _number(0),
    "lambda_bias": _number(0, 1),
    "tree_method": _words("auto", "exact", "approx", "hist", "gpu_hist"),
    "booster": _words("gbtree", "gblinear", "dart"),
    "base_score": _number(0),
    "scale_pos_weight": _POSITIVE,
    "max_bin": _integer(2),
    "max_leaves": _integer(0),
    "grow_policy": _words("depthwise", "lossguide"),
    "num_parallel_tree": _integer(1),
    "monotone_constraints": Allowed("text", form=r"\((-1|0|1)(, ?(-1|0|1))*\)", example="(1,0,-1)"),
    "interaction_constraints": Allowed("text", form=r"\[\[[\d, ]+\](, ?\[[\d, ]+\])*\]", example="[[0,1],[2,3]]"),
    "tweedie_variance_power": Allowed("number", above=1, below=2),
    "seed": _integer(0, 2**31 - 1),
    "nthread": _integer(1),
    "verbosity": _integer(0, 3),
    "updater": Allowed("text", form=r"[a-z_]+(,[a-z_]+)*", example="grow_quantile_histmaker,prune"),
    "refresh_leaf": _words("0", "1"),
    "process_type": _words("default"),
    "sampling_method": _words("uniform", "gradient_based"),
    "sample_type": _words("uniform", "weighted"),
    "normalize_type": _words("tree", "forest"),
    "rate_drop": _number(0, 1),
    "one_drop": _words("0", "1"),
    "skip_drop": _number(0, 1),
    "deterministic_histogram": _FLAG,
}

LINEAR_LEARNER: dict[str, Allowed] = {
    "predictor_type": _words("regressor", "binary_classifier"),
    "feature_dim": _integer(1, words=_AUTO),
    "epochs": _integer(1),
    "mini_batch_size": _integer(1),
    "learning_rate": Allowed("number", above=0, words=_AUTO),
    "wd": _number(0, words=_AUTO),
    "l1": _number(0, words=_AUTO),
    "optimizer": _words("auto", "sgd", "adam", "rmsprop"),
    "beta_1": Allowed("number", low=0, below=1, words=_AUTO),
    "beta_2": Allowed("number", low=0, below=1, words=_AUTO),
    "momentum": Allowed("number", low=0, below=1, words=_AUTO),
    "loss": _words(
        "auto", "squared_loss", "absolute_loss", "eps_insensitive_squared_loss", "eps_insensitive_absolute_loss",
        "quantile_loss", "huber_loss", "logistic", "hinge_loss",
    ),
    "loss_insensitivity": _POSITIVE,
    "huber_delta": _number(0),
    "quantile": Allowed("number", above=0, below=1),
    "margin": _POSITIVE,
    "num_models": _integer(1, words=_AUTO),
    "normalize_data": Allowed(words=("auto", "true", "false")),
    "normalize_label": Allowed(words=("auto", "true", "false")),
    "unbias_data": Allowed(words=("auto", "true", "false")),
    "unbias_label": Allowed(words=("auto", "true", "false")),
    "use_bias": _FLAG,
    "bias_lr_mult": Allowed("number", above=0, words=_AUTO),
    "bias_wd_mult": _number(0, words=_AUTO),
    "init_method": _words("uniform", "normal"),
    "init_scale": _POSITIVE,
    "init_sigma": _POSITIVE,
    "init_bias": _number(),
    "early_stopping_patience": _integer(1),
    "early_stopping_tolerance": _POSITIVE,
    "use_lr_scheduler": _FLAG,
    "lr_scheduler_step": _integer(1, words=_AUTO),
    "lr_scheduler_factor": Allowed("number", above=0, below=1, words=_AUTO),
    "lr_scheduler_minimum_lr": Allowed("number", above=0, words=_AUTO),
    "num_calibration_samples": _integer(1, words=_AUTO),
    "num_point_for_scaler": _integer(1),
    "f_beta": _POSITIVE,
    "target_precision": Allowed("number", above=0, high=1),
    "target_recall": Allowed("number", above=0, high=1),
    "positive_example_weight_mult": Allowed("number", above=0, words=("balanced", "auto")),
    "binary_classifier_model_selection_criteria": _words(
        "accuracy", "f_beta", "precision_at_target_recall", "recall_at_target_precision", "loss_function",
    ),
}  # fmt: skip

TABLES: dict[str, dict[str, Allowed]] = {"xgboost": XGBOOST, "linear-learner": LINEAR_LEARNER}

# Real hyperparameters of the containers that cannot work with the files that a run writes.
REFUSED: dict[str, str] = {
    "csv_weights": "the training files carry no weights, so the first feature would be taken for one; leave it out",
    "num_class": "only for multi-class problems; leave it out",
    "num_classes": "only for multi-class problems; leave it out",
    "_kfold": "k-fold training saves several models, of which one cannot be judged; leave it out",
    "_num_cv_round": "only for k-fold training; leave it out",
    "_tuning_objective_metric": "set by tuning jobs; use eval_metric",
}
