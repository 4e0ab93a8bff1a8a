"""What functions read of their environment."""

import subprocess
import sys
from pathlib import Path

from perennial.model.algorithms import ALGORITHMS
from perennial_aws.settings import settings

ROOT = Path(__file__).resolve().parents[3]


def test_the_image_of_an_algorithm_is_in_its_own_variable(monkeypatch):
    for name, algorithm in ALGORITHMS.items():
        monkeypatch.setenv(f"{name.replace('-', '_').upper()}_IMAGE", f"{name}:1")
        assert settings.algorithm_image(algorithm) == f"{name}:1"


def test_every_function_imports_settings_so_they_load_nothing_of_the_domain():
    look = "import sys, perennial_aws.settings; print([name for name in sys.modules if name.startswith('perennial.')])"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"
