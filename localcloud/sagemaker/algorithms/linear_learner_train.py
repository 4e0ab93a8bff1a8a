"""A stand-in for Linear Learner's training container, whose code is closed.

`<image python> linear_learner_train.py --root <folder for /opt/ml>`: the same inputs, hyperparameters, defaults,
metric lines and artefact name; the optimiser is ours (`linear_model`), so that weights differ from AWS's.

Reads   input/config/*.json, input/data/{train,validation,test}/ (text/csv, label first, no header)
Writes  model/model_algo-1 (`LinearModel.save`), output/failure when it fails
Logs    `#quality_metric: host=algo-1, epoch=3, validation mse_objective <loss>=0.4012`; objectives of epochs are in
        units of the normalised label, everything after the last epoch in the label's own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

if not __package__:  # started by its path, as a container starts its entrypoint
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from localcloud.sagemaker.algorithms import linear_learner_hyperparameters, linear_learner_metrics
from localcloud.sagemaker.algorithms import training_data as data
from localcloud.sagemaker.algorithms.amazon_log import log, quality
from localcloud.sagemaker.algorithms.hosts import ALONE, Hosts, together
from localcloud.sagemaker.algorithms.linear_model import (
    BINARY,
    LEARNING_RATES,
    MULTICLASS,
    REGRESSOR,
    WEIGHT_DECAYS,
    Array,
    LinearModel,
    Loss,
    Settings,
    fit,
    make_loss,
    softmax_loss,
)
from localcloud.sagemaker.algorithms.training_container import CustomerError, Environment, require_channels, run
from localcloud.sagemaker.algorithms.xgboost_train import import_xgboost
from localcloud.sagemaker.without_pandas import leave_out_pandas

MODEL_NAME = "model_algo-1"
CHANNELS = ("train", "validation", "test")


def train(environment: Environment) -> None:
    """Do the whole run: validate, load, fit, choose the threshold, score every channel, save."""
    values = linear_learner_hyperparameters.read(environment.hyperparameters)
    has_data = bool(data.data_files(environment.channel_dir("train")))
    with together(environment, import_xgboost, has_data=has_data) as hosts:
        if hosts is not None:
            _train(environment, values, hosts)


def _train(environment: Environment, values: Mapping[str, Any], hosts: Hosts) -> None:
    rows = load(environment, values)
    settings = make_settings(values, rows["train"], hosts)
    tell = quality if hosts.is_master else _say_nothing
    model = fit_with_log(settings, values["predictor_type"], rows["train"], rows.get("validation"), hosts, tell)

    def whole(part: str, columns: Array) -> Array:
        """Return the rows of a channel on all hosts, of which each may have a copy."""
        is_shared_out = environment.channels[part].get("S3DistributionType") == "ShardedByS3Key"
        return hosts.all_rows(columns) if is_shared_out else columns

    if model.predictor_type == BINARY:
        part = "validation" if "validation" in rows else "train"
        judged = whole(part, _labelled(model, rows[part]))
        model = linear_learner_metrics.with_threshold(model, judged[:, 1], judged[:, 0], values)
    for part in CHANNELS:
        if part in rows:
            tell(scores(model, settings.loss, whole(part, _labelled(model, rows[part])), values), part)
        elif part != "train":
            log(f"{part.capitalize()} data is not provided.")
    if hosts.is_master:
        model.save(environment.model_dir / MODEL_NAME)


def _labelled(model: LinearModel, rows: Array) -> Array:
    """Return the label and the raw scores of each row."""
    return np.column_stack([rows[:, 0].astype(float), model.raw(rows[:, 1:])])


def _say_nothing(values: Mapping[str, float], part: str, epoch: int | None = None) -> None:
    """Leave it to the master, who says it of all rows."""


def load(environment: Environment, values: Mapping[str, Any]) -> dict[str, Array]:
    """Channel names to rows, label first."""
    channels = environment.channels
    require_channels(channels, CHANNELS)
    rows = {name: _read_channel(environment, name, configuration) for name, configuration in channels.items()}
    _check_rows(rows, values)
    return rows


def _read_channel(environment: Environment, name: str, configuration: Mapping[str, str]) -> Array:
    content_type = configuration.get("ContentType") or "application/x-recordio-protobuf"
    if (mode := configuration.get("TrainingInputMode", "File")) != "File":
        raise CustomerError(f"Channel {name}: {mode} mode is not supported by the local Linear Learner; use File.")
    kind = data.parse_content_type(content_type)[0]
    if kind not in (data.CSV, data.RECORDIO):
        raise CustomerError(
            f"Channel {name}: ContentType {content_type} is not accepted; Linear Learner takes text/csv and (also "
            "without a ContentType) application/x-recordio-protobuf."
        )
    files = data.data_files(environment.channel_dir(name))
    blocks = data.read_csv(files, ",") if kind == data.CSV else data.read_recordio(files)
    rows = data.Spool(blocks).rows if files else None
    if rows is None or len(rows) == 0:
        raise CustomerError(f"No data in {name} channel path {environment.channel_dir(name)}")
    return rows


def _check_rows(rows: Mapping[str, Array], values: Mapping[str, Any]) -> None:
    wanted = values["feature_dim"] or rows["train"].shape[1] - 1
    for name, table in rows.items():
        if table.shape[1] - 1 != wanted or wanted == 0:
            raise CustomerError(f"Channel {name}: expected {wanted or 'some'} features, got {table.shape[1] - 1}.")
        if not all(np.isfinite(block).all() for block in _chunks(table)):
            raise CustomerError(
                f"Channel {name}: missing or infinite values. Linear Learner takes none; impute them first."
            )
        if values["predictor_type"] == MULTICLASS:
            _check_classes(name, table[:, 0], values["num_classes"])
        if values["predictor_type"] == BINARY and not np.isin(np.unique(table[:, 0]), (0, 1)).all():
            labels = ", ".join(f"{label:g}" for label in np.unique(table[:, 0])[:5])
            raise CustomerError(f"Channel {name}: labels of a {BINARY} must be 0 or 1; found {labels}.")


def _check_classes(name: str, labels: Array, classes: int) -> None:
    known = np.unique(labels)
    if wrong := [f"{label:g}" for label in known if label not in range(classes)]:
        some = ", ".join(wrong[:5])
        raise CustomerError(f"Channel {name}: labels of {classes} classes must be 0 to {classes - 1}; found {some}.")


def _chunks(table: Array) -> list[Array]:
    return np.array_split(table, max(1, len(table) >> 16))


def make_settings(values: Mapping[str, Any], training: Array, hosts: Hosts = ALONE) -> Settings:
    """Return what `auto` means here, and everything else as given.

    A tuning job turns the search among models off (Developer Guide, "Tune a linear learner model").
    """

    def value_or(name: str, default: Any) -> Any:
        return default if values[name] is None else values[name]

    settings = Settings(
        loss=_loss(values),
        optimizer="adam" if values["optimizer"] == "auto" else values["optimizer"],
        epochs=values["epochs"],
        mini_batch_size=values["mini_batch_size"],
        learning_rates=LEARNING_RATES if values["learning_rate"] is None else (values["learning_rate"],),
        weight_decays=WEIGHT_DECAYS if values["wd"] is None else (values["wd"],),
        l1=value_or("l1", 0.0),
        num_models=1 if values["_tuning_objective_metric"] else values["num_models"],
        beta_1=value_or("beta_1", 0.9),
        beta_2=value_or("beta_2", 0.999),
        momentum=value_or("momentum", 0.9),
        use_bias=values["use_bias"],
        bias_rate=value_or("bias_lr_mult", 1.0),
        bias_decay=value_or("bias_wd_mult", 0.0),
        init_method=values["init_method"],
        init_scale=values["init_scale"],
        init_sigma=values["init_sigma"],
        init_bias=values["init_bias"],
        label_weights=_label_weights(values, training, hosts),
        patience=values["early_stopping_patience"],
        tolerance=values["early_stopping_tolerance"],
        normalize_data=values["normalize_data"],
        unbias_data=values["use_bias"] and value_or("unbias_data", True),
        normalize_label=value_or("normalize_label", True),
        unbias_label=values["use_bias"] and value_or("unbias_label", True),
        rows_for_scaler=values["num_point_for_scaler"],
    )
    factor = _rate_factor(values)
    return settings if factor is None else replace(settings, rate_factor=factor)


def _rate_factor(values: Mapping[str, Any]) -> Callable[[float, int], float] | None:
    """Return a constant rate, steps as given, or None (auto) for the settings' own: a cosine down to zero."""
    if not values["use_lr_scheduler"]:
        return lambda _progress, _step: 1.0
    if values["lr_scheduler_step"] is None and values["lr_scheduler_factor"] is None:
        return None
    every = values["lr_scheduler_step"] or 100
    factor = values["lr_scheduler_factor"] or 0.99
    lowest = (values["lr_scheduler_minimum_lr"] or 1e-5) / (values["learning_rate"] or LEARNING_RATES[0])
    return lambda _progress, step: float(max(lowest, factor ** (step // every)))


def _loss(values: Mapping[str, Any]) -> Loss:
    if values["predictor_type"] == MULTICLASS:
        return softmax_loss(values["num_classes"])
    return make_loss(
        values["loss"],
        insensitivity=values["loss_insensitivity"],
        delta=values["huber_delta"],
        quantile=values["quantile"],
        margin=values["margin"],
    )


def _label_weights(values: Mapping[str, Any], training: Array, hosts: Hosts) -> Array | None:
    """Return what a row of each class weighs, where they differ."""
    if values["predictor_type"] == BINARY:
        weight = _positive_weight(values["positive_example_weight_mult"], training, hosts)
        return None if weight == 1 else np.array([1.0, weight])
    if not values["balance_multiclass_weights"]:
        return None
    counts = hosts.total(np.bincount(training[:, 0].astype(int), minlength=values["num_classes"]))
    return np.asarray(counts.sum() / (values["num_classes"] * np.maximum(counts, 1)))


def _positive_weight(multiplier: Any, training: Array, hosts: Hosts) -> float:
    """`balanced` and `auto` make both classes weigh the same."""
    if not isinstance(multiplier, str):
        return float(multiplier)
    positive, rows = hosts.total(np.array([float(training[:, 0].sum()), float(len(training))]))
    return float((rows - positive) / positive) if positive else 1.0


def fit_with_log(
    settings: Settings,
    kind: str,
    training: Array,
    validation: Array | None,
    hosts: Hosts = ALONE,
    tell: Callable[..., None] = quality,
) -> LinearModel:
    """Fit, and log objectives, progress and throughput after each epoch."""
    name = f"{settings.loss.name}_objective <loss>"
    model, host = None, f"host=algo-{hosts.rank + 1}"
    began = time.perf_counter()
    for epoch in fit(settings, kind, training, validation, hosts):
        model = epoch.model
        tell({name: epoch.train_objective}, "train", epoch.number)
        if epoch.validation_objective is not None:
            tell({name: epoch.validation_objective}, "validation", epoch.number)
        log(f"#progress_metric: {host}, completed {100 * (epoch.number + 1) / settings.epochs:g} % of epochs")
        rate = len(training) * (epoch.number + 1) / (time.perf_counter() - began)
        log(f"#throughput_metric: {host}, train throughput={rate} records/second")
    if model is None or not np.isfinite(model.weights).all():
        raise CustomerError("Training diverged: the weights are not finite. Lower learning_rate, or normalize_data.")
    return model


def scores(model: LinearModel, loss: Loss, labelled: Array, values: Mapping[str, Any]) -> dict[str, float]:
    """Return the metrics of one channel, in the label's own unit; its rows are the label and the raw scores."""
    labels, raw = labelled[:, 0], labelled[:, 1:] if model.predictor_type == MULTICLASS else labelled[:, 1]
    objective = {f"{loss.name}_objective <loss>": float(np.mean(loss.value(raw, labels)))}
    predictions = model.as_score(raw)
    if model.predictor_type == REGRESSOR:
        return objective | linear_learner_metrics.of_regressor(labels, predictions)
    if model.predictor_type == MULTICLASS:
        return objective | linear_learner_metrics.of_classes(
            labels, predictions, values["f_beta"], values["accuracy_top_k"]
        )
    return objective | linear_learner_metrics.of_classifier(labels, predictions, model.threshold, values["f_beta"])


if __name__ == "__main__":
    leave_out_pandas()
    sys.exit(run(train, sys.argv[1:]))
