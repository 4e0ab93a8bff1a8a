"""Lambda errors as the Python runtime of AWS reports them.

MiniStack reports every exception of a function as `Runtime.HandlerError`, so that no Retry or Catch by class name
ever matches. Here the worker sends the class name and the stack with its answer, and the payload becomes AWS's:
`{"errorMessage", "errorType", "requestId", "stackTrace"}`; import problems are `Runtime.ImportModuleError` and
`Runtime.HandlerNotFound`. Source: aws-lambda-python-runtime-interface-client, `bootstrap.py`.

Every invocation is counted, and a payload that is no JSON refused.

A call that works while its function is updated or deleted goes on to its end; MiniStack would kill it.

What is invoked asynchronously is in the journal until it has ended, and is begun again by the next start if it has not.
"""

import contextvars
import json
import logging
import os
import queue
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from types import FunctionType, SimpleNamespace
from typing import Any

from localcloud import faults
from localcloud.engine.cloudwatch import metrics
from localcloud.engine.journal import Entry, Journal
from localcloud.engine.lambda_ import workers
from localcloud.engine.seams import SeamError, Seams
from localcloud.engine.stepfunctions import scopes

lambda_runtime = Seams(
    "core.lambda_runtime",
    _PYTHON_WORKER_SCRIPT="32439e2e",
    _lock="08c10608",
    _worker_key="04961202",
    _workers="f4b9da4f",
    get_or_create_worker="6e44cf04",
    kill_workers="aa91a493",
)
Worker = Seams("core.lambda_runtime.Worker", _drain_stderr_bounded="cd2752c0", invoke="a6a851a4")
responses = Seams("core.responses", error_response_json="8a1cabf9", get_account_id="270e1115", get_region="5f4ea734")
lambda_svc = Seams(
    "services.lambda_svc",
    _emit_lambda_metrics="27789860",
    _execute_function="cf780fc5",
    _execute_function_warm="28d57bc7",
    _execution_record_for_config="bc713c95",
    _function_config_scope_mismatch="49d36ed3",
    _get_func_record_for_ref="ab104970",
    handle_request="07c3f071",
    invalidate_worker="01867107",
    invoke_async_with_retry="a59c5982",
)

JsonObject = dict[str, Any]
logger = logging.getLogger(__name__)

_MARK = "localcloud-error:"
_EXCEPTION_LINE = 'json.dumps({"status": "error", "error": str(e), "trace": traceback.format_exc()})'
_INIT_LINE = 'json.dumps({"status": "error", "error": str(e)})'
_END_LINE = "        _real_stdout.flush()\n\nrun()"
_END = "\0localcloud-end:"
_END_SECONDS = 0.25
_REPORT = f'''
def _lc_report(e, request_id, module_name, handler_name=None, at_import=False):
    import json, traceback
    kind, message = type(e).__name__, str(e)
    stack = traceback.format_list(traceback.extract_tb(e.__traceback__)[1:])
    if at_import and isinstance(e, ImportError):
        kind, message, stack = "Runtime.ImportModuleError", f"Unable to import module '{{module_name}}': {{e}}", []
    elif at_import and isinstance(e, AttributeError) and not stack:
        kind, stack = "Runtime.HandlerNotFound", []
        message = f"Handler '{{handler_name}}' missing on module '{{module_name}}'"
    details = {{"errorMessage": message, "errorType": kind, "requestId": request_id, "stackTrace": stack}}
    return "{_MARK}" + json.dumps(details) if at_import else details


def _lc_end(request_id):
    import os, sys
    try:
        sys.stderr.flush()
        os.write(2, (chr(0) + "localcloud-end:" + request_id + chr(10)).encode())
    except (AttributeError, OSError, ValueError):  # the function has closed it
        pass


'''
_IDLE_SECONDS = 300.0
_INVOKES = ("/invocations", "/response-streaming-invocations", "/invoke-async")
# Calls of one function that run side by side; more wait. Each takes a process of some 60 MB and a second to start, so
# that a drop of fifty files would bring this machine to its knees, and all of them would be slower than in turn.
SIDE_BY_SIDE = 2 * max(2, os.cpu_count() or 2)
_turns: defaultdict[str, threading.BoundedSemaphore] = defaultdict(lambda: threading.BoundedSemaphore(SIDE_BY_SIDE))
_starting = threading.Lock()
_gently: ContextVar[bool] = ContextVar("gently", default=False)
_request: ContextVar[str] = ContextVar("request")
_last_error: ContextVar[JsonObject | None] = ContextVar("last_error", default=None)


class _Inline:
    """A thread that is none: it does its work when it is started."""

    def __init__(self, target: Callable[..., None], args: tuple[Any, ...], **_: Any) -> None:
        self.start = partial(target, *args)


_INLINE = SimpleNamespace(Thread=_Inline)


class Invocations:
    """Asynchronous invocations. `settle` writes the services that it names."""

    def __init__(self, journal: Journal, settle: Callable[..., None]) -> None:
        self._journal, self._settle = journal, settle

    def register(self) -> None:
        """Replace the seam. MiniStack must be importable (the environment is set)."""
        lambda_svc.replace("invoke_async_with_retry", self._make)

    def _make(self, original: FunctionType) -> Any:
        self._original = original

        def invoke_async_with_retry(func: JsonObject, event: Any) -> None:
            arn = (func.get("config") or func)["FunctionArn"]
            scope = (responses.get_account_id(), responses.get_region())
            entry = {"kind": "invocation", "scope": scope, "function": arn, "event": event}
            (name,) = self._journal.note(entry)
            self._begin(name, func, event)

        return invoke_async_with_retry

    def resume(self, name: str, entry: Entry) -> None:
        """Invoke again what an earlier process has not seen to its end."""
        func, config, _ = lambda_svc._get_func_record_for_ref(entry["function"])
        if func and config:
            self._begin(name, lambda_svc._execution_record_for_config(func, config), entry["event"])
        else:
            logger.warning("function %s is there no more; what it was invoked with is dropped", entry["function"])
            self._journal.strike(name)

    def _begin(self, name: str, func: JsonObject, event: Any) -> None:
        run = contextvars.copy_context().run
        threading.Thread(target=run, args=(self._work, name, func, event), daemon=True).start()

    def _work(self, name: str, func: JsonObject, event: Any) -> None:
        """Invoke with Lambda's retries, here instead of in MiniStack's own thread, whose end nobody learns of."""
        FunctionType(self._original.__code__, {**self._original.__globals__, "threading": _INLINE})(func, event)
        if not scopes.shutting_down():  # the function may have been ended
            self._settle("sqs")  # where a failure may have gone
            self._journal.strike(name)


def register() -> None:
    """Replace the seams. MiniStack must be importable (the environment is set)."""
    workers.register()
    lambda_runtime.replace("_PYTHON_WORKER_SCRIPT", _reporting)
    Worker.replace("invoke", _make_invoke)
    Worker.replace("_drain_stderr_bounded", _make_drain)
    lambda_svc.replace("_execute_function", _make_execute_function)
    lambda_svc.replace("_execute_function_warm", _make_execute_function_warm)
    lambda_svc.replace("_emit_lambda_metrics", lambda _: _emit_lambda_metrics)
    lambda_svc.replace("handle_request", _make_handle_request)
    lambda_svc.replace("invalidate_worker", _make_invalidate_worker)
    lambda_runtime.replace("kill_workers", _make_kill_workers)


def _emit_lambda_metrics(function_name: str, duration_ms: float, error: bool, throttle: bool) -> None:
    """Record nothing: MiniStack counts what comes by Invoke only, and some of it twice."""


def _make_execute_function(original: Any) -> Any:
    def execute_function(func: JsonObject, event: Any) -> JsonObject:
        """Count each invocation, whoever makes it: a caller, an event, a state machine, a retry."""
        config = func.get("config") or func
        began = time.monotonic()
        result: JsonObject = original(func, event)
        if not lambda_svc._function_config_scope_mismatch(config):  # else it has come here again, in its own scope
            metrics.record_invocation(config, result, time.monotonic() - began)
        return result

    return execute_function


def start_early(references: Iterable[str]) -> None:
    """Start Python functions that have no process yet, one after the other, so that their first call finds it ready.

    Lambda, too, may initialize a function before it is invoked. Source: Lambda Developer Guide, "Understanding the
    Lambda execution environment lifecycle", Init phase.
    """
    for reference in references:
        func, config, _ = lambda_svc._get_func_record_for_ref(reference)
        if func and config and str(config.get("Runtime")).startswith("python"):
            with _starting:
                _start_first(lambda_svc._execution_record_for_config(func, config))


def _start_first(record: JsonObject) -> None:
    """Start a function's first process; a call that comes meanwhile waits for it rather than start another."""
    config, code = record.get("config") or record, record.get("code_zip")
    name, version = str(config["FunctionName"]), str(config.get("Version", "$LATEST"))
    if code is None or lambda_runtime._workers.get(lambda_runtime._worker_key(name, config, version)):
        return
    worker = lambda_runtime.get_or_create_worker(name, config, code, version)
    with worker._lock:  # for which a call waits
        if worker._proc is None:
            try:
                worker._spawn()
            except Exception:  # the call will meet it again, and say it
                worker._proc = None


def _make_handle_request(original: Any) -> Any:
    async def handle_request(method: str, path: str, headers: JsonObject, body: bytes, query_params: JsonObject) -> Any:
        """Refuse a payload that is no JSON; MiniStack takes it for an empty one."""
        if method == "POST" and path.rstrip("/").endswith(_INVOKES) and body:
            try:
                json.loads(body)
            except (ValueError, RecursionError) as error:
                message = f"Could not parse request body into json: Could not parse payload into json: {error}"
                return responses.error_response_json("InvalidRequestContentException", message, 400)
        return await original(method, path, headers, body, query_params)

    return handle_request


def _make_invalidate_worker(original: Any) -> Any:
    def invalidate_worker(*arguments: Any, **options: Any) -> None:
        """Let what a function works on go on to its end when it is updated or deleted, as on AWS."""
        token = _gently.set(True)
        try:
            original(*arguments, **options)
        finally:
            _gently.reset(token)

    return invalidate_worker


def _make_kill_workers(original: Any) -> Any:
    def kill_workers(workers: Any) -> None:
        busy = [worker for worker in workers if worker is not None and _gently.get() and worker._lock.locked()]
        for worker in busy:
            threading.Thread(target=_kill_when_done, args=(worker, original), daemon=True).start()
        original([worker for worker in workers if worker not in busy])

    return kill_workers


def _kill_when_done(worker: Any, kill: Any) -> None:
    with worker._lock:  # held for as long as a call lasts
        kill([worker])


def _reporting(script: str) -> str:
    """Return the worker's script, with the details of exceptions in its answers and a mark where a call's log ends."""
    if any(script.count(line) != 1 for line in (_EXCEPTION_LINE, _INIT_LINE, _END_LINE)):
        raise SeamError("ministack.core.lambda_runtime._PYTHON_WORKER_SCRIPT writes its answers in another way")
    script = script.replace(_END_LINE, f'        _lc_end(_ms_ctx.get("request_id", ""))\n{_END_LINE}')
    details = '_lc_report(e, _ms_ctx.get("request_id", ""), module_name)'
    script = script.replace(_EXCEPTION_LINE, _EXCEPTION_LINE.replace("})", f', "details": {details}' + "})"))
    at_import = '_lc_report(e, "", module_name, handler_name, at_import=True)'
    return _REPORT + script.replace(_INIT_LINE, _INIT_LINE.replace("str(e)", at_import))


def _make_invoke(original: Any) -> Any:
    def invoke(self: Any, event: Any, request_id: str, **options: Any) -> JsonObject:
        _request.set(request_id)
        response: JsonObject = original(self, event, request_id, **options)
        _last_error.set(response.get("details"))
        return response

    return invoke


def _make_drain(original: Any) -> Any:
    def drain(self: Any, *arguments: Any, **options: Any) -> str:
        """Take the log of a call up to its mark; MiniStack waits for 50 ms, or 5 after a line, whether more comes."""
        if not str(self.config.get("Runtime")).startswith("python"):
            return str(original(self, *arguments, **options))
        lines, ended, until = [], "", time.monotonic() + _END_SECONDS
        with suppress(queue.Empty):  # a process that has died writes no mark
            while ended != _request.get():
                line = self._stderr_queue.get(timeout=max(0.0, until - time.monotonic()))
                text, mark, ended = line.partition(_END)
                lines += [text] if text or not mark else []
        return "\n".join(lines)

    return drain


def _make_execute_function_warm(original: Any) -> Any:
    def execute_function_warm(func: JsonObject, event: Any, request_id: str) -> JsonObject:
        _last_error.set(None)
        config = func.get("config") or func
        fault = faults.take(f"function:{config.get('FunctionName')}", str(config.get("FunctionName")))
        if fault and not fault.after and fault.effect != "delay":
            return _failed(fault, config, request_id)
        if fault and fault.effect == "delay":
            faults.wait_out(fault)
        with _turns[str(config.get("FunctionName"))]:
            result: JsonObject = original(func, event, request_id)
        if fault and fault.after:
            return _failed(fault, config, request_id)
        if result.get("error"):
            result["body"] = body = _last_error.get() or _init_error(result.get("body"))
            result["log"] = result.get("log") or f"[ERROR] {body['errorType']}: {body['errorMessage']}"
        return result

    return execute_function_warm


def _failed(fault: faults.Fault, config: JsonObject, request_id: str) -> JsonObject:
    """How an invocation ends that was asked to fail (docs/faults.md): as the Lambda service reports it, or a function.

    Source: Lambda Developer Guide, "Invoke", errors; Step Functions Developer Guide, "Handling errors", Lambda errors.
    """
    kind, message = fault.error, fault.text
    if fault.effect == "throttle":
        kind, message = "Lambda.TooManyRequestsException", fault.message or "Rate Exceeded."
    if kind.startswith("Lambda."):
        return {"body": {"__type": kind.removeprefix("Lambda."), "message": message}, "error": True, "log": ""}
    if fault.effect == "timeout":
        seconds = float(config.get("Timeout", 3))
        kind, message = "Sandbox.Timedout", f"RequestId: {request_id} Error: Task timed out after {seconds:.2f} seconds"
        body: JsonObject = {"errorType": kind, "errorMessage": message}
    else:
        body = {"errorMessage": message, "errorType": kind, "requestId": request_id, "stackTrace": []}
    return {"body": body, "error": True, "log": f"[ERROR] {kind}: {message}"}


def _init_error(body: Any) -> Any:
    """Return the details that a worker sent about a failed import, or the body as it was."""
    message = body.get("errorMessage", "") if isinstance(body, dict) else ""
    _, mark, details = message.partition(_MARK)
    return json.loads(details) if mark else body


def end_idle_workers(now: float | None = None) -> None:
    """End every worker that has been idle for long, and what it is a fork of; MiniStack keeps one of each for good."""
    oldest = (time.time() if now is None else now) - _IDLE_SECONDS
    idle = []
    with lambda_runtime._lock:
        for key, pool in list(lambda_runtime._workers.items()):
            idle += [worker for worker in pool if not worker.in_use and worker.last_used < oldest]
            lambda_runtime._workers[key] = [worker for worker in pool if worker not in idle]
    lambda_runtime.kill_workers(idle)
    workers.end_idle(oldest)
