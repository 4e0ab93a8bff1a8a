"""`make test-state STATE=...` finds tests for every state, and refuses what is no state."""

import json
import subprocess
import sys

import pytest

from tests import about_states
from tests.unit.test_makefile import ROOT, make

UNION = """
import json, os, sys
import pytest
from tests import about_states

class Union:
    def pytest_collection_finish(self, session):
        states = set().union(*(about_states.states_of(item) for item in session.items))
        print(json.dumps(sorted(states)), file=sys.stderr)

files = [f"tests/unit/test_state_machine_{name}.py" for name in ("elements", "monitor_model", "score_batch")]
sys.exit(pytest.main(["--collect-only", "-q", *files], plugins=[Union()]))
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_state_of_every_machine_has_a_test() -> None:
    collected = run("-c", UNION)
    assert collected.returncode == 0, collected.stdout
    assert set(json.loads(collected.stderr)) == set(about_states.states())


def test_tests_of_a_state_are_those_that_name_it_and_those_of_what_it_runs() -> None:
    names = ("test_state_machine_elements", "functions/test_verify_endpoint", "perennial/evaluation/test_gate")
    files = [f"tests/unit/{name}.py" for name in names]
    chosen = run("-m", "pytest", "--collect-only", "-q", *files, "--state", "verify endpoint").stdout.splitlines()
    walks, verify, gate = ([line for line in chosen if line.startswith(file)] for file in files)
    assert [line.partition("::")[2] for line in walks] == [
        "test_every_element_of_the_flow_is_taken_by_a_walk[Verify endpoint]"
    ]
    assert len(verify) > 15
    assert gate == []


def test_what_is_no_state_is_refused_with_what_is_near() -> None:
    with pytest.raises(pytest.UsageError, match="no state 'Verify endpont'; there are: Verify endpoint"):
        about_states.state("Verify endpont")


def test_make_gives_the_state_as_it_is_written() -> None:
    assert '--state "Meets threshold?" tests/unit' in make(
        "-n", "test-state", "STATE=Meets threshold?", "TESTS=tests/unit"
    )
    assert "make test-state STATE=" in make("help")
