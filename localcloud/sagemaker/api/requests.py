"""Check requests against botocore's own description of SageMaker, and refuse them as AWS does.

botocore's `ParamValidator` runs in the caller and leaves patterns, enumerations, maxima and list sizes to the
service; this is the service's half. Texts follow what AWS answers ("1 validation error detected: Value 'x' at
'trainingJobName' failed to satisfy constraint: ..."). A member that the model does not have is refused too: AWS
ignores it, but here that would mean silently leaving out what a newer client asked for.
"""

from __future__ import annotations

import math
import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from botocore.model import MapShape, Shape, StringShape

from localcloud.sagemaker.errors import AwsError, invalid, unsupported
from localcloud.service_models import service_model

_IN_PYTHON = {
    r"\uD800\uDC00-\uDBFF\uDFFF": r"\U00010000-\U0010FFFF",
    r"\p{Alnum}": "a-zA-Z0-9",
    r"\p{Print}": r"[\x20-\x7e]",
}
_JSON_TYPES: dict[type, str] = {str: "STRING_VALUE", int: "NUMBER_VALUE", float: "NUMBER_VALUE"}
_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "long": (int,),
    "float": (int, float),
    "double": (int, float),
    "timestamp": (int, float, str),
    "structure": (dict,),
    "map": (dict,),
    "list": (list,),
}
# Of numbers; what is no number, or has no end, is beyond them all.
_MOST = {"integer": 2**31 - 1, "long": 2**63 - 1, **dict.fromkeys(("float", "double", "timestamp"), sys.float_info.max)}


def input_shape(operation: str, service: str = "sagemaker") -> Any:
    """Return the operation's StructureShape (Any: botocore's types leave out what its shapes have)."""
    return service_model(service).operation_model(operation).input_shape


def output_shape(operation: str) -> Any:
    """Return the answer's StructureShape; None when the operation answers nothing."""
    return service_model("sagemaker").operation_model(operation).output_shape


def check(operation: str, request: dict[str, Any], service: str = "sagemaker") -> dict[str, Any]:
    """Return the request without its null members; raises SerializationException or ValidationException."""
    shape = input_shape(operation, service)
    for problem in _type_problems(shape, without_nulls(request), ""):
        raise AwsError("SerializationException", problem)
    cleaned: dict[str, Any] = _integers(shape, without_nulls(request))
    raise_violations(_violations(shape, cleaned, ""))
    return cleaned


def raise_violations(violations: Iterable[str]) -> None:
    """Raise AWS's ValidationException over all violations at once; nothing when there are none."""
    texts = list(violations)
    if texts:
        noun = "error" if len(texts) == 1 else "errors"
        raise invalid(f"{len(texts)} validation {noun} detected: {'; '.join(texts)}")


def missing(path: str) -> str:
    return _violation(None, path, "Member must not be null")


def require(request: dict[str, Any], *paths: str) -> None:
    """Refuse a request without these members (`Outer.Inner`), which the model calls optional but the service needs."""
    raise_violations(missing(_camel_path(path)) for path in paths if _lookup(request, path) is None)


def only(members: dict[str, Any], supported: Iterable[str], where: str = "") -> None:
    """Refuse members that the local cloud does not carry out; empty and false ones ask for nothing and pass."""
    known = set(supported)
    for name, value in members.items():
        if name not in known and _asks(value):
            raise unsupported(f"{where}{name}")


def _asks(value: Any) -> bool:
    """Return whether a member asks for anything: `{"EnableInfraCheck": false}` does not."""
    return any(map(_asks, value.values())) if isinstance(value, dict) else value not in (None, False, "", [])


def project(shape: Any, document: dict[str, Any]) -> dict[str, Any]:
    """Return the members of the document that the shape has, in the shape's order."""
    return {name: document[name] for name in shape.members if document.get(name) is not None}


def without_nulls(value: Any) -> Any:
    """JSON null means absent."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    return [without_nulls(item) for item in value] if isinstance(value, list) else value


def _integers(shape: Any, value: Any) -> Any:
    """Return the value with 20.0 as 20 where the model says integer, as AWS reads what state machines compute."""
    if shape.type_name == "structure":
        return {name: _integers(shape.members[name], item) for name, item in value.items()}
    if shape.type_name == "map":
        return {name: _integers(shape.value, item) for name, item in value.items()}
    if shape.type_name == "list":
        return [_integers(shape.member, item) for item in value]
    return int(value) if shape.type_name in ("integer", "long") else value


# ---- Types


def _type_problems(shape: Any, value: Any, path: str) -> Iterator[str]:
    if not has_type(shape, value):
        yield _wrong_type(value, shape.type_name.capitalize(), path)
    elif shape.type_name == "structure":
        for key, item in value.items():
            if key not in shape.members:
                known = ", ".join(shape.members)
                raise invalid(f'Unknown parameter in {path or "input"}: "{key}", must be one of: {known}')
            yield from _type_problems(shape.members[key], item, _join(path, key))
    elif shape.type_name == "list":
        for number, item in enumerate(value, 1):
            yield from _type_problems(shape.member, item, f"{path}.{number}.member")
    elif shape.type_name == "map":
        for key, item in value.items():
            yield from _type_problems(shape.value, item, f"{path}.{key}")


def has_type(shape: Shape, value: Any) -> bool:
    """Return whether the JSON value has the shape's own type; members are not looked at."""
    accepted = _TYPES.get(shape.type_name, (object,))
    if isinstance(value, bool):
        return accepted == (bool,)
    if isinstance(value, int | float) and not abs(value) <= _MOST.get(shape.type_name, math.inf):
        return False
    if isinstance(value, float) and accepted == (int,):
        return value.is_integer()
    return isinstance(value, accepted)


def _wrong_type(value: Any, expected: str, path: str) -> str:
    if isinstance(value, dict):
        mistake = "Start of structure or map found where not expected"
    elif isinstance(value, list):
        mistake = "Start of list found where not expected"
    else:
        kind = f"{value}_VALUE".upper() if isinstance(value, bool) else _JSON_TYPES.get(type(value), "NULL_VALUE")
        mistake = f"{kind} can not be converted to a {expected}"
    return f"{mistake}: {path or 'request'}"


# ---- Constraints


def _violations(shape: Any, value: Any, path: str) -> Iterator[str]:
    if shape.type_name == "structure":
        for name in shape.required_members:
            if name not in value:
                yield missing(_join(path, name))
        for name, item in value.items():
            yield from _violations(shape.members[name], item, _join(path, name))
        return
    for rule in _broken(shape, value):
        yield _violation(value, path, rule)
    if shape.type_name == "list":
        for number, item in enumerate(value, 1):
            yield from _violations(shape.member, item, f"{path}.{number}.member")
    elif shape.type_name == "map":
        yield from _map_violations(shape, value, path)


def _map_violations(shape: MapShape, value: dict[str, Any], path: str) -> Iterator[str]:
    """Keys and values of a map; AWS names the map, not the entry."""
    for word, part, items in (("keys", shape.key, value.keys()), ("value", shape.value, value.values())):
        if part.type_name in ("structure", "list", "map"):
            continue
        broken = [rule for item in items for rule in _broken(part, item)]
        if broken:
            yield _violation(value, path, f"Map {word} must satisfy constraint: [{', '.join(dict.fromkeys(broken))}]")


def _broken(shape: Shape, value: Any) -> Iterator[str]:
    """Yield the constraints of one scalar, list or map that its value breaks."""
    sized = isinstance(value, str | list | dict)
    amount: float = len(value) if sized else value if isinstance(value, int | float) else 0
    noun = "length" if sized else "value"
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if high is not None and amount > high:
        yield f"Member must have {noun} less than or equal to {high}"
    if low is not None and amount < low:
        yield f"Member must have {noun} greater than or equal to {low}"
    if isinstance(shape, StringShape) and shape.enum and value not in shape.enum:
        yield f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"
    pattern = shape.metadata.get("pattern")
    if pattern and isinstance(value, str) and not matches(pattern, value):
        yield f"Member must satisfy regular expression pattern: {pattern}"


def _violation(value: Any, path: str, rule: str) -> str:
    text = "null" if value is None else f"'{_java(value)}'"
    return f"Value {text} at '{path}' failed to satisfy constraint: {rule}"


def _java(value: Any) -> str:
    """How AWS prints a value: Java's toString."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={_java(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_java, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _join(path: str, name: str) -> str:
    return f"{path}.{name[0].lower()}{name[1:]}".lstrip(".")


def _camel_path(path: str) -> str:
    return ".".join(part[0].lower() + part[1:] for part in path.split("."))


def _lookup(request: dict[str, Any], path: str) -> Any:
    value: Any = request
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


# ---- Patterns


def matches(pattern: str, value: str) -> bool:
    """Return whether the whole value matches a pattern of the model, which is written for Java."""
    return _compiled(pattern, value.isascii()).fullmatch(value) is not None


@cache
def _compiled(pattern: str, ascii_only: bool) -> re.Pattern[str]:
    r"""Return the pattern in Python's words: Unicode categories (`\p{L}`) and surrogate pairs as what they mean."""
    limit = 128 if ascii_only else sys.maxunicode + 1
    expanded = re.sub(r"\\p\{(\w)\}", lambda match: _category(match[1], limit), pattern)
    expanded = re.sub(r"\)\$\{1,\d+\}$", ")", expanded)  # of metadata: a repeated end; its lengths stand beside it
    for java, python in _IN_PYTHON.items():
        expanded = expanded.replace(java, python)
    return re.compile(expanded, re.DOTALL)


@cache
def _category(letter: str, limit: int) -> str:
    """Return the characters of a Unicode category, as the inside of a character class."""
    spans = (match.span() for match in re.finditer(f"{letter}+", _categories(limit)))
    return "".join(f"{re.escape(chr(first))}-{re.escape(chr(end - 1))}" for first, end in spans)


@cache
def _categories(limit: int) -> str:
    """Return the letter of the Unicode category of each character below a limit."""
    return "".join([category[0] for category in map(unicodedata.category, map(chr, range(limit)))])
