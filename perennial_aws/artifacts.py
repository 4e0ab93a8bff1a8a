"""The artefacts of training and preprocessing, and their copies that serve, bound by version and SHA-256.

When a job has ended, its artefact is recorded and copied: runs/<run id>/serving/<name>.tar.gz is what the model is made
of, and no job may write there. CreateModel binds by address only (docs/decisions/0016), and each instance downloads for
itself, so that the address must not change what it holds. The record of the run has, by name,
{"written": {"uri", "version_id"}, "sealed": {"uri", "version_id"}, "sha256", "size_bytes"}.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from boto3.s3.transfer import TransferConfig

from perennial.runs import run_record
from perennial_aws import champion, objects, runs
from perennial_aws.clients import client

NAMES = ("preprocessor", "model")
# One copy call up to 1 GiB, parts of 256 MiB beyond.
_TRANSFER = TransferConfig(multipart_threshold=1 << 30, multipart_chunksize=1 << 28)
_CHUNK_BYTES = 1 << 20


class ArtifactMissingError(Exception):
    """A job completed without its artefact."""


class ArtifactChangedError(Exception):
    """An artefact is not the one that was recorded when its job had ended."""


def seal(run_id: str, name: str, uri: str) -> str:
    """Record what a job wrote, and return the address of the copy that serves.

    Raises ArtifactMissingError.
    """
    known = _recorded(run_id)  # first: a copy that cannot be recorded is none that may serve
    bucket, key = objects.split_uri(uri)
    version = objects.newest_version(bucket, key)
    if version is None:
        raise ArtifactMissingError(f"{uri} is not there; expected the {name} of run {run_id}, whose job has completed")
    content = client("s3").get_object(Bucket=bucket, Key=key, VersionId=version)
    digest = hashlib.sha256()
    for chunk in content["Body"].iter_chunks(_CHUNK_BYTES):
        digest.update(chunk)
    target = f"runs/{run_id}/serving/{name}.tar.gz"
    source = {"Bucket": bucket, "Key": key, "VersionId": version}
    client("s3").copy(source, bucket, target, ExtraArgs={"TaggingDirective": "REPLACE"}, Config=_TRANSFER)
    recorded = {
        "written": {"uri": uri, "version_id": version},
        "sealed": {"uri": f"s3://{bucket}/{target}", "version_id": objects.newest_version(bucket, target)},
        "sha256": digest.hexdigest(),
        "size_bytes": content["ContentLength"],
    }
    runs.update(run_id, artifacts={**known, name: recorded})
    return f"s3://{bucket}/{target}"


def require_written(run_id: str) -> None:
    """Raise ArtifactChangedError when an artefact of a run is not as its job wrote it, as far as that is recorded."""
    for name, recorded in _recorded(run_id).items():
        _require(run_id, name, recorded, "written")


def require_sealed(run_id: str) -> None:
    """Raise ArtifactChangedError when the copies of a run's artefacts that serve are not those that were recorded."""
    _require_sealed(run_id, _recorded(run_id))


def require_sealed_champion(serving: run_record.Champion | None) -> None:
    """Require the same of the model in service, if there is one; a version that recorded nothing has nothing to say."""
    if serving:
        run_id = champion.run_of(serving)
        if known := _recorded(run_id):
            _require_sealed(run_id, known)


def _require_sealed(run_id: str, known: Mapping[str, Any]) -> None:
    missing = [name for name in NAMES if name not in known]
    if missing:
        raise ArtifactChangedError(f"the record of run {run_id} does not say what its {' and '.join(missing)} was")
    for name in NAMES:
        _require(run_id, name, known[name], "sealed")


def _recorded(run_id: str) -> dict[str, Any]:
    """By name; an earlier version recorded addresses alone."""
    known = (runs.get(run_id) or {}).get("artifacts") or {}
    return {name: recorded for name, recorded in known.items() if isinstance(recorded, dict)}


def _require(run_id: str, name: str, recorded: Mapping[str, Any], place: str) -> None:
    uri, wanted = recorded[place]["uri"], recorded[place]["version_id"]
    newest = objects.newest_version(*objects.split_uri(uri))
    if newest != wanted:
        now = f"its newest version is {newest}" if newest else "it was deleted"
        raise ArtifactChangedError(
            f"the {name} of run {run_id} is not the one that was recorded when its job had ended: {uri} had version "
            f"{wanted} (SHA-256 {recorded['sha256']}), and {now}"
        )
