"""Records of numbers in RecordIO-protobuf, as Amazon's algorithms read and write them.

A file is a row of records: 0xCED7230A, the length, the content, zeros up to a multiple of four. The content is the
message `aialgs.data.Record`: maps `features` (1) and `label` (2) from text to a tensor of floats (2), doubles (3) or
int32 (7) with `values` (1), and for a sparse vector `keys` (2) and `shape` (3).
Source  SageMaker Developer Guide, "Common data formats for training", its protobuf definition; MXNet RecordIO;
        sagemaker-python-sdk, `serializer_utils.py`; protobuf.dev, "Encoding"
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]

_MAGIC = 0xCED7230A
_HEADER = struct.Struct("<II")
_FEATURES, _LABEL, _KEY, _VALUE = 1, 2, 1, 2
_FLOAT32, _FLOAT64, _INT32 = 2, 3, 7
_VALUES, _KEYS, _SHAPE = 1, 2, 3
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
_NUMBERS = {_FLOAT32: "<f4", _FLOAT64: "<f8"}
_MOST_FEATURES = 1 << 24


class RecordError(ValueError):
    """What is read is no RecordIO-protobuf, or holds no numbers."""


class Record(NamedTuple):
    """Features, and the label where there is one."""

    features: Vector
    label: float | None


def read(data: bytes) -> Iterator[Record]:
    """Yield the records of a file or a request. Raises RecordError."""
    for number, content in enumerate(_contents(memoryview(data))):
        try:
            yield _record(content)
        except (IndexError, ValueError, struct.error) as error:
            raise RecordError(f"record {number} is not readable: {error}") from error


def write(labels: Iterable[Mapping[str, float | Sequence[float]]]) -> bytes:
    """Return records whose labels are these named numbers, or lists of them, as an algorithm answers."""
    return b"".join(_framed(b"".join(_label(name, value) for name, value in each.items())) for each in labels)


def _contents(data: memoryview) -> Iterator[memoryview]:
    position = 0
    while position < len(data):
        if len(data) - position < _HEADER.size:
            raise RecordError("it ends within a record's header")
        magic, length = _HEADER.unpack_from(data, position)
        position += _HEADER.size
        if magic != _MAGIC:
            raise RecordError("it is not RecordIO: no record begins where one should")
        if len(data) - position < length:
            raise RecordError("it ends within a record")
        yield data[position : position + length]
        position += (length + 3) & ~3


def _framed(content: bytes) -> bytes:
    return _HEADER.pack(_MAGIC, len(content)) + content + bytes(-len(content) % 4)


def _record(content: memoryview) -> Record:
    tensors = {_FEATURES: np.empty(0), _LABEL: np.empty(0)}
    for field, value in _fields(content):
        if field in tensors:
            entry = dict(_fields(value))
            if bytes(entry[_KEY]) == b"values":
                tensors[field] = _vector(entry[_VALUE])
    label = tensors[_LABEL]
    if label.size > 1:
        raise ValueError(f"its label has {label.size} values, expected one")
    return Record(tensors[_FEATURES], float(label[0]) if label.size else None)


def _vector(value: memoryview) -> Vector:
    """Return a tensor's values; of a sparse one all of them, with zeros where it has no key."""
    kind, tensor = next(iter(_fields(value)))
    if kind not in (*_NUMBERS, _INT32):
        raise ValueError("it holds bytes, expected numbers")
    parts: dict[int, list[Any]] = {_VALUES: [], _KEYS: [], _SHAPE: []}
    for field, part in _fields(tensor):
        parts[field].append(_numbers(part, _NUMBERS.get(kind) if field == _VALUES else None))
    values, keys, shape = (np.concatenate(parts[name]) if parts[name] else np.empty(0) for name in parts)
    if not keys.size:
        return values.astype(np.float64)
    size = int(shape[0]) if shape.size else int(keys.max()) + 1
    if size > _MOST_FEATURES:
        raise ValueError(f"it has {size:,} features, at most {_MOST_FEATURES:,} are read")
    dense = np.zeros(size)
    dense[keys.astype(np.int64)] = values
    return dense


def _numbers(part: Any, dtype: str | None) -> Any:
    """Return the numbers of one field, packed or alone: floats of a type, or varints."""
    if dtype is not None:
        return np.frombuffer(part, dtype)
    if isinstance(part, int):
        return np.array([_signed(part)])
    numbers, position = [], 0
    while position < len(part):
        number, position = _varint(part, position)
        numbers.append(_signed(number))
    return np.array(numbers)


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def _fields(content: memoryview) -> Iterator[tuple[int, Any]]:
    """Yield the fields of a message: numbers as int, everything else as bytes."""
    position = 0
    while position < len(content):
        key, position = _varint(content, position)
        kind = key & 7
        if kind == _VARINT:
            value, position = _varint(content, position)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            length, position = _varint(content, position)
        elif kind in (_EIGHT, _FOUR):
            length = 8 if kind == _EIGHT else 4
        else:
            raise ValueError(f"a field has the wire type {kind}")
        if len(content) - position < length:
            raise ValueError("it ends within a field")
        yield key >> 3, content[position : position + length]
        position += length


def _varint(content: memoryview, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = content[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
        shift += 7
        if shift > 63:
            raise ValueError("a number has more than 64 bits")


def _label(name: str, value: float | Sequence[float]) -> bytes:
    """Return an entry of the map `label`."""
    values = value if isinstance(value, Sequence) else (value,)
    tensor = _bytes(_VALUES, struct.pack(f"<{len(values)}f", *values))
    return _bytes(_LABEL, _bytes(_KEY, name.encode()) + _bytes(_VALUE, _bytes(_FLOAT32, tensor)))


def _bytes(field: int, content: bytes) -> bytes:
    length, size = bytearray(), len(content)
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes((field << 3 | _BYTES, *length, size)) + content
