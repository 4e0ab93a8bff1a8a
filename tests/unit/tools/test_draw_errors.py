"""The page of errors is what code and state machines say."""

import json
from pathlib import Path

import pytest

from tools import draw_errors, lint_state_machines
from tools.draw_flow import ROOT


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with a function that a state calls, a job's script, and a state machine."""
    for folder in ("functions/ask_one", "processing", "perennial", "statemachines"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "functions/ask_one/app.py").write_text(
        '"""Ask.\n\nRaises     WrongError: permanent. BusyError: transient.\n"""\n'
        'class BusyError(Exception):\n    """It had no time; later it may."""\n'
    )
    (tmp_path / "perennial/errors.py").write_text(
        'class WrongError(ValueError):\n    """It is wrong."""\n'
        'class VeryWrongError(WrongError):\n    """It is very wrong."""\n'
        'class RowError(ValueError):\n    """A row is no row."""\n'
        'class InnerError(ValueError):\n    """Nobody sees it."""\n'
    )
    (tmp_path / "processing/read_rows.py").write_text("try:\n    pass\nexcept (errors.RowError, OSError):\n    pass\n")
    retry = {"ErrorEquals": ["BusyError"], "IntervalSeconds": 2, "MaxAttempts": 6, "MaxDelaySeconds": 60}
    ask = {"Type": "Task", "Arguments": {"FunctionName": "${AskOneFunctionArn}"}, "Retry": [retry], "Next": "Read"}
    states = {
        "Ask": ask,
        "Read": {"Type": "Task", "Arguments": {"Entrypoint": ["unpack.py", "read_rows"]}, "Next": "No"},
        "No": {"Type": "Fail", "Error": "ModelAccuracyTooLow"},
        "As it was": {"Type": "Fail", "Error": "{% $error %}"},
    }
    (tmp_path / "statemachines/small.asl.json").write_text(json.dumps({"StartAt": "Ask", "States": states}))
    return tmp_path


def test_errors_stand_where_they_come_from_below_what_they_extend(project: Path) -> None:
    failed, rejected, none, tried = draw_errors.page(project).split("\n## ")[1:]
    assert [" ".join(line.split()) for line in failed.splitlines()[3:-1]] == [
        "functions/ask_one (Ask)",
        "├── WrongError It is wrong",
        "│ └── VeryWrongError It is very wrong",
        "└── BusyError It had no time (tried again first)",
        "processing/read_rows.py (Read)",
        "└── RowError A row is no row",
    ]
    assert rejected.startswith('Rejected\n\n```text\nstate "No"\n└── ModelAccuracyTooLow\n')
    assert "└── InnerError" in none
    assert "| `BusyError` | 6 | 2 to 60 s | Ask |" in tried


def test_the_page_is_that_of_the_code_and_names_every_error() -> None:
    assert draw_errors.main(["--check"]) == 0
    text = draw_errors.page(ROOT)
    assert [name for name in lint_state_machines.own_errors(ROOT) if f"── {name} " not in text] == []
