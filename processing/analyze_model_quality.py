"""Measure and explain the predictions on the test set, so that later predictions can be compared with them.

Runs as    processing job, state "Baseline model quality"
Reads      --config         config.json: `model`, `definition` (problem, metrics)
           --predictions    folder of CSV parts with the header `prediction,label` and for binary classification
                            `probability` (of class 1; prediction and label are 0 or 1). For regression both are in
                            the target's unit, for multiclass classification names of classes, with `probability_0`
                            and so on for each. One row for each row of the test set, no field empty. For forecasting
                            the prediction is the mean, with `p10` to `p90` for the quantiles, a row for each period
           --test           the test set: part-*.jsonl, records by the names of their features
           --serving        preprocessor.tar.gz and model.tar.gz
           --baseline-data  the rows that train, as analyze_data_quality reads them
           models/<model>/metrics.py beside this script's folder, if the model has one
Writes     below --output
    model-quality/          statistics.json and constraints.json in Model Monitor's formats
    attribution/            analysis.json in Clarify's format, with `means` of the encoded columns; or without
                            explanations and with a `reason`, where this model cannot be explained
    bias/                   analysis.json in Clarify's format, of the facets that model.yaml names, which may be none
    analysis/               analysis.json in Clarify's format for people: all its metrics of bias, of the rows that
                            train and of the predictions, and the explanations of attribution/
Fails      with exit code 1 and the reason in --message when the rows are not as said above
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.json as pa_json

from perennial.data import baseline
from perennial.data.column_statistics import StatisticsError
from perennial.data.payload import LARGEST_LINE
from perennial.evaluation import metrics, model_quality
from perennial.evaluation.custom_metrics import OwnMetrics
from perennial.evaluation.problem_types.forecasting import quantile_columns
from perennial.evaluation.problem_types.measures import MetricError, MetricInputError
from perennial.evaluation.problem_types.multiclass_classification import probability_columns
from perennial.model.problem_types import PROBLEM_TYPES, classes_of
from perennial.monitoring import analysis, bias
from perennial.monitoring.analysis import OutcomeCounter, Outcomes
from perennial.monitoring.facets import FacetCounter, Sides, section_of
from processing import contributions, job_script, own_code

COLUMNS = ("prediction", "label", "probability")
ARROW_TYPES = {"float": pa.float64(), "integer": pa.int64(), "boolean": pa.bool_(), "string": pa.string()}
BLOCK_BYTES = 2 * LARGEST_LINE


def main(argv: list[str] | None = None) -> int:
    """Run the job; return its exit code."""
    about = "Measure and explain the predictions on the test set."
    folders = {"predictions": "predictions", "test": "test", "serving": "serving", "baseline_data": "baseline"}
    arguments = job_script.paths(argv, about, **folders)
    config = json.loads(arguments.config.read_text())
    definition = config["definition"]
    try:
        with own_code.metrics(config) as own:
            documents = measure(definition, arguments.predictions, own)
        compared, model = compare_facets(definition, arguments.predictions, arguments.test, arguments.serving)
        data = count_training_rows(definition, arguments.baseline_data)
    except (MetricError, StatisticsError) as error:
        return job_script.refuse(f"The baseline of the model cannot be computed: {error}", arguments.message)
    job_script.write_documents(documents, arguments.output / "model-quality", indent=2)
    job_script.write_documents({"analysis": compared}, arguments.output / "bias", indent=2)
    print(f"measured {documents['statistics']['dataset']['item_count']} predictions")
    for name, why in own.failed.items():
        print(f"{name} could not be measured, and later windows have nothing to compare it with: {why}")
    explained = contributions.baseline(definition["algorithm"], arguments.serving, lines(arguments.test))
    job_script.write_documents({"analysis": explained}, arguments.output / "attribution", indent=2)
    print(explained.get("reason") or f"explained {explained['dataset']['item_count']} predictions")
    together = analysis.document(definition["target"], section_of(definition), data, model, explained)
    job_script.write_documents({"analysis": together}, arguments.output / "analysis", indent=2)
    return 0


def measure(definition: dict[str, Any], folder: Path, own: OwnMetrics) -> dict[str, dict[str, Any]]:
    """Return both documents by name. Raises MetricInputError: the predictions are not sound."""
    problem = definition["problem"]
    classes = classes_of(definition)
    columns = read(folder, classes, series_of(definition))
    rows = metrics.checked(problem, *_measured(columns, classes, series_of(definition)))
    statistics = model_quality.statistics(
        problem,
        columns["label"],
        columns["prediction"],
        columns.get("probability"),
        evaluation_time=datetime.now(UTC),
        own={**model_quality.of_gate(definition, *rows), **own.described(*rows)},
    )
    constraints = model_quality.constraints(problem, statistics, own.directions)
    return {"statistics": statistics, "constraints": constraints}


def series_of(definition: dict[str, Any]) -> bool:
    """Return whether the predictions are forecasts of series."""
    return PROBLEM_TYPES[definition["problem"]].is_series


def _measured(columns: dict[str, npt.NDArray[Any]], classes: Sequence[str], is_series: bool) -> tuple[Any, Any]:
    """Return labels and scores as metrics take them."""
    if is_series:
        forecast = [columns[name] for name in ("prediction", *quantile_columns())]
        return columns["label"], np.column_stack([*forecast, np.zeros_like(forecast[0])])  # of no known series
    if not classes:
        return columns["label"], columns.get("probability", columns["prediction"])
    probabilities = [columns[name] for name in probability_columns(len(classes))]
    return _numbers(columns["label"], classes), np.column_stack(probabilities)


def lines(folder: Path) -> Iterator[bytes]:
    """Yield the records of all parts of a test set."""
    for path in sorted(folder.rglob("*.jsonl")):
        with path.open("rb") as file:
            yield from file


def compare_facets(
    definition: dict[str, Any], predictions: Path, test: Path, serving: Path
) -> tuple[dict[str, Any], list[Outcomes]]:
    """Return how outcomes differ between facets and all others: the baseline of bias, and all that is counted.

    Raises MetricInputError: the files do not fit.
    """
    counter = outcome_counter(definition)
    facets, flipped = counter.facets, list[float | str]()
    if facets.rules:
        columns, table = read(predictions, facets.classes), pa.concat_tables(read_facets(definition, counter, test))
        if table.num_rows != columns["label"].size:
            raise MetricInputError(
                f"{columns['label'].size} predictions for {table.num_rows} test records; expected as many"
            )
        labels, answers = (_numbers(columns[name], facets.classes) for name in ("label", "prediction"))
        sides = counter.add(table, labels, answers)
        flipped = flips(definition, sides, facets.are_positive(answers), test, serving)
    outcomes = counter.outcomes(flipped)
    counts = [one.as_counts for one in outcomes]
    return bias.analysis(definition["target"], section_of(definition), counts), outcomes


def outcome_counter(definition: dict[str, Any]) -> OutcomeCounter:
    """Return a counter of the facets that a definition names."""
    return OutcomeCounter(FacetCounter(definition), section_of(definition).get("group"))


def read_facets(definition: dict[str, Any], counter: OutcomeCounter, test: Path) -> Iterator[pa.Table]:
    """Yield the facets' columns of each part of the test set, in the order of the predictions."""
    schema = pa.schema({name: ARROW_TYPES[definition["columns"][name]["type"]] for name in counter.columns})
    parsing = pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
    for path in sorted(test.rglob("*.jsonl")):
        yield pa_json.read_json(path, pa_json.ReadOptions(block_size=BLOCK_BYTES), parsing)


def flips(
    definition: dict[str, Any], sides: Sides, answers: npt.NDArray[np.bool_], test: Path, serving: Path
) -> list[float | str]:
    """Return the flip test of each facet, of at most FLIP_ROWS test rows, or why it has no value.

    A facet's own column is not among the features.
    """
    rows, rules = len(sides), section_of(definition)["facets"]
    if definition.get("preprocessing") == "none":
        return ["the columns are not encoded, so that nothing says which records are near"] * len(rules)
    chosen = np.unique(np.linspace(0, rows - 1, analysis.FLIP_ROWS).astype(np.int64))
    wanted = set(chosen.tolist())
    try:
        preprocessor = contributions.load_preprocessor(serving)
        some = (line for number, line in enumerate(lines(test)) if number in wanted)
        encoded = contributions.encode_lines(preprocessor, some)
    except contributions.UnexplainedError as error:
        return [str(error)] * len(rules)
    belongs = np.array(contributions.encoded_columns(preprocessor))
    return [
        analysis.flip_test(encoded[:, belongs != rule["column"]], sides[chosen, place], answers[chosen])
        for place, rule in enumerate(rules)
    ]


def count_training_rows(definition: dict[str, Any], folder: Path) -> list[Outcomes]:
    """Return the outcomes of the rows that train. Raises StatisticsError: they cannot be read."""
    counter, target = outcome_counter(definition), definition["target"]
    facets, classes = counter.facets, counter.facets.classes
    if facets.rules:
        types = {name: ARROW_TYPES[definition["columns"][name]["type"]] for name in counter.columns}
        types[target] = pa.string() if classes else ARROW_TYPES[definition["columns"][target]["type"]]
        for batch in baseline.batches(sorted(folder.rglob("*.csv")), types):
            table = pa.Table.from_batches([batch])
            labels = table[target].combine_chunks()
            numbers = pc.index_in(labels, pa.array(classes)) if classes else labels
            counter.add(table, np.asarray(numbers.cast(pa.float64(), safe=False)))
    return counter.outcomes([""] * len(facets.rules))


def _numbers(outcomes: npt.NDArray[Any], classes: Sequence[str]) -> npt.NDArray[np.float64]:
    """Return outcomes as numbers, which classes have where they have names."""
    return np.array([classes.index(name) for name in outcomes], np.float64) if classes else outcomes


def read(folder: Path, classes: Sequence[str], is_series: bool = False) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of all parts, `(n_rows,)` each: numbers, or names of classes where these have some."""
    parts = sorted(path for path in folder.rglob("*.csv") if path.is_file())
    if not parts:
        raise MetricInputError(f"there is no CSV file below {folder}; expected at least one part with a header")
    tables = [read_part(path, classes, is_series) for path in parts]
    for path, table in zip(parts, tables, strict=True):
        if set(table) != set(tables[0]):
            raise MetricInputError(f"{path.name} has the columns {sorted(table)}, {parts[0].name} {sorted(tables[0])}")
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def read_part(path: Path, classes: Sequence[str], is_series: bool = False) -> dict[str, npt.NDArray[Any]]:
    """Return the columns of one part that this job knows."""
    more = quantile_columns() if is_series else []
    named, numbers = (
        (("prediction", "label"), probability_columns(len(classes))) if classes else ((), [*COLUMNS, *more])
    )
    types = {**dict.fromkeys(named, pa.string()), **dict.fromkeys(numbers, pa.float64())}
    converting = pa_csv.ConvertOptions(column_types=types, null_values=[""])
    try:
        table = pa_csv.read_csv(path, convert_options=converting)
    except pa.ArrowInvalid as error:
        raise MetricInputError(f"{path.name}: {error}") from error
    needed = types if classes else ("prediction", "label", *more)
    missing = [name for name in needed if name not in table.column_names]
    if missing:
        raise MetricInputError(
            f"{path.name} has the columns {table.column_names}; expected {' and '.join(missing)} too"
        )
    known = {name: table.column(name).to_numpy() for name in types if name in table.column_names}
    for name, values in known.items():
        bad = np.flatnonzero(~np.isin(values, classes) if name in named else np.isnan(values))
        if bad.size:
            expected = f"none of the classes {', '.join(classes)}" if name in named else "not a number"
            raise MetricInputError(f"{path.name}: {name} is empty or {expected} in row {bad[0] + 1} of {values.size}")
    return known


if __name__ == "__main__":
    job_script.leave_out_pandas(but_for_hooks=True)
    sys.exit(main())
