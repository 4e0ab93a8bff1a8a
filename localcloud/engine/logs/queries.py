"""Queries of Logs Insights: evaluated as AWS does, or refused in words.

MiniStack leaves out of a query what it does not know. Here a query is `fields`, `display`, `filter`, `sort` and
`limit`, with names of fields (`@message`, or those of lines that are JSON); everything else (functions, `stats`,
`parse`) is a MalformedQueryException that names it. Without `sort` the newest come first.

Source: CloudWatch Logs User Guide, "CloudWatch Logs Insights language query syntax".
"""

import json
import re
from collections import deque
from typing import Any

from localcloud.engine.logs.patterns import (
    NOTHING,
    ORDERS,
    Check,
    Conditions,
    UnsupportedError,
    document_of,
    text_of,
    tokens,
    value_at,
)
from localcloud.engine.seams import Seams

responses = Seams("core.responses", error_response_json="8a1cabf9")
cloudwatch_logs = Seams(
    "services.cloudwatch_logs",
    _apply_insights_sort="3ecbd5be",
    _insights_filter_predicates="c6da18f4",
    _parse_insights_fields="f14f5334",
    _row_from_record="1f3d2e70",
    _split_insights_pipes="6818c9a1",
    _start_query="433cb680",
)

JsonObject = dict[str, Any]
_TOKEN = re.compile(
    r"""toMillis\(@timestamp\)|"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|/(?:\\.|[^/\\])+/i?|!=|>=|<=|[=<>(),\[\]]|[\w@.`-]+"""
)
_NAME = re.compile(r"[\w@.]+")
_SORT = re.compile(r"([\w@.]+)(?:\s+(asc|desc))?", re.IGNORECASE)


def register() -> None:
    """Replace the seams. MiniStack must be importable (the environment is set)."""
    cloudwatch_logs.replace("_start_query", _make_start_query)
    cloudwatch_logs.replace(
        "_parse_insights_fields", lambda _: lambda query_string: [*compiled(query_string)[0], "@ptr"]
    )
    cloudwatch_logs.replace("_insights_filter_predicates", lambda _: lambda query_string: compiled(query_string)[1])
    cloudwatch_logs.replace("_apply_insights_sort", lambda _: ordered)
    cloudwatch_logs.replace("_row_from_record", lambda _: row)


def _make_start_query(original: Any) -> Any:
    def start_query(data: JsonObject) -> Any:
        try:
            compiled(data.get("queryString", ""))
        except UnsupportedError as error:
            return responses.error_response_json("MalformedQueryException", str(error), 400)
        return original(data)

    return start_query


def compiled(query: str) -> tuple[list[str], list[Check], tuple[str, bool]]:
    """Return the fields of a query, its filters, and what it sorts by, descending or not.

    Raises:
        UnsupportedError: the query is not evaluated here.
    """
    displayed, checks, order = ["@timestamp", "@message"], [], ("@timestamp", True)
    for stage in cloudwatch_logs._split_insights_pipes(re.sub(r"(?m)^\s*#.*$", "", query)):
        command, _, rest = stage.partition(" ")
        names, rest = [name.strip() for name in rest.split(",")], rest.strip()
        if command in ("fields", "display") and all(map(_NAME.fullmatch, names)):
            displayed = names
        elif command == "filter":
            checks.append(Conditions(tokens(_TOKEN, rest), _of_field, "and", "or").whole())
        elif command == "sort" and (match := _SORT.fullmatch(rest)):
            order = match[1], (match[2] or "").lower() == "desc"
        elif command != "limit" or not rest.isdigit():
            raise UnsupportedError(
                f"'{stage}' is not evaluated by the local cloud; fields, display, filter, sort and limit with names "
                "of fields are"
            )
    return displayed, checks, order


def ordered(records: list[JsonObject], query_string: str) -> list[JsonObject]:
    """Return the records as a query sorts them; those without the field come last."""
    name, descending = compiled(query_string)[2]
    values = [(value, record) for record in records if (value := field(record, name)) is not NOTHING]
    numbers = all(isinstance(value, int | float) for value, _ in values)
    values.sort(key=lambda pair: pair[0] if numbers else _as_text(pair[0]), reverse=descending)
    return [record for _, record in values] + [record for record in records if field(record, name) is NOTHING]


def row(record: JsonObject, fields: list[str]) -> list[JsonObject]:
    """Return a record as a row of results: those of the fields that it has, as texts."""
    values = [(name, record[name] if name in record else field(record, name)) for name in fields]
    return [{"field": name, "value": _as_text(value)} for name, value in values if value is not NOTHING]


def field(record: JsonObject, name: str) -> Any:
    """Return a field of a record: its time in milliseconds, its others, or one of its message if that is JSON."""
    if name in ("@timestamp", "toMillis(@timestamp)"):
        return record["_timestamp_ms"]
    return record[name] if name in record else value_at(document_of(record["@message"]), name.strip("`").split("."))


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _of_field(waiting: deque[str]) -> Check:
    """`level = "ERROR"`, `n > 3`, `@message like /a.c/`, `level not in ["A", "B"]`, `ispresent(level)`."""
    name, word = waiting.popleft(), waiting.popleft().lower()
    if name.lower() == "ispresent" and word == "(":
        name, _ = waiting.popleft(), waiting.popleft()
        return lambda record: field(record, name) is not NOTHING
    wanted = word != "not"
    word = word if wanted else waiting.popleft().lower()
    value = waiting.popleft()
    if word == "in" and value == "[":
        values: list[str] = []
        while (each := waiting.popleft()) != "]":
            values.append(each)
        return lambda record: any(_is(field(record, name), "=", each) for each in values) is wanted
    if word == "like":
        expression = _expression(value)
        return lambda record: bool(expression.search(_text(field(record, name)))) is wanted
    if word not in ORDERS or not wanted:
        raise UnsupportedError(f"'{name} {word} {value}' is not evaluated by the local cloud")
    return lambda record: _is(field(record, name), word, value)


def _text(value: Any) -> str:
    return "" if value is NOTHING else _as_text(value)


def _is(value: Any, order: str, token: str) -> bool:
    """Return whether a field equals a token: as numbers if both are, else as texts."""
    if value is NOTHING:
        return False
    try:
        return ORDERS[order](float(value), float(text_of(token)))
    except (TypeError, ValueError):
        return ORDERS[order](_as_text(value), text_of(token))


def _expression(token: str) -> re.Pattern[str]:
    """Return the expression of `like`: a regular one between slashes, or a part of a text."""
    if not token.startswith("/"):
        return re.compile(re.escape(text_of(token)))
    body, _, flags = token[1:].rpartition("/")
    try:
        return re.compile(body, re.IGNORECASE if flags else 0)
    except re.error as error:
        raise UnsupportedError(
            f"{token} is no regular expression that the local cloud can evaluate: {error}"
        ) from error
