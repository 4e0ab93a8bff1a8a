"""What a version in the model registry says of the run that made it, in names and short texts.

SageMaker API Reference, CreateModelPackage, CustomerMetadataProperties: at most 50 entries, keys of 128 characters and
values of 256, of letters, digits, spaces and `_.:/=+-@`. All of it stands whole in the run's config.json and run.json.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from perennial.model.algorithms.ranges import is_range
from perennial.runs.run_record import RunRecord

MAX_ENTRIES = 50
MEASURED = 4  # entries that the flow adds: metric, candidate, champion, compared-with
MAX_KEY, MAX_VALUE = 128, 256
HYPERPARAMETER = "hyperparameter:"
LEFT_OUT = "hyperparameters-left-out"
PROMOTED_FROM = "promoted-from"
_REFUSED = re.compile(r"[^\w.:/=+\-@]+")


def of_run(record: RunRecord) -> dict[str, str]:
    """Return the metadata of a run's version: where it comes from, then as many hyperparameters as find room.

    The flow adds those that are tuned.
    """
    origin = _entries(_origin(record))
    hyperparameters = sorted(record["configuration"]["algorithm"]["hyperparameters"].items())
    learned = _entries({f"{HYPERPARAMETER}{name}": value for name, value in hyperparameters})
    room = MAX_ENTRIES - MEASURED - len(origin) - _tuned(record["configuration"])
    if len(learned) <= room:
        return origin | learned
    some = dict(list(learned.items())[: room - 1])
    return origin | some | {LEFT_OUT: str(len(learned) - len(some))}


def promoted(properties: Mapping[str, str], version_arn: str) -> dict[str, str]:
    """Return the metadata of a version that comes from another environment, and which it was there.

    Where there is no room, hyperparameters are left out.
    """
    origin = {**properties, PROMOTED_FROM: _text(version_arn, MAX_VALUE)}
    learned = sorted(name for name in origin if name.startswith(HYPERPARAMETER))
    while len(origin) > MAX_ENTRIES and learned:
        del origin[learned.pop()]
        origin[LEFT_OUT] = str(int(origin.get(LEFT_OUT, "0")) + 1)
    return origin


def _tuned(configuration: Mapping[str, Any]) -> int:
    """Return how many hyperparameters are ranges, which their values are not."""
    own = configuration["definition"].get("hyperparameters", {}).get(configuration["algorithm"]["name"], {})
    return sum(map(is_range, own.values()))


def _origin(record: RunRecord) -> dict[str, object]:
    configuration = record["configuration"]
    return {
        "run": record["run_id"],
        "stack": record["stack"],
        "model": record["model"],
        "problem": configuration["definition"]["problem"],
        "target": configuration["definition"]["target"],
        "threshold": configuration["gate"]["threshold"],
        "algorithm": configuration["algorithm"]["name"],
        "commit": record["code"]["commit"],
        "code": record["code"]["hash"],
        "scripts": record["code"].get("scripts", ""),
        "data": record["data"]["fingerprint"],
        "data-files": record["data"]["file_count"],
        "manifest": record["data"]["manifest"],
        "configuration": f"s3://{record['bucket']}/runs/{record['run_id']}/config.json",
    }


def _entries(values: Mapping[str, object]) -> dict[str, str]:
    """Return what may stand there: other characters become a space, and nothing is said of what is empty then."""
    texts = {_text(key, MAX_KEY): _text(str(value), MAX_VALUE) for key, value in values.items()}
    return {key: text for key, text in texts.items() if key and text}


def _text(text: str, longest: int) -> str:
    return _REFUSED.sub(" ", text).strip()[:longest].strip()
