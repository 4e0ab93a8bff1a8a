"""Reading a Parquet file in batches of bounded memory, however large a row group is and whatever its bytes expand to.

A page of some bytes may stand for a long text in each of a million rows. So a batch has as many rows as there is room
for where each has the longest text of the dictionary that its pages refer to. As dictionaries are read what Arrow has
written of a table's dictionaries (pandas: categories), and nothing else: Arrow's grow with each batch of a row group,
so that memory would hold all texts of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate, chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from perennial.data.csv_files import Batch
from perennial.data.file_form import FileForm
from perennial.data.header import FileError, positions, reason
from perennial.data.text_files import BLOCK_BYTES
from perennial.features.column import Column
from perennial.features.from_arrow import accepts, is_text
from perennial.words import printable, quoted

BATCH_ROWS = 32_768
UNEVEN_ROWS = 1_024  # are read at once where all long texts of a row group may be those of a few of its rows
BATCHES_TOGETHER = 8  # are read at once where there are dictionaries
BATCH_BYTES = 64 << 20  # of the texts of a batch, and of what its pages hold
LONGEST_TEXT = BLOCK_BYTES  # as in JSON lines, where no line may be longer
MAX_KIND = 60  # characters of a Parquet type in messages
MAX_EXPANSION, EXPANDED_BYTES = 1000, 256 << 20  # beyond both a file is no table that somebody wrote
# Else Arrow has all of a row group in memory that it reads, and of those before.
BUFFERED: dict[str, Any] = {"pre_buffer": False, "buffer_size": 1 << 20}
# How pages hold texts, so that each stands in full in its page or in the dictionary of its row group.
IN_FULL = frozenset({"PLAIN", "PLAIN_DICTIONARY", "RLE", "RLE_DICTIONARY", "BIT_PACKED"})


def read_parquet(name: str, path: Path, columns: Sequence[Column], form: FileForm, notes: list[str]) -> Iterator[Batch]:
    """Yield the rows of a file in batches. Raises FileError, which begins with `name`."""
    with undamaged(name), pq.ParquetFile(path, **BUFFERED) as file:
        schema = file.schema_arrow  # it is made anew each time, of all that the file says about itself
        name_of = _names_in_file(name, schema, columns, form, notes)
        if form.whole:
            _require_different(name, schema.names)
        wanted = schema.names if form.whole else list(dict.fromkeys(name_of.values()))
        kinds = {column: schema.field(column).type for column in wanted}
        dictionaries = any(pa.types.is_dictionary(kind) for kind in kinds.values())
        texts = [one for one, kind in kinds.items() if is_text(kind) and not pa.types.is_dictionary(kind)]
        widest = widest_row(file, wanted)
        longest = _longest(name, path, file, texts) if texts else 0
        is_uneven = not dictionaries and _may_be_uneven(file, texts)
        rows = max(1, min(rows_at_once(widest), BATCH_BYTES // max(1, longest)))
        # A dictionary is read anew with each batch: few are quicker.
        many = rows_at_once(widest, BATCHES_TOGETHER) if dictionaries else rows
        first, room = 1, _room(path)
        at_once = min(rows, UNEVEN_ROWS) if is_uneven else many // rows * rows
        for read in _gathered(file.iter_batches(at_once, columns=wanted, use_threads=False), rows):
            ordered = _with_texts(name, read.select(wanted))
            ordered.validate(full=True)  # texts are UTF-8
            room = _room_beside(name, room, ordered)
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


def _require_different(name: str, columns: Sequence[str]) -> None:
    twice = next((column for column, times in Counter(columns).items() if times > 1), None)
    if twice is not None:
        raise FileError(f"{name}: column {quoted(twice)} stands more than once; expected columns of different names")


def _longest(name: str, path: Path, file: pq.ParquetFile, texts: Sequence[str]) -> int:
    """Return the bytes of a row with the longest text of each column, as far as pages do not hold them in full."""
    longest, few, room = dict.fromkeys(texts, 0), max(1, BATCH_BYTES // LONGEST_TEXT), _room(path)
    leaves = _leaves(file, texts)
    with pq.ParquetFile(path, read_dictionary=texts, **BUFFERED) as encoded:
        for number, group in _groups(file):
            for column in texts:
                # Then the first batch has the whole dictionary.
                is_in_full = IN_FULL.issuperset(group.column(leaves[column]).encodings)
                some = encoded if is_in_full else file
                for batch in some.iter_batches(few, row_groups=[number], columns=[column], use_threads=False):
                    longest[column] = max(longest[column], _longest_of(name, batch.column(column)))
                    if is_in_full:
                        break
                    room = _room_beside(name, room, batch)
    return sum(longest.values())


def _may_be_uneven(file: pq.ParquetFile, texts: Sequence[str]) -> bool:
    """Return whether texts that stand in full may be more than BATCH_BYTES in fewer rows than usually hold so many."""
    leaves = _leaves(file, texts)
    sizes = (group.column(leaves[one]).total_uncompressed_size for _, group in _groups(file) for one in texts)
    return any(size > BATCH_BYTES for size in sizes)


def _gathered(batches: Iterator[pa.RecordBatch], rows: int) -> Iterator[pa.RecordBatch]:
    """Yield batches put together, until they have so many rows or BATCH_BYTES."""
    some: list[pa.RecordBatch] = []
    for batch in batches:
        some.append(batch)
        if sum(one.num_rows for one in some) >= rows or sum(one.nbytes for one in some) > BATCH_BYTES:
            yield _together(some)
    if some:
        yield _together(some)


def _together(some: list[pa.RecordBatch]) -> pa.RecordBatch:
    """Return some batches as one; none is left in the list."""
    whole = some[0] if len(some) == 1 else pa.concat_batches(some)
    some.clear()
    return whole


def _longest_of(name: str, values: pa.Array) -> int:
    """Return the bytes of the longest text of a column. Raises FileError: it is too long."""
    longest = pc.max(pc.binary_length(_texts_of(values))).as_py() or 0
    if longest > LONGEST_TEXT:
        raise FileError(f"{name}: holds a text of {longest:,} bytes; at most {LONGEST_TEXT >> 20} MiB are read")
    return int(longest)


def _texts_of(values: pa.Array) -> pa.Array:
    """Return the texts of a column, each of a dictionary once."""
    texts = values.dictionary if pa.types.is_dictionary(values.type) else values
    views = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}  # whose lengths Arrow does not tell
    return texts.cast(views[texts.type]) if texts.type in views else texts


def _with_texts(name: str, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a batch with texts, and bytes that are texts, of one type."""
    for position, (column, values) in enumerate(zip(batch.schema.names, batch.columns, strict=True)):
        if not is_text(values.type):
            continue
        try:
            texts = _texts_of(values).cast(pa.string())
        except pa.ArrowInvalid as error:
            problem = f"column {quoted(column)} holds bytes that are no text in UTF-8; write it as texts"
            raise FileError(f"{name}: {problem}") from error
        if pa.types.is_dictionary(values.type):
            texts = pa.DictionaryArray.from_arrays(values.indices, texts)
        batch = batch.set_column(position, column, texts)
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


def widest_row(file: pq.ParquetFile, wanted: Sequence[str]) -> int:
    """Return the bytes of a row of the widest row group, on the average, by what the file says about itself.

    Raises what Arrow raises: the file is damaged. Of each group the columns are opened, and none of its rows is read,
    before Arrow is asked what the group says about them: where that contradicts itself, this would end the process.
    """
    widest, leaves = 1, [*_leaves(file, wanted).values()]
    for number, group in _groups(file):
        next(file.reader.iter_batches(0, [number], leaves, use_threads=False), None)
        widest = max(widest, sum(group.column(leaf).total_uncompressed_size for leaf in leaves) // group.num_rows)
    return widest


def rows_at_once(widest: int, batches: int = 1) -> int:
    """Return how many rows of so many bytes, at most, hold BATCH_BYTES."""
    return max(1, min(batches * BATCH_ROWS, BATCH_BYTES // widest))


def _groups(file: pq.ParquetFile) -> Iterator[tuple[int, pq.RowGroupMetaData]]:
    """Yield the row groups that have rows, each with its number."""
    groups = ((number, file.metadata.row_group(number)) for number in range(file.num_row_groups))
    return ((number, group) for number, group in groups if group.num_rows)


def _leaves(file: pq.ParquetFile, wanted: Sequence[str]) -> Mapping[str, int]:
    """Return the places of some columns among all that have values, by their paths: one of lists or fields has more."""
    paths, names = [file.schema.column(place).path for place in range(len(file.schema))], frozenset(wanted)

    def is_wanted(path: str) -> bool:
        return any(beginning in names for beginning in accumulate(path.split("."), "{}.{}".format))

    return {path: place for place, path in enumerate(paths) if is_wanted(path)}


def _room(path: Path) -> int:
    """Return to how many bytes a file may expand."""
    return max(EXPANDED_BYTES, MAX_EXPANSION * path.stat().st_size)


def _room_beside(name: str, room: int, batch: pa.RecordBatch) -> int:
    """Return what a batch leaves of the bytes to which a file may expand. Raises FileError: it leaves none."""
    if (left := room - _expanded(batch)) < 0:
        expanded = f"the Parquet data expand to more than {MAX_EXPANSION:,} times their size"
        raise FileError(f"{name}: {expanded}; upload the file as CSV")
    return left


def _expanded(batch: pa.RecordBatch) -> int:
    """Return the bytes of a batch with its texts written out."""
    size = 8 * batch.num_rows * batch.num_columns
    for column in batch.columns:
        if is_text(column.type):
            lengths = pc.binary_length(_texts_of(column))
            is_dictionary = pa.types.is_dictionary(column.type)
            size += pc.sum(lengths.take(column.indices) if is_dictionary else lengths).as_py() or 0
    return int(size)


def _slices(name: str, batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Cut a batch where its texts, each written out, would be more than BATCH_BYTES."""
    widest = 1 + sum(_longest_of(name, column) for column in batch.columns if is_text(column.type))
    rows = max(1, BATCH_BYTES // widest)
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)
