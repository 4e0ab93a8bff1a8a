"""What make would run, and what it says of itself."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def make(*arguments: str, inherits: tuple[str, ...] = ()) -> str:
    environ = {
        name: value
        for name, value in os.environ.items()
        if name in inherits or name not in ("MAKEFLAGS", "PORT", "LOCAL", "STACK", "MODEL", "BASE", "WORKERS")
    }
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("target", ["up", "deploy-local", "demo", "explain", "delete"])
def test_the_local_cloud_is_found_unless_a_port_is_given(target: str) -> None:
    assert "--port" not in make("-n", target)
    calls = [
        line for line in make("-n", target, "PORT=4710").splitlines() if " localcloud " in line or "cli local " in line
    ]
    assert calls
    assert all(re.search(r"(perennial_cli local up|-m localcloud env) --port 4710\b", line) for line in calls)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("promote", "VERSION"),
        ("promote", "FROM_ENV"),
        ("promote", "RUN_FILE"),
        ("smoke", "RUN"),
        ("copy-data", "FROM"),
        ("erase", "ROWS"),
    ],
)
def test_a_text_from_outside_is_run_by_nobody(
    target: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As make reads a variable of the environment, it would run what stands in $(shell ...)."""
    text = f"$(shell touch {tmp_path}/run)`touch {tmp_path}/run`"
    monkeypatch.setenv(name, text)
    rule = "show: ; @printenv $(NAME)\n"
    shown = make("-f", "Makefile", "--eval", rule, "show", f"NAME={name}", "STACK=cars")
    assert f'"$${name}"'.replace("$$", "$") in make("-n", target, "STACK=cars")
    assert (shown, list(tmp_path.iterdir())) == (f"{text}\n", [])


@pytest.mark.parametrize("exit_code", [0, 1])
def test_the_python_of_the_system_is_taken_where_it_says_that_it_will_do(exit_code: int, tmp_path: Path) -> None:
    system = tmp_path / "python3"
    system.write_text(f"#!/bin/sh\nexit {exit_code}\n")
    system.chmod(0o755)
    shown = ["--eval", "show: ; @echo $(PYTHON)", "show", f"SYSTEM_PYTHON={system}"]
    assert make(*shown) == f"{'python3' if exit_code else system}\n"
    assert make(*shown, "PYTHON=python3.13") == "python3.13\n"


@pytest.mark.parametrize("target", ["explain", "delete", "erase"])
def test_on_aws_no_local_cloud_is_asked_for(target: str) -> None:
    assert "localcloud" not in make("-n", target, "LOCAL=", "STACK=cars")


def test_a_deployment_is_the_commands_own() -> None:
    assert make("-n", "deploy", "ENV=prod").rstrip().endswith("perennial_cli deploy --env prod")
    named = make("-n", "deploy", "MODEL=x", "STACK=y", "YES=1").split()
    assert named[-6:] == ["--env", "default", "x", "--stack", "y", "--yes"]
    assert make("-n", "stop").rstrip().endswith("perennial_cli local down")


def test_a_stack_is_named_after_its_model() -> None:
    stacks = [
        make("-n", target, *given).split() for target in ("explain", "deploy-local") for given in ((), ("MODEL=x",))
    ]
    assert [line[-1] for line in stacks[:2]] == ["perennial-used-cars", "perennial-x"]
    assert stacks[2][-3:] == ["used-cars", "--stack", "perennial-used-cars"]
    assert stacks[3][-3:] == ["x", "--stack", "perennial-x"]
    assert make("-n", "explain", "MODEL=x", "STACK=y").rstrip().endswith("perennial_cli explain --stack y")
    assert make("-n", "demo", "MODEL=x").rstrip().endswith("tools.demo --stack perennial-used-cars")


@pytest.mark.parametrize(("target", "tool"), [("delete", "perennial_cli delete"), ("erase", "perennial_cli erase")])
def test_nothing_is_deleted_or_erased_that_nobody_named(target: str, tool: str) -> None:
    named = [make("-n", target, *given).partition(tool)[2] for given in ((), ("MODEL=x",), ("STACK=y",))]
    assert ["perennial" in line for line in named] == [False, True, False]
    assert named[1].split()[0] == "perennial-x"
    assert named[2].split()[0] == "y"


@pytest.mark.parametrize(
    "words",
    [
        *(f"{target} STACK=" for target in ("explain", "deploy", "deploy-local", "delete", "demo", "notebook")),
        *("erase ROWS=a=1 STACK=", "erase STACK=cars ROWS=", "copy-data STACK=cars FROM=", "copy-data FROM=a STACK="),
        *("deploy ENV=", "deploy SIZE=", "deploy MODEL=", "check-model MODEL=", "explain MODEL=", "up PORT="),
        *("smoke ENV=", "smoke RUN=", "promote VERSION=", "promote FROM_ENV=", "promote ENV=", "promote RUN_FILE="),
        *("stack-drift ENV=", "image IMAGE=", "image REPOSITORY=", "test-changed BASE=", "seams MINISTACK="),
        "explain STACK=   ",
    ],
)
def test_an_empty_name_is_refused_and_nothing_is_done(words: str) -> None:
    """As of a variable that is not set: STACK=$UNSET."""
    *others, last = words.split(" ", 2 if words.count("=") > 1 else 1)
    name = last.partition("=")[0]
    environ = {one: value for one, value in os.environ.items() if one not in ("MAKEFLAGS", name)}
    command = ["make", "--no-print-directory", "-n", *others, last]
    ended = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert f"{name} is empty: give it a value, or leave it out." in ended.stderr


def test_an_empty_variable_of_the_environment_is_as_if_it_were_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(target: str, **given: str) -> str:
        words = [f"{name}={value}" for name, value in given.items() if value]
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        return make("-n", target, *words, inherits=tuple(given)).rstrip().partition("perennial_cli ")[2]

    assert made("explain", STACK="") == made("explain", STACK="", MODEL="") == "explain --stack perennial-used-cars"
    assert made("deploy", STACK="", MODEL="").split() == ["deploy", "--env", "default"]
    assert made("delete", STACK="").split() == ["delete"]
    assert made("delete", STACK="", MODEL="x").split() == ["delete", "perennial-x"]


def test_what_has_no_stack_is_not_taken_for_one() -> None:
    """The next word would be."""
    assert make("-n", "erase", "ROWS=a=1").rstrip().endswith('erase "" "$ROWS"')


def test_a_deletion_is_confirmed_by_1_only() -> None:
    told = [make("-n", "delete", "STACK=cars", f"YES={given}").rstrip() for given in ("1", "no", "")]
    assert [line.endswith("delete cars --yes") for line in told] == [True, False, False]


def test_an_erasure_is_confirmed_by_1_only_and_takes_any_value() -> None:
    told = [make("-n", "erase", "STACK=cars", f"YES={given}").rstrip() for given in ("1", "no", "")]
    assert [line.endswith('erase cars "$ROWS" --yes') for line in told] == [True, False, False]
    assert make("-n", "erase", "STACK=cars", "ROWS=name=Pat O'Brien").rstrip().endswith('erase cars "$ROWS"')


def test_data_are_copied_to_a_stack_that_somebody_has_named() -> None:
    assert make("-n", "copy-data", "STACK=cars", "FROM=s3://old/raw/").rstrip().endswith('copy-data "$FROM" cars')


@pytest.mark.parametrize("missed", ["", "bench_preprocess --rows", "bench_jobs"])
def test_a_bound_that_is_missed_fails_the_benchmark_after_all_others_have_run(missed: str, tmp_path: Path) -> None:
    """Each section of the page is of a benchmark that is run, by `make bench` or by a target of its own."""
    python, ran = tmp_path / "python", tmp_path / "ran"
    python.write_text(f"""#!/bin/sh
echo "$2 $3" >> {ran}
case "$2 $3" in *"{missed or "no such"}"*) exit 1;; esac
""")
    python.chmod(0o755)
    made = ("-o", "install", "-o", ".venvs/bench/.installed", f"BIN={tmp_path}")
    if missed:
        with pytest.raises(subprocess.CalledProcessError):
            make(*made, "bench")
    else:
        make(*made, "bench")
    *called, last = ran.read_text().splitlines()
    assert last.startswith("bench.table ")
    page = (ROOT / "docs" / "benchmark.md").read_text()
    sections = {name.replace(" ", "_") for name in re.findall(r"<!-- bench: (.+?)(?: [\d,]+ rows)? -->", page)}
    assert {call.split()[0].removeprefix("bench.bench_") for call in called} == sections - {"drift"}
    assert "bench.bench_drift" in make("-n", "bench-drift")


@pytest.mark.parametrize(
    "text",
    [
        "make up PORT=", "make erase STACK=name ROWS=", "make check-model MODEL=", "make delete STACK=",
        "make explain MODEL=", "make copy-data FROM=",
    ],
)  # fmt: skip
def test_help_names_what_people_give(text: str) -> None:
    assert text in make("help")
