"""`make check` looks at the definitions as a deployment does."""

from pathlib import Path

import pytest

from tools import check_models


def test_the_models_of_the_project_are_sound() -> None:
    assert check_models.main([]) == 0


def test_a_wrong_definition_is_told_by_file_and_field(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sound = (check_models.MODELS / "used-cars/model.yaml").read_text()
    for name, text in {"sound": sound, "wrong": sound.replace("metric: rmse", "metric: speed")}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.yaml").write_text(text)
    assert check_models.main([str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert "wrong/model.yaml" in told
    assert "gate.metric" in told


def test_a_folder_without_definitions_is_no_success(tmp_path: Path) -> None:
    assert check_models.main([str(tmp_path)]) == 1
