"""`perennial smoke`: a run that ends well and an endpoint that answers; anything else fails."""

import json
from pathlib import Path
from typing import Any

import pytest

from perennial_cli.account import Account
from perennial_cli.console import CommandError
from perennial_cli.predictions import Answer, Record
from perennial_cli.stacks import Stack
from tests.command import perennial, says

EXAMPLE = {"mileage": 1000}


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """How the run ends, and what the endpoint does: the stack is not there."""
    planned: dict[str, Any] = {"status": "Succeeded", "refusal": None, "serving": "20261120000000-0001"}
    stack = Stack("cars-staging", {"EndpointName": "cars-staging"}, {})
    account = Account("123456789012", "us-east-1", None)

    def answers(stack: Stack, records: list[Record]) -> list[Answer]:
        if planned["refusal"]:
            raise CommandError(planned["refusal"])
        return [Answer(one, {"score": 7.5}) for one in records if one.features == EXAMPLE]

    monkeypatch.setattr("perennial_cli.commands.stacks.say_whom", lambda: account)
    monkeypatch.setattr("perennial_cli.stacks.chosen", lambda name: {"used-cars-staging": stack}[name])
    monkeypatch.setattr("perennial_cli.stacks.exported", lambda name, what: planned["serving"] if what == "run" else "")
    monkeypatch.setattr("perennial_cli.runs.start", lambda stack, wanted: wanted["Trigger"]["Type"])
    monkeypatch.setattr("perennial_cli.following.follow", lambda arn: {"executionArn": arn})
    outcome = {"run_id": "20261129101500-1a2b", "failure": {"cause": "no machine", "state": "Train"}}
    monkeypatch.setattr("perennial_cli.following.outcome", lambda stack, end: {**outcome, "status": planned["status"]})
    monkeypatch.setattr("perennial_cli.serving_api.example", lambda stack: EXAMPLE)
    monkeypatch.setattr("perennial_cli.predictions.answers", answers)
    return planned


@pytest.mark.usefixtures("ends")
def test_a_run_and_an_answer_are_what_it_takes() -> None:
    ended = perennial("smoke", "--env", "staging")
    assert (ended.exit_code, ended.stdout.splitlines()) == (
        0,
        [
            "run       20261129101500-1a2b: Succeeded",
            f"asked     {json.dumps(EXAMPLE)}",
            'answered  {"score": 7.5}',
        ],
    )


def test_the_run_that_was_promoted_serves_and_answers(ends: dict[str, Any], tmp_path: Path) -> None:
    written = tmp_path / "promoted"
    written.write_text("run=20261120000000-0001\n")
    ends["status"] = "Failed"  # none is started
    ended = perennial("smoke", "--env", "staging", "--serves", f"@{written}")
    assert (ended.exit_code, ended.stdout.splitlines()[0]) == (0, "serves    20261120000000-0001")
    assert '{"score": 7.5}' in ended.stdout


@pytest.mark.parametrize(
    ("serving", "why"),
    [("20261128000000-00ff", "that of run 20261128000000-00ff does"), (None, "none does")],
)
def test_where_another_run_serves_than_the_one_that_was_promoted_it_fails(
    ends: dict[str, Any], serving: str | None, why: str
) -> None:
    ends["serving"] = serving
    ended = perennial("smoke", "--env", "staging", "--serves", "20261120000000-0001")
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert says(ended, f"the model of run 20261120000000-0001 does not serve in cars-staging; {why}")


@pytest.mark.parametrize(
    ("text", "why"),
    [(None, "there is no file promoted"), ("", "promoted does not say run=ID alone"), ("run=a\nrun=b\n", "ID alone")],
)
@pytest.mark.parametrize("words", [("smoke", "--serves"), ("promote",)])
def test_a_file_that_names_no_run_is_wrong_use(
    words: tuple[str, ...], text: str | None, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("promoted").write_text(text)
    ended = perennial(*words, "@promoted")
    assert (ended.exit_code, says(ended, why)) == (2, True)


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ("Failed", "in state 'Train': no machine"),
        ("Rejected", "no machine"),
        ("TimedOut", "it was over its time in state 'Train'"),
    ],
)
def test_a_run_that_ends_badly_fails_it_and_says_why(ends: dict[str, Any], status: str, why: str) -> None:
    ends["status"] = status
    ended = perennial("smoke", "--env", "staging")
    assert (ended.exit_code, ended.stdout) == (
        1,
        f"run      20261129101500-1a2b: {status}\nbecause  {why}\n",
    )


def test_without_data_nothing_was_tried(ends: dict[str, Any]) -> None:
    ends["status"] = "NoData"
    ended = perennial("smoke", "--env", "staging")
    assert (ended.exit_code, "cars-staging has no data to be tried on" in ended.stderr) == (1, True)


def test_an_endpoint_that_refuses_fails_it(ends: dict[str, Any]) -> None:
    ends["refusal"] = "the endpoint cars-staging refuses records 1 and on: no"
    ended = perennial("smoke", "--env", "staging")
    assert (ended.exit_code, "refuses records 1" in ended.stderr, "answered" in ended.stdout) == (1, True, False)
