"""What delivers: GitHub's workflows and the Jenkinsfile call make alone, the same steps in the same order."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tree_sitter_groovy
import yaml
from tree_sitter import Language, Node, Parser

from tools import cfn
from tools.check_deployer import missing, types

ROOT = Path(__file__).parents[2]
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / ".github/workflows").glob("*.yml")}
GROOVY = Parser(Language(tree_sitter_groovy.language()))
PIPELINE, PROMOTION = (
    GROOVY.parse((ROOT / name).read_bytes()).root_node for name in ("Jenkinsfile", "Jenkinsfile.promote")
)
ENVIRONMENTS = ("dev", "staging", "prod")
CHECK, WATCH = "Check", "Stack drift"


def jobs(workflow: str) -> dict[str, Any]:
    jobs: dict[str, Any] = WORKFLOWS[workflow]["jobs"]
    return jobs


def commands(workflow: str, job: str, inputs: dict[str, Any]) -> list[str]:
    """Return what a job runs, without the steps whose condition is an input that is not set."""
    steps = [step for step in jobs(workflow)[job]["steps"] if "run" in step]
    return [step["run"] for step in steps if "if" not in step or inputs.get(step["if"].removeprefix("inputs."))]


def stages(node: Node) -> Iterator[tuple[str, list[str]]]:
    """Yield the stages of the Jenkinsfile that have steps of their own, with what they run."""
    for child in node.children:
        if texts(child)[:1] != ["stage"]:
            yield from stages(child)
            continue
        name, run = string(child), [string(one) for one in calls(child, "sh")]
        inner = [one for part in child.children for one in stages(part)]
        yield from inner or [(name, run)]


def calls(node: Node, name: str) -> Iterator[Node]:
    for child in node.children:
        if texts(child)[:1] == [name]:
            yield child
        else:
            yield from calls(child, name)


def texts(node: Node) -> list[str]:
    return [(child.text or b"").decode() for child in node.children]


def string(node: Node) -> str:
    """Return the first text in quotes below a node."""
    quoted = re.search(r"'([^']*)'", (node.text or b"").decode())
    assert quoted is not None
    return quoted[1]


def delivered() -> dict[str, list[str]]:
    """Return what is run for each environment, from GitHub's workflows."""
    return {name: commands("deploy", "deploy", jobs("deliver")[name]["with"]) for name in ENVIRONMENTS}


def test_the_jenkinsfiles_are_groovy() -> None:
    assert not PIPELINE.has_error
    assert not PROMOTION.has_error


def test_both_run_the_same_steps() -> None:
    jenkins = dict(stages(PIPELINE))
    assert jenkins.pop(CHECK) == commands("check", "check", {}) == ["make check", "make test"]
    assert jenkins.pop(WATCH) == commands("watch", "stack-drift", {}) == ["make stack-drift"]
    assert {name.removeprefix("Deploy "): run for name, run in jenkins.items()} == delivered()
    assert delivered() == {
        "dev": ["make deploy YES=1"],
        "staging": ["make deploy YES=1", "make smoke"],
        "prod": ["make deploy YES=1"],
    }


def test_both_promote_by_the_same_steps_and_try_each_environment_before_the_next() -> None:
    steps = {name: commands("promote-to", "promote", job["with"]) for name, job in jobs("promote").items()}
    assert steps == {"staging": ["make promote", "make smoke RUN=0"], "prod": ["make promote"]}
    assert {name.removeprefix("Promote to "): run for name, run in stages(PROMOTION)} == steps
    assert {name: job.get("needs") for name, job in jobs("promote").items()} == {"staging": None, "prod": "staging"}
    from_where = {name: (job["with"]["from"], job["with"]["section"]) for name, job in jobs("promote").items()}
    assert from_where == {"staging": ("default", "staging"), "prod": ("staging", "prod")}
    jenkins = (ROOT / "Jenkinsfile.promote").read_text()
    assert all(f"ENV = '{to}'; FROM_ENV = '{source}'" in jenkins for source, to in from_where.values())


def test_each_step_is_a_target_of_make() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    run = [
        step["run"]
        for name in WORKFLOWS
        for job in jobs(name).values()
        for step in job.get("steps", [])
        if "run" in step
    ]
    matches = [re.fullmatch(r"make ([a-z-]+)( YES=1| RUN=0)?", one) for one in run]
    assert {match[1] for match in matches if match} <= targets
    assert all(matches)


def test_no_environment_is_reached_before_the_one_before_it() -> None:
    assert {name: job.get("needs") for name, job in jobs("deliver").items()} == {
        "check": None, "dev": "check", "staging": "dev", "prod": "staging",
    }  # fmt: skip
    assert list(dict(stages(PIPELINE)))[1:4] == [f"Deploy {name}" for name in ENVIRONMENTS]


def test_sections_are_those_of_samconfig() -> None:
    sections = {name: jobs("deliver")[name]["with"]["section"] for name in ENVIRONMENTS}
    watched = jobs("watch")["stack-drift"]["strategy"]["matrix"]["include"]
    assert {one["environment"]: one["section"] for one in watched} == sections
    text = (ROOT / "samconfig.toml").read_text()
    assert all(f"[{section}.deploy.parameters]" in text for section in sections.values())
    jenkins = (ROOT / "Jenkinsfile").read_text()
    assert all(f"AWS_PROFILE = '{name}'; ENV = '{section}'" in jenkins for name, section in sections.items())


def test_no_key_of_aws_is_stored() -> None:
    texts = [path.read_text() for path in (*(ROOT / ".github/workflows").iterdir(), *ROOT.glob("Jenkinsfile*"))]
    assert not [text for text in texts if re.search(r"secrets\.|aws-access-key|AWS_SECRET|credentials\(", text)]


@pytest.mark.parametrize("workflow", sorted(WORKFLOWS))
def test_only_what_signs_in_may_and_what_others_wrote_is_pinned(workflow: str) -> None:
    assert WORKFLOWS[workflow]["permissions"] == {}
    for job in jobs(workflow).values():
        uses = [step["uses"] for step in job.get("steps", []) if "uses" in step]
        signs_in = any(one.startswith("aws-actions/") for one in uses) or "/deploy.yml" in job.get("uses", "")
        signs_in |= "promote-to.yml" in job.get("uses", "")
        assert job["permissions"] == {"contents": "read", **({"id-token": "write"} if signs_in else {})}
        assert all(re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", one) for one in uses)


def test_an_action_that_the_deployer_lacks_is_named() -> None:
    deployer = (ROOT / "delivery/deployer.yaml").read_text()
    every = ["WatchPolicy", "StackPolicy", "ResourcesPolicy", "DataPolicy"]
    assert missing(["sqs:CreateQueue", "sqs:GetQueueUrl", "kinesis:PutRecords"], deployer, every) == []
    assert missing(["sqs:CreateQueue", "sqs:AddPermission"], deployer, every) == ["sqs:AddPermission"]
    assert missing(["sqs:CreateQueue", "sqs:GetQueueUrl"], deployer, ["WatchPolicy"]) == ["sqs:CreateQueue"]


def test_what_sam_makes_of_its_types_is_known() -> None:
    kinds = types((ROOT / "template.yaml").read_text())
    assert {"AWS::Lambda::Function", "AWS::SNS::Subscription", "AWS::SageMaker::ModelPackageGroup"} <= kinds
    assert not [kind for kind in kinds if "Serverless" in kind or kind.startswith("Custom")]


def test_one_environment_of_one_repository_may_deploy() -> None:
    roles = cfn.resources(cfn.load(ROOT / "delivery/deployer.yaml"), "AWS::IAM::Role")
    for name, who in (("DeployerRole", "${GitHubEnvironment}"), ("WatcherRole", "${GitHubEnvironment}-watch")):
        github, jenkins = roles[name]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert github["Fn::If"][1]["Condition"] == {
            "StringEquals": {
                "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
                "token.actions.githubusercontent.com:sub": {"Fn::Sub": f"repo:${{GitHubRepository}}:environment:{who}"},
            }
        }
        assert jenkins["Fn::If"][1]["Principal"] == {"AWS": {"Ref": "AgentRoleArn"}}
    (promoter,) = roles["PromotedRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert promoter["Principal"] == {"AWS": {"Ref": "PromoterRoleArn"}}
