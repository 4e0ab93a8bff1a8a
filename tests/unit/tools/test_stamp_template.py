"""The images of the template come from one table, and nothing else of the template is touched."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools import cfn, stamp_template
from tools.stamp_template import ROOT, stamped

TEXT = (ROOT / "template.yaml").read_text()


def test_the_template_has_what_the_images_say() -> None:
    assert stamp_template.main(["--check"]) == 0


def test_what_is_changed_by_hand_comes_back() -> None:
    changed = re.sub(r"(# stamped: .*\n).*\n", r"\1", TEXT)
    assert changed != TEXT
    assert stamped(changed) == TEXT


def test_a_block_that_differs_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "template.yaml").write_text(TEXT.replace("'', xgboost, linear", "'', linear"))
    assert stamp_template.main(["--check"], tmp_path) == 1
    assert "'algorithms' are not as perennial/model/images.py" in capsys.readouterr().err
    assert stamp_template.main([], tmp_path) == 0
    assert (tmp_path / "template.yaml").read_text() == TEXT


@pytest.mark.parametrize(
    ("was", "becomes"), [("HttpMethod: GET", "HttpMethod: PUT"), ("the request is too large;", "it is too large;")]
)
def test_what_the_api_answers_otherwise_needs_a_deployment_of_another_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], was: str, becomes: str
) -> None:
    changed = TEXT.replace(was, becomes)
    assert changed != TEXT
    (tmp_path / "template.yaml").write_text(changed)
    assert stamp_template.main(["--check"], tmp_path) == 1
    assert "the names of the API's deployments are not as" in capsys.readouterr().err

    def names(text: str) -> set[str]:
        return set(cfn.resources(cfn.parse(text), "AWS::ApiGateway::Deployment"))

    assert not names(stamped(changed)) & names(TEXT)
    assert len(names(stamped(changed))) == 2
    assert stamped(stamped(changed)) == stamped(changed)


def test_a_block_without_a_place_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected each of"):
        stamped(TEXT.replace("# stamped: algorithms", "# algorithms"))
