"""Measure the candidate and the model in service on the same test set, and judge.

Called by  train_model, state "Query training results".
Input      {"RunId": str, "Prefix": "s3://bucket/runs/<run id>", "Problem": str, "Gate": {"Metric", "Direction",
           "Threshold", "MinimumImprovement", "MaximumRegression", "MinimumUnseenRows", "WithoutComparison"},
           "TrainingJobName": str, "CandidatePredictions": "s3://...", "ChampionPredictions": "s3://..." | None,
           "Champion": {"ModelName", "RunId", ...} | None, "ChampionTest": "s3://...", the records that it answered}
Output     {"Metric": str, "Candidate": float | None, "Champion": float | None, "CandidateInterval": [low, high] | None,
           "ChampionInterval": ..., "MeetsThreshold": bool, "BeatsChampion": bool | None, "Accepted": bool,
           "Reason": str, "TrainingMetrics": {name: float}}; metrics are in the target's unit or without one.
           The candidate's are of all test rows, the champion's of those that it has not seen.
Reads      what both runs left in the bucket: labels, predictions, definitions, and the hashes that tell rows
Writes     evaluation/evaluation.json, evaluation/predictions.csv (for the model-quality baseline), the run record
Raises     MetricMissingError: the training job did not report a metric that it was told to. PredictionsError: the
           predictions do not fit the test rows. Both permanent.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import IO, Any

import numpy as np
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from perennial.data import rows
from perennial.data.rows import FOLDER, Hashes
from perennial.evaluation import comparison, gate, metrics, predictions
from perennial.evaluation.predictions import Floats
from perennial.runs import naming
from perennial.runs.record import json_safe
from perennial_aws import objects, runs
from perennial_aws.clients import client

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
    wanted = _gate(event["Gate"])
    training = _training_metrics(event)
    truth, candidate_scores = _test_set(event["Prefix"], event["CandidatePredictions"])
    candidate = _measure(event["Problem"], wanted.metric, truth, candidate_scores)
    champion, compared, accepted_with = None, None, None
    if event.get("ChampionPredictions"):
        _, champion_scores = _test_set(event["Prefix"], event["ChampionPredictions"])
        rows = _Rows.told(event, truth.size)
        unseen = ~rows.seen
        champion = _measure(event["Problem"], wanted.metric, truth[unseen], champion_scores[unseen])
        compared = rows.compared(wanted.metric, truth, candidate_scores, champion_scores)
        accepted_with = _accepted_with(rows.champion_prefix, wanted.metric)
    verdict = gate.judge(wanted, candidate.value, compared)
    whys = [measured.why for measured in (candidate, champion) if measured and measured.why and not verdict.unfair]
    reason = ": ".join([verdict.reason, *whys])
    result = _result(wanted.metric, candidate, champion, verdict, reason, training)
    _write_predictions(event["Prefix"], event["Problem"], truth, candidate_scores)
    _record(event, wanted, verdict, result, candidate, champion, compared, accepted_with, truth.size)
    _publish(result)
    return result


def _gate(given: dict[str, Any]) -> gate.Gate:
    return gate.Gate(
        metric=given["Metric"],
        direction=given["Direction"],
        threshold=given["Threshold"],
        minimum_improvement=given["MinimumImprovement"],
        maximum_regression=given["MaximumRegression"],
        minimum_unseen_rows=given["MinimumUnseenRows"],
        without_comparison=given["WithoutComparison"],
    )


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


# Which rows compare fairly


class _Counted:
    """The hashes of the rows that a run's model has seen, piece by piece; `rows` counts them."""

    def __init__(self, run: str) -> None:
        self._run, self.rows = run, 0

    def __iter__(self) -> Iterator[Hashes]:
        for piece in objects.read_hashes(f"{self._run}/{FOLDER}/seen/"):
            self.rows += piece.size
            yield piece


@dataclass(frozen=True)
class _Rows:
    """Which test rows `(n_rows,)` the model in service has seen, which its own run tested, and why none may compare."""

    seen: comparison.Mask
    known: comparison.Mask
    unfair: str
    champion_prefix: str

    @classmethod
    def told(cls, event: dict[str, Any], count: int) -> _Rows:
        """Ask the hashes that both runs left. What cannot be told counts as seen."""
        prefix, serving = event["Prefix"], event["Champion"]
        run_id = naming.run_of(os.environ["STACK_NAME"], serving["ModelName"]) or serving["RunId"]
        of_champion = f"{prefix.rsplit('/', 1)[0]}/{run_id}"
        reports = [objects.read_json_if_there(f"{run}/report/report.json") or {} for run in (prefix, of_champion)]
        unfair, folder = _how_told(prefix, of_champion, reports, event["ChampionTest"])
        if unfair:
            return cls(np.ones(count, bool), np.zeros(count, bool), unfair, of_champion)
        rows = np.concatenate([*objects.read_hashes(f"{prefix}/{FOLDER}/{folder}/"), np.empty(0, np.uint64)])
        if rows.size != count:
            raise predictions.PredictionsError(f"{prefix}/{FOLDER}/{folder}/: {rows.size} hashes for {count} test rows")
        sets, pieces = reports[1]["sets"], _Counted(of_champion)
        seen = comparison.found_in(rows, pieces)
        if pieces.rows != (expected := sets["train"] + sets["validation"]):
            left = f"its run left {pieces.rows:,} of the {expected:,} hashes of the rows that it has seen"
            return cls(np.ones(count, bool), np.zeros(count, bool), left, of_champion)
        known = comparison.found_in(rows, objects.read_hashes(f"{of_champion}/{FOLDER}/test/"))
        return cls(seen | comparison.untold(rows), known, "", of_champion)

    def compared(self, name: str, truth: Floats, candidate: Floats, champion: Floats) -> gate.Comparison:
        masks = {"seen": self.seen, "known": self.known}
        found = comparison.compare(name, truth, candidate, champion, **masks)
        return replace(found, unfair=self.unfair)


def _how_told(prefix: str, of_champion: str, reports: list[dict[str, Any]], asked: str) -> tuple[str, str]:
    """(why rows cannot be told by what the champion's run left, else the folder of hashes that can be compared).

    reports  what preprocessing found in both runs
    asked    where the records are that the champion was asked about
    """
    configs = [objects.read_json_if_there(f"{run}/config.json") for run in (prefix, of_champion)]
    told_by = reports[1].get("identity")
    if configs[1] is None or not told_by:
        return "its run left no list of the rows that it has seen", ""
    ours, theirs = (config["definition"] for config in configs)
    target = reports[0].get("champion_target")
    other = comparison.other_target(ours, theirs, target) or comparison.other_groups(ours["split"], theirs["split"])
    if asked.rstrip("/") == f"{prefix}/test" and not rows.reads_alike(ours, theirs):
        other = (
            other or "it came into service while this run worked, and reads other columns than the run's test records"
        )
    folders = {reports[0].get("champion_identity"): "champion", reports[0].get("identity"): "test"}
    if other or told_by in folders:
        return other, folders.get(told_by, "")
    return "the columns that tell rows apart are others than when it was trained", ""


def _accepted_with(of_champion: str, name: str) -> float | None:
    """The metric with which the model in service was accepted, on the test rows of then."""
    evaluation = objects.read_json_if_there(f"{of_champion}/evaluation/evaluation.json") or {}
    value = ((evaluation.get("metrics") or {}).get("candidate") or {}).get(name)
    return None if value is None else float(value)


# Measuring


def _measure(problem: str, name: str, truth: Floats, scores: Floats) -> Measured:
    try:
        values = metrics.evaluate(problem, truth, scores)
    except metrics.MetricInputError as error:
        return Measured(why=str(error))
    try:
        interval = metrics.interval(name, truth, scores)
    except metrics.UndefinedMetricError as error:
        return Measured(values, values[name], None, str(error))
    return Measured(values, values[name], interval)


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
    verdict: gate.Verdict,
    result: dict[str, Any],
    candidate: Measured,
    champion: Measured | None,
    compared: gate.Comparison | None,
    accepted_with: float | None,
    rows: int,
) -> None:
    measured = {
        "test_rows": rows,
        "candidate": candidate.metrics,
        "champion": champion.metrics if champion else None,
        "candidate_interval": candidate.interval,
        "champion_interval": champion.interval if champion else None,
        "difference_interval": compared.unseen.difference if compared else None,
        "comparison": asdict(compared) if compared else None,
        "champion_when_accepted": accepted_with,
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
        "obstacle": verdict.obstacle,
        "brief": verdict.brief,
        "worse_on_known": verdict.worse_on_known,
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
