"""The scikit-learn image: it runs scripts, and has no algorithm of its own."""

from __future__ import annotations

from localcloud.sagemaker.algorithms.stand_in import SERVING_PROGRAMS, StandIn

SCIKIT_LEARN = StandIn(
    repository="sagemaker-scikit-learn",
    serves=SERVING_PROGRAMS / "sklearn_serve.py",
    framework="sagemaker_sklearn_container.training:main",
)
