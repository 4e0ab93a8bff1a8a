"""Files that are scored: where they are in the bucket, and which execution scores which version of a file.

batch/incoming/<name>         what people drop, until its predictions are whole
batch/work/<batch id>/        the version that is scored, records, predictions: deleted after a few days
batch/runs/<batch id>/        config.json, verdict.json, report.html of what was not scored, batch.json: how it ended
batch/scored/<batch id>/      <name>, with predictions, <name>.report.json and <name>.report.html
batch/done/<batch id>/<name>  the original

`batch#<key>#<version>` of the run table is the claim of a version of a file.
"""

from __future__ import annotations

from typing import Any

from perennial.runs import work
from perennial.runs.batch_file import INCOMING
from perennial_aws import copying, objects, runs
from perennial_aws.settings import settings

_ATTEMPTS = 8


class BatchContestedError(Exception):
    """The claim of a file changed hands again and again. Transient."""


def folder(name: str, batch_id: str) -> str:
    """Return the address of a batch's folder: work, runs, scored or done."""
    return f"s3://{settings.bucket}/batch/{name}/{batch_id}"


def relative(key: str) -> str:
    """Return the name of a file below batch/incoming/."""
    return key.removeprefix(INCOMING)


def ended(batch_id: str) -> dict[str, Any] | None:
    """Return how a batch has ended; None where it has not, or was not reported."""
    known: dict[str, Any] | None = objects.read_json_if_there(f"{folder('runs', batch_id)}/batch.json")
    return known


def claimed(key: str, version_id: str) -> dict[str, Any] | None:
    """Return who has a version of a file, {"run_id", "execution_arn"}; None when nobody has, or had."""
    return runs.item(f"batch#{key}#{version_id}")


def claim(key: str, version_id: str, batch_id: str, execution_arn: str, *, again: bool) -> str | None:
    """Take a version of a file and return None, or return why it is not to be scored (once more).

    again  whether one that has failed is tried again: its event comes once, so that another one is the same
    """
    for _ in range(_ATTEMPTS):
        held = claimed(key, version_id)
        if held and held["run_id"] == batch_id:
            return None
        if held:
            status = runs.status_of_execution(held["execution_arn"])
            if status == work.RUNNING:
                return f"batch {held['run_id']} scores this version of the file now"
            if status == "Succeeded" or not again:
                return f"batch {held['run_id']} has worked on this version of the file"
        if runs.take(f"batch#{key}#{version_id}", batch_id, execution_arn, held["run_id"] if held else None):
            return None
    raise BatchContestedError(f"{key} changed hands {_ATTEMPTS} times while batch {batch_id} asked for it")


def copy(source_uri: str, target_uri: str, version_id: str | None = None) -> None:
    """Copy an object of any size."""
    bucket, key = objects.split_uri(source_uri)
    source = {"Bucket": bucket, "Key": key, **({"VersionId": version_id} if version_id else {})}
    copying.copy(source, *objects.split_uri(target_uri))
