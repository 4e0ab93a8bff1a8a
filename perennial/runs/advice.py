"""What people can do about a run that ended: by its error, the state that failed, its cause, or what the gate found."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from perennial.data.since import READS
from perennial.runs import news
from perennial.runs.cause import failed_job, failed_state, safe
from perennial.runs.facts import some
from perennial.runs.job_end import JobEnd
from perennial.runs.run_record import RunRecord
from perennial.runs.work import TRAINED_ONLY

MAX_NAMES = 400

# What to do, by error name; and by the state that failed when the name says nothing.
_ADVICE = {
    "ModelAccuracyTooLow": "Look at the data that came last and at report/ in the run's folder. If the numbers are "
    "right, lower the bar in model.yaml (gate) or improve the model; then start a run.",
    "SupersededByNewerData": "Nothing: the newer model serves. To have this run's data judged again, start a run.",
    "DeploymentBusy": "Look at the run that is named above: while it deploys, no other run does. Stop it if it is "
    "stuck, then start a run.",
    "EmptyFileError": "Upload the file again. The other data are as they were, and the next run trains on them.",
    "FileNotListedError": "Upload the file under another name, without control characters, and delete this one. The "
    "other data are as they were, and the next run trains on them.",
    "ConfigurationError": "Correct what is named above (model.yaml, a stack parameter or the run's input) and start "
    "again.",
    "DataVersionRefusedError": "Do what is said above for each object; the other data are as they were. Where it says "
    "only that S3 refuses, a role lacks the permission that is named (where it says only 403: the one for that "
    "operation), or a policy of the bucket or the key forbids it. Then start a run.",
    "DataVersionUnavailableError": "Start a run. If it comes again, see the health of Amazon S3 in the region.",
    "DataVersionMissingError": "A file was deleted for good, or overwritten where no versions are kept, while the run "
    "began. Drop it again, or start a run without it.",
    "ArtifactChangedError": "Somebody has written where only a job of the run writes; what serves is as it was. Find "
    "out who has (CloudTrail data events of S3, if the account records them) and take the permission away. If it is "
    "the model in service, put its file back: delete the versions that are newer than the recorded one (aws s3api "
    "list-object-versions, delete-object --version-id). Then start a run.",
    "ArtifactMissingError": "The job ended without an error, and without the file that is named above: see its log in "
    "CloudWatch Logs, /aws/sagemaker/ProcessingJobs or TrainingJobs. When the cause is mended, start a run.",
    "MetricMissingError": "The training job did not report what was asked for. See its log, and eval_metric in "
    "model.yaml.",
    "PredictionsError": "The batch predictions do not fit the test rows. See the log of the predict job.",
    "BaselinesMissing": "See the log of the job that is named above, in CloudWatch Logs, "
    "/aws/sagemaker/ProcessingJobs: it ended without an error, and without these files. The model in service is as it "
    "was; when the cause is mended, start a run.",
    "EndpointVerificationError": "The endpoint answered, but not as tested; what serves now is said above. Compare its "
    "log with the predict job's, then start a run. The names in Parameter Store are still those of the previous model.",
    "DeploymentFailed": "See the endpoint's log and events. If an update was rolled back, the previous model serves.",
    "Sandbox.Timedout": "The function was over its time. Start a run; if it comes again, see the function's log.",
    "Lambda.TooManyRequests": "The account's functions were at their limit for an hour. Start a run; if it comes "
    "again, ask for a higher limit of concurrent executions.",
    "ExecutionTimedOut": "Look in the execution for the state that took long, and at its job.",
    "ResourceLimitExceeded": "The account's quota was used up all the time. Ask for a higher one, or take other "
    "instances (model.yaml, instances).",
    "ExecutionAborted": "Before the endpoint is updated nothing of the model in service changes. Start a run when you "
    "are ready; the data are still there.",
}
# Of a rejected candidate, by what it has failed at (evaluation.gate.Obstacle).
_BY_OBSTACLE = {
    "chance": "Nothing, if the model in service is good enough: the test rows do not tell the two apart. More data, or "
    "a better model, will. To have such candidates serve (for corrected data, say), allow them to be a little worse: "
    "gate.minimum_improvement: -0.02 in model.yaml.",
}
# Instead, where the data are in doubt (runs.news.cautions): a gate that is lowered then lets wrong data in.
_DOUBTFUL = {
    "Rejected": "Look at the files that came last before anything else (New files, Drift, Known rows above; report/ in "
    "the run's folder). If they are wrong, take them away (aws s3 rm) and start a run. If the world has changed so, "
    "docs/operate.md says how such a model comes into service.",
    "Succeeded": "Look at the files that came last (New files, Drift, Known rows above; report/ in the run's folder). "
    "If they are wrong, take them away (aws s3 rm) and go back to the previous model (docs/operate.md). If the world "
    "has changed so: nothing.",
}
_MORE_DATA = "Drop more data, of which a part tests, or let the threshold decide: "
_NO_MORE_DATA = "More data cannot help; the threshold can decide: "
_BY_DEFINITION = "set gate.without_comparison: threshold in model.yaml, deploy, and start a run."
_BY_RUN = (
    'once, with a run that is started with {"Overrides": {"GateWithoutComparison": "threshold"}}; or always, '
    "gate.without_comparison in model.yaml."
)
_TRAINED_ONLY = (
    "Nothing, if it was for the numbers. To have such a model serve, drop its data under the stack's own prefix, or "
    "set in model.yaml or the stack's parameters what the input has set, and start a run without it. To let such runs "
    "deploy, list what is named above under deployable_overrides in model.yaml."
)
_BY_STATE = {
    "Preprocess": "Correct the data that are named above and drop them again, under the same names, or take them away "
    "(aws s3 rm). Rows that were put aside, with reasons, are under quarantine/ in the run's folder.",
    "Train": "See the training job's log in CloudWatch Logs, /aws/sagemaker/TrainingJobs, and start a run.",
}
# Instead of the data's correction.
_CHANGED = (
    "model.yaml has changed since the model in service was trained (Changed since, above). If the data could be used "
    "before, put back or correct what changed, deploy, and start a run. If they are new, correct them and drop them "
    "again, under the same names, or take them away (aws s3 rm)."
)
_EXPORTING = (
    "The endpoint serves the new model, which is verified, but not all of its names are in Parameter Store. When the "
    "cause is mended, start a run: it writes them all."
)
# What a run has already changed when it ends here is more important than how it ended.
_FIRST_BY_STATE = {
    "Export configuration": _EXPORTING,
    "Write parameter": _EXPORTING,
    "Clean up": "Nothing is wrong with what serves. The next run deletes what this one has left; see the function's "
    "log if it comes again.",
}
# From here on the endpoint may serve the new model, which readers of Parameter Store do not know yet.
_DEPLOYING = (
    "Create endpoint",
    "Update endpoint",
    "Wait for deployment",
    "Check deployment",
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
# An AWS service says so in the cause, whoever has called it. A HEAD request has no body for more than its status.
_REFUSED = re.compile(
    r"AccessDenied|is not authorized to perform|\(403\) when calling|Could not assume role|cannot be assumed by"
)
_GIVE_BACK = (
    "A role lacks the permission that is named above (where it says only 403: the one for that operation), or the "
    "service's trust. Give it back (template.yaml has what the application needs; look for what was changed besides "
    "it, such as a boundary or an organisation's policy), and start a run."
)
_FEATURES = re.compile(r"features\.py[,:]")
_MEND_FEATURES = (
    "Correct features.py in the model's folder (make check-model tries it on a small table), deploy, and start a run. "
    "The traceback is in the job's log; the data are as they were."
)
# As the optimised integration says it, and the one by the AWS SDK.
_THROTTLED = re.compile(r"Error Code: ThrottlingException;|Rate exceeded \(Service: ")
_TOO_OFTEN = (
    "AWS refused this for minutes because the account asked too often. Start a run; if it comes again, see what else "
    "calls this API."
)
_BY_STATUS = {
    "Rejected": "ModelAccuracyTooLow",
    "Superseded": "SupersededByNewerData",
    "TimedOut": "ExecutionTimedOut",
    "Aborted": "ExecutionAborted",
}
_DEFAULT = (
    "Open the execution: the failed state is marked there, with its input and a link to its log. When the cause is "
    "mended, start a run; the data are still there."
)


def of_run(record: RunRecord) -> str:
    """Return what a person can do about a closed run record; empty where there is nothing to do."""
    since, text = record.get("since") or {}, _of_outcome(record)
    lost = since.get("unreadable", [])
    reads = [key for key in since.get("definition", []) if key.partition(".")[0] in READS]
    if text == _BY_STATE["Preprocess"] and (lost or reads):
        text = "" if lost else _CHANGED
    return "\n  ".join(part for part in (_unreadable(lost, reads), text) if part)


def _unreadable(lost: Sequence[Mapping[str, Any]], reads: Sequence[str]) -> str:
    """What to do about files that the model in service could be trained on."""
    if not lost:
        return ""
    names, changed = safe(some([file["name"] for file in lost]), MAX_NAMES), some(reads)
    mend = f"model.yaml has changed since ({changed}), which is the likely cause: put that back, or " if reads else ""
    return (
        f"{names} could be read when the model in service was trained. {mend or 'The file was replaced, or the code: '}"
        "drop it again as it was. To train without its rows on purpose, take it away (aws s3 rm). Then start a run."
    )


def _of_outcome(record: RunRecord) -> str:
    status, failure, gate = record["status"], record.get("failure") or {}, record.get("gate") or {}
    obstacle = str(gate.get("obstacle")) if status == "Rejected" else ""
    if obstacle == "unfair":
        return _without_comparison(record)
    if status in _DOUBTFUL and any(news.cautions(record)):
        return _DOUBTFUL[status]
    if status == "Succeeded":
        return ""
    if status == TRAINED_ONLY:
        return _TRAINED_ONLY
    error, state, cause = (str(failure.get(name) or "") for name in ("error", "state", "cause"))
    return _BY_OBSTACLE.get(obstacle) or advice(status, error, state, cause)


def _without_comparison(record: RunRecord) -> str:
    deployable = record["configuration"]["definition"].get("deployable_overrides", ())
    compared = record["metrics"]["comparison"] or {}
    helps = _NO_MORE_DATA if compared["unfair"] else _MORE_DATA
    return helps + (_BY_RUN if "gate.without_comparison" in deployable else _BY_DEFINITION)


def advice(status: str, error: str, state: str, cause: str = "") -> str:
    """Return what a person can do about a run that ended in a status, by an error, in a state, for a cause."""
    if state in _FIRST_BY_STATE:
        return _FIRST_BY_STATE[state]
    if (state in _DEPLOYING and _was_cut_short(status, cause)) or _may_have_been_asked(state, cause):
        return _WHILE_DEPLOYING
    if status == "Failed" and _REFUSED.search(cause) and error != "DataVersionRefusedError":
        return _GIVE_BACK
    job = failed_job(cause)
    if job and _FEATURES.match(job.own_words):
        return _MEND_FEATURES
    if job and status == "Failed" and not (job.own_words and state in _BY_STATE):
        return _job_advice(job)
    name = error.removeprefix("SageMaker.").removesuffix("Exception")
    name = "ConfigurationError" if name in ("DefinitionError", "StackNameError") else name
    name = _BY_STATUS.get(status, name)
    by_text = _TOO_OFTEN if _THROTTLED.search(cause) else None
    by_job = job or name == "States.TaskFailed"  # any other error of the state is not about the data
    return _ADVICE.get(name) or by_text or (_BY_STATE.get(state) if by_job else None) or _DEFAULT


def _was_cut_short(status: str, cause: str) -> bool:
    """Say whether the run ended outside its own error path, which names the state and takes back what it can."""
    return status in ("Aborted", "TimedOut") or failed_state(cause) is None


def _may_have_been_asked(state: str, cause: str) -> bool:
    """Say whether an update may be under way although the run failed: it was not followed, or its answer was lost."""
    again = "already existing" in cause or "in-progress" in cause
    return state == "Check deployment" or (state in ("Create endpoint", "Update endpoint") and again)


def _job_advice(job: JobEnd) -> str:
    if job.limit_seconds is not None:
        return (
            "Give the job more time (model.yaml, instances, max_runtime_seconds) or a larger instance, and start a run."
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
    return f"See the job's log in CloudWatch Logs, {job.log}. When the cause is mended, start a run."
