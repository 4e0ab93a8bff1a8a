"""What a model said and what happened: pictures of labels and scores `(n_rows, ...)`, of any number of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt

from perennial.data.column_statistics import Floats
from perennial.evaluation import metrics
from perennial.evaluation.problem_types.binary_classification import predicted_labels
from perennial.evaluation.problem_types.forecasting import MEDIAN, SERIES
from perennial.evaluation.problem_types.multiclass_classification import predicted_classes
from perennial.model.problem_types import FORECAST_QUANTILES, PROBLEM_TYPES, classes_of
from perennial.reports import charts
from perennial.reports.charts import Layer, Point
from perennial.reports.page import LIMIT, NOW, THEN, figure, table, text
from perennial.words import number

BINS = 20
MAX_MATRIX = 12  # classes that are held against each other
MAX_NAME = 30
PARTS = 10  # of the scores, from the lowest to the highest, in each of which what happened is told
GRID = 60  # places along an axis where a dot of a row may stand: nobody reads its values from the page
TAIL = 0.5  # percent of the rows on each side that pictures leave out

Rows = npt.NDArray[np.int64]


def pictures(definition: Mapping[str, Any], labels: Floats, scores: Floats, unit: str) -> list[Element]:
    """Return the pictures of a model's problem type. Rows whose score cannot be measured are left out."""
    problem, classes = definition["problem"], classes_of(definition)
    sound = metrics.can_be_measured(problem, scores) & np.isfinite(labels)
    labels, scores = labels[sound], scores[sound]
    if not labels.size:
        return []
    if PROBLEM_TYPES[problem].is_series:
        return [_predicted(labels, scores[:, MEDIAN], unit), _coverage(labels, scores)]
    if classes:
        return _of_classes(labels.astype(np.int64), scores, classes)
    if problem == "binary_classification":
        return [
            _confusion(labels, predicted_labels(scores), ((1, "1"), (0, "0"))),
            _calibration(labels, scores, "1"),
            _by_class(labels, scores),
        ]
    return [_predicted(labels, scores, unit), _residuals(labels - scores, unit), _errors(labels, scores, unit)]


# ---- Regression


def _predicted(labels: Floats, scores: Floats, unit: str) -> Element:
    low, high = _bounds(np.concatenate([labels, scores]))
    inside = np.flatnonzero((labels >= low) & (labels <= high) & (scores >= low) & (scores <= high))
    drawn = inside[charts.sampled(inside.size)]
    layers = [
        Layer("rows", _points(_on_grid(scores[drawn], low, high), _on_grid(labels[drawn], low, high)), NOW, dots=True),
        Layer("as predicted", [(low, low), (high, high)], LIMIT, "4 3"),
    ]
    about = f"{drawn.size:,} of {labels.size:,} rows"
    if inside.size < labels.size:
        about += f"; {labels.size - inside.size:,} lie outside of the picture"
    return figure("Predicted and actual", charts.chart(layers, f"predicted{unit}", f"actual{unit}"), about)


def _residuals(residuals: Floats, unit: str) -> Element:
    edges, shares = _histogram(residuals)
    layers = [
        Layer("rows", charts.steps(edges, shares)),
        Layer("no error", [(0.0, 0.0), (0.0, float(max(shares)))], LIMIT, "4 3"),
    ]
    about = (
        f"Mean {number(residuals.mean())}, median {number(np.median(residuals))}. Above 0 the model said too little."
    )
    return figure("Residuals", charts.chart(layers, f"actual - predicted{unit}", "share of rows"), about)


def _errors(labels: Floats, scores: Floats, unit: str) -> Element:
    parts = _parts(scores)
    residuals = labels - scores
    middle = [float(np.median(residuals[part])) for part in parts]
    ends = [np.percentile(residuals[part], (10, 90)).tolist() for part in parts]
    at = [float(np.median(scores[part])) for part in parts]
    layers = [
        Layer("median", list(zip(at, middle, strict=True))),
        Layer("80 % of rows", [*zip(at, (low for low, _ in ends), strict=True), (None, None),
                               *zip(at, (high for _, high in ends), strict=True)], THEN, "5 3"),
        Layer("no error", [(min(at), 0.0), (max(at), 0.0)], LIMIT, "4 3"),
    ]  # fmt: skip
    about = f"Where the model errs: {len(parts)} parts of the rows, from the lowest prediction to the highest."
    picture = charts.chart(layers, f"predicted{unit}", f"actual - predicted{unit}")
    return figure("Residuals by prediction", picture, about)


# ---- Forecasts


def _coverage(labels: Floats, scores: Floats) -> Element:
    below = (labels[:, None] <= scores[:, 1:SERIES]).mean(axis=0).tolist()
    layers = [
        Layer("values", list(zip(FORECAST_QUANTILES, below, strict=True))),
        Layer("as forecast", [(0.0, 0.0), (1.0, 1.0)], LIMIT, "4 3"),
    ]
    about = f"Of {labels.size:,} values. Above the line the forecasts were too high, below it too low."
    return figure("Coverage", charts.chart(layers, "quantile", "share of values below it"), about)


# ---- Classification


def _of_classes(labels: Rows, scores: Floats, classes: Sequence[str]) -> list[Element]:
    predictions = predicted_classes(scores)
    names = [(number, text(name, MAX_NAME)) for number, name in enumerate(classes)]
    matrix = [_confusion(labels, predictions, names)] if len(classes) <= MAX_MATRIX else []
    sure = scores[np.arange(labels.size), predictions]
    calibration = _calibration((labels == predictions).astype(np.float64), sure, "the predicted class")
    return [*matrix, _each_class(labels, predictions, names), calibration]


def _confusion(labels: Floats | Rows, predictions: Floats | Rows, classes: Sequence[tuple[int, str]]) -> Element:
    rows = []
    for actual, name in classes:
        of_class = int((labels == actual).sum())
        cells = [int(((labels == actual) & (predictions == predicted)).sum()) for predicted, _ in classes]
        shares = [f"{count:,} ({count / of_class:.1%})" if of_class else "0" for count in cells]
        rows.append((f"actual {name}", *shares, f"{of_class:,}"))
    headings = ("", *(f"predicted {name}" for _, name in classes), "rows")
    return figure("Confusion matrix", table(headings, rows), "Shares of the actual class.")


def _each_class(labels: Rows, predictions: Rows, classes: Sequence[tuple[int, str]]) -> Element:
    rows = []
    for place, name in classes:
        actual, predicted = labels == place, predictions == place
        hits, counts = int((actual & predicted).sum()), (int(actual.sum()), int(predicted.sum()))
        shares = [f"{hits / count:.1%}" if count else "" for count in counts]
        confused = np.bincount(predictions[actual & ~predicted], minlength=len(classes))
        other = f"{classes[int(confused.argmax())][1]} ({confused.max():,})" if confused.any() else ""
        rows.append((name, *(f"{count:,}" for count in counts), *shares, other))
    headings = ("class", "rows", "predicted", "recall", "precision", "most often taken for")
    return figure("Classes", table(headings, rows))


def _calibration(labels: Floats, scores: Floats, of: str) -> Element:
    parts = _parts(scores)
    points = [(float(scores[part].mean()), float(labels[part].mean())) for part in parts]
    layers = [
        Layer("rows", points),
        Layer("as predicted", [(0.0, 0.0), (1.0, 1.0)], LIMIT, "4 3"),
    ]
    about = f"{len(parts)} parts of {labels.size:,} rows, by their probability. Below the line it was too high."
    return figure("Calibration", charts.chart(layers, f"predicted probability of {of}", f"share of {of}"), about)


def _by_class(labels: Floats, scores: Floats) -> Element:
    edges = np.linspace(0, 1, BINS + 1)
    layers = []
    for actual, color, dashes in ((0, THEN, "5 3"), (1, NOW, None)):
        of_class = scores[labels == actual]
        if of_class.size:
            shares = np.histogram(of_class, edges)[0] / of_class.size
            layers.append(Layer(f"actual {actual}", charts.steps(edges.tolist(), shares.tolist()), color, dashes))
    picture = charts.chart(layers, "predicted probability of 1", "share of the class")
    return figure("Scores by class", picture, "The further apart, the better the model tells the classes.")


# ---- Both


def _parts(scores: Floats) -> list[np.ndarray]:
    """Return the rows in PARTS parts of about as many, ordered by their score: fewer where there are few rows."""
    return np.array_split(np.argsort(scores, kind="stable"), max(1, min(PARTS, scores.size // 10)))


def _bounds(values: Floats) -> tuple[float, float]:
    low, high = (float(bound) for bound in np.percentile(values, (TAIL, 100 - TAIL)))
    return (low, high) if low < high else (float(values.min()), float(values.max()))


def _histogram(values: Floats) -> tuple[list[float], list[float]]:
    """Return edges and shares of rows; the outermost bins hold whatever lies outside."""
    low, high = _bounds(values)
    wider = max(abs(low), 1.0) * 0.05 if low == high else 0.0
    edges = np.linspace(low - wider, high + wider, BINS + 1)
    counts, _ = np.histogram(np.clip(values, edges[0], edges[-1]), edges)
    return edges.tolist(), (counts / values.size).tolist()


def _on_grid(values: Floats, low: float, high: float) -> Floats:
    """Return values moved to the middle of their part of the axis."""
    step = (high - low) / GRID or 1.0
    return np.asarray(low + step * (np.minimum((values - low) // step, GRID - 1) + 0.5), np.float64)


def _points(x: Floats, y: Floats) -> Sequence[Point]:
    return list(zip(x.tolist(), y.tolist(), strict=True))
