"""Files as texts: what stands in which column, before anybody knows what it means.

Files are opened and cut by the readers of runs (perennial.data); only what those are told by a definition is guessed
here: the encoding, a delimiter that they do not look for, and the names of the columns.
"""

from __future__ import annotations

import csv
import functools
import gzip
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from perennial.data import parquet_files
from perennial.data.csv_files import DELIMITERS
from perennial.data.file_form import FileForm
from perennial.data.files import GZIP, JSON_LIST, read, told_by_name
from perennial.data.header import FileError, some_of
from perennial.data.text_files import BLOCK_BYTES, PARQUET, BinaryFile, TextFile, undamaged
from perennial.features.column import Column
from perennial.features.column_names import is_index
from perennial.features.json_text import RefusedJsonError, decode
from perennial.words import quoted, spelling
from perennial_cli.proposal import encodings

LINES_LOOKED_AT = 200
NESTED = "a list or an object"
RARE_DELIMITERS = "^~: "
LONGEST_NAME = 1 << 16
MOSTLY = 0.8  # of the lines
TITLE = 2  # fields of a row, beyond which a first line of one field is a title
AGAIN, LEAST_LINES = 0.01, 10  # share of the lines that have a field of the first one in its place, and of how many


@dataclass(frozen=True)
class Texts:
    """The columns of some files, by the names in their headers.

    columns   the text of each row; null where a file does not have the column, or a value is null
    absent    for a column that not every file has: those that do not
    index     nameless columns and row numbers, which runs pass over
    broken    rows that are none, with the first problem
    doubts    what is not sure about the files themselves
    """

    columns: dict[str, pa.StringArray]
    form: FileForm
    rows: int
    files: Sequence[Path]
    absent: dict[str, list[str]] = field(default_factory=dict)
    index: Sequence[str] = ()
    broken: Sequence[str] = ()
    doubts: Sequence[str] = ()


def read_texts(paths: Sequence[Path]) -> Texts:
    """Return all columns of some files as texts. Raises FileError: a file is no table, or they differ in form."""
    forms = {path: form_of(path) for path in paths}
    form = _common(forms)
    headers = {path: header_of(path, form) for path in paths}
    names = list(dict.fromkeys(name for header in headers.values() for name in header))
    for path, header in headers.items():
        _require_names(path, header)
        _require_alike(path, header, paths[0], headers[paths[0]])
    named = [name for name in names if not is_index(name)]
    pieces: dict[str, list[pa.Array]] = {name: [] for name in named}
    broken: list[str] = []
    rows = 0
    for path in paths:
        for batch in read(path, [Column(name, "string", nullable=True) for name in named], form=form):
            broken += [f"{path.name}, row {row.row}: {row.problem}" for row in batch.unreadable]
            rows += batch.table.num_rows
            for name in named:
                pieces[name].append(_as_text(batch.table.column(name)))
    columns = {
        name: pa.concat_arrays(arrays) if arrays else pa.array([], pa.string()) for name, arrays in pieces.items()
    }
    if again := _names_again(columns):
        is_row = pa.array([row not in again for row in range(len(next(iter(columns.values()))))])
        columns = {name: texts.filter(is_row) for name, texts in columns.items()}
        rows -= len(again)
        broken += [f"{paths[0].name}: {len(again)} rows below repeat the names of the columns: take such lines away"]
    absent = {name: [path.name for path, header in headers.items() if name not in header] for name in named}
    return Texts(
        columns,
        form,
        rows,
        paths,
        {name: without for name, without in absent.items() if without},
        [name for name in names if is_index(name)],
        broken,
        [] if form.encoding == "utf-8" else [_doubt(path) for path in paths],
    )


def _names_again(columns: dict[str, pa.StringArray]) -> set[int]:
    """Return which rows are the line of names again, as where files were put one below the other."""
    is_name = [pc.fill_null(pc.equal(texts, name), False) for name, texts in columns.items()]
    every = functools.reduce(pc.and_, is_name) if len(is_name) > 1 else pa.array([], pa.bool_())
    return set(pc.indices_nonzero(every).to_pylist())


def _as_text(values: pa.Array) -> pa.StringArray:
    if pa.types.is_struct(values.type):
        values, invalid = values.field("text"), values.field("invalid")
        nested = pc.and_(invalid, pc.match_substring_regex(values, r"^[\[{]"))
        values = pc.if_else(pc.fill_null(nested, False), NESTED, values)  # its brackets are no units
    return values if values.type == pa.string() else pc.cast(values, pa.string())


def _common(forms: dict[Path, FileForm]) -> FileForm:
    """Return the form that one definition can declare for all files. Raises FileError where they need two."""
    (first, form), *others = forms.items()
    for path, other in others:
        if other != form:
            raise FileError(
                f"{path.name}: is read as {_described(other)}, and {first.name} as {_described(form)}; one model reads "
                "one form of files. Save one of them in the other's form"
            )
    return form


def _described(form: FileForm) -> str:
    return f"{form.encoding}{f' with the delimiter {quoted(form.delimiter)}' if form.delimiter else ''}"


def _require_names(path: Path, header: Sequence[str]) -> None:
    twice = [name for name, times in Counter(header).items() if times > 1 and not is_index(name)]
    if twice:
        raise FileError(f"{path.name}: {quoted(twice[0])} stands more than once in the first line; rename one of them")
    if header and all(_is_number(name) for name in header):
        raise FileError(
            f"{path.name}: the first line holds numbers only ({quoted(','.join(header))}); expected a line with the "
            "names of the columns. Add one"
        )


def _require_alike(path: Path, header: Sequence[str], first: Path, names: Sequence[str]) -> None:
    """Raise FileError when a file is no part of the table that the first one is a part of, by its columns."""
    ours, theirs = ({spelling(name) for name in some if not is_index(name)} for some in (header, names))
    common = len(ours & theirs)
    if 2 * common < min(len(ours), len(theirs)):
        raise FileError(
            f"{path.name}: has {common or 'none'} of the columns of {first.name} ({some_of(names)}), but "
            f"{some_of(header)}; expected files of one table. Make a model of each, or join them first"
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


# ---- Encoding and delimiter


def form_of(path: Path) -> FileForm:
    """Return how a file's text is read: what a definition would have to say of it. Raises FileError."""
    if _is_parquet(path):
        return FileForm(other_columns="ignore")
    form = FileForm(_encodings(path)[0], None, "ignore")
    head = _head(path, form)
    if head.text.lstrip().startswith("{") or head.separator:
        return form
    delimiter = _delimiter(head.text)
    return replace(form, delimiter=None if delimiter in DELIMITERS else delimiter)


def _encodings(path: Path) -> Sequence[str]:
    """Return UTF-8, or else the likeliest encodings in which the whole file is text. Raises FileError: it is none."""
    utf_8 = _failure(path, "utf-8")
    if utf_8 is None:
        return ["utf-8"]
    likely = encodings.likely(_beginning(path))
    others = (name for name in encodings.ENCODINGS if name not in likely and not name.startswith("utf-16"))
    for names, most in ((likely, 2), (others, 1)):
        if able := list(islice((name for name in names if _failure(path, name) is None), most)):
            return able
    raise told_by_name(path.name, utf_8)


def _doubt(path: Path) -> str:
    """Return that the encoding of a file is a guess, and what it makes of the text."""
    names, beginning = _encodings(path), _beginning(path)
    texts = [", ".join(map(quoted, encodings.words(beginning.decode(name, "replace")))) for name in names]
    has = f", in which it has {texts[0]}" if texts[0] else ""
    other = (
        f". As {names[1]} it would have {texts[1]}" if texts[0] and texts[1:] and texts[1] not in ("", texts[0]) else ""
    )
    return (
        f"the encoding of {path.name} is a guess: it has no mark that says it, and is no UTF-8. It is taken for "
        f"{names[0]}{has}{other}. If that is wrong, name the encoding under `files`, or save the file as UTF-8"
    )


def _beginning(path: Path) -> bytes:
    with _open(path) as file:
        return file.read(BLOCK_BYTES)


def _failure(path: Path, encoding: str) -> FileError | None:
    """Return why a file cannot be read as a text in an encoding; None: it can."""
    with _open(path) as file:
        text = TextFile(path.name, file, FileForm(encoding))
        try:
            while text.read(BLOCK_BYTES):
                pass
        except FileError as error:
            return error
    return None


@dataclass(frozen=True)
class _Head:
    text: str
    separator: str


def _head(path: Path, form: FileForm) -> _Head:
    with _open(path) as file:
        text = TextFile(path.name, file, form, is_table=True)
        head = text.read(BLOCK_BYTES).decode("utf-8", "ignore")
    return _Head("".join(head.splitlines(keepends=True)[:LINES_LOOKED_AT]), text.separator)


@contextmanager
def _open(path: Path) -> Iterator[BinaryFile | IO[bytes]]:
    """Yield what reads a file. Raises FileError: what is read of it is damaged."""
    with path.open("rb") as file:
        magic = file.read(2)
    with undamaged(path.name), gzip.open(path, "rb") if magic == GZIP else path.open("rb") as file:
        yield file


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(PARQUET)) == PARQUET


def _delimiter(head: str) -> str:
    """Return what cuts most lines into as many fields as the first; a comma where nothing does."""
    usual = max(DELIMITERS, key=lambda delimiter: _fields_alike(head, delimiter))
    if _fields_alike(head, usual):
        return usual
    rare = max(RARE_DELIMITERS, key=lambda delimiter: _fields_alike(head, delimiter))
    return rare if _fields_alike(head, rare) else ","


def _fields_alike(head: str, delimiter: str) -> float:
    """Return the width of the header times the share of lines that have it; 0 for a width of 1."""
    widths = [len(row) for row in _rows(head, delimiter) if row]
    return widths[0] * widths.count(widths[0]) / len(widths) if widths and widths[0] > 1 else 0


def _rows(head: str, delimiter: str) -> Iterator[list[str]]:
    """Yield the rows of a text, up to the first with a field that is longer than csv takes."""
    with suppress(csv.Error):
        yield from csv.reader(io.StringIO(head, newline=""), delimiter=delimiter)


# ---- Names


def header_of(path: Path, form: FileForm) -> list[str]:
    """Return the names of a file's columns. Raises FileError: there are none."""
    if _is_parquet(path):
        with parquet_files.undamaged(path.name), pq.ParquetFile(path) as file:
            return list(file.schema_arrow.names)
    head = _head(path, form)
    if not head.text.strip():
        raise FileError(f"{path.name}: the file is empty; expected a line of names and rows below it")
    if head.text.lstrip().startswith("{"):
        return _keys(path.name, head.text)
    if head.text.lstrip().startswith("["):
        raise FileError(f"{path.name}: {JSON_LIST}")
    delimiter = head.separator or form.delimiter or _delimiter(head.text)
    rows = list(_rows(head.text, delimiter))
    if not rows or max(map(len, rows[0])) > LONGEST_NAME:
        raise FileError(f"{path.name}: the first line is not readable as CSV; does a quotation mark in it never close?")
    _require_no_title(path.name, head.text)
    _require_no_row(path.name, rows[0], rows[1:])
    return rows[0]


def _require_no_title(name: str, head: str) -> None:
    """Raise FileError when lines stand above the one with the names: a title, or comments.

    Where some mark cuts the first line as it cuts most of them that line has the names, whatever others would make of
    the rest: decimal commas, or lists in a field.
    """
    lines = head.splitlines()
    above = next((at for at, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    above = above if lines[0].startswith("#") else 0
    widths = {mark: [len(row) for row in _rows(head, mark)] for mark in DELIMITERS + RARE_DELIMITERS}
    if above <= 1 and any(some[0] > 1 and some.count(some[0]) > MOSTLY * len(some) for some in widths.values() if some):
        return
    usual = {mark: Counter(widths[mark]).most_common(1)[0] for mark in DELIMITERS if widths[mark]}
    mark, (width, often) = max(
        usual.items(), key=lambda item: item[1][0] * (item[1][1] > MOSTLY * len(lines)), default=("", (0, 0))
    )
    if not above and width > TITLE and often > MOSTLY * len(lines) and widths[mark][0] == 1:
        above = widths[mark].index(width)
    if above:
        raise FileError(
            f"{name}: the first line is {quoted(lines[0])}, and the names of the columns seem to stand in line "
            f"{above + 1}; expected them in the first. Take away what stands above them (tail -n +{above + 1})"
        )


def _require_no_row(name: str, first: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Raise FileError when the first line is rather a row: most of its fields come again below, or are measures.

    Names may be measures as well, wavelengths or shares: what stands below them is something else, and rarely around.
    """
    below = [Counter(row[place].strip() for row in rows if place < len(row)) for place in range(len(first))]
    again = [
        field
        for field, texts in zip(first, below, strict=True)
        if field.strip() and (texts[field.strip()] >= max(2, AGAIN * len(rows)) or _is_measure(field, texts))
    ]
    if len(rows) >= LEAST_LINES and len(again) > 1 and 2 * len(again) >= len(first):
        raise FileError(
            f"{name}: the first line seems to be a row and not the names of the columns: {some_of(again)} stand below "
            "in the same columns as well, or are numbers. Add a line with the names"
        )


def _is_measure(text: str, below: Iterable[str]) -> bool:
    """Return whether a text is a number, and no whole one, among those below."""
    if text.strip().isdecimal() or not _is_number(text):
        return False
    numbers = [float(other) for other in below if _is_number(other)]
    return bool(numbers) and min(numbers) <= float(text) <= max(numbers)


def _keys(name: str, head: str) -> list[str]:
    keys: dict[str, None] = {}
    for number, line in enumerate(head.split("\n"), 1):
        try:
            record = decode(line) if line.strip() else {}
        except RefusedJsonError:  # a row that is none, and no more
            continue
        except ValueError as error:
            problem = f"begins as JSON lines, and line {number} is no JSON object ({error})"
            raise FileError(f"{name}: {problem}; write one that stands on many lines on one") from error
        keys |= dict.fromkeys(record) if isinstance(record, dict) else {}
    return list(keys)
