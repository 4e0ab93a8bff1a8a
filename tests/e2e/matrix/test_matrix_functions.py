"""The matrix, line Functions: each one throws, is over its time, is throttled, and has its answer lost."""

import pytest

from tests.e2e.matrix.trips import Case, Fault, Outcomes, fault, new_model_serves, parameters, prove

pytestmark = pytest.mark.xdist_group("matrix-trips")

STATES = {
    "resolve_configuration": "Resolve configuration",
    "snapshot_data": "Snapshot data",
    "seal_artifact": "Seal preprocessor",
    "query_training_results": "Query training results",
    "reserve_deployment": "Reserve deployment",
    "check_endpoint": "Check endpoint",
    "verify_endpoint": "Verify endpoint",
    "clean_up": "Clean up",
}


def lost(function: str, **more: int) -> Fault:
    return fault(f"function:{function}", "error", error="Lambda.ServiceException", after=True, times=1, **more)


def case(function: str, what: str, effect: str, error: str, text: str) -> Case:
    late = function == "clean_up"
    return Case(
        "Functions",
        what,
        STATES[function],
        (fault(f"function:{function}", effect, **({"error": error, "message": text} if effect == "error" else {})),),
        error=error,
        says=(f"in state '{STATES[function]}'", text, *(("serves",) if late else ())),
        advises="next run" if late else "tart a run",
        serves=new_model_serves if late else None,
    )


def survived(what: str, *faults: Fault) -> Case:
    return Case("Functions", what, "every state", faults, status="SUCCEEDED", says=("Model in service",))


CASES = [
    *(case(name, "it throws", "error", "KeyError", "'no such key'") for name in STATES),
    *(case(name, "it is over its time", "timeout", "Sandbox.Timedout", "Task timed out after") for name in STATES),
    Case(
        "Functions",
        "it is throttled for good",
        "Snapshot data",
        (fault("function:snapshot_data", "throttle"),),
        error="Lambda.TooManyRequestsException",
        says=("in state 'Snapshot data'", "Rate Exceeded."),
        advises="tart a run",
    ),
    survived(
        "it is throttled, then not",
        *(fault(f"function:{name}", "throttle", times=2) for name in [*STATES, "notify_run"]),
        fault("function:check_endpoint", "throttle", skip=1, times=1),  # the state "Check deployment"
        fault("function:seal_artifact", "throttle", skip=1, times=1),  # the state "Seal model"
    ),
    survived(
        "it is over its time, then not",
        *(fault(f"function:{name}", "timeout", times=1) for name in STATES),
        fault("function:check_endpoint", "timeout", skip=1, times=1),  # the state "Check deployment"
        fault("function:seal_artifact", "timeout", skip=1, times=1),  # the state "Seal model"
    ),
    Case(
        "Functions",
        "it throws, and once its answer is lost",
        "notify_run",
        (
            fault("function:resolve_configuration", "error", error="KeyError", message="'no such key'"),
            fault("function:notify_run", "error", error="KeyError", times=1),
            fault("function:notify_run", "timeout", after=True, times=1),
        ),
        error="KeyError",
        says=("in state 'Resolve configuration'",),
        advises="start a run",
    ),
    survived(
        "its answers are lost, and it is asked again",
        *(lost(name) for name in STATES),
        lost("check_endpoint", skip=1),  # the state "Check deployment"
        lost("seal_artifact", skip=1),  # the state "Seal model"
    ),
]


@parameters(CASES)
def test_function_that_goes_wrong(case: Case, outcomes: Outcomes) -> None:
    prove(outcomes[case])
