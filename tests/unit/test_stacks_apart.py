"""A stack whose name goes on from another's is not reached by the other's policies, rules or lists."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from fnmatch import fnmatchcase as matches
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as some

from perennial.runs import configuration, naming
from perennial.runs.naming import StackNameError
from tools import cfn

ROOT = Path(__file__).parents[2]
TEMPLATE = cfn.load(ROOT / "template.yaml")
PARTITION, REGION, ACCOUNT = "aws", "eu-west-1", "123456789012"
RUN = naming.run_id(
    "arn:aws:states:eu-west-1:123456789012:execution:m:1", datetime(2026, 11, 20, 9, 34, 40, tzinfo=UTC)
)
JOB_GROUPS = ("ProcessingJobs", "TrainingJobs", "TransformJobs")
# Patterns without the stack's name, and why a policy has them. Everything else is the stack's own.
OF_THE_ACCOUNT = {
    r"\*": "actions that take no resource",
    r"arn:aws:ecr:.*": "SageMaker's images",
    r"arn:aws:events:.*:event-bus/default": "where a stack tells of its windows",
    r"arn:aws:application-autoscaling:.*:scalable-target/\*": "targets, whose numbers the service chooses",
    r"arn:aws:iam::123456789012:role/aws-service-role/.*": "the role of Application Auto Scaling, one an account",
    r"arn:aws:ec2:.*": "network interfaces, whose ids SageMaker chooses",
    r"arn:aws:iam::123456789012:root": "whom the key's policy names",
    r"arn:aws:events:.*:rule/StepFunctionsGetEventsForSageMaker\w+JobsRule": "rules that Step Functions makes",
    r"arn:aws:sagemaker:.*:endpoint(-config)?/\*": "to look at: what another endpoint uses is not deleted",
    r"arn:aws:cloudwatch:.*:alarm:\*": "to look at: alarms are listed together",
    r"arn:aws:logs:[\w-]+:\d+:\*": "what log delivery says of itself, word for word, to a key of the stack",
    r"arn:aws:logs:.*:log-group:/aws/sagemaker/\w+Jobs:\*": "SageMaker's groups and the names in them",
}


def substituted(text: str, stack: str) -> str:
    """What CloudFormation makes of a text; a resource of the stack becomes its logical id, which no name of AWS has."""
    known = {"Partition": PARTITION, "Region": REGION, "AccountId": ACCOUNT, "StackName": stack}
    text = re.sub(r"\$\{AWS::(\w+)\}", lambda match: known[match[1]], text)
    return re.sub(r"\$\{(\w+)[^}]*\}", r"<\1>", text)


def texts(value: Any) -> Iterator[str]:
    """Every text, also of Fn::Sub, below a part of the template; references are the stack's own by themselves."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, dict) and "Fn::Sub" in value:
        yield from texts(value["Fn::Sub"][0] if isinstance(value["Fn::Sub"], list) else value["Fn::Sub"])
    elif isinstance(value, dict) and not {"Ref", "Fn::GetAtt"} & set(value):
        for item in value.values():
            yield from texts(item)


def statements(value: Any) -> Iterator[dict[str, Any]]:
    """Every statement of every policy below a part of the template."""
    if isinstance(value, dict) and "Effect" in value:
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from statements(item)


ALLOWED = [body for body in statements(TEMPLATE["Resources"]) if body["Effect"] == "Allow"]
PARTS = [part for body in ALLOWED for name in ("Resource", "Condition") for part in texts(body.get(name, []))]
PATTERNS = sorted({part for part in PARTS if part == "*" or part.startswith("arn:")})
# Properties that name a resource, and the ARNs of what has the name.
NAMES = {
    "FunctionName": ["lambda:R:A:function:"],
    "LogGroupName": ["logs:R:A:log-group:"],
    "AlarmName": ["cloudwatch:R:A:alarm:"],
    "AliasName": ["kms:R:A:"],
    "Name": ["events:R:A:rule/"],
    "StateMachineName": ["states:R:A:stateMachine:", "states:R:A:execution:"],
}
NAMED = [
    (place.replace("R", REGION).replace("A", ACCOUNT), body["Properties"][name]["Fn::Sub"])
    for body in TEMPLATE["Resources"].values()
    for name, places in NAMES.items()
    for place in places
    if isinstance(body, dict)
    and isinstance(body["Properties"].get(name), dict)
    and "Ref" not in body["Properties"][name]
]


def made(stack: str) -> Iterator[str]:
    """The ARN of everything that a stack, and a run of it, makes under a name."""
    sagemaker, logs = (f"arn:{PARTITION}:{service}:{REGION}:{ACCOUNT}:" for service in ("sagemaker", "logs"))
    jobs = [naming.job_name(stack, RUN, step, retry) for step in naming.STEPS for retry in (0, 10)]
    yield from (f"{sagemaker}{kind}-job/{job}" for kind in ("processing", "training", "transform") for job in jobs)
    yield from (f"{sagemaker}{kind}/{naming.stem(stack, RUN)}" for kind in ("model", "endpoint-config"))
    yield f"{sagemaker}endpoint/{stack}"
    groups = [f"/aws/sagemaker/{group}" for group in JOB_GROUPS]
    yield from (f"{logs}log-group:{group}:log-stream:{job}/algo-1-1763631280" for group in groups for job in jobs)
    yield f"{logs}log-group:/aws/sagemaker/Endpoints/{stack}:log-stream:AllTraffic/i-0"
    yield f"arn:{PARTITION}:ssm:{REGION}:{ACCOUNT}:parameter/{stack}/model"
    yield f"arn:{PARTITION}:cloudformation:{REGION}:{ACCOUNT}:stack/{stack}/1"
    for place, name in NAMED:
        yield f"arn:{PARTITION}:{place}{substituted(name, stack)}"
        yield f"arn:{PARTITION}:{place}{substituted(name, stack)}:x"  # a log stream, an execution


def reached(stack: str, other: str) -> set[tuple[str, str]]:
    """(pattern, ARN): what patterns of one stack match of what another makes."""
    patterns = [substituted(pattern, stack) for pattern in PATTERNS]
    own = [pattern for pattern in patterns if not any(re.fullmatch(known, pattern) for known in OF_THE_ACCOUNT)]
    arns = list(made(other))
    return {(pattern, arn) for pattern in own for arn in arns if matches(arn, pattern)}


def test_everything_that_a_run_makes_is_matched_by_the_policies_of_its_own_stack() -> None:
    found = {arn for _, arn in reached("cars", "cars")}
    wanted = {arn for arn in made("cars") if re.search(r":sagemaker:.*/|log-stream:|:ssm:|:stack/", arn)}
    assert wanted <= found
    assert f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:cars-undelivered-events" in found


def test_a_pattern_that_does_not_name_the_stack_or_its_resource_is_a_known_one() -> None:
    anybodys = [
        pattern for pattern in PATTERNS if not re.search(r"\$\{(AWS::StackName|(?!AWS::)(?!Account)\w+)", pattern)
    ]
    for pattern in (substituted(pattern, "cars") for pattern in anybodys):
        assert any(re.fullmatch(known, pattern) for known in OF_THE_ACCOUNT), pattern
    assert len(anybodys) > len(OF_THE_ACCOUNT)


PAIRS = [
    ("cars", "cars-eu"), ("cars-eu", "cars"), ("cars", "carseu"), ("cars", "my-cars"), ("cars", "cars-2026"),
    ("cars", "cars-train-model"), ("cars", "cars-20261120093440"), ("c", "c-2026-forecasts-of-cars"),
    ("c", "c-20aaaaaaaaaaaa-bbbbbbb"), ("c", "c-2024-forecasts"), ("c", "c-20261120093440-train"),
]  # fmt: skip


@pytest.mark.parametrize(("stack", "other"), PAIRS)
def test_no_policy_of_a_stack_matches_what_another_makes(stack: str, other: str) -> None:
    assert naming.check_stack_name(stack)
    assert naming.check_stack_name(other)
    assert reached(stack, other) == set()
    assert naming.run_of(stack, naming.stem(other, RUN)) is None


@given(some.sampled_from(["c", "cars"]), some.from_regex(r"-?(20|2|0|a|-[20a])*", fullmatch=True))
@example("c", "-20261120093440-1a2b")
@example("c", "-20aaaaaaaaaaaa-bbbb-c")
def test_no_name_that_is_accepted_lets_a_stack_reach_another(stack: str, rest: str) -> None:
    assume(rest and len(stack + rest) <= naming.MAX_STACK_NAME)
    try:
        other = naming.check_stack_name(stack + rest)
    except StackNameError:
        return
    assert reached(stack, other) == set()


def test_a_name_that_goes_on_as_a_run_would_be_reached_and_is_therefore_refused() -> None:
    assert reached("c", "c-20261120093440-1a2b")
    with pytest.raises(StackNameError):
        naming.check_stack_name("c-20261120093440-1a2b")


@pytest.mark.parametrize("rule", cfn.resources(TEMPLATE, "AWS::Events::Rule"))
def test_no_rule_matches_by_a_part_of_a_stacks_name(rule: str) -> None:
    """Patterns name this stack's own bucket and state machine; below them data prefix and batch/incoming/ are one."""
    pattern = cfn.resources(TEMPLATE, "AWS::Events::Rule")[rule]["Properties"].get("EventPattern")
    if pattern:
        detail = pattern["detail"]
        if rule == "RetrainAlarmsRule":  # whole names, which whoever deploys has chosen
            assert detail["alarmName"] == {"Ref": "RetrainAlarms"}
            return
        if rule == "ImagePushedRule":
            assert detail["repository-name"] == [{"Ref": "OwnImageRepository"}]
            return
        names = (detail.get(key) for key in ("stateMachineArn", "EndpointName", "ModelPackageGroupName"))
        (named,) = next(filter(None, names), None) or detail["bucket"]["name"]
        bucket = {"Fn::If": ["HasDataBucket", {"Ref": "DataBucket"}, {"Ref": "Bucket"}]}
        own = [{"Ref": name} for name in ("TrainModel", "MonitorModel", "ScoreBatch", "AWS::StackName", "Bucket")]
        assert named in (*own, bucket)


def test_alarms_of_this_stack_alone_may_use_topic_and_key() -> None:
    alarms = [body["Properties"]["AlarmName"] for body in cfn.resources(TEMPLATE, "AWS::CloudWatch::Alarm").values()]
    allowed = [
        body["Condition"]["ArnEquals"]["aws:SourceArn"] for body in ALLOWED if body.get("Sid") == "AlarmsPublish"
    ]
    assert len(allowed) == 2
    for arns in allowed:
        listed = [arn["Fn::Sub"].rpartition(":alarm:")[2] for arn in arns]
        assert sorted(listed) == sorted(alarm["Fn::Sub"] for alarm in alarms)


def test_data_are_in_none_of_the_folders_that_a_stack_has_of_its_own() -> None:
    """Who may drop data might else write code, results or records of deployments."""
    text = "".join((ROOT / name).read_text() for name in ("template.yaml", "delivery/deployer.yaml"))
    folders = set(re.findall(r"(?:Bucket\.Arn\}|StackName\}-bucket-\*)/([a-z-]+/)", text))
    assert {"code/", "deployments/"} < folders
    assert folders <= set(configuration.RESERVED_PREFIXES)
