"""Unpack the job code beside this file, and run one of its scripts.

Called by  the processing container: python3 unpack.py preprocess
           script mode, in trials of a tuning job: python3 unpack.py --learning_rate 0.1 (train_script, which reads its
           hyperparameters itself)
Input      code.zip beside this file, as perennial_aws/job_code.py publishes it

One object instead of sixty is one request for each job, and is there whole or not at all.
"""

import runpy
import sys
import tempfile
import zipfile
from pathlib import Path

if __name__ == "__main__":
    folder = tempfile.mkdtemp(prefix="code-")
    with zipfile.ZipFile(Path(__file__).with_name("code.zip")) as archive:
        archive.extractall(folder)
    sys.path[0] = folder
    named = [argument for argument in sys.argv[1:2] if not argument.startswith("-")]
    sys.argv = sys.argv[1:] if named else ["train_script"]
    runpy.run_module(f"processing.{sys.argv[0]}", run_name="__main__", alter_sys=True)
