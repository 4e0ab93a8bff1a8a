"""Stand-ins for the images of SageMaker's algorithms. A new one is a file here and an entry of STAND_INS.

Each `*_train.py` is a program: `<image python> xgboost_train.py --root <folder that stands for /opt/ml>`. It reads
and writes the files that the AWS container does, logs the same metric lines, and exits as it does. The programs run
in the image's Python, so nothing here may import more than numpy, pyarrow and xgboost.
"""

from localcloud.sagemaker.algorithms.deepar import DEEPAR
from localcloud.sagemaker.algorithms.linear_learner import LINEAR_LEARNER
from localcloud.sagemaker.algorithms.scikit_learn import SCIKIT_LEARN
from localcloud.sagemaker.algorithms.stand_in import StandIn
from localcloud.sagemaker.algorithms.xgboost import XGBOOST

STAND_INS: dict[str, StandIn] = {one.repository: one for one in (SCIKIT_LEARN, XGBOOST, LINEAR_LEARNER, DEEPAR)}
