"""What docs/operate.md and docs/errors.md have somebody do, and whether the policies for operators let them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from localcloud.engine.permissions.decisions import decide, request, statements
from tests.unit import test_template as template

ROOT = Path(__file__).parents[2]
PAGES = ("operate.md", "errors.md")
LOOKING = ("OperatorPolicy", "OperatorLogsPolicy", "JobLogsPolicy")
ACTING = (*LOOKING, "InterventionPolicy")
LONGEST_POLICY = 6144  # IAM, "Quotas": characters of a managed policy, without blanks
RUN = "20261120093440-1a2b"
BUCKET = "cars-bucket"
OF_AWS = {"AWS::Partition": "aws", "AWS::Region": "eu-west-1", "AWS::AccountId": "123456789012"}
STACK = {
    **OF_AWS,
    "AWS::URLSuffix": "amazonaws.com",
    "AWS::StackName": "cars",
    "AWS::StackId": template.OF_THE_STACK["AWS::StackId"],
}
KEY = "arn:aws:kms:eu-west-1:123456789012:key/1"
THROUGH_S3 = {"kms:ViaService": "s3.eu-west-1.amazonaws.com"}

Asked = tuple[str, str, dict[str, str]]
"""An action, its resource, and what the request says besides."""


def of(service: str, action: str, resource: str = "*", **context: str) -> Asked:
    arn = resource if resource == "*" else f"arn:aws:{service}:eu-west-1:123456789012:{resource}"
    return f"{service}:{action}", arn, context


def machine(kind: str, name: str = "train-model") -> str:
    return f"arn:aws:states:eu-west-1:123456789012:{kind}:cars-{name}"


def through_states(name: str = "train-model") -> dict[str, str]:
    context = {"kms:EncryptionContext:aws:states:stateMachineArn": machine("stateMachine", name)}
    return {**context, "kms:ViaService": "states.eu-west-1.amazonaws.com"}


def read(key: str) -> list[Asked]:
    return [("s3:GetObject", f"arn:aws:s3:::{BUCKET}/{key}", {}), ("kms:Decrypt", KEY, THROUGH_S3)]


def listed(action: str, prefix: str) -> Asked:
    return f"s3:{action}", f"arn:aws:s3:::{BUCKET}", {"s3:prefix": prefix}


def execution(action: str, name: str = "train-model") -> Asked:
    return f"states:{action}", f"{machine('execution', name)}:1", {}


OUTPUTS = of("cloudformation", "DescribeStacks", "stack/cars/1")
NAMES = [
    of("ssm", action, f"parameter/cars/{name}") for action in ("GetParameter", "GetParameters") for name in ("run",)
]
RECORD = read(f"runs/{RUN}/run.json")
CODE = read("code/0123456789abcdef/code.zip")
FIND_RUNS = [OUTPUTS, listed("ListBucket", "runs/"), *RECORD]
LIST_VERSIONS = of("sagemaker", "ListModelPackages")
VERSION = of("sagemaker", "DescribeModelPackage", "model-package/cars/3")
ANSWER = [OUTPUTS, LIST_VERSIONS, of("sagemaker", "UpdateModelPackage", "model-package/cars/3"), *NAMES]
START = [
    ("states:StartExecution", machine("stateMachine"), {}),
    *((f"kms:{action}", KEY, through_states()) for action in ("Decrypt", "GenerateDataKey")),
]
FOLLOW = [*map(execution, ("DescribeExecution", "GetExecutionHistory")), ("kms:Decrypt", KEY, through_states())]
JOBS = [
    of("sagemaker", f"Describe{kind}Job", f"{kind.lower()}-job/cars-{RUN}-step-0")
    for kind in ("Training", "Processing", "Transform")
]
SERVING = [
    of("sagemaker", "DescribeEndpoint", "endpoint/cars"),
    of("sagemaker", "DescribeEndpointConfig", f"endpoint-config/cars-{RUN}"),
    of("sagemaker", "DescribeModel", f"model/cars-{RUN}"),
]

# Rules that start an execution.
STARTING = [
    rule["Name"]["Fn::Sub"].removeprefix("${AWS::StackName}-")
    for rule in template.RULES.values()
    if any(target["Arn"]["Fn::GetAtt"][0] in template.MACHINES for target in rule["Targets"])
]

# What the commands of the pages ask AWS for, by how they begin, and the policies that let them.
COMMANDS: dict[str, tuple[Sequence[str], list[Asked]]] = {
    "perennial runs": (LOOKING, [*FIND_RUNS, ("states:ListExecutions", machine("stateMachine"), {}), LIST_VERSIONS]),
    "perennial show": (LOOKING, [*FIND_RUNS, LIST_VERSIONS]),
    "perennial follow": (LOOKING, [*FIND_RUNS, *FOLLOW]),
    "perennial versions": (LOOKING, [OUTPUTS, LIST_VERSIONS, VERSION, *NAMES]),
    "perennial compare": (
        LOOKING,
        [*FIND_RUNS, LIST_VERSIONS, VERSION, *read(f"runs/{RUN}/baselines/attribution/analysis.json"),
         *read(f"runs/{RUN}/approval.json")],
    ),
    "perennial cost": (LOOKING, [*FIND_RUNS, *CODE, *JOBS]),
    "make explain": (LOOKING, [OUTPUTS, *NAMES, *SERVING, *RECORD]),
    "aws sagemaker describe-endpoint": (LOOKING, [SERVING[0]]),
    "aws sagemaker list-endpoint-configs": (LOOKING, [of("sagemaker", "ListEndpointConfigs")]),
    "aws sagemaker describe-model-package": (LOOKING, [VERSION]),
    "aws sagemaker list-model-packages": (LOOKING, [LIST_VERSIONS]),
    "aws s3 cp": (LOOKING, RECORD),
    "aws s3api list-object-versions": (LOOKING, [listed("ListBucketVersions", f"runs/{RUN}/serving/model.tar.gz")]),
    "aws application-autoscaling describe-scaling-activities": (
        LOOKING, [of("application-autoscaling", "DescribeScalingActivities")],
    ),
    "perennial approve": (ACTING, ANSWER),
    "perennial reject": (ACTING, ANSWER),
    "perennial rollback": (ACTING, ANSWER),
    "perennial reproduce": (ACTING, [*FIND_RUNS, *CODE, *START]),
    "perennial predict": (ACTING, [OUTPUTS, *NAMES, *CODE, of("sagemaker", "InvokeEndpoint", "endpoint/cars")]),
    "aws sagemaker update-model-package": (ACTING, [ANSWER[2]]),
    "aws stepfunctions start-execution": (ACTING, START),
    "aws s3 rm": (ACTING, [("s3:DeleteObject", f"arn:aws:s3:::{BUCKET}/raw/readme.txt", {})]),
    "aws events disable-rule": (
        ACTING, [of("events", "DisableRule", f"rule/cars-{rule}") for rule in STARTING],
    ),
    "aws events enable-rule": (
        ACTING, [of("events", "EnableRule", f"rule/cars-{rule}") for rule in STARTING],
    ),
    "aws sagemaker update-endpoint": (
        ACTING,
        [
            of("sagemaker", "UpdateEndpoint", "endpoint/cars"),
            of("sagemaker", "UpdateEndpoint", f"endpoint-config/cars-{RUN}"),
            ("kms:CreateGrant", KEY, {"kms:GrantIsForAWSResource": "true"}),
        ],
    ),
    "aws sagemaker update-endpoint-weights-and-capacities": (
        ACTING, [of("sagemaker", "UpdateEndpointWeightsAndCapacities", "endpoint/cars")],
    ),
    "aws sagemaker delete-endpoint": (ACTING, [of("sagemaker", "DeleteEndpoint", "endpoint/cars")]),
    "aws stepfunctions stop-execution": (LOOKING, [execution("StopExecution")]),
    "aws ssm put-parameter": (
        ACTING,
        [
            of("ssm", "PutParameter", f"parameter/cars/{name}")
            for name in (
                *("model", "endpoint-config", "model-package", "run"),
                *(f"{kind}-baseline" for kind in ("data-quality", "model-quality", "bias", "attribution")),
            )
        ],
    ),
    **{
        f"aws logs filter-log-events {group}": (LOOKING, [of("logs", "FilterLogEvents", f"log-group:{group}:*")])
        for group in (
            *(group.replace("${AWS::StackName}", "cars") for group in (
                body["LogGroupName"]["Fn::Sub"] for body in template.of_type("AWS::Logs::LogGroup").values()
            )),
            "/aws/sagemaker/Endpoints/cars",
        )
    },
    **{
        f"aws logs get-log-events {kind}": (
            LOOKING,
            [
                of("logs", "DescribeLogStreams", f"log-group:/aws/sagemaker/{kind}:*"),
                of("logs", "GetLogEvents", f"log-group:/aws/sagemaker/{kind}:log-stream:cars-{RUN}-step-0/algo-1"),
            ],
        )
        for kind in ("ProcessingJobs", "TrainingJobs", "TransformJobs")
    },
}  # fmt: skip
# What is nobody's who looks after one stack, and who has it.
OTHERS = {
    "perennial promote": "the pipelines (docs/environments.md)",
    "make erase": "who may delete for good (docs/deploy-to-aws.md)",
    "make copy-data": "who owns both buckets (docs/deploy-to-aws.md)",
    "aws s3 rm --recursive": "who deletes what early versions of the project have left",
    "aws s3 sync": "nobody: the page warns of it",
    "aws s3 cp --recursive": "nobody: the page warns of it",
    "python -m localcloud": "the laptop",
    "python -m tools.draw_errors": "the laptop",
}


def commands() -> Iterator[str]:
    """Yield all commands of the pages."""
    for page in PAGES:
        text = (ROOT / "docs" / page).read_text()
        yield from (
            " ".join(found[1].split()) for found in re.finditer(r"`((?:perennial|aws|make|python -m) [^`]*)`", text)
        )
        for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL):
            yield from (
                found[1] for found in re.finditer(r"(?m)(?:^ *|\$\()((?:perennial|aws|make|python) .*)$", block)
            )


def known(command: str) -> str | None:
    """The longest beginning of a command that is known here."""
    return max((one for one in (*COMMANDS, *OTHERS) if f"{command} ".startswith(f"{one} ")), key=len, default=None)


def document(policy: str, given: dict[str, str]) -> dict[str, Any]:
    """A policy as CloudFormation makes it."""

    def made(value: Any) -> Any:
        value = template.rendered(value, given)
        if isinstance(value, dict):
            return {name: made(one) for name, one in value.items()}
        return [made(one) for one in value] if isinstance(value, list) else value

    return dict(made(template.properties(policy)["PolicyDocument"]))


def stack(**named: str) -> dict[str, str]:
    machines = {name: machine("stateMachine", word) for name, word in MACHINES.items()}
    resources = {"Bucket": BUCKET, "Bucket.Arn": f"arn:aws:s3:::{BUCKET}", "Key.Arn": KEY, **machines}
    queue = {"UndeliveredEvents.Arn": "arn:aws:sqs:eu-west-1:123456789012:cars-UndeliveredEvents-1"}
    return {**template.parameter_values(), **STACK, **resources, **queue, **named}


MACHINES = {"TrainModel": "train-model", "MonitorModel": "monitor-model", "ScoreBatch": "score-batch"}


@pytest.mark.parametrize("command", sorted(set(commands())), ids=lambda text: text[:60])
def test_the_pages_have_no_command_of_which_nobody_knows_who_may_do_it(command: str) -> None:
    assert known(command)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_pages_works_with_the_policies_of_operators(command: str) -> None:
    policies, asked = COMMANDS[command]
    documents = [statements(json.dumps(document(policy, stack()))) for policy in policies]
    caller = "arn:aws:sts::123456789012:assumed-role/Operators/ada"
    denied = [decide(request(caller, *one), documents, None) for one in asked]
    assert not any(denied), [str(one.text) for one in denied if one]


@pytest.mark.parametrize("policy", list(template.of_type("AWS::IAM::ManagedPolicy")))
def test_a_managed_policy_is_not_longer_than_iam_takes(policy: str) -> None:
    arns = {f"{name}{end}": "a" * 128 for name in template.RESOURCES for end in ("", ".Arn", ".RootResourceId")}
    given = {**template.parameter_values(**template.AS_LONG_AS_ALLOWED), **arns, **template.OF_THE_STACK}
    # Its name is the stack's, "bucket" and twelve characters.
    given |= {"Bucket.Arn": f"arn:aws-iso-f:s3:::{'b' * 46}", **dict.fromkeys(MACHINES, given["TrainModel"])}
    assert len(json.dumps(document(policy, given), separators=(",", ":"))) <= LONGEST_POLICY
