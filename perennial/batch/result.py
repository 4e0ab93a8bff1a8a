"""The result of a file that was scored: its rows in their order, each with what was predicted, written as the file was.

Every row has one line: a row that the contract refuses, or that cannot be read, has no prediction but the reason.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from perennial.batch.rows import INFERENCE_ID, PREDICTION, PROBABILITIES, PROBLEM, FileKind, FileRows
from perennial.data.csv_files import UnreadableRow
from perennial.evaluation.predictions import PredictionsError, scores
from perennial.evaluation.problem_types.measures import Floats
from perennial.features.lines import Fields, csv_field, csv_lines, json_value
from perennial.features.values import decoded, holds

CHARACTERS_AT_ONCE = 4 << 20
FIRST_REFUSED = 5  # rows that are named
MOST_SAMPLED, BINS = 20_000, 20  # of the predictions, for their distribution
_TO_QUOTE = '",\r\n'
_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_BEGINNINGS = ('{"score": ', '{"score":', "")  # of lines that hold one number

Joined = Mapping[str, pa.Array]


class Writer(Protocol):
    """Writes rows with what is joined to them."""

    def write(self, whole: pa.RecordBatch, joined: Joined) -> None: ...

    def write_unreadable(self, joined: Joined) -> None: ...


@contextmanager
def writer(path: Path, kind: FileKind, fields: pa.Schema, names: Mapping[str, str]) -> Iterator[Writer]:
    """Yield what writes a file of this kind, whose rows have these fields and ours under these names."""
    if kind.kind == "parquet":
        with _parquet(path, fields, names) as written:
            yield written
        return
    with _opened(path, is_gzip=kind.gzip) as file:
        yield _Csv(file, fields.names, names) if kind.kind == "csv" else _JsonLines(file, names)


@contextmanager
def _opened(path: Path, *, is_gzip: bool) -> Iterator[IO[bytes]]:
    with path.open("wb") as plain:
        if not is_gzip:
            yield plain
            return
        with gzip.GzipFile("", "wb", compresslevel=4, fileobj=plain, mtime=0) as packed:
            yield cast("IO[bytes]", packed)


class _Csv:
    def __init__(self, file: IO[bytes], header: Sequence[str], names: Mapping[str, str]) -> None:
        self._file, self._width, self._names = file, len(header), names
        file.write(csv_lines([_field(pa.array([name])) for name in (*header, *names.values())]))

    def write(self, whole: pa.RecordBatch, joined: Joined) -> None:
        ours = [_field(joined[name]) for name in self._names]
        self._file.write(csv_lines([*(_field(column) for column in whole.columns), *ours]))

    def write_unreadable(self, joined: Joined) -> None:
        empty = pa.nulls(len(joined[INFERENCE_ID]), pa.string())
        self._file.write(csv_lines([*[empty] * self._width, *(csv_field(joined[name]) for name in self._names)]))


def _field(values: pa.Array) -> Fields:
    """Return values as CSV fields: most columns of texts have none that is to be quoted."""
    is_plain = values.type == pa.string() and not any(holds(values, character) for character in _TO_QUOTE)
    return values if is_plain else csv_field(values)


class _JsonLines:
    def __init__(self, file: IO[bytes], names: Mapping[str, str]) -> None:
        self._file, self._names = file, names

    def write(self, whole: pa.RecordBatch, joined: Joined) -> None:
        ours = self._members(joined)
        for line, more in zip(whole.column("line").to_pylist(), ours, strict=True):
            body = line.rstrip()[:-1].rstrip()  # without the brace at its end
            self._file.write(body + (b"" if body.endswith(b"{") and len(body) == 1 else b", ") + more + b"}\n")

    def write_unreadable(self, joined: Joined) -> None:
        for more in self._members(joined):
            self._file.write(b"{" + more + b"}\n")

    def _members(self, joined: Joined) -> list[bytes]:
        values = {
            name: pc.fill_null(joined[name], "null") if name == PROBABILITIES else decoded(json_value(joined[name]))
            for name in self._names
        }
        parts: list[str | pa.Array] = []
        for name, written in self._names.items():
            parts += [(", " if parts else "") + json.dumps(written) + ": ", values[name]]
        return [text.encode() for text in pc.binary_join_element_wise(*parts, "").to_pylist()]


class _Parquet:
    def __init__(self, file: pq.ParquetWriter, fields: pa.Schema, names: Mapping[str, str]) -> None:
        self._file, self._fields, self._names = file, fields, names

    def write(self, whole: pa.RecordBatch, joined: Joined) -> None:
        own = [column.cast(field.type) for column, field in zip(whole.columns, self._fields, strict=True)]
        ours = [joined[name] for name in self._names]
        self._file.write_table(pa.Table.from_arrays([*own, *ours], schema=self._file.schema))

    def write_unreadable(self, joined: Joined) -> None:
        raise AssertionError("a Parquet file has no rows of another shape")


@contextmanager
def _parquet(path: Path, fields: pa.Schema, names: Mapping[str, str]) -> Iterator[_Parquet]:
    numbers = (PREDICTION,) if PROBABILITIES not in names else ()
    ours = [pa.field(written, pa.float64() if name in numbers else pa.string()) for name, written in names.items()]
    schema = pa.schema([*fields, *ours])
    with pq.ParquetWriter(path, schema) as file:
        yield _Parquet(file, fields, names)


class Predictions:
    """The answers of a transform job below a folder, in the order of the records."""

    def __init__(self, folder: Path) -> None:
        self._blocks = _blocks(folder)
        self._waiting: list[str] = []
        self.taken = 0

    def take(self, count: int) -> Floats:
        """Return the next scores: `(count,)` or `(count, n_classes)`. Raises PredictionsError: there are fewer."""
        while len(self._waiting) < count and (block := next(self._blocks, None)) is not None:
            self._waiting += block
        lines, self._waiting = self._waiting[:count], self._waiting[count:]
        if len(lines) < count:
            raise PredictionsError(
                f"{self.taken + len(lines):,} predictions; expected one for each of {self.taken + count:,} records"
            )
        self.taken += count
        plain = plain_scores(lines) if lines else None
        return scores(lines, f"the predictions up to {self.taken:,}") if plain is None else plain

    def require_end(self) -> None:
        """Raise PredictionsError when there are more."""
        if self._waiting or any(self._blocks):
            raise PredictionsError(f"more than {self.taken:,} predictions; expected one for each record")


def _blocks(folder: Path) -> Iterator[list[str]]:
    """Yield the lines of all files but for blank ones, some at once."""
    for path in sorted(folder.rglob("*.out")):
        with path.open(encoding="utf-8") as file:
            cut = ""
            while text := file.read(CHARACTERS_AT_ONCE):
                *lines, cut = (cut + text).split("\n")
                yield [line for line in lines if line.strip()]
            yield [cut] if cut.strip() else []


def plain_scores(lines: Sequence[str]) -> Floats | None:
    """Return the scores of lines that are all written alike, a number each, as `scores` does in ten times the time.

    None: not all are `{"score": x}`, or not all are `x`, or one is minus zero, or more than a float holds.
    """
    begin = next(one for one in _BEGINNINGS if lines[0].startswith(one))
    texts, end = pa.array(lines, pa.string()), "}" if begin else ""
    if not pc.all(pc.match_substring_regex(texts, f"^{re.escape(begin)}{_NUMBER}{end}$")).as_py():
        return None
    numbers = pc.binary_slice(texts.cast(pa.binary()), len(begin), -1).cast(pa.string()) if begin else texts
    try:
        values = np.asarray(numbers.cast(pa.float64()).to_numpy(), np.float64)
    except pa.ArrowInvalid:
        return None
    return values if np.isfinite(values).all() and not (np.signbit(values) & (values == 0)).any() else None


class _EvenSample:
    """Numbers of a stream, spread over it evenly: every n-th, where n doubles whenever there are too many."""

    def __init__(self) -> None:
        self.values: Floats = np.empty(0)
        self._step, self._rows = 1, 0

    def add(self, some: Floats) -> None:
        """Take in the next numbers."""
        self.values = np.concatenate([self.values, some[-self._rows % self._step :: self._step]])
        self._rows += some.size
        while self.values.size > MOST_SAMPLED:
            self.values, self._step = self.values[::2], self._step * 2


class Joiner:
    """Joins rows with predictions, one for each row in the order of the file."""

    def __init__(self, written: Writer, predictions: Predictions, batch_id: str, classes: Sequence[str]) -> None:
        self._writer, self._predictions = written, predictions
        self._prefix, self._classes = f"{batch_id}-", classes
        self._waiting: list[UnreadableRow] = []
        self.rows = self.scored = self.finite = 0
        self.first_refused: list[dict[str, Any]] = []
        self._some, self._of_classes = _EvenSample(), np.zeros(len(classes), np.int64)
        self.lowest, self.highest, self.total = np.inf, -np.inf, 0.0

    def add(self, some: FileRows, observe: Callable[[pa.Table, Floats, Sequence[str]], None] | None = None) -> None:
        """Write rows; `observe` is shown the records that were scored, their scores and inference ids."""
        self._waiting += some.batch.unreadable
        problems, start = some.problems(), 0
        count = len(some.numbers)
        sound = np.ones(count, bool)
        sound[some.checked.invalid_rows()] = False
        scored = self._predictions.take(int(sound.sum())) if sound.any() else np.empty(0)
        while start < count:
            first = self._waiting[0].row if self._waiting else None
            end = count if first is None else int(np.searchsorted(some.numbers, first))
            if end > start:
                before = int(sound[:start].sum())
                here = sound[start:end]
                part = scored[before : before + int(here.sum())]
                ids = self._ids(end - start)
                why = [problems.get(at) for at in range(start, end)] if problems else []
                joined = self._joined(ids, here, part, why)
                self._writer.write(cast("pa.RecordBatch", some.batch.whole).slice(start, end - start), joined)
                if observe:
                    records = some.checked.table.slice(start, end - start).filter(pa.array(here))
                    observe(records, part, ids.filter(pa.array(here)).to_pylist())
                start = end
            if start < count:
                self._write_unreadable(self._waiting.pop(0))

    def finish(self) -> None:
        """Write what cannot be read behind the last row. Raises PredictionsError: there are more predictions."""
        while self._waiting:
            self._write_unreadable(self._waiting.pop(0))
        self._predictions.require_end()

    def summary(self) -> dict[str, float] | None:
        """Return the range and the mean of the predictions; nothing of classes, or where none is a finite number."""
        if not np.isfinite(self.lowest):
            return None
        return {"min": self.lowest, "mean": self.total / self.finite, "max": self.highest}

    def distribution(self) -> dict[str, Any] | None:
        """Return how the predictions are distributed, of about 10,000 of them; of classes how many rows have each."""
        if self._classes:
            return {"classes": list(self._classes), "rows": self._of_classes.tolist()} if self.scored else None
        if not np.isfinite(self.lowest):
            return None
        counts, edges = np.histogram(self._some.values, BINS, (self.lowest, self.highest))
        return {"edges": edges.tolist(), "shares": (counts / counts.sum()).tolist()}

    def _ids(self, count: int) -> pa.Array:
        numbers = pc.cast(pa.array(np.arange(self.rows + 1, self.rows + count + 1)), pa.string())
        self.rows += count
        return pc.binary_join_element_wise(self._prefix, numbers, "")

    def _write_unreadable(self, row: UnreadableRow) -> None:
        ids = self._ids(1)
        none = np.zeros(1, bool)
        self._writer.write_unreadable(
            self._joined(ids, none, np.empty(0), [f"row {row.row} cannot be read: {row.problem}"])
        )

    def _joined(
        self, ids: pa.Array, sound: np.ndarray[tuple[int], np.dtype[np.bool_]], part: Floats, why: Sequence[str | None]
    ) -> Joined:
        """Return what is joined to rows; `why` has the problem of each, where any has one."""
        self.scored += len(part)
        if len(self.first_refused) < FIRST_REFUSED and any(why):
            first = self.rows - len(why) + 1
            named = [{"row": row, "problem": problem} for row, problem in enumerate(why, first) if problem]
            self.first_refused = [*self.first_refused, *named][:FIRST_REFUSED]
        problems = pa.array(why, pa.string()) if why else pa.nulls(len(sound), pa.string())
        joined = {INFERENCE_ID: ids, PROBLEM: problems}
        if not self._classes:
            values = np.full(len(sound), np.nan)
            values[sound] = part
            finite = part[np.isfinite(part)]
            self.lowest = min(self.lowest, float(finite.min(initial=np.inf)))
            self.highest = max(self.highest, float(finite.max(initial=-np.inf)))
            self.total += float(finite.sum())
            self.finite += finite.size
            self._some.add(finite)
            return {PREDICTION: pa.array(values, mask=~sound), **joined}
        names, lists = np.full(len(sound), None, object), np.full(len(sound), None, object)
        if len(part):
            most = np.argmax(part, axis=1)
            self._of_classes += np.bincount(most, minlength=len(self._classes))
            names[sound] = np.array(self._classes, object)[most]
            lists[sound] = [json.dumps(one) for one in part.tolist()]
        return {PREDICTION: pa.array(names, pa.string()), PROBABILITIES: pa.array(lists, pa.string()), **joined}
