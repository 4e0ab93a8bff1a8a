"""The roles of people: who may take which, and what each may do, decided as IAM decides.

The policies are those of template.yaml, which delivery/people.yaml imports.
"""

from __future__ import annotations

import copy
import json
import re
from dataclasses import dataclass
from typing import Any

import pytest

from localcloud.engine.permissions.decisions import decide, request, session_arn, statements
from tests.unit import test_operators as operators
from tests.unit.test_other_accounts import EVERYTHING, whole
from tests.unit.test_template import RESOURCES, ROOT, TEMPLATE, condition, holds
from tools import cfn

PEOPLE = cfn.load(ROOT / "delivery/people.yaml")
HERE, ELSEWHERE, OTHER = operators.OF_AWS["AWS::AccountId"], "111111111111", "333333333333"
STACK = operators.STACK["AWS::StackName"]
ADA = f"arn:aws:iam::{ELSEWHERE}:user/people/ada"
SIGNED_IN = f"arn:aws:iam::{HERE}:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Perennial_0123456789abcdef"
AGENT = f"arn:aws:iam::{ELSEWHERE}:role/people"
SAML = f"arn:aws:iam::{HERE}:saml-provider/Company"
LISTS = ("DataScientistArns", "ApproverArns", "OperatorArns", "InterventionArns")
ENVIRONMENTS = ("dev", "staging", "prod")
WITH_MFA = {"aws:MultiFactorAuthPresent": "true"}

Document = dict[str, Any]


@dataclass(frozen=True)
class Role:
    """A role as CloudFormation makes it. `policies` are those of the stack, by their names in template.yaml."""

    arn: str
    trust: Document
    policies: tuple[str, ...]
    properties: Document


def parameters(environment: str, **named: Any) -> dict[str, Any]:
    """What people.yaml is deployed with, and what the stack exports: the name of each policy for its ARN."""
    exports = {
        whole(output["Export"]["Name"], {**operators.STACK}): output["Value"]["Ref"]
        for output in TEMPLATE["Outputs"].values()
        if "Export" in output
    }
    given = {
        "StackName": STACK,
        "Environment": environment,
        "SamlProviderArn": "",
        "PermissionsBoundaryArn": "",
        **{key: [""] for key in LISTS},
    }
    return {**operators.OF_AWS, **exports, **given, **named}


def roles(environment: str, template: Document = PEOPLE, **named: Any) -> dict[str, Role]:
    """The roles that there are in an environment, by what they are called for short."""
    given, found = parameters(environment, **named), {}
    for name, body in cfn.resources(template, "AWS::IAM::Role").items():
        if condition(body["Condition"], given, template):
            made = whole(body["Properties"], given, template)
            arn = f"arn:aws:iam::{HERE}:role{made['Path']}{made['RoleName']}"
            trust, policies = made["AssumeRolePolicyDocument"], tuple(made["ManagedPolicyArns"])
            found[name.removesuffix("Role")] = Role(arn, trust, policies, made)
    return found


EVERYBODY = {name: [ADA, SIGNED_IN, AGENT] for name in LISTS}
DEV, PROD = roles("dev", **EVERYBODY), roles("prod", **EVERYBODY)


def session(role: str) -> str:
    return session_arn(role, "ada")


def takes(role: Role, caller: str, *, identity: Any = EVERYTHING, **context: str) -> bool:
    """Whether somebody may take a role."""
    asked = request(caller, "sts:AssumeRole", role.arn, context)
    return decide(asked, [identity], role.trust, HERE) is None


def may(role: Role, action: str, resource: str, context: dict[str, str], *more: str) -> bool:
    """Whether somebody with a role may do something; `more` are policies of the stack besides those of the role."""
    documents = [operators.document(policy, operators.stack()) for policy in (*role.policies, *more)]
    theirs = [statements(json.dumps(document)) for document in documents]
    return decide(request(session(role.arn), action, resource, context), theirs, None) is None


# ---- Who has which role


def test_each_environment_has_the_roles_and_the_policies_that_the_page_says() -> None:
    page = (ROOT / "docs/environments.md").read_text()
    (table,) = re.findall(r"^## Who may do what\n+((?:\|.*\n)+)", page, re.M)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]
    who, *environments = rows[0][:4]
    assert (who, environments) == ("who", list(ENVIRONMENTS))
    said: dict[str, dict[str, tuple[str, ...]]] = {name: {} for name in ENVIRONMENTS}
    for row in rows[2:]:
        for name, cell in zip(ENVIRONMENTS, row[1:4], strict=True):
            cell = row[1] if cell == "the same" else cell
            if role := re.match(r"`(\w+)Role`: (.*)", cell):
                said[name][role[1]] = tuple(re.findall(r"`(\w+Policy)`", role[2]))
    assert said == {
        name: {role: body.policies for role, body in roles(name, **EVERYBODY).items()} for name in ENVIRONMENTS
    }


def test_the_stack_tells_the_policies_that_these_roles_have_and_no_role_has_another() -> None:
    for environment in ENVIRONMENTS:
        for role in roles(environment, **EVERYBODY).values():
            assert all(RESOURCES[policy]["Type"] == "AWS::IAM::ManagedPolicy" for policy in role.policies)
            assert "Policies" not in role.properties
    assert {policy for role in DEV.values() for policy in role.policies} == {
        output["Value"]["Ref"] for output in TEMPLATE["Outputs"].values() if "Export" in output
    }


def test_who_is_not_named_has_no_role_and_all_of_an_environment_are_there_for_a_saml_provider() -> None:
    assert roles("dev").keys() == set()
    assert roles("prod", OperatorArns=[ADA]).keys() == {"Operator"}
    assert roles("dev", SamlProviderArn=SAML).keys() == DEV.keys()
    assert roles("prod", SamlProviderArn=SAML).keys() == PROD.keys() == DEV.keys() - {"DataScientist"}
    assert roles("staging", SamlProviderArn=SAML).keys() == {"Operator"}


@pytest.mark.parametrize(
    ("environment", "named", "refused_by"),
    [
        ("dev", {}, ["SomebodySignsIn"]),
        ("prod", {"DataScientistArns": [ADA]}, ["DataScientistsWorkInDev"]),
        ("staging", {"DataScientistArns": [ADA]}, ["DataScientistsWorkInDev"]),
        ("staging", {"ApproverArns": [ADA]}, ["NobodyDecidesInStaging"]),
        ("staging", {"OperatorArns": [ADA], "InterventionArns": [ADA]}, ["NobodyDecidesInStaging"]),
        ("staging", {"OperatorArns": [ADA]}, []),
        ("dev", EVERYBODY, []),
        ("prod", {**EVERYBODY, "DataScientistArns": [""]}, []),
        ("prod", {"SamlProviderArn": SAML}, []),
    ],
)
def test_people_who_have_no_role_in_an_environment_are_refused_by_name(
    environment: str, named: dict[str, Any], refused_by: list[str]
) -> None:
    given = parameters(environment, **named)
    applies = {
        name: rule
        for name, rule in PEOPLE["Rules"].items()
        if "RuleCondition" not in rule or holds(rule["RuleCondition"], given, PEOPLE)
    }
    assert refused_by == [
        name
        for name, rule in applies.items()
        if not all(holds(one["Assert"], given, PEOPLE) for one in rule["Assertions"])
    ]


# ---- Who takes a role

OTHERS = [
    f"arn:aws:iam::{ELSEWHERE}:user/people/adam",
    f"arn:aws:iam::{HERE}:user/people/ada",
    session(f"arn:aws:iam::{ELSEWHERE}:role/people-of-others"),
    session(f"arn:aws:iam::{OTHER}:role/people"),
    session(f"arn:aws:iam::{HERE}:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Admin_0123456789abcdef"),
    session(f"arn:aws:iam::{HERE}:role/deploys-{STACK}"),
    session(f"arn:aws:iam::{HERE}:role/{STACK}-TrainModelRole-1A2B"),
    "lambda.amazonaws.com",
]


@pytest.mark.parametrize("name", DEV)
def test_the_named_take_a_role_and_nobody_else_whatever_their_own_policies_say(name: str) -> None:
    role = DEV[name]
    assert takes(role, ADA, **WITH_MFA)
    assert takes(role, session(SIGNED_IN))
    assert takes(role, session(AGENT))
    assert [caller for caller in OTHERS if takes(role, caller, **WITH_MFA)] == []
    open_to_all = copy.deepcopy(role.trust)
    for statement in open_to_all["Statement"]:
        statement["Principal"] = {"AWS": "*"}
    everybody = Role(role.arn, open_to_all, role.policies, role.properties)
    assert [caller for caller in OTHERS if not takes(everybody, caller, **WITH_MFA)] == []


@pytest.mark.parametrize("name", DEV)
def test_a_user_takes_a_role_with_mfa_alone(name: str) -> None:
    role = DEV[name]
    assert not takes(role, ADA)
    assert not takes(role, ADA, **{"aws:MultiFactorAuthPresent": "false"})
    unconditional = copy.deepcopy(role.trust)
    for statement in unconditional["Statement"]:
        del statement["Condition"]
    assert takes(Role(role.arn, unconditional, role.policies, role.properties), ADA)


def test_who_is_named_for_one_role_takes_no_other() -> None:
    each = dict(zip(LISTS, ([f"arn:aws:iam::{ELSEWHERE}:user/{name}"] for name in LISTS), strict=True))
    found = roles("dev", **each)
    takers = {
        name: [user for (user,) in each.values() if takes(role, user, **WITH_MFA)] for name, role in found.items()
    }
    assert takers == dict(zip(found, each.values(), strict=True))


def test_a_role_of_people_takes_no_other_one() -> None:
    """Of dev none of prod: nobody comes from data to production by way of roles."""
    assert not [(one, other) for one in DEV for other in PROD if takes(PROD[other], session(DEV[one].arn), **WITH_MFA)]


def test_whom_a_saml_provider_has_signed_in_comes_from_the_page_of_aws() -> None:
    (statement,) = roles("prod", SamlProviderArn=SAML)["Operator"].trust["Statement"]
    assert statement["Principal"] == {"Federated": SAML}
    assert statement["Condition"] == {"StringEquals": {"SAML:aud": "https://signin.aws.amazon.com/saml"}}


def test_sessions_last_a_working_day_and_of_who_intervenes_an_hour() -> None:
    hours = {name: role.properties["MaxSessionDuration"] / 3600 for name, role in DEV.items()}
    assert hours == {"DataScientist": 8, "Approver": 8, "Operator": 8, "Intervention": 1}


def test_roles_say_whose_stack_and_which_environment_they_are_of() -> None:
    for role in PROD.values():
        tags = {tag["Key"]: tag["Value"] for tag in role.properties["Tags"]}
        assert tags == {"Project": "perennial", "Stack": STACK, "Environment": "prod"}


def test_roles_of_people_have_a_boundary_where_the_stacks_have_one() -> None:
    """Their policies are the stack's, so that who deploys it changes them."""
    arn = f"arn:aws:iam::{HERE}:policy/bounds-{STACK}"
    assert {role.properties.get("PermissionsBoundary") for role in DEV.values()} == {None}
    bounded = roles("dev", PermissionsBoundaryArn=arn, **EVERYBODY)
    assert {role.properties["PermissionsBoundary"] for role in bounded.values()} == {arn}


@pytest.mark.parametrize(
    "arn", ["*", f"arn:aws:iam::{HERE}:root", f"arn:aws:iam::{HERE}:role/*", f"arn:aws:iam::{HERE}:user/a?a", HERE]
)
def test_no_list_takes_a_wildcard_or_a_whole_account(arn: str) -> None:
    for name in LISTS:
        pattern = PEOPLE["Parameters"][name]["AllowedPattern"]
        assert not re.fullmatch(pattern, arn)
        assert all(re.fullmatch(pattern, one) for one in (ADA, SIGNED_IN, AGENT, ""))


# ---- What each may do

START = operators.START[0]
ANSWER = operators.of("sagemaker", "UpdateModelPackage", "model-package/cars/3")
DROP = ("s3:PutObject", f"arn:aws:s3:::{operators.BUCKET}/raw/cars.csv", dict[str, str]())
REPORT = operators.read(f"runs/{operators.RUN}/report.html")[0]
RESULT = operators.read(f"runs/{operators.RUN}/evaluation/metrics.json")[0]
MODEL = operators.read(f"runs/{operators.RUN}/model/model.tar.gz")[0]
STOP = operators.execution("StopExecution")
SERVE = operators.of("sagemaker", "UpdateEndpoint", "endpoint/cars")
ROLES_OF_IAM = ("iam:CreateRole", f"arn:aws:iam::{HERE}:role/cars-x", dict[str, str]())
EACH = {
    "start a run": START, "answer a version": ANSWER, "drop data": DROP, "read a report": REPORT,
    "read a result": RESULT, "read a model": MODEL, "stop a run": STOP, "change what serves": SERVE,
    "make a role": ROLES_OF_IAM,
}  # fmt: skip
MAY = {
    "DataScientist": {"start a run", "drop data", "read a report", "read a result"},
    "Approver": {"answer a version", "read a report"},
    "Operator": {"read a report", "stop a run"},
    "Intervention": {"start a run", "answer a version", "read a report", "stop a run", "change what serves"},
}


@pytest.mark.parametrize("name", MAY)
def test_people_may_what_they_are_there_for(name: str) -> None:
    assert {what for what, asked in EACH.items() if may(DEV[name], *asked)} == MAY[name]


def test_approvers_start_no_run_and_would_with_another_policy() -> None:
    assert not may(PROD["Approver"], *START)
    assert may(PROD["Approver"], *START, "InterventionPolicy")
    assert may(PROD["Approver"], *START, "DataScientistPolicy")


def test_data_scientists_of_dev_have_no_access_to_production() -> None:
    """Neither a role in it, nor with theirs anything of a stack of another name, in the same account too."""
    assert "DataScientist" not in PROD
    theirs = [EACH[what] for what in sorted(MAY["DataScientist"])]
    assert all(may(DEV["DataScientist"], *asked) for asked in theirs)
    of_prod = [
        (action, resource.replace("cars", "cars-prod"), context)
        for action, resource, context in [*theirs, ANSWER, SERVE]
    ]
    assert [asked for asked in of_prod if may(DEV["DataScientist"], *asked)] == []
    everywhere = copy.deepcopy(PEOPLE)
    everywhere["Conditions"]["IsDev"] = {"Fn::Not": [{"Condition": "BySaml"}]}
    let_in = roles("prod", everywhere, **EVERYBODY)["DataScientist"]
    assert takes(let_in, ADA, **WITH_MFA), "the environment keeps them out"
    assert may(let_in, *START)
