"""What delivers: GitHub's workflows and the Jenkinsfile call make alone, the same steps in the same order."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import tree_sitter_groovy
import yaml
from tree_sitter import Language, Node, Parser

from tests.e2e.matrix.registry import matrix
from tests.pipelines import ON, WORKFLOWS, commands, jobs, promote, runs
from tests.unit.test_makefile import make
from tools import cfn
from tools.check_deployer import missing, types

ROOT = Path(__file__).parents[2]
GROOVY = Parser(Language(tree_sitter_groovy.language()))
PIPELINE, PROMOTION = (
    GROOVY.parse((ROOT / name).read_bytes()).root_node for name in ("Jenkinsfile", "Jenkinsfile.promote")
)
ENVIRONMENTS = ("dev", "staging", "prod")
CHECK, WATCH = "Check", "Stack drift"


def stages(node: Node) -> Iterator[tuple[str, list[str]]]:
    """Yield the stages of the Jenkinsfile that have steps of their own, with what they run."""
    for child in node.children:
        if texts(child)[:1] != ["stage"]:
            yield from stages(child)
            continue
        name, run = string(child), [string(one) for one in calls(child, "sh")]
        inner = [one for part in child.children for one in stages(part)]
        yield from inner or [(name, run)]


def jenkins_stages(node: Node) -> dict[str, str]:
    """Return the outer stages of a Jenkinsfile as they are written, by name."""
    found: dict[str, str] = {}
    for child in node.children:
        found |= (
            {string(child): (child.text or b"").decode()} if texts(child)[:1] == ["stage"] else jenkins_stages(child)
        )
    return found


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


def linted(folder: Path) -> str:
    """Return what actionlint finds in the workflows of a folder, as `make check` calls it."""
    (command,) = [line for line in make("-n", "check-rest").splitlines() if "actionlint" in line]
    return subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, check=False).stdout


@pytest.fixture
def workflows(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    (tmp_path / ".git").mkdir()  # of a project, workflows that call others are read with these
    return tmp_path


def test_actionlint_finds_nothing_in_the_workflows(workflows: Path) -> None:
    assert linted(workflows) == ""


@pytest.mark.parametrize(
    ("workflow", "written", "mistaken", "finding"),
    [
        ("check", "ubuntu-24.04", "ubuntu-24.4", "[runner-label]"),
        ("check", "{{ github.ref", "{{ githb.ref", "[expression]"),
        ("deliver", "needs: staging", "needs: stagging", "[job-needs]"),
        ("deliver", "section: prod", "sektion: prod", "[workflow-call]"),
        ("promote-to", "{{ steps.promoted.", "{{ steps.promotd.", "[expression]"),
        ("watch", "0 5 * * *", "0 25 * * *", "[events]"),
    ],
)
def test_a_mistake_in_a_workflow_is_found(
    workflows: Path, workflow: str, written: str, mistaken: str, finding: str
) -> None:
    file = workflows / f".github/workflows/{workflow}.yml"
    text = file.read_text()
    assert written in text
    file.write_text(text.replace(written, mistaken))
    assert finding in linted(workflows)


def test_both_run_the_same_steps() -> None:
    jenkins = dict(stages(PIPELINE))
    assert jenkins.pop(CHECK) == commands("check", "check", {}) == ["make check", "make test"]
    assert jenkins.pop("Push image") == commands("image", "push", {}) == ["make image"]
    assert jenkins.pop(WATCH) == commands("watch", "stack-drift", {}) == ["make stack-drift"]
    assert {name.removeprefix("Deploy "): run for name, run in jenkins.items()} == delivered()
    assert delivered() == {
        "dev": ["make deploy YES=1"],
        "staging": ["make deploy YES=1", "make smoke"],
        "prod": ["make deploy YES=1"],
    }


def test_both_promote_by_the_same_targets_and_try_each_environment_before_the_next() -> None:
    steps = {name: commands("promote-to", "promote", job["with"]) for name, job in jobs("promote").items()}
    step = 'make promote RUN_FILE="$GITHUB_OUTPUT"'
    assert steps == {"staging": [step, "make smoke"], "prod": [step]}
    assert {name.removeprefix("Promote to "): run for name, run in stages(PROMOTION)} == {
        "staging": ["make promote RUN_FILE=promoted", "make smoke RUN=@promoted"],
        "prod": ["make promote VERSION=@promoted"],
    }
    assert {name: job.get("needs") for name, job in jobs("promote").items()} == {"staging": None, "prod": "staging"}
    from_where = {name: (job["with"]["from"], job["with"]["section"]) for name, job in jobs("promote").items()}
    assert from_where == {"staging": ("default", "staging"), "prod": ("staging", "prod")}
    jenkins = (ROOT / "Jenkinsfile.promote").read_text()
    assert all(f"ENV = '{to}'; FROM_ENV = '{source}'" in jenkins for source, to in from_where.values())


@dataclass
class Pipeline:
    """Runs the very steps of a pipeline that promotes, with a command that writes down how it was called."""

    folder: Path
    smoke: int = 0
    started: Mapping[str, str] = field(default_factory=dict)  # what the event says that has started it

    def run(self, step: str, **variables: str) -> bool:
        """Run a step as its pipeline does; return whether it went well."""
        flags = f"-s -- PERENNIAL={self.folder}/perennial"
        known = {"PATH": os.environ["PATH"], "MAKEFLAGS": flags, "SMOKE": str(self.smoke), **variables}
        return subprocess.run(["sh", "-ec", step], cwd=self.folder, env=known, check=False).returncode == 0

    def called(self) -> list[str]:
        return (self.folder / "calls").read_text().splitlines()

    def github(self) -> None:
        promote(lambda _, step, variables: self.run(step, **variables), self.folder / "output", self.started)

    def jenkins(self) -> None:
        """Run Jenkinsfile.promote: a step that fails ends it."""
        text = (ROOT / "Jenkinsfile.promote").read_text()
        environments = [dict(re.findall(r"(\w+) = '([^']*)'", one)) for one in re.findall(r"environment {(.*)}", text)]
        for (_, run), environment in zip(stages(PROMOTION), environments, strict=True):
            if not all(self.run(step, **environment) for step in run):
                return


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    """In staging the version of run 2 is the newest by the time that the steps ask for none."""
    makefile = (ROOT / "Makefile").read_text()
    (tmp_path / "Makefile").write_text(
        makefile.replace(": install ##", ": ##")
    )  # the environments are those that are here
    (tmp_path / "perennial").write_text("""#!/bin/sh
for word; do
  case "$word" in @*) word=$(sed -n s/^run=//p "${word#@}") ;; esac
  [ "$before" = --write-run ] && echo run=20261120000000-0001 > "$word"; before=$word; said="$said $word"
done
echo $said >> calls
[ "$1" = promote ] || exit "$SMOKE"
""")
    (tmp_path / "perennial").chmod(0o700)
    return Pipeline(tmp_path)


@pytest.mark.parametrize("where", ["github", "jenkins"])
def test_prod_gets_the_very_version_that_staging_tried(pipeline: Pipeline, where: str) -> None:
    getattr(pipeline, where)()
    to_staging, smoke, to_prod = pipeline.called()
    assert to_staging.startswith("promote --from default --to staging --write-run ")
    assert smoke == "smoke --env staging --serves 20261120000000-0001"
    assert to_prod.startswith("promote 20261120000000-0001 --from staging --to prod")


@pytest.mark.parametrize("event", ["inputs", "github.event.client_payload"])
def test_who_starts_a_promotion_says_of_what(pipeline: Pipeline, event: str) -> None:
    pipeline.started = {f"{event}.version": "3"}
    pipeline.github()
    to_staging, *_ = pipeline.called()
    assert to_staging.startswith("promote 3 --from default --to staging ")


@matrix("Promotion", "the endpoint of staging does not answer as it should", ends="prod is not reached")
@pytest.mark.parametrize("where", ["github", "jenkins"])
def test_prod_is_not_reached_when_the_trial_in_staging_fails(pipeline: Pipeline, where: str) -> None:
    pipeline.smoke = 1
    getattr(pipeline, where)()
    assert [call.split()[0] for call in pipeline.called()] == ["promote", "smoke"]


def test_each_step_is_a_target_of_make_and_nothing_else() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    run = [
        step["run"]
        for name in WORKFLOWS
        for job in jobs(name).values()
        for step in job.get("steps", [])
        if "run" in step
    ]
    run += [one for tree in (PIPELINE, PROMOTION) for _, steps in stages(tree) for one in steps]
    matches = [re.fullmatch(r'make ([a-z-]+)(?: [A-Z_]+=(?:[a-z0-9@]+|"\$[A-Z_]+"))?', one) for one in run]
    assert {match[1] for match in matches if match} <= targets
    assert all(matches)


def test_jenkins_does_nothing_but_steps_of_the_shell() -> None:
    """Nothing that its pipelines run is left out where steps are compared."""
    for tree in (PIPELINE, PROMOTION):
        of_stages = [one for _, steps in stages(tree) for one in steps]
        text = (tree.text or b"").decode()
        blocks = re.findall(r"\bsteps \{([^}]*)\}", text)
        lines = [line.split(" //")[0].strip() for block in blocks for line in block.strip().splitlines()]
        assert lines == [f"sh '{one}'" for one in of_stages]
        assert not re.search(r"\b(script|post|bat|powershell|load|library|evaluate)\b", text)


def test_no_environment_is_reached_before_the_one_before_it() -> None:
    assert {name: job.get("needs") for name, job in jobs("deliver").items()} == {
        "check": None, "dev": "check", "staging": "dev", "prod": "staging",
    }  # fmt: skip
    first, *others = dict(stages(PIPELINE))
    assert (first, others) == (CHECK, ["Push image", *(f"Deploy {name}" for name in ENVIRONMENTS), WATCH])


def test_every_image_is_pushed_to_a_repository_of_its_name_once_all_is_checked() -> None:
    images = sorted(path.parent.name for path in (ROOT / "images").glob("*/Dockerfile"))
    assert WORKFLOWS["image"][ON] == {"push": {"branches": ["main"], "paths": ["images/**"]}}
    push = jobs("image")["push"]
    assert (push["needs"], jobs("image")["check"]["uses"]) == ("check", "./.github/workflows/check.yml")
    assert push["strategy"] == {"fail-fast": False, "matrix": {"image": images}}
    (step,) = runs("image", "push", {})
    assert step["env"] == {"IMAGE": "${{ matrix.image }}", "REPOSITORY": "images/${{ matrix.image }}"}
    checkout, *_ = push["steps"]
    assert checkout["with"]["fetch-depth"] == 0, "the commit that has changed an image last is known"
    (policy,) = cfn.load(ROOT / "delivery/deployer.yaml")["Resources"]["PusherRole"]["Properties"]["Policies"]
    looking = re.compile("ecr:(Batch(Check|Get)|Describe|Get)")
    changing = {action for action in re.findall(r"ecr:\w+", str(policy)) if not looking.match(action)}
    assert changing == {
        "ecr:PutImage", "ecr:InitiateLayerUpload", "ecr:UploadLayerPart", "ecr:CompleteLayerUpload",
    }  # fmt: skip

    stage = jenkins_stages(PIPELINE)["Images"]
    assert f"axis {{ name 'IMAGE'; values {', '.join(map(repr, images))} }}" in stage
    assert """environment { AWS_PROFILE = 'images'; REPOSITORY = "images/${IMAGE}" }""" in stage


def test_who_calls_the_checks_waits_for_no_other_who_does() -> None:
    """Of a group of GitHub's one run waits, and a later one ends it."""
    assert WORKFLOWS["check"]["concurrency"]["group"] == "check-${{ github.workflow }}-${{ github.ref }}"


def test_an_environment_is_changed_by_one_after_another_and_nothing_is_broken_off() -> None:
    turn = {"group": "deploy-${{ inputs.environment }}", "cancel-in-progress": False}
    assert jobs("deploy")["deploy"]["concurrency"] == jobs("promote-to")["promote"]["concurrency"] == turn
    assert WORKFLOWS["promote"]["concurrency"] == {"group": "promote", "cancel-in-progress": False}
    assert all("disableConcurrentBuilds()" in (tree.text or b"").decode() for tree in (PIPELINE, PROMOTION))


def test_sections_are_those_of_samconfig() -> None:
    sections = {name: jobs("deliver")[name]["with"]["section"] for name in ENVIRONMENTS}
    watched = jobs("watch")["stack-drift"]["strategy"]["matrix"]["include"]
    assert {one["environment"]: one["section"] for one in watched} == sections
    text = (ROOT / "samconfig.toml").read_text()
    assert all(f"[{section}.deploy.parameters]" in text for section in sections.values())
    jenkins = (ROOT / "Jenkinsfile").read_text()
    assert all(f"AWS_PROFILE = '{name}'; ENV = '{section}'" in jenkins for name, section in sections.items())


def test_each_section_is_a_stack_of_its_own_that_says_the_same_things_as_the_others() -> None:
    config = tomllib.loads((ROOT / "samconfig.toml").read_text())
    sections = {job["with"]["section"] for name, job in jobs("deliver").items() if name in ENVIRONMENTS}
    deploys = {name: config[name]["deploy"]["parameters"] for name in sections}
    assert len({one["stack_name"] for one in deploys.values()}) == len(ENVIRONMENTS)
    assert len({frozenset(one) for one in deploys.values()}) == 1, "each sets what the others set"
    assert {one["tags"] for one in deploys.values()} == {f"Environment={name}" for name in ENVIRONMENTS}
    for one in deploys.values():
        assert {"ModelName", "CostCenter"} <= {word.partition("=")[0] for word in one["parameter_overrides"].split()}


def test_a_branch_for_each_environment_is_a_change_of_one_workflow() -> None:
    """What docs/delivery.md says of it, in place of the lines of deliver.yml."""
    (text,) = re.findall(r"```yaml\n(on:.*?)```", (ROOT / "docs/delivery.md").read_text(), re.DOTALL)
    told = yaml.safe_load(text)
    assert told["jobs"].keys() == set(ENVIRONMENTS)
    branches = {"dev": "main", "staging": "staging", "prod": "prod"}
    for name, job in told["jobs"].items():
        assert job == {"needs": "check", "if": f"github.ref_name == '{branches[name]}'"}
    assert told[ON] == {"push": {"branches": list(branches.values())}}


def test_pipelines_start_when_they_are_said_to() -> None:
    starts = {name: workflow[ON] for name, workflow in WORKFLOWS.items()}
    by_others = [name for name, on in starts.items() if set(on) == {"workflow_call"}]
    assert sorted(by_others) == ["deploy", "promote-to"]
    assert starts["check"] == {"pull_request": None, "workflow_call": None}
    assert starts["deliver"] == {"push": {"branches": ["main"]}}
    assert starts["watch"] == {"schedule": [{"cron": "0 5 * * *"}], "workflow_dispatch": None}
    assert set(starts["promote"]) == {"workflow_dispatch", "repository_dispatch"}
    assert starts["promote"]["repository_dispatch"] == {"types": ["model-approved"]}


def test_what_asks_for_a_promotion_says_what_its_workflow_reads() -> None:
    """The command of docs/delivery.md, and the input of EventBridge there."""
    text = (ROOT / "docs/delivery.md").read_text()
    assert "-f event_type=model-approved -f 'client_payload[version]=3'" in text
    (body,) = re.findall(r"the input `(.*?)`", text)
    asked = json.loads(body)
    assert [asked["event_type"]] == WORKFLOWS["promote"][ON]["repository_dispatch"]["types"]
    (read,) = re.findall(r"client_payload\.(\w+)", jobs("promote")["staging"]["with"]["version"])
    assert asked["client_payload"] == {read: f"<{read}>"}


def test_who_signs_in_has_an_environment_whose_role_and_reviewers_are_its_own() -> None:
    environments = {
        f"{name}.{job}": one["environment"]
        for name in WORKFLOWS
        for job, one in jobs(name).items()
        if any("aws-actions/" in step.get("uses", "") for step in one.get("steps", []))
    }
    assert environments == {
        "deploy.deploy": "${{ inputs.environment }}",
        "promote-to.promote": "${{ inputs.environment }}",
        "image.push": "images",
        "watch.stack-drift": "${{ matrix.environment }}-watch",
    }
    for called, names in (("deliver", ENVIRONMENTS), ("promote", ENVIRONMENTS[1:])):
        assert {name: jobs(called)[name]["with"]["environment"] for name in names} == {name: name for name in names}
    for one in environments:
        workflow, job = one.split(".")
        (signs_in,) = [step["with"] for step in jobs(workflow)[job]["steps"] if "aws-actions/" in step.get("uses", "")]
        assert signs_in["role-to-assume"] == "${{ vars.AWS_ROLE_ARN }}"
        assert signs_in["aws-region"] == "${{ vars.AWS_REGION }}"
    assert jobs("promote-to")["promote"]["env"]["PERENNIAL_FROM_ROLE"] == "${{ vars.FROM_ROLE_ARN }}"


@dataclass(frozen=True)
class Build:
    """Of Jenkinsfile: what has started it, and what of."""

    branch: str = "main"
    until: str = "prod"
    by_timer: bool = False

    def meets(self, condition: str) -> bool:
        """Return whether a condition of `when` holds; which files have changed, everything has."""
        if inner := re.fullmatch(r"not \{ (.*) \}", condition):
            return not self.meets(inner[1])
        values = re.findall(r"'([^']*)'", condition)
        match condition.split()[0]:
            case "branch":
                return [self.branch] == values
            case "triggeredBy":
                return [self.by_timer] == [value == "TimerTrigger" for value in values]
            case "equals":
                assert condition.endswith(", actual: params.UNTIL")
                return [self.until] == values
        return condition in ("beforeInput true", "changeset 'images/**'")

    def runs(self) -> list[str]:
        """Return the stages that this build runs."""
        whens = {name: re.search(r"^ +when \{ (.*) \}$", text, re.M) for name, text in jenkins_stages(PIPELINE).items()}
        return [name for name, when in whens.items() if when and all(map(self.meets, when[1].split("; ")))]


@pytest.mark.parametrize(
    ("build", "stages_run"),
    [
        (Build(), ["Check", "Images", "Deploy dev", "Deploy staging", "Deploy prod"]),
        (Build(until="staging"), ["Check", "Images", "Deploy dev", "Deploy staging"]),
        (Build(until="dev"), ["Check", "Images", "Deploy dev"]),
        (Build(branch="a-change"), ["Check"]),
        (Build(by_timer=True), ["Watch"]),
        (Build(branch="a-change", by_timer=True), []),
    ],
)
def test_a_build_of_jenkins_goes_as_far_as_it_is_told(build: Build, stages_run: list[str]) -> None:
    assert build.runs() == stages_run
    text = (PIPELINE.text or b"").decode()
    assert "choice(name: 'UNTIL', choices: ['prod', 'staging', 'dev']" in text
    assert re.search(r"triggers \{\s*cron\('H 5 \* \* \*'\)\s*\}", text)


def test_people_are_asked_before_staging_and_prod() -> None:
    for tree, stage, question in ((PIPELINE, "Deploy", "Deploy to"), (PROMOTION, "Promote to", "Promote to")):
        asks = {name: re.findall(r"input \{ message '(.*)' \}", text) for name, text in jenkins_stages(tree).items()}
        assert {name: asked for name, asked in asks.items() if asked} == {
            f"{stage} staging": [f"{question} staging?"],
            f"{stage} prod": [f"{question} production?"],
        }
    waiting = [text for text in jenkins_stages(PIPELINE).values() if "input {" in text]
    assert all("beforeInput true" in text for text in waiting), "nobody is asked about what will not be done"


def test_logs_are_kept_as_long_as_the_documentation_says() -> None:
    (said,) = re.findall(
        r"^## What a pipeline has said\n(.*?)^## ", (ROOT / "docs/delivery.md").read_text(), re.M | re.S
    )
    for tree in (PIPELINE, PROMOTION):
        (builds,) = re.findall(r"buildDiscarder\(logRotator\(numToKeepStr: '(\d+)'\)\)", (tree.text or b"").decode())
        assert f"{builds} builds" in said
    resources = cfn.load(ROOT / "delivery/deployer.yaml")["Resources"]
    logs = resources["BuildLogs"]["Properties"]
    assert f"`{logs['LogGroupName']['Fn::Sub'].replace('${StackName}', '<stack>')}`" in said
    assert f"keeps {logs['RetentionInDays']} days" in said
    assert resources["BuildProject"]["Properties"]["LogsConfig"] == {
        "CloudWatchLogs": {"Status": "ENABLED", "GroupName": {"Ref": "BuildLogs"}}
    }


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
        checkouts = [step for step in job.get("steps", []) if step.get("uses", "").startswith("actions/checkout@")]
        assert all(step["with"]["persist-credentials"] is False for step in checkouts)


def test_an_action_that_the_deployer_lacks_is_named() -> None:
    deployer = (ROOT / "delivery/deployer.yaml").read_text()
    every = ["WatchPolicy", "StackPolicy", "RolesPolicy", "ResourcesPolicy", "DataPolicy"]
    assert missing(["sqs:CreateQueue", "sqs:GetQueueUrl", "kinesis:PutRecords"], deployer, every) == []
    assert missing(["sqs:CreateQueue", "sqs:AddPermission"], deployer, every) == ["sqs:AddPermission"]
    assert missing(["sqs:CreateQueue", "sqs:GetQueueUrl"], deployer, ["WatchPolicy"]) == ["sqs:CreateQueue"]
    replicates = "s3:PutReplicationConfiguration"
    assert missing([replicates], deployer.replace(f"{replicates}, ", ""), every) == [replicates]


def test_who_watches_looks_and_tells() -> None:
    """Of CloudFormation drift is detected, of what its template stores the key is used, and mail is sent."""
    policy = cfn.load(ROOT / "delivery/deployer.yaml")["Resources"]["WatchPolicy"]["Properties"]["PolicyDocument"]
    named = [one["Action"] for one in policy["Statement"]]
    actions = [action for some in named for action in ([some] if isinstance(some, str) else some)]
    others = {action for action in actions if not re.match(r"\w+:(Describe|Detect|Get|List|GET)", action)}
    assert others == {"kms:Decrypt", "kms:GenerateDataKey", "sns:Publish"}
    assert not {"s3:GetObject", "s3:GetObjectVersion", "ssm:GetParameter", "sqs:ReceiveMessage"} & set(actions)
    assert "--mail" in make("-n", "stack-drift", "ENV=prod").split()


@pytest.mark.parametrize("template", sorted((ROOT / "delivery").glob("*.yaml")), ids=lambda path: path.stem)
def test_what_is_deployed_without_sam_has_no_aliases_which_cloudformation_does_not_read(template: Path) -> None:
    """CloudFormation User Guide, "Template formats"."""
    events = yaml.parse(template.read_text(), yaml.CSafeLoader)
    assert not [event for event in events if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None)]


def test_what_sam_makes_of_its_types_is_known() -> None:
    kinds = types((ROOT / "template.yaml").read_text())
    assert {"AWS::Lambda::Function", "AWS::SNS::Subscription", "AWS::SageMaker::ModelPackageGroup"} <= kinds
    assert not [kind for kind in kinds if "Serverless" in kind or kind.startswith("Custom")]


def test_one_environment_of_one_repository_may_deploy() -> None:
    roles = cfn.resources(cfn.load(ROOT / "delivery/deployer.yaml"), "AWS::IAM::Role")
    for name, who in (
        ("DeployerRole", "${GitHubEnvironment}"),
        ("WatcherRole", "${GitHubEnvironment}-watch"),
        ("PusherRole", "images"),
    ):
        github, jenkins, *_ = roles[name]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert github["Fn::If"][1]["Condition"] == {
            "StringEquals": {
                "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
                "token.actions.githubusercontent.com:sub": {"Fn::Sub": f"repo:${{GitHubRepository}}:environment:{who}"},
            }
        }
        assert jenkins["Fn::If"][1]["Principal"] == {"AWS": {"Ref": "AgentRoleArn"}}
    (promoter,) = roles["PromotedRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert promoter["Principal"] == {"AWS": {"Ref": "PromoterRoleArn"}}


def test_who_deploys_takes_the_role_of_the_environment_before_which_may_read_versions_and_no_more() -> None:
    resources = cfn.load(ROOT / "delivery/deployer.yaml")["Resources"]
    of_policy = {
        name: resources[name]["Properties"]["PolicyDocument"]["Statement"]
        for name in ("PromotePolicy", "PromotedPolicy")
    }
    takes = [one for one in of_policy["PromotePolicy"] if one["Action"] == "sts:AssumeRole"]
    assert takes == [{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": {"Ref": "FromRoleArn"}}]
    *_, promote = resources["DeployerRole"]["Properties"]["ManagedPolicyArns"]
    assert promote == {"Fn::If": ["Receives", {"Ref": "PromotePolicy"}, {"Ref": "AWS::NoValue"}]}
    promoted = resources["PromotedRole"]["Properties"]
    assert (promoted["ManagedPolicyArns"], "Policies" in promoted) == ([{"Ref": "PromotedPolicy"}], False)
    actions = [one["Action"] for one in of_policy["PromotedPolicy"]]
    assert {action for some in actions for action in ([some] if isinstance(some, str) else some)} == {
        "cloudformation:DescribeStacks", "sagemaker:ListModelPackages", "sagemaker:DescribeModelPackage",
        "s3:ListBucketVersions", "s3:GetObject", "s3:GetObjectVersion", "kms:Decrypt",
    }  # fmt: skip


def test_a_build_runs_what_the_pipelines_run_as_the_role_that_deploys() -> None:
    resources = cfn.load(ROOT / "delivery/deployer.yaml")["Resources"]
    project = resources["BuildProject"]["Properties"]
    *_, step = yaml.safe_load(project["Source"]["BuildSpec"])["phases"]["build"]["commands"]
    assert [step] == delivered()["prod"]
    (python,) = yaml.safe_load(project["Source"]["BuildSpec"])["phases"]["install"]["runtime-versions"].values()
    checked = [
        step["with"]["python-version"]
        for name in WORKFLOWS
        for job in jobs(name).values()
        for step in job.get("steps", [])
        if step.get("uses", "").startswith("actions/setup-python@")
    ]
    assert {str(python), *checked} == {"3.12"}, "what is deployed by it is what was checked by it"
    *_, trusted = resources["DeployerRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert trusted["Fn::If"][:2] == [
        "Builds",
        {"Effect": "Allow", "Principal": {"AWS": {"Fn::GetAtt": ["BuilderRole", "Arn"]}}, "Action": "sts:AssumeRole"},
    ]
    *_, watching = resources["WatcherRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert watching["Fn::If"][0] == "ForAgent"
    (policy,) = resources["BuilderRole"]["Properties"]["Policies"]
    assume, *_, connection = policy["PolicyDocument"]["Statement"]
    assert assume["Action"] == "sts:AssumeRole"
    assert assume["Resource"]["Fn::Sub"].endswith(":role/deploys-${StackName}")
    known = cfn.load(ROOT / "delivery/deployer.yaml")["Parameters"]["SourceConnectionArn"]["AllowedPattern"]
    services = ("codeconnections", "codestar-connections")  # each has resources and actions of its own name
    assert all(re.fullmatch(known, f"arn:aws:{one}:eu-west-1:123456789012:connection/{'0' * 36}") for one in services)
    assert connection["Fn::If"][:2] == ["Connects", {
        "Effect": "Allow", "Resource": {"Ref": "SourceConnectionArn"},
        "Action": [f"{one}:{what}" for one in services for what in ("GetConnection", "GetConnectionToken")],
    }]  # fmt: skip


def test_a_build_starts_when_its_pipeline_was_made_or_updated() -> None:
    resources = cfn.load(ROOT / "delivery/deployer.yaml")["Resources"]
    rule = resources["BuildRule"]["Properties"]
    pattern = rule["EventPattern"]
    assert (pattern["source"], pattern["detail-type"]) == (
        ["aws.cloudformation"],
        ["CloudFormation Stack Status Change"],
    )
    assert pattern["detail"] == {
        "stack-id": [{"Ref": "AWS::StackId"}],
        "status-details": {"status": ["CREATE_COMPLETE", "UPDATE_COMPLETE"]},
    }
    (target,) = rule["Targets"]
    arns = [{"Fn::GetAtt": [name, "Arn"]} for name in ("BuildProject", "BuildRuleRole")]
    assert [target["Arn"], target["RoleArn"]] == arns
    (policy,) = resources["BuildRuleRole"]["Properties"]["Policies"]
    assert policy["PolicyDocument"]["Statement"] == [
        {"Effect": "Allow", "Action": "codebuild:StartBuild", "Resource": arns[0]}
    ]


def test_the_product_is_the_pipelines_template_and_one_role_may_launch_it() -> None:
    resources = cfn.load(ROOT / "delivery/portfolio.yaml")["Resources"]
    who = resources["WhoMayLaunch"]["Properties"]
    assert (who["PrincipalARN"], who["PrincipalType"]) == ({"Ref": "WhoArn"}, "IAM")
    (version,) = resources["Product"]["Properties"]["ProvisioningArtifactParameters"]
    assert version["Info"] == {"LoadTemplateFromURL": {"Ref": "TemplateUrl"}}
    belongs = [resources[name]["Properties"] for name in ("ProductInPortfolio", "LaunchedByRole")]
    assert all((one["PortfolioId"], one["ProductId"]) == ({"Ref": "Portfolio"}, {"Ref": "Product"}) for one in belongs)
    assert who["PortfolioId"] == {"Ref": "Portfolio"}


def test_a_product_deploys_the_reviewed_branch_of_known_repositories_and_for_nobody_else() -> None:
    """A deployer makes roles, and so has the rights of any: what it runs is what decides."""
    template = cfn.load(ROOT / "delivery/portfolio.yaml")
    constraint = template["Resources"]["OnlyKnownSources"]["Properties"]
    text, values = constraint["Rules"]["Fn::Sub"]
    assert values == {
        "Addresses": {"Fn::Join": ['","', {"Ref": "Sources"}]},
        "Opened": {"Fn::Join": ['","', {"Ref": "MayOpenArns"}]},
        "Stacks": {"Fn::Join": ['","', {"Ref": "StackNames"}]},
    }
    text = text.replace("${Addresses}", 'https://a","https://b').replace("${Branch}", "main")
    rules = json.loads(text.replace("${Opened}", "arn:aws:s3:::lake").replace("${Stacks}", 'cars","shops'))
    says = [one["Assert"] for rule in rules.values() for one in rule["Assertions"]]
    assert says[:5] == [
        {"Fn::Contains": [["https://a", "https://b"], {"Ref": "SourceUrl"}]},
        {"Fn::Equals": [{"Ref": "SourceVersion"}, "main"]},
        {"Fn::Contains": [["cars", "shops"], {"Ref": "StackName"}]},
        {"Fn::Equals": [{"Ref": "Boundary"}, "stack"]},
        {"Fn::EachMemberIn": [{"Ref": "BoundaryOpensArns"}, ["", "arn:aws:s3:::lake"]]},
    ]
    roles = ("GitHubRepository", "AgentRoleArn", "FromRoleArn", "PromoterRoleArn")
    assert says[5:] == [{"Fn::And": [{"Fn::Equals": [{"Ref": name}, ""]} for name in roles]}]
    assert {"SourceUrl", "SourceVersion", "StackName", "Boundary", "BoundaryOpensArns", *roles} <= set(
        cfn.load(ROOT / "delivery/deployer.yaml")["Parameters"]
    )
    assert '"' not in template["Parameters"]["Sources"]["AllowedPattern"]
    assert not re.fullmatch(template["Parameters"]["MayOpenArns"]["AllowedPattern"], 'arn:aws:s3:::a"')


@pytest.mark.parametrize(("file", "name"), [("deployer", "BoundaryOpensArns"), ("portfolio", "MayOpenArns")])
def test_what_is_opened_is_neither_everything_nor_all_keys(file: str, name: str) -> None:
    pattern = cfn.load(ROOT / f"delivery/{file}.yaml")["Parameters"][name]["AllowedPattern"]
    key = "arn:aws:kms:eu-west-1:123456789012:key/"
    opened = ("", "arn:aws:s3:::lake", "arn:aws:s3:::lake/raw/*", f"{key}1", "arn:aws:ecr:eu-west-1:1:repository/i/*")
    assert all(re.fullmatch(pattern, arn) for arn in opened)
    for arn in ("*", "arn:aws:s3:::*", "arn:aws:s3:::la*", "arn:aws:kms:*:*:key/1", f"{key}*", "arn:aws:iam::1:role/x"):
        assert not re.fullmatch(pattern, arn), arn


@pytest.mark.parametrize(
    "name",
    [
        "deploys",
        "bounds-x",
        "builds",
        "watches-a",
        "SC",
        "SC-123456789012-pp",
        "aws",
        "AWS-x",
        "1a",
        "Cars",
        "used-bucket",
        "a-bucket-b",
    ],
)
def test_no_stack_has_a_name_with_which_others_of_the_account_begin(name: str) -> None:
    """Who deploys a stack may change all whose names begin with its own."""
    pattern = cfn.load(ROOT / "delivery/deployer.yaml")["Parameters"]["StackName"]["AllowedPattern"]
    assert not re.fullmatch(pattern, name)
    assert all(
        re.fullmatch(pattern, good)
        for good in ("used-cars-prod", "scores", "deploysome", "awsome", "buckets", "a-buckets", "a" * 26)
    )
    launching = cfn.load(ROOT / "delivery/portfolio.yaml")["Resources"]
    paths = {launching[one]["Properties"]["Path"] for one in ("LaunchRole", "LaunchPolicy")}
    assert paths == {"/launches/"}  # role/launches/..., which no stack's role/<name>-* is


def test_the_steps_of_a_build_take_the_role_by_the_containers_credentials(tmp_path: Path) -> None:
    """The shell of a build, with a make that says which profile it was called with."""
    project = cfn.load(ROOT / "delivery/deployer.yaml")["Resources"]["BuildProject"]["Properties"]
    commands = yaml.safe_load(project["Source"]["BuildSpec"])["phases"]["build"]["commands"]
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\necho "$AWS_PROFILE of $AWS_CONFIG_FILE: $*"\ncat "$AWS_CONFIG_FILE"\n')
    make.chmod(0o755)
    role = "arn:aws:iam::123456789012:role/deploys-cars"
    variables = {
        "HOME": str(tmp_path),
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "ROLE_ARN": role,
        "AWS_REGION": "eu-west-1",
    }
    script = "\n".join(commands)
    ran = subprocess.run(["sh", "-ec", script], env=variables, capture_output=True, text=True, check=True)
    called, *config = ran.stdout.splitlines()
    assert called == f"deploys of {tmp_path}/deploys: deploy YES=1"
    assert config == [
        "[profile deploys]",
        f"role_arn = {role}",
        "credential_source = EcsContainer",
        "region = eu-west-1",
    ]


def test_a_launch_reads_service_catalogs_copy_of_the_template_and_tags_its_stack() -> None:
    """Service Catalog Administrator Guide, "Step 6: Add a launch constraint to assign an IAM role"."""
    resources = cfn.load(ROOT / "delivery/portfolio.yaml")["Resources"]
    statements = resources["LaunchPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    (copied,) = [one for one in statements if one["Action"] == "s3:GetObject" and "Condition" in one]
    assert copied["Condition"] == {"StringEquals": {"s3:ExistingObjectTag/servicecatalog:provisioning": "true"}}
    (stacks,) = [one for one in statements if "cloudformation:CreateStack" in one["Action"]]
    assert {"cloudformation:TagResource", "cloudformation:UntagResource"} <= {*stacks["Action"]}
    (trust,) = resources["LaunchRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert list(trust["Condition"]) == ["StringEqualsIfExists"]  # whether it names the account is not documented


def test_whoever_launches_the_product_gets_no_more_than_a_pipeline() -> None:
    resources = cfn.load(ROOT / "delivery/portfolio.yaml")["Resources"]
    assert resources["LaunchedByRole"]["Properties"]["RoleArn"] == {"Fn::GetAtt": ["LaunchRole", "Arn"]}
    statements = resources["LaunchPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    (passing,) = [one for one in statements if one["Action"] == "iam:PassRole"]
    assert passing["Condition"] == {
        "StringEquals": {"iam:PassedToService": ["codebuild.amazonaws.com", "events.amazonaws.com"]}
    }
    names = {
        body["Properties"]["RoleName"]["Fn::Sub"].removesuffix("${StackName}")
        for body in cfn.resources(cfn.load(ROOT / "delivery/deployer.yaml"), "AWS::IAM::Role").values()
    }
    (making,) = [one for one in statements if "iam:CreateRole" in one["Action"]]
    assert {arn["Fn::Sub"].rpartition(":role/")[2].removesuffix("*") for arn in making["Resource"]} == names
