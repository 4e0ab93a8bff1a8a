"""How the programs of tools/ end: `make explain | head -2` is no reason for a traceback."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAMS = [path for path in sorted(ROOT.glob("tools/*.py")) if "__main__" in path.read_text()]
SILENT = "list_resource_properties.py"  # it writes a file, by an environment that has not what others import


@pytest.mark.parametrize(
    ("main", "ends", "says"),
    [
        ("lambda: print('line\\n' * 100_000) or 1", 0, ""),  # head goes while it writes
        ("lambda: print('line') or 1", 0, ""),  # and before it is flushed
        ("lambda: sys.exit(print('line'))", 0, ""),
        ("lambda: sys.stderr.write('said') and 3", 3, "said"),  # nothing was written that nobody reads
    ],
)
def test_a_reader_who_has_had_enough_is_no_error(main: str, ends: int, says: str) -> None:
    source = f"import sys, time; from tools.terminal import run; sys.stdin.read(); run({main})"
    command = [sys.executable, "-c", source]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, text=True, **pipes) as program:  # type: ignore[call-overload]
        program.stdout.close()
        program.stdin.close()
        assert (program.stderr.read(), program.wait()) == (says, ends)


def test_what_main_returns_is_the_exit_code() -> None:
    source = "from tools.terminal import run; run(lambda given: print(given) or 3, ['a'])"
    ended = subprocess.run([sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.stdout, ended.stderr, ended.returncode) == ("['a']\n", "", 3)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.name)
def test_every_program_ends_so(program: Path) -> None:
    last = program.read_text().partition('if __name__ == "__main__":\n')[2]
    is_so = re.fullmatch(r"    (terminal\.)?run\(main.*\n", last) or program.name == SILENT
    assert is_so, f"{program.name} ends with {last!r}; expected run(main), of tools.terminal"
