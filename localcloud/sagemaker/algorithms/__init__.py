"""Stand-ins for the training containers of SageMaker's built-in algorithms.

Each `*_train.py` is a program: `<image python> xgboost_train.py --root <folder that stands for /opt/ml>`. It reads
and writes the files that the AWS container does, logs the same metric lines, and exits as it does. The programs run
in the image's Python, so nothing here may import more than numpy, pyarrow and xgboost.
"""
