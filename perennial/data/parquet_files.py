"""Reading a Parquet file in batches of bounded memory, whatever a few bytes of it expand to.

Texts are read as dictionaries: a page of some bytes may stand for a long text in each of a million rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from perennial.data.csv_files import Batch
from perennial.data.file_form import FileForm
from perennial.data.header import FileError, positions, reason
from perennial.data.text_files import BLOCK_BYTES
from perennial.features.column import Column
from perennial.features.from_arrow import accepts, is_bytes, is_text
from perennial.words import printable, quoted

BATCH_ROWS = 32_768
BATCHES_TOGETHER = 8  # are read at once
BATCH_BYTES = 64 << 20  # of the texts of a batch, and of what its pages hold
LONGEST_TEXT = BLOCK_BYTES  # as in JSON lines, where no line may be longer
MAX_KIND = 60  # characters of a Parquet type in messages
MAX_EXPANSION, EXPANDED_BYTES = 1000, 256 << 20  # beyond both a file is no table that somebody wrote


def read_parquet(name: str, path: Path, columns: Sequence[Column], form: FileForm, notes: list[str]) -> Iterator[Batch]:
    """Yield the rows of a file in batches. Raises FileError, which begins with `name`."""
    with undamaged(name):
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow  # it is made anew each time, of all that the file says about itself
            name_of = _names_in_file(name, schema, columns, form, notes)
            own = list(dict.fromkeys(name_of.values()))
            wanted = schema.names if form.whole else own
            texts = [column for column in own if is_text(schema.field(column).type)]
            rows = rows_at_once(file.metadata, wanted)
            # A dictionary grows with each batch of a row group, and is read anew with each: few are quicker.
            together = rows_at_once(file.metadata, wanted, BATCHES_TOGETHER) // rows * rows
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            first, room = 1, max(EXPANDED_BYTES, MAX_EXPANSION * path.stat().st_size)
            for read in file.iter_batches(together, columns=wanted, use_threads=False):
                ordered = _with_texts(name, read.select(wanted))
                ordered.validate(full=True)  # texts are UTF-8
                room -= _expanded(ordered)
                if room < 0:
                    expanded = f"the Parquet data expand to more than {MAX_EXPANSION:,} times their size"
                    raise FileError(f"{name}: {expanded}; upload the file as CSV")
                absent = frozenset(column.name for column in columns) - name_of.keys()
                cuts = [0, *range(rows - (first - 1) % rows, ordered.num_rows, rows), ordered.num_rows]
                pieces = (_own_texts(ordered.slice(start, end - start)) for start, end in pairwise(cuts))
                for batch in chain.from_iterable(_slices(name, piece) for piece in pieces):
                    numbering, whole = partial(np.add, first), batch if form.whole else None
                    yield Batch(_under_names(batch, columns, name_of), numbering, absent=absent, whole=whole)
                    first += batch.num_rows


@contextmanager
def undamaged(name: str) -> Iterator[None]:
    """Raise FileError where Parquet data turn out to be damaged, or too large for memory."""
    try:
        yield
    except MemoryError as error:
        raise FileError(
            f"{name}: a part of the Parquet data does not fit into memory. Write it with smaller row groups, or take "
            "a larger instance for this step (instances.preprocess)"
        ) from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise FileError(
            f"{name}: the Parquet data are damaged or cut off ({reason(error)}); upload it again"
        ) from error


def _names_in_file(
    name: str, schema: pa.Schema, columns: Sequence[Column], form: FileForm, notes: list[str]
) -> Mapping[str, str]:
    """Return the name in the file of each column that is there."""
    name_of = {column: schema.names[at] for column, at in positions(name, schema.names, columns, form, notes).items()}
    for column in columns:
        kind = schema.field(name_of[column.name]).type if column.name in name_of else pa.null()
        if accepts(column.type, kind, column.parsing):
            continue
        if column.optional:
            del name_of[column.name]
        else:
            got = printable(str(kind), MAX_KIND)  # a structure's fields have names of the file's own
            raise FileError(f"{name}: column '{column.name}' has the Parquet type {got}; expected {column.type}")
    return name_of


def _with_texts(name: str, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch with bytes as the texts that they are."""
    for position, (column, values) in enumerate(zip(batch.schema.names, batch.columns, strict=True)):
        if pa.types.is_dictionary(values.type) and is_bytes(values.type.value_type):
            try:
                texts = values.dictionary.cast(pa.string())
            except pa.ArrowInvalid as error:
                problem = f"column {quoted(column)} holds bytes that are no text in UTF-8; write it as texts"
                raise FileError(f"{name}: {problem}") from error
            batch = batch.set_column(position, column, pa.DictionaryArray.from_arrays(values.indices, texts))
    return batch


def _under_names(batch: pa.RecordBatch, columns: Sequence[Column], name_of: Mapping[str, str]) -> pa.RecordBatch:
    """Return each column under its name; one that is absent is null."""
    absent = pa.nulls(batch.num_rows)
    return pa.RecordBatch.from_pydict(
        {column.name: batch.column(name_of[column.name]) if column.name in name_of else absent for column in columns}
    )


def _own_texts(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch whose dictionaries hold the texts of its own rows, where they hold those of many others."""
    for position, (name, values) in enumerate(zip(batch.schema.names, batch.columns, strict=True)):
        if pa.types.is_dictionary(values.type) and len(values.dictionary) > batch.num_rows:
            used = values.indices.unique().drop_null()
            indices = pc.index_in(values.indices, value_set=used)
            batch = batch.set_column(
                position, name, pa.DictionaryArray.from_arrays(indices, values.dictionary.take(used))
            )
    return batch


def rows_at_once(metadata: pq.FileMetaData, wanted: Sequence[str], batches: int = 1) -> int:
    """Return how many rows of the widest row group, at most, hold BATCH_BYTES, by what the file says about itself."""
    widest = 1
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        chunks = (group.column(index) for index in range(group.num_columns))
        size = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema in wanted)
        widest = max(widest, size // max(1, group.num_rows))
    return max(1, min(batches * BATCH_ROWS, BATCH_BYTES // widest))


def _expanded(batch: pa.RecordBatch) -> int:
    """Return the bytes of a batch with its texts written out."""
    texts = [column for column in batch.columns if pa.types.is_dictionary(column.type)]
    lengths = (pc.sum(pc.binary_length(text.dictionary).take(text.indices)).as_py() or 0 for text in texts)
    return int(8 * batch.num_rows * batch.num_columns + sum(lengths))


def _slices(name: str, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Cut a batch where its texts, each written out, would be more than BATCH_BYTES."""
    widest = 1
    for column in batch.columns:
        if pa.types.is_dictionary(column.type):
            longest = pc.max(pc.binary_length(column.dictionary)).as_py() or 0
            if longest > LONGEST_TEXT:
                raise FileError(f"{name}: holds a text of {longest:,} bytes; at most {LONGEST_TEXT >> 20} MiB are read")
            widest += longest
    rows = max(1, BATCH_BYTES // widest)
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)
