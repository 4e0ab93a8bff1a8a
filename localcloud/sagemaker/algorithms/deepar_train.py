"""A stand-in for DeepAR's training container, whose code is closed.

`<image python> deepar_train.py --root <folder for /opt/ml>`: the same inputs, hyperparameters, defaults, metric lines
and names of artefacts; the forecaster is ours (`autoregression`), so that its numbers differ from AWS's.

Reads   input/config/*.json, input/data/{train,test}/ (JSON Lines, plain or gzip, or Parquet: `time_series`)
Writes  model/model_algo-1-{0000.params,config.json,symbol.json} (`Model.save`), output/failure when it fails
Logs    `#quality_metric: host=algo-1, epoch=3, train loss <loss>=2.41`, after the last epoch
        `#quality_metric: host=algo-1, train final_loss <loss>=2.4`, and of a test channel, whose last prediction_length
        values are forecast, `#test_score (algo-1, mean_wQuantileLoss): 0.01` and the metrics `test RMSE` and
        `test mean_wQuantileLoss`
Uses    of the network's hyperparameters only dropout_rate, for the penalty; the others are checked, and that is all
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

if not __package__:  # started by its path, as a container starts its entrypoint
    sys.path[0] = str(Path(__file__).resolve().parents[3])

from localcloud.sagemaker.algorithms import deepar_hyperparameters, deepar_metrics
from localcloud.sagemaker.algorithms.amazon_log import log, quality
from localcloud.sagemaker.algorithms.autoregression import Model, Settings
from localcloud.sagemaker.algorithms.autoregression_fit import fit
from localcloud.sagemaker.algorithms.deepar_hyperparameters import BETA, NEGATIVE_BINOMIAL
from localcloud.sagemaker.algorithms.time_series import Frequency, TimeSeries, read_channel
from localcloud.sagemaker.algorithms.training_container import CustomerError, Environment, require_channels, run
from localcloud.sagemaker.without_pandas import leave_out_pandas

CHANNELS = ("train", "test")
FEWEST_OBSERVATIONS = 300
SHRINKAGE_OF_DROPOUT = 0.01


def train(environment: Environment) -> None:
    """Do the whole run: validate, load, fit, save, score the test channel."""
    texts = environment.hyperparameters
    values = deepar_hyperparameters.read(texts)
    log("This is no DeepAR: a linear autoregression stands in for it in the local cloud.")
    log(f"Final configuration: {deepar_hyperparameters.DEFAULTS | texts}")
    channels = load(environment)
    settings = make_settings(values, channels["train"])
    series = {name: [take(one, settings, name) for one in part] for name, part in channels.items()}
    check_targets(series["train"], settings)
    model = fit_with_log(settings, trainable(series["train"], settings))
    model.save(environment.model_dir, texts)
    if "test" in series:
        score(model, series["test"], values)
    else:
        log("No test channel found. Skipping evaluation.")


def load(environment: Environment) -> dict[str, list[TimeSeries]]:
    """Channel names to their series."""
    channels = environment.channels
    require_channels(channels, CHANNELS)
    if len(environment.hosts) > 1:
        raise CustomerError(f"Training on several hosts is not supported locally: {environment.hosts}")
    return {name: _read(environment, name, configuration) for name, configuration in channels.items()}


def _read(environment: Environment, name: str, configuration: Mapping[str, str]) -> list[TimeSeries]:
    if (mode := configuration.get("TrainingInputMode", "File")) != "File":
        raise CustomerError(f"Channel {name}: {mode} mode is not supported by the local DeepAR; use File.")
    series = list(read_channel(environment.channel_dir(name), configuration.get("ContentType")))
    if not series:
        raise CustomerError(f"No data in {name} channel path {environment.channel_dir(name)}")
    return series


def make_settings(values: Mapping[str, Any], series: Sequence[TimeSeries]) -> Settings:
    """Return what the hyperparameters say, and of `auto` what the data say."""
    cardinality, features = values["cardinality"], values["num_dynamic_feat"]
    if cardinality == "auto":
        categories = [one.cat for one in series if len(one.cat) == len(series[0].cat)]
        cardinality = tuple(max(each) + 1 for each in zip(*categories, strict=True))
    return Settings(
        freq=Frequency.parse(values["time_freq"]),
        context_length=values["context_length"],
        prediction_length=values["prediction_length"],
        likelihood=values["likelihood"],
        cardinality=cardinality or (),
        features=len(series[0].dynamic_feat) if features == "auto" else features or 0,
        ignores=tuple(field for field, setting in (("cat", cardinality), ("dynamic_feat", features)) if setting == ""),
        epochs=values["epochs"],
        patience=values["early_stopping_patience"] or Settings.patience,
        shrinkage=SHRINKAGE_OF_DROPOUT * values["dropout_rate"],
    )


def take(series: TimeSeries, settings: Settings, channel: str) -> TimeSeries:
    """Return the series as the job looks at it. CustomerError: its categories or features are not those of the job."""
    try:
        return settings.take(series, len(series.target))
    except ValueError as error:
        raise CustomerError(f"Channel {channel}, time series that starts {series.start}: {error}") from error


def check_targets(series: Sequence[TimeSeries], settings: Settings) -> None:
    """Raise CustomerError: there are too few values to train on, or values that the likelihood has none of."""
    values = np.concatenate([one.target[np.isfinite(one.target)] for one in series])
    if len(values) < FEWEST_OBSERVATIONS:
        raise CustomerError(
            f"The training time series have {len(values)} observations; expected at least {FEWEST_OBSERVATIONS}."
        )
    if not values.any():
        raise CustomerError("training time series consist of only zeros")
    wrong = {
        BETA: ("values from 0 to 1", (values < 0) | (values > 1)),
        NEGATIVE_BINOMIAL: ("whole numbers from 0", (values < 0) | (values % 1 > 0)),
    }
    expected, bad = wrong.get(settings.likelihood, ("", np.zeros(1, dtype=bool)))
    if bad.any():
        raise CustomerError(
            f"The likelihood {settings.likelihood} is for {expected}; the training time series have "
            f"{values[bad.argmax()]:g}."
        )


def trainable(series: Sequence[TimeSeries], settings: Settings) -> list[TimeSeries]:
    """Return the series that are not shorter than a forecast; DeepAR ignores the others in training."""
    long = [one for one in series if len(one.target) >= settings.prediction_length]
    if len(long) < len(series):
        log(f"Ignored {len(series) - len(long)} time series that are shorter than prediction_length.")
    if not long:
        raise CustomerError(f"No training time series has prediction_length ({settings.prediction_length}) values.")
    return long


def fit_with_log(settings: Settings, series: Sequence[TimeSeries]) -> Model:
    """Fit, and log the loss and progress after each epoch. The model is that of the epoch with the lowest loss."""
    best = None
    try:
        for epoch in fit(settings, series):
            quality({"loss <loss>": epoch.loss}, "train", epoch.number)
            log(f"#progress_metric: host=algo-1, completed {100 * (epoch.number + 1) / settings.epochs:g} % of epochs")
            best = epoch if best is None or epoch.loss < best.loss else best
    except ValueError as error:
        raise CustomerError(f"Nothing can be learned from the training time series: {error}.") from error
    if best is None or not np.isfinite(best.model.coefficients).all():
        raise CustomerError("Training diverged: the coefficients are not finite.")
    log(f"Final loss: {best.loss} (occurred at epoch {best.number})")
    quality({"final_loss <loss>": best.loss}, "train")
    return best.model


def score(model: Model, series: Sequence[TimeSeries], values: Mapping[str, Any]) -> None:
    """Forecast the last values of each series from those before, and log how far off the forecasts are."""
    steps, count, taus = model.settings.prediction_length, values["num_eval_samples"], values["test_quantiles"]
    long = [one for one in series if len(one.target) > steps]
    if not long:
        raise CustomerError(f"No test time series is longer than prediction_length ({steps}).")
    if len(long) < len(series):
        log(f"Ignored {len(series) - len(long)} test time series that are not longer than prediction_length.")
    log(f"Evaluating model accuracy on testset using {count} samples")
    samples = np.concatenate([model.sample(replace(one, target=one.target[:-steps]), count) for one in long], axis=1)
    actual = np.concatenate([one.target[-steps:] for one in long])
    if not np.isfinite(actual).any():
        raise CustomerError(f"The test time series have no value among their last {steps}.")
    scores = deepar_metrics.scores(actual, samples.mean(axis=0), np.quantile(samples, taus, axis=0), taus)
    for name, value in scores.items():
        log(f"#test_score (algo-1, {name}): {value}")
    quality({f"{name} <loss>": scores[name] for name in ("RMSE", "mean_wQuantileLoss")}, "test")


if __name__ == "__main__":
    leave_out_pandas()
    sys.exit(run(train, sys.argv[1:]))
