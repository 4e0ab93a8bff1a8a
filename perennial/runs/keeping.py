"""What of a run's folder goes some days after the run has ended, and what stays, by its name in that folder.

What a run makes of rows is as large as the data, and nothing that comes later reads it: a run is repeated from its
manifest; a model serves from serving/, is monitored by baselines/, compared with by rows/ and verified by
verification/, as long as anybody may put it into service. A lifecycle rule of the bucket (parameter RunSetsDays)
deletes what has the tag EXPIRES. An object gets it when its run has ended, so that no run loses what it still reads.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, timedelta

EXPIRES = {"Key": "expires", "Value": "RunSetsDays"}
SETS = (
    "train/", "validation/", "test/", "labels/", "baseline/", "predictions/", "evaluation/predictions.csv",
    "quarantine/", "checkpoints/", "rows/champion-test/",
)  # fmt: skip
VERIFICATION = "verification/records.jsonl"  # what an endpoint is verified by, whenever the model comes into service
_HASHES = "rows/"  # by which later runs tell what the model has seen
_ARTEFACTS = {"preprocessor": "preprocessor/", "model": "model/"}


def expires(name: str, *, sealed: Collection[str], has_version: bool) -> bool:
    """Return whether a file of a run that has ended may go.

    sealed       the artefacts of which serving/ has copies: what jobs wrote of the others may serve itself
    has_version  whether the run has registered a version, which may serve at any time
    """
    going = [*SETS, *(_ARTEFACTS[artefact] for artefact in sealed), *([] if has_version else [_HASHES])]
    return name.startswith(tuple(going))


def kept_until(started_at: datetime, ended_at: datetime, days: int) -> date | None:
    """Return the day until which a run's sets are there at least; None where they are kept."""
    return max(started_at + timedelta(days=days), ended_at).date() if days else None
