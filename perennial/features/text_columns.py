"""`parse` of model.yaml over columns: their texts made plain, and what means a missing value taken out."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from perennial.features.comparing import is_one_of
from perennial.features.parsing import PLAIN, Parsing, markers

_ONLY = {True: PLAIN, False: Parsing(strip=False)}


def plain(parsing: Parsing, kind: str, text: pa.StringArray) -> pa.StringArray:
    """Return the texts of a column of numbers, booleans or times as the grammar of all columns reads them."""
    if parsing == _ONLY[parsing.strip]:
        return text
    encoded = text.dictionary_encode()
    words = [parsing.plain(kind, word.strip()) for word in encoded.dictionary.to_pylist()]
    return pa.array(words, pa.string()).take(encoded.indices)


def strings(parsing: Parsing, words: pa.StringArray) -> pa.StringArray:
    """Return the texts of a column of strings, null where one is missing."""
    stripped = pc.utf8_trim_whitespace(words)
    texts = stripped if parsing.strip else words
    missing = pc.equal(texts, "")
    if parsing.missing:
        marked = pa.array([one.lower() for one in parsing.missing], pa.string())
        missing = pc.or_(missing, pc.is_in(_lower(stripped), value_set=marked))
    return pc.if_else(missing, None, texts)


def _lower(words: pa.StringArray) -> pa.StringArray:
    """Return texts in small letters, as Python has them: beyond ASCII Arrow has others for some."""
    if pc.all(pc.string_is_ascii(words)).as_py():
        return pc.utf8_lower(words)
    return pa.array([word.lower() for word in words.to_pylist()], pa.string())


def known(parsing: Parsing, values: pa.Array) -> pa.Array:
    """Return numbers without those that mean a missing value."""
    if not parsing.missing or values.type not in (pa.float64(), pa.int64()):
        return values
    marked = markers(parsing, whole=pa.types.is_integer(values.type))
    missing = is_one_of(values, marked)
    return pc.if_else(missing, None, values) if pc.any(missing).as_py() else values
