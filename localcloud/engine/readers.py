"""Readers that walk a plain dictionary of MiniStack's while another thread may add to it: they begin again.

Requests are answered on one thread; functions, state machines and stacks work on others. Python ends an iteration over
a dictionary that grows with a RuntimeError, which would be a 500. Nearly all of MiniStack walks copies; these do not:

* a role's policies, which a stack may be adding to, for every request under that role;
* the streams of a log group, of which every function and state machine that runs adds its own.
"""

from typing import Any

from localcloud.engine.seams import replace

_ATTEMPTS = 10
_READERS = (
    ("core.iam_evaluator", "_gather_role_policies"),
    ("services.cloudwatch_logs", "_collect_query_records"),
    ("services.cloudwatch_logs", "_describe_log_groups"),
)


def register() -> None:
    """Replace the seams. MiniStack must be importable (the environment is set)."""
    for module, name in _READERS:
        replace(module, name, _make_patient)


def _make_patient(original: Any) -> Any:
    def read(*arguments: Any) -> Any:
        for _ in range(_ATTEMPTS - 1):
            try:
                return original(*arguments)
            except RuntimeError:
                continue
        return original(*arguments)

    return read
