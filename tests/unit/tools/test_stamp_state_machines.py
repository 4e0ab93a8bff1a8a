"""Time limits and retries of every Task come from one table, and the files stay plain JSON."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

from perennial.model.definition import JobInstance
from tools import asl, cfn, stamp_state_machines
from tools.stamp_state_machines import JOB_SECONDS, OWN, ROOT, NotInTableError, nets, stamped, timeouts

TEXT = (ROOT / "statemachines/train_model.asl.json").read_text()
FUNCTIONS = timeouts(cfn.load(ROOT / "template.yaml"))


def without_nets(value: Any) -> Any:
    """A definition without what is stamped."""
    if isinstance(value, dict):
        own = ("TimeoutSeconds", "Retry") if value.get("Type") == "Task" else ()
        return {key: without_nets(item) for key, item in value.items() if key not in own}
    return [without_nets(item) for item in value] if isinstance(value, list) else value


def test_the_files_have_what_the_table_says() -> None:
    assert stamp_state_machines.main(["--check"]) == 0


def test_nothing_else_is_written_and_what_is_missing_or_changed_by_hand_comes_back() -> None:
    bare = re.sub(r'^ +"Retry": \[\n(?: +\{.*\n)+ +\],\n', "", TEXT, flags=re.MULTILINE)
    changed = re.sub(r'"TimeoutSeconds": \d+,\n( +)"Catch"', r'"TimeoutSeconds": 1,\n\1"Catch"', bare)
    assert '"Retry"' not in bare
    assert changed != bare
    assert stamped(changed, FUNCTIONS) == TEXT
    assert without_nets(asl.parse(changed)) == without_nets(asl.parse(TEXT))


def test_a_call_that_the_table_does_not_know_is_named() -> None:
    with pytest.raises(NotInTableError, match=r"'aws-sdk:sqs:sendMessage' is in no row of TABLE"):
        nets({"Resource": "arn:${Partition}:states:::aws-sdk:sqs:sendMessage"}, {})


def test_a_function_has_as_long_as_the_template_gives_it() -> None:
    call = {"Resource": "arn:${Partition}:states:::lambda:invoke", "Arguments": {"FunctionName": "${AskFunctionArn}"}}
    assert nets(call, {"AskFunction": 77})[0] == 77
    assert (FUNCTIONS["SnapshotDataFunction"], FUNCTIONS["CheckEndpointFunction"]) == (900, 60)


def test_a_job_may_take_as_long_as_a_model_may_allow_and_an_hour_more() -> None:
    (longest,) = (rule.le for rule in JobInstance.model_fields["max_runtime_seconds"].metadata if hasattr(rule, "le"))
    assert longest + 3600 == JOB_SECONDS


def test_what_functions_call_transient_in_their_docstrings_is_what_is_tried_again() -> None:
    texts = [path.read_text() for path in (ROOT / "statemachines").glob("*.asl.json")]
    named = {name for text in texts for name in asl.substitutions(text)}
    called = {name.removesuffix("Arn") for name in named if name.endswith("FunctionArn")}
    said = {}
    for name in called:
        folder = re.sub(r"(?<!^)(?=[A-Z])", "_", name.removesuffix("Function")).lower()
        source = (ROOT / "functions" / folder / "app.py").read_text()
        raises = (ast.get_docstring(ast.parse(source)) or "").partition("Raises")[2]
        said[name] = sorted(re.findall(r"(\w+Error): [^:]*?\b[Tt]ransient\b", raises))
    assert {name: errors for name, errors in said.items() if errors} == {name: sorted(own) for name, own in OWN.items()}


def test_a_file_that_differs_is_named_with_its_states_and_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "statemachines").mkdir()
    file = tmp_path / "statemachines/train_model.asl.json"
    file.write_text(TEXT.replace('"MaxAttempts": 80', '"MaxAttempts": 8', 1))
    (tmp_path / "template.yaml").write_text(
        json.dumps(
            {
                "Globals": {"Function": {"Timeout": 60}},
                "Resources": {
                    name: {"Type": "AWS::Serverless::Function", "Properties": {"Timeout": seconds}}
                    for name, seconds in FUNCTIONS.items()
                },
            }
        )
    )
    assert stamp_state_machines.main(["--check"], tmp_path) == 1
    assert f"{file}: TimeoutSeconds and Retry of 'Preprocess' are not the table's; run: make format" in (
        capsys.readouterr().err
    )
    assert stamp_state_machines.main([], tmp_path) == 0
    assert file.read_text() == TEXT
