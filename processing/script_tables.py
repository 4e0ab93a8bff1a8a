"""What train.py and serve.py are given, as tables: both see the same columns, of the same kind.

    from script_tables import read

    features, target = read("train")       # or "validation": a pandas.DataFrame and a pandas.Series

Texts are texts, also those of digits only; everything else is a number. What is missing is NaN. train_script packs this
file beside the scripts, with `script.json`: the names of the features, and which of them are texts.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

ABOUT = Path(__file__).with_name("script.json")


def about() -> dict[str, Any]:
    """Return what is known of the model: problem, target, classes, features and texts."""
    document: dict[str, Any] = json.loads(ABOUT.read_text(encoding="utf-8"))
    return document


def read(channel: str) -> tuple[pd.DataFrame, pd.Series]:
    """Return features and target of a channel of the training job."""
    known = about()
    names = [known["target"], *known["features"]]
    parts = sorted(Path(os.environ[f"SM_CHANNEL_{channel.upper()}"]).rglob("*.csv"))
    table = pd.concat([_table(part, names, known["texts"], header=0) for part in parts], ignore_index=True)
    return table.drop(columns=[known["target"]]), table[known["target"]]


def records(text: str) -> pd.DataFrame:
    """Return the features of a request: CSV without a header, in the order of the training files."""
    known = about()
    return _table(io.StringIO(text), known["features"], known["texts"], header=None)


def _table(source: Path | io.StringIO, names: Sequence[str], texts: Sequence[str], header: int | None) -> pd.DataFrame:
    types = {name: "object" if name in texts else "float64" for name in names}
    reading = {"names": names, "header": header, "dtype": types, "skip_blank_lines": False}
    return pd.read_csv(source, keep_default_na=False, na_values=[""], **reading)
