"""The spill file of valid rows: what small files bring is read again in batches of a size that is worth it."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from perennial.data.sets import BATCH_BYTES, rows_of_sets, spill_writer


def rows(first: int, number: int) -> pa.Table:
    """Rows as a file gives them: numbers, and texts by the dictionary of their batch."""
    texts = [f"text {row % 7}" for row in range(first, first + number)]
    return pa.table({"row": range(first, first + number), "text": pa.array(texts).dictionary_encode()})


def test_rows_of_many_small_files_are_read_again_in_one_batch_and_in_their_order(tmp_path: Path) -> None:
    with spill_writer(tmp_path / "spill") as write:
        for first in range(0, 600, 3):
            write(rows(first, 3))
    ((number, together),) = rows_of_sets(tmp_path / "spill", np.ones(600, np.uint8), (1,))
    assert (number, together["row"].to_pylist()) == (1, [*range(600)])
    assert together["text"].to_pylist() == rows(0, 600)["text"].to_pylist()


def test_what_waits_is_written_before_it_takes_memory(tmp_path: Path) -> None:
    large = BATCH_BYTES // 8
    with spill_writer(tmp_path / "spill") as write:
        for first in (0, 5, 5 + large, 10 + large):
            write(rows(first, large if first == 5 else 5))
    read = [table.num_rows for _, table in rows_of_sets(tmp_path / "spill", np.ones(15 + large, np.uint8), (1,))]
    assert read == [5 + large, 10]


def test_no_rows_make_no_file_that_cannot_be_closed(tmp_path: Path) -> None:
    with spill_writer(tmp_path / "spill"):
        pass
    assert (tmp_path / "spill").read_bytes() == b""
