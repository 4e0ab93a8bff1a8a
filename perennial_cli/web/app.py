"""The pages and answers of the console. Each answer is what a command prints with --json."""

from __future__ import annotations

import json
import mimetypes
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import boto3
from botocore.exceptions import ClientError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perennial.registry import approval
from perennial.runs.record import json_safe
from perennial_cli import (
    billing,
    explain,
    explanations,
    following,
    local_cloud,
    log_events,
    predictions,
    run_flow,
    runs,
    serving_api,
    stacks,
    versions,
)
from perennial_cli.account import Account
from perennial_cli.commands.costing import in_a_month
from perennial_cli.console import CommandError
from perennial_cli.deployed import definition_of
from perennial_cli.failures import in_words
from perennial_cli.flow_layout import ASPECT
from perennial_cli.prices import price
from perennial_cli.stacks import Stack
from perennial_cli.web import series
from perennial_cli.web.guard import Guard

PAGE = Path(__file__).parent / "page"
LARGEST_DOCUMENT = 1 << 20
LONGEST_NAME = 200
KNOWN_SECONDS = 30
REPORTS = {"runs": "runs/", "windows": "monitoring/"}
A_FILE = "application/octet-stream"  # no browser shows it here, where it would be of this page's origin
ONLY_READS = "the console only reads of AWS; to approve, drop or ask here, start it with --allow-changes"
NAME_ONE = "Who may describe one stack alone names it: perennial console --stack NAME"
NOT_LOCAL = "only the local cloud has {}; on AWS {}"
Answer = Callable[["Call"], Any]


@dataclass
class Console:
    """What the console speaks to.

    account     whose; its calls go where the usual configuration of AWS says
    stack       the name of the only one that is shown; None: all that there are can be chosen
    may_change  whether something may be done, or only looked at
    """

    account: Account
    stack: str | None = None
    may_change: bool = True
    _known: dict[str, tuple[float, Stack]] = field(default_factory=dict)

    def chosen(self, name: str | None) -> Stack:
        """Return a stack, which is looked at anew after a while. Raises CommandError: it is not the one shown alone."""
        wanted = name or self.stack or ""
        if self.stack and wanted != self.stack:
            raise CommandError(f"the console shows {self.stack} alone, as --stack says, and not {wanted}")
        since, stack = self._known.get(wanted, (0.0, None))
        if stack is None or time.monotonic() - since > KNOWN_SECONDS:
            stack = stacks.chosen(wanted or None)
            self._known[wanted] = time.monotonic(), stack
        return stack


@dataclass(frozen=True)
class Call:
    """A request, with the document that a POST brings."""

    console: Console
    path: dict[str, Any]
    query: dict[str, str]
    document: dict[str, Any]

    @property
    def stack(self) -> Stack:
        return self.console.chosen(self.query.get("stack"))

    def most(self, default: int) -> int:
        text = self.query.get("most", "")
        return min(int(text), 200) if text.isdecimal() and int(text) else default

    def text(self, name: str) -> str:
        """Return a text of the document. Raises CommandError: it has none."""
        value = self.document.get(name)
        if not isinstance(value, str) or not value.strip():
            raise CommandError(f"{name} is missing")
        return value.strip()


def application(console: Console, port: int, token: str) -> Guard:
    """Return the console as an ASGI application."""
    routes = [
        _get("whom", _whom),
        _get("stack", _stack),
        _get("runs", _runs),
        _get("runs/{run}", _run),
        _get("runs/{run}/flow", _flow),
        _get("runs/{run}/drawing", _drawing),
        _get("{folder:path}/{run}/report", _report),
        _get("dropped/{version}", _dropped),
        _get("versions", lambda call: [one.as_json() for one in versions.newest(call.stack.name, call.most(20))]),
        _post("versions/{number:int}", _answer_version),
        _get("record", _record),
        _post("predictions", _predict),
        _get("windows", _windows),
        _get("lineage", lambda call: explain.lineage(call.stack.name)),
        _get("cost", _cost),
        _get("logs", _logs),
        _get("mails", _mails),
        _get("faults", lambda call: _local(call, "faults", "GET", local_cloud.FAULTS)),
        _post("faults", lambda call: _local(call, "faults", "POST", local_cloud.FAULTS, call.document)),
        _post("faults/clear", _clear_faults),
        Route("/api/files", _drop_to(console), methods=["POST"]),
        *_files(),
    ]
    app = Starlette(routes=routes)
    app.state.console = console
    return Guard(app, port, token, "" if console.may_change else ONLY_READS)


# ---- How requests become answers


def _get(path: str, answer: Answer) -> Route:
    return Route(f"/api/{path}", _endpoint(answer), methods=["GET"])


def _post(path: str, answer: Answer) -> Route:
    return Route(f"/api/{path}", _endpoint(answer), methods=["POST"])


def _endpoint(answer: Answer) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        console: Console = request.app.state.console
        document: Any = {}
        if request.method == "POST":
            body = await _bounded(request)
            try:
                document = json.loads(body or b"{}")
            except (ValueError, RecursionError):
                document = None
            if not isinstance(document, dict):
                return _refused(400, "expected a JSON object of at most 1 MiB")
        call = Call(console, request.path_params, dict(request.query_params), document)
        return await run_in_threadpool(_answered, lambda: answer(call))

    return endpoint


async def _bounded(request: Request) -> bytes:
    """Return a body; one that is no JSON where it is too large."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > LARGEST_DOCUMENT:
            return b"too large"
    return bytes(body)


def _answered(answer: Callable[[], Any]) -> Response:
    """Answer with a document, or with a known error in words."""
    try:
        answered = answer()
        return answered if isinstance(answered, Response) else _json(answered)
    except Exception as error:
        lines = in_words(error)
        if not lines:
            raise
        return _refused(400, "\n".join(lines))


def _json(document: Any, status: int = 200) -> Response:
    text = json.dumps(json_safe(document), default=str, ensure_ascii=False)
    return Response(text.encode(errors="replace"), status, media_type="application/json")


def _refused(status: int, text: str) -> Response:
    return _json({"message": text}, status)


def _files() -> list[Route]:
    """Return a route for each file of the page: nothing else of the disk can be asked for."""

    def route(path: Path) -> Route:
        body = path.read_bytes()
        kind = "text/javascript" if path.suffix == ".js" else mimetypes.guess_type(path.name)[0]

        async def endpoint(_: Request) -> Response:
            return Response(body, media_type=kind)

        return Route("/" if path.name == "index.html" else f"/{path.name}", endpoint, methods=["GET"])

    return [route(path) for path in sorted(PAGE.iterdir()) if path.is_file()]


# ---- What there is to see


def _whom(call: Call) -> dict[str, Any]:
    account, named = call.console.account, call.console.stack
    listed = [named] if named else _all_stacks()
    first = listed[0] if listed else None
    may = {"is_local": account.is_local, "may_change": call.console.may_change}
    return {"whom": str(account), **may, "stacks": listed, "stack": first}


def _all_stacks() -> list[str]:
    """Return the names of all stacks. Raises CommandError: whoever has started the console may not list them."""
    try:
        return stacks.names()
    except ClientError as error:
        raise CommandError(f"{error}\n{NAME_ONE}") from error


def _stack(call: Call) -> dict[str, Any]:
    """Return what a stack is for: its model, target, gate and limits of drift, and what serves."""
    stack = call.stack
    defined = definition_of(stack).as_json()
    quality = defined["monitoring"]["data_quality"]
    return {
        "name": stack.name,
        "model": stack.model,
        "description": defined.get("description"),
        "problem": defined["problem"],
        "target": defined["target"],
        "unit": defined["columns"][defined["target"]].get("unit"),
        "gate": defined["gate"],
        "drift": {name: quality[name] for name in ("distance", "stability")},
        "drops": f"s3://{stack.outputs['DataBucketName']}/{stack.outputs['DataPrefix']}",
        "endpoint": stack.outputs["EndpointName"],
        "serves": stacks.exported(stack.name, "run"),
    }


def _runs(call: Call) -> list[dict[str, Any]]:
    """Return the newest runs as `perennial runs` does, each with what its last column says."""
    return [{**one, "decision": runs.decision(one)} for one in runs.newest(call.stack, call.most(30))]


def _run(call: Call) -> dict[str, Any]:
    """Return the record of a run as `perennial show` has it, with its reason; nothing of one that has none yet."""
    record = runs.document(call.stack, runs.RECORD.format(runs.require_id(call.path["run"])))
    if record is None:
        return {"record": None}
    return {"record": record, "reason": runs.reason(record), "doubts": runs.doubts(record)}


def _execution(call: Call) -> runs.Execution:
    return runs.execution(call.stack, runs.require_id(call.path["run"]))


def _flow(call: Call) -> dict[str, Any]:
    return run_flow.of(_execution(call), call.stack.name, call.console.account.region, price)


def _drawing(call: Call) -> dict[str, Any]:
    return asdict(run_flow.drawing(_execution(call), 0 if call.query.get("narrow") else ASPECT))


def _record(call: Call) -> dict[str, Any]:
    """Return the schema of a record, and the typical record of what serves to begin with, where one is known.

    Of a model that forecasts it is `series`: what a line of the text has to hold.
    """
    stack, definition = call.stack, definition_of(call.stack)
    if definition.series:
        return {"series": series.form(definition)}
    try:
        usual = dict(explanations.Explainer.of(stack, definition).usual)
    except CommandError:
        usual = {}
    return {**serving_api.record(stack), "usual": usual}


def _report(call: Call) -> Response:
    """Return the report of a run or of a window, for a file of the person's own."""
    folder, run = call.path["folder"], runs.require_id(call.path["run"])
    if folder not in REPORTS:
        raise CommandError(f"{folder!r} have no reports; expected one of: {', '.join(REPORTS)}")
    s3, key = boto3.client("s3"), f"{REPORTS[folder]}{run}/report.html"
    try:
        return Response(s3.get_object(Bucket=call.stack.bucket, Key=key)["Body"].read(), media_type=A_FILE)
    except s3.exceptions.NoSuchKey as error:
        raise CommandError(f"there is no report: s3://{call.stack.bucket}/{key}") from error


def _windows(call: Call) -> list[dict[str, Any]]:
    return runs.windows(call.stack, call.most(20))


def _cost(call: Call) -> dict[str, Any]:
    """Return what a run and a month will cost, as `perennial cost` does."""
    stack = call.stack
    records = runs.newest(stack, 20)
    often = in_a_month(records)
    expected = billing.expected(definition_of(stack), call.console.account.region, records, often, stack.hours)
    return {**asdict(expected), "month": expected.month}


def _logs(call: Call) -> dict[str, Any]:
    """Return the log groups of a stack; with a group its newest lines, with streams those of them alone."""
    group = call.query.get("group")
    if group is None:
        return {"groups": log_events.groups(call.stack)}
    return {"events": log_events.newest(call.stack, group, call.query.get("streams", ""), 24, call.most(200))}


def _mails(call: Call) -> dict[str, Any]:
    return _local(call, "mails", "GET", local_cloud.MAILS)


def _local(call: Call, what: str, method: str, path: str, document: Any = None) -> dict[str, Any]:
    if not call.console.account.is_local:
        instead = {"mails": "they are in the mailboxes of their receivers", "faults": "nothing fails on purpose"}
        raise CommandError(NOT_LOCAL.format(what, instead[what]))
    return local_cloud.call(method, path, document)


# ---- What a person does


def _drop_to(console: Console) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        """Take a file, and drop it where the stack takes its data."""
        name = request.query_params.get("name", "")
        if not _is_name(name):
            return _refused(400, f"{name!r} is no name of a file; expected one of at most {LONGEST_NAME} characters")
        with tempfile.TemporaryFile() as file:
            try:
                async for part in request.stream():
                    await run_in_threadpool(file.write, part)
            except OSError as error:
                return _refused(400, str(error))
            file.seek(0)
            body = cast(BinaryIO, file)
            wanted = request.query_params.get("stack")
            return await run_in_threadpool(_answered, lambda: runs.drop(console.chosen(wanted), name, body))

    return endpoint


def _is_name(name: str) -> bool:
    """Return whether a name is that of a file, in no folder."""
    return 0 < len(name) <= LONGEST_NAME and name.isprintable() and not set(name) & set("/\\") and name[0] != "."


def _dropped(call: Call) -> dict[str, Any]:
    """Return the run that a drop has started; None: none yet."""
    arn = following.started_by_drop(call.stack.state_machine_arn, call.path["version"], {})
    return {"run": runs.id_of(arn) if arn else None}


def _answer_version(call: Call) -> dict[str, Any]:
    """Approve or reject a version, as `perennial approve` and `perennial reject` do."""
    status = call.document.get("status")
    if status not in (approval.APPROVED, approval.REJECTED):
        raise CommandError(f"status is {status!r}; expected {approval.APPROVED} or {approval.REJECTED}")
    written = call.document.get("reason")
    reason = call.text("reason") if status == approval.REJECTED or written else None
    return versions.answered(call.stack.name, call.path["number"], status, reason)


def _predict(call: Call) -> dict[str, Any]:
    """Ask the endpoint about a record, and explain its answer, as `perennial predict --explain` does; or about series.

    A forecast is not explained.
    """
    stack, features, notes = call.stack, call.document.get("record"), list[str]()
    definition = definition_of(stack)
    if definition.series:
        return series.answered(stack, definition, call.text("series"))
    if not isinstance(features, dict):
        raise CommandError("record is missing; expected an object")
    (record,) = predictions.from_bytes(json.dumps(features).encode(), definition, notes, "the record")
    if record.problems:
        return {"problems": record.problems, "notes": notes}
    (answer,) = predictions.answers(stack, [record])
    answered = {"problems": (), "notes": notes, "answer": answer.answer, "unusual": answer.unusual}
    if not call.document.get("explain"):
        return answered
    explainer = explanations.Explainer.of(stack, definition)
    one = explainer.explain(record)
    explained = explanations.as_json(explainer, record, one, explainer.unknown(record))
    return {**answered, "headline": explanations.headline(explainer, definition, one), "explanation": explained}


def _clear_faults(call: Call) -> dict[str, Any]:
    number = call.document.get("number")
    if number is not None and type(number) is not int:
        raise CommandError(f"number is {number!r}; expected that of a fault")
    path = local_cloud.FAULTS if number is None else f"{local_cloud.FAULTS}/{number}"
    return _local(call, "faults", "DELETE", path)
