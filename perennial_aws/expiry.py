"""Marks what goes of the folder of a run that has ended: what jobs write cannot be tagged when it is made."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from perennial.runs import keeping
from perennial_aws import objects, runs
from perennial_aws.clients import client

THREADS = 16


def mark(run_id: str) -> int:
    """Tag what expires of a run, and return how many objects that are; a second time changes nothing."""
    known = runs.get(run_id)
    if known is None:
        return 0
    artefacts = known.get("artifacts") or {}
    sealed = [name for name, artefact in artefacts.items() if "sealed" in artefact]
    has_version = bool(known.get("version") or known.get("deployed"))
    bucket, prefix = known["bucket"], f"runs/{run_id}/"
    names = [key.removeprefix(prefix) for key in objects.keys(f"s3://{bucket}/{prefix}")]
    if has_version and keeping.VERIFICATION not in names:
        return 0  # begun by an earlier version of Perennial: its endpoint is verified by its sets
    going = [prefix + name for name in names if keeping.expires(name, sealed=sealed, has_version=has_version)]
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(lambda key: _tag(bucket, key), going))
    return len(going)


def _tag(bucket: str, key: str) -> None:
    client("s3").put_object_tagging(Bucket=bucket, Key=key, Tagging={"TagSet": [keeping.EXPIRES]})
