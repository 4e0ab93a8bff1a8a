"""What people can do about a run that ended: an ordered table, of which the first row that fits counts.

A row fits by what the gate found, the state that failed, the error, the cause, or how the job ended. What a run has
already changed when it ends is more important than how it ended, so those rows stand early.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perennial.data.since import READS
from perennial.runs import news
from perennial.runs.cause import failed_job, failed_state, safe
from perennial.runs.facts import counted, some
from perennial.runs.job_end import JobEnd
from perennial.runs.run_record import RunRecord
from perennial.runs.work import NOT_APPROVED, TRAINED_ONLY

MAX_NAMES = 400

_CORRECT_THE_DATA = (
    "Correct the data that are named above and drop them again, under the same names, or take them away (aws s3 rm). "
    "Where rows were put aside one by one, they are under quarantine/ in the run's folder, with reasons. If they are "
    "right, as data will be from now on (a new category, a column of another name, a larger range), let model.yaml say "
    "so (`perennial try` shows what a run then makes of the file), deploy, and start a run: it reads the file again."
)
# Instead of the data's correction.
_CHANGED = (
    "model.yaml has changed since the model in service was trained (Changed since, above). If the data could be used "
    "before, put back or correct what changed, deploy, and start a run. If they are new, correct them and drop them "
    "again, under the same names, or take them away (aws s3 rm)."
)
_OTHER_TARGETS = (
    "Look at the files that came last before anything else: rows that the model in service was tested on have other "
    "targets there (Changed rows, above). If they are wrong, take them away (aws s3 rm), or drop again what they have "
    "replaced, and start a run. If they are corrected, the threshold can decide: "
)
_MORE_DATA = "Drop more data, of which a part tests, or let the threshold decide: "
_NO_MORE_DATA = "More data cannot help; the threshold can decide: "
_BY_DEFINITION = "set gate.without_comparison: threshold in model.yaml, deploy, and start a run."
_BY_RUN = (
    'once, with a run that is started with {"Overrides": {"GateWithoutComparison": "threshold"}}; or always, '
    "gate.without_comparison in model.yaml."
)
# From here on the endpoint may serve the new model, which readers of Parameter Store do not know yet.
_DEPLOYING = (
    "Create endpoint",
    "Update endpoint",
    "Wait for deployment",
    "Is the new model in service?",
    "Verify endpoint",
    "Check what serves",
    "Set the endpoint back?",
    "Restore previous model",
    "Wait for restoration",
)
_WHILE_DEPLOYING = (
    "The endpoint was being updated: it may serve the new model, while the names in Parameter Store are those of the "
    "previous one. Start a run, which verifies and exports what it deploys, or update the endpoint to the "
    "configuration that Parameter Store names."
)
# A call whose answer was lost is made again, and refused because it has worked.
_ASKED_BEFORE = re.compile("already existing|in-progress")
# An AWS service says so in the cause, whoever has called it. A HEAD request has no body for more than its status.
_REFUSED = re.compile(
    r"AccessDenied|is not authorized to perform|\(403\) when calling|Could not assume role|cannot be assumed by"
)
_FEATURES = re.compile(r"features\.py[,:]")
# As the optimised integration says it, and the one by the AWS SDK.
_THROTTLED = re.compile(r"Error Code: ThrottlingException;|Rate exceeded \(Service: ")
_DEFAULT = (
    "Open the execution: the failed state is marked there, with its input and a link to its log. When the cause is "
    "mended, start a run; the data are still there."
)


_ERROR_OF_STATUS = {
    "Rejected": "ModelAccuracyTooLow",
    "Superseded": "SupersededByNewerData",
    "TimedOut": "ExecutionTimedOut",
    "Aborted": "ExecutionAborted",
}


@dataclass(frozen=True)
class Outcome:
    """The end of a run, as far as rows look at it.

    obstacle        what a rejected candidate has failed at; empty of other runs
    is_doubtful     whether the gate's answer may be about data that are wrong (runs.news.cautions)
    is_unfair       whether the two models cannot be compared at all
    has_new_files   whether the run had files that the model in service was not trained on, and that say something new
    has_only_copies whether all of those hold nothing but rows of known files
    changed, gone   what of the definition is otherwise than when that was trained, how many of its files are not there
    may_ask_by_run  whether a run's input may let the threshold decide alone (deployable_overrides)
    """

    status: str
    error: str = ""
    state: str = ""
    cause: str = ""
    obstacle: str = ""
    is_doubtful: bool = False
    is_unfair: bool = False
    has_new_files: bool = True
    has_only_copies: bool = False
    changed: str = ""
    gone: int = 0
    may_ask_by_run: bool = False

    @property
    def job(self) -> JobEnd | None:
        """How the job ended that the cause describes."""
        return failed_job(self.cause)

    @property
    def name(self) -> str:
        """The error without the words that services put around it; of some statuses it is always the same."""
        return _ERROR_OF_STATUS.get(self.status) or self.error.removeprefix("SageMaker.").removesuffix("Exception")


@dataclass(frozen=True)
class Row:
    """What to do, in words, and the conditions, all of which must hold."""

    text: str | Callable[[Outcome], str]
    status: tuple[str, ...] = ()
    obstacle: str = ""
    states: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    cause: re.Pattern[str] | None = None
    when: Callable[[Outcome], bool] = lambda ended: True

    def fits(self, ended: Outcome) -> bool:
        """Return whether the row fits the end of a run."""
        return (
            (not self.status or ended.status in self.status)
            and self.obstacle in ("", ended.obstacle)
            and (not self.states or ended.state in self.states)
            and (not self.errors or ended.name in self.errors)
            and (self.cause is None or self.cause.search(ended.cause) is not None)
            and self.when(ended)
        )


def _ended(record: RunRecord) -> Outcome:
    status, failure, gate = record["status"], record.get("failure") or {}, record.get("gate") or {}
    definition = (record.get("configuration") or {}).get("definition", {})
    compared, since = (record.get("metrics") or {}).get("comparison") or {}, record.get("since") or {}
    only_copies = news.only_copies(record)
    return Outcome(
        status=status,
        error=failure.get("error") or "",
        state=failure.get("state") or "",
        cause=failure.get("cause") or "",
        obstacle=str(gate.get("obstacle") or "") if status == "Rejected" else "",
        is_doubtful=any(news.cautions(record)),
        is_unfair=bool(compared.get("unfair")),
        has_new_files=(record.get("new_files") or {}).get("files") != 0 and not only_copies,
        has_only_copies=only_copies,
        changed=some(since.get("definition", [])),
        gone=since.get("gone", {}).get("files", 0),
        may_ask_by_run="gate.without_comparison" in definition.get("deployable_overrides", ()),
    )


def advice(ended: Outcome) -> str:
    """Return what a person can do about a run that ended so."""
    text = next(row.text for row in TRAIN_MODEL if row.fits(ended))
    return text if isinstance(text, str) else text(ended)


def of_run(record: RunRecord) -> str:
    """Return what a person can do about a closed run record; empty where there is nothing to do."""
    since, ended = record.get("since") or {}, _ended(record)
    text = advice(ended)
    lost = since.get("unreadable", [])
    reads = [key for key in since.get("definition", []) if key.partition(".")[0] in READS]
    if text == _CORRECT_THE_DATA and (lost or reads):
        text = "" if lost else _CHANGED
    return "\n  ".join(part for part in (_unreadable(lost, reads), text, _of_removed_data(ended)) if part)


def _of_removed_data(ended: Outcome) -> str:
    """Say what to do where the model in service may know its test rows by wrong data that are taken away."""
    if ended.obstacle != "known" or not ended.gone:
        return ""
    return (
        "If wrong rows, or copies of others, were taken away so, the model in service has learned from them, and no "
        "candidate of the right data may reach it: go back to the model before it (docs/operate.md), and start a run."
    )


def _unreadable(lost: Sequence[Mapping[str, Any]], reads: Sequence[str]) -> str:
    """Return what to do about training files of the model in service that cannot be read any more."""
    if not lost:
        return ""
    names, changed = safe(some([file["name"] for file in lost]), MAX_NAMES), some(reads)
    mend = f"model.yaml has changed since ({changed}), which is the likely cause: put that back, or " if reads else ""
    return (
        f"{names} could be read when the model in service was trained. {mend or 'The file was replaced, or the code: '}"
        "drop it again as it was. To train without its rows on purpose, take it away (aws s3 rm). Then start a run."
    )


# ---- Of single rows


def _without_comparison(ended: Outcome) -> str:
    helps = _NO_MORE_DATA if ended.is_unfair else _MORE_DATA
    helps = _OTHER_TARGETS if ended.obstacle == "changed" else helps
    return helps + (_BY_RUN if ended.may_ask_by_run else _BY_DEFINITION)


def _of_known_data(ended: Outcome) -> str:
    """Return what to do about a model of the data that the one in service was trained on."""
    what = [f"the configuration has changed ({ended.changed})"] if ended.changed else []
    what += [f"{counted(ended.gone)} of that model {'is' if ended.gone == 1 else 'are'} gone"] if ended.gone else []
    also = " and ".join(what) or "nor has the configuration changed"
    lost = f"No data are new since the model in service was trained; {also}."
    if ended.status == "Succeeded":
        return f"{lost} If the model should not be worse on known rows, go back to the previous one (docs/operate.md)."
    back = "Put that back, improve the model," if what else "Improve the model"
    return f"{lost} {back} or lower the bar in model.yaml (gate); then deploy, and start a run."


def _was_cut_short(ended: Outcome) -> bool:
    """Return whether the run ended outside its own error path, which names the state and takes back what it can."""
    return ended.status in ("Aborted", "TimedOut") or failed_state(ended.cause) is None


def _is_of_features(ended: Outcome) -> bool:
    return bool(ended.job and _FEATURES.match(ended.job.own_words))


def _is_of_the_job(ended: Outcome) -> bool:
    """Return whether the end of a job says all: of the data, records and the training its own words say more."""
    return bool(ended.job and not (ended.job.own_words and ended.state in ("Preprocess", "Ingest records", "Train")))


def _is_about_the_data(ended: Outcome) -> bool:
    return bool(ended.job) or ended.name == "States.TaskFailed"


def _of_job(ended: Outcome) -> str:
    """Return what to do about a job of which nothing else is known than how it ended."""
    job = ended.job
    if job is None:
        return _DEFAULT
    if job.limit_seconds is not None:
        return (
            "Give the job more time (model.yaml, instances, max_runtime_seconds) or a larger instance, or one that is "
            "not taken away (spot: false), and start a run."
        )
    if job.reason.startswith("CapacityError"):
        return (
            "AWS had no machine of this type, though it was asked again and again for hours. Take another one "
            "(model.yaml, instances), or start a run later."
        )
    if job.status == "Stopped":
        return "Somebody stopped the job. The data are still there: start a run when you are ready."
    if job.was_killed:
        return (
            "The job was killed, mostly because its memory ran out: take a larger instance (model.yaml, instances) and "
            f"start a run. Its log: {job.log}"
        )
    if job.kind == "HyperParameterTuning":
        return (
            f"See why its trials failed, in run.json (jobs) and in CloudWatch Logs, {job.log}, and the ranges of "
            "hyperparameters in model.yaml. Then start a run."
        )
    return f"See the job's log in CloudWatch Logs, {job.log}. When the cause is mended, start a run."


TRAIN_MODEL = (
    Row(
        "Send the labels of requests since the change to ground-truth/ (docs/monitoring.md), or drop new labelled "
        "rows under the data prefix, which starts a run itself. To train on the same data all the same, start a run by "
        "hand.",
        status=("AlreadyTrained", "NoData"),
    ),
    # What the gate found.
    Row(_without_comparison, obstacle="unfair"),
    Row(_without_comparison, obstacle="changed"),
    Row(
        "Correct metrics.py in the model's folder (make check-model asks each function for what a window asks it for), "
        "deploy, and start a run; or let the gate ask for another metric (model.yaml, gate.metric).",
        obstacle="unmeasured",
        cause=re.compile(r"metrics\.py"),
    ),
    Row(
        "Take the new files away (aws s3 rm): their rows are in other files already. Then drop what was meant, or "
        "start a run.",
        status=("Succeeded", "Rejected"),
        when=lambda ended: ended.has_only_copies and not ended.changed,
    ),
    Row(
        "Look at the files that came last before anything else (New files, Drift, Known rows above; report/ in the "
        "run's folder). If they are wrong, take them away (aws s3 rm) and start a run. If the world has changed so, "
        "docs/operate.md says how such a model comes into service.",
        status=("Rejected",),
        when=lambda ended: ended.is_doubtful and ended.has_new_files,
    ),
    Row(
        "Look at the files that came last (New files, Drift, Known rows above; report/ in the run's folder). If they "
        "are wrong, take them away (aws s3 rm) and go back to the previous model (docs/operate.md). If the world has "
        "changed so: nothing.",
        status=("Succeeded",),
        when=lambda ended: ended.is_doubtful and ended.has_new_files,
    ),
    Row(_of_known_data, status=("Succeeded",), when=lambda ended: ended.is_doubtful),
    Row("", status=("Succeeded",)),
    Row(
        "Nothing, if it was for the numbers. To have such a model serve, drop its data under the stack's own prefix, "
        "or set in model.yaml or the stack's parameters what the input has set, and start a run without it. To let "
        "such runs deploy, list what is named above under deployable_overrides in model.yaml.",
        status=(TRAINED_ONLY,),
    ),
    Row(
        "Nothing, if the model in service is good enough: the test rows do not tell the two apart. More data, or a "
        "better model, will. To have such candidates serve (for corrected data, say), allow them to be a little "
        "worse: gate.minimum_improvement: -0.02 in model.yaml (or, where it is set, ask for less gate.confidence).",
        obstacle="chance",
    ),
    Row(
        "Look at the rows of the slice that is named above: more of them, or a feature that tells them apart, help. To "
        "have such a candidate serve, set its threshold or maximum_regression (gate.slices in model.yaml), deploy, and "
        "start a run.",
        obstacle="slice",
    ),
    Row(
        "Let DeepAR learn longer or on more (hyperparameters, series.context_length, more series or years), or look "
        "whether series.season is right: saying last season again is as good as the candidate, and costs nothing.",
        obstacle="naive",
    ),
    Row(
        "The model passed the gate, but the stack's model package group is gone. Make it again (aws sagemaker "
        "create-model-package-group --model-package-group-name, the name of the stack), and start a run.",
        states=("Register model",),
        cause=re.compile(r"does not exist"),
    ),
    # What a run has already changed.
    Row(
        "The endpoint serves the new model, which is verified, but not all of its names are in Parameter Store. When "
        "the cause is mended, start a run: it writes them all.",
        states=("Export configuration", "Write parameter"),
    ),
    Row(
        "Nothing is wrong with what serves. The next run deletes what this one has left; see the function's log if "
        "it comes again.",
        states=("Clean up",),
    ),
    Row(_WHILE_DEPLOYING, states=_DEPLOYING, when=_was_cut_short),
    Row(_WHILE_DEPLOYING, states=("Check deployment",)),
    Row(_WHILE_DEPLOYING, states=("Create endpoint", "Update endpoint"), cause=_ASKED_BEFORE),
    # What a service says, or our own code.
    Row(
        "A role lacks the permission that is named above (where it says only 403: the one for that operation), or "
        "the service's trust. Give it back (template.yaml has what the application needs; look for what was changed "
        "besides it, such as a boundary or an organisation's policy), and start a run.",
        status=("Failed",),
        cause=_REFUSED,
        when=lambda ended: ended.error != "DataVersionRefusedError",
    ),
    Row(
        "Correct features.py in the model's folder (make check-model tries it on a small table), deploy, and start a "
        "run. The traceback is in the job's log; the data are as they were.",
        when=_is_of_features,
    ),
    Row(_of_job, status=("Failed",), when=_is_of_the_job),
    Row(_of_known_data, errors=("ModelAccuracyTooLow",), when=lambda ended: not ended.has_new_files),
    Row(
        "Look at the data that came last and at report/ in the run's folder. If the numbers are right, lower the bar "
        "in model.yaml (gate) or improve the model; then start a run.",
        errors=("ModelAccuracyTooLow",),
    ),
    Row(
        "Nothing: the newer model serves. To have this run's data judged again, start a run.",
        errors=("SupersededByNewerData", "VersionSupersededError"),
    ),
    Row(
        "Approve another version (perennial versions, perennial approve), which comes into service then; or start a "
        "run.",
        errors=("VersionNotDeployableError",),
    ),
    Row(
        "If the model is not to serve: nothing. If it is to serve after all, approve its version: perennial approve, "
        "and the number of the version.",
        status=(NOT_APPROVED,),
    ),
    Row("Look in the execution for the state that took long, and at its job.", errors=("ExecutionTimedOut",)),
    Row(
        "Look at the run that is named above: while it deploys, no other run does. Stop it if it is stuck, then "
        "start a run.",
        errors=("DeploymentBusy",),
    ),
    Row(
        "Upload the file again. The other data are as they were, and the next run trains on them.",
        errors=("EmptyFileError",),
    ),
    Row(
        "Upload the file under another name, without control characters, and delete this one. The other data are as "
        "they were, and the next run trains on them.",
        errors=("FileNotListedError",),
    ),
    Row(
        "Correct what is named above (model.yaml, a stack parameter or the run's input) and start again.",
        errors=("ConfigurationError", "DefinitionError", "StackNameError"),
    ),
    Row(
        "Do what is said above for each object; the other data are as they were. Where it says only that S3 refuses, "
        "a role lacks the permission that is named (where it says only 403: the one for that operation), or a policy "
        "of the bucket or the key forbids it. Then start a run.",
        errors=("DataVersionRefusedError",),
    ),
    Row(
        "Start a run. If the same object is named again, it is that object: take it away (the command is above) or "
        "write it again; the other data are as they were. If others are named, or all, see the health of Amazon S3 in "
        "the region. No object is put aside for this: a run during an outage would train without data that are there.",
        errors=("DataVersionUnavailableError",),
    ),
    Row(
        "A file was deleted for good, or overwritten where no versions are kept, while the run began. Drop it again, "
        "or start a run without it.",
        errors=("DataVersionMissingError",),
    ),
    Row(
        "Somebody has written where only a job of the run writes; what serves is as it was. Find out who has "
        "(CloudTrail data events of S3, if the account records them) and take the permission away. If it is the "
        "model in service, put its file back: delete the versions that are newer than the recorded one (aws s3api "
        "list-object-versions, delete-object --version-id). Then start a run.",
        errors=("ArtifactChangedError",),
    ),
    Row(
        "The job ended without an error, and without the file that is named above: see its log in CloudWatch Logs, "
        "/aws/sagemaker/ProcessingJobs or TrainingJobs. When the cause is mended, start a run.",
        errors=("ArtifactMissingError",),
    ),
    Row(
        "The training job did not report what was asked for. See its log, and eval_metric in model.yaml.",
        errors=("MetricMissingError",),
    ),
    Row(
        "The batch predictions do not fit the test rows. See the log of the predict job.",
        errors=("PredictionsError",),
    ),
    Row(
        "See the log of the job that is named above, in CloudWatch Logs, /aws/sagemaker/ProcessingJobs: it ended "
        "without an error, and without these files. The model in service is as it was; when the cause is mended, "
        "start a run.",
        errors=("BaselinesMissing",),
    ),
    Row(
        "The endpoint answered, but not as tested; what serves now is said above. Compare its log with the predict "
        "job's, then start a run. The names in Parameter Store are still those of the previous model.",
        errors=("EndpointVerificationError",),
    ),
    Row(
        "See the endpoint's log and events. If an update was rolled back, the previous model serves.",
        errors=("DeploymentFailed",),
    ),
    Row(
        "The function was over its time. Start a run; if it comes again, see the function's log.",
        errors=("Sandbox.Timedout",),
    ),
    Row(
        "The account's functions were at their limit for an hour. Start a run; if it comes again, ask for a higher "
        "limit of concurrent executions.",
        errors=("Lambda.TooManyRequests",),
    ),
    Row(
        "The account's quota was used up all the time. Ask for a higher one, or take other instances (model.yaml, "
        "instances).",
        errors=("ResourceLimitExceeded",),
    ),
    Row(
        "Before the endpoint is updated nothing of the model in service changes. Start a run when you are ready; the "
        "data are still there.",
        errors=("ExecutionAborted",),
    ),
    Row(
        "AWS refused this for minutes because the account asked too often. Start a run; if it comes again, see what "
        "else calls this API.",
        cause=_THROTTLED,
    ),
    # What the job of a state says. Any other error of the state is not about the data.
    Row(_CORRECT_THE_DATA, states=("Preprocess",), when=_is_about_the_data),
    Row(
        "Put right what the job says of the feature group, and start a run: it ingests the files that are not records "
        "yet. Nothing of the model in service has changed. The log is in CloudWatch Logs, "
        "/aws/sagemaker/ProcessingJobs.",
        states=("Ingest records",),
        when=_is_about_the_data,
    ),
    Row(
        "See the training job's log in CloudWatch Logs, /aws/sagemaker/TrainingJobs, and start a run.",
        states=("Train",),
        when=_is_about_the_data,
    ),
    Row(_DEFAULT),
)
