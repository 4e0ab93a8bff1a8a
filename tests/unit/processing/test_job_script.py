"""What the job scripts share: their paths, their way to refuse, their documents."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from processing import analyze_data_quality, analyze_model_quality, job_script, monitor, preprocess

MOUNTED = "/opt/ml/processing/input"
WINDOW = {"endpoint": "cars", "start": "2026-11-29", "end": "2026-11-30"}
BASELINES = {  # one input of the job, which has no room for four
    f"{name.replace('-quality', '')}_baseline": f"{MOUNTED}/baselines/{name}"
    for name in ("data-quality", "model-quality", "bias", "attribution")
}
OWN_INPUT = [
    (preprocess, {"data": f"{MOUNTED}/data", "champion": f"{MOUNTED}/champion"}),
    (analyze_data_quality, {"baseline_data": f"{MOUNTED}/baseline"}),
    (
        analyze_model_quality,
        {name: f"{MOUNTED}/{name}" for name in ("predictions", "test", "serving")}
        | {"baseline_data": f"{MOUNTED}/baseline"},
    ),
    (
        monitor,
        {**WINDOW, "labelled": "None"}
        | {name: f"{MOUNTED}/{name.replace('_', '-')}" for name in monitor.INPUTS}
        | BASELINES,
    ),
]


@pytest.mark.parametrize(("script", "own"), OWN_INPUT)
def test_paths_default_to_where_sagemaker_mounts_them(
    script: ModuleType, own: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class EnoughError(Exception):
        """The paths are known; the job itself is not wanted."""

    found: dict[str, str] = {}
    paths = job_script.paths

    def noted(*given: str, **folders: Any) -> None:
        found.update({key: str(path) for key, path in vars(paths(*given, **folders)).items()})  # type: ignore[arg-type]
        raise EnoughError

    monkeypatch.setattr(job_script, "paths", noted)
    with pytest.raises(EnoughError):
        script.main([f"--{option}={value}" for option, value in own.items() if option in WINDOW])
    assert found == {
        "config": "/opt/ml/processing/input/config/config.json",
        **own,
        "output": "/opt/ml/processing/output",
        "message": "/opt/ml/output/message",
    }


def test_a_refusal_is_in_the_log_and_its_first_kilobyte_in_the_message(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said, message = "x" + "ü" * 1000, tmp_path / "not" / "yet" / "message"
    assert job_script.refuse(said, message) == 1
    assert capsys.readouterr().err == f"error: {said}\n"
    assert message.read_text(encoding="utf-8") == "x" + "ü" * 511  # whole characters only


def test_what_a_refusal_quotes_is_one_bounded_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job_script.refuse("got \x1b[31m\n\u202e" + "x" * 1_000_000, tmp_path / "message")
    logged = capsys.readouterr().err.removesuffix("\n")
    assert logged.startswith(r"error: got \u001b[31m\u000a\u202exxx")
    assert logged.isprintable()
    assert len(logged) < 3000
    assert logged.removeprefix("error: ").startswith((tmp_path / "message").read_text())


def test_each_problem_of_a_refusal_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job_script.refuse(["two problems", "a\nb", *["c"] * 1000], tmp_path / "message")
    assert capsys.readouterr().err.startswith("error: two problems\na\\u000ab\nc\nc\n")
    said = (tmp_path / "message").read_text()
    assert said.startswith("two problems\na\\u000ab\nc\n")
    assert said.count("\n") == job_script.MAX_LINES - 1


@pytest.mark.parametrize(("indent", "text"), [(None, '{"a": "ü"}\n'), (2, '{\n  "a": "ü"\n}\n')])
def test_each_document_is_a_file_of_its_name(indent: int | None, text: str, tmp_path: Path) -> None:
    job_script.write_documents({"one": {"a": "ü"}, "two": {}}, tmp_path / "output", indent=indent)
    assert (tmp_path / "output" / "one.json").read_text(encoding="utf-8") == text
    assert json.loads((tmp_path / "output" / "two.json").read_text(encoding="utf-8")) == {}


def test_a_number_that_json_does_not_have_is_not_written_as_one(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        job_script.write_documents({"one": {"a": float("nan")}}, tmp_path)


@pytest.mark.parametrize("script", ["preprocess", "analyze_data_quality", "analyze_model_quality"])
def test_no_job_imports_pandas_before_it_can_be_left_out(script: str) -> None:
    code = f"import sys, processing.{script}; sys.exit('pandas' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_garbage_is_collected_once_a_script_has_loaded_its_modules() -> None:
    code = "import gc; gc.disable(); from processing import job_script; job_script.keep_modules(); "
    code += "sys.exit(not (gc.isenabled() and gc.get_freeze_count()))"
    assert subprocess.run([sys.executable, "-c", f"import sys; {code}"], check=False).returncode == 0


def test_arrow_and_numpy_compute_without_docstrings_and_what_is_asked_for_in_vain() -> None:
    code = """
from processing import job_script
job_script.leave_out_pandas()
import sys
from datetime import datetime
import numpy as np, pyarrow as pa, pyarrow.compute as pc
assert np.sort(np.ma.masked_array([2, 1])).tolist() == [1, 2]
assert not np.ndarray.sort.__doc__ and "skip_nulls :" not in pc.max.__doc__
times = pa.array([datetime(2024, 1, 31)], pa.timestamp("us"))
assert pc.max(times).as_py() == datetime(2024, 1, 31)
assert pc.match_substring_regex(pa.array(["a7"]), "[0-9]").to_pylist() == [True]
sys.exit(any(sys.modules.get(name) for name in ("pandas", "cloudpickle", "dateutil", "pydoc")))
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
