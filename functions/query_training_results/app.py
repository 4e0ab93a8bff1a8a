"""Measure the candidate and the model in service on the same test set, and judge.

Called by  train_model, state "Query training results".
Input      {"RunId": str, "Prefix": "s3://bucket/runs/<run id>", "Problem": str, "Gate": {"Metric", "Direction",
           "Threshold", "MinimumImprovement"}, "TrainingJobName": str, "CandidatePredictions": "s3://...",
           "ChampionPredictions": "s3://..." | None}
Output     {"Metric": str, "Candidate": float | None, "Champion": float | None, "CandidateInterval": [low, high] | None,
           "ChampionInterval": ..., "MeetsThreshold": bool, "BeatsChampion": bool | None, "Accepted": bool,
           "Reason": str, "TrainingMetrics": {name: float}}; metrics are in the target's unit or without one
Writes     evaluation/evaluation.json, evaluation/predictions.csv (for the model-quality baseline), the run record
Raises     MetricMissingError: the training job did not report a metric that it was told to. PredictionsError: the
           predictions do not fit the test rows. Both permanent.
"""

from __future__ import annotations

import hashlib
import math
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import IO, Any

import numpy as np
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from perennial_aws import objects, runs
from perennial_aws.clients import client

from perennial import gate, metrics, predictions
from perennial.predictions import Floats
from perennial.record import json_safe

logger = Logger()
published = Metrics()


class MetricMissingError(Exception):
    """A training job has no metric of the name that it was told to report."""


@dataclass(frozen=True)
class Measured:
    """What a model's predictions are worth. `why` says why the gate's metric has no value, when it has none."""

    metrics: dict[str, float] = field(default_factory=dict)
    value: float | None = None
    interval: tuple[float, float] | None = None
    why: str = ""


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Read, measure, judge, and leave the evaluation where people and baselines find it."""
    wanted, seed = _gate(event["Gate"]), _seed(event["RunId"])
    training = _training_metrics(event)
    truth, candidate_scores = _test_set(event["Prefix"], event["CandidatePredictions"])
    candidate = _measure(event["Problem"], wanted.metric, truth, candidate_scores, seed)
    champion, difference = None, None
    if event.get("ChampionPredictions"):
        _, champion_scores = _test_set(event["Prefix"], event["ChampionPredictions"])
        champion = _measure(event["Problem"], wanted.metric, truth, champion_scores, seed)
        difference = _difference(wanted.metric, truth, candidate_scores, champion_scores, seed)
    verdict = gate.judge(wanted, candidate.value, _to_beat(champion))
    whys = [measured.why for measured in (candidate, champion) if measured and measured.why]
    reason = ": ".join([verdict.reason, *whys])
    result = _result(wanted.metric, candidate, champion, verdict, reason, training)
    _write_predictions(event["Prefix"], event["Problem"], truth, candidate_scores)
    _record(event, wanted, result, candidate, champion, difference, truth.size)
    _publish(result)
    return result


def _gate(given: dict[str, Any]) -> gate.Gate:
    return gate.Gate(given["Metric"], given["Direction"], given["Threshold"], given["MinimumImprovement"])


def _to_beat(champion: Measured | None) -> float | None:
    """The metric of the model in service; NaN when there is one whose predictions have none."""
    if champion is None:
        return None
    return math.nan if champion.value is None else champion.value


def _seed(run_id: str) -> int:
    """The same run measures the same intervals, however often it asks."""
    return int.from_bytes(hashlib.sha256(run_id.encode()).digest()[:4])


# Reading


def _training_metrics(event: dict[str, Any]) -> dict[str, float]:
    """The last value of each metric that the training job reported, by name."""
    job = client("sagemaker").describe_training_job(TrainingJobName=event["TrainingJobName"])
    reported = {item["MetricName"]: float(item["Value"]) for item in job.get("FinalMetricDataList", [])}
    if not reported:  # whether the service collects metrics of every version of its images is not certain
        logger.warning("the training job's metrics were not collected", job=event["TrainingJobName"])
        return {}
    expected = objects.read_json(f"{event['Prefix']}/config.json")["training_metrics"]
    missing = [name for name in expected if not math.isfinite(reported.get(name, math.nan))]
    if missing:
        raise MetricMissingError(
            f"training job {event['TrainingJobName']} reported no metric {', '.join(missing)}; "
            f"it reported {', '.join(f'{name} {value:g}' for name, value in sorted(reported.items()))}"
        )
    return reported


def _test_set(prefix: str, predicted: str) -> tuple[Floats, Floats]:
    """(labels, scores) of all parts, `(n_rows,)` each; every part of the test set must have its predictions."""
    parts = list(_parts(prefix, predicted))
    if not parts:
        raise predictions.PredictionsError(f"{prefix}/labels/ holds no part; expected the labels of the test rows")
    truth, scores = zip(*parts, strict=True)
    return np.concatenate(truth), np.concatenate(scores)


def _parts(prefix: str, predicted: str) -> Iterator[tuple[Floats, Floats]]:
    bucket, folder = objects.split_uri(f"{predicted.rstrip('/')}/")
    there = {key.removeprefix(folder) for key in objects.keys(f"s3://{bucket}/{folder}")}
    for key in objects.keys(f"{prefix}/labels/"):
        part = key.rsplit("/", 1)[-1].removesuffix(".csv")
        name = f"{part}.jsonl.out"
        if name not in there:
            raise predictions.PredictionsError(f"s3://{bucket}/{folder}{name} is missing; there are labels for it")
        truth = predictions.labels(objects.lines(bucket, key), key)
        scores = predictions.scores(objects.lines(bucket, folder + name), folder + name)
        predictions.require_same_length(truth, scores, folder + name)
        yield truth, scores


# Measuring


def _measure(problem: str, name: str, truth: Floats, scores: Floats, seed: int) -> Measured:
    try:
        values = metrics.evaluate(problem, truth, scores)
    except metrics.MetricInputError as error:
        return Measured(why=str(error))
    try:
        interval = metrics.bootstrap_interval(name, truth, scores, seed=seed)
    except metrics.UndefinedMetricError as error:
        return Measured(values, values[name], None, str(error))
    return Measured(values, values[name], interval)


def _difference(name: str, truth: Floats, candidate: Floats, champion: Floats, seed: int) -> tuple[float, float] | None:
    """Candidate minus champion, in the metric's unit: an interval without zero tells the two apart."""
    try:
        return metrics.bootstrap_difference(name, truth, candidate, champion, seed=seed)
    except metrics.MetricError:
        return None


def _result(
    name: str,
    candidate: Measured,
    champion: Measured | None,
    verdict: gate.Verdict,
    reason: str,
    training: dict[str, float],
) -> dict[str, Any]:
    result = {
        "Metric": name,
        "Candidate": candidate.value,
        "Champion": champion.value if champion else None,
        "CandidateInterval": candidate.interval,
        "ChampionInterval": champion.interval if champion else None,
        "MeetsThreshold": verdict.meets_threshold,
        "BeatsChampion": verdict.beats_champion,
        "Accepted": verdict.accepted,
        "Reason": reason,
        "TrainingMetrics": training,
    }
    return dict(json_safe(result))


# Leaving it behind


def _write_predictions(prefix: str, problem: str, truth: Floats, scores: Floats) -> None:
    bucket, key = objects.split_uri(f"{prefix}/evaluation/predictions.csv")
    with tempfile.TemporaryFile("w+b") as file:
        (_binary if problem == "binary_classification" else _regression)(file, truth, scores)
        file.seek(0)
        client("s3").upload_fileobj(file, bucket, key, ExtraArgs={"ContentType": "text/csv"})


def _regression(file: IO[bytes], truth: Floats, scores: Floats) -> None:
    file.write(b"prediction,label\n")
    for score, label in zip(scores, truth, strict=True):
        file.write(f"{predictions.decimal(score)},{predictions.decimal(label)}\n".encode())


def _binary(file: IO[bytes], truth: Floats, scores: Floats) -> None:
    file.write(b"prediction,label,probability\n")
    for predicted, label, score in zip(metrics.predicted_labels(scores), truth, scores, strict=True):
        file.write(f"{int(predicted)},{int(label)},{predictions.decimal(score)}\n".encode())


def _record(
    event: dict[str, Any],
    wanted: gate.Gate,
    result: dict[str, Any],
    candidate: Measured,
    champion: Measured | None,
    difference: tuple[float, float] | None,
    rows: int,
) -> None:
    measured = {
        "test_rows": rows,
        "candidate": candidate.metrics,
        "champion": champion.metrics if champion else None,
        "candidate_interval": candidate.interval,
        "champion_interval": champion.interval if champion else None,
        "difference_interval": difference,
        "training": result["TrainingMetrics"],
    }
    judged = {
        **asdict(wanted),
        "candidate": result["Candidate"],
        "champion": result["Champion"],
        "meets_threshold": result["MeetsThreshold"],
        "beats_champion": result["BeatsChampion"],
        "accepted": result["Accepted"],
        "reason": result["Reason"],
    }
    document = {"run_id": event["RunId"], "problem": event["Problem"], "metrics": measured, "gate": judged}
    objects.write_json(f"{event['Prefix']}/evaluation/evaluation.json", document)
    runs.update(event["RunId"], metrics=measured, gate=judged)


def _publish(result: dict[str, Any]) -> None:
    """CloudWatch takes no null: what could not be measured is not published."""
    published.add_dimension("Metric", result["Metric"])
    for name in ("Candidate", "Champion"):
        if result[name] is not None:
            published.add_metric(f"{name}Metric", MetricUnit.NoUnit, result[name])
    published.add_metric("CandidateAccepted", MetricUnit.Count, int(result["Accepted"]))
    published.flush_metrics()
    logger.info("judged", accepted=result["Accepted"], reason=result["Reason"])
