"""Filter patterns of CloudWatch Logs: evaluated as AWS does, or refused in words.

MiniStack takes every pattern in braces for one that matches all, and terms without regard to case. Here a pattern is
terms (`ERROR "not found" -debug`, `?a ?b`), or a condition on the JSON of a line
(`{ $.level = "ERROR" && $.rows[0].n > 3 }`). Patterns for words between spaces (`[ip, user]`) and regular expressions
(`%...%`) are refused, where lines are searched and where a filter is made.

Source: CloudWatch Logs User Guide, "Filter pattern syntax". Whether a term may be a part of a word is not said; here
it may.
"""

import json
import math
import operator
import re
from collections import deque
from collections.abc import Callable
from typing import Any

from localcloud.engine.seams import Seams

responses = Seams("core.responses", error_response_json="8a1cabf9", json_response="4036e9b5")
cloudwatch_logs = Seams(
    "services.cloudwatch_logs",
    _put_subscription_filter="4818d760",
    _put_metric_filter="412e12ff",
    _compile_filter_pattern="f7d5c9f6",
    _filter_log_events="a890491f",
    _log_events_lock="983543b2",
    _log_groups="efb237e9",
    _resolve_log_group_name="51e544bf",
    _subscription_pattern_matches="a4162eb5",
)

JsonObject = dict[str, Any]
Check = Callable[[Any], bool]
NOTHING = object()
"""The value of what is not there."""
ORDERS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge
}  # fmt: skip
_PAGE = 10_000
_TERM = re.compile(r'([-?]?)("(?:\\.|[^"\\])*"|[^\s"]+)')
_TOKEN = re.compile(
    r"""\$(?:\.[\w@#:-]+|\[\d+\]|\['[^']*'\])*|"(?:\\.|[^"\\])*"|%[^%]*%|&&|\|\||!=|>=|<=|[=<>()]|[^\s=<>!()&|"]+"""
)
_STEP = re.compile(r"\.([\w@#:-]+)|\[(\d+)\]|\['([^']*)'\]")


class UnsupportedError(ValueError):
    """A pattern or a query that is not evaluated here; the text says why, or what is."""


def register() -> None:
    """Replace the seams. MiniStack must be importable (the environment is set)."""
    cloudwatch_logs.replace("_compile_filter_pattern", lambda _: lambda raw: matcher(raw))
    cloudwatch_logs.replace(
        "_subscription_pattern_matches", lambda _: lambda pattern, message: matcher(pattern)(message)
    )
    cloudwatch_logs.replace("_filter_log_events", lambda _: _make_refusing(_filter_log_events))
    for name in ("_put_subscription_filter", "_put_metric_filter"):
        cloudwatch_logs.replace(name, _make_refusing)


def _make_refusing(original: Any) -> Any:
    def refusing(data: JsonObject) -> Any:
        try:
            matcher(data.get("filterPattern"))
        except UnsupportedError as error:
            return responses.error_response_json("InvalidParameterException", f"Invalid filter pattern: {error}", 400)
        return original(data)

    return refusing


def _filter_log_events(data: JsonObject) -> Any:
    """Return a page of the events that match, the oldest first; MiniStack has one, and knows no prefix of streams."""
    name = cloudwatch_logs._resolve_log_group_name(data)
    if not (group := cloudwatch_logs._log_groups.get(name)):
        message = f"The specified log group does not exist: {name}"
        return responses.error_response_json("ResourceNotFoundException", message, 400)
    begin = data.get("nextToken", "0")
    if not begin.isdecimal():
        return responses.error_response_json("InvalidParameterException", "The specified nextToken is invalid.", 400)
    wanted, prefix = data.get("logStreamNames"), data.get("logStreamNamePrefix", "")
    with cloudwatch_logs._log_events_lock:
        streams = {
            stream: list(held["events"])
            for stream, held in list(group["streams"].items())
            if (not wanted or stream in wanted) and stream.startswith(prefix)
        }
    first, last, matches = data.get("startTime", 0), data.get("endTime", math.inf), matcher(data.get("filterPattern"))
    hits = [
        {**event, "logStreamName": stream}
        for stream, events in streams.items()
        for event in events
        if first <= event["timestamp"] <= last and matches(event.get("message", ""))
    ]
    hits.sort(key=lambda event: (event["timestamp"], event.get("ingestionTime", 0)))
    end = int(begin) + min(data.get("limit", _PAGE), _PAGE)
    more = {"nextToken": str(end)} if end < len(hits) else {}
    return responses.json_response({"events": hits[int(begin) : end], "searchedLogStreams": [], **more})


def matcher(raw: str | None) -> Check:
    """Return whether a line matches a filter pattern.

    Raises:
        UnsupportedError: the pattern is not evaluated here.
    """
    pattern = (raw or "").strip()
    if pattern.startswith("{") and pattern.endswith("}"):
        holds = Conditions(tokens(_TOKEN, pattern[1:-1]), _of_selector, "&&", "||").whole()
        return lambda line: (document := document_of(line)) is not NOTHING and holds(document)
    if pattern.startswith(("{", "[", "%")):
        raise UnsupportedError(f"{pattern} is not evaluated by the local cloud; terms and {{ $.field = value }} are")
    terms = [(sign, text_of(term)) for sign, term in _TERM.findall(pattern)]
    wanted, unwanted, either = ([term for sign, term in terms if sign == kind] for kind in ("", "-", "?"))

    def matches(line: str) -> bool:
        return (
            all(term in line for term in wanted)
            and not any(term in line for term in unwanted)
            and (not either or bool(wanted) or any(term in line for term in either))
        )

    return matches


class Conditions:
    """Conditions that are joined by and, or and parentheses. `one` takes the tokens of a single condition."""

    def __init__(self, waiting: deque[str], one: Callable[[deque[str]], Check], and_: str, or_: str) -> None:
        self._tokens, self._one, self._and, self._or = waiting, one, and_, or_

    def whole(self) -> Check:
        """Return the condition that all tokens are. Raises UnsupportedError: they are none."""
        try:
            check = self._any()
        except IndexError as error:
            raise UnsupportedError("a condition is not complete") from error
        if self._tokens:
            raise UnsupportedError(f"'{self._tokens[0]}' was not expected")
        return check

    def _any(self) -> Check:
        checks = [self._all()]
        while self._comes(self._or):
            checks.append(self._all())
        return lambda subject: any(check(subject) for check in checks)

    def _all(self) -> Check:
        checks = [self._single()]
        while self._comes(self._and):
            checks.append(self._single())
        return lambda subject: all(check(subject) for check in checks)

    def _single(self) -> Check:
        if not self._comes("("):
            return self._one(self._tokens)
        check = self._any()
        if not self._comes(")"):
            raise UnsupportedError("a parenthesis is not closed")
        return check

    def _comes(self, token: str) -> bool:
        if self._tokens and self._tokens[0].lower() == token:
            self._tokens.popleft()
            return True
        return False


def tokens(kinds: re.Pattern[str], text: str) -> deque[str]:
    """Return the tokens of a text. Raises UnsupportedError: some of it is none."""
    if rest := kinds.sub("", text).strip():
        raise UnsupportedError(f"'{rest}' was not expected")
    return deque(kinds.findall(text))


def text_of(token: str) -> str:
    """Return a token without its quotation marks."""
    return re.sub(r"\\(.)", r"\1", token[1:-1]) if token[:1] in ("'", '"') else token


def document_of(line: str) -> Any:
    """Return the JSON of a line, `NOTHING` if it is none."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return NOTHING


def value_at(document: Any, path: list[str]) -> Any:
    """Return the value at a path into JSON, `NOTHING` if there is none."""
    for step in path:
        if isinstance(document, list) and step.isdigit() and int(step) < len(document):
            document = document[int(step)]
        elif isinstance(document, dict) and step in document:
            document = document[step]
        else:
            return NOTHING
    return document


def compares(value: Any, order: str, token: str) -> bool:
    """Return whether a value is as a token of a pattern says (`*` in it is anything); what is not there is not."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return ORDERS[order](value, float(token))
        except ValueError:
            return False
    if order not in ("=", "!=") or not isinstance(value, str):
        return False
    like = re.fullmatch(".*".join(map(re.escape, text_of(token).split("*"))), value, re.DOTALL)
    return bool(like) is (order == "=")


def _of_selector(waiting: deque[str]) -> Check:
    """Return the check of a selector: `$.a = 1`, `$.a != "b*"`, `$.a IS NULL`, `$.a NOT EXISTS`."""
    selector, word = waiting.popleft(), waiting.popleft().upper()
    value = waiting.popleft()
    if not selector.startswith("$"):
        raise UnsupportedError(f"'{selector}' stands where a selector as $.name is expected")
    path = ["".join(step) for step in _STEP.findall(selector)]
    if (word, value.upper()) == ("NOT", "EXISTS"):
        return lambda document: value_at(document, path) is NOTHING
    constants = {"TRUE": True, "FALSE": False, "NULL": None}
    if word == "IS" and value.upper() in constants:
        return lambda document: value_at(document, path) is constants[value.upper()]
    if word not in ORDERS or value.startswith("%"):
        raise UnsupportedError(f"'{selector} {word} {value}' is not evaluated by the local cloud")
    return lambda document: compares(value_at(document, path), word, value)
