"""Hashes that identify a row by what it says, whatever file it stands in, and wherever in it.

identity  of the key, where the definition names one (`split.key`); else of the features, and of the column that a split
          by time or group uses. It decides the set of a row, and whether a model in service has seen it.
content   of identity and target: rows of one content are copies of each other. With a key it is the identity, so that a
          row which comes again under its key is the same row, corrected.

The target is no part of the identity: a row whose target was corrected is still the row that a model has seen. For test
rows it has a hash of its own, which shows that a row has another target than before. Names are no part either: the
columns are taken in their order, which is that of their names. In another encoding of files (files.encoding) the same
bytes are other texts, but for those of ASCII. Hashes have 64 bits: among ten million rows one false
match in 370,000 runs. They are a format: runs compare theirs with those of earlier runs (VERSION).
Needs numpy alone; data.row_hasher makes the hashes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from perennial.data.file_form import USUAL, FileForm

Hashes = npt.NDArray[np.uint64]

VERSION = 1
# In a run's folder; below it seen/, test/, target/ and champion/, with a key rest/ and seen-rest/: 8 bytes a row,
# little-endian.
FOLDER = f"rows/v{VERSION}"
CHAMPION_TEST = "rows/champion-test"  # the test set as the model in service reads it, where it does so otherwise
# Columns beside those of a definition. WHOLE is there with a key only; without one it is CONTENT. So is REST, what a
# row says beside its key, target included: rows of one rest may be one thing whose key was written in two ways.
IDENTITY, CONTENT, CHAMPION, WHOLE, REST = "#identity", "#content", "#champion", "#whole", "#rest"
UNKNOWN = np.uint64(0)  # no hash: the columns that would tell the row are not in its file

READ = ("source", "type", "parse")  # the keys of a column that decide which field of a file it is, and what that means

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def are_among(hashes: Hashes, known: Hashes) -> npt.NDArray[np.bool_]:
    """Return a mask of the hashes that are among the known ones, as np.isin in a quarter of its time."""
    if not len(hashes) or not len(known):
        return np.zeros(len(hashes), np.bool_)
    ordered = np.sort(known)
    at = np.searchsorted(ordered, hashes)
    return np.asarray(ordered[np.minimum(at, len(ordered) - 1)] == hashes)


def identity_columns(definition: Mapping[str, Any]) -> list[str]:
    """Return the columns that tell rows apart, in the order of their names."""
    split, target = definition["split"], definition["target"]
    if split.get("key"):
        return sorted(split["key"])
    features = {name for name, column in definition["columns"].items() if column.get("feature", True)} - {target}
    return sorted(features | ({split["column"]} if split.get("column") else set()))


def specification(definition: Mapping[str, Any]) -> str:
    """Return what identities of a definition depend on (16 hex digits): only those of the same can be compared."""
    columns = {name: definition["columns"][name] for name in identity_columns(definition)}
    decisive = [[name, {key: column.get(key) for key in READ}] for name, column in columns.items()]
    if (encoding := encoding_of(definition)) != USUAL.encoding and any(map(is_text, columns.values())):
        decisive.append(["files", {"encoding": encoding}])
    return hashlib.sha256(json.dumps([VERSION, decisive], sort_keys=True).encode()).hexdigest()[:16]


def encoding_of(definition: Mapping[str, Any]) -> str:
    """Return what files without a byte order mark are read in."""
    return FileForm.from_definition(definition).encoding


def is_text(column: Mapping[str, Any]) -> bool:
    """Return whether the values of a column are what an encoding makes of bytes."""
    return bool(column["type"] == "string")


def combined(one: Hashes, other: Hashes) -> Hashes:
    """Return one hash of two, which depends on their order."""
    return mixed(mixed(one) ^ other)


def lots(hashes: Hashes, seed: int) -> Hashes:
    """Return a number of 64 bits for each hash, drawn by the seed: the same for the same hash."""
    return mixed(hashes ^ mixed(np.array([seed], np.uint64) + GOLDEN))


def lots_below(share: float) -> int:
    """Return how many of all lots are less than a share of them, 0 to 1: those smaller than this number.

    As floating-point numbers say it, of which one stands for two thousand lots: `lot / 2.0**64 < share`.
    """
    low, high = 0, 1 << 64
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if middle / 2**64 < share else (low, middle)
    return low


def mixed(hashes: Hashes) -> Hashes:
    """Return hashes whose bits each depend on all bits (the finalizer of SplitMix64, Steele, Lea and Flood, 2014)."""
    hashes = hashes + GOLDEN  # a copy; what follows is done where it is
    hashes ^= hashes >> np.uint64(30)
    hashes *= _FIRST
    hashes ^= hashes >> np.uint64(27)
    hashes *= _SECOND
    hashes ^= hashes >> np.uint64(31)
    return hashes


def reads_alike(definition: Mapping[str, Any], champion: Mapping[str, Any]) -> bool:
    """Return whether a record of the features of one definition means the same to a model of the other."""
    return _features(definition) == _features(champion)


def reads_target_alike(definition: Mapping[str, Any], champion: Mapping[str, Any]) -> bool:
    """Return whether both definitions take the target from the same field, and read it in the same way."""
    one, other = (document["columns"][document["target"]] for document in (definition, champion))
    return all(one.get(key) == other.get(key) for key in READ)


def _features(definition: Mapping[str, Any]) -> dict[str, list[Any]]:
    target, every = definition["target"], definition["columns"]
    columns = {name: column for name, column in every.items() if column.get("feature", True) and name != target}
    return {name: [column.get(key) for key in READ] for name, column in columns.items()}
