"""A stack that is not there is told with those that are."""

import pytest
from botocore.exceptions import ClientError

from perennial_cli import stacks
from perennial_cli.stacks import Stack

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
