"""Readers that walk a plain dictionary of MiniStack's while another thread may add to it: they begin again.

Requests are answered on one thread; functions, state machines and stacks work on others. Python ends an iteration over
a dictionary that grows with a RuntimeError, which would be a 500. Nearly all of MiniStack walks copies; these do not:

* a role's policies, which a stack may be adding to, for every request under that role;
* the streams of a log group, of which every function and state machine that runs adds its own.
"""

from typing import Any

from localcloud.engine.seams import Seams

iam_evaluator = Seams("core.iam_evaluator", _gather_role_policies="2eb1e960")
cloudwatch_logs = Seams("services.cloudwatch_logs", _collect_query_records="c375ced9", _describe_log_groups="bd2cbd6e")

_ATTEMPTS = 10


def register() -> None:
    """Replace the seams. MiniStack must be importable (the environment is set)."""
    iam_evaluator.replace("_gather_role_policies", _make_patient)
    cloudwatch_logs.replace("_collect_query_records", _make_patient)
    cloudwatch_logs.replace("_describe_log_groups", _make_patient)


def _make_patient(original: Any) -> Any:
    def read(*arguments: Any) -> Any:
        for _ in range(_ATTEMPTS - 1):
            try:
                return original(*arguments)
            except RuntimeError:
                continue
        return original(*arguments)

    return read
