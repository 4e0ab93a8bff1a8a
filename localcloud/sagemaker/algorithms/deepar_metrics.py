"""The scores of forecasts that DeepAR reports. Source: Developer Guide, "Input/Output Interface for DeepAR"."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from localcloud.sagemaker.algorithms.time_series import Array


def rmse(actual: Array, mean: Array) -> float:
    """Root of the mean squared error, over the values that are there."""
    return float(np.sqrt(np.nanmean((mean - actual) ** 2)))


def absolute_quantile_loss(actual: Array, quantile: Array, tau: float) -> float:
    """Twice the sum of pinball losses, over the values that are there."""
    below = actual - quantile
    return float(2 * np.nansum(np.maximum(tau * below, (tau - 1) * below)))


def scores(actual: Array, mean: Array, quantiles: Array, taus: Sequence[float]) -> dict[str, float]:
    """Return the scores in the order in which they are logged; `quantiles` is (n_taus, n_values).

    `wQuantileLoss[0.5]` is the loss of a quantile divided by the sum of the absolute values.
    """
    losses = [absolute_quantile_loss(actual, values, tau) for values, tau in zip(quantiles, taus, strict=True)]
    size = float(np.nansum(np.abs(actual)))
    weighted = [loss / size if size else float("nan") for loss in losses]
    return {
        "RMSE": rmse(actual, mean),
        "mean_absolute_QuantileLoss": float(np.mean(losses)),
        "mean_wQuantileLoss": float(np.mean(weighted)),
        **{f"wQuantileLoss[{tau}]": loss for tau, loss in zip(taus, weighted, strict=True)},
    }
