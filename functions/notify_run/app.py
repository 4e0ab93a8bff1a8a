"""Close the record of a run that has ended and send the one message about it.

Called by  EventBridge, "Step Functions Execution Status Change" of train_model: SUCCEEDED, FAILED, TIMED_OUT, ABORTED.
Writes     runs/<run id>/report.html and run.json, the record in the run table, one message to the topic; then tags on
           what of the run's folder goes some days later (perennial.runs.keeping)
Raises     StraysContestedError: other runs changed the list of files that are put aside over and over. Transient.

Events come more than once: the end of an execution is reported once. An execution that found no work to do is logged,
and mailed only where drift or an alarm had asked for a model (runs.work.is_mailed), once within the cooldown of
model.yaml. What fails here is raised, so that Lambda tries again and then keeps the event in the dead-letter queue.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, cast

from aws_lambda_powertools import Logger, Metrics, single_metric
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import ClientError

from perennial.model import complaints
from perennial.registry import approval
from perennial.runs import cause, facts, message, naming, record, spot, strays, work
from perennial.runs.run_record import Aside, Deployment, Failure, ModelVersion, RunRecord
from perennial_aws import ends, expiry, model_versions, objects, payloads, run_report, runs
from perennial_aws.clients import client, if_there
from perennial_aws.settings import settings

logger = Logger()
published = Metrics()


@dataclass(frozen=True)
class Request:
    """The event."""

    detail: ends.Detail


@dataclass(frozen=True)
class Answer:
    """The run and its message; no message where there was nothing to report."""

    RunId: str
    Status: str
    MessageId: str | None


@logger.inject_lambda_context
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Report the end of an execution once."""
    answer = ends.once(_tell, payloads.read(Request, event).detail, context)
    if answer["MessageId"]:  # after the mail, which goes out once also where this has to be tried again
        logger.info("marked", run_id=answer["RunId"], objects=expiry.mark(answer["RunId"]))
    return answer


def _tell(*, end: dict[str, Any], detail: ends.Detail) -> dict[str, Any]:
    execution = client("stepfunctions").describe_execution(executionArn=end["execution_arn"])
    answer = runs.answer(end["execution_arn"])
    run_id = (
        (answer.get("DeploymentId") or answer["RunId"])
        if answer
        else naming.run_id(end["execution_arn"], execution["startDate"])
    )
    status = work.run_status(detail["status"], execution.get("error"))
    if status == "Succeeded" and answer and answer.get("Withheld"):
        status = work.TRAINED_ONLY
    if answer and answer["Decision"] not in ("Train", "Deploy") and status == "Succeeded":
        status = answer["Decision"]
        if not _is_mailed(facts.trigger_type(_unopened(run_id, execution)), answer):
            logger.info("nothing to tell", run_id=run_id, decision=status, reason=answer["Reason"])
            return asdict(Answer(run_id, status, None))
    closed = _close(run_id, status, execution, answer)
    _count_readers()
    _count("RunsFailed", int(status in work.FAILURES))
    message_id = _publish(closed)
    published.add_dimension("Status", status)
    published.add_metric("RunsEnded", MetricUnit.Count, 1)
    published.flush_metrics()
    logger.info("told", run_id=run_id, status=status, message_id=message_id)
    return asdict(Answer(run_id, status, message_id))


def _is_mailed(trigger: str, answer: dict[str, Any]) -> bool:
    """Return whether a mail says that there was no work: an alarm that comes and goes is answered once."""
    if not work.is_mailed(answer["Decision"], trigger):
        return False
    seconds = int(answer.get("QuietHours", 0) * 3600)
    return runs.is_first_to_say(f"{trigger}#{answer['Reason']}", answer["RunId"], seconds)


# ---- Closing the record


def _close(run_id: str, status: str, execution: dict[str, Any], answer: dict[str, Any] | None) -> RunRecord:
    ended_at = execution.get("stopDate") or datetime.now(UTC)
    known: RunRecord = {**_unopened(run_id, execution), **(runs.get(run_id) or {})}
    if answer and answer["Decision"] == status:
        known = {**known, "no_work": answer["Reason"]}
    version = model_versions.of_run(run_id, known["execution"]["started_at"]) if known.get("gate") else None
    name = naming.stem(known["stack"], run_id)
    if answer and (deployed := answer.get("Version")):
        about = {"run_id": answer["RunId"], "reason": answer["Reason"], "instead_of": deployed.get("InsteadOf")}
        known = {**known, "deployment": cast(Deployment, about)}
        version = model_versions.find(deployed["Number"])
        name = answer["Name"]
    version = model_versions.with_answerer(version) if version else None
    history = list(ends.history(execution["executionArn"]))
    seconds, unfinished = record.durations(history, ended_at)
    known = {**known, "hours": settings.hours, "api": settings.api_url}
    known, folder = runs.with_all_files(known), f"s3://{known['bucket']}/runs/{run_id}/report"
    report = objects.read_json_if_there(f"{folder}/report.json")
    jobs = [] if "deployment" in known else [job for stem in _stems(name, answer) for job in _jobs(stem)]
    known = _with_spot(known, jobs)
    closed = record.closed(
        known,
        status=status,
        ended_at=ended_at,
        failure=_failure(status, execution, unfinished, (report or {}).get("problems"), f"{folder}/problems.txt"),
        durations_seconds=seconds,
        retries=record.retries(history),
        report=report,
        aside=_put_aside(known, report, execution["executionArn"]),
        jobs=jobs,
        version=version,
        endpoint=settings.endpoint_name,
        name=name,
        sets_days=settings.run_sets_days,
    )
    page = None if "deployment" in closed else run_report.leave(closed, report)
    closed = {**closed, "version": _without_what_failed(closed, ended_at), "report": page}
    objects.write_json(f"s3://{closed['bucket']}/runs/{run_id}/run.json", closed)
    runs.put(closed)
    return closed


def _without_what_failed(closed: RunRecord, ended_at: datetime) -> ModelVersion | None:
    """Reject the version of a run that has failed before it served: what is approved may serve. Return it as it is.

    Whoever approves it after the end wants it to serve nevertheless (functions/answer_approval).
    """
    version, failure = closed.get("version"), closed.get("failure") or {}
    if (
        not version
        or _deploys_nothing_new(closed)
        or version["status"] != approval.APPROVED
        or closed["status"] not in (*work.FAILURES, "Aborted", "Rejected", "Superseded")
        or failure.get("state") in message.SERVES_ALREADY
    ):
        return version
    why = f"run {closed['run_id']} ended before it served: {message.why(closed)}"
    if not model_versions.reject(version["arn"], why, ended_at):
        return version
    return {**version, "status": approval.REJECTED, "by": None}


def _deploys_nothing_new(closed: RunRecord) -> bool:
    """Return whether a run that only deploys a version had no turn to, or found it in service; false for other runs.

    "Reserve deployment" notes what serves when it gives the turn. A newer version that is approved meanwhile takes it;
    the newest approved one that is superseded has learned from older data than what serves.
    """
    if "deployment" not in closed:
        return False
    if "champion" not in closed:
        return True
    if closed["status"] == "Superseded":
        version, newest = closed.get("version"), model_versions.newest_approved()
        return version is None or newest is None or newest["arn"] != version["arn"]
    champion = closed["champion"]
    return bool(champion and champion["RunId"] == closed["deployment"]["run_id"])


def _unopened(run_id: str, execution: dict[str, Any]) -> RunRecord:
    """Return the record of a run that ended before it had claimed its work."""
    try:
        document = json.loads(execution.get("input") or "{}")
    except (ValueError, RecursionError):
        document = {}
    return {
        "run_id": run_id,
        "stack": settings.stack_name,
        "model": settings.model_name,
        "bucket": settings.bucket,
        "execution": {
            "arn": execution["executionArn"],
            "started_at": record.timestamp(execution["startDate"]),
        },
        "input": document if isinstance(document, dict) and _is_bounded(document) else {},
    }


def _is_bounded(document: dict[str, Any]) -> bool:
    is_small = not complaints.is_deep(document) and complaints.size(document) <= complaints.MAX_INPUT_BYTES
    return is_small and complaints.is_text(document)


def _put_aside(known: RunRecord, report: dict[str, Any] | None, execution_arn: str) -> list[Aside]:
    """Store the files that preprocessing put aside, and claim the work without them, which is what the run has done."""
    files = known.get("data", {}).get("files", [])
    entries = strays.put_aside(report, files)
    if not entries:
        return []
    run_id, reader = known["run_id"], known["reader"]
    since = {stray["mark"]: stray["run_id"] for stray in runs.remember_strays(entries, reader, run_id)}
    aside = {(stray["Key"], stray["VersionId"]) for stray in entries}
    rest = [work.DataFile.from_manifest(file) for file in files if (file["Key"], file["VersionId"]) not in aside]
    news = work.news(rest, known["configuration"]["definition"])
    done = work.work_key(work.fingerprint(news), known["configuration_key"], known["code"]["hash"])
    runs.claim(done, run_id, execution_arn, None)
    return [strays.with_first_run(stray, since, reader, run_id) for stray in entries]


def _failure(
    status: str, execution: dict[str, Any], unfinished: list[str], said_in_report: list[str] | None, at: str
) -> Failure | None:
    """Return the error, its cause and state, and all problems of the data; the cause has the first kilobyte of them."""
    if execution["status"] == "SUCCEEDED":
        return None
    cause_text = execution.get("cause")
    state = cause.failed_state(cause_text) or (unfinished[-1] if unfinished else None)
    failure: Failure = {"error": execution.get("error"), "cause": cause_text, "state": state}
    if trial := _failed_trial(cause_text):
        failure["trial"] = trial
    return {**failure, "problems": said_in_report, "problems_at": at} if said_in_report else failure


def _failed_trial(cause_text: str | None) -> str | None:
    """Return what a trial says of a tuning job that has failed: the job's own reason only counts them."""
    job = cause.failed_job(cause_text)
    if job is None or job.kind != "HyperParameterTuning":
        return None
    list_trials = client("sagemaker").list_training_jobs_for_hyper_parameter_tuning_job
    failed = if_there(list_trials, HyperParameterTuningJobName=job.name, StatusEquals="Failed") or {}
    with_reason = (one for one in failed.get("TrainingJobSummaries", []) if one.get("FailureReason"))
    return next((f"trial {one['TrainingJobName']}: {one['FailureReason']}" for one in with_reason), None)


def _stems(name: str, answer: dict[str, Any] | None) -> list[str]:
    """How the names of the run's jobs begin, and of the trials of its tuning job."""
    tuning = (answer or {}).get("Tuning")
    return [f"{name}-", *([tuning["Name"]] if tuning else [])]


def _jobs(stem: str) -> Iterator[dict[str, Any]]:
    """Every job of the run whose name begins so."""
    for kind in ("Processing", "Training", "Transform"):
        pages = client("sagemaker").get_paginator(f"list_{kind.lower()}_jobs").paginate(NameContains=stem)
        for job in (job for page in pages for job in page[f"{kind}JobSummaries"]):
            if not job[f"{kind}JobName"].startswith(stem):
                continue  # of a stack whose name ends with this one's
            yield {
                "kind": kind,
                "name": job[f"{kind}JobName"],
                "status": job[f"{kind}JobStatus"],
                "created_at": record.timestamp(job["CreationTime"]),
                "ended_at": record.timestamp(job[f"{kind}EndTime"]) if job.get(f"{kind}EndTime") else None,
                "reason": job.get("FailureReason") or job.get("ExitMessage"),
            }


def _with_spot(known: RunRecord, jobs: Sequence[Mapping[str, Any]]) -> RunRecord:
    """Add what training on a machine that may be taken away has saved, where the run ended before that was read.

    Of several training jobs the last one counts. A mail goes out also when that cannot be found out.
    """
    training = max((job for job in jobs if job["kind"] == "Training"), key=itemgetter("created_at"), default=None)
    if "spot" in known or training is None or not _may_be_taken_away(known):
        return known
    try:
        saved = spot.of_job(client("sagemaker").describe_training_job(TrainingJobName=training["name"]))
    except ClientError as error:
        logger.warning("what a spot job took is not known", job=training["name"], problem=str(error))
        return known
    return {**known, "spot": saved} if saved else known


def _may_be_taken_away(known: RunRecord) -> bool:
    configuration = known.get("configuration") or {}
    return bool(configuration.get("definition", {}).get("instances", {}).get("train", {}).get("spot"))


# ---- Telling


def _count_readers() -> None:
    """Let operators see whether anybody reads the alerts. A message goes out also when that cannot be found out."""
    topic = settings.topic_arn
    try:
        readers = int(client("sns").get_topic_attributes(TopicArn=topic)["Attributes"]["SubscriptionsConfirmed"])
    except ClientError as error:
        logger.warning("who reads the alerts is not known", problem=str(error))
        return
    if not readers:
        logger.warning("nobody is told: no subscription of the topic is confirmed", topic=topic)
    _count("AlertReaders", readers)


def _count(name: str, value: int) -> None:
    """Give an alarm of the stack its number: by the stack alone, as an alarm watches one set of dimensions."""
    with single_metric(name=name, unit=MetricUnit.Count, value=value) as metric:
        metric.add_dimension("service", settings.stack_name)


def _publish(closed: RunRecord) -> str:
    arn = closed["execution"]["arn"].split(":")
    text = message.compose(closed, region=arn[3], partition=arn[1])
    return ends.publish(settings.topic_arn, text, closed["status"])
