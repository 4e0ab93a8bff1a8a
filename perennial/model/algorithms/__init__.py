"""The algorithms that a model can be trained with. A new one is a file here and an entry of ALGORITHMS.

`make format` then writes its image into the template.
"""

from perennial.model.algorithms.algorithm import Algorithm
from perennial.model.algorithms.linear_learner import LINEAR_LEARNER
from perennial.model.algorithms.xgboost import XGBOOST

ALGORITHMS: dict[str, Algorithm] = {one.name: one for one in (XGBOOST, LINEAR_LEARNER)}
