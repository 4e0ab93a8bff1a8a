"""DeepAR.

Sources: Amazon SageMaker Developer Guide, "DeepAR hyperparameters" and "Tune a DeepAR model".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from perennial.model.algorithms.algorithm import Algorithm
from perennial.model.algorithms.hyperparameter import POSITIVE, Allowed, integer, words
from perennial.model.images import ONE_FOR_BOTH, Image, Registry
from perennial.model.problem_types import Direction
from perennial.model.series import category_columns, dynamic_columns

_HYPERPARAMETERS: dict[str, Allowed] = {
    "epochs": integer(1, 1000),
    "dropout_rate": Allowed("number", low=0, high=1),
    "early_stopping_patience": integer(1),
    "embedding_dimension": integer(1, 100),
    "learning_rate": POSITIVE,
    "likelihood": words("gaussian", "beta", "negative-binomial", "student-T", "deterministic-L1"),
    "mini_batch_size": integer(1),
    "num_cells": integer(1),
    "num_layers": integer(1),
    "num_eval_samples": integer(1),
}
_SAYS = "follows from {} of the definition; leave it out"
_REFUSED = {
    "time_freq": _SAYS.format("series.frequency"),
    "context_length": _SAYS.format("series.context_length"),
    "prediction_length": _SAYS.format("series.prediction_length"),
    "cardinality": _SAYS.format("the categories of the feature columns"),
    "num_dynamic_feat": _SAYS.format("the feature columns that are numbers"),
    "test_quantiles": "are 0.1 to 0.9, of which the metrics are; leave them out",
}
# Required, and without a default of the container's.
_DEFAULTS = {"epochs": "100"}


def _of_definition(definition: Mapping[str, Any]) -> dict[str, str]:
    series = definition["series"]
    categories, dynamic = category_columns(definition), dynamic_columns(definition)
    return {
        "time_freq": series["frequency"],
        "context_length": str(series["context_length"]),
        "prediction_length": str(series["prediction_length"]),
        **({"cardinality": json.dumps([len(names) for names in categories.values()])} if categories else {}),
        **({"num_dynamic_feat": str(len(dynamic))} if dynamic else {}),
    }


def _derived(_problem_type: str, _metric: str, _seed: int, _classes: int) -> dict[str, str]:
    return {}


def _training_metrics(_hyperparameters: Mapping[str, str]) -> tuple[str, ...]:
    return ("test:mean_wQuantileLoss",)  # of the periods that validate, which are its channel `test`


def _objectives(_problem_type: str) -> dict[str, Direction]:
    return {"test:RMSE": "minimize", "train:final_loss": "minimize", "test:mean_wQuantileLoss": "minimize"}


_TUNABLE = (
    "epochs", "mini_batch_size", "learning_rate", "num_cells", "num_layers", "dropout_rate", "embedding_dimension",
)  # fmt: skip
_ACCOUNTS = {
    "af-south-1": "455444449433", "ap-east-1": "286214385809", "ap-northeast-1": "633353088612",
    "ap-northeast-2": "204372634319", "ap-northeast-3": "867004704886", "ap-south-1": "991648021394",
    "ap-south-2": "628508329040", "ap-southeast-1": "475088953585", "ap-southeast-2": "514117268639",
    "ap-southeast-3": "951798379941", "ap-southeast-4": "106583098589", "ca-central-1": "469771592824",
    "ca-west-1": "190319476487", "cn-north-1": "390948362332", "cn-northwest-1": "387376663083",
    "eu-central-1": "495149712605", "eu-central-2": "680994064768", "eu-north-1": "669576153137",
    "eu-south-1": "257386234256", "eu-south-2": "104374241257", "eu-west-1": "224300973850",
    "eu-west-2": "644912444149", "eu-west-3": "749696950732", "il-central-1": "898809789911",
    "me-central-1": "272398656194", "me-south-1": "249704162688", "sa-east-1": "855470959533",
    "us-east-1": "522234722520", "us-east-2": "566113047672", "us-gov-east-1": "237065988967",
    "us-gov-west-1": "226302683700", "us-iso-east-1": "490574956308", "us-isob-east-1": "765400339828",
    "us-isof-east-1": "108575199400", "us-isof-south-1": "124985052026", "us-west-1": "632365934929",
    "us-west-2": "156387875391",
}  # fmt: skip
IMAGE = Image(
    name="DeepAR",
    registry=Registry("DeepAR", _ACCOUNTS),
    repository="forecasting-deepar",
    tag="1",
    tags="[0-9][A-Za-z0-9._-]{0,31}",  # not latest, which AWS advises against
    expected="a tag such as 1 that begins with a digit, 32 characters at most",
    description=f"Version of the DeepAR image, or its digest. {ONE_FOR_BOTH}",
)
DEEPAR = Algorithm(
    "deepar", IMAGE, _HYPERPARAMETERS, _REFUSED, _DEFAULTS, {"forecasting": {}}, _derived, _training_metrics, _TUNABLE,
    _objectives, of_definition=_of_definition, reads_series=True,
)  # fmt: skip
