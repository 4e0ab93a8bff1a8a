"""Whether Evidently tells drift, by the default of its preset for data drift, for bench.bench_drift.

Its DataDriftPreset calls a data set drifted where half of the columns are, which is DriftedColumnsCount; the rest of
the preset is pictures. Which test a column gets follows from its kind and the rows of the reference: of more than 1,000
the normed Wasserstein distance of numbers and the Jensen-Shannon distance of texts, from 0.1 on.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

os.environ["DO_NOT_TRACK"] = "1"  # it would tell its makers

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.metrics import DriftedColumnsCount


def drifted(reference: Mapping[str, Any], current: Mapping[str, Any]) -> tuple[bool, bool]:
    """Return whether a column has drifted, and whether the data set has: of columns of numbers and of objects."""
    texts = [name for name, values in reference.items() if values.dtype == object]
    kinds = DataDefinition(
        numerical_columns=[name for name in reference if name not in texts], categorical_columns=texts
    )
    sides = (Dataset.from_pandas(pd.DataFrame(dict(side)), data_definition=kinds) for side in (current, reference))
    (metric,) = Report([DriftedColumnsCount()]).run(*sides).dict()["metrics"]
    return metric["value"]["count"] >= 1, metric["value"]["share"] >= metric["config"]["drift_share"]
