"""The report of a run, drawn of what the run left in the bucket. Nobody's run or mail fails for it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from aws_lambda_powertools import Logger

from perennial.runs.run_record import RunRecord
from perennial_aws import champion, objects, runs
from perennial_aws.clients import client

logger = Logger(child=True)

ATTRIBUTION = "baselines/attribution/analysis.json"

MAX_BYTES = 30_000_000  # of a document: a larger one is left out
MAX_PREDICTIONS = 8_000_000  # bytes, some 200,000 rows; of more the first are drawn


def leave(record: RunRecord, contract: Mapping[str, Any] | None, name: str = "report.html") -> str | None:
    """Write the report of a run and return its address; None where it could not be drawn, and the log says why."""
    folder = f"s3://{record['bucket']}/runs/{record['run_id']}"
    try:
        from perennial.model.problem_types import classes_of
        from perennial.reports import training

        there = {key for name in ("evaluation", "baselines") for key in objects.keys(f"{folder}/{name}/")}
        classes = classes_of(record["configuration"]["definition"]) if "configuration" in record else ()
        labels, scores = _predictions(f"{folder}/evaluation/predictions.csv", there, classes)
        compared, attribution = _champion(record)
        run = training.ReportedRun(
            record=record,
            contract=contract,
            labels=labels,
            scores=scores,
            statistics=_document(f"{folder}/baselines/data-quality/statistics.json", there),
            attribution=_document(f"{folder}/{ATTRIBUTION}", there),
            analysis=_document(f"{folder}/baselines/analysis/analysis.json", there),
            champion=compared,
            champion_attribution=attribution,
        )
        objects.write_page(f"{folder}/{name}", training.report(run))
    except Exception as error:
        logger.warning("the run has no report", problem=f"{type(error).__name__}: {error}", exc_info=True)
        return None
    return f"{folder}/{name}"


def _champion(record: RunRecord) -> tuple[RunRecord | None, Any]:
    """Return the record of the run of the model in service, and what the answers of that model rest on."""
    serving = record.get("champion")
    if not serving:
        return None, None
    run = champion.run_of(serving)
    folder = f"s3://{record['bucket']}/runs/{run}"
    return runs.get(run), _document(f"{folder}/{ATTRIBUTION}", set(objects.keys(f"{folder}/baselines/")))


def _document(uri: str, there: set[str]) -> Any:
    bucket, key = objects.split_uri(uri)
    if key not in there:
        return None
    answer = client("s3").get_object(Bucket=bucket, Key=key)
    return json.loads(answer["Body"].read()) if answer["ContentLength"] <= MAX_BYTES else None


def _predictions(uri: str, there: set[str], classes: Sequence[str]) -> tuple[Any, Any]:
    """Return labels and scores of the first rows, `(n_rows,)`: scores are probabilities where there are some.

    classes  of several, which are labels by their names: labels are their numbers, and scores `(n_rows, n_classes)`
    """
    bucket, key = objects.split_uri(uri)
    if key not in there:
        return None, None
    content = client("s3").get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{MAX_PREDICTIONS}")["Body"].read()
    lines = content.decode().split("\n")[:-1]  # the last is empty, or torn
    names = lines[0].split(",")
    if classes:
        from perennial.evaluation.problem_types.multiclass_classification import probability_columns

        number, columns = names.index("label"), [names.index(name) for name in probability_columns(len(classes))]
        fields = list(csv.reader(lines[1:]))
        labels = np.array([classes.index(row[number]) for row in fields], np.float64)
        return labels, np.array([[row[column] for column in columns] for row in fields], np.float64)
    rows = np.loadtxt(io.StringIO("\n".join(lines[1:])), delimiter=",", ndmin=2)
    return rows[:, names.index("label")], rows[
        :, names.index("probability" if "probability" in names else "prediction")
    ]
