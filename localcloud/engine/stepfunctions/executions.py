"""Step Functions as on AWS, where MiniStack's interpreter differs in what our state machines rely on.

What changes, each with its test in tests/integration/localcloud/engine/test_executions.py:

* Stopping an execution, a state's or an execution's TimeoutSeconds, and a failing branch end what runs below them.
  A stopped execution stays ABORTED. An execution that times out ends TIMED_OUT.
* Parallel in JSONata has Arguments, Assign and Output, and Succeed has Output. Branches have their own
  `$states.context.State` and their own variables (an outer variable is readable, an assignment stays inside), and
  their states are in the history.
* `States.Runtime` and `States.DataLimitExceeded` cannot be caught. What is too large is in `payloads.py`.
* The Condition of a Choice is a boolean; any other value is a `States.QueryEvaluationError`.
* A state machine with a logging configuration writes its log (`logs.py`).
* Executions are on the disk as far as clients have seen them (`files.py`). Those that a restart interrupts say so in
  an event (`announce_interrupted`).

Source: Step Functions Developer Guide, "Handling errors", "Passing data between states with variables".
"""

import contextvars
import copy
import json
import logging
import threading
import uuid
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from localcloud import faults
from localcloud.engine.cloudwatch import metrics
from localcloud.engine.lambda_ import functions
from localcloud.engine.persistence import rebound
from localcloud.engine.seams import Seams
from localcloud.engine.stepfunctions import logs, payloads, scopes, tasks
from localcloud.engine.stepfunctions.files import ExecutionFiles, is_over
from localcloud.settings import retry_scale

responses = Seams("core.responses", json_response="4036e9b5", request_scope="1136c5e3")
sfn = Seams(
    "services.stepfunctions",
    _ExecutionError="65fcaf17",
    _SFN_WAIT_SCALE="58cce9c7",
    _add_event="22045b13",
    _apply_input_path="d24996eb",
    _apply_jsonata_arguments="d87b70aa",
    _apply_jsonata_output="70ee92b2",
    _apply_output_path="0699e96a",
    _apply_parameters="5c948900",
    _apply_result_path="0db2dd65",
    _apply_result_selector="5c20eee2",
    _apply_state_assign="c56fff1b",
    _emit_execution_status_event="8f17f4bb",
    _error_matches="e5604053",
    _evaluate_jsonata_choice_rule="9060edd2",
    _execute_choice="2a243840",
    _execute_map="576221f9",
    _execute_parallel="864265fc",
    _execute_pass="2cda261a",  # noqa: S106
    _execute_task="a8ee9d5a",
    _execute_wait="ad0a2cfe",
    _executions="4ed433bf",
    _fail_execution="19a93e83",
    _fail_state_error="819d459c",
    _invoke_resource="f3153007",
    _invoke_resource_with_timeout="70d7625c",
    _jsonata_state_field="9ba63520",
    _nested_execution_failure="84e024b0",
    _next_or_end="903f6f8f",
    _restore_state="82bbb206",
    _run_execution="3698f1a5",
    _run_map_items="a33957e7",
    _run_parallel_branches="a7120060",
    _run_sub_machine="e19c5d1c",
    _scaled_sleep="a5ebb09d",
    _start_sync_execution="7912efb7",
    _state_machines="79f3cc64",
    _state_query_language="dd205417",
    get_state="5a16115c",
    now_iso="09aeb8a7",
)

JsonObject = dict[str, Any]
Handler = Callable[..., Any]

_UNCATCHABLE = frozenset({"States.Runtime", "States.DataLimitExceeded"})
_SAVED_ELSEWHERE = ("lambda", "s3", "sagemaker", "sagemakerruntime", "sfn", "states")  # by what they do themselves
_READS = ("batchGet", "describe", "get", "list", "query", "scan")
_MAXIMUM_TIMEOUT_SECONDS = 99_999_999
_INTERRUPTED = (
    "The local cloud ended while this execution worked, and has been started again. What the execution had begun was "
    "interrupted; what it had stored is there. Start it again"
)
_history = threading.RLock()
_in_wait_state: ContextVar[bool] = ContextVar("in_wait_state", default=False)
_previous_event: ContextVar[list[int]] = ContextVar("previous_event")  # the last one of this branch, on all its threads
_earlier: list[JsonObject] = []  # executions of an earlier process
_interrupted: set[str] = set()
logger = logging.getLogger(__name__)


def register(files: ExecutionFiles, changed: Callable[[], None], settle: Callable[..., None]) -> None:
    """Replace the seams and restore the executions. MiniStack must be importable (the environment is set).

    `changed` is called whenever an execution goes on, which it does without any request. `settle` writes what a task
    has changed in services (their names), before the execution says that the task is done.
    """
    makers: dict[str, Any] = {
        "get_state": lambda original: rebound(original, _executions={}),
        "_run_execution": lambda _: _run_execution,
        "_fail_execution": _make_fail_execution,
        "_add_event": lambda original: _make_add_event(original, files, changed),
        "_emit_execution_status_event": lambda original: _make_emit(original, files),
        "_start_sync_execution": _make_start_sync_execution,
        "_nested_execution_failure": lambda _: _nested_execution_failure,
        "_invoke_resource": lambda original: _make_invoke_resource(original, settle),
        "_invoke_resource_with_timeout": _make_invoke_resource_with_timeout,
        "_run_parallel_branches": lambda _: _run_parallel_branches,
        "_run_map_items": _make_run_map_items,
        "_run_sub_machine": lambda _: _run_branch,
        "_scaled_sleep": lambda _: _scaled_sleep,
        "_execute_wait": _make_execute_wait,
        "_evaluate_jsonata_choice_rule": lambda _: _holds,
        "_error_matches": _make_error_matches,
        "_restore_state": lambda original: _make_restore_state(original, files),
    }
    for name, make in makers.items():
        sfn.replace(name, make)
    for execution in files.load():
        _take(execution)


def _run_execution(exec_arn: str) -> None:
    """Walk a started execution to its end, on the thread that StartExecution made for it."""
    execution = sfn._executions.get(exec_arn)
    if execution is None:
        return
    with scopes.enter(execution):
        clock = _start_clock(execution)
        before = _previous_event.set([0])  # that of the first state is 0, as on AWS
        try:
            _log(execution, execution["events"][0])
            _succeed(execution, _walk(execution))
        except scopes.Ended:
            logger.info("execution %s ended as %s", exec_arn, execution["status"])
        except sfn._ExecutionError as error:
            sfn._fail_execution(execution, error.error, error.cause)
        except Exception as error:
            logger.exception("execution %s met a bug of the local cloud", exec_arn)
            sfn._fail_execution(execution, "States.Runtime", str(error))
        finally:
            _previous_event.reset(before)
            if clock:
                clock.cancel()


def _walk(execution: JsonObject) -> Any:
    """Walk through the states, and return the output of the last."""
    machine = sfn._state_machines.get(execution["stateMachineArn"])
    if not machine:
        raise sfn._ExecutionError("StateMachineDeleted", "State machine no longer exists")
    try:
        definition, value = json.loads(machine["definition"]), json.loads(execution["input"])
    except ValueError as error:
        raise sfn._ExecutionError(
            "States.Runtime", f"Neither definition nor input may be invalid JSON: {error}"
        ) from error
    ctx = _context(execution, machine, definition, value)
    name: str | None = definition.get("StartAt", "")
    text: str | None = None
    if definition.get("States", {}).get(name, {}).get("Type") == "Wait":
        _prepare(definition["States"])
    while name is not None:
        scopes.leave_if_ended()
        value, name, text = _run_state(definition.get("States", {}), name, value, text, execution, ctx)
    return value


def while_waiting(prepare: Callable[[list[JsonObject]], None]) -> None:
    """Have something done with the tasks of each execution that begins by waiting, meanwhile."""
    _preparations.append(prepare)


def _prepare(states: JsonObject) -> None:
    tasks = [state for state in states.values() if state.get("Type") == "Task"]
    for prepare in _preparations:
        run = contextvars.copy_context().run
        threading.Thread(target=run, args=(prepare, tasks), daemon=True).start()


def _start_functions(tasks: list[JsonObject]) -> None:
    arguments = [state.get("Arguments") for state in tasks]
    named = [payload.get("FunctionName") for payload in arguments if isinstance(payload, dict)]
    functions.start_early(name for name in dict.fromkeys(named) if isinstance(name, str) and not name.startswith("{%"))


_preparations: list[Callable[[list[JsonObject]], None]] = [_start_functions]


def _context(execution: JsonObject, machine: JsonObject, definition: JsonObject, value: Any) -> JsonObject:
    """Return the context object; QueryLanguage and variables are MiniStack's own additions to it."""
    return {
        "QueryLanguage": definition.get("QueryLanguage", "JSONPath"),
        "Execution": {
            "Id": execution["executionArn"],
            "Input": value,
            "Name": execution["name"],
            "RoleArn": machine["roleArn"],
            "StartTime": execution["startDate"],
            "RedriveCount": 0,
        },
        "StateMachine": {"Id": execution["stateMachineArn"], "Name": machine["name"]},
        "variables": {},
    }


def _succeed(execution: JsonObject, value: Any) -> None:
    output = payloads.text_of(value)
    with _history:
        scopes.leave_if_ended()
        execution.update(status="SUCCEEDED", output=output, stopDate=sfn.now_iso())
        sfn._add_event(execution, "ExecutionSucceeded", {"executionSucceededEventDetails": {"output": output}})
    sfn._emit_execution_status_event(execution)


def _start_clock(execution: JsonObject) -> threading.Timer | None:
    """End the execution as TIMED_OUT after the state machine's own TimeoutSeconds."""
    machine = sfn._state_machines.get(execution["stateMachineArn"]) or {}
    try:
        seconds = json.loads(machine.get("definition", "{}")).get("TimeoutSeconds")
    except ValueError:
        return None
    if not isinstance(seconds, int | float) or seconds > _MAXIMUM_TIMEOUT_SECONDS:
        return None
    context = contextvars.copy_context()
    clock = threading.Timer(seconds, context.run, args=(_time_out, execution))
    clock.daemon = True
    clock.start()
    return clock


def _time_out(execution: JsonObject) -> None:
    with _history:
        if execution["status"] != "RUNNING":
            return
        execution.update(status="TIMED_OUT", stopDate=sfn.now_iso(), error="States.Timeout", cause="")
        sfn._add_event(execution, "ExecutionTimedOut", {"executionTimedOutEventDetails": {"error": "States.Timeout"}})
    sfn._emit_execution_status_event(execution)


def _make_fail_execution(original: Handler) -> Handler:
    def fail_execution(execution: JsonObject, error: str, cause: str) -> None:
        """Fail an execution that is still running; one that was stopped or timed out keeps its status.

        So does one that fails because this process ends; the next start announces it. MiniStack's own gives it an
        output, which on AWS it has not (API Reference, DescribeExecution).
        """
        with _history:
            if execution["status"] != "RUNNING" or scopes.shutting_down():
                return
            execution.update(status="FAILED", stopDate=sfn.now_iso(), error=error, cause=cause)
            sfn._add_event(
                execution, "ExecutionFailed", {"executionFailedEventDetails": {"error": error, "cause": cause}}
            )
            sfn._emit_execution_status_event(execution)

    return fail_execution


def _make_add_event(original: Handler, files: ExecutionFiles, changed: Callable[[], None]) -> Handler:
    def add_event(execution: JsonObject, event_type: str, details: JsonObject | None = None) -> Any:
        """Record an event with its number, under a lock (branches write at once); after the end, only the end itself.

        The previous event is that of the same branch, so that a history can be read along each of them.
        """
        with _history:
            if execution.get("status", "RUNNING") != "RUNNING" and not event_type.startswith("Execution"):
                return {}
            changed()
            if (previous := _previous_event.get(None)) is None:
                _previous_event.set(previous := [0])
            for about in (details or {}).values():
                about.update({f"{name}Details": {"truncated": False} for name in ("input", "output") if name in about})
            event = original(execution, event_type, {**(details or {}), "previousEventId": previous[0]})  # at once
            previous[0] = event["id"]
            if sfn._executions.get(execution.get("executionArn")) is execution:  # none of TestState
                files.add(execution, event)
        _log(execution, event)
        return event

    return add_event


def _make_emit(original: Handler, files: ExecutionFiles) -> Handler:
    def emit_execution_status_event(execution: JsonObject) -> None:
        """Announce a status; the first thing that MiniStack does with an execution when it has started."""
        for first in execution["events"][:1]:  # a power cut may have left none
            first.setdefault("previousEventId", 0)
            first["executionStartedEventDetails"].setdefault("inputDetails", {"truncated": False})
        files.begin(execution)
        if execution["status"] == "RUNNING" and sfn._executions.get(execution["executionArn"]) is execution:
            execution = sfn._executions[execution["executionArn"]] = files.stored(execution)
        metrics.record_execution(execution)
        original(_as_told(execution))
        files.tell(execution)

    return emit_execution_status_event


def _as_told(execution: JsonObject) -> JsonObject:
    """Return the record without data if these are encrypted with a customer's key.

    Step Functions Developer Guide, "Data at rest encryption in Step Functions": "Execution Input, Output, Error, and
    Cause will not be included".
    """
    if (execution.get("encryptionConfiguration") or {}).get("type") != "CUSTOMER_MANAGED_KMS_KEY":
        return execution
    return {**execution, **dict.fromkeys(("input", "output", "error", "cause"))}


def _make_start_sync_execution(original: Handler) -> Handler:
    def start_sync_execution(data: JsonObject) -> Any:
        """Run an execution to its end; one that has failed has no output."""
        status, headers, body = original(data)
        answer = json.loads(body)
        if status >= 400 or answer["status"] == "SUCCEEDED":
            return status, headers, body
        return responses.json_response({name: value for name, value in answer.items() if name != "output"})

    return start_sync_execution


def _nested_execution_failure(payload: JsonObject) -> tuple[str, str]:
    """Error and cause of a task whose execution has failed: the cause describes that execution."""
    return "States.TaskFailed", payloads.text_of({name[:1].upper() + name[1:]: payload[name] for name in payload})


def _log(execution: JsonObject, event: JsonObject) -> None:
    machine = sfn._state_machines.get(execution.get("stateMachineArn"))
    if machine:
        logs.write(execution, machine, event)


def _make_invoke_resource(original: Handler, settle: Callable[..., None]) -> Handler:
    def invoke_resource(resource: str, input_data: Any) -> Any:
        scopes.leave_if_ended()
        _strike(resource)
        try:
            result = original(resource, input_data)
        except sfn._ExecutionError as error:
            raise _as_invocation_error(error) from error
        service, _, action = resource.partition(":states:::")[2].removeprefix("aws-sdk:").partition(":")
        if service not in _SAVED_ELSEWHERE and not action.startswith(_READS):
            settle(service)
        scopes.leave_if_ended()
        result = tasks.with_metadata(resource, input_data, result)
        payloads.limited(resource, result)
        return result

    return invoke_resource


def _strike(resource: str) -> None:
    """Fail or be slow as somebody has asked (docs/faults.md): tasks go by the name of their state machine."""
    scope = scopes.current()
    machine = (scope.execution or {}).get("stateMachineArn", "").rpartition(":")[2] if scope else ""
    action = resource.partition(":states:::")[2].removeprefix("aws-sdk:").removesuffix(".sync")
    fault = faults.take(f"task:{action}", machine)
    if fault and fault.effect == "delay":
        faults.wait_out(fault, scopes.sleep)
    elif fault:
        raise sfn._ExecutionError(fault.error, fault.text)


def _as_invocation_error(error: Any) -> Exception:
    """Return what Lambda itself refuses (throttling) as Step Functions names it, and a function's own error as it is.

    Source: Step Functions Developer Guide, "Handle transient Lambda service exceptions".
    """
    try:
        answer = json.loads(error.cause)
    except (ValueError, RecursionError):
        answer = None
    if error.error != "Lambda.Unknown" or not isinstance(answer, dict) or "__type" not in answer:
        return error  # type: ignore[no-any-return]
    status = 429 if answer["__type"] == "TooManyRequestsException" else 500
    cause = f"{answer.get('message', '')} (Service: Lambda, Status Code: {status}, Request ID: {uuid.uuid4()})"
    refused: Exception = sfn._ExecutionError(f"Lambda.{answer['__type']}", cause)
    return refused


def _make_invoke_resource_with_timeout(original: Handler) -> Handler:
    def invoke_resource_with_timeout(resource: str, input_data: Any, timeout: float) -> Any:
        """When the time is over the state goes on; what it had started is told to stop."""
        with scopes.enter() as attempt:
            try:
                return original(resource, input_data, timeout)
            finally:
                attempt.cancel()

    return invoke_resource_with_timeout


def _run_parallel_branches(state: JsonObject, raw_input: Any, execution: JsonObject, ctx: JsonObject) -> Any:
    jsonata = sfn._state_query_language(state, ctx) == "JSONata"
    if jsonata:
        effective = sfn._apply_jsonata_arguments(state, raw_input, ctx)
    else:
        effective = sfn._apply_parameters(state, sfn._apply_input_path(state, raw_input, ctx), ctx)
    results = _run_together(state.get("Branches", []), effective, execution, ctx)
    if jsonata:
        output = sfn._apply_jsonata_output(state, raw_input, ctx, result=results, default=results)
        sfn._apply_state_assign(state, raw_input, ctx, result=results)
    else:
        output = sfn._apply_result_path(state, raw_input, sfn._apply_result_selector(state, results))
        output = sfn._apply_output_path(state, output, ctx)
    return output, sfn._next_or_end(state)


def _run_together(branches: list[JsonObject], effective: Any, execution: JsonObject, ctx: JsonObject) -> list[Any]:
    """Return the branches' outputs, in their order. The first branch that fails ends the others and is the error."""
    results: list[Any] = [None] * len(branches)
    errors: list[Exception] = []

    def run(index: int, branch: JsonObject) -> None:
        try:
            results[index] = _run_branch(branch.get("States", {}), branch.get("StartAt"), effective, execution, ctx)
        except scopes.Ended:
            return
        except Exception as error:  # whatever it was, it is the Parallel state's error now
            if not isinstance(error, sfn._ExecutionError):
                logger.exception("a branch of %s met a bug of the local cloud", execution["executionArn"])
            errors.append(error)

    with scopes.enter():
        threads = [
            threading.Thread(target=contextvars.copy_context().run, args=(run, index, branch), daemon=True)
            for index, branch in enumerate(branches)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    scopes.leave_if_ended()
    if errors:
        raise _as_execution_error(errors[0])
    return results


def _as_execution_error(error: Exception) -> Exception:
    known: type[Exception] = sfn._ExecutionError
    return error if isinstance(error, known) else known("States.BranchFailed", str(error))


def _make_run_map_items(original: Handler) -> Handler:
    def run_map_items(state: JsonObject, raw_input: Any, execution: JsonObject, ctx: JsonObject) -> Any:
        with scopes.enter():
            return original(state, raw_input, execution, ctx)

    return run_map_items


def _run_branch(
    states: JsonObject, start_at: str | None, input_data: Any, execution: JsonObject, ctx: JsonObject
) -> Any:
    """Run the states of one branch (or Map item) to its end; a failure ends its siblings."""
    own = {**ctx, "variables": dict(ctx.get("variables", {}))}
    scope = scopes.current()
    _previous_event.set(list(_previous_event.get([0])))
    name, value, text = start_at, copy.deepcopy(input_data), None
    try:
        while name:
            scopes.leave_if_ended()
            value, name, text = _run_state(states, name, value, text, execution, own)
    except BaseException:
        if scope:
            scope.cancel()
        raise
    return value


def _run_state(
    states: JsonObject, name: str, value: Any, text: str | None, execution: JsonObject, ctx: JsonObject
) -> tuple[Any, str | None, str]:
    """Return the output of a state, the state that follows, and the output's JSON.

    `text` is the JSON of the input, where it was the output of the state before. In JSONata no state changes its input.
    """
    state = states.get(name)
    if not state:
        raise sfn._ExecutionError("States.Runtime", f"State '{name}' not found")
    kind = state.get("Type")
    ctx["State"] = {"Name": name, "EnteredTime": sfn.now_iso(), "RetryCount": 0}
    text = payloads.limited(name, value) if text is None else text
    entered = {"name": name, "input": text}
    sfn._add_event(execution, f"{kind}StateEntered", {"stateEnteredEventDetails": entered})
    if kind == "Fail":
        raise sfn._ExecutionError(*sfn._fail_state_error(state, value, ctx))
    output, following = _perform(kind, state, value, execution, ctx)
    if output is not value or sfn._state_query_language(state, ctx) != "JSONata":
        text = payloads.limited(name, output)
    exited = {"name": name, "output": text}
    sfn._add_event(execution, f"{kind}StateExited", {"stateExitedEventDetails": exited})
    return output, following, text


def _perform(
    kind: str, state: JsonObject, value: Any, execution: JsonObject, ctx: JsonObject
) -> tuple[Any, str | None]:
    if kind == "Succeed":
        if sfn._state_query_language(state, ctx) == "JSONata":
            return sfn._apply_jsonata_output(state, value, ctx, default=value), None
        return sfn._apply_output_path(state, sfn._apply_input_path(state, value, ctx), ctx), None
    handlers = {"Pass": sfn._execute_pass, "Choice": sfn._execute_choice, "Wait": sfn._execute_wait}
    compound = {"Task": sfn._execute_task, "Parallel": sfn._execute_parallel, "Map": sfn._execute_map}
    result: tuple[Any, str | None]
    if kind in handlers:
        result = handlers[kind](state, value, ctx)
    elif kind in compound:
        result = compound[kind](state, value, execution, ctx)
    else:
        raise sfn._ExecutionError("States.Runtime", f"Unknown state type: {kind}")
    return result


def _scaled_sleep(seconds: float) -> None:
    """Pause as a Wait state does, or before a retry, which LOCALCLOUD_RETRY_SCALE shortens."""
    scale = sfn._SFN_WAIT_SCALE if _in_wait_state.get() else retry_scale()
    scopes.sleep(seconds * scale)


def _make_execute_wait(original: Handler) -> Handler:
    def execute_wait(*arguments: Any) -> Any:
        token = _in_wait_state.set(True)
        try:
            return original(*arguments)
        finally:
            _in_wait_state.reset(token)

    return execute_wait


def _holds(rule: JsonObject, raw_input: Any, ctx: JsonObject) -> bool:
    """Return whether a rule of a Choice in JSONata applies."""
    return "Condition" in rule and bool(sfn._jsonata_state_field(rule, "Condition", "boolean", raw_input, ctx))


def _make_error_matches(original: Handler) -> Handler:
    def error_matches(error_equals: list[str], error: str) -> bool:
        """Wildcards do not match what AWS says they cannot; an explicit name does."""
        return error in error_equals if error in _UNCATCHABLE else bool(original(error_equals, error))

    return error_matches


def _make_restore_state(original: Handler, files: ExecutionFiles) -> Handler:
    def restore_state(data: JsonObject) -> None:
        """Take over what a version before this one has saved: executions in the file of the service."""
        for key, execution in getattr((data or {}).get("executions"), "_data", {}).items():
            if key not in sfn._executions._data and not is_over(execution):
                files.begin(execution, known_status=execution["status"])
                _take(execution)
        original({**data, "executions": {}} if data else data)

    return restore_state


def _take(execution: JsonObject) -> None:
    """Take over an execution of an earlier process; one that ran then has failed."""
    arn = execution["executionArn"]
    if execution["status"] == "RUNNING":
        _interrupted.add(arn)
        execution.update(status="FAILED", stopDate=sfn.now_iso(), error="States.ServiceRestart", cause=_INTERRUPTED)
    sfn._executions.set_scoped(*_scope_of(arn), arn, execution)
    _earlier.append(execution)


def _scope_of(arn: str) -> tuple[str, str]:
    """Return the account and the region."""
    _, _, _, region, account_id, _ = arn.split(":", 5)
    return account_id, region


def announce_interrupted(files: ExecutionFiles) -> None:
    """Close the history of executions that the end of the last process interrupted; send every event that is due."""
    while _earlier:
        arn = (execution := _earlier.pop())["executionArn"]
        with responses.request_scope(*_scope_of(arn)):
            if (
                arn not in sfn._executions
                or execution.get("mapRunArn")
                or files.known_status(execution) == execution["status"]
            ):
                continue
            if files.known_status(execution) is None:
                began = {**execution, "events": execution["events"], "status": "RUNNING", "stopDate": None}
                sfn._emit_execution_status_event(began)
            if arn in _interrupted:
                execution["events"] = execution["events"]  # the end is added to them, whether the disk takes it or not
                failure = {"error": execution["error"], "cause": execution["cause"]}
                sfn._add_event(execution, "ExecutionFailed", {"executionFailedEventDetails": failure})
                logger.warning("execution %s was interrupted by the end of the last process and has failed", arn)
            sfn._emit_execution_status_event(execution)


def forget_old() -> None:
    """Forget the executions that ended so long ago that Step Functions forgets them."""
    executions = sfn._executions
    for key, execution in executions.all_items():
        if is_over(execution):
            executions.pop_scoped(*key, None)


def all_executions() -> list[JsonObject]:
    """Return every execution of every account and region."""
    executions: list[JsonObject] = sfn._executions.all_values()
    return executions
