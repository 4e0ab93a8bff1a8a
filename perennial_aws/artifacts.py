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

from perennial.runs import run_record
from perennial_aws import champion, copying, objects, runs
from perennial_aws.clients import client

NAMES = ("preprocessor", "model")
_CHUNK_BYTES = 1 << 20


class ArtifactMissingError(Exception):
    """A job completed without its artefact."""


class ArtifactChangedError(Exception):
    """An artefact is not the one that was recorded when its job had ended."""


def seal(run_id: str, name: str, uri: str) -> dict[str, Any]:
    """Copy what a job wrote and record both; return what the run's record has of its artefacts now.

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
    sealed = copying.copy(source, bucket, target, content["ContentLength"]) or objects.newest_version(bucket, target)
    recorded = {
        "written": {"uri": uri, "version_id": version},
        "sealed": {"uri": f"s3://{bucket}/{target}", "version_id": sealed},
        "sha256": digest.hexdigest(),
        "size_bytes": content["ContentLength"],
    }
    known = {**known, name: recorded}
    runs.update(run_id, artifacts=known)
    return known


def require_written(run_id: str, known: Mapping[str, Any]) -> None:
    """Raise ArtifactChangedError when one of the artefacts that are recorded of a run is not as its job wrote it."""
    for name, recorded in known.items():
        newest = objects.newest_version(*objects.split_uri(recorded["written"]["uri"]))
        _require(run_id, name, recorded, "written", newest)


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
    folders = {known[name]["sealed"]["uri"].rpartition("/")[0] for name in NAMES}
    newest = {key: version for folder in folders for key, version in objects.newest_versions(f"{folder}/").items()}
    for name in NAMES:
        _, key = objects.split_uri(known[name]["sealed"]["uri"])
        _require(run_id, name, known[name], "sealed", newest.get(key))


def _recorded(run_id: str) -> dict[str, Any]:
    """By name; an earlier version recorded addresses alone."""
    known = (runs.get(run_id) or {}).get("artifacts") or {}
    return {name: recorded for name, recorded in known.items() if isinstance(recorded, dict)}


def _require(run_id: str, name: str, recorded: Mapping[str, Any], place: str, newest: str | None) -> None:
    uri, wanted = recorded[place]["uri"], recorded[place]["version_id"]
    if newest != wanted:
        now = f"its newest version is {newest}" if newest else "it was deleted"
        raise ArtifactChangedError(
            f"the {name} of run {run_id} is not the one that was recorded when its job had ended: {uri} had version "
            f"{wanted} (SHA-256 {recorded['sha256']}), and {now}"
        )
