"""From raw features to the numbers that an algorithm learns from (data.encoder_fit fits this on training rows).

    column                  features
    float, integer          the number; a missing one becomes the mean of the training rows
    boolean                 1 or 0; a missing one becomes the share of true
    string, few values      one 0/1 feature for each category of the training rows, in the order of their names. Others,
                            and missing ones, are all zeros. Few are at most `max_categories`
    string, more than six   what it says of the target beyond other columns, and how often the value was seen
                            (features.target_encoding): at most five features, however many values. An order of
                            categories that the target knows (grades, sizes) is then one feature, not a split for each
    any nullable column     one more 0/1 feature that says whether the value was missing

With `preprocessing: none` every column is one field as it is: a number, 1 or 0, a text (in quotation marks where CSV
asks for them), or nothing where the value is missing.

The features stand in the order of the columns. Nothing is scaled: trees do not need it and Linear Learner does it
itself. A model folder may hold `features.py` with `transform(table: pyarrow.Table) -> pyarrow.Table`: raw feature
columns in, the columns to encode out, row by row (it sees batches in training and requests in serving). Strings are
then plain strings, not dictionaries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, partial
from math import isfinite
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from perennial import hooks
from perennial.features.few_records import FewRecords
from perennial.features.lines import Fields, csv_field, csv_lines, csv_text
from perennial.features.target_encoding import Rows, TargetEncoding
from perennial.features.values import decoded, plain_decimal, text_of, to_texts
from perennial.hooks import HookError

Hook = Callable[[pa.Table], pa.Table]
FORMAT_VERSION = 2


@dataclass(frozen=True)
class NumberEncoding:
    """One number; `fill` stands for a missing value."""

    name: str
    fill: float
    indicator: bool

    @property
    def feature_names(self) -> list[str]:
        return [self.name, f"{self.name}=missing"] if self.indicator else [self.name]

    def fields(self, values: pa.Array, folds: Rows | None = None, text: Fields | None = None) -> list[Fields]:
        text = to_texts(values) if text is None else text
        if values.null_count:
            text = pc.fill_null(decoded(text), plain_decimal(self.fill))
        return [text, to_texts(pc.is_null(values))] if self.indicator else [text]

    def text_of(self, value: float | None) -> str:
        """Return the fields of one value."""
        text = text_of(self.fill if value is None else value)
        return f"{text},{value is None:d}" if self.indicator else text

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "kind": "number", "fill": self.fill, "indicator": self.indicator}


@dataclass(frozen=True)
class CategoryEncoding:
    """One 0/1 feature for each category."""

    name: str
    categories: tuple[str, ...]
    indicator: bool
    _rows: Sequence[str] = field(init=False, repr=False, compare=False)
    _positions: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        count = len(self.categories)
        one_hot = [["0"] * position + ["1"] + ["0"] * (count - position - 1) for position in range(count)]
        nothing = ["0"] * count
        rows = [*one_hot, nothing, nothing]
        if self.indicator:
            rows = [[*row, "1" if position == count + 1 else "0"] for position, row in enumerate(rows)]
        object.__setattr__(self, "_rows", [",".join(row) for row in rows])
        object.__setattr__(self, "_positions", {name: position for position, name in enumerate(self.categories)})

    @property
    def feature_names(self) -> list[str]:
        names = [f"{self.name}={category}" for category in self.categories]
        return [*names, f"{self.name}=missing"] if self.indicator else names

    def knows(self, text: str) -> bool:
        """Return whether a value is encoded by itself."""
        return text in self._positions

    def fields(self, values: pa.DictionaryArray, folds: Rows | None = None, text: Fields | None = None) -> list[Fields]:
        """Return the one-hot fields of a row as one text, `0,1,0`: there are only as many as categories."""
        if not self.categories and not self.indicator:
            return []
        unknown, missing = len(self.categories), len(self.categories) + 1
        positions = [self._positions.get(value, unknown) for value in values.dictionary.to_pylist()]
        rows = pa.array(positions, pa.int32()).take(values.indices)
        return [
            pa.DictionaryArray.from_arrays(pc.fill_null(rows, missing), pa.array(self._rows, pa.string()), safe=False)
        ]

    def text_of(self, value: str | None) -> str:
        """Return the fields of one value."""
        unknown = len(self.categories)
        position = unknown + 1 if value is None else self._positions.get(value, unknown)
        return self._rows[position]

    def as_json(self) -> dict[str, Any]:
        categories = list(self.categories)
        return {"name": self.name, "kind": "category", "categories": categories, "indicator": self.indicator}


@dataclass(frozen=True)
class PlainEncoding:
    """The value itself."""

    name: str

    @property
    def feature_names(self) -> list[str]:
        return [self.name]

    def fields(self, values: pa.Array, folds: Rows | None = None, text: Fields | None = None) -> list[Fields]:
        return [csv_field(values) if text is None else text]

    def text_of(self, value: float | datetime | str | None) -> str:
        """Return one value as a field."""
        return "" if value is None else csv_text(value) if isinstance(value, str) else text_of(value)

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "kind": "plain"}


Encoding = NumberEncoding | CategoryEncoding | TargetEncoding | PlainEncoding
_TEXTS = {NumberEncoding: False, CategoryEncoding: True, TargetEncoding: True}


def _encoding(item: Mapping[str, Any]) -> Encoding:
    if item["kind"] == "number":
        return NumberEncoding(item["name"], item["fill"], item["indicator"])
    if item["kind"] == "target":
        return TargetEncoding.from_json(item)
    if item["kind"] == "plain":
        return PlainEncoding(item["name"])
    return CategoryEncoding(item["name"], tuple(item["categories"]), item["indicator"])


@dataclass(frozen=True)
class Encoder:
    """The fitted encodings of a model, in the order of their features."""

    encodings: tuple[Encoding, ...]
    hook: Hook | None = None

    @property
    def feature_names(self) -> list[str]:
        return [name for encoding in self.encodings for name in encoding.feature_names]

    def fields(
        self, table: pa.Table, folds: Rows | None = None, texts: Mapping[str, Fields] | None = None
    ) -> list[Fields]:
        """Return the features of prepared rows as CSV fields; one array may hold several comma-separated fields.

        folds  those of training rows, which are encoded out of fold; serving and all other rows have none
        texts  columns as lines.csv_field makes them, as far as that has been done
        """
        self._require(table.column_names, [pa.types.is_dictionary(column.type) for column in table.schema])
        texts = texts or {}
        return [
            text
            for encoding in self.encodings
            for text in encoding.fields(whole_column(table, encoding.name), folds, texts.get(encoding.name))
        ]

    def encode(self, rows: pa.Table | FewRecords) -> bytes | memoryview:
        """Return the features of raw rows as CSV bytes without header, shape (n_rows, len(feature_names))."""
        if isinstance(rows, pa.Table):
            return csv_lines(self.fields(prepared(rows, self.hook)))
        if self.hook is None:
            values = rows.rows
            self._require(rows.names)
        else:
            made = _transformed_by(self.hook, rows.as_table())
            values, are_texts = _python(made)
            self._require(made.column_names, are_texts)
        lines = [",".join([text_of(row[place]) for place, text_of in self._texts_of]) for row in values]
        return "\n".join([*lines, ""]).encode()

    @cached_property
    def _names(self) -> list[str]:
        return list(dict.fromkeys(encoding.name for encoding in self.encodings))

    @cached_property
    def _texts_of(self) -> Sequence[tuple[int, Callable[[Any], str]]]:
        """Which value of a row becomes fields, and how; a text column without categories has none."""
        return [(self._names.index(one.name), one.text_of) for one in self.encodings if one.feature_names]

    @cached_property
    def _are_texts(self) -> Sequence[bool | None]:
        """Whether each column is of texts; None: it may be of texts or of numbers."""
        kinds = {one.name: _TEXTS.get(type(one)) for one in self.encodings}
        return [kinds[name] for name in self._names]

    def _require(self, names: Sequence[str], are_texts: Sequence[bool] = ()) -> None:
        """Raise HookError: the columns are others than those of training, or of texts where these were of numbers."""
        if names != self._names:
            raise HookError(f"features.py: transform returned the columns {names}, in training {self._names}")
        for name, is_text, was_text in zip(names, are_texts, self._are_texts, strict=False):
            if was_text not in (None, is_text):
                raise HookError(
                    f"features.py: column {name!r} is of {kind_of(is_text)}, in training of {kind_of(was_text)}"
                )

    def as_json(self) -> list[dict[str, Any]]:
        """Return the encodings as a JSON document, which `from_json` reads."""
        return [encoding.as_json() for encoding in self.encodings]

    @classmethod
    def from_json(cls, document: Sequence[Mapping[str, Any]], hook: Hook | None = None) -> Encoder:
        """Return the encoder that a document describes."""
        return cls(tuple(_encoding(item) for item in document), hook)


# ---- The model's own features


def load_hook(path: Path) -> Hook | None:
    """Return `transform` of a model's features.py, or None where there is no such file.

    What goes wrong in it, now or when it is called, is a HookError that says line and exception.
    """
    if not (file := hooks.load(path)):
        return None
    transform = getattr(file.module, "transform", None)
    if not callable(transform):
        raise HookError("features.py: has no function transform(table: pyarrow.Table) -> pyarrow.Table")
    return partial(_transformed, file)


def _transformed(file: hooks.HookFile, table: pa.Table) -> pa.Table:
    return file.call(file.module.transform, table)


def prepared(table: pa.Table, hook: Hook | None) -> pa.Table:
    """Return the columns to encode: the raw ones, or what the hook makes of them. Texts are dictionaries."""
    if hook is None:
        return table
    plain = pa.table({name: _decoded(whole_column(table, name)) for name in table.column_names})
    made = _transformed_by(hook, plain)
    return pa.table({name: _encodable(name, whole_column(made, name)) for name in made.column_names})


def _transformed_by(hook: Hook, plain: pa.Table) -> pa.Table:
    made = hook(plain)
    if not isinstance(made, pa.Table) or made.num_rows != plain.num_rows or made.num_columns == 0:
        got = f"{made.num_rows} rows, {made.num_columns} columns" if isinstance(made, pa.Table) else type(made).__name__
        raise HookError(f"features.py: transform returned {got}; expected a pyarrow.Table with {plain.num_rows} rows")
    return made


_NUMBERS = frozenset(
    kind().id
    for kind in (
        *(pa.int8, pa.int16, pa.int32, pa.int64, pa.uint8, pa.uint16, pa.uint32, pa.uint64),
        *(pa.float16, pa.float32, pa.float64),
    )
)
_BOOLEAN = pa.bool_().id
_AS_THEY_ARE = frozenset((pa.string().id, pa.large_string().id, _BOOLEAN))


def _python(made: pa.Table) -> tuple[Sequence[Sequence[Any]], list[bool]]:
    """Return the rows of the hook by value, as they are encoded, and whether each column is of texts."""
    columns, are_texts = [], []
    for name, column in zip(made.column_names, made.columns, strict=True):
        kind = column.type.id  # a number, looked up in less than a function of pa.types takes
        are_texts.append(kind not in _NUMBERS and kind != _BOOLEAN)
        if kind in _NUMBERS:
            values = column.to_pylist()
            columns.append([None if one is None or not isfinite(one) else float(one) for one in values])
        elif kind in _AS_THEY_ARE:
            columns.append(column.to_pylist())
        else:
            columns.append(_encodable(name, whole_column(made, name)).to_pylist())
    return list(zip(*columns, strict=True)), are_texts


def kind_of(is_text: bool) -> str:
    """Return what a column of the hook is of, as people say it."""
    return "texts" if is_text else "numbers"


def whole_column(table: pa.Table, name: str) -> pa.Array:
    """Return a column in one piece, without a copy where it is one already."""
    column = table[name]
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _decoded(values: pa.Array) -> pa.Array:
    return values.dictionary.take(values.indices) if pa.types.is_dictionary(values.type) else values


def _encodable(name: str, values: pa.Array) -> pa.Array:
    """Return a column of the hook as it is encoded; infinities and NaN become missing."""
    kind = values.type
    if pa.types.is_dictionary(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return pc.cast(values, pa.string()).dictionary_encode()
    if pa.types.is_boolean(kind):
        return values
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        numbers = pc.cast(values, pa.float64(), safe=False)
        return pc.if_else(pc.is_finite(numbers), numbers, None)
    raise HookError(f"features.py: column {name!r} has type {kind}; expected numbers, booleans or strings")
