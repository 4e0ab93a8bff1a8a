"""The names of the copies that runs are made from: one for each version of a data file, whatever runs read it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

FOLDER = "copies/"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_BASENAME = 80


def copy_name(file: Mapping[str, Any]) -> str:
    """Return the name of a data file's copy: `0a1b...-cars_2.csv` for a version of `raw/cars 2.csv`.

    It begins with 32 hex digits that tell the version. The rest keeps the file's suffixes.

    file  as a manifest lists it: Key, VersionId, and ETag, which alone tells versions in a bucket that keeps none
    """
    told_by = "\0".join((file["Key"], file["VersionId"], file["ETag"]))
    safe = _UNSAFE.sub("_", file["Key"].rsplit("/", 1)[-1])[-_MAX_BASENAME:]
    return f"{hashlib.sha256(told_by.encode()).hexdigest()[:32]}-{safe}"
