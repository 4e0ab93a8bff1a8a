"""How often the monitor raises a window, by what has changed in it: the measurement behind decision 0026.

    python -m bench.bench_drift [--windows 200] [--write]

Made-up records of 12 features: 8 of numbers (normal, skewed, heavy-tailed, whole, few values, yes or no), 4 of texts
(two, five, 40 and 400 values, the last rare), and a target that follows from them. Each window has a baseline of its
own, 2,000 rows drawn anew, so that a baseline that is unusual itself counts as often as it comes. A window is raised
when its verdict is Drift or BadData, with the defaults of model.yaml. Beside it is Model Monitor's documented distance
(method Robust, threshold 0.1) on the same columns: it raises a window when one of them is above. Evidently gets the
same baselines and windows (the first MOST_WINDOWS of each kind and size, as each takes it longer), and tells by the
defaults of its preset for data drift whether any column has drifted, and whether the data set has
(bench.evidently_peer). It runs in the Python of the image, beside which `make bench-drift` installs Evidently.

Columns without a unit that are so many times what they were, for another reason than their unit, are taken for another
unit by some windows; so are those whose unit has changed, and should be.

Bias is judged on its own, as one analysis of three: of two facets, a text and a number, against TESTED rows. Outcomes
are positive above about the middle. Beside it is Model Monitor's documented rule: a metric is farther from no bias than
its constraint, which is the baseline's value.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bench.table import Row, finish
from perennial.data import units
from perennial.data.column_statistics import NumericColumn, StringColumn, constraints, statistics
from perennial.data.distributions import distribution
from perennial.evaluation import model_quality as measured
from perennial.evaluation.custom_metrics import OwnMetrics
from perennial.model.definition import Monitoring, Quality
from perennial.monitoring import bias, data_quality, model_quality
from perennial.monitoring.facets import FacetCounter, FacetCounts
from perennial.monitoring.findings import WindowFinding, verdict_of

Floats = npt.NDArray[np.float64]
Columns = dict[str, npt.NDArray[Any]]

BASELINE, TESTED = 2_000, 500
SIZES = (100, 1_000, 10_000, 100_000)
FEWER = {10_000: 4, 100_000: 20}  # windows of these sizes, so many times
MOST_WINDOWS = 20  # windows of each kind and size that Evidently is asked about
NOISE = 0.5
TEXTS = {"two": 2, "five": 5, "forty": 40, "rare": 400}
MONITORED, INVALID = Monitoring(), Quality().max_invalid_share
DEFINITION = {"problem": "regression", "gate": {"metric": "rmse"}}
TIME = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Sample:
    """Records, what came true of them, and what the model had said."""

    columns: Columns
    labels: Floats
    scores: Floats

    def part(self, rows: npt.NDArray[Any]) -> Sample:
        return Sample(
            {name: values[rows] for name, values in self.columns.items()}, self.labels[rows], self.scores[rows]
        )


def drawn(rows: int, random: np.random.Generator) -> Sample:
    """Return records of the world as it was when the model was trained."""
    columns: Columns = {
        "normal": random.normal(50, 10, rows),
        "skewed": random.lognormal(3, 0.5, rows),
        "heavy": 1000 * random.pareto(3, rows),
        "even": random.uniform(0, 1, rows),
        "gamma": random.gamma(2, 2, rows),
        "whole": random.poisson(20, rows).astype(np.float64),
        "few": random.choice([2.0, 4.0, 6.0, 8.0], rows, p=[0.1, 0.5, 0.3, 0.1]),
        "yes": (random.random(rows) < 0.3).astype(np.float64),
    }
    for name, values in TEXTS.items():
        shares = 1 / np.arange(1, values + 1)
        columns[name] = np.array([f"{name}-{value}" for value in range(values)], object)[
            random.choice(values, rows, p=shares / shares.sum())
        ]
    scores = _answers(columns)
    return Sample(columns, scores + random.normal(0, NOISE, rows), scores)


def _answers(columns: Columns) -> Floats:
    """Return what the model has learned, which was all that there is to learn."""
    return np.asarray(
        (columns["normal"].astype(np.float64) - 50) / 10 + np.log(np.abs(columns["skewed"].astype(np.float64))) - 3
        + (columns["five"] == "five-0") + 0.3 * (columns["few"].astype(np.float64) == 4), np.float64,
    )  # fmt: skip


def _with(sample: Sample, name: str, values: npt.NDArray[Any]) -> Sample:
    columns = {**sample.columns, name: values}
    return Sample(columns, sample.labels, sample.scores)


def _some(values: npt.NDArray[Any], share: float, by: Any, random: np.random.Generator) -> npt.NDArray[Any]:
    return np.where(random.random(values.size) < share, np.array([by], object), values)


def _more_of_high(rows: int, random: np.random.Generator) -> Sample:
    """Twice as many of the half with the higher labels: what people ask for has changed, not what it is worth."""
    pool = drawn(3 * rows, random)
    weights = np.where(pool.labels > np.median(pool.labels), 2.0, 1.0)
    return pool.part(random.choice(pool.labels.size, rows, replace=False, p=weights / weights.sum()))


Change = Callable[[Sample, np.random.Generator], Sample]
CHANGES: dict[str, tuple[str, Change]] = {
    "none": ("Healthy", lambda sample, _: sample),
    "mean": ("Drift", lambda sample, _: _with(sample, "normal", sample.columns["normal"] + 5)),
    "scale": ("Drift", lambda sample, _: _with(sample, "normal", (sample.columns["normal"] - 50) * 1.5 + 50)),
    "new category": ("Drift", lambda sample, random: _with(
        sample, "five", _some(sample.columns["five"], 0.05, "five-new", random))),
    "missing values": ("BadData", lambda sample, random: _with(
        sample, "gamma", _some(sample.columns["gamma"], 0.2, np.nan, random).astype(np.float64))),
    "unit": ("BadData", lambda sample, _: _with(sample, "skewed", sample.columns["skewed"] * 1.609344)),
    "label shift": ("Drift", lambda sample, random: _more_of_high(sample.labels.size, random)),
    "concept change": ("Drift", lambda sample, random: Sample(
        sample.columns, sample.labels + 0.5 * (sample.columns["five"] == "five-0"), sample.scores)),
}  # fmt: skip


def described(sample: Sample, *, with_labels: bool) -> list[Any]:
    """Return the columns' statistics."""
    described_columns: list[Any] = []
    for name, values in {**({"target": sample.labels} if with_labels else {}), **sample.columns}.items():
        column: Any
        if values.dtype == object:
            column = StringColumn(name)
            column.add(Counter(values.tolist()).items())
        else:
            column = NumericColumn(name, integral=False)
            column.add(values.astype(np.float64))
        described_columns.append(column)
    return described_columns


def made(rows: int, change: Change, seed: int) -> tuple[Sample, Sample, Sample]:
    """Return the rows that were trained on, those that were tested, and a window."""
    random = np.random.default_rng([rows, seed])
    trained, tested = drawn(BASELINE, random), drawn(TESTED, random)
    return trained, tested, change(drawn(rows, random), random)


def evidently_judges(rows: int, what: str, seed: int) -> tuple[bool, bool]:
    """Return what Evidently says of the same window: a column has drifted, the data set has."""
    from bench import evidently_peer  # installed for the benchmark alone

    trained, _, window = made(rows, CHANGES[what][1], seed)
    sides = ({**sample.columns, "target": sample.labels} for sample in (trained, window))
    return evidently_peer.drifted(*sides)


def judged(rows: int, what: str, seed: int) -> tuple[str, bool]:
    """Return the verdict on one window, and whether Model Monitor's distance would raise it."""
    trained, tested, window = made(rows, CHANGES[what][1], seed)
    columns = described(trained, with_labels=True)
    records = data_quality.WindowRecords(statistics(described(window, with_labels=True)), rows, len(window.columns))
    section, rate = MONITORED.data_quality, MONITORED.false_alarm_rate / 2
    limits = data_quality.DataLimits(section.distance, section.stability, section.missing, INVALID, rate)
    data = data_quality.judge(statistics(columns), constraints(columns), records, limits)
    before = measured.statistics("regression", tested.labels, tested.scores, evaluation_time=TIME)
    model = model_quality.judge(
        DEFINITION, before, measured.constraints("regression", before), window.labels, window.scores,
        model_quality.ModelLimits(MONITORED.model_quality.max_drop, rate), TIME, OwnMetrics.none("regression"),
    )  # fmt: skip
    findings: list[WindowFinding] = [*data.findings, *model.findings]
    robust = max(one.distance.robust for one in data.columns if one.distance)
    return verdict_of(findings), robust > 0.1


def _worse_for(members: str, by: float) -> Change:
    """Let the model answer so many of its standard deviations less for one value of the text `two`."""

    def change(sample: Sample, _: np.random.Generator) -> Sample:
        return Sample(
            sample.columns, sample.labels, sample.scores - by * sample.scores.std() * (sample.columns["two"] == members)
        )

    return change


BIAS_CHANGES: dict[str, Change] = {
    "none": CHANGES["none"][1],
    "scores of a facet": _worse_for("two-1", 0.5),
}
FACETS = {
    "enabled": True,
    "facets": [
        {"column": "two", "values": ["two-1"], "above": None}, {"column": "normal", "values": None, "above": 55.0},
    ],
    "positive": {"values": None, "above": 0.8},
}  # fmt: skip


def facets_of(sample: Sample) -> list[FacetCounts]:
    counter = FacetCounter({"problem": "regression", "monitoring": {"bias": FACETS}})
    sides = counter.sides(pa.table({name: pa.array(sample.columns[name].tolist()) for name in ("two", "normal")}))
    counter.add(sides)
    counter.add_labels(sides, sample.labels)
    counter.add_scores(sides, sample.scores)
    return counter.facets


def judged_bias(rows: int, change: Change, seed: int) -> tuple[bool, bool]:
    """Return whether one window's bias has grown, by us and by Model Monitor's documented rule."""
    random = np.random.default_rng([rows, seed])
    tested, window = drawn(TESTED, random), change(drawn(rows, random), random)
    baseline = bias.analysis("target", FACETS, facets_of(tested))
    limits, rate = MONITORED.bias.max_increase.model_dump(), MONITORED.false_alarm_rate / 3
    judged_facets = bias.judge(baseline, facets_of(window), limits, rate)
    return bool(judged_facets.findings), any((one.increase or 0) > 0 for one in judged_facets.results)


def bias_rows(windows: int) -> Iterator[Row]:
    """Yield the shares of windows whose bias counts as grown."""
    for what, change in BIAS_CHANGES.items():
        for size in SIZES:
            count = max(1, windows // FEWER.get(size, 1))
            verdicts = [judged_bias(size, change, seed) for seed in range(count)]
            raised, peer = (100 * sum(column) / count for column in zip(*verdicts, strict=True))
            print(f"bias, {what:15} {size:7,}  raised {raised:5.1f} %  Model Monitor {peer:5.1f} %", flush=True)
            yield Row(f"bias: {what}, {size:,} records", raised, "%", peers={"Model Monitor": peer})


# ---- Units


SCALED = ("normal", "skewed", "even", "gamma")  # columns without a unit in model.yaml
DEARER = (1.3, 1.5, 2.0, 3.0)  # what the world may become, and no unit is


def taken_for_a_unit(rows: int, factor: float, name: str, seed: int) -> bool:
    """Return whether a column that is so many times what it was is taken for one in another unit."""
    trained, _, window = made(rows, lambda sample, _: sample, seed)
    before, after = (NumericColumn(name, integral=False) for _ in range(2))
    before.add(trained.columns[name])
    after.add(window.columns[name] * factor)
    one, other = (distribution(column.statistics()["numerical_statistics"]) for column in (before, after))
    return units.change(one, other, (BASELINE, rows), MONITORED.data_quality.distance) is not None


def unit_rows(windows: int) -> Iterator[Row]:
    """Yield how often a dearer world is taken for another unit, and how often another unit is known as one."""
    factors = [one.factor for one in units.CONVERSIONS if not one.offset] + [1_000.0]
    for what, of, sizes in (("dearer, taken for", DEARER, (100, 200, 1_000)), ("known as", factors, (1_000,))):
        for size in sizes:
            taken = [
                taken_for_a_unit(size, factor, name, seed)
                for factor in of
                for name in SCALED
                for seed in range(windows // 10)
            ]
            yield Row(f"{what} another unit, {size:,} records", 100 * sum(taken) / len(taken), "%")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the shares of windows that are raised; return 1 when a bound is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--windows", type=int, default=200, help="of each kind and size up to 10,000 rows")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmark.md")
    arguments = parser.parse_args(argv)
    with ProcessPoolExecutor() as pool:
        rows = [*drift_rows(arguments.windows, pool), *bias_rows(arguments.windows), *unit_rows(arguments.windows)]
    text = (
        f"Share of windows raised. Model Monitor: its documented rule. Evidently {version('evidently')}: of up to "
        f"{MOST_WINDOWS} of the same windows, by the defaults of its DataDriftPreset."
    )
    return finish("drift", text, rows, arguments.write)


def drift_rows(count: int, pool: ProcessPoolExecutor) -> Iterator[Row]:
    """Yield the shares of windows that are raised, by what has changed in them."""
    for what, (right, _) in CHANGES.items():
        for size in SIZES:
            windows = max(1, count // FEWER.get(size, 1))
            verdicts = list(pool.map(partial(judged, size, what), range(windows)))
            raised = 100 * sum(verdict != "Healthy" for verdict, _ in verdicts) / windows
            rightly = 100 * sum(verdict == right for verdict, _ in verdicts) / windows
            peer = 100 * sum(robust for _, robust in verdicts) / windows
            answers = list(pool.map(partial(evidently_judges, size, what), range(min(windows, MOST_WINDOWS))))
            column, data_set = (100 * sum(each) / len(answers) for each in zip(*answers, strict=True))
            print(
                f"{what:15} {size:7,}  raised {raised:5.1f} %  as {right} {rightly:5.1f} %  robust {peer:5.1f} %  "
                f"Evidently {column:5.1f} %, data set {data_set:5.1f} %",
                flush=True,
            )
            peers = {"Model Monitor": peer, "Evidently, any column": column, "Evidently, data set": data_set}
            yield Row(f"{what}, {size:,} records", raised, "%", peers=peers)


if __name__ == "__main__":
    sys.exit(main())
