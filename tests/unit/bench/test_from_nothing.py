"""A clone that is measured is as good as alone: no variable of who measures it leads it to a cloud that runs."""

from pathlib import Path

import pytest

from bench import bench_from_nothing

SHOWS = "show:\n\t@printenv\nfail:\n\t@echo why; exit 3\n"
OTHERS = ("AWS_ENDPOINT_URL", "AWS_PROFILE", "PERENNIAL_STACK", "LOCALCLOUD_RETRY_SCALE", "STACK", "PORT", "BENCH_ROWS")


def test_commands_get_what_finds_programs_and_caches_and_nothing_of_another_cloud(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*OTHERS, "UV_CACHE_DIR", "PIP_CACHE_DIR"):
        monkeypatch.setenv(name, "other")
    project = tmp_path / "project"
    project.mkdir()
    (project / "Makefile").write_text(SHOWS)
    bench_from_nothing.make(project, "show", "PORT=4710")
    shown = dict(line.partition("=")[::2] for line in (tmp_path / "project.log").read_text().splitlines())
    assert {name: shown[name] for name in ("PORT", "UV_CACHE_DIR", "PIP_CACHE_DIR")} == {
        "PORT": "4710",
        "UV_CACHE_DIR": "other",
        "PIP_CACHE_DIR": "other",
    }
    assert shown.keys() & {*OTHERS} == {"PORT"}
    with pytest.raises(RuntimeError, match=r"make fail ended with 2: why"):
        bench_from_nothing.make(project, "fail")
