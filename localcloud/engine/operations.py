"""Which operation a request is, and with which members: found once, by the permission and by what does the work.

MiniStack asks for the permission by one reading of a request and does the work by another: of two parameters, of a
member that the operation does not have, of a header that names another operation. So a request is brought here into the
one form that both read alike, or refused. What an operation has is botocore's model of it; AWS ignores members that it
does not have.

Sources: Smithy, "AWS JSON 1.0 protocol", "AWS Query protocol", "AWS restJson1 protocol"; IAM API Reference, "Common
Errors".
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any
from urllib.parse import parse_qs, urlencode

from localcloud.service_models import service_model

JsonObject = dict[str, Any]
Parts = tuple[str, str, JsonObject, bytes, JsonObject]
"""Method, path (unquoted once), headers (in lower case), body and the parameters of the address."""

MODELS = {
    "application-autoscaling": "application-autoscaling",
    "cloudformation": "cloudformation",
    "dynamodb": "dynamodb",
    "ecr": "ecr",
    "events": "events",
    "iam": "iam",
    "kms": "kms",
    "lambda": "lambda",
    "logs": "logs",
    "monitoring": "cloudwatch",
    "secretsmanager": "secretsmanager",
    "sns": "sns",
    "sqs": "sqs",
    "ssm": "ssm",
    "states": "stepfunctions",
    "sts": "sts",
}
"""MiniStack's name of a service -> botocore's. S3 and SageMaker have own rules; all others are root's only."""
QUEUE_URL = re.compile(r"(?:https?://[^/?#\\@\[\]]+/|/)?(?:([0-9]{12})/)?([A-Za-z0-9_-]{1,80}(?:\.fifo)?)/?")
"""Amazon SQS Developer Guide, "Amazon SQS queue and message identifiers"."""
_QUEUE_PATH = re.compile(r"/[0-9]{12}/[A-Za-z0-9_-]{1,80}(?:\.fifo)?/?")
_INVOCATION = re.compile(r"/endpoints/([^/%]+)/invocations")
"""SageMaker API Reference, "InvokeEndpoint", request syntax. No name has a `%`: nothing is left to be unquoted."""
_FEATURE_GROUP = re.compile(r"/FeatureGroup/(.+)")
_RECORDS = re.compile(r"/FeatureGroup/(.+)/(Record|ListRecords)")
_TARGET = re.compile(r"SageMaker\.([A-Za-z0-9]+)")
_FORM = "application/x-www-form-urlencoded; charset=utf-8"


@dataclass(frozen=True)
class Call:
    """One operation with its members: values of JSON, or the texts of a form by their names (`Tags.member.1.Key`)."""

    service: str
    operation: str
    members: JsonObject

    def has(self, member: str) -> bool:
        """Return whether the operation has such a member, given or not."""
        return member in _members(self.service, self.operation)

    def texts(self, member: str) -> list[str]:
        """Return what a member names: nothing, one text, or several."""
        value = self.members.get(member)
        if isinstance(value, str):
            return [value] if value else []
        if isinstance(value, list | dict):
            return [text for text in value if isinstance(text, str) and text]
        return [text for name, text in sorted(self.members.items()) if name.startswith(f"{member}.") and text]


class UnclearError(Exception):
    """A request that is no operation, or might be more than one: AWS's code and text."""

    def __init__(self, code: str, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.code, self.text, self.status = code, text, status


def feature_record(method: str, path: str) -> tuple[str, str]:
    """Return the operation of the feature store's runtime, and the group that its address names.

    Two empty words for what is none: botocore, sagemaker-featurestore-runtime, the operations' requestUri.
    """
    if method == "POST" and path in ("/BatchGetRecord", "/BatchWriteRecord"):
        return path[1:], ""
    if method == "POST" and (match := _RECORDS.fullmatch(path)):
        return {"Record": "UpdateRecord", "ListRecords": "ListRecords"}[match[2]], match[1]
    match = _FEATURE_GROUP.fullmatch(path)
    operation = {"PUT": "PutRecord", "GET": "GetRecord", "DELETE": "DeleteRecord"}.get(method)
    return (operation, match[1]) if match and operation else ("", "")


def sagemaker(method: str, path: str, headers: Mapping[str, str]) -> tuple[str, str]:
    """Return the operation, and the endpoint if it is InvokeEndpoint; two empty words for what is no operation."""
    target = headers.get("x-amz-target")
    if target is None and (operation := feature_record(method, path)[0]):
        return operation, ""
    if method != "POST":
        return "", ""
    if target is None:
        invoked = _INVOCATION.fullmatch(path)
        return ("InvokeEndpoint", invoked[1]) if invoked else ("", "")
    named = _TARGET.fullmatch(target)
    return (named[1], "") if named and path == "/" and named[1] != "InvokeEndpoint" else ("", "")


def one_meaning(service: str, parts: Parts) -> tuple[Call | None, Parts]:
    """Return the operation and the request in the form that has this meaning only; no operation of other services.

    Raises:
        UnclearError: it is none of the service's operations, or it says something twice.
    """
    if service == "sagemaker":
        _check_types(parts)
    if service not in MODELS:
        return None, parts
    if service == "lambda":
        return _rest(service, parts)
    return _json(service, parts) if "x-amz-target" in parts[2] else _query(service, parts)


def _check_types(parts: Parts) -> None:
    """Raise UnclearError when a member of a request to SageMaker is none of its type: permissions are found by them."""
    method, path, headers, body, _ = parts
    operation, endpoint = sagemaker(method, path, headers)
    model = service_model("sagemaker" if "x-amz-target" in headers else "sagemaker-featurestore-runtime")
    if operation in model.operation_names and not endpoint:
        _fitted_to(model.operation_model(operation).input_shape, operation, body)


def _model(service: str) -> Any:
    return service_model(MODELS[service])


@cache
def _operations(service: str) -> frozenset[str]:
    return frozenset(_model(service).operation_names)


@lru_cache(maxsize=1024)
def _members(service: str, operation: str) -> Mapping[str, Any]:
    shape = _model(service).operation_model(operation).input_shape
    return shape.members if shape else {}


def _unknown(service: str, parts: Parts) -> UnclearError:
    name = parts[2].get("x-amz-target") or f"{parts[0]} {parts[1]}"
    return UnclearError("UnknownOperationException", f"{name} is not an operation of {MODELS[service]}.", 404)


# ---- JSON: X-Amz-Target names the operation, the body has the members


def _json(service: str, parts: Parts) -> tuple[Call, Parts]:
    method, _, headers, body, query = parts
    prefix, _, operation = headers["x-amz-target"].rpartition(".")
    model = _model(service)
    if method != "POST" or prefix != model.metadata.get("targetPrefix") or operation not in _operations(service):
        raise _unknown(service, parts)
    members = _fitted(service, operation, body)
    _name_queue(service, operation, members, parts)
    body = json.dumps(members).encode()
    return Call(service, operation, members), ("POST", "/", headers, body, _signature(query))


def _fitted(service: str, operation: str, body: bytes) -> JsonObject:
    """Return the members of a body that the operation has. Raises UnclearError."""
    return _fitted_to(_model(service).operation_model(operation).input_shape, operation, body)


def _fitted_to(shape: Any, operation: str, body: bytes) -> JsonObject:
    try:
        document = json.loads(body or b"{}")
        return _fit(shape, document) if shape else {}
    except (ValueError, RecursionError) as error:
        raise UnclearError("SerializationException", f"The request is not what {operation} takes: {error}") from error


def _fit(shape: Any, value: Any) -> Any:
    """Return a value as its shape has it: without members that it does not have, or nulls. Raises ValueError."""
    kind = shape.type_name
    if kind == "structure" and (known := _on_the_wire(shape)) is not None:
        members = _of_type(value, dict, shape)
        return {name: _fit(member, members[name]) for name, member in known.items() if members.get(name) is not None}
    if kind == "list":
        return [item if item is None else _fit(shape.member, item) for item in _of_type(value, list, shape)]
    if kind == "map":
        pairs = _of_type(value, dict, shape).items()
        return {key: item if item is None else _fit(shape.value, item) for key, item in pairs}
    return _of_type(value, str, shape) if kind == "string" else value


@cache
def _on_the_wire(shape: Any) -> dict[str, Any] | None:
    """Return the members of a structure by their names in requests; None for a document, which may have any."""
    if getattr(shape, "is_document_type", False):
        return None
    return {_wire(name, member): member for name, member in shape.members.items()}


def _of_type(value: Any, kind: type, shape: Any) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"{shape.name} is a {shape.type_name}")  # noqa: TRY004  (as of json.loads)
    return value


# ---- Query: Action names the operation, in the form or in the address


def _query(service: str, parts: Parts) -> tuple[Call, Parts]:
    method, _, headers, body, query = parts
    form = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True) if method == "POST" else {}
    parameters = {name: values for name, values in query.items() if not _signs(name)}
    if twice := sorted(
        name for name in form.keys() | parameters.keys() if len([*form.get(name, []), *parameters.get(name, [])]) > 1
    ):
        text = f"The parameter {twice[0]} stands in the request more than once; expected once."
        raise UnclearError("MalformedQueryString", text, 404)
    texts = {name: values[0] for name, values in {**parameters, **form}.items()}
    operation = texts.get("Action", "")
    if operation not in _operations(service):
        raise UnclearError("InvalidAction", f"The action {operation} is not valid for this web service.")
    heads, others = _heads(service, operation)
    known = {name: text for name, text in texts.items() if _is_head(service, name.split(".")[0], heads, others)}
    members = {name: text for name, text in known.items() if name not in ("Action", "Version")}
    _name_queue(service, operation, members, parts)
    sent = {name: texts[name] for name in ("Action", "Version") if name in texts} | members
    if method == "POST":
        made = (method, "/", {**headers, "content-type": _FORM}, urlencode(sent).encode(), _signature(query))
    else:
        made = (method, "/", headers, b"", {name: [text] for name, text in sent.items()} | _signature(query))
    return Call(service, operation, members), made


@lru_cache(maxsize=1024)
def _heads(service: str, operation: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the first words of the names of an operation's parameters, and those of the service's others."""
    own = {"Action", "Version"}
    for name, member in _members(service, operation).items():
        inside = getattr(member, "member", None)
        own |= {name, member.serialization.get("name", name)}
        own |= {inside.serialization["name"]} if inside is not None and "name" in inside.serialization else set()
    every = {name for other in _operations(service) for name in _members(service, other)}
    return frozenset(own), frozenset(every - own)


def _is_head(service: str, head: str, heads: frozenset[str], others: frozenset[str]) -> bool:
    """Whether an operation has a parameter. botocore no longer says how SQS names its lists in a form."""
    return head in heads or (service == "sqs" and head not in others)


def _signs(name: str) -> bool:
    return name.lower().startswith("x-amz-")


def _signature(query: JsonObject) -> JsonObject:
    return {name: values for name, values in query.items() if _signs(name)}


def _name_queue(service: str, operation: str, members: JsonObject, parts: Parts) -> None:
    """Take the queue from the path, where its address has it. Raises UnclearError."""
    _, path, headers, _, _ = parts
    takes_queue = service == "sqs" and "QueueUrl" in _members(service, operation)
    if path != "/":
        if not takes_queue or not _QUEUE_PATH.fullmatch(path):
            raise _unknown(service, parts)
        members.setdefault("QueueUrl", f"http://{headers.get('host', '')}{path}")
    if takes_queue and not QUEUE_URL.fullmatch(members.get("QueueUrl") or "-"):
        raise UnclearError("InvalidAddress", f"The address {members['QueueUrl']} is not valid for this endpoint.")


# ---- REST: method and path name the operation


def _rest(service: str, parts: Parts) -> tuple[Call, Parts]:
    method, path, headers, body, query = parts
    route = _route(service, method, path, query)
    if route is None or "%" in path or "x-amz-target" in headers:  # a name has no `%`, which would be unquoted again
        raise _unknown(service, parts)
    operation, labels = route
    shape = _model(service).operation_model(operation).input_shape
    members = _members(service, operation)
    lists = {_wire(n, m) for n, m in members.items() if m.type_name == "list"}
    parameters = {name: values for name, values in query.items() if not _signs(name)}
    if twice := sorted(name for name, values in parameters.items() if len(values) > 1 and name not in lists):
        text = f"The parameter {twice[0]} stands in the request more than once; expected once."
        raise UnclearError("InvalidParameterValueException", text)
    in_query = {
        name: parameters[_wire(name, member)][0]
        for name, member in members.items()
        if member.serialization.get("location") == "querystring" and _wire(name, member) in parameters
    }
    content: JsonObject = {}
    if shape is not None and "payload" not in shape.serialization:
        in_body = {_wire(n, m) for n, m in members.items() if "location" not in m.serialization}
        content = {name: value for name, value in _fitted(service, operation, body).items() if name in in_body}
        body = json.dumps(content).encode() if body else body
    return Call(service, operation, {**content, **in_query, **labels}), (method, path, headers, body, query)


def _wire(name: str, member: Any) -> str:
    return str(member.serialization.get("name", name))


def _route(service: str, method: str, path: str, query: JsonObject) -> tuple[str, dict[str, str]] | None:
    """Return the operation of a path and its labels; what asks for a parameter goes before the others."""
    for operation, verb, pattern, labels, fixed in _routes(service):
        matched = pattern.fullmatch(path) if verb == method else None
        if matched and all(query.get(name) == [value] for name, value in fixed):
            return operation, dict(zip(labels, matched.groups(), strict=True))
    return None


@cache
def _routes(service: str) -> list[tuple[str, str, re.Pattern[str], list[str], list[tuple[str, str]]]]:
    routes = []
    for operation in _model(service).operation_names:
        http = _model(service).operation_model(operation).http
        path, _, fixed = http["requestUri"].partition("?")
        names = {_wire(name, member): name for name, member in _members(service, operation).items()}
        labels = [names[label] for label in re.findall(r"\{([^}+]+)\+?\}", path)]
        pattern = re.compile(re.sub(r"\\\{[^}]+\\\}", "([^/]+)", re.escape(path.rstrip("/"))) + "/?")
        wanted = [(name, value[0]) for name, value in parse_qs(fixed, keep_blank_values=True).items()]
        routes.append((operation, http["method"], pattern, labels, wanted))
    return sorted(routes, key=lambda route: (-len(route[4]), len(route[3])))
