"""Linear Learner.

Source: Amazon SageMaker Developer Guide, "Linear learner hyperparameters".
"""

from __future__ import annotations

from collections.abc import Mapping

from perennial.model.algorithms.algorithm import Algorithm
from perennial.model.algorithms.hyperparameter import AUTO, FLAG, POSITIVE, Allowed, integer, number, words
from perennial.model.images import ONE_FOR_BOTH, Image, Registry
from perennial.model.problem_types import QUANTILE_LOSSES, Direction

_LOSSES = {
    "regression": (
        "auto", "squared_loss", "absolute_loss", "eps_insensitive_squared_loss", "eps_insensitive_absolute_loss",
        "quantile_loss", "huber_loss",
    ),
    "binary_classification": ("auto", "logistic", "hinge_loss"),
    "multiclass_classification": ("auto", "softmax_loss"),
}  # fmt: skip

_HYPERPARAMETERS: dict[str, Allowed] = {
    "predictor_type": words("regressor", "binary_classifier", "multiclass_classifier"),
    "feature_dim": integer(1, words=AUTO),
    "epochs": integer(1),
    "mini_batch_size": integer(1),
    "learning_rate": Allowed("number", above=0, words=AUTO),
    "wd": number(0, words=AUTO),
    "l1": number(0, words=AUTO),
    "optimizer": words("auto", "sgd", "adam", "rmsprop"),
    "beta_1": Allowed("number", low=0, below=1, words=AUTO),
    "beta_2": Allowed("number", low=0, below=1, words=AUTO),
    "momentum": Allowed("number", low=0, below=1, words=AUTO),
    "loss": words(*dict.fromkeys(loss for losses in _LOSSES.values() for loss in losses)),
    "loss_insensitivity": POSITIVE,
    "huber_delta": number(0),
    "quantile": Allowed("number", above=0, below=1),
    "margin": POSITIVE,
    "num_models": integer(1, words=AUTO),
    "normalize_data": Allowed(words=("auto", "true", "false")),
    "normalize_label": Allowed(words=("auto", "true", "false")),
    "unbias_data": Allowed(words=("auto", "true", "false")),
    "unbias_label": Allowed(words=("auto", "true", "false")),
    "use_bias": FLAG,
    "bias_lr_mult": Allowed("number", above=0, words=AUTO),
    "bias_wd_mult": number(0, words=AUTO),
    "init_method": words("uniform", "normal"),
    "init_scale": POSITIVE,
    "init_sigma": POSITIVE,
    "init_bias": number(),
    "early_stopping_patience": integer(1),
    "early_stopping_tolerance": POSITIVE,
    "use_lr_scheduler": FLAG,
    "lr_scheduler_step": integer(1, words=AUTO),
    "lr_scheduler_factor": Allowed("number", above=0, below=1, words=AUTO),
    "lr_scheduler_minimum_lr": Allowed("number", above=0, words=AUTO),
    "num_calibration_samples": integer(1, words=AUTO),
    "num_point_for_scaler": integer(1),
    "f_beta": POSITIVE,
    "target_precision": Allowed("number", above=0, high=1),
    "target_recall": Allowed("number", above=0, high=1),
    "accuracy_top_k": integer(1),
    "balance_multiclass_weights": FLAG,
    "positive_example_weight_mult": Allowed("number", above=0, words=("balanced", "auto")),
    "binary_classifier_model_selection_criteria": words(
        "accuracy", "f_beta", "precision_at_target_recall", "recall_at_target_precision", "loss_function",
    ),
}  # fmt: skip

_REFUSED = {"num_classes": "follows from the classes of the target; leave it out"}
# Chosen by bench/bench_quality.py. It ends by itself when the validation loss no longer falls, and refuses a mini-batch
# that is larger than the data.
_DEFAULTS = {"epochs": "50", "mini_batch_size": "32"}
_PREDICTOR_TYPE = {
    "regression": "regressor",
    "binary_classification": "binary_classifier",
    "multiclass_classification": "multiclass_classifier",
}
_OF_PROBLEM = {
    problem: {"predictor_type": (kind,), "loss": _LOSSES[problem]} for problem, kind in _PREDICTOR_TYPE.items()
}
# By what it selects among the models that it trains side by side: as near as it can to the metric of the gate.
_SELECTS = {"accuracy": "accuracy", "f1": "f_beta"}


def _derived(problem_type: str, metric: str, _seed: int, classes: int) -> dict[str, str]:
    derived = {"predictor_type": _PREDICTOR_TYPE[problem_type]}
    if problem_type == "binary_classification":
        derived["binary_classifier_model_selection_criteria"] = _SELECTS.get(metric, "loss_function")
    if quantile := QUANTILE_LOSSES.get(metric):
        derived |= {"loss": "quantile_loss", "quantile": str(quantile)}
    if classes:
        derived["num_classes"] = str(classes)
    return derived


def _training_metrics(_hyperparameters: Mapping[str, str]) -> tuple[str, ...]:
    return ("validation:objective_loss",)


# Developer Guide, "Tune a linear learner model": hyperparameters and metrics.
_TUNABLE = ("l1", "learning_rate", "mini_batch_size", "positive_example_weight_mult", "use_bias", "wd")
_SCORES = {
    "regression": (),
    "binary_classification": (
        "binary_classification_accuracy", "binary_f_beta", "precision", "recall", "roc_auc_score",
    ),
    "multiclass_classification": ("multiclass_accuracy", "macro_f_beta", "macro_precision", "macro_recall"),
}  # fmt: skip
_LOSSES_REPORTED = {"regression": ("objective_loss", "mse", "absolute_loss", "rmse")}


def _objectives(problem_type: str) -> dict[str, Direction]:
    losses: dict[str, Direction] = dict.fromkeys(_LOSSES_REPORTED.get(problem_type, ("objective_loss",)), "minimize")
    scores: dict[str, Direction] = dict.fromkeys(_SCORES[problem_type], "maximize")
    return {f"validation:{name}": direction for name, direction in {**losses, **scores}.items()}


_ACCOUNTS = {
    "af-south-1": "455444449433", "ap-east-1": "286214385809", "ap-northeast-1": "351501993468",
    "ap-northeast-2": "835164637446", "ap-northeast-3": "867004704886", "ap-south-1": "991648021394",
    "ap-south-2": "628508329040", "ap-southeast-1": "475088953585", "ap-southeast-2": "712309505854",
    "ap-southeast-3": "951798379941", "ap-southeast-4": "106583098589", "ca-central-1": "469771592824",
    "ca-west-1": "190319476487", "cn-north-1": "390948362332", "cn-northwest-1": "387376663083",
    "eu-central-1": "664544806723", "eu-central-2": "680994064768", "eu-north-1": "669576153137",
    "eu-south-1": "257386234256", "eu-south-2": "104374241257", "eu-west-1": "438346466558",
    "eu-west-2": "644912444149", "eu-west-3": "749696950732", "il-central-1": "898809789911",
    "me-central-1": "272398656194", "me-south-1": "249704162688", "sa-east-1": "855470959533",
    "us-east-1": "382416733822", "us-east-2": "404615174143", "us-gov-east-1": "237065988967",
    "us-gov-west-1": "226302683700", "us-iso-east-1": "490574956308", "us-isob-east-1": "765400339828",
    "us-isof-east-1": "108575199400", "us-isof-south-1": "124985052026", "us-west-1": "632365934929",
    "us-west-2": "174872318107",
}  # fmt: skip
IMAGE = Image(
    name="LinearLearner",
    registry=Registry("LinearLearner", _ACCOUNTS),
    repository="linear-learner",
    tag="1",
    tags="[0-9][A-Za-z0-9._-]{0,31}",  # not latest, which AWS advises against
    expected="a tag such as 1 that begins with a digit, 32 characters at most",
    description=f"Version of the Linear Learner image, or its digest. {ONE_FOR_BOTH}",
)
LINEAR_LEARNER = Algorithm(
    "linear-learner", IMAGE, _HYPERPARAMETERS, _REFUSED, _DEFAULTS, _OF_PROBLEM, _derived, _training_metrics, _TUNABLE,
    _objectives,
)  # fmt: skip
