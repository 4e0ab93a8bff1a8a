"""`perennial delete` asks before it deletes; what it deletes is told in tests/e2e/test_other_models.py."""

import json
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError

from perennial_cli import delete_stack
from tests.command import perennial


@pytest.fixture(autouse=True)
def deleted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stacks that were deleted."""
    names: list[str] = []
    monkeypatch.setattr(delete_stack, "described", lambda stack: (f"id of {stack}", {"bucket": "b"}))
    monkeypatch.setattr(delete_stack, "delete", names.append)
    return names


def test_without_a_terminal_it_says_how_to_confirm(aws, deleted: list[str]) -> None:
    ended = perennial("delete", "cars")
    assert ended.exit_code == 1
    assert "error: nothing was deleted: there is no terminal" in ended.stderr
    assert "To delete cars all the same: --yes" in ended.stderr
    assert deleted == []


@pytest.mark.parametrize(("typed", "expected"), [("cars\n", ["id of cars"]), ("\n", []), ("yes\n", [])])
def test_at_a_terminal_it_asks_for_the_name(
    aws, deleted: list[str], monkeypatch: pytest.MonkeyPatch, typed: str, expected: list[str]
) -> None:
    monkeypatch.setattr("perennial_cli.commands.stacks.is_terminal", lambda: True)
    ended = perennial("delete", "cars", typed=typed)
    assert "Delete cars in AWS, account 123456789012, region eu-west-1 and what serves with it?" in ended.stderr
    assert ended.exit_code == (0 if expected else 1)
    assert deleted == expected


def test_what_was_confirmed_is_not_asked(aws, deleted: list[str]) -> None:
    ended = perennial("delete", "cars", "--yes")
    assert (ended.exit_code, deleted) == (0, ["id of cars"])
    assert ended.stdout.splitlines()[:2] == ["deleted stack cars", "kept: bucket b"]


def test_an_aws_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.setenv(name, "us-east-1")
    ended = perennial("delete", "cars")
    assert ended.exit_code == 1
    assert 'error: Could not connect to the endpoint URL: "http://127.0.0.1:9/"' in ended.stderr


def test_what_was_deleted_is_json_for_machines(aws, deleted: list[str]) -> None:
    ended = perennial("delete", "cars", "--yes", "--json")
    assert json.loads(ended.stdout) == {"stack": "cars", "deleted": True, "kept": {"bucket": "b"}}


@pytest.mark.parametrize("may_list", [True, False])
def test_the_feature_groups_of_a_stack_stay_and_are_named(monkeypatch: pytest.MonkeyPatch, may_list: bool) -> None:
    monkeypatch.undo()
    groups = [{"FeatureGroupName": name} for name in ("cars_sales", "used-cars_sales", "cars_owners")]
    sagemaker = Mock(list_feature_groups=Mock(return_value={"FeatureGroupSummaries": groups}))
    if not may_list:
        sagemaker.list_feature_groups.side_effect = ClientError({"Error": {"Code": "AccessDeniedException"}}, "list")
    monkeypatch.setattr("boto3.client", lambda _: sagemaker)
    monkeypatch.setattr("perennial_cli.stacks.find", lambda _: {"StackId": "id"})
    monkeypatch.setattr(delete_stack, "resources", lambda _: [])
    kept = {"feature group cars_owners": "", "feature group cars_sales": ""} if may_list else {}
    assert delete_stack.described("cars") == ("id", kept)
