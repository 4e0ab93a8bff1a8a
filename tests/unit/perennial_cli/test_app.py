"""What all commands have in common: exit codes, versions, errors in words, a reader who has had enough."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from localcloud.__main__ import command_line
from perennial.features.values import DataError
from perennial_cli.app import COMMANDS, whole
from perennial_cli.console import CommandError
from perennial_cli.failures import LOCAL_IS_DOWN
from perennial_cli.stacks import NoStackError, Stack
from tests.command import perennial, says
from tests.unit.conftest import BUCKET

ROOT = Path(__file__).parents[3]


def test_the_version_is_that_of_the_package_or_says_that_it_is_the_source() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+|source", perennial("--version").stdout.strip())


def test_the_help_says_what_exit_codes_mean() -> None:
    assert "Exit codes: 0 done; 1 failed" in " ".join(perennial("--help").stdout.split())


CODES = [
    # words that mean nothing
    (2, "nonsense", ""),
    (2, "drop", "Missing argument"),
    (2, "runs --most 0", "greater than or equal to"),
    (2, "runs --stack=", "got an empty text"),
    (2, "show nope --stack cars", "'nope' is no id of a run"),
    (2, "compare nope 1 --stack cars", "'nope' is no id of a run"),
    (2, "reproduce nope --stack cars", "'nope' is no id of a run"),
    (2, "cost nope --stack cars", "'nope' is no id of a run"),
    (2, "run --set foo=1", "foo: unknown key; allowed: Algorithm"),
    (2, "run --set foo", "expected NAME=VALUE"),
    (2, "run --input {", "no JSON"),
    (2, "erase cars customer_id", "expected COLUMN=VALUE"),
    # names of what is not here
    (2, "drop nowhere.csv", "nowhere.csv"),
    (2, "check nope", "there is no"),
    (2, "try nope --file README.md", "there is no"),
    (2, "analyze nope --file README.md", "there is no"),
    (2, "cost --model nope", "there is no"),
    (2, "init table.csv --target nope --yes", "there is no column 'nope'"),
    # what only the account knows
    (1, "runs --stack nowhere", "there is no stack nowhere"),
    (1, "runs", "which stack"),
    (1, "show 20261129101500-1a2b --stack cars", "has no record"),
    (1, "show 999 --stack cars", "has no version 999"),
    (1, "approve 999 --stack cars", "has no version 999"),
]


@pytest.mark.parametrize(("code", "words", "told"), CODES, ids=[words for _, words, _ in CODES])
def test_an_exit_code_says_whether_the_words_were_wrong(
    aws: Any, answers: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int, words: str, told: str
) -> None:
    monkeypatch.setenv("PERENNIAL_HOME", str(ROOT))
    monkeypatch.chdir(tmp_path)
    rows = [f"{number},{number % 7}" for number in range(100)]
    Path("table.csv").write_text("\n".join(["size,price", *rows]) + "\n")
    Path("README.md").write_text("size\n1\n")
    outputs = {"BucketName": BUCKET, "StateMachineArn": "arn:aws:states:eu-west-1:1:stateMachine:cars-train-model"}

    def chosen(name: str | None) -> Stack:
        if name != "cars":
            raise NoStackError(f"there is no stack {name}" if name else "which stack is meant?")
        return Stack("cars", outputs, {"ModelName": "used-cars"})

    monkeypatch.setattr("perennial_cli.stacks.chosen", chosen)
    answers("sagemaker", "ListModelPackages", (200, {"ModelPackageSummaryList": []}))
    ended = perennial(*words.split())
    assert (ended.exit_code, says(ended, told)) == (code, True), ended.stderr


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (CommandError("no [bold] stack\x1b[31m"), "error: no [bold] stack\\u001b[31m\n"),
        (DataError("first", "second"), "error: first\n  second\n"),
        (PermissionError(13, "Permission denied", "models"), "error: [Errno 13] Permission denied: 'models'\n"),
    ],
)
def test_a_known_error_is_words_and_ends_with_1(monkeypatch: pytest.MonkeyPatch, error: Exception, text: str) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("perennial_cli.check_models.are_sound", fail)
    monkeypatch.chdir(ROOT)
    ended = perennial("check")
    assert (ended.exit_code, ended.stderr) == (1, text)


@pytest.mark.parametrize(
    ("url", "is_local"),
    [
        ("http://127.0.0.1:4566/", True),
        ("http://localhost:4566/", True),
        ("https://s3.eu-west-1.amazonaws.com/", False),
    ],
)
def test_a_local_cloud_that_is_down_is_told_with_what_brings_it_up(
    monkeypatch: pytest.MonkeyPatch, url: str, is_local: bool
) -> None:
    def fail(*_: object) -> None:
        raise EndpointConnectionError(endpoint_url=url)

    monkeypatch.setattr("perennial_cli.check_models.are_sound", fail)
    monkeypatch.chdir(ROOT)
    ended = perennial("check")
    assert f'Could not connect to the endpoint URL: "{url}"' in ended.stderr
    assert (LOCAL_IS_DOWN in ended.stderr) is is_local


@pytest.mark.parametrize(("error", "raised"), [(KeyError("bug"), KeyError), (EOFError("bug"), RuntimeError)])
def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, error: Exception, raised: type[Exception]) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("perennial_cli.check_models.are_sound", fail)
    monkeypatch.chdir(ROOT)
    with pytest.raises(raised):
        perennial("check")


def test_a_reader_who_has_had_enough_gets_no_traceback() -> None:
    command = [sys.executable, "-m", "perennial_cli", "check"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        assert (program.stderr.read(), program.wait()) == ("", 1)


def test_every_command_that_prints_a_result_prints_it_for_machines_as_well() -> None:
    """Those without are themselves programs, which have it, or print nothing but a document."""
    without = {name for name, command in whole().commands.items() if "as_json" not in {p.name for p in command.params}}
    assert without == {"console", "local", "notebook", "openapi"}
    assert all("--json" in parser.format_usage() for parser in command_line()[1].values())


@pytest.mark.parametrize("name", [name for panel in COMMANDS.values() for name in panel])
def test_the_list_of_commands_says_of_each_what_its_own_help_says_first(name: str) -> None:
    summary = next(entry.summary for panel in COMMANDS.values() for key, entry in panel.items() if key == name)
    assert whole().commands[name].help.partition("\n")[0] == summary


@pytest.mark.parametrize(
    ("variables", "words", "printed"),
    [
        ({}, ("--help",), "Exit codes"),
        ({"_PERENNIAL_COMPLETE": "complete_bash", "COMP_WORDS": "perennial re", "COMP_CWORD": "1"}, (), "reproduce"),
    ],
    ids=("help", "completion"),
)
def test_who_wants_the_list_of_commands_does_not_wait_for_all(
    variables: dict[str, str], words: tuple[str, ...], printed: str
) -> None:
    slow = ("boto3", "botocore", "pyarrow", "numpy", "perennial_cli.commands.running")
    script = f"""import sys, atexit
atexit.register(lambda: print([name for name in {slow} if name in sys.modules]))
sys.argv[0] = "perennial"
from perennial_cli.app import run
run()"""
    ended = subprocess.run(
        [sys.executable, "-c", script, *words],
        cwd=ROOT, capture_output=True, text=True, check=True, env={**os.environ, **variables},
    )  # fmt: skip
    assert printed in ended.stdout
    assert ended.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("word", ["a\udcff", "\ud800", "a\0b"], ids=ascii)
@pytest.mark.parametrize("words", [["promote"], ["show", "latest", "--stack"], ["drop"], ["reject", "1", "--reason"]])
def test_what_is_no_text_is_refused_in_words(words: list[str], word: str) -> None:
    """As a shell hands on the bytes of another encoding."""
    ended = perennial(*words, word)
    assert (ended.exit_code, "expected text in UTF-8" in ended.stderr.replace("\n", " ")) == (2, True)


@pytest.mark.parametrize(
    "words", [("predict", "{}", "--output"), ("predict", "{}", "--json", "-o"), ("promote", "--write-run")]
)
def test_a_file_that_cannot_be_written_is_wrong_use_before_anything_is_asked(words, tmp_path):
    ended = perennial(*words, tmp_path / "no" / "x")
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert says(ended, f"the folder {tmp_path}/no of {tmp_path}/no/x is not there; make it first")
    assert perennial(*words, tmp_path).exit_code == 2, "a folder is no file"
    assert says(perennial(*words, f"{tmp_path}/new/"), "new/ is the name of a folder; name a file in it")
    assert says(perennial(*words, ""), "got an empty text; expected the name of a file")


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("predict", "{}", "-o", "x.parquet"), "x.parquet is named as Parquet is, and CSV is written"),
        (("predict", "{}", "-o", "x.json"), "x.json is named as JSON is, and CSV is written"),
        (("predict", "{}", "--json", "-o", "x.csv"), "x.csv is named as CSV is, and JSON is written"),
        (("analyze", "m", "-f", __file__, "-o", "x.csv"), "x.csv is named as CSV is, and JSON is written"),
        (("promote", "--write-run", __file__), "is there already, and holds no run=ID; name another file"),
    ],
)
def test_a_file_that_would_not_be_what_its_name_says_is_wrong_use(words, problem):
    ended = perennial(*words)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert says(ended, problem)
