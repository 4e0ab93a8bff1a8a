"""Judging a model where its traffic brings too few labels: by rows that the endpoint was asked about.

The rows are test rows of a later run, with their labels, that the model has neither trained nor been tested on; the
function probe_endpoint chooses them, asks, and leaves probe.json, a document with one of

reason        there is nothing to ask about, and why
failed        what the endpoint said, or that it said nothing
labels, scores   `(n_rows,)` each, with `about`: run (whose test set has the rows), data (what it worked on: prefix,
              listed_at, fingerprint, files, manifest, newest), rows, refused and unasked rows
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from perennial.data.column_statistics import Floats

FILE = "probe.json"
BATCH_ROWS, BATCH_CHARACTERS = 100, 1_000_000  # of a request, which may have 6 MB
_NOTHING: Floats = np.empty(0)


@dataclass(frozen=True)
class QualityRows:
    """What the quality of a model is judged by: labels and scores `(n_rows,)`.

    missing  why the labelled requests are too few; empty where they are these rows
    about    of the rows that the endpoint was asked about: which they are; empty for requests
    failed   how the endpoint failed when it was asked
    """

    labels: Floats
    scores: Floats
    missing: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)
    failed: str = ""

    @property
    def are(self) -> str:
        """What the rows are, for people."""
        return "probed rows" if self.about else "labelled records"

    @property
    def sentence(self) -> str:
        """Why and by which rows the endpoint was probed, for people; empty where requests had labels enough."""
        if not self.about:
            return self.missing
        data = self.about["data"]
        newest = f", the newest {data['newest']['Key']}" if data.get("newest") else ""
        left_out = "".join(
            f"; {self.about[name]:,} more were {name}" for name in ("refused", "unasked") if self.about[name]
        )
        return (
            f"{self.missing}; so the endpoint was probed with {self.about['rows']:,} labelled rows that its model has "
            f"not seen, from the test set of run {self.about['run']}: {data['files']:,} data files as of "
            f"{data['listed_at']}{newest}{left_out}"
        )


def rows_to_judge(
    labelled: tuple[Floats, Floats], missing: str, probe: Mapping[str, Any] | None, least: int
) -> QualityRows:
    """Return the labelled requests, or where they are too few the rows that the endpoint was asked about.

    labelled  labels and scores of requests
    missing   why these are too few; empty where they are enough
    probe     probe.json; None where the endpoint was not asked
    least     how many rows can be judged
    """
    if not missing or probe is None:
        return QualityRows(*labelled, missing)
    if "failed" in probe:
        return QualityRows(_NOTHING, _NOTHING, missing, failed=f"the endpoint could not be probed: {probe['failed']}")
    if "reason" in probe:
        return QualityRows(_NOTHING, _NOTHING, f"{missing}; the endpoint was not probed: {probe['reason']}")
    labels, scores = (np.array(probe[name], np.float64) for name in ("labels", "scores"))
    if labels.size < least:
        few = f"the endpoint was probed with {labels.size:,} rows that its model has not seen; expected {least:,}"
        return QualityRows(_NOTHING, _NOTHING, f"{missing}; {few}")
    return QualityRows(labels, scores, missing, probe["about"])


def batches(records: Sequence[str]) -> list[list[str]]:
    """Return records as requests of a size that every container takes."""
    made: list[list[str]] = []
    room = 0
    for record in records:
        if not made or len(made[-1]) == BATCH_ROWS or room < len(record):
            made.append([])
            room = BATCH_CHARACTERS
        made[-1].append(record)
        room -= len(record)
    return made
