"""Parameters of a stack: how they are written, and whether the template takes them, before anything is built.

The SAM CLI leaves out, without a word, what the template has no parameter for, and CloudFormation refuses a value that
it does not allow when all is built and uploaded. What is allowed is what `template.yaml` says in its sections
Parameters and Rules. cfn-lint 1.58 looks at files of parameters as well (E2900), but at no pattern, bound or rule.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import yaml

from perennial_cli.console import CommandError

_FILE, _INCLUDE = "file://", "$include"
_LONGEST_BYTES = 4096  # CloudFormation, "Quotas": a value of a parameter
_WHOLE, _NUMBER = r"-?[0-9]+", r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
_SAMPLE = "RetrainSchedule='rate(1 day)'"
_WORD = re.compile(
    r"(?:ParameterKey=(?P<key>[^\s,=]+),ParameterValue|(?P<name>[^\s,=]+))="
    r"""(?P<value>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|(?:\\.|[^\s"\\])*)(?=\s|\Z)"""
)


@dataclass(frozen=True)
class Setting:
    """A value of a parameter. `place` is where it stands, such as `samconfig.toml, section prod`."""

    name: str
    value: str
    place: str


class UnreadableError(CommandError):
    """What stands there are no parameters; the text says where, and what was expected."""


# ---- How they are written


def read(written: Any, place: str, folder: Path) -> Iterator[Setting]:
    """Yield parameters as the SAM CLI reads them: a text, a list of texts or tables, a table, or a file that is named.

    SAM CLI, `CfnParameterOverridesType`, which passes over words that are none, and over NAME= without a value; here
    the first are refused, and the second is empty. Files are relative to the folder. Raises UnreadableError.
    """
    if isinstance(written, list):
        for one in written:
            yield from read(one, place, folder)
    elif isinstance(written, dict):
        for name, value in written.items():
            if name == _INCLUDE:
                yield from read(value, place, folder)
            else:
                yield Setting(str(name), _text(value), place)
    elif isinstance(written, str) and written.startswith(_FILE):
        yield from _of_file(folder / written.removeprefix(_FILE), place, folder)
    elif written is not None:
        yield from _of_text(str(written), place)


def _of_text(text: str, place: str) -> Iterator[Setting]:
    at = 0
    while rest := text[at:].lstrip():
        at = len(text) - len(rest)
        if not (word := _WORD.match(text, at)):
            raise UnreadableError(
                f"{place}: {rest.split()[0]!r} is no parameter; expected NAME=VALUE, such as {_SAMPLE}"
            )
        yield Setting(word["key"] or word["name"], _unquoted(word["value"]), place)
        at = word.end()


def _of_file(path: Path, place: str, folder: Path) -> Iterator[Setting]:
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UnreadableError(f"{place}: {path} cannot be read: {error}") from error
    if _FILE in json.dumps(content, default=str):
        raise UnreadableError(f"{place}: {path} names another file; expected parameters in it")
    yield from read(content, str(path), folder)


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        text = text[1:-1]
    return text.replace("\\ ", " ").replace('\\"', '"').replace("\\'", "'")


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(str(one).strip() for one in value if one not in (None, ""))
    return "" if value is None else str(value)


def quoted(setting: Setting) -> str:
    """Return a parameter as the SAM CLI reads it."""
    return f'{setting.name}="' + setting.value.replace('"', '\\"') + '"'


def _is_carried(setting: Setting) -> bool:
    """Return whether a value comes through the SAM CLI, whose quotes are escaped and whose backslashes are not."""
    if "ParameterKey=" in setting.value:  # the SAM CLI looks for that first, within quotes, too
        return False
    try:
        (read_again,) = _of_text(quoted(setting), setting.place)
    except (ValueError, UnreadableError):
        return False
    return read_again == setting


# ---- Whether the template takes them


def problems(
    template: Mapping[str, Any], settings: Sequence[Setting], place: str, known: Mapping[str, str]
) -> list[str]:
    """Return what is wrong with the parameters of a stack that is not there yet; empty if nothing is.

    template  as `templates.load` returns it
    settings  all that the stack is given
    place     where a parameter belongs that is not among them
    known     values of pseudo parameters, such as AWS::Region; a rule about others is left to CloudFormation
    """
    bodies = template.get("Parameters", {})
    wrong = problems_of_values(template, settings)
    names = {one.name for one in settings}
    for name, body in bodies.items():
        if name not in names and "Default" not in body:
            wrong.append(
                f"{place}: {name} is missing, and template.yaml has no default of it; expected {_expected(body)}"
            )
    if wrong:
        return wrong  # rules are about values that are there, and allowed
    values = {name: _literal(body["Default"]) for name, body in bodies.items() if "Default" in body}
    values |= {one.name: one.value for one in settings}
    items = {name: _items(bodies[name], value) for name, value in values.items()}
    return [f"{place}: {text}" for text in _broken_rules(template.get("Rules", {}), {**items, **known})]


def problems_of_values(template: Mapping[str, Any], settings: Sequence[Setting]) -> list[str]:
    """Return what is wrong with some parameters of a stack, each for itself."""
    bodies = template.get("Parameters", {})
    return [*_given_twice(settings), *(problem for one in settings if (problem := _problem(one, bodies)))]


def _given_twice(settings: Sequence[Setting]) -> Iterator[str]:
    first: dict[str, Setting] = {}
    for one in settings:
        if one.name in first:
            before = first[one.name].value
            yield f"{one.place}: {one.name} is given twice, as {before!r} and as {one.value!r}; expected one of them"
        first.setdefault(one.name, one)


def _problem(setting: Setting, bodies: Mapping[str, Any]) -> str | None:
    """Return what is wrong with one value."""
    if setting.name not in bodies:
        meant = nearest(setting.name, bodies)
        return f"{setting.place}: template.yaml has no parameter {setting.name} (here {setting.value!r}){meant}"
    body = bodies[setting.name]
    if (size := len(setting.value.encode(errors="replace"))) > _LONGEST_BYTES:
        return f"{setting.place}: {setting.name} has {size:,} bytes; CloudFormation takes {_LONGEST_BYTES:,} at most"
    if not _is_carried(setting):
        return (
            f"{setting.place}: {setting.name} is {setting.value!r}, which the SAM CLI reads otherwise; expected no "
            "backslash before a quote, a blank or the end (in JSON \\u0022 is a quote), and no ParameterKey="
        )
    items = _items(body, setting.value)
    if all(_is_allowed(item, body) for item in (items if isinstance(items, list) else [items])):
        return None
    meant = nearest(setting.value, map(_literal, body.get("AllowedValues", [])))
    return f"{setting.place}: {setting.name} is {setting.value!r}; expected {_expected(body)}{meant}"


def _is_allowed(value: str, body: Mapping[str, Any]) -> bool:
    if "AllowedValues" in body and value not in map(_literal, body["AllowedValues"]):
        return False
    if "AllowedPattern" in body and not re.fullmatch(body["AllowedPattern"], value):
        return False
    if "Number" in body["Type"]:
        is_number = re.fullmatch(_WHOLE if _is_whole(body) else _NUMBER, value)
        return bool(is_number and body.get("MinValue", -inf) <= float(value) <= body.get("MaxValue", inf))
    return bool(body.get("MinLength", 0) <= len(value) <= body.get("MaxLength", len(value)))


def _is_whole(body: Mapping[str, Any]) -> bool:
    """Return whether a number has no fraction. CloudFormation knows no such type, and hands 5.0 on as it is written."""
    return not any(isinstance(body.get(name), float) for name in ("Default", "MinValue", "MaxValue"))


def _expected(body: Mapping[str, Any]) -> str:
    """Return what a parameter takes."""
    if "ConstraintDescription" in body:
        return str(body["ConstraintDescription"])
    if "AllowedValues" in body:
        return "one of " + ", ".join(_literal(one) or "nothing" for one in body["AllowedValues"])
    if "AllowedPattern" in body:
        return f"what matches {body['AllowedPattern']}"
    what, low, high = (
        ("a whole number" if _is_whole(body) else "a number", "MinValue", "MaxValue")
        if "Number" in body["Type"]
        else ("a text", "MinLength", "MaxLength")
    )
    unit = "" if "Number" in body["Type"] else " characters"
    bounds = [f"{word} {body[end]}{unit}" for word, end in (("at least", low), ("at most", high)) if end in body]
    return " ".join([what, " and ".join(bounds)]).strip()


def nearest(text: str, known: Any) -> str:
    """Return the end of a sentence about something that is not known: what is most like it, if anything is."""
    alike = difflib.get_close_matches(
        text.lower(), by_lower := {str(one).lower(): str(one) for one in known if one}, 1, 0.7
    )
    return f"; did you mean {by_lower[alike[0]]}?" if alike else ""


def _items(body: Mapping[str, Any], value: str) -> Any:
    """Return a value as rules see it: the items of a list, of which CloudFormation takes the blanks away."""
    return [item.strip() for item in value.split(",")] if "List" in body["Type"] else value


def _literal(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


# ---- Rules


class _UnknownError(Exception):
    """A rule asks what is known at a deployment only."""


def _broken_rules(rules: Mapping[str, Any], values: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the rules say that do not hold. CloudFormation User Guide, "Rule-specific intrinsic functions"."""
    for name, rule in rules.items():
        try:
            if "RuleCondition" in rule and not _holds(rule["RuleCondition"], values):
                continue
            broken = [one for one in rule["Assertions"] if not _holds(one["Assert"], values)]
        except _UnknownError:
            continue
        yield from (
            f"{one.get('AssertDescription', 'it does not hold')} (template.yaml, rule {name})" for one in broken
        )


def _holds(assertion: Any, values: Mapping[str, Any]) -> bool:
    ((function, argument),) = assertion.items()
    match function:
        case "Fn::And":
            return all(_holds(one, values) for one in argument)
        case "Fn::Or":
            return any(_holds(one, values) for one in argument)
        case "Fn::Not":
            return not _holds(argument[0], values)
    left, right = (_value(side, values) for side in argument)
    match function:
        case "Fn::Equals":
            return bool(left == right)
        case "Fn::Contains":
            return right in left
        case "Fn::EachMemberEquals":
            return all(one == right for one in left)
        case "Fn::EachMemberIn":
            return all(one in right for one in left)
    raise _UnknownError(function)


def _value(side: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(side, list):
        return [_value(one, values) for one in side]
    if not isinstance(side, dict):
        return _literal(side)
    if side.get("Ref") not in values:
        raise _UnknownError(side)
    return values[side["Ref"]]
