"""Payloads in Step Functions: how large they may be, and what Assign assigns.

* 256 KiB of JSON in UTF-8 is the most for the input of an execution, for the input, the arguments and the output of a
  state, for a task's result, and for the variables of one Assign together; all variables have 10 MiB. More than that
  fails with States.DataLimitExceeded, which cannot be caught.
* StartExecution and SendTaskSuccess refuse what is too large or not JSON.
* The expressions of one Assign see the variables as they were before it.

Source: Step Functions Developer Guide, "Quotas", "Handling errors", "Passing data between states with variables".
"""

import json
from typing import Any

from localcloud.engine.seams import Seams

responses = Seams("core.responses", error_response_json="8a1cabf9")
sfn = Seams(
    "services.stepfunctions",
    _apply_jsonata_arguments="d87b70aa",
    _apply_parameters="5c948900",
    _ExecutionError="65fcaf17",
    _apply_jsonata_template="b5ddf47c",
    _apply_state_assign="c56fff1b",
    _send_task_success="ce640188",
    _start_execution="157b243b",
    _state_query_language="dd205417",
)

JsonObject = dict[str, Any]
_LIMIT_BYTES = 256 * 1024
_VARIABLES_LIMIT_BYTES = 10 * 1024 * 1024
_SIZES = "variable_sizes"  # in the context object, beside MiniStack's own `variables`


def register() -> None:
    """Replace the seams. MiniStack must be importable (the environment is set)."""
    said_of_input = ("input", "InvalidExecutionInput", "Invalid State Machine Execution Input")
    said_of_output = ("output", "InvalidOutput", "Invalid Output")
    sfn.replace("_start_execution", lambda original: _make_refusing(original, *said_of_input))
    sfn.replace("_send_task_success", lambda original: _make_refusing(original, *said_of_output))
    for name in ("_apply_jsonata_arguments", "_apply_parameters"):
        sfn.replace(name, _make_apply)
    sfn.replace("_apply_state_assign", lambda _: _apply_state_assign)


def text_of(value: Any) -> str:
    """JSON as Step Functions keeps and measures it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def limited(what: str, value: Any) -> str:
    """Return the JSON of a value of a state or task.

    Raises:
        _ExecutionError: it is too large.
    """
    text = text_of(value)
    if _size(text) > _LIMIT_BYTES:
        raise _limit_exceeded(what)
    return text


def _size(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))


def _limit_exceeded(what: str) -> Exception:
    too_large: Exception = sfn._ExecutionError(
        "States.DataLimitExceeded",
        f"The state/task '{what}' returned a result with a size exceeding the maximum number of bytes service limit.",
    )
    return too_large


def _make_refusing(original: Any, member: str, code: str, title: str) -> Any:
    def refusing(data: JsonObject) -> Any:
        refused = _refusal(data.get(member, "{}"), member, code, title)
        return responses.error_response_json(*refused) if refused else original(data)

    return refusing


def _refusal(text: str, member: str, code: str, title: str) -> tuple[str, str] | None:
    """Code and text with which the API refuses JSON that it is given, if it does (Step Functions API reference)."""
    if _size(text) > _LIMIT_BYTES:
        return "ValidationException", (
            f"1 validation error detected: Value at '{member}' failed to satisfy constraint: Member must have length "
            f"less than or equal to {_LIMIT_BYTES}"
        )
    try:
        json.loads(text)
    except (ValueError, RecursionError) as error:
        return code, f"{title}: '{error}'"
    return None


def _make_apply(original: Any) -> Any:
    def apply(state: JsonObject, value: Any, ctx: JsonObject | None = None) -> Any:
        """Arguments (JSONata) or Parameters (JSONPath) of a state; without them its input, which has been measured."""
        result = original(state, value, ctx)
        if result is not value:
            limited(_state_name(ctx), result)
        return result

    return apply


def _state_name(ctx: JsonObject | None) -> str:
    return str(((ctx or {}).get("State") or {}).get("Name", ""))


def _apply_state_assign(
    state: JsonObject, raw_input: Any, ctx: JsonObject | None, result: Any = None, error_output: Any = None
) -> None:
    """Assign variables. The sizes are kept for the sum, in a new dictionary, because branches inherit them."""
    assign = state.get("Assign")
    if ctx is None or not isinstance(assign, dict) or sfn._state_query_language(state, ctx) != "JSONata":
        return
    values = sfn._apply_jsonata_template(assign, raw_input, ctx, result=result, error_output=error_output)
    sizes = {name: _size(text_of(value)) for name, value in values.items()}
    ctx[_SIZES] = {**ctx.get(_SIZES, {}), **sizes}
    if sum(sizes.values()) > _LIMIT_BYTES or sum(ctx[_SIZES].values()) > _VARIABLES_LIMIT_BYTES:
        raise _limit_exceeded(_state_name(ctx))
    ctx.setdefault("variables", {}).update(values)
