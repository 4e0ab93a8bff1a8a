"""The algorithms that a model can be trained with. A new one is a file here and an entry of ALGORITHMS.

`make format` then writes its image into the template.
"""

import re
from collections.abc import Mapping

from perennial.model.algorithms.algorithm import Algorithm
from perennial.model.algorithms.deepar import DEEPAR
from perennial.model.algorithms.linear_learner import LINEAR_LEARNER
from perennial.model.algorithms.own_code import OWN_IMAGE, SCIKIT_LEARN_SCRIPT, XGBOOST_SCRIPT
from perennial.model.algorithms.xgboost import XGBOOST

_VERSION = re.compile(r":(\d+)\.(\d+)-")  # in the tag of an image
ALGORITHMS: dict[str, Algorithm] = {
    one.name: one for one in (XGBOOST, LINEAR_LEARNER, DEEPAR, SCIKIT_LEARN_SCRIPT, XGBOOST_SCRIPT, OWN_IMAGE)
}


def explain_image(algorithm: str, images: Mapping[str, str]) -> str:
    """Return the image in which jobs explain a run's model; `images` are those of its preprocessor and its algorithm.

    It is the one that has the library that reads the model (decision 0027). A digest is taken for a new one.
    """
    least = ALGORITHMS[algorithm].scripts_from
    tag = _VERSION.search(images["algorithm"]) if least else None
    is_old = least is None or (tag is not None and (int(tag[1]), int(tag[2])) < least)
    return images["preprocessor" if is_old else "algorithm"]
