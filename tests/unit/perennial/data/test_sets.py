"""The spill file of valid rows: what small files bring is read again in batches of a size that is worth it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa

from perennial.data.sets import BATCH_BYTES, Spill, rows_of_sets


def rows(first: int, number: int) -> pa.Table:
    """Rows as a file gives them: numbers, and texts by the dictionary of their batch."""
    texts = [f"text {row % 7}" for row in range(first, first + number)]
    return pa.table({"row": range(first, first + number), "text": pa.array(texts).dictionary_encode()})


def spilled(folder: Path, *tables: pa.Table) -> Spill:
    spill = Spill(folder)
    for table in tables:
        spill.append(spill.keep(table))
    spill.finish()
    return spill


def test_rows_of_many_small_files_are_read_again_in_one_batch_and_in_their_order(tmp_path: Path) -> None:
    spill = spilled(tmp_path, *(rows(first, 3) for first in range(0, 600, 3)))
    ((number, together),) = rows_of_sets(spill, np.ones(600, np.uint8), (1,))
    assert (number, together["row"].to_pylist()) == (1, [*range(600)])
    assert together["text"].to_pylist() == rows(0, 600)["text"].to_pylist()


def test_what_waits_is_written_before_it_takes_memory_and_before_what_follows(tmp_path: Path) -> None:
    half, large = BATCH_BYTES // 20, BATCH_BYTES // 8
    counts = [0, half, half, 5, large, 5, 0, 5]
    spill = spilled(tmp_path, *map(rows, np.cumsum([0, *counts]).tolist(), counts))
    read = [table for _, table in rows_of_sets(spill, np.ones(sum(counts), np.uint8), (1,))]
    assert [table.num_rows for table in read] == [2 * half, 5, large, 10]
    assert pa.concat_tables(read)["row"].to_pylist() == [*range(sum(counts))]


def test_batches_that_threads_have_written_come_in_the_order_in_which_they_are_taken_in(tmp_path: Path) -> None:
    spill, large = Spill(tmp_path), BATCH_BYTES // 8
    with ThreadPoolExecutor(4) as pool:
        kept = [*pool.map(lambda number: spill.keep(rows(number * large, large)), range(40))]
    for one in reversed(kept):
        spill.append(one)
    spill.finish()
    firsts = [table["row"][0].as_py() for _, table in rows_of_sets(spill, np.ones(40 * large, np.uint8), (1,))]
    assert firsts == [number * large for number in reversed(range(40))]
    assert len([*tmp_path.iterdir()]) <= 4


def test_no_rows_make_no_file_that_cannot_be_closed(tmp_path: Path) -> None:
    spill = spilled(tmp_path, rows(0, 0))
    assert [*tmp_path.iterdir(), *rows_of_sets(spill, np.empty(0, np.uint8), (1,))] == []
