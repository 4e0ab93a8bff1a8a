"""What functions read of their environment."""

import subprocess
import sys
from pathlib import Path

from perennial.model.algorithms import ALGORITHMS
from perennial_aws.settings import settings

ROOT = Path(__file__).resolve().parents[3]


def test_the_image_of_an_algorithm_is_in_its_own_variable(monkeypatch):
    variables = {
        "xgboost": "XGBOOST_IMAGE",
        "linear-learner": "LINEAR_LEARNER_IMAGE",
        "deepar": "DEEPAR_IMAGE",
        "scikit-learn-script": "SKLEARN_IMAGE",
        "xgboost-script": "XGBOOST_IMAGE",
        "own-image": "OWN_IMAGE",
    }
    assert set(variables) == set(ALGORITHMS)
    for name, variable in variables.items():
        monkeypatch.setenv(variable, f"{name}:1")
        assert settings.algorithm_image(ALGORITHMS[name]) == f"{name}:1"


def test_every_function_imports_settings_so_they_load_nothing_of_the_domain():
    look = "import sys, perennial_aws.settings; print([name for name in sys.modules if name.startswith('perennial.')])"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == "[]\n"
