"""Measure the candidate and the model in service on the same test set, and judge.

Called by  train_model, state "Query training results".
Reads      what both runs left in the bucket: labels, predictions, definitions, and the hashes of rows; of the layer
           models/<model>/metrics.py, where the model has metrics of its own
Writes     evaluation/evaluation.json, evaluation/predictions.csv (for the model-quality baseline), the run record; of a
           candidate that is accepted what an endpoint is verified by (perennial_aws.verification)
Raises     MetricMissingError: the training job did not report a metric that it must report. PredictionsError: the
           predictions do not fit the test rows. Both permanent.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from perennial.data import rows
from perennial.data import slices as data_slices
from perennial.data.rows import FOLDER, Hashes, combined
from perennial.data.slices import masks, slices_of
from perennial.evaluation import comparison, forecasts, gate, metrics, predictions, slices
from perennial.evaluation.custom_metrics import OwnMetrics
from perennial.evaluation.problem_types.measures import Floats, MetricError, MetricInputError
from perennial.model.problem_types import PROBLEM_TYPES, classes_of
from perennial.runs import run_record, spot, trials
from perennial.runs.record import json_safe
from perennial_aws import champion, objects, own_metrics, payloads, runs, verification
from perennial_aws.clients import client
from perennial_aws.row_hashes import SeenRows, hashes_of, twins_of

logger = Logger()
published = Metrics()


class MetricMissingError(Exception):
    """A training job has reported no metric of a name that it must report."""


@dataclass(frozen=True)
class Request:
    """A run with its folder (s3://bucket/runs/<run id>), what its candidate must reach, and where the predictions are.

    TuningJobName        the job whose best trial the training job is; None of a run that has trained once
    ChampionPredictions  None when there is no model in service to compare with
    ChampionTest         the records that it answered
    Containers           of the model, as its version is registered with them
    """

    RunId: str
    Prefix: str
    Problem: str
    Gate: payloads.GatePayload
    TrainingJobName: str
    CandidatePredictions: str
    ChampionPredictions: str | None
    ChampionTest: str
    Champion: run_record.Champion | None
    TuningJobName: str | None = None  # not sent by runs that began before there were tuning jobs
    Containers: list[dict[str, Any]] | None = None  # nor this by those that began before it was recorded


@dataclass(frozen=True)
class Answer:
    """The verdict. Metrics are in the target's unit or without one; intervals hold 95 %.

    The candidate's metric is of all test rows, the champion's of those that it has not seen.
    """

    Metric: str
    Candidate: float | None
    Champion: float | None
    CandidateInterval: tuple[float, float] | None
    ChampionInterval: tuple[float, float] | None
    MeetsThreshold: bool
    BeatsChampion: bool | None
    Accepted: bool
    Reason: str
    TrainingMetrics: dict[str, float]


@dataclass(frozen=True)
class Measured:
    """The metrics of a model, and that of the gate for the best constant answer.

    why  why the gate's metric has no value, when it has none
    """

    metrics: dict[str, float] = field(default_factory=dict)
    value: float | None = None
    interval: tuple[float, float] | None = None
    why: str = ""
    constant: float | None = None


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Read, measure, judge, and write the evaluation for people and baselines."""
    request = payloads.read(Request, event)
    config = objects.read_json(f"{request.Prefix}/config.json")
    with own_metrics.named(request.Problem, config["definition"].get("metrics", {})) as own:
        return _judged(request, config, own)


def _judged(request: Request, config: Mapping[str, Any], own: OwnMetrics) -> dict[str, Any]:
    metric = metrics.metric_named(request.Problem, request.Gate["Metric"], own.by_name)
    wanted = replace(payloads.gate_in(request.Gate), is_bounded=metric.is_bounded)
    training = _training_metrics(request, config["training_metrics"])
    is_series = PROBLEM_TYPES[request.Problem].is_series
    labels = _labels(request.Prefix, is_series=is_series)
    tested = _tested(labels, request.CandidatePredictions)
    truth, candidate_scores = tested.truth, tested.scores
    candidate = _measure(metric, own, truth, candidate_scores)
    candidate = replace(candidate, why=tested.not_finite() or candidate.why)
    measured, compared, accepted_with, champion_scores, fair = None, None, None, None, np.ones(truth.size, bool)
    if request.ChampionPredictions and request.Champion:
        champion_scores = _tested(labels, request.ChampionPredictions).scores
        rows = _Rows.read(request, config, request.Champion, truth.size)
        fair = ~rows.seen
        compared = rows.compared(metric, truth, candidate_scores, champion_scores)
        if why := _unmeasured(metric, own, compared, wanted.minimum_unseen_rows):
            candidate = replace(candidate, value=None, why=why)
        on = ~rows.seen & metrics.can_be_measured(request.Problem, champion_scores)
        measured = _measure(metric, own, truth[on], champion_scores[on]) if on.any() else Measured()
        accepted_with = _accepted_with(rows.champion_prefix, wanted.metric)
    if request.TuningJobName:
        _record_trials(request, request.TuningJobName)
    against = None if compared is None or compared.unfair else champion_scores
    of_slices = _judged_slices(
        request.Prefix, config["definition"], wanted, metric, truth, candidate_scores, against, fair
    )
    failures = [failure for one in of_slices for failure in one.failures]
    naive = _of_naive(metric, labels)
    others = [*failures, *gate.than_naive(wanted, candidate.value, naive)]
    verdict = gate.judge(wanted, candidate.value, compared, accepted_with, others)
    whys = [one.why for one in (candidate, measured) if one and one.why and not verdict.unfair]
    answer = Answer(
        Metric=wanted.metric,
        Candidate=candidate.value,
        Champion=measured.value if measured else None,
        CandidateInterval=candidate.interval,
        ChampionInterval=measured.interval if measured else None,
        MeetsThreshold=verdict.meets_threshold,
        BeatsChampion=verdict.beats_champion,
        Accepted=verdict.accepted,
        Reason=": ".join([verdict.reason, *whys]),
        TrainingMetrics=training,
    )
    _write_predictions(request.Prefix, request.Problem, truth, candidate_scores, classes_of(config["definition"]))
    _record(
        request,
        wanted,
        verdict,
        answer,
        candidate,
        measured,
        compared,
        of_slices,
        accepted_with,
        truth.size,
        own.failed,
        naive,
    )
    if verdict.accepted:
        verification.leave(request.Prefix, is_series=is_series)
    _publish(answer)
    return dict(json_safe(asdict(answer)))


# ---- Reading


def _training_metrics(request: Request, expected: list[str]) -> dict[str, float]:
    """Return the last value of each metric that the training job reported, by name; those expected are among them.

    Records what was saved where its machine might have been taken away, and how often it was.
    """
    job = client("sagemaker").describe_training_job(TrainingJobName=request.TrainingJobName)
    if saved := spot.of_job(job):
        runs.update(request.RunId, spot=saved)
    reported = {item["MetricName"]: float(item["Value"]) for item in job.get("FinalMetricDataList", [])}
    if not reported:  # whether the service collects metrics of every version of its images is not certain
        logger.warning("the training job's metrics were not collected", job=request.TrainingJobName)
        return {}
    missing = [name for name in expected if not math.isfinite(reported.get(name, math.nan))]
    if missing:
        raise MetricMissingError(
            f"training job {request.TrainingJobName} reported no metric {', '.join(missing)}; "
            f"it reported {', '.join(f'{name} {value:g}' for name, value in sorted(reported.items()))}"
        )
    return reported


@dataclass(frozen=True)
class _Tested:
    """Labels and scores of the test rows, and the number of rows of each part of the test set.

    lines  the lines of the test set that points of series are of, from 0, by part; none for rows, which are a line each
    """

    truth: Floats
    scores: Floats
    parts: dict[str, int]
    lines: dict[str, Any] = field(default_factory=dict)

    def not_finite(self) -> str:
        """Say how many scores are no finite numbers, and which record got the first of them; empty for none."""
        bad = np.flatnonzero(~metrics.finite(self.scores))
        if not bad.size:
            return ""
        ends = np.cumsum(list(self.parts.values()))
        part = int(np.searchsorted(ends, bad[0], "right"))
        name, place = list(self.parts)[part], bad[0] - (ends[part - 1] if part else 0)
        line = (self.lines[name][place] if self.lines else place) + 1
        which = f"the first is {self.scores[bad[0]]}, for the record in line {line} of test/{name}.jsonl"
        return f"{bad.size:,} of {len(self.scores):,} scores are not finite numbers; {which} in the run's folder"


Labels = Mapping[str, Floats] | Mapping[str, forecasts.Points]


def _labels(prefix: str, *, is_series: bool) -> Labels:
    """Return the labels of the test rows, or the points of the test series, by the parts of the test set."""
    bucket, _ = objects.split_uri(prefix)
    keys = {key.rsplit("/", 1)[-1].removesuffix(".csv"): key for key in objects.keys(f"{prefix}/labels/")}
    if not keys:
        raise predictions.PredictionsError(f"{prefix}/labels/ holds no part; expected the labels of the test rows")
    if is_series:
        return {part: forecasts.points(objects.lines(bucket, key), key) for part, key in keys.items()}
    return {part: predictions.labels(objects.lines(bucket, key), key) for part, key in keys.items()}


def _tested(labels: Labels, predicted: str) -> _Tested:
    """Read the predictions; every part of the test set must have its own."""
    bucket, folder = objects.split_uri(f"{predicted.rstrip('/')}/")
    there = {key.removeprefix(folder) for key in objects.keys(f"s3://{bucket}/{folder}")}
    truths = dict[str, Floats]()
    scores = list[Floats]()
    for part, truth in labels.items():
        name = f"{part}.jsonl.out"
        if name not in there:
            raise predictions.PredictionsError(f"s3://{bucket}/{folder}{name} is missing; there are labels for it")
        lines = objects.lines(bucket, folder + name)
        if isinstance(truth, forecasts.Points):
            truths[part] = truth.labels
            scores.append(forecasts.scores_of(truth, lines, folder + name, len(scores)))
        else:
            truths[part] = truth
            scores.append(predictions.scores(lines, folder + name))
        predictions.require_same_length(truths[part], scores[-1], folder + name)
    if len({part.shape[1:] for part in scores}) > 1:
        raise predictions.PredictionsError(f"{predicted}: parts have different numbers of scores a row; expected one")
    sizes = {part: truth.size for part, truth in truths.items()}
    of_series = {part: truth.lines for part, truth in labels.items() if isinstance(truth, forecasts.Points)}
    return _Tested(np.concatenate([*truths.values()]), np.concatenate(scores), sizes, of_series)


def _of_naive(metric: metrics.Metric, labels: Labels) -> float | None:
    """Return the metric of the seasonal-naive forecast; None where rows are no points of series, or it has no value."""
    parts = [part for part in labels.values() if isinstance(part, forecasts.Points)]
    if not parts:
        return None
    truth, scores = (
        np.concatenate(some)
        for some in zip(*((part.labels, forecasts.naive_scores(part)) for part in parts), strict=True)
    )
    try:
        return metric.compute(truth, scores)
    except MetricError:
        return None


# ---- Which rows compare fairly


@dataclass(frozen=True)
class _Rows:
    """What the model in service knows of the test rows `(n_rows,)`: seen, tested by its own run, of another target now.

    unfair  why none of them may compare
    untold  how many of them count as seen for another reason, and why
    twins   how many unseen ones say what a row says that one of the two models has trained on, under another key
    tested_before  how many rows the model in service was tested on
    """

    seen: comparison.Mask
    tested: comparison.Mask
    changed: comparison.Mask
    unfair: str
    champion_prefix: str
    untold: str = ""
    twins: int = 0
    tested_before: int = 0

    @classmethod
    def read(cls, request: Request, config: Mapping[str, Any], serving: run_record.Champion, count: int) -> _Rows:
        """Read the hashes that both runs left. Rows without one count as seen."""
        prefix = request.Prefix
        of_champion = f"{prefix.rsplit('/', 1)[0]}/{champion.run_of(serving)}"
        reports = [objects.read_json_or_none(f"{run}/report/report.json") or {} for run in (prefix, of_champion)]
        configs = [config, objects.read_json_or_none(f"{of_champion}/config.json")]
        on_test = request.ChampionTest.rstrip("/") == f"{prefix}/test"
        unfair, folder = _how_told(configs, reports, on_test=on_test)
        if unfair:
            return cls.none(count, unfair, of_champion)
        rows = hashes_of(prefix, folder)
        if rows.size != count:
            raise predictions.PredictionsError(f"{prefix}/{FOLDER}/{folder}/: {rows.size} hashes for {count} test rows")
        sets, pieces = reports[1]["sets"], SeenRows(of_champion)
        counted_as_seen = comparison.among(rows, pieces)
        if pieces.rows != (expected := sets["train"] + sets["validation"]):
            reason = f"its run left {pieces.rows:,} of the {expected:,} hashes of the rows that it has seen"
            return cls.none(count, reason, of_champion)
        theirs = hashes_of(of_champion, "test")
        tested = comparison.among(rows, [theirs])
        ours, before = _with_targets(prefix, rows), _with_targets(of_champion, theirs)
        changed = np.zeros(count, bool)
        if ours is not None and before is not None:
            changed = ~comparison.among(ours, [before])
        untold = comparison.untold(rows)
        why = comparison.why_untold(int(untold.sum()), reports[0].get("champion_untold", {}))
        counted_as_seen |= untold
        twins = ~counted_as_seen & twins_of(hashes_of(prefix, "rest"), count, prefix, of_champion)
        if twins.any() and comparison.no_evidence(twins, ~counted_as_seen, _share_of_twins(of_champion)):
            counted_as_seen |= twins
            why = "; ".join([*([why] if why else []), f"{twins.sum():,} {gate.TWINS}, and count as seen"])
        return cls(counted_as_seen, tested, changed, "", of_champion, why, int(twins.sum()), theirs.size)

    @classmethod
    def none(cls, count: int, unfair: str, of_champion: str) -> _Rows:
        nothing = np.zeros(count, bool)
        return cls(~nothing, nothing, nothing, unfair, of_champion)

    def compared(self, metric: metrics.Metric, truth: Floats, candidate: Floats, champion: Floats) -> gate.Comparison:
        masks = {"seen": self.seen, "tested": self.tested, "changed": self.changed}
        compared = comparison.compare(metric, truth, candidate, champion, **masks)
        comparison_of_rows = replace(compared, unfair=self.unfair, untold=self.untold, twins=self.twins)
        return replace(comparison_of_rows, tested_before=self.tested_before)


def _share_of_twins(run: str) -> float | None:
    """Return the share of a run's test rows that say what another row says that its model has seen, or None."""
    rests = hashes_of(run, "rest")
    return float(twins_of(rests, rests.size, run).mean()) if rests.size else None


def _with_targets(run: str, rows: Hashes) -> Hashes | None:
    """Return hashes of a run's test rows and their targets; None where an earlier version has left none."""
    targets = hashes_of(run, "target")
    return combined(rows, targets) if targets.size == rows.size else None


def _how_told(
    configs: list[Mapping[str, Any] | None], reports: list[dict[str, Any]], *, on_test: bool
) -> tuple[str, str]:
    """(why the hashes of the champion's run cannot be compared, else the folder of those that they compare with).

    configs, reports  of this run, and of the champion's
    on_test           whether the champion answered this run's own test records
    """
    identity = reports[1].get("identity")
    if not all(configs) or not identity:
        return "its run left no list of the rows that it has seen", ""
    ours, theirs = (config["definition"] for config in configs if config)
    target = reports[0].get("champion_target")
    other = (
        comparison.other_target(ours, theirs, target)
        or comparison.other_groups(ours, theirs)
        or comparison.other_series(ours, theirs)
    )
    if on_test and not rows.reads_alike(ours, theirs):
        other = (
            other or "it came into service while this run worked, and reads other columns than the run's test records"
        )
    folders = {reports[0].get("champion_identity"): "champion", reports[0].get("identity"): "test"}
    if other or identity in folders:
        return other, folders.get(identity, "")
    return "the columns that tell rows apart are others than when it was trained", ""


def _accepted_with(of_champion: str, name: str) -> float | None:
    """Return the metric with which the model in service was accepted, on the test rows of then."""
    evaluation = objects.read_json_or_none(f"{of_champion}/evaluation/evaluation.json") or {}
    value = ((evaluation.get("metrics") or {}).get("candidate") or {}).get(name)
    return None if value is None else float(value)


# ---- Measuring


def _measure(metric: metrics.Metric, own: OwnMetrics, truth: Floats, scores: Floats) -> Measured:
    """Return every metric, and that of the gate with its interval."""
    try:
        values = metrics.evaluate(metric.problem, truth, scores) | own.values(truth, scores)
    except MetricInputError as error:
        return Measured(why=str(error))
    constant = metrics.of_constant(metric, truth, scores)
    try:
        interval = metrics.interval(metric, truth, scores)
    except MetricError as error:
        return Measured(values, values[metric.name], None, str(error), constant)
    return Measured(values, values[metric.name], interval, constant=constant)


def _unmeasured(metric: metrics.Metric, own: OwnMetrics, compared: gate.Comparison, needed: int) -> str:
    """Return why a metric of the model itself compares nothing, though it has measured the candidate; else nothing.

    A function that fails half-way must not leave the threshold to decide alone.
    """
    parts = (compared.unseen, compared.known)
    if metric.name not in own.directions or compared.unfair:
        return ""
    if all(part.rows < needed or (part.is_measured and part.difference is not None) for part in parts):
        return ""
    return own.errors.get(metric.name) or f"{metric.name} has no value, or no interval, for rows that compare"


def _judged_slices(
    prefix: str,
    definition: Mapping[str, Any],
    wanted: gate.Gate,
    metric: metrics.Metric,
    truth: Floats,
    candidate: Floats,
    champion: Floats | None,
    fair: comparison.Mask,
) -> list[slices.Judged]:
    """Measure and judge the slices that the definition names; none where candidate scores cannot be measured."""
    rules = slices_of(definition)
    if not rules:
        return []
    bits = hashes_of(prefix, data_slices.FOLDER)
    if bits.size != truth.size:
        where = f"{prefix}/{FOLDER}/{data_slices.FOLDER}/"
        raise predictions.PredictionsError(
            f"{where}: {bits.size} entries for {truth.size} test rows; expected one each"
        )
    inside = masks(bits, list(rules))
    return slices.judge(
        wanted, comparison.of_slices(metric, truth, candidate, champion, inside=inside, fair=fair, rules=rules)
    )


# ---- Leaving it behind


def _record_trials(request: Request, job: str) -> None:
    sagemaker = client("sagemaker")
    pages = sagemaker.get_paginator("list_training_jobs_for_hyper_parameter_tuning_job").paginate(
        HyperParameterTuningJobName=job
    )
    described = sagemaker.describe_hyper_parameter_tuning_job(HyperParameterTuningJobName=job)
    summaries = (summary for page in pages for summary in page["TrainingJobSummaries"])
    config = described["HyperParameterTuningJobConfig"]
    runs.update(request.RunId, tuning=trials.of(job, config, request.TrainingJobName, summaries))


def _write_predictions(prefix: str, problem: str, truth: Floats, scores: Floats, classes: Sequence[str]) -> None:
    bucket, key = objects.split_uri(f"{prefix}/evaluation/predictions.csv")
    with tempfile.TemporaryFile("w+b") as file:
        file.writelines(predictions.table(metrics.measures_of(problem).columns(truth, scores, classes)))
        file.seek(0)
        client("s3").upload_fileobj(file, bucket, key, ExtraArgs={"ContentType": "text/csv"})


def _record(
    request: Request,
    wanted: gate.Gate,
    verdict: gate.Verdict,
    answer: Answer,
    candidate: Measured,
    champion: Measured | None,
    compared: gate.Comparison | None,
    of_slices: Sequence[slices.Judged],
    accepted_with: float | None,
    rows: int,
    failed: Mapping[str, str],
    naive: float | None,
) -> None:
    measured = {
        "test_rows": rows,
        "failed": dict(failed),
        "candidate": candidate.metrics,
        "champion": champion.metrics if champion else None,
        "constant": candidate.constant,
        "candidate_interval": candidate.interval,
        "champion_interval": champion.interval if champion else None,
        "difference_interval": compared.unseen.difference if compared else None,
        "comparison": asdict(compared) if compared else None,
        "slices": [one.as_json() for one in of_slices],
        "champion_when_accepted": accepted_with,
        "training": answer.TrainingMetrics,
        **({} if naive is None else {"naive": naive}),
    }
    judged = {
        **asdict(wanted),
        "candidate": answer.Candidate,
        "champion": answer.Champion,
        "meets_threshold": answer.MeetsThreshold,
        "beats_champion": answer.BeatsChampion,
        "accepted": answer.Accepted,
        "reason": answer.Reason,
        "obstacle": verdict.obstacle,
        "brief": verdict.brief,
        "worse_on_known": verdict.worse_on_known,
        "targets_changed": verdict.targets_changed,
    }
    document = {"run_id": request.RunId, "problem": request.Problem, "metrics": measured, "gate": judged}
    objects.write_json(f"{request.Prefix}/evaluation/evaluation.json", document)
    runs.update(request.RunId, metrics=measured, gate=judged, containers=request.Containers)


def _publish(answer: Answer) -> None:
    """Publish what could be measured: CloudWatch takes no null."""
    published.add_dimension("Metric", answer.Metric)
    for name, value in (("CandidateMetric", answer.Candidate), ("ChampionMetric", answer.Champion)):
        if value is not None:
            published.add_metric(name, MetricUnit.NoUnit, value)
    published.add_metric("CandidateAccepted", MetricUnit.Count, int(answer.Accepted))
    published.flush_metrics()
    logger.info("judged", accepted=answer.Accepted, reason=answer.Reason)
