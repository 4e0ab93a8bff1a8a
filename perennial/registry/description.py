"""The description of a version, which lists show: it names the run that made it."""

from __future__ import annotations

from perennial.runs.run_id import RUN_ID

_BEGINS = "run "


def of_run(run_id: str) -> str:
    """Return the description of a run's version, as the flow writes it (state "Register model")."""
    return f"{_BEGINS}{run_id}"


def run_of(description: str | None) -> str | None:
    """Return the run in a version's description; None where a person has registered it."""
    run_id = (description or "").removeprefix(_BEGINS)
    return run_id if description == of_run(run_id) and RUN_ID.fullmatch(run_id) else None
