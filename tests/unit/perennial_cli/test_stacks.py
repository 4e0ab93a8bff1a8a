"""A stack that is not there is told with those that are."""

import pytest
from botocore.exceptions import ClientError

from perennial_cli import notebooks, stacks
from perennial_cli.stacks import Stack
from tests.command import perennial, says

SAID = "Stack with id perennial-telco does not exist"
MISSING = (
    400,
    (
        '<ErrorResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/"><Error><Type>Sender</Type>'
        f"<Code>ValidationError</Code><Message>{SAID}</Message></Error></ErrorResponse>"
    ),
)


def listed(*names: str, parameter: str = "ModelName") -> tuple[int, str]:
    """The answer of DescribeStacks without a name."""
    members = "".join(
        f"<member><StackName>{name}</StackName><CreationTime>2026-11-20T00:00:00Z</CreationTime>"
        f"<StackStatus>ROLLBACK_COMPLETE</StackStatus><Parameters><member><ParameterKey>{parameter}</ParameterKey>"
        "<ParameterValue>x</ParameterValue></member></Parameters></member>"
        for name in names
    )
    return 200, (
        '<DescribeStacksResponse xmlns="http://cloudformation.amazonaws.com/doc/2010-05-15/"><DescribeStacksResult>'
        f"<Stacks>{members}</Stacks></DescribeStacksResult></DescribeStacksResponse>"
    )


@pytest.mark.parametrize(
    ("others", "told"),
    [
        (listed("app-ratings", "perennial-telco-churn"), "There are: perennial-telco-churn, app-ratings"),
        (listed(*(f"s{n:02}" for n in range(12))), f"There are: {', '.join(f's{n:02}' for n in range(10))} and 2 more"),
        (listed("somebody-elses", parameter="Vpc"), "There is no stack of Perennial here"),
        (listed(), "There is no stack of Perennial here"),
    ],
)
def test_a_missing_stack_is_told_with_those_that_are_there(answers, others, told):
    answers("cloudformation", "DescribeStacks", MISSING, others)
    with pytest.raises(stacks.NoStackError) as caught:
        stacks.find("perennial-telco")
    assert str(caught.value) == f"there is no stack perennial-telco: {SAID}. {told}"


def test_what_aws_refuses_is_not_a_missing_stack(answers):
    answers("cloudformation", "DescribeStacks", (MISSING[0], MISSING[1].replace("ValidationError", "AccessDenied")))
    with pytest.raises(ClientError, match="AccessDenied"):
        stacks.find("perennial-telco")
    answers("cloudformation", "DescribeStacks", (MISSING[0], MISSING[1].replace("ValidationError", "AccessDenied")))
    with pytest.raises(ClientError, match="AccessDenied"):
        stacks.model_of("perennial-telco")


@pytest.mark.parametrize(
    ("answer", "model"),
    [(listed("perennial-x"), "x"), (MISSING, None), (listed("perennial-x", parameter="Vpc"), None)],
    ids=["ours", "missing", "somebody's"],
)
def test_the_model_of_a_stack_is_asked_of_that_stack_alone(answers, answer, model):
    answers("cloudformation", "DescribeStacks", answer)
    assert stacks.model_of("perennial-x") == model


def whole(name: str) -> tuple[int, str]:
    """The answer of DescribeStacks of one stack that is deployed whole."""
    status, body = listed(name)
    output = "<member><OutputKey>StateMachineArn</OutputKey><OutputValue>arn:aws:states:1</OutputValue></member>"
    return status, body.replace("</Parameters>", f"</Parameters><Outputs>{output}</Outputs>")


def test_the_only_stack_needs_no_name(answers):
    answers("cloudformation", "DescribeStacks", whole("perennial-cars"))
    stack = stacks.chosen(None)
    assert (stack.name, stack.model, stack.state_machine_arn) == ("perennial-cars", "x", "arn:aws:states:1")


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        (listed(), "there is no stack of Perennial here; `perennial deploy MODEL` makes one"),
        (listed("b", "a"), "there are several stacks: a, b. Name one: --stack NAME"),
        (listed("half"), r"the stack half \(ROLLBACK_COMPLETE\) is none of Perennial, or not deployed whole"),
    ],
)
def test_of_none_several_or_half_a_stack_it_is_said_what_to_do(answers, others, expected):
    answers("cloudformation", "DescribeStacks", others)
    with pytest.raises(stacks.NoStackError, match=expected):
        stacks.chosen(None)


def test_a_stack_says_when_its_endpoint_is_there() -> None:
    days = {"AwakeTimeZone": "UTC", "AwakeDays": "MON", "WakeBy": "clock"}
    assert Stack("one", {}, {"AwakeHours": "", **days}).hours is None
    assert Stack("one", {}, {}).hours is None, "one that was deployed before there were hours"
    assert str(Stack("one", {}, {"AwakeHours": "07:00-19:00", **days}).hours) == "07:00-19:00 UTC on MON"


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_that_of_no_stack(answers, name):
    """CloudFormation describes all stacks of the account then, of which the first is somebody's."""
    answers("cloudformation", "DescribeStacks", listed("somebody-elses", "cars"))
    with pytest.raises(
        stacks.NoStackError, match=r"the name of the stack is empty; expected that of one\. There are: "
    ):
        stacks.find(name)


def test_only_a_stack_of_perennial_is_chosen(answers):
    answers("cloudformation", "DescribeStacks", listed("aws-sam-cli-managed-default", parameter="Vpc"), listed("cars"))
    with pytest.raises(
        stacks.NoStackError, match=r"none of Perennial: it has no parameter ModelName\. There are: cars"
    ):
        stacks.find("aws-sam-cli-managed-default")


def test_a_stack_that_was_only_planned_can_be_found_to_be_deleted(answers):
    status, body = listed("cars", parameter="")
    answers("cloudformation", "DescribeStacks", (status, body.replace("ROLLBACK_COMPLETE", "REVIEW_IN_PROGRESS")))
    assert stacks.find("cars")["StackName"] == "cars"
    with pytest.raises(stacks.NoStackError, match="or not deployed whole"):
        stacks.chosen("cars")


@pytest.mark.parametrize(
    "words",
    [
        ("runs", "--stack", ""), ("predict", "{}", "-s", " "), ("explain", "--stack="), ("smoke", "--stack", ""),
        ("deploy", "used-cars", "--stack", ""), ("promote", "--from-stack", ""), ("promote", "--to-stack", ""),
        ("drop", __file__, "--key", ""), ("score", __file__, "--key", ""),
    ],
)  # fmt: skip
def test_an_empty_name_is_wrong_use_and_not_the_default(words):
    ended = perennial(*words)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert says(ended, "got an empty text; expected a name")


def test_an_empty_variable_of_the_environment_is_as_if_it_were_not_there(answers, monkeypatch):
    monkeypatch.setenv("PERENNIAL_STACK", "")
    answers("cloudformation", "DescribeStacks", whole("perennial-cars"))
    assert notebooks.stack().name == "perennial-cars"
    answers("cloudformation", "DescribeStacks", listed("b", "a"))
    assert "there are several stacks: a, b" in perennial("runs").stderr
