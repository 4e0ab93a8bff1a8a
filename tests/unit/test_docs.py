"""What README and the docs name is there: files, headings, targets of make, commands and their options."""

from __future__ import annotations

import json
import re
import shlex
from datetime import UTC, datetime
from functools import cache
from itertools import groupby
from pathlib import Path

import pytest
from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import ServiceModel

from localcloud.__main__ import command_line
from perennial.model import definition
from perennial.model.algorithms import ALGORITHMS
from perennial.monitoring import period
from perennial.runs import configuration, run_input
from perennial.runs.monitor_input import monitor_input
from perennial_cli import parameters, templates
from perennial_cli.app import whole
from perennial_cli.parameters import Setting
from tests.unit.test_makefile import ROOT, make

PAGES = [*sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("docs/**/*.md"))]
PLACEHOLDER = re.compile(r"[<>*{}…$]|house-prices")  # a model that nobody has
AWS_S3 = {"cp", "sync", "rm"}  # of the AWS CLI alone
MAKEFILE = (ROOT / "Makefile").read_text()
EVERYWHERE = {"--query", "--output", "--region"}


each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@cache
def commands(page: Path) -> list[list[str]]:
    """The words of each command in the shell blocks of a page."""
    found = []
    for block in re.findall(r"^ *```bash\n(.*?)^ *```", page.read_text(), re.DOTALL | re.MULTILINE):
        if name := re.search(r'^L="(.+)"$', block, re.MULTILINE):
            block = block.replace("$L ", f"{name[1]} ")
        text = re.sub(r"(?m)(?<!\S)#.*$", "", block).replace("\\\n", " ")
        for part in [*re.findall(r"\$\(([^()]+)\)", text), re.sub(r"\$\([^()]+\)", "x", text)]:
            lexer = shlex.shlex(part, posix=True, punctuation_chars="\n;&|")
            lexer.whitespace, lexer.whitespace_split, lexer.commenters = " \t", True, ""
            found += [list(words) for end, words in groupby(lexer, lambda word: word.strip("\n;&|") == "") if not end]
    return found


@cache
def mentions(page: Path) -> list[list[str]]:
    """The words of each text in a page that begins as a command."""
    found = re.findall(r"`((?:make|perennial|python -m|aws [\w-]+) [^`]+)`", page.read_text())
    return [re.findall(r'[^\s"]*"[^"]*"|\S+', text) for text in found]


def calls(found: list[list[str]], *program: str) -> list[list[str]]:
    """The arguments with which a program is called, wherever Python is."""
    named = [[word.removeprefix(".venvs/dev/bin/") for word in words] for words in found]
    return [words[len(program) :] for words in named if words[: len(program)] == list(program)]


# ---- Files


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@each_page
def test_links_lead_to_files_and_headings_that_are_there(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), target
        if anchor:
            assert anchor in map(slug, re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)), target


@each_page
def test_files_that_are_named_are_there(page: Path) -> None:
    """Whatever begins with a folder of the repository: `perennial/runs/record.py`, `docs/operate.md`."""
    folders = [path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")]
    named = re.findall(rf"(?<![\w/.-])((?:{'|'.join(folders)})/[^\s`,;:()\[\]\"'#]*)", page.read_text())
    paths = [name.rstrip(".") for name in named if not PLACEHOLDER.search(name)]
    assert [name for name in paths if not (ROOT / name).exists() and not (ROOT / f"{name}.py").exists()] == []


# ---- Commands


@each_page
def test_make_has_the_targets_and_the_settings(page: Path) -> None:
    for words in calls(commands(page) + mentions(page), "make"):
        targets = [word for word in words if "=" not in word]
        for setting in (word.partition("=")[0] for word in words if "=" in word):
            assert re.search(rf"\$\(?{setting}\b", MAKEFILE), words
        for target in targets:
            assert re.search(rf"^  {target} ", make("help"), re.MULTILINE), words


@each_page
def test_the_local_cloud_takes_the_arguments(page: Path) -> None:
    for words in calls(commands(page), "python", "-m", "localcloud"):
        command_line()[0].parse_args(words)


@each_page
def test_perennial_has_the_commands_and_their_options(page: Path) -> None:
    """What the local cloud's own commands take is not the command's to know."""
    known = whole().commands
    for name, *words in calls(commands(page) + mentions(page), "perennial"):
        assert name in known, name
        options = {option for parameter in known[name].params for option in parameter.opts + parameter.secondary_opts}
        given = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert given <= {*options, "--help"} or name == "local", (name, given)
        assert name != "local" or {*words[:1]} <= known["local"].commands.keys(), words


@each_page
def test_modules_that_are_run_are_there(page: Path) -> None:
    for module, *_ in calls(commands(page) + mentions(page), "python", "-m"):
        path = ROOT / module.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file() or module == "pytest", module


@cache
def service_model(name: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(name, "service-2"), name)


@each_page
def test_stacks_are_made_with_what_their_templates_take(page: Path) -> None:
    """Of delivery/, by commands that are typed as they stand there, but for what is in angle brackets."""
    for words in calls(commands(page), "aws", "cloudformation", "create-stack"):
        option = dict(zip(words[::2], words[1::2], strict=False))
        (file,) = [word.removeprefix("file://") for word in words if word.startswith("file://")]
        template = templates.load(ROOT / file)
        given = [re.fullmatch(r'ParameterKey=(\w+),ParameterValue="?([^"]*)"?', word) for word in words]
        settings = [Setting(one[1], re.sub(r"<\w+>", "some", one[2]), str(page)) for one in given if one]
        assert bool(settings) == bool(template.get("Parameters"))
        assert parameters.problems(template, settings, str(page), {}) == []
        bodies = [body for body in template["Resources"].values() if body["Type"].startswith("AWS::IAM::")]
        named = any({"RoleName", "ManagedPolicyName"} & body["Properties"].keys() for body in bodies)
        needs = "CAPABILITY_NAMED_IAM" if named else "CAPABILITY_IAM" if bodies else None
        assert option.get("--capabilities") == needs


@each_page
def test_aws_has_the_operations_and_their_options(page: Path) -> None:
    for service, operation, *words in calls(commands(page) + mentions(page), "aws"):
        if service == "s3":
            assert operation in AWS_S3
            continue
        model = service_model(service.removesuffix("api"))
        names = {xform_name(name, "-"): name for name in model.operation_names}
        members = model.operation_model(names[operation]).input_shape.members
        known = EVERYWHERE | {f"--{xform_name(member, '-')}" for member in members}
        given = {word for word in words if word.startswith("--")}
        assert given <= known, (service, operation)


def test_the_window_that_is_shown_is_one_that_the_monitor_takes() -> None:
    (words,) = calls(commands(ROOT / "docs/monitoring.md"), "aws", "stepfunctions", "start-execution")
    wanted = monitor_input(json.loads(words[words.index("--input") + 1])).Window
    assert wanted
    served = [{"run": "20261101000000-aaaa", "since": "2026-11-01T00:00:00Z"}]
    chosen = period.asked_period(served, wanted.Start, wanted.End, datetime(2027, 1, 1, tzinfo=UTC))
    assert (period.written(chosen.start), period.written(chosen.end)) == (wanted.Start, wanted.End)


def test_the_run_that_is_shown_is_one_that_the_model_yaml_shown_allows() -> None:
    page = (ROOT / "docs/add-a-model.md").read_text()
    model = definition.parse(page.partition("## model.yaml\n\n```yaml\n")[2].partition("```")[0], "model.yaml")
    given = run_input.execution_input(json.loads(re.findall(r"--input '(\{.*?\})'\n", page, re.DOTALL)[-1]))
    resolved = configuration.resolve("house-prices", model, run=given.Overrides)
    assert (resolved.definition.algorithm, resolved.withheld) == ("linear-learner", ())
    elsewhere = configuration.resolve("house-prices", model, run={**given.Overrides, "DataPrefix": "raw/2026/"})
    assert elsewhere.withheld == ("data_prefix",)


def test_the_page_of_models_names_each_override_of_a_run() -> None:
    section = (ROOT / "docs/add-a-model.md").read_text().split("## Start a run by hand")[1]
    for name in configuration._PATHS:
        step, _, field = name.rpartition(".")
        generic = f"Instances.<Step>.{field}" if step.startswith("Instances.") else name
        named = (name, f"`{generic}`", f"`.{field}`" if step.startswith("Instances.") else name)
        assert any(one in section for one in named), name
    assert "`HyperParameters.<name>`" in section


def test_a_decision_has_a_number_of_its_own() -> None:
    numbers = [path.name[:4] for path in sorted(ROOT.glob("docs/decisions/*.md"))]
    assert numbers == [f"{number:04}" for number in range(1, len(numbers) + 1)]


def test_what_training_takes_is_what_the_benchmark_has_measured() -> None:
    (row,) = re.findall(
        r"^\| processor time, s +\|(.+)\|$", section_of("docs/benchmark.md", "## Training"), re.MULTILINE
    )
    boosting, ours, *_ = (cell.strip() for cell in row.split("|"))
    said = f"{ours} s of a processor for a million rows, of which {boosting} s are boosting"
    assert said in (ROOT / "docs/data-files.md").read_text()


def section_of(page: str, heading: str) -> str:
    return (ROOT / page).read_text().split(f"\n{heading}\n")[1].split("\n## ")[0]


def test_what_the_readme_has_make_run_is_run_by_tests() -> None:
    """The other commands of the README: tests/integration/localcloud/engine/test_client_tools.py."""
    sources = "".join(path.read_text() for path in ROOT.glob("tests/**/test_*.py"))
    targets = {words[0] for words in calls(commands(ROOT / "README.md"), "make")}
    assert {"demo", "test", "explain", "stop", "deploy"} <= targets
    for target in targets:
        for module in re.findall(r"-m tools\.(\w+)", make("-n", target)):
            assert re.search(rf"from tools import .*\b{module}\b", sources), module


def test_the_page_of_models_names_each_metric_that_a_search_may_go_by() -> None:
    (row,) = (
        line for line in (ROOT / "docs/add-a-model.md").read_text().splitlines() if line.startswith("| `tuning.metric`")
    )
    named = re.findall(r"`([^`]+)`", row)
    for algorithm in ALGORITHMS.values():
        for problem in algorithm.of_problem:
            assert {name.removeprefix("validation:") for name in algorithm.objectives(problem)} <= set(named)
