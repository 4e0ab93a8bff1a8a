"""`make delete` asks before it deletes; what it deletes is told in tests/e2e/test_other_models.py."""

import io

import pytest

from tools import delete_stack


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def deleted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stacks that were deleted."""
    names: list[str] = []
    monkeypatch.setattr(delete_stack, "described", lambda stack: (f"id of {stack}", {"bucket": "b"}))
    monkeypatch.setattr(delete_stack, "delete", names.append)
    return names


def test_without_a_terminal_it_says_how_to_confirm(deleted: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert delete_stack.main(["cars"]) == 1
    assert "error: nothing was deleted: there is no terminal" in (told := capsys.readouterr().err)
    assert "make delete STACK=cars YES=1, or --yes" in told
    assert deleted == []


@pytest.mark.parametrize(("typed", "expected"), [("cars\n", ["id of cars"]), ("\n", []), ("yes\n", []), ("", [])])
def test_at_a_terminal_it_asks_for_the_name(
    deleted: list[str], monkeypatch: pytest.MonkeyPatch, typed: str, expected: list[str]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    assert delete_stack.main(["cars"]) == (0 if expected else 1)
    assert deleted == expected


def test_what_was_confirmed_is_not_asked(deleted: list[str]) -> None:
    assert delete_stack.main(["cars", "--yes"]) == 0
    assert deleted == ["id of cars"]


def test_an_aws_that_does_not_answer_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    assert delete_stack.main(["cars"]) == 1
    assert 'error: Could not connect to the endpoint URL: "http://127.0.0.1:9/"' in capsys.readouterr().err
