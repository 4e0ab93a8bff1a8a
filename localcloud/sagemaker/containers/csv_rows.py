"""Rows of numbers from CSV, as XGBoost's container reads them.

Every value is what Python's `float` reads. Arrow gives the same numbers of many plain cells four times as quickly;
whatever it might take for something else is left to `float`, and so are refusals with their texts.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_MANY_BYTES = 20_000
"""Below, Arrow takes as long as it saves."""
_PLAIN = b"0123456789.+-eE,\n"
_NO_CSV = "Loading csv data failed with Exception, please ensure data is in csv format:\n "


def parse_csv(body: bytes) -> Array:
    """Return (n_rows, n_cells) as float32: rows by newline, cells by comma, or the semicolon or tab of the first line.

    An empty cell is NaN. ValueError: what cannot be read, and in which row, counted from 0.
    """
    rows = plain_rows(body) if len(body) >= _MANY_BYTES else None
    return read_rows(body) if rows is None else rows


def read_rows(body: bytes) -> Array:
    """Return what `parse_csv` does, cell by cell."""
    lines = body.decode("utf-8").strip("\r\n").splitlines()
    if not lines:
        raise ValueError(f"{_NO_CSV}no row")
    delimiter = next((mark for mark in ",;\t" if mark in lines[0]), ",")
    rows = []
    for number, line in enumerate(lines):
        try:
            rows.append([float(cell) if cell else math.nan for cell in line.split(delimiter)])
        except ValueError as error:
            raise ValueError(f"{_NO_CSV}{error} in row {number}") from error
        if len(rows[-1]) != len(rows[0]):
            raise ValueError(f"{_NO_CSV}row {number} has {len(rows[-1])} columns, row 0 has {len(rows[0])}")
    return np.array(rows, dtype=np.float32)


def plain_rows(body: bytes) -> Array | None:
    """Return what `read_rows` does; None when something is not plain: other characters, a blank line, a bad number."""
    text = body.strip(b"\n")
    if not text or b"\n\n" in text or text.translate(None, _PLAIN):
        return None
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    names = [str(number) for number in range(text.partition(b"\n")[0].count(b",") + 1)]
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(text),
            read_options=pa_csv.ReadOptions(column_names=names, use_threads=False, block_size=len(text) + 1),
            parse_options=pa_csv.ParseOptions(quote_char=False, ignore_empty_lines=False),
            convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.float64()), null_values=[""]),
        )
    except pa.ArrowInvalid:
        return None
    (batch,) = table.to_batches()
    rows: Array = batch.to_tensor(null_to_nan=True).to_numpy().astype(np.float32, order="C")
    return rows
