"""Channel files as blocks of float32 rows, label first, with memory that does not grow with the rows.

Blocks are parsed once and spooled to one temporary file, which is then mapped: XGBoost walks over the data several
times, and the kernel may drop mapped pages whenever memory is short.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Iterator, Sequence
from email.message import Message
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from localcloud.sagemaker.algorithms import recordio
from localcloud.sagemaker.algorithms.training_container import CustomerError, log

Block = npt.NDArray[np.float32]

CSV, LIBSVM, PARQUET, RECORDIO = "csv", "libsvm", "parquet", "recordio-protobuf"
CONTENT_TYPES = {
    "csv": CSV,
    "text/csv": CSV,
    "libsvm": LIBSVM,
    "text/libsvm": LIBSVM,
    "text/x-libsvm": LIBSVM,
    "parquet": PARQUET,
    "application/x-parquet": PARQUET,
    "recordio-protobuf": RECORDIO,
    "application/x-recordio-protobuf": RECORDIO,
}
DELIMITERS = ",;\t| "
BLOCK_BYTES = 16 << 20
NULLS = ["", "nan", "NaN", "NAN", "NA", "null", "NULL"]


def parse_content_type(text: str) -> tuple[str, dict[str, str]]:
    """Parse `text/csv; label_size=1` -> ("csv", {"label_size": "1"}). CustomerError in the container's words."""
    header = Message()
    header["content-type"] = text.lower()
    kind = CONTENT_TYPES.get(header.get_content_type() if "/" in text else text.lower().split(";")[0].strip())
    parameters = {name: value for name, value in header.get_params(failobj=[])[1:] if isinstance(value, str)}
    if kind is None:
        raise CustomerError(f"{text} is not an accepted ContentType: {', '.join(CONTENT_TYPES)}.")
    if kind == CSV and parameters.get("label_size", "1") != "1":
        raise CustomerError(
            f"{text} is not an accepted csv ContentType. Optional parameter label_size must be equal to 1"
        )
    return kind, parameters


def data_files(folder: Path) -> list[Path]:
    """Return the files of a channel, sorted; names that start with `.` or `_` and empty files do not count."""
    if not folder.is_dir():
        return []
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith((".", "_")))
    return sorted(path for path in files if path.stat().st_size > 0)


def sniff_delimiter(path: Path) -> str:
    """Return the delimiter of the file's first line. One column alone has none, which the container refuses too."""
    with path.open(encoding="utf-8", errors="ignore") as file:
        line = file.readline()
    try:
        delimiter = csv.Sniffer().sniff(line, DELIMITERS).delimiter
    except csv.Error as error:
        raise CustomerError(f"Could not determine delimiter on line {line[:50]}:\n{error}") from error
    log(f"Determined delimiter of CSV input is '{delimiter}'")
    return delimiter


def read_csv(files: Sequence[Path], delimiter: str | None = None) -> Iterator[Block]:
    """Yield rows of files without header; empty cells are NaN. Without a delimiter the first line tells it."""
    delimiter = delimiter or sniff_delimiter(files[0])
    for path in files:
        yield from _read_csv_file(path, delimiter)


def _read_csv_file(path: Path, delimiter: str) -> Iterator[Block]:
    import pyarrow as pa
    import pyarrow.csv as pa_csv

    with path.open(encoding="utf-8", errors="ignore") as file:
        first = next(csv.reader([file.readline()], delimiter=delimiter))
    types = {f"f{index}": pa.float32() for index in range(len(first))}
    try:
        with pa_csv.open_csv(
            path,
            read_options=pa_csv.ReadOptions(autogenerate_column_names=True, block_size=BLOCK_BYTES),
            parse_options=pa_csv.ParseOptions(delimiter=delimiter),
            convert_options=pa_csv.ConvertOptions(column_types=types, null_values=NULLS),
        ) as reader:
            for batch in reader:
                yield _to_block(batch)
    except pa.ArrowInvalid as error:
        raise CustomerError(
            f"Failed to load csv data with exception:\n{error}\n(file {path.name}; expected numbers only, "
            f"label first, {len(first)} columns in every row, and no header; first line: {','.join(first)[:80]})"
        ) from error


def read_parquet(files: Sequence[Path]) -> Iterator[Block]:
    """Yield rows of Parquet files whose columns are all numbers, label first."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in files:
        try:
            for batch in pq.ParquetFile(path).iter_batches(batch_size=1 << 17):
                yield _to_block(batch)
        except (pa.ArrowInvalid, ValueError) as error:
            raise CustomerError(f"Failed to load parquet data with exception:\n{error} (file {path.name})") from error


def read_recordio(files: Sequence[Path]) -> Iterator[Block]:
    """Yield rows of RecordIO-protobuf files, whose records all have a label and as many features."""
    for path in files:
        try:
            records = list(recordio.read(path.read_bytes()))
        except recordio.RecordError as error:
            raise CustomerError(f"Failed to load recordio-protobuf data: {error} (file {path.name})") from error
        features = records[0].features.size
        for number, record in enumerate(records):
            if record.label is None or record.features.size != features:
                raise CustomerError(
                    f"Failed to load recordio-protobuf data: record {number} of {path.name} has {record.features.size} "
                    f"features and the label {record.label}, expected {features} features and a label."
                )
        yield np.array([(record.label, *record.features) for record in records], dtype=np.float32)


def _to_block(batch: Any) -> Block:
    block = np.empty((batch.num_rows, batch.num_columns), dtype=np.float32)
    for index, column in enumerate(batch.columns):
        block[:, index] = column.to_numpy(zero_copy_only=False)
    return block


class Spool:
    """Blocks on disk: `rows` is one mapped array of shape (n_rows, n_columns), whose file has no name any more."""

    def __init__(self, blocks: Iterator[Block]) -> None:
        self.lengths: list[int] = []
        columns = 0
        with tempfile.TemporaryFile() as file:
            for block in blocks:
                columns = columns or block.shape[1]
                if block.shape[1] != columns:
                    raise CustomerError(
                        f"Files differ in their number of columns: expected {columns}, got {block.shape[1]}."
                    )
                file.write(block.data)
                self.lengths.append(block.shape[0])
            file.flush()
            self.rows = _map(file, sum(self.lengths), columns)

    @property
    def blocks(self) -> list[Block]:
        """The same rows in the blocks in which they came."""
        return np.split(self.rows, np.cumsum(self.lengths)[:-1]) if self.lengths else []


def _map(file: IO[bytes], rows: int, columns: int) -> Block:
    if rows == 0:
        return np.empty((0, columns), dtype=np.float32)
    mapped: Block = np.memmap(file, dtype=np.float32, mode="r", shape=(rows, columns))
    return mapped
