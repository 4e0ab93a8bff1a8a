"""Complaints about a configuration, in words that its author can act on.

A complaint is (dotted path, text): the field, what stands there and what is allowed.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

Complaint = tuple[str, str]
MAX_MESSAGE = 20_000  # characters; the cause of an execution has at most 32,768 (Step Functions API Reference)
MAX_LINE = 1000
# What people write needs 4 levels. DynamoDB, which keeps a run's trigger, holds 32; Python's own limits are hundreds.
MAX_LEVELS = 16
MAX_INPUT_BYTES = 20_000  # of an execution's input, which its record holds; the key of an object has at most 1,024


class ConfigurationError(ValueError):
    """A configuration is wrong; the text says what, where and what is allowed. Permanent: do not retry."""


class Strict(BaseModel):
    """A frozen section: unknown keys, NaN and values of another type are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def one_of(names: Collection[str]) -> BeforeValidator:
    """Return a validator that accepts some names only: with the error of a Literal, for names that are data."""

    def check(value: Any) -> Any:
        if value not in names:
            expected = " or ".join(map(repr, names))
            raise PydanticCustomError("literal_error", "one of {expected}", {"expected": expected})
        return value

    return BeforeValidator(check)


def message(headline: str, complaints: Sequence[Complaint]) -> str:
    """Return the headline with the number of problems, and a line for each."""
    count = "1 problem" if len(complaints) == 1 else f"{len(complaints)} problems"
    lines = [f"  {one_line(f'{path}: {text}', MAX_LINE)}" for path, text in complaints]
    ends = itertools.accumulate(len(line) + 1 for line in lines)
    fitting = sum(end <= MAX_MESSAGE for end in ends)
    more = [f"  ... and {len(complaints) - fitting} more"] if len(complaints) > fitting else []
    return "\n".join([f"{headline} ({count})", *lines[:fitting], *more])


def suggestion(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for a close match or what begins so, and else `; allowed: ...`."""
    names = list(known)
    begun = [one for one in names if len(str(name)) > 2 and one.startswith(str(name))]
    close = get_close_matches(str(name), names, n=1, cutoff=0.6) or (begun if len(begun) == 1 else [])
    return f"; did you mean {close[0]!r}?" if close else f"; allowed: {', '.join(names)}"


def excerpt(value: Any) -> str:
    """Return a value as text of at most 60 characters."""
    return (
        f"a {type(value).__name__} of more than {MAX_LEVELS} levels" if is_deep(value) else shortened(repr(value), 60)
    )


def size(value: Any) -> int:
    """Return how many bytes a value of JSON has, without blanks."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str).encode(errors="surrogatepass"))


def is_text(value: Any) -> bool:
    """Return whether every text of a value of JSON can be written: half of a pair of surrogates cannot."""
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError:
        return False
    return True


def is_deep(value: Any) -> bool:
    """Say whether lists and objects stand inside one another on more than MAX_LEVELS levels."""
    level = [value]
    for _ in range(MAX_LEVELS):
        level = [item for outer in level for item in _items(outer)]
    return any(isinstance(item, Mapping | list) for item in level)


def _items(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        return value.values()
    return value if isinstance(value, list) else ()


def shortened(text: str, limit: int) -> str:
    """Return the text, or its beginning and three dots."""
    return text if len(text) <= limit else text[: limit - 3] + "..."


def one_line(text: str, limit: int) -> str:
    """Return the text shortened, with what cannot be printed (line breaks, control characters) as escapes."""
    some = shortened(text, limit)
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in some)


def dotted(location: Iterable[str | int]) -> str:
    """Return a location as a path: `columns.price.categories[2]`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return text.removeprefix(".") or "(the whole)"


def of(error: ValidationError, root: type[BaseModel]) -> list[Complaint]:
    """Return the complaints of pydantic, without those about a whole that repeat those about its parts."""
    complaints = [_translated(item, root) for item in error.errors()]
    return [
        (path, text) for path, text in complaints if not any(other.startswith(f"{path}[") for other, _ in complaints)
    ]


_WORDS: dict[str, str] = {}  # for patterns


def written(pattern: str, words: str) -> Any:
    """Return the field of texts that match a pattern, and say in words what they are."""
    _WORDS[pattern] = words
    return Field(pattern=pattern)


YAML_TRUTH = " (YAML reads yes, no, on and off as true and false: put them in quotes)"
_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "text",
    "dict_type": "keys with values",
    "model_type": "keys with values",
    "tuple_type": "a list",
    "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them",
    "string_too_long": "text of at most {max_length} characters",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
}


def _translated(error: Any, root: type[BaseModel]) -> Complaint:
    location, kind, value = error["loc"], error["type"], error["input"]
    path = dotted(part for part in location if part != "[key]")
    if kind == "extra_forbidden":
        return path, f"unknown key{_place(root, location, value)}"
    if kind == "missing":
        return path, "is missing"
    if kind == "literal_error":
        return path, f"got {excerpt(value)}; allowed: {error['ctx']['expected'].replace(' or ', ', ')}"
    if kind == "string_pattern_mismatch":
        return path, f"got {excerpt(value)}; expected {_WORDS.get(error['ctx']['pattern'], error['msg'])}"
    expected = _EXPECTED.get(kind)
    text = expected.format(**error.get("ctx", {})) if expected else error["msg"]
    hint = YAML_TRUTH if value in (True, False) else ""
    return path, f"got {excerpt(value)}; expected {text}{hint if kind == 'string_type' else ''}"


def _place(root: type[BaseModel], location: Sequence[str | int], value: Any) -> str:
    """Return what an unknown key may have been meant to be, and the level where it is known: one below or above."""
    *above, key = map(str, location)
    fields = _fields_at(root, above)
    sections = {name: _without_none(field.annotation) for name, field in fields.items()}
    level = ""
    if inner := next((name for name, one in sections.items() if _is_model(one) and key in one.model_fields), None):
        text = json.dumps(value, ensure_ascii=False) if isinstance(value, str | int | float) else "..."
        level = f"write {inner}: {{{key}: {shortened(text, 60)}}}"
    elif above and key in _fields_at(root, above[:-1]):
        level = f"it belongs one level higher, beside {above[-1]}"
    meant = suggestion(key, fields)
    if level:
        return f"{meant} Or {level}" if "did you mean" in meant else f"; {level}"
    return meant


def _fields_at(root: type[BaseModel], location: Iterable[str]) -> dict[str, FieldInfo]:
    """Return the keys that the section at a location knows; none when the location leaves the known sections."""
    section: Any = root
    for part in location:
        if _is_model(section):
            section = _without_none(section.model_fields[part].annotation)
        elif get_origin(section) is dict:
            section = get_args(section)[1]
    return section.model_fields if _is_model(section) else {}


def _is_model(section: Any) -> bool:
    return isinstance(section, type) and issubclass(section, BaseModel)


def _without_none(annotation: Any) -> Any:
    """`X` of `X | None`."""
    options = [option for option in get_args(annotation) if option is not type(None)]
    return options[0] if get_origin(annotation) in (Union, UnionType) and len(options) == 1 else annotation
